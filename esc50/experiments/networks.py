"""The dense head on vectors of YAMNet."""

from dataclasses import dataclass

import numpy as np

from esc50.config import N_CLASSES

MIN_DEVIATION = 0.05  # of a log activation: what hardly varies in training must not blow up later


@dataclass(frozen=True)
class HeadSettings:
    """The dense head on YAMNet's frames; epochs and weight decay as chosen by nested validation, see notebook 04."""

    units: tuple[int, ...] = (256, 128)
    input_dropout: float = 0.3
    dropout: float = 0.3
    epochs: int = 30
    batch_size: int = 512
    learning_rate: float = 2e-3  # peak; cosine decay to zero after a linear warm-up
    warmup_epochs: int = 1
    weight_decay: float = 0.1


def build_head(*, input_size=1024, settings=HeadSettings()):
    """Head from vectors (batch, input_size) to probabilities (batch, 50); `standardise` it before it is trained."""
    from keras import Input, Model, layers

    inputs = Input((input_size,), name="embedding")
    x = layers.Normalization(name="standardise")(inputs)
    x = layers.Dropout(settings.input_dropout)(x)
    for units in settings.units:
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(settings.dropout)(x)
    return Model(inputs, layers.Dense(N_CLASSES, activation="softmax")(x), name="head")


def standardise(model, mean, deviation):
    """Let a network's layer ``standardise`` use this mean and deviation (size,)."""
    layer, shape = model.get_layer("standardise"), model.inputs[0].shape[1:-1]
    layer.adapt(np.zeros((2, *(1 for _ in shape), len(mean)), np.float32))  # builds it
    layer.adapt_mean.assign(mean)
    layer.adapt_variance.assign(deviation**2)
    layer.finalize_state()


def with_logarithm(head):
    """A head that takes activations as they are, from one that was trained on the logarithm of 1 plus them."""
    from keras import Input, Model, ops

    inputs = Input(head.input_shape[1:], name="activations")
    x = ops.log1p(inputs)
    for layer in head.layers[1:]:
        x = type(layer).from_config(layer.get_config())(x)  # a copy: a layer of two models has no one input
    model = Model(inputs, x, name=head.name)
    model.set_weights(head.get_weights())
    model.get_layer("standardise").finalize_state()
    return model
