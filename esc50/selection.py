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
LAYERS_FILE = RESULTS_DIR / "selection_layers.csv"
LAYERS = ("fusion_1", "fusion_3", "fusion_8", "fusion_14", "fusion_8_linear")  # how many, and with the logarithm or not
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
    todo = [(name, label, name, settings) for name, of in CANDIDATES.items() for label, settings in of.items()]
    write_csv(_validated(todo, progress), SELECTION_FILE, float_format="%.6f")
    return load_selection(SELECTION_FILE)


def validate_layers(*, progress=True):
    """Validate YAMNet's layers as `validate` does settings, and write ``data/results/selection_layers.csv``.

    Parameters
    ----------
    progress : bool
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        As `validate`; the experiment is "layers", the candidates are experiments of `LAYERS`.
    """
    todo = [("layers", name, name, EXPERIMENTS[name].settings) for name in LAYERS]
    write_csv(_validated(todo, progress), LAYERS_FILE, float_format="%.6f")
    return load_selection(LAYERS_FILE)


def _validated(todo, progress):
    clips, rows = load_clips(), []
    runs = [(*candidate, pair) for candidate in todo for pair in combinations(FOLDS, 2)]
    for choice, label, name, settings, pair in tqdm(runs, desc="validating", unit="run", disable=not progress):
        split = left_out_split(clips, pair)
        found = run_experiment(name, splits=[split], seeds=[SEED], settings=settings, progress=False)
        for model in EXPERIMENTS[name].models if choice == name else [name]:
            for fold, part in found.out_of_fold[model].groupby("fold"):
                scores = evaluation.scores(part["target"].to_numpy(), probabilities(part))
                (left_out,) = set(pair) - {fold}
                place = {"experiment": choice, "candidate": label, "model": model}
                rows.append({**place, "left_out": left_out, "validation": fold, **scores})
    return pd.DataFrame(rows)[ORDER]


def load_selection(path=SELECTION_FILE):
    """Read what the candidates reached on validation folds.

    Parameters
    ----------
    path : Path
        `SELECTION_FILE` or `LAYERS_FILE`.

    Returns
    -------
    pandas.DataFrame
        Columns experiment, candidate, model (which names the pooling), left_out (the fold that is to be
        reported and was not heard), validation (the fold that was tested), n_clips, accuracy, top3_accuracy,
        macro_f1.
    """
    return read_csv(path)


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
