"""Kernel ridge regression on maxima and band means of YAMNet's layers, averaged over views; and distilled heads."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from esc50.audio.loudness import LEVEL
from esc50.classifier.audioset import AUDIOSET, AudioSetSettings
from esc50.config import POOLED_LAYERS, SEEDS, VIEW_LAYERS, LevelSettings
from esc50.experiments.base import Experiment, Fitted, Model
from esc50.experiments.distilled import DistillationSettings, draw_pairs
from esc50.experiments.kernel_ridge import N_TRAINING, KernelRidge, KernelRidgeSettings
from esc50.experiments.multilayer import choose_views
from esc50.experiments.networks import build_head, standardise
from esc50.experiments.robust import add_scores
from esc50.experiments.training import blend, compile_model, fit_in_batches, set_seed, train_drawn
from esc50.yamnet.architecture import SCORES, columns_of, layer_sizes

FILES = ("view", "view_slow", "view_fast", "view_looped", "view_quiet", "view_loud")
DEGRADED = tuple(f"view_degraded{anew}{speed}" for anew in ("", "_anew") for speed in ("", "_slow", "_fast"))
N_SPEEDS = 3  # the first FILES
SETTINGS = KernelRidgeSettings(0.2, 0.005)
# Chosen by nested validation; a test compares with nested_cv_pooled.csv.
CHOSEN = dict.fromkeys(("fold 1", "fold 2", "fold 5"), KernelRidgeSettings(0.1, 0.005))


def prepare(*files):
    """Return log(1 + activations) of each view, float32 (n_clips, size)."""
    columns = columns_of(POOLED_LAYERS, among=VIEW_LAYERS)
    return tuple(np.log1p(arrays["activations"][:, columns], dtype=np.float32) for arrays in files)


def prepare_with_scores(*files):
    """Return the views as `prepare` does, and last the maximum AudioSet scores of the first one, (n_clips, 521)."""
    scores = files[0]["activations"][:, columns_of([SCORES], among=VIEW_LAYERS)]
    return *prepare(*files), scores.astype(np.float32)


@dataclass(frozen=True)
class PooledHeadSettings(DistillationSettings):
    """The distilled head; together with YAMNet it has fewer than five million parameters."""

    teacher: KernelRidgeSettings = SETTINGS
    families: tuple[int, ...] = (len(FILES),)  # numbers of consecutive views that are averaged with each other
    n_directions: int = 64  # of the vectors' space that the head sees
    units: tuple[int, ...] = (512,)
    input_dropout: float = 0.0
    epochs: int = 400
    learning_rate: float = 3e-3


@dataclass(frozen=True)
class PooledRobustSettings(PooledHeadSettings):
    """The distilled head with two degraded copies of each clip at three speeds, and the prior from YAMNet's scores."""

    families: tuple[int, ...] = (len(FILES), N_SPEEDS, N_SPEEDS)
    level: LevelSettings = LEVEL
    audioset: AudioSetSettings = AUDIOSET


def fit(used, views, targets, *, settings, **_):
    """Fit kernel ridge regression; each model is tested on the average of its first `used` views."""
    ridge = fit_ridge(views, targets, settings=settings)
    return Fitted(partial(_predict, used, lambda vectors: ridge.probabilities(ridge.outputs(vectors))))


def fit_ridge(views, targets, *, settings, families=()):
    """Fit kernel ridge regression on the first view of each family and, if it has several, on the first one's average.

    The kernel is a product of one for the maxima and one for the bands, each relative to its own median distance.
    """
    size, *others = families or (len(views),)
    rows = [views[start] for start in np.cumsum([0, size, *others])[:-1]]
    rows = [np.mean(views[:size], axis=0), *rows] if size > 1 else rows
    return KernelRidge(rows, targets, settings=settings, blocks=layer_sizes(POOLED_LAYERS))


def fit_head(used, inputs, targets, *, settings, seed=0, progress=False, **_):
    """Distil kernel ridge regression to a head.

    The head sees a vector's coordinates along the directions in which the teacher changes most. It is trained on mixup
    pairs of averages over random views of a family.
    """
    views = inputs[: sum(settings.families)]
    teacher = fit_ridge(views, targets, settings=settings.teacher, families=settings.families)
    directions = teacher.directions(settings.n_directions)
    outputs_of = teacher.approximate(directions)
    reduced = np.stack([teacher.reduce(view, directions) for view in views])  # (n_views, n_clips, n_directions)
    scale = 1 / reduced.std()
    set_seed(seed)
    rng = np.random.default_rng(seed)
    head = build_head(input_size=len(directions), settings=settings, n_directions=settings.n_directions)
    standardise(head, teacher.mean, teacher.deviation)
    head.get_layer("directions").set_weights([scale * directions, np.zeros(settings.n_directions)])

    def draw():
        pairs = draw_pairs(1, len(targets), rng, mixup_probability=settings.mixup_probability)
        vectors = blend(average_views(reduced, settings.families, rng), *pairs)
        return scale * vectors, teacher.probabilities(outputs_of(vectors))

    trained = _after_directions(head)
    compile_model(trained, settings, n_examples=len(targets))
    fit_epoch = fit_in_batches(trained, settings.batch_size, rng)
    history = train_drawn(trained, draw, settings=settings, fit=fit_epoch, progress=progress)
    return Fitted(partial(_predict, used, partial(head.predict, batch_size=400, verbose=0)), history, head)


