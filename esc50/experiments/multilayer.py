"""The head on many of YAMNet's layers: how its training vectors are drawn, its training, and attention over frames."""

import time
from dataclasses import dataclass

import numpy as np

from esc50.classifier.pooling import frame_mask, geometric_mean_pool
from esc50.config import N_CLASSES, FusionSettings
from esc50.experiments import training
from esc50.experiments.networks import build_head
from esc50.experiments.training import Run, set_seed

KEPT = 0.5  # chance of a frame to be in a random average
ORIGINAL = 0.5  # chance of a clip to be drawn as it is, where there are other versions of it
MIN_DEVIATION = 0.05  # of a log activation: what hardly varies in training must not blow up later


@dataclass(frozen=True, eq=False)
class Heard:
    """Clips as YAMNet's layers hear them."""

    frames: np.ndarray  # (n_clips, n_frames, size) float16: log activations
    active: np.ndarray  # (n_clips, n_frames) frames that count: those with sound, or all of a clip without any

    def of(self, rows):
        """Some of the clips.

        Parameters
        ----------
        rows : np.ndarray of int
            Which.

        Returns
        -------
        Heard
            As many clips as rows.
        """
        return Heard(self.frames[rows], self.active[rows])

    def as_float32(self):
        """The same, in the precision of training.

        Returns
        -------
        Heard
            Twice as large.
        """
        return Heard(self.frames.astype(np.float32), self.active)


def heard(arrays, columns, *, logarithm=True):
    """Take some layers out of a feature file.

    Parameters
    ----------
    arrays : dict of str to np.ndarray
        ``activations`` and ``active``, from `esc50.dataset.feature_files.layer_features`.
    columns : np.ndarray of int
        From `esc50.yamnet.layers.columns_of`.
    logarithm : bool
        Whether to take the logarithm of 1 plus the activation.

    Returns
    -------
    Heard
        Of all clips.
    """
    frames = arrays["activations"][..., columns]  # (n_clips, n_frames, size)
    return Heard(np.log1p(frames) if logarithm else frames, frame_mask(arrays["active"]))


def fit_fusion(readings, inputs, targets, split, *, settings, seed, trained_on=(0,), progress=False):
    """Train the head on one split and score its test clips.

    Parameters
    ----------
    readings : dict of str to tuple of int
        Model name -> versions of the clips over which its scores are averaged (geometric mean).
    inputs : tuple of Heard
        Versions of the clips: as they are, then slower, faster, or cut into patches more often.
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    split : esc50.dataset.splits.Split
        Training and test clips.
    settings : FusionSettings
        Of the head, its training and the draw of its training vectors.
    seed : int
        Seed of weights, order and draws.
    trained_on : tuple of int
        Versions to train on.
    progress : bool
        Show a progress bar.

    Returns
    -------
    esc50.experiments.training.Run
        Scores (n_test_clips, 50) of every reading; the history has loss and accuracy of the training vectors.
    """
    versions = [inputs[v].of(split.train).as_float32() for v in trained_on]
    start = time.perf_counter()
    model, history = train_fusion(versions, targets[split.train], settings=settings, seed=seed, progress=progress)
    seconds = time.perf_counter() - start
    used = sorted({v for reading in readings.values() for v in reading})
    scores = {v: clip_scores(model, inputs[v].of(split.test)) for v in used}
    pooled = {name: pool_versions([scores[v] for v in reading]) for name, reading in readings.items()}
    return Run(pooled, history, seconds)


