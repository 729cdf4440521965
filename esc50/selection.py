"""Which settings? Chosen anew for each official fold, by trainings that never heard it: nested validation."""

from dataclasses import replace
from itertools import combinations

import pandas as pd
from tqdm.auto import tqdm

from esc50 import evaluation
from esc50.config import FOLDS, RESULTS_DIR, HeadSettings
from esc50.dataset import left_out_split, load_clips
from esc50.results import probabilities, read_csv, write_csv
from esc50.study import CLIP_HEAD, EXPERIMENTS, run_experiment

SELECTION_FILE = RESULTS_DIR / "selection.csv"
SEED = 0
ORDER = [
    "experiment",
    "candidate",
    "model",
    "left_out",
    "validation",
    "n_clips",
    "accuracy",
    "top3_accuracy",
    "macro_f1",
]

# experiment -> name of a candidate -> settings; the poolings of one training are candidates too
CANDIDATES = {
    "head_frames": {
        f"{epochs} epochs, weight decay {decay}": HeadSettings(epochs=epochs, weight_decay=decay)
        for epochs, decay in ((20, 0.01), (30, 0.01), (40, 0.01), (30, 0.1), (40, 0.1))
    },
    **{
        name: {f"{epochs} epochs": replace(CLIP_HEAD, epochs=epochs) for epochs in (20, 40)}
        for name in ("head_clip_mean", "head_clip_mean_max")
    },
}


def validate(*, progress=True):
    """Validate every candidate on every pair of official folds, and write ``data/results/selection.csv``.

    A training leaves two folds out. To the choice for either of them it is a training on three of the four folds
    that the choice may use, and the other is its validation fold: ten trainings serve all five choices, each of
    which is made by the four trainings that never heard its own fold.

    Parameters
    ----------
    progress : bool
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        A row for each candidate, pooling, left-out fold and validation fold: see `load_selection`.
    """
    clips = load_clips()
    todo = [(name, label, pair) for name, of in CANDIDATES.items() for label in of for pair in combinations(FOLDS, 2)]
    rows = []
    for name, label, pair in tqdm(todo, desc="validating", unit="run", disable=not progress):
        split = left_out_split(clips, pair)
        found = run_experiment(name, splits=[split], seeds=[SEED], settings=CANDIDATES[name][label], progress=False)
        for model in EXPERIMENTS[name].models:
            for fold, part in found.out_of_fold[model].groupby("fold"):
                scores = evaluation.scores(part["target"].to_numpy(), probabilities(part))
                (left_out,) = set(pair) - {fold}
                place = {"experiment": name, "candidate": label, "model": model}
                rows.append({**place, "left_out": left_out, "validation": fold, **scores})
    write_csv(pd.DataFrame(rows)[ORDER], SELECTION_FILE, float_format="%.6f")
    return load_selection()


def load_selection():
    """Read what the candidates reached on validation folds.

    Returns
    -------
    pandas.DataFrame
        Columns experiment, candidate, model (which names the pooling), left_out (the fold that is to be
        reported and was not heard), validation (the fold that was tested), n_clips, accuracy, top3_accuracy,
        macro_f1.
    """
    return read_csv(SELECTION_FILE)


def choices(selection):
    """Best candidate of each experiment for each left-out fold, by mean accuracy over its validation folds.

    Parameters
    ----------
    selection : pandas.DataFrame
        From `load_selection`.

    Returns
    -------
    pandas.DataFrame
        One row for each experiment and left-out fold, with candidate, model and the mean accuracy.
    """
    keys = ["experiment", "left_out", "candidate", "model"]
    means = selection.groupby(keys, sort=False)["accuracy"].mean().reset_index()
    best = means.groupby(["experiment", "left_out"], sort=False)["accuracy"].idxmax()
    return means.loc[best].sort_values(["experiment", "left_out"]).reset_index(drop=True)
