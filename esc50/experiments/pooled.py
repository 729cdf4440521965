"""Kernel ridge regression on maxima and band means of YAMNet's layers, averaged over views; and a distilled head."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from esc50.config import POOLED_LAYERS, SEEDS
from esc50.experiments.base import Experiment, Fitted, Model
from esc50.experiments.distilled import DistillationSettings, draw_pairs
from esc50.experiments.kernel_ridge import N_TRAINING, KernelRidge, KernelRidgeSettings
from esc50.experiments.networks import MIN_DEVIATION, build_head, standardise
from esc50.experiments.training import blend, compile_model, fit_in_batches, set_seed, train_drawn
from esc50.yamnet.architecture import layer_sizes

FILES = ("view", "view_slow", "view_fast", "view_looped", "view_quiet", "view_loud")
N_SPEEDS = 3  # the first FILES
SETTINGS = KernelRidgeSettings(0.2, 0.005)
# Chosen by nested validation; a test compares with nested_cv_pooled.csv.
CHOSEN = dict.fromkeys(("fold 1", "fold 2", "fold 5"), KernelRidgeSettings(0.1, 0.005))


def prepare(*files):
    """Return log(1 + activations) of each view, float32 (n_clips, size)."""
    return tuple(np.log1p(arrays["activations"], dtype=np.float32) for arrays in files)


@dataclass(frozen=True)
class PooledHeadSettings(DistillationSettings):
    """The distilled head; together with YAMNet it has fewer than five million parameters."""

    teacher: KernelRidgeSettings = SETTINGS
    units: tuple[int, ...] = (94, 128)


def fit(used, views, targets, *, settings, **_):
    """Fit kernel ridge regression; each model is tested on the average of its first `used` views."""
    ridge = fit_ridge(views, targets, settings=settings)
    return Fitted(partial(_predict, used, lambda vectors: ridge.probabilities(ridge.outputs(vectors))))


def fit_ridge(views, targets, *, settings):
    """Fit kernel ridge regression on the first view and, if there are several, on their average.

    The kernel is a product of one for the maxima and one for the bands, each relative to its own median distance.
    """
    rows = views if len(views) == 1 else (np.mean(views, axis=0), views[0])
    return KernelRidge(rows, targets, settings=settings, blocks=layer_sizes(POOLED_LAYERS))


def fit_head(used, views, targets, *, settings, seed=0, progress=False, **_):
    """Distil kernel ridge regression to a head, on mixup pairs of averages over random views."""
    teacher = fit_ridge(views, targets, settings=settings.teacher)
    set_seed(seed)
    rng, products = np.random.default_rng(seed), [teacher.products_with(view) for view in views]
    head = build_head(input_size=views[0].shape[1], settings=settings)
    standardise(head, teacher.mean, views[0].std(axis=0) + MIN_DEVIATION)

    def draw():
        chosen = rng.permutation(len(views))[: rng.integers(1, len(views) + 1)]  # the same views of all clips
        pairs = draw_pairs(1, len(targets), rng, mixup_probability=settings.mixup_probability)
        vectors, mixed = (blend(np.mean([each[i] for i in chosen], axis=0), *pairs) for each in (views, products))
        return vectors, teacher.probabilities(teacher.outputs(vectors, products=mixed))

    compile_model(head, settings, n_examples=len(targets))
    fit_epoch = fit_in_batches(head, settings.batch_size, rng)
    history = train_drawn(head, draw, settings=settings, fit=fit_epoch, progress=progress)
    return Fitted(partial(_predict, used, partial(head.predict, batch_size=400, verbose=0)), history, head)


def _predict(used, probabilities_of, views):
    return {name: probabilities_of(np.mean(views[:n_views], axis=0)) for name, n_views in used.items()}


def _experiment(name, files, models, *, fit=fit, settings=SETTINGS, seeds=(0,), by_split=None):
    """Make an experiment; `models` maps a name to (idea, model it changes, number of views averaged in the test)."""
    used = {each: n_views for each, (*_, n_views) in models.items()}
    n_remembered = min(2, len(files)) * N_TRAINING if settings is SETTINGS else 0
    shared = {"layers": POOLED_LAYERS, "n_remembered": n_remembered, "units": PooledHeadSettings.units}
    rows = {
        each: Model("", idea, over, n_frames=len(files), n_views=n_views, **shared)
        for each, (idea, over, n_views) in models.items()
    }
    return Experiment(name, files, prepare, partial(fit, used), rows, settings, seeds, by_split or {})


EXPERIMENTS = [
    _experiment(
        "pooled", FILES[:1], {"pooled": ("maxima and two bands of each layer, sounds at one level", "kernel_ridge", 1)}
    ),
    _experiment(
        "pooled_views",
        FILES,
        {
            "pooled_views": ("kernel ridge regression on averages over six views too", "pooled", 1),
            "pooled_views_speeds": (
                "kernel ridge regression, tested on the average of three speeds",
                "pooled_views",
                N_SPEEDS,
            ),
            "pooled_views_all": (
                "kernel ridge regression, tested on the average of six views",
                "pooled_views_speeds",
                len(FILES),
            ),
        },
        by_split=CHOSEN,
    ),
    _experiment(
        "pooled_head",
        FILES,
        {
            "pooled_head": ("one head on maxima and bands, distilled from it", "pooled_views", 1),
            "pooled_head_speeds": (
                "head on maxima and bands, tested on the average of three speeds",
                "pooled_head",
                N_SPEEDS,
            ),
            "pooled_head_all": (
                "head on maxima and bands, tested on the average of six views",
                "pooled_head_speeds",
                len(FILES),
            ),
        },
        fit=fit_head,
        settings=PooledHeadSettings(),
        seeds=SEEDS,
    ),
]
