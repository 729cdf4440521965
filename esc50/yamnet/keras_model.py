"""YAMNet in Keras 3: batched, trainable, with any patch hop and access to every layer.

The weights come from the hub module, and a test compares the outputs of the two.
"""

import functools

import numpy as np

from esc50.config import BackboneSettings
from esc50.yamnet.architecture import BATCH_NORM_EPSILON, LAST, LAYERS, N_AUDIOSET_CLASSES, SCORES
from esc50.yamnet.backend import import_tensorflow

SETTINGS = BackboneSettings()
WINDOW_SAMPLES = round(SETTINGS.stft_window_seconds * SETTINGS.sample_rate_hz)
STEP_SAMPLES = round(SETTINGS.stft_hop_seconds * SETTINGS.sample_rate_hz)
FFT_SAMPLES = 2 ** int(np.ceil(np.log2(WINDOW_SAMPLES)))
PATCH_WINDOWS = round(SETTINGS.patch_window_seconds / SETTINGS.stft_hop_seconds)


def build_backbone(*, layers=(LAST,), trainable_from=1):
    """Build YAMNet's convolutions with random weights: see `set_weights`.

    Parameters
    ----------
    layers : sequence of int
        Layers 1 to 14 whose activations are averaged over time and frequency, and concatenated in this order. Layer 14
        is YAMNet's embedding; 15 stands for the AudioSet scores, in [0, 1].
    trainable_from : int
        First layer whose convolutions are trainable; 15 for none. Batch normalisation is always frozen.

    Returns
    -------
    keras.Model
        From (batch, 96, 64) log-mel patches to (batch, sum of the layers' filters).
    """
    from keras import Input, Model, ops
    from keras import layers as keras_layers

    patches = Input((PATCH_WINDOWS, SETTINGS.mel_bands), name="patches")
    x = ops.expand_dims(patches, axis=-1)  # (batch, 96, 64, 1)
    pooled = {}
    for number, (kind, stride, filters) in enumerate(LAYERS[: max(layers)], start=1):
        x = _add_layer(x, kind, stride, filters, name=f"layer{number}", trainable=number >= trainable_from)
        pooled[number] = ops.mean(x, axis=(1, 2))  # (batch, filters)
    if SCORES in layers:
        dense = keras_layers.Dense(N_AUDIOSET_CLASSES, activation="sigmoid", trainable=False, name="dense")
        pooled[SCORES] = dense(pooled[LAST])  # (batch, 521)
    chosen = [pooled[number] for number in layers]
    outputs = keras_layers.Concatenate()(chosen) if len(chosen) > 1 else chosen[0]
    return Model(patches, outputs, name="backbone")


def set_weights(backbone, weights):
    """Set a backbone's weights to those from `esc50.yamnet.hub_module.Yamnet.weights`, and return it."""
    for layer in backbone.layers:
        if layer.weights:
            layer.set_weights([weights[_hub_name(layer, w)] for w in layer.weights])
    return backbone


def log_mel(waveforms):
    """Return ln(mel + 0.001) every 0.01 s, (batch, n_windows, 64), of padded waveforms (batch, n_samples)."""
    import tensorflow as tf

    spectrum = tf.signal.stft(waveforms, WINDOW_SAMPLES, STEP_SAMPLES, FFT_SAMPLES)  # (batch, n_windows, 257)
    mel = tf.tensordot(tf.abs(spectrum), mel_matrix(), 1)  # (batch, n_windows, 64)
    return tf.math.log(mel + SETTINGS.log_offset)


def cut_patches(log_mels, *, hop_seconds=SETTINGS.patch_hop_seconds):
    """Cut log-mels (batch, n_windows, 64) into patches (batch, n_patches, 96, 64).

    The hop is a multiple of 0.01 s; windows at the end that do not fill a patch are dropped.
    """
    import tensorflow as tf

    hop = round(hop_seconds / SETTINGS.stft_hop_seconds)
    return tf.signal.frame(log_mels, PATCH_WINDOWS, hop, axis=1)


@functools.cache
def mel_matrix():
    """Return the mel filter bank, (257, 64)."""
    tf = import_tensorflow()
    n_bins, hertz = FFT_SAMPLES // 2 + 1, (SETTINGS.mel_min_hz, SETTINGS.mel_max_hz)
    with tf.init_scope():
        matrix = tf.signal.linear_to_mel_weight_matrix(SETTINGS.mel_bands, n_bins, SETTINGS.sample_rate_hz, *hertz)
        return matrix.numpy()  # (257, 64)


def _add_layer(x, kind, stride, filters, *, name, trainable):
    from keras import layers

    options = {"padding": "same", "use_bias": False, "trainable": trainable}
    if kind == "conv":
        return _normalise(x, layers.Conv2D(filters, 3, strides=stride, name=f"{name}.conv", **options))
    x = _normalise(x, layers.DepthwiseConv2D(3, strides=stride, name=f"{name}.depthwise_conv", **options))
    return _normalise(x, layers.Conv2D(filters, 1, name=f"{name}.pointwise_conv", **options))


def _normalise(x, layer):
    """Apply a layer, batch normalisation and ReLU."""
    from keras import layers

    name = f"{layer.name}.bn"
    normalise = layers.BatchNormalization(scale=False, epsilon=BATCH_NORM_EPSILON, trainable=False, name=name)
    return layers.ReLU()(normalise(layer(x)))


def _hub_name(layer, weight):
    kernel = "depthwise_kernel" if "depthwise" in layer.name else "kernel"
    return f"{layer.name.replace('.', '/')}/{kernel if weight.name == 'kernel' else weight.name}"
