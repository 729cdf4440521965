"""Dense heads on YAMNet vectors."""

from dataclasses import dataclass

import numpy as np

from esc50.config import N_CLASSES

MIN_DEVIATION = 0.05  # of log activations: limits the scaling of values that hardly vary in training


@dataclass(frozen=True)
class HeadSettings:
    """A dense head on YAMNet frames; nested validation chose epochs and weight decay: see notebook 04."""

    units: tuple[int, ...] = (256, 128)
    input_dropout: float = 0.3
    dropout: float = 0.3
    epochs: int = 30
    batch_size: int = 512
    learning_rate: float = 2e-3  # peak; cosine decay to zero after a linear warm-up
    warmup_epochs: int = 1
    weight_decay: float = 0.1


def build_head(*, input_size=1024, settings=HeadSettings(), n_directions=0):
    """Build a head from vectors (batch, input_size) to probabilities (batch, 50); `standardise` it before training.

    With `n_directions`, a linear layer without activation, ``directions``, comes before the hidden ones.
    """
    from keras import Input, Model, layers

    inputs = Input((input_size,), name="embedding")
    x = layers.Normalization(name="standardise")(inputs)
    x = layers.Dropout(settings.input_dropout)(x)
    x = layers.Dense(n_directions, name="directions")(x) if n_directions else x
    for units in settings.units:
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(settings.dropout)(x)
    return Model(inputs, layers.Dense(N_CLASSES, activation="softmax")(x), name="head")


def standardise(model, mean, deviation):
    """Set the mean and deviation (size,) of a network's layer ``standardise``."""
    layer, shape = model.get_layer("standardise"), model.inputs[0].shape[1:-1]
    layer.adapt(np.zeros((2, *(1 for _ in shape), len(mean)), np.float32))  # builds it
    layer.adapt_mean.assign(mean)
    layer.adapt_variance.assign(deviation**2)
    layer.finalize_state()


def with_logarithm(head):
    """Return a head on activations x, from a head that was trained on log(1 + x)."""
    from keras import Input, Model, ops

    inputs = Input(head.input_shape[1:], name="activations")
    x = ops.log1p(inputs)
    for layer in head.layers[1:]:
        x = type(layer).from_config(layer.get_config())(x)  # copies: a shared layer would have two inputs
    model = Model(inputs, x, name=head.name)
    model.set_weights(head.get_weights())
    model.get_layer("standardise").finalize_state()
    return model
