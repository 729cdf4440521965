"""What each idea adds: one row an idea, each compared on the same clips with the row that it changes."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from esc50.config import ALL_LAYERS, FOLDS, N_CLASSES, N_CLIPS, RESULTS_DIR, UPPER_LAYERS, HeadSettings
from esc50.dataset.clips import class_names, load_clips
from esc50.experiments import metrics, study
from esc50.experiments.results import load_cross_validation, load_out_of_fold, probabilities, recordings, summarise
from esc50.yamnet import keras_model

YAMNET_PARAMETERS = 3_217_344  # of the convolutions and their normalisation; a test counts them


FRAMES, OFTEN = 10, 28  # of a clip: patches every 0.48 s, or every 0.16 s


N_VERSIONS = len(study.SPEEDS) * (1 + study.PARTS_OF_EACH)  # maxima of a clip, from which the head is distilled
WINDOWS = 528  # of a clip's log-mel, whole patches only
N_TRAINING = 1_600  # clips of four folds


@dataclass(frozen=True)
class Row:
    """One idea.

    Attributes
    ----------
    title : str
        What is new in it.
    over : str
        Model that it is compared with; empty for the first.
    layers : tuple of int
        Of YAMNet, joined.
    n_frames : int
        Vectors that stand for a clip where the model is trained and tested.
    hears_log_mel : bool
        Whether YAMNet's log-mel of the clip is needed too, because YAMNet itself is trained.
    n_remembered : int
        Training vectors that the model keeps, where it compares clips with them.
    """

    title: str
    over: str = ""
    layers: tuple = ALL_LAYERS
    n_frames: int = FRAMES
    n_remembered: int = 0
    hears_log_mel: bool = False


ROWS = {
    "head_clip_mean": Row("last layer, clip mean", layers=(14,), n_frames=1),
    "head_frames": Row("last layer, single frames", "head_clip_mean", (14,)),
    "fusion_1": Row("last layer, random averages of log activations", "head_frames", (14,)),
    "fusion_3": Row("the same, last 3 layers", "fusion_1", (12, 13, 14)),
    "fusion_8": Row("the same, last 8 layers", "fusion_3", UPPER_LAYERS),
    "fusion_14": Row("the same, all 14 layers", "fusion_8"),
    "fusion_8_linear": Row("8 layers, without the logarithm", "fusion_8", UPPER_LAYERS),
    "fusion_8_shifts": Row("8 layers, tested on patches every 0.16 s", "fusion_8", UPPER_LAYERS, n_frames=OFTEN),
    "fusion_8_speeds": Row("8 layers, tested at three speeds", "fusion_8", UPPER_LAYERS, n_frames=3 * FRAMES),
    "fusion_14_mixup": Row("14 layers, trained with mixup", "fusion_14"),
    "fusion_14_speeds": Row("14 layers, trained at three speeds", "fusion_14", n_frames=3 * FRAMES),
    "fusion_14_attention": Row("14 layers, gated attention over frames", "fusion_14"),
    "kernel_mean": Row("14 layers, kernel ridge regression on clip means", "fusion_14", ALL_LAYERS, 1, N_TRAINING),
    "kernel": Row("the same on clip maxima", "kernel_mean", n_frames=1, n_remembered=N_TRAINING),
    "kernel_speeds": Row("the same, trained and tested at three speeds", "kernel", ALL_LAYERS, 3, 3 * N_TRAINING),
    "blended": Row("one small head on maxima and their blends", "fusion_14", n_frames=N_VERSIONS),
    "distilled": Row("the same, distilled from kernel ridge regression", "blended", n_frames=N_VERSIONS),
    "distilled_speeds": Row("the same head, tested at three speeds", "distilled", n_frames=N_VERSIONS),
    "finetuned": Row(
        "the same head and YAMNet fine-tuned, tested at one speed", "distilled", n_frames=N_VERSIONS, hears_log_mel=True
    ),
}
TRAINED_HERE = tuple(model for model in ROWS if model.startswith(("fusion", "kernel", "blended", "distilled")))
TITLES = {model: row.title for model, row in ROWS.items()}


def ablation(models=tuple(ROWS), *, folder=RESULTS_DIR):
    """Sum up every row, and compare it with the one that it changes.

    Parameters
    ----------
    models : sequence of str
        Keys of `ROWS`.
    folder : Path
        Where the results lie.

    Returns
    -------
    pandas.DataFrame
        Index: model. The columns of `esc50.experiments.results.summarise`; those of `esc50.experiments.metrics.compare`, for the
        probabilities averaged over seeds, and ``p_holm``, corrected for the number of rows, all NaN in the first row;
        ``parameters`` of YAMNet and head together, ``seconds`` of training one network, and ``megabytes`` of the
        features of all clips in float16.
    """
    table = summarise(models, folder=folder)
    compared = {model: gain_over(model, ROWS[model].over, folder=folder) for model in models if ROWS[model].over}
    table = table.join(pd.DataFrame.from_dict(compared, orient="index"))
    table["p_holm"] = metrics.holm(table["p"])
    table["parameters"] = [_parameters(ROWS[model]) for model in models]
    table["seconds"] = table["train_seconds"] / (len(FOLDS) * table["n_seeds"])
    table["megabytes"] = [_megabytes(ROWS[model]) for model in models]
    return table.assign(title=[TITLES[model] for model in models])


def gain_over(model, other, *, folder=RESULTS_DIR):
    """Compare two models on their out-of-fold probabilities.

    Parameters
    ----------
    model, other : str
        Names in data/results.
    folder : Path
        Where the results lie.

    Returns
    -------
    dict
        From `esc50.experiments.metrics.compare`.
    """
    ours, theirs = (load_out_of_fold(name, folder=folder).sort_values("filename") for name in (model, other))
    return metrics.compare(ours["target"].to_numpy(), probabilities(ours), probabilities(theirs), recordings(ours))


def ensemble(models):
    """Average the out-of-fold probabilities of several models, all with the same weight.

    Parameters
    ----------
    models : sequence of str
        Names in data/results.

    Returns
    -------
    pandas.DataFrame
        As `esc50.experiments.results.load_out_of_fold`.
    """
    tables = [load_out_of_fold(model).sort_values("filename").reset_index(drop=True) for model in models]
    mean = np.mean([probabilities(table) for table in tables], axis=0)  # (n_clips, 50)
    joined = tables[0].copy()
    joined.loc[:, [f"p_{label}" for label in range(mean.shape[1])]] = mean
    return joined


def chosen_by_fold(choices):
    """Put together the out-of-fold probabilities of the row that was chosen for each fold without it.

    Parameters
    ----------
    choices : pandas.DataFrame
        From `esc50.experiments.nested_cv.choices`: columns left_out and candidate, a name in data/results.

    Returns
    -------
    pandas.DataFrame
        As `esc50.experiments.results.load_out_of_fold`.
    """
    parts = [load_out_of_fold(choice.candidate).query(f"fold == {choice.left_out}") for choice in choices.itertuples()]
    return pd.concat(parts, ignore_index=True)


def runs_of_chosen(choices, *, folder=RESULTS_DIR):
    """Runs of the row that was chosen for each fold without it.

    Parameters
    ----------
    choices : pandas.DataFrame
        As for `chosen_by_fold`.
    folder : Path
        Where the results lie.

    Returns
    -------
    pandas.DataFrame
        As `esc50.experiments.results.load_cross_validation`.
    """
    runs = load_cross_validation(folder=folder)
    rows = [runs.query(f"model == '{c.candidate}' and fold == {c.left_out}") for c in choices.itertuples()]
    return pd.concat(rows, ignore_index=True)


def n_parameters(layers):
    """Count the parameters of YAMNet and the head on some of its layers.

    Parameters
    ----------
    layers : sequence of int
        Joined before the head.

    Returns
    -------
    int
        Mean and deviation of the standardisation included, YAMNet's own 521 classes not.
    """
    sizes = [sum(keras_model.layer_sizes(layers)), *HeadSettings.units, N_CLASSES]
    dense = sum((before + 1) * after for before, after in pairwise(sizes))
    return YAMNET_PARAMETERS + 2 * sizes[0] + dense


def hardest_clips(models, *, at_least):
    """Clips that most of several models get wrong.

    Parameters
    ----------
    models : sequence of str
        Names in data/results.
    at_least : int
        How many of them.

    Returns
    -------
    pandas.DataFrame
        Columns filename, category, taken_for (by the most models), models (how many are wrong); the hardest first.
    """
    clips = load_clips().set_index("filename").sort_index()
    guesses = np.stack([probabilities(load_out_of_fold(m).sort_values("filename")).argmax(axis=1) for m in models])
    wrong = (guesses != clips["target"].to_numpy()).sum(axis=0)  # (n_clips,)
    names = clips.groupby("target")["category"].first()
    usual = [np.bincount(column).argmax() for column in guesses.T]
    table = clips.assign(taken_for=names.loc[usual].to_numpy(), models=wrong).reset_index()
    hard = table[table["models"] >= at_least].sort_values(["models", "filename"], ascending=[False, True])
    return hard[["filename", "category", "taken_for", "models"]].reset_index(drop=True)


def disagreements(model, other, *, n_each, among):
    """Clips that the one model gets right and the other wrong, the surest of each kind.

    Parameters
    ----------
    model, other : str
        Names in data/results.
    n_each : int
        Clips of each kind.
    among : sequence of str
        Filenames of the clips to choose from.

    Returns
    -------
    pandas.DataFrame
        Columns filename, category, taken_for (by the model) and other_taken_for; first those that the model gets
        right, by how much surer it is of the true class.
    """
    clips = load_clips().sort_values("filename").reset_index(drop=True)
    ours, theirs = (probabilities(load_out_of_fold(name).sort_values("filename")) for name in (model, other))
    guesses, targets, names = (ours.argmax(axis=1), theirs.argmax(axis=1)), clips["target"].to_numpy(), class_names()
    rows = np.arange(len(clips))
    lead = ours[rows, targets] - theirs[rows, targets]  # (n_clips,)
    ours_right, theirs_right = ((guess == targets) & clips["filename"].isin(among) for guess in guesses)
    first = [index for index in np.argsort(-lead, kind="stable") if ours_right[index] > theirs_right[index]][:n_each]
    last = [index for index in np.argsort(lead, kind="stable") if theirs_right[index] > ours_right[index]][:n_each]
    chosen = clips.loc[[*first, *last], ["filename", "category"]]
    taken = [[names[label] for label in guess[[*first, *last]]] for guess in guesses]
    return chosen.assign(taken_for=taken[0], other_taken_for=taken[1]).reset_index(drop=True)


def _parameters(row):
    if not row.n_remembered:
        return n_parameters(row.layers)
    size = sum(keras_model.layer_sizes(row.layers))
    return YAMNET_PARAMETERS + 2 * size + row.n_remembered * (size + N_CLASSES)


def _megabytes(row):
    log_mel = WINDOWS * keras_model.SETTINGS.mel_bands if row.hears_log_mel else 0
    return 2 * N_CLIPS * (row.n_frames * sum(keras_model.layer_sizes(row.layers)) + log_mel) / 1e6
