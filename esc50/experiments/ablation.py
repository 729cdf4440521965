"""What each idea adds: one row an idea, compared on the same clips with the row that it changes."""

import timeit
from functools import partial, reduce
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from esc50.audio import synthesis
from esc50.config import FOLDS, N_CLASSES, N_CLIPS, RESULTS_DIR, YamnetSettings, output_path
from esc50.experiments import metrics
from esc50.experiments.base import models
from esc50.experiments.results import load_out_of_fold, probabilities, read_csv, recordings, summarise, write_csv
from esc50.yamnet.architecture import BANDS, LAST, MAXIMA, N_AUDIOSET_CLASSES, SCORES, layer_sizes
from esc50.yamnet.runtime import load_runtime

YAMNET_PARAMETERS = 3_217_344  # of the convolutions and their normalisation; a test counts them
AUDIOSET_PARAMETERS = N_AUDIOSET_CLASSES * (YamnetSettings.embedding_size + 1)  # of the layer that scores its classes
COSTS_FILE = "costs.csv"
N_TIMED = 20  # the quickest counts
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
    together, ``seconds`` of training one network, ``megabytes`` of all clips' features in float16, ``milliseconds`` of
    an answer for one clip, where they were measured; ``title``, ``over``.
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
        milliseconds=load_costs(folder=folder).reindex(shown.keys()).to_numpy(),
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
    dense = sum((before + 1) * after for before, after in pairwise([size, *model.units, N_CLASSES]))
    return yamnet + 2 * size + dense


def measure_costs():
    """Milliseconds of an answer for a clip of 5 s, by model: YAMNet once for each view, and what compares or weighs.

    YAMNet runs on ONNX Runtime; heads and kernels are timed as products of their size. The quickest of twenty.
    """
    runtime, rng = load_runtime(), np.random.default_rng(0)
    clip = synthesis.example("rain")
    found = {}
    for name, model in rows().items():
        layers = (*model.layers, LAST) if set(model.layers) & {MAXIMA, BANDS} else model.layers
        seconds = _quickest(partial(runtime.embed, clip, layers=layers))
        weights = [rng.random(shape, dtype=np.float32) for shape in _weight_shapes(model)]
        vector = rng.random((1, len(weights[0])), dtype=np.float32)
        found[name] = 1e3 * (model.n_views * seconds + _quickest(partial(reduce, np.matmul, weights, vector)))
    return pd.Series(found, name="milliseconds").rename_axis("model")


def save_costs(costs, *, folder=None):
    """Write what `measure_costs` gives; gives the path."""
    path = (folder or output_path(RESULTS_DIR)) / COSTS_FILE
    write_csv(costs.reset_index(), path, float_format="%.2f")
    return path


def load_costs(*, folder=RESULTS_DIR):
    """Read it: a Series by model; an empty one where it was not measured."""
    path = Path(folder) / COSTS_FILE
    empty = pd.Series(dtype=float, name="milliseconds")
    return read_csv(path).set_index("model")["milliseconds"] if path.is_file() else empty


def _weight_shapes(model):
    size = sum(layer_sizes([layer for layer in model.layers if layer != SCORES]))
    inner = [model.n_remembered] if model.n_remembered else model.units
    return list(pairwise([size, *inner, N_CLASSES]))


def _quickest(run):
    return min(timeit.repeat(run, number=1, repeat=N_TIMED))


def _megabytes(model):
    size = model.n_frames * sum(layer_sizes(model.layers)) + LOG_MEL_SIZE * model.needs_log_mel
    return 2 * N_CLIPS * size / 1e6
