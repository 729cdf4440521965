"""Kernel ridge regression on richer poolings of YAMNet's layers, averaged over views of each clip."""

from functools import partial

import numpy as np

from esc50.config import POOLED_LAYERS
from esc50.experiments.base import Experiment, Fitted, Model
from esc50.experiments.kernel_ridge import N_TRAINING, KernelRidge, KernelRidgeSettings
from esc50.yamnet.architecture import layer_sizes

FILES = ("view", "view_slow", "view_fast", "view_looped", "view_quiet", "view_loud")
N_SPEEDS = 3  # the first of them
SETTINGS = KernelRidgeSettings(0.2, 0.005)


def prepare(*files):
    """Logarithm of 1 plus the activations of each view, (n_clips, size) each, float32."""
    return tuple(np.log1p(arrays["activations"], dtype=np.float32) for arrays in files)


def fit(used, views, targets, *, settings, **_):
    """Fit on the clips as they are and, of several views, on their averages; test averages of the first few views.

    The kernel is a product of one for each block, the maxima and the bands, each relative to its own median distance.
    `used` tells of each model how many views it averages.
    """
    rows = views if len(views) == 1 else (np.mean(views, axis=0), views[0])
    ridge = KernelRidge(rows, targets, settings=settings, blocks=layer_sizes(POOLED_LAYERS))
    return Fitted(
        lambda test: {
            name: ridge.probabilities(ridge.outputs(np.mean(test[:n_views], axis=0))) for name, n_views in used.items()
        }
    )


def _experiment(name, files, models):
    """`models`: name -> (idea, the row that it changes, views that are averaged in the test)."""
    used = {each: n_views for each, (*_, n_views) in models.items()}
    shared = {"layers": POOLED_LAYERS, "n_remembered": min(2, len(files)) * N_TRAINING}
    rows = {
        each: Model("", idea, over, n_frames=len(files), n_views=n_views, **shared)
        for each, (idea, over, n_views) in models.items()
    }
    return Experiment(name, files, prepare, partial(fit, used), rows, SETTINGS)


EXPERIMENTS = [
    _experiment(
        "pooled", FILES[:1], {"pooled": ("maxima and two bands of each layer, sounds at one level", "kernel_ridge", 1)}
    ),
    _experiment(
        "pooled_views",
        FILES,
        {
            "pooled_views": ("the same, fitted on averages over six views too", "pooled", 1),
            "pooled_views_speeds": ("the same, tested on the average over three speeds", "pooled_views", N_SPEEDS),
            "pooled_views_all": ("the same, on the average over all six views", "pooled_views_speeds", len(FILES)),
        },
    ),
]