def train_fusion(versions, targets, *, settings=FusionSettings(), seed=0, progress=False):
    """Train the head on vectors that are newly drawn in each epoch.

    Parameters
    ----------
    versions : list of Heard
        The training clips, and other versions of them.
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    settings : FusionSettings
        Of the head, its training and the draw.
    seed : int
        Seed of weights, order and draws.
    progress : bool
        Show a progress bar.

    Returns
    -------
    model : keras.Model
        From (batch, size) to (batch, 50), or with attention from (batch, n_frames, size) and the mask of the
        frames that count to (batch, 50).
    history : dict
        Loss and accuracy after each epoch.

    Raises
    ------
    ValueError
        Both attention and mixup are asked for.
    """
    if settings.attention_units and settings.mixup_alpha:
        raise ValueError("attention weighs frames that are not mixed: set mixup_alpha or attention_units to 0")
    set_seed(seed)
    rng = np.random.default_rng(seed)
    model = _build(versions[0].frames.shape[2], settings)
    standardise(model, versions[0])
    one_hot = np.eye(N_CLASSES, dtype=np.float32)[targets]
    draw = _masked_frames if settings.attention_units else DRAWS[settings.draw]
    steps = -(-len(draw(versions, one_hot, rng)[1]) // settings.batch_size)  # of an epoch, drawn to be counted only
    training.compile_model(model, settings, steps_per_epoch=steps)
    history = {}
    with training.epochs_bar(model, settings, progress) as bar:
        for _ in range(settings.epochs):
            x, y = _mixed(*draw(versions, one_hot, rng), settings.mixup_alpha, rng)
            for name, value in train_epoch(model, x, y, settings.batch_size, rng).items():
                history.setdefault(name, []).append(float(value))
            bar.update()
    return model, history


def clip_scores(model, clips):
    """Probabilities of whole clips.

    Parameters
    ----------
    model : keras.Model
        From `train_fusion`.
    clips : Heard
        What to classify.

    Returns
    -------
    np.ndarray, shape (n_clips, 50)
        With attention as the network pools; otherwise the geometric mean over the frames that count.
    """
    if len(model.inputs) > 1:
        return model.predict([clips.frames.astype(np.float32), clips.active], batch_size=64, verbose=0)
    n_clips, n_frames, size = clips.frames.shape
    scores = model.predict(clips.frames.reshape(-1, size).astype(np.float32), batch_size=2048, verbose=0)
    return geometric_mean_pool(scores.reshape(n_clips, n_frames, -1), clips.active)


def attention_weights(model, clips):
    """How much each frame counts to a network with attention.

    Parameters
    ----------
    model : keras.Model
        From `train_fusion`, with attention.
    clips : Heard
        Clips to look at.

    Returns
    -------
    np.ndarray, shape (n_clips, n_frames)
        Sums to 1 over the frames.
    """
    from keras import Model

    part = Model(model.inputs, model.get_layer("attention").output)
    return part.predict([clips.frames.astype(np.float32), clips.active], batch_size=64, verbose=0)[..., 0]


def standardise(model, clips):
    """Adapt a network's ``standardise`` layer to the frames that count.

    Parameters
    ----------
    model : keras.Model
        With such a layer.
    clips : Heard
        The training clips, as they are.

    Returns
    -------
    keras.Model
        The same one.
    """
    frames = clips.frames[clips.active].astype(np.float32)  # (n_counted_frames, size)
    layer = model.get_layer("standardise")
    layer.adapt(frames[:2] if len(model.inputs) == 1 else frames[np.newaxis, :2])  # of the rank that it was built for
    layer.adapt_mean.assign(frames.mean(axis=0))
    layer.adapt_variance.assign((frames.std(axis=0) + MIN_DEVIATION) ** 2)
    layer.finalize_state()
    return model


def average(frames, weights):
    """Weighted sum of each clip's frames.

    Parameters
    ----------
    frames : np.ndarray, shape (n_clips, n_frames, size)
        Vectors.
    weights : np.ndarray, shape (n_clips, n_frames)
        Sum to 1 over the frames.

    Returns
    -------
    np.ndarray, shape (n_clips, size)
        Of the frames' type.
    """
    return np.matmul(weights.astype(frames.dtype)[:, np.newaxis], frames)[:, 0]  # einsum is slower


def choose_versions(n_versions, n_clips, rng):
    """Draw a version of each clip: half of the time the clip as it is.

    Parameters
    ----------
    n_versions : int
        At least two.
    n_clips : int
        Of each version.
    rng : np.random.Generator
        The source of both draws.

    Returns
    -------
    np.ndarray of int, shape (n_clips,)
        0 for the clip as it is.
    """
    return np.where(rng.random(n_clips) < ORIGINAL, 0, rng.integers(1, n_versions, n_clips))


def build_attention_head(size, *, settings):
    """Head that weighs the frames itself: gated attention (Ilse et al. 2018, arXiv 1802.04712, equation 9).

    Parameters
    ----------
    size : int
        Length of a frame's vector.
    settings : FusionSettings
        Units, dropout rates and attention units.

    Returns
    -------
    keras.Model
        From frames (batch, n_frames, size) and the mask (batch, n_frames) of those that count to (batch, 50).
    """
    from keras import Input, Model, layers, ops

    frames, counted = Input((None, size), name="frames"), Input((None,), dtype="bool", name="counted")
    x = layers.Normalization(name="standardise")(frames)
    x = layers.Dropout(settings.input_dropout)(x)
    x = layers.Dense(settings.units[0], activation="relu")(x)  # (batch, n_frames, units)
    x = layers.Dropout(settings.dropout)(x)
    tanh, gate = (layers.Dense(settings.attention_units, activation=kind)(x) for kind in ("tanh", "sigmoid"))
    logits = layers.Dense(1)(tanh * gate)  # (batch, n_frames, 1)
    logits = ops.where(ops.expand_dims(counted, -1), logits, -1e9)
    attention = layers.Softmax(axis=1, name="attention")(logits)
    x = ops.sum(attention * x, axis=1)  # (batch, units)
    for units in settings.units[1:]:
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(settings.dropout)(x)
    return Model([frames, counted], layers.Dense(N_CLASSES, activation="softmax")(x), name="attention_head")


def train_epoch(model, x, y, batch_size, rng):
    """Train for one pass in a new order; ``fit`` would take twice as long for so small batches.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    x : np.ndarray, shape (n_clips, ...), or list of such
        Inputs.
    y : np.ndarray, shape (n_clips, 50)
        Labels.
    batch_size : int
        Of each step.
    rng : np.random.Generator
        The source of the order.

    Returns
    -------
    dict
        Loss and metrics over the pass.
    """
    parts, order = (x if isinstance(x, list) else [x]), rng.permutation(len(y))
    model.reset_metrics()
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        batch = [part[rows] for part in parts]
        logs = model.train_on_batch(batch if len(batch) > 1 else batch[0], y[rows], return_dict=True)
    return logs


def pool_versions(scores):
    """Put together what a network says of several versions of the same clips.

    Parameters
    ----------
    scores : list of np.ndarray, each of shape (n_clips, 50)
        Probabilities, of each version.

    Returns
    -------
    np.ndarray, shape (n_clips, 50)
        Their normalised geometric mean.
    """
    return geometric_mean_pool(np.stack(scores, axis=1))


def _build(size, settings):
    if settings.attention_units:
        return build_attention_head(size, settings=settings)
    return build_head(input_size=size, settings=settings)


def _random_averages(versions, one_hot, rng):
    """One vector a clip: the average of some of the frames of one of its versions, at random weights."""
    if len(versions) == 1:
        return average(versions[0].frames, _random_weights(versions[0].active, rng)), one_hot
    chosen = choose_versions(len(versions), len(one_hot), rng)
    averages = np.empty((len(one_hot), versions[0].frames.shape[2]), np.float32)
    for number, version in enumerate(versions):
        rows = np.flatnonzero(chosen == number)
        averages[rows] = average(version.frames[rows], _random_weights(version.active[rows], rng))
    return averages, one_hot


def _random_weights(active, rng):
    weights = rng.exponential(size=active.shape) * (rng.random(active.shape) < KEPT) * active
    none = ~weights.any(axis=1)
    weights[none] = active[none]
    return weights / weights.sum(axis=1, keepdims=True)  # (n_clips, n_frames)


def _clip_averages(versions, one_hot, rng):
    clips = versions[0]
    return average(clips.frames, clips.active / clips.active.sum(axis=1, keepdims=True)), one_hot


def _single_frames(versions, one_hot, rng):
    clips = versions[0]
    return clips.frames[clips.active], np.repeat(one_hot, clips.active.sum(axis=1), axis=0)


def _masked_frames(versions, one_hot, rng):
    """All frames, of which a random half counts."""
    clips = versions[0]
    return [clips.frames, _random_weights(clips.active, rng) > 0], one_hot


def _mixed(x, y, alpha, rng):
    """Mixup of the drawn vectors, each with another one."""
    if not alpha:
        return x, y
    share = rng.beta(alpha, alpha, size=(len(x), 1)).astype(np.float32)
    share, other = np.maximum(share, 1 - share), rng.permutation(len(x))
    return share * x + (1 - share) * x[other], share * y + (1 - share) * y[other]


# name -> function of (versions, one_hot, rng) that gives the training vectors and labels of one epoch
DRAWS = {"average": _random_averages, "clip": _clip_averages, "frames": _single_frames}
