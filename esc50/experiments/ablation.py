"""What each idea adds: one row an idea, compared on the same clips with the row that it changes."""

from itertools import pairwise

import pandas as pd

from esc50.config import FOLDS, N_CLASSES, N_CLIPS, RESULTS_DIR, YamnetSettings
from esc50.experiments import metrics
from esc50.experiments.base import models
from esc50.experiments.networks import HeadSettings
from esc50.experiments.results import load_out_of_fold, probabilities, recordings, summarise
from esc50.yamnet.architecture import N_AUDIOSET_CLASSES, SCORES, layer_sizes

YAMNET_PARAMETERS = 3_217_344  # of the convolutions and their normalisation; a test counts them
AUDIOSET_PARAMETERS = N_AUDIOSET_CLASSES * (YamnetSettings.embedding_size + 1)  # of the layer that scores its classes
LOG_MEL_SIZE = 528 * 64  # of a clip, whole patches only


def rows():
    """Models that fill a row, by name, each behind the one that it changes; what leads furthest comes last."""
    ideas = {name: model for name, model in models().items() if model.idea}

    def line(name):
        """A row, and all that build on it, shortest lines first."""
        return [name, *(each for part in sorted(map(line, _next(name)), key=len) for each in part)]

    def _next(name):
        return [each for each, model in ideas.items() if model.over == name]

    return {name: ideas[name] for first in _next("") for name in line(first)}


def ablation(*, folder=RESULTS_DIR):
    """Sum up every row, and compare it with the one that it changes.

    Index: model. The columns of `results.summarise`; those of `metrics.compare`, for the probabilities averaged over
    seeds, and ``p_holm``, corrected for the number of rows, all NaN in the first row; ``parameters`` of YAMNet and head
    together, ``seconds`` of training one network, ``megabytes`` of all clips' features in float16; ``title``, ``over``.
    """
    shown = rows()
    table = summarise(shown, folder=folder)
    compared = {name: gain_over(name, model.over, folder=folder) for name, model in shown.items() if model.over}
    table = table.join(pd.DataFrame.from_dict(compared, orient="index"))
    return table.assign(
        p_holm=metrics.holm(table["p"]),
        parameters=[n_parameters(model) for model in shown.values()],
        seconds=table["train_seconds"] / (len(FOLDS) * table["n_seeds"]),
        megabytes=[_megabytes(model) for model in shown.values()],
        title=[model.idea for model in shown.values()],
        over=[model.over for model in shown.values()],
    )


def gain_over(model, other, *, folder=RESULTS_DIR):
    """Compare two models on their out-of-fold probabilities, as `metrics.compare` does."""
    ours, theirs = (load_out_of_fold(name, folder=folder).sort_values("filename") for name in (model, other))
    return metrics.compare(ours["target"].to_numpy(), probabilities(ours), probabilities(theirs), recordings(ours))


def n_parameters(model):
    """Parameters of YAMNet, its own classes where they take part, and of the head, with what standardises."""
    size = sum(layer_sizes([layer for layer in model.layers if layer != SCORES]))
    yamnet = YAMNET_PARAMETERS + AUDIOSET_PARAMETERS * (SCORES in model.layers)
    if model.n_remembered:
        return yamnet + 2 * size + model.n_remembered * (size + N_CLASSES)
    dense = sum((before + 1) * after for before, after in pairwise([size, *HeadSettings.units, N_CLASSES]))
    return yamnet + 2 * size + dense


def _megabytes(model):
    size = model.n_frames * sum(layer_sizes(model.layers)) + LOG_MEL_SIZE * model.needs_log_mel
    return 2 * N_CLIPS * size / 1e6
