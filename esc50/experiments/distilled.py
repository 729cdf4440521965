"""Distil kernel ridge regression to a small head, on training clips and on unlimited mixup pairs."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from esc50.config import SEEDS
from esc50.experiments import kernel_ridge, multilayer
from esc50.experiments.base import Experiment, Fitted, Model
from esc50.experiments.kernel_ridge import KernelRidge, KernelRidgeSettings, maxima, partial_maxima
from esc50.experiments.multilayer import SPEEDS, choose_views, predict_views
from esc50.experiments.networks import HeadSettings, build_head, standardise
from esc50.experiments.training import blend, compile_model, fit_in_batches, one_hot, set_seed, train_drawn

N_TAUGHT = len(SPEEDS)  # views on which the teacher is fitted
PARTS = 2  # additional views of a clip at each speed: maxima over random frames
N_VIEWS = N_TAUGHT * (1 + PARTS)


@dataclass(frozen=True)
class DistillationSettings(HeadSettings):
    """The distilled head; fixed before the test on the official folds: see notebook 05."""

    teacher: KernelRidgeSettings = kernel_ridge.SETTINGS
    input_dropout: float = 0.1
    dropout: float = 0.0
    epochs: int = 120
    batch_size: int = 128
    warmup_epochs: int = 3
    weight_decay: float = 0.01
    mixup_probability: float = 0.9  # of mixing a training vector with another clip's, by a uniform share


def prepare(*files):
    """Return views of the clips, each (n_clips, size): maxima at each speed, then maxima over random frames."""
    speeds, rng = multilayer.prepare(*files, names=SPEEDS), np.random.default_rng(0)
    return *map(maxima, speeds), *(partial_maxima(each, rng) for _ in range(PARTS) for each in speeds)


def fit(tta_views, views, targets, *, settings, n_taught=N_TAUGHT, seed=0, has_teacher=True, progress=False, **_):
    """Train a head on the outputs of kernel ridge regression for training clips and mixup pairs.

    This is function matching (Beyer et al. 2022, arXiv 2106.05237): only the teacher uses the labels. The control
    without a teacher (`has_teacher` False) uses the mixed one-hot labels instead.
    """
    teacher = KernelRidge(views[:n_taught], targets, settings=settings.teacher)
    set_seed(seed)
    rng, rows = np.random.default_rng(seed), np.concatenate(views)
    products = teacher.products_with(rows)  # (n_views * n_clips, n_training)
    labels = np.tile(one_hot(targets), (len(views), 1))
    head = build_head(input_size=rows.shape[1], settings=settings)
    standardise(head, teacher.mean, teacher.deviation)

    def draw():
        pairs = draw_pairs(len(views), len(targets), rng, mixup_probability=settings.mixup_probability)
        vectors = blend(rows, *pairs)  # (n_clips, size)
        if not has_teacher:
            return vectors, blend(labels, *pairs)
        return vectors, teacher.probabilities(teacher.outputs(vectors, products=blend(products, *pairs)))

    compile_model(head, settings, n_examples=len(targets))
    fit_epoch = fit_in_batches(head, settings.batch_size, rng)
    history = train_drawn(head, draw, settings=settings, fit=fit_epoch, progress=progress)
    return Fitted(partial(predict_views, tta_views, partial(head.predict, batch_size=400, verbose=0)), history, head)


def draw_pairs(n_views, n_clips, rng, *, mixup_probability):
    """Draw for each clip a row among its views, a row of another clip, and the share (n_clips, 1) of the first."""
    view = choose_views(n_views, n_clips, rng) if n_views > 1 else np.zeros(n_clips, int)
    first = view * n_clips + np.arange(n_clips)
    share = np.where(rng.random(n_clips) < mixup_probability, rng.random(n_clips), 1).astype(np.float32)
    return first, first[rng.permutation(n_clips)], share[:, np.newaxis]


SETTINGS = DistillationSettings()


def _experiment(tta_views, models, **how):
    name, *_ = models
    return Experiment(name, SPEEDS, prepare, partial(fit, tta_views, **how), models, SETTINGS, SEEDS)


_model = partial(Model, n_frames=N_VIEWS)
TITLE = "dense head on all layers of YAMNet, distilled from kernel ridge regression"
CONTROL, IDEA = "one small head on maxima, with mixup", "small head distilled from kernel ridge regression"
AT_SPEEDS = "distilled head, tested at three speeds"
MODELS = {
    "distilled": _model(TITLE, IDEA, "distilled_control"),
    "distilled_speeds": _model(
        "the distilled head, each clip at three speeds", AT_SPEEDS, "distilled", n_views=N_TAUGHT
    ),
}
EXPERIMENTS = [
    _experiment(
        {"distilled_control": (0,)}, {"distilled_control": _model("", CONTROL, "multilayer_14")}, has_teacher=False
    ),
    _experiment({"distilled": (0,), "distilled_speeds": (0, 1, 2)}, MODELS),
]
