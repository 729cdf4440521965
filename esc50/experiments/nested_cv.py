"""Which settings? Chosen anew for each official fold, by trainings that never heard it: nested validation."""

from dataclasses import replace
from itertools import combinations

import pandas as pd
from tqdm.auto import tqdm

from esc50.config import FOLDS, RESULTS_DIR, HeadSettings, KernelSettings
from esc50.dataset.clips import load_clips
from esc50.dataset.splits import left_out_split
from esc50.experiments import metrics
from esc50.experiments.results import probabilities, read_csv, write_csv
from esc50.experiments.study import CLIP_HEAD, EXPERIMENTS, run_experiment

SELECTION_FILE = RESULTS_DIR / "selection.csv"
LAYERS_FILE = RESULTS_DIR / "selection_layers.csv"
LAYERS = ("fusion_1", "fusion_3", "fusion_8", "fusion_14", "fusion_8_linear")  # how many, and with the logarithm or not
KERNEL_FILE = RESULTS_DIR / "selection_kernel.csv"
KERNELS = ("kernel_mean", "kernel", "kernel_speeds")  # what of the clip, and at how many speeds
KERNEL_GRID = (KernelSettings(0.2, 0.01), KernelSettings(), KernelSettings(0.5, 0.05))  # stiffer to looser
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


def validate_kernel(*, progress=True):
    """Validate kernel ridge regression, and what is distilled from it, as `validate` does.

    Writes ``data/results/selection_kernel.csv``.

    Parameters
    ----------
    progress : bool
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        As `validate`; the experiments are "kernel", whose candidates are named by `kernel_label`, and "distilled",
        whose candidates are its readings.
    """
    todo = [("kernel", kernel_label(name, each), name, each) for name in KERNELS for each in KERNEL_GRID]
    todo.append(("distilled", "distilled", "distilled", EXPERIMENTS["distilled"].settings))
    write_csv(_validated(todo, progress), KERNEL_FILE, float_format="%.6f")
    return load_selection(KERNEL_FILE)


def network_choices(layers, kernel):
    """Choose among single networks for each left-out fold: those of `LAYERS`, and what is distilled.

    Parameters
    ----------
    layers, kernel : pandas.DataFrame
        From `load_selection`, of `LAYERS_FILE` and of `KERNEL_FILE`.

    Returns
    -------
    pandas.DataFrame
        As `choices`; the candidates are names in data/results.
    """
    distilled = kernel[kernel["experiment"] == "distilled"]
    table = pd.concat([layers, distilled.assign(candidate=distilled["model"])], ignore_index=True)
    return choices(table.assign(experiment="network"))


def kernel_label(name, settings):
    """Name a candidate.

    Parameters
    ----------
    name : str
        Of an experiment.
    settings : KernelSettings
        Width and ridge.

    Returns
    -------
    str
        Such as ``kernel, gamma 0.35, ridge 0.02``.
    """
    return f"{name}, gamma {settings.gamma:g}, ridge {settings.ridge:g}"


def _validated(todo, progress):
    clips, rows = load_clips(), []
    runs = [(*candidate, pair) for candidate in todo for pair in combinations(FOLDS, 2)]
    for choice, label, name, settings, pair in tqdm(runs, desc="validating", unit="run", disable=not progress):
        split = left_out_split(clips, pair)
        found = run_experiment(name, splits=[split], seeds=[SEED], settings=settings, progress=False)
        for model in EXPERIMENTS[name].models if choice == name else [name]:
            for fold, part in found.out_of_fold[model].groupby("fold"):
                scores = metrics.scores(part["target"].to_numpy(), probabilities(part))
                (left_out,) = set(pair) - {fold}
                place = {"experiment": choice, "candidate": label, "model": model}
                rows.append({**place, "left_out": left_out, "validation": fold, **scores})
    return pd.DataFrame(rows)[ORDER]


def load_selection(path=SELECTION_FILE):
    """Read what the candidates reached on validation folds.

    Parameters
    ----------
    path : Path
        `SELECTION_FILE`, `LAYERS_FILE` or `KERNEL_FILE`.

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
