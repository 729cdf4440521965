"""One small head learns from kernel ridge regression: what it says of blends of training clips is the label."""

import time

import numpy as np

from esc50.config import N_CLASSES, DistillationSettings
from esc50.experiments import multilayer, training
from esc50.experiments.kernel_ridge import KernelMachine
from esc50.experiments.networks import build_head
from esc50.experiments.training import Run, set_seed


def fit_distilled(readings, inputs, targets, split, *, settings=DistillationSettings(), seed=0, progress=False, **how):
    """Distil kernel ridge regression into a head on one split, and score its test clips.

    Parameters
    ----------
    readings : dict of str to tuple of int
        Model name -> versions of the clips over which its scores are averaged (geometric mean).
    inputs : tuple of np.ndarray, each of shape (n_clips, size)
        Versions of the clips, from `esc50.experiments.kernel_ridge.clip_maxima` and `esc50.experiments.kernel_ridge.partial_maxima`.
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    split : esc50.dataset.splits.Split
        Training and test clips.
    settings : DistillationSettings
        Of teacher, head and training.
    seed : int
        Seed of weights, order and draws.
    progress : bool
        Show a progress bar.
    **how
        ``n_taught`` and ``is_taught``, as for `distil`.

    Returns
    -------
    esc50.experiments.training.Run
        Scores (n_test_clips, 50) of every reading; the history has the loss of the training vectors, and how often
        head and teacher agree.
    """
    start, versions = time.perf_counter(), [version[split.train] for version in inputs]
    head, history = distil(versions, targets[split.train], settings=settings, seed=seed, progress=progress, **how)
    seconds = time.perf_counter() - start
    used = sorted({v for reading in readings.values() for v in reading})
    scores = {v: head.predict(inputs[v][split.test], batch_size=400, verbose=0) for v in used}
    pooled = {name: multilayer.pool_versions([scores[v] for v in reading]) for name, reading in readings.items()}
    return Run(pooled, history, seconds)


def distil(
    versions, targets, *, settings=DistillationSettings(), seed=0, n_taught=None, is_taught=True, progress=False
):
    """Train a head to say what kernel ridge regression says, of the same training clips.

    The teacher is asked about versions of the clips and blends of two clips (Beyer et al. 2022, "function matching",
    arXiv 2106.05237): there is always something new to ask. The labels are used by the teacher only.

    Parameters
    ----------
    versions : list of np.ndarray, each of shape (n_clips, size)
        The training clips, and other versions of them.
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    settings : DistillationSettings
        Of teacher, head and training.
    seed : int
        Seed of weights, order and draws.
    n_taught : int, optional
        The teacher learns from the first so many versions; from all by default.
    is_taught : bool
        Whether the teacher labels the vectors. Without, their labels are the clips' own, blended as the vectors are,
        and all else is as it was: the control that tells what the teacher adds.
    progress : bool
        Show a progress bar.

    Returns
    -------
    head : keras.Model
        From (batch, size) to (batch, 50).
    history : dict
        Loss and agreement (``accuracy``) after each epoch.
    """
    teacher = KernelMachine(versions[:n_taught], targets, settings=settings.kernel)
    set_seed(seed)
    rng, rows = np.random.default_rng(seed), np.concatenate(versions)
    products, history = teacher.products_with(rows), {}  # (n_versions * n_clips, n_training)
    one_hot = np.tile(np.eye(N_CLASSES, dtype=np.float32)[targets], (len(versions), 1))
    head = _head_beside(teacher, settings)
    training.compile_model(head, settings, steps_per_epoch=-(-len(targets) // settings.batch_size))
    with training.epochs_bar(head, settings, progress) as bar:
        for _ in range(settings.epochs):
            blend = draw_blends(len(versions), len(targets), rng, blended=settings.blended)
            vectors = _blend(rows, *blend)  # (n_clips, size)
            if is_taught:
                labels = teacher.probabilities(teacher.outputs(vectors, products=_blend(products, *blend)))
            else:
                labels = _blend(one_hot, *blend)
            for name, value in multilayer.train_epoch(head, vectors, labels, settings.batch_size, rng).items():
                history.setdefault(name, []).append(float(value))
            bar.update()
    return head, history


def draw_blends(n_versions, n_clips, rng, *, blended):
    """For each clip one of its versions, often to be blended with a version of another clip.

    Parameters
    ----------
    n_versions : int
        The clips as they are, which are drawn half of the time, and other versions of them.
    n_clips : int
        Of each version.
    rng : np.random.Generator
        The source of every draw.
    blended : float
        Chance of a blend, at a share that is uniform between 0 and 1.

    Returns
    -------
    first, second : np.ndarray of int, shape (n_clips,)
        Rows of the versions, one after the other.
    share : np.ndarray, shape (n_clips, 1)
        Of the first in the blend, float32; 1 for none.
    """
    version = multilayer.choose_versions(n_versions, n_clips, rng) if n_versions > 1 else np.zeros(n_clips, int)
    first = version * n_clips + np.arange(n_clips)
    share = np.where(rng.random(n_clips) < blended, rng.random(n_clips), 1).astype(np.float32)
    return first, first[rng.permutation(n_clips)], share[:, np.newaxis]


def _blend(rows, first, second, share):
    return share * rows[first] + (1 - share) * rows[second]


def _head_beside(teacher, settings):
    """A new head that standardises as the teacher does."""
    head = build_head(input_size=len(teacher.mean), settings=settings)
    layer = head.get_layer("standardise")
    layer.adapt(teacher.vectors[:2])  # builds it
    layer.adapt_mean.assign(teacher.mean)
    layer.adapt_variance.assign(teacher.deviation**2)
    layer.finalize_state()
    return head
