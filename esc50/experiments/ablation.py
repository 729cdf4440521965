"""Ablation: each row adds one idea to another row, and the two are compared on the same clips."""

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

YAMNET_PARAMETERS = 3_217_344  # convolutions and batch normalisation
AUDIOSET_PARAMETERS = N_AUDIOSET_CLASSES * (YamnetSettings.embedding_size + 1)  # of the output layer
COSTS_FILE = "costs.csv"
N_ROUNDS, N_TIMED = 5, 20  # rounds over all models, and repetitions in each, of which the fastest counts
LOG_MEL_SIZE = 528 * 64  # per clip


def rows():
    """Return the models with a row, by name, each after the one that it changes; the longest chain comes last."""
    ideas = {name: model for name, model in models().items() if model.idea}

    def line(name):
        """Return a row and all that build on it, the shortest chains first."""
        return [name, *(each for part in sorted(map(line, _next(name)), key=len) for each in part)]

    def _next(name):
        return [each for each, model in ideas.items() if model.over == name]

    return {name: ideas[name] for first in _next("") for name in line(first)}


def ablation(*, folder=RESULTS_DIR):
    """Summarise every row, and compare it with the one that it changes.

    Parameters
    ----------
    folder : Path
        Folder of the results.

    Returns
    -------
    pandas.DataFrame, index model
        Columns of `results.summarise`; those of `metrics.compare` for probabilities averaged over seeds; ``p_holm``,
        corrected for the number of rows (NaN in the first row); ``parameters`` of YAMNet and head; training ``seconds``
        per network; ``megabytes`` of all clips' features in float16; inference ``milliseconds`` per clip, if measured;
        ``title``; ``over``.
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
    """Return the number of parameters of YAMNet (with its output layer if used) and of the head."""
    size = sum(layer_sizes([layer for layer in model.layers if layer != SCORES]))
    yamnet = YAMNET_PARAMETERS + AUDIOSET_PARAMETERS * (SCORES in model.layers)
    if model.n_remembered:
        return yamnet + 2 * size + model.n_remembered * (size + N_CLASSES)
    dense = sum((before + 1) * after for before, after in pairwise([size, *model.units, N_CLASSES]))
    return yamnet + 2 * size + dense


def measure_costs():
    """Measure the inference time for a clip of 5 s: YAMNet for each view, and the head or kernel.

    YAMNet runs in ONNX Runtime; heads and kernels are timed as matrix products of their size. The fastest
    repetition counts, of rounds over all models, because the speed of a machine varies with what else it does.

    Returns
    -------
    pandas.Series, index model
        Milliseconds.
    """
    rounds = [{name: _milliseconds(model) for name, model in rows().items()} for _ in range(N_ROUNDS)]
    return pd.DataFrame(rounds).min().rename("milliseconds").rename_axis("model")


def _milliseconds(model):
    runtime, rng, clip = load_runtime(), np.random.default_rng(0), synthesis.example("rain")
    layers = (*model.layers, LAST) if set(model.layers) & {MAXIMA, BANDS} else model.layers
    seconds = _quickest(partial(runtime.embed, clip, layers=layers))
    weights = [rng.random(shape, dtype=np.float32) for shape in _weight_shapes(model)]
    vector = rng.random((1, len(weights[0])), dtype=np.float32)
    return 1e3 * (model.n_views * seconds + _quickest(partial(reduce, np.matmul, weights, vector)))


def save_costs(costs, *, folder=None):
    """Write the result of `measure_costs`; return the path."""
    path = (folder or output_path(RESULTS_DIR)) / COSTS_FILE
    write_csv(costs.reset_index(), path, float_format="%.2f")
    return path


def load_costs(*, folder=RESULTS_DIR):
    """Read the result of `measure_costs`; an empty Series if it was not measured."""
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