def fit_robust(used, inputs, targets, *, settings, **how):
    """Distil as `fit_head` does; the scores, the last of the inputs, are used in prediction only."""
    fitted = fit_head(used, inputs, targets, settings=settings, **how)

    def predict(test):
        *views, scores = test
        found = fitted.predict(views)
        return {name: add_scores(each, scores, settings.audioset) for name, each in found.items()}

    return Fitted(predict, fitted.history, fitted.head)


def average_views(views, families, rng):
    """Average random views of a random family, half of the time the first, for each clip: (n_clips, size).

    `views` is of shape (n_views, n_clips, size).
    """
    family_of = np.repeat(np.arange(len(families)), families)  # (n_views,)
    n_clips, sizes = views.shape[1], np.array(families)
    chosen = choose_views(len(families), n_clips, rng) if len(families) > 1 else np.zeros(n_clips, int)
    keys = np.where(family_of == chosen[:, np.newaxis], rng.random((n_clips, len(views))), np.inf)
    weights = (keys.argsort(axis=1).argsort(axis=1) < rng.integers(1, sizes[chosen] + 1)[:, np.newaxis]).astype(
        np.float32
    )
    return np.einsum("cv,vcd->cd", weights / weights.sum(axis=1, keepdims=True), views)


def _after_directions(head):
    """Return the part of a head that follows its linear layer, with the same weights."""
    import keras

    return keras.Model(head.get_layer("directions").output, head.output, name=head.name)


def _predict(used, probabilities_of, views):
    return {name: probabilities_of(np.mean(views[:n_views], axis=0)) for name, n_views in used.items()}


def _experiment(name, files, models, *, fit=fit, settings=SETTINGS, seeds=(0,), by_split=None, scores=()):
    """Make an experiment; `models` maps a name to (idea, model it changes, number of views averaged in the test)."""
    used = {each: n_views for each, (*_, n_views) in models.items()}
    n_remembered = min(2, len(files)) * N_TRAINING if settings is SETTINGS else 0
    units = (PooledHeadSettings.n_directions, *PooledHeadSettings.units)
    shared = {"layers": (*scores, *POOLED_LAYERS), "n_remembered": n_remembered, "units": units}
    rows = {
        each: Model("", idea, over, n_frames=len(files), n_views=n_views, **shared)
        for each, (idea, over, n_views) in models.items()
    }
    inputs = prepare_with_scores if scores else prepare
    return Experiment(name, files, inputs, partial(fit, used), rows, settings, seeds, by_split or {})


RIDGE = "kernel ridge regression on maxima and bands"
EXPERIMENTS = [
    _experiment(
        "pooled",
        FILES[:1],
        {"pooled": (f"{RIDGE} (two frequency bands per layer), level-normalised", "kernel_ridge", 1)},
    ),
    _experiment(
        "pooled_views",
        FILES,
        {
            "pooled_views": (f"{RIDGE}, fitted on averages over six views too", "pooled", 1),
            "pooled_views_speeds": (
                f"{RIDGE}, tested on the average of three speeds",
                "pooled_views",
                N_SPEEDS,
            ),
            "pooled_views_all": (
                f"{RIDGE}, tested on the average of six views",
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
            "pooled_head": ("head on maxima and bands, distilled from kernel ridge regression", "pooled_views", 1),
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
    _experiment(
        "pooled_robust",
        (*FILES, *DEGRADED),
        {
            "pooled_robust": ("head on maxima and bands, degraded copies, YAMNet's scores", "pooled_head", 1),
            "pooled_robust_speeds": (
                "head on maxima and bands, copies, YAMNet's scores, tested on the average of three speeds",
                "pooled_robust",
                N_SPEEDS,
            ),
        },
        fit=fit_robust,
        settings=PooledRobustSettings(),
        seeds=SEEDS,
        scores=(SCORES,),
    ),
]
