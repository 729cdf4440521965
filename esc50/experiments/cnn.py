"""CNNs on log-mel spectrograms, trained from scratch with augmentation."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from esc50.config import N_CLASSES, LogMelSettings
from esc50.experiments.base import Experiment, Fitted, Model
from esc50.experiments.training import compile_model, one_hot, set_seed, train_drawn

LOG_MEL = LogMelSettings()
# (kind, filters, stride); "conv" is 3x3, "separable" is depthwise 3x3 then 1x1, as in MobileNet and YAMNet.
LAYERS = {
    "cnn_vgg": (
        ("conv", 24, 1),
        ("pool", None, 2),
        ("conv", 48, 1),
        ("conv", 48, 1),
        ("pool", None, 2),
        ("conv", 96, 1),
        ("conv", 96, 1),
        ("pool", None, 2),
        ("conv", 192, 1),
        ("conv", 192, 1),
    ),
    "cnn_separable": (
        ("conv", 32, 2),
        ("separable", 64, 2),
        ("separable", 128, 1),
        ("separable", 128, 2),
        ("separable", 256, 1),
        ("separable", 512, 2),
        ("separable", 512, 1),
    ),
}


@dataclass(frozen=True)
class CnnSettings:
    """Training of the log-mel CNNs; fixed in advance, not tuned on any fold."""

    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 2e-3  # peak; cosine decay to zero after a linear warm-up
    warmup_epochs: int = 3
    weight_decay: float = 0.01
    dropout: float = 0.3
    mixup_alpha: float = 0.3  # Zhang et al. 2018, arXiv 1710.09412
    masks: int = 2  # of each kind, SpecAugment: Park et al. 2019, arXiv 1904.08779
    time_mask_seconds: float = 0.6  # maximum
    band_mask_bands: int = 10  # maximum
    gain_decibel: float = 6.0  # uniform in [-6, 6]


def build(name, *, settings=CnnSettings()):
    """Build a network from log-mels (batch, n_frames, mel_bands) in decibels to probabilities (batch, 50)."""
    from keras import Input, Model, layers, ops

    inputs = Input((None, LOG_MEL.mel_bands), name="log_mel_decibel")
    x = layers.Normalization(axis=-1, name="standardise")(inputs)
    x = ops.expand_dims(x, axis=-1)  # (batch, n_frames, mel_bands, 1)
    for kind, filters, stride in LAYERS[name]:
        x = _block(x, kind, filters, stride)  # (batch, n_frames', bands', filters)
    x = ops.mean(x, axis=2)  # (batch, n_frames', filters)
    x = ops.mean(x, axis=1) + ops.max(x, axis=1)  # (batch, filters)
    x = layers.Dropout(settings.dropout)(x)
    return Model(inputs, layers.Dense(N_CLASSES, activation="softmax")(x), name=name)


def augment(inputs, labels, rng, *, settings=CnnSettings()):
    """Return augmented copies: random time roll, gain and SpecAugment masks for each clip, then mixup."""
    n, n_frames, mel_bands = inputs.shape
    shifts = rng.integers(n_frames, size=n)
    x = np.stack([np.roll(clip, shift, axis=0) for clip, shift in zip(inputs, shifts, strict=True)])
    gain = rng.uniform(-settings.gain_decibel, settings.gain_decibel, size=(n, 1, 1)).astype(np.float32)
    x = np.maximum(x + gain, LOG_MEL.decibel_min)
    fill = x.mean(axis=(1, 2), keepdims=True)  # (n, 1, 1)
    widest = round(settings.time_mask_seconds / LOG_MEL.hop_seconds)
    for _ in range(settings.masks):
        x = np.where(_mask(n, n_frames, widest, rng)[:, :, None], fill, x)
        x = np.where(_mask(n, mel_bands, settings.band_mask_bands, rng)[:, None, :], fill, x)
    return mixup(x, labels, rng, alpha=settings.mixup_alpha)


def mixup(inputs, labels, rng, *, alpha):
    """Mix each example with another by a share from Beta(alpha, alpha) (Zhang et al. 2018, arXiv 1710.09412)."""
    partner = rng.permutation(len(inputs))
    share = rng.beta(alpha, alpha, size=len(inputs)).astype(np.float32)
    wide, share = share.reshape(-1, *[1] * (inputs.ndim - 1)), share[:, None]
    return wide * inputs + (1 - wide) * inputs[partner], share * labels + (1 - share) * labels[partner]


def fit(name, inputs, targets, *, settings, seed, held_out=None, progress=False):
    """Train on clips (n, n_frames, mel_bands), with new augmentation in every epoch."""
    set_seed(seed)
    rng, model, labels = np.random.default_rng(seed), build(name, settings=settings), one_hot(targets)
    model.get_layer("standardise").adapt(inputs)
    compile_model(model, settings, n_examples=len(inputs))
    how = {"validation_data": held_out and (held_out[0], one_hot(held_out[1])), "batch_size": settings.batch_size}

    def draw():
        order = rng.permutation(len(inputs))
        return augment(inputs[order], labels[order], rng, settings=settings)

    def fit_once(x, y):
        return {name: values[-1] for name, values in model.fit(x, y, shuffle=False, verbose=0, **how).history.items()}

    history = train_drawn(model, draw, settings=settings, fit=fit_once, progress=progress)
    return Fitted(lambda test: {name: model.predict(test, batch_size=64, verbose=0)}, history, model)


def _mask(n, length, widest, rng):
    width = rng.integers(0, widest + 1, size=(n, 1))
    start = rng.integers(0, length - width + 1)
    position = np.arange(length)
    return (position >= start) & (position < start + width)  # (n, length)


def _block(x, kind, filters, stride):
    from keras import layers

    def normalise(x):
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    if kind == "pool":
        return layers.AveragePooling2D(stride)(x)
    if kind == "conv":
        return normalise(layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x))
    x = normalise(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x))
    return normalise(layers.Conv2D(filters, 1, use_bias=False)(x))


SETTINGS = CnnSettings()
TITLES = {
    "cnn_separable": "separable CNN on log-mels, from scratch",
    "cnn_vgg": "VGG-like CNN on log-mels, from scratch",
}
EXPERIMENTS = [
    Experiment(
        name, ("log_mel",), lambda log_mel: log_mel["log_mel"], partial(fit, name), {name: Model(title)}, SETTINGS
    )
    for name, title in TITLES.items()
]
