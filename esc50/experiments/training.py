"""How networks are trained: seeds, the learning rate's schedule, and the loops over epochs."""

import numpy as np

from esc50.config import N_CLASSES
from esc50.yamnet.backend import quiet_tensorflow


def set_seed(seed):
    """Seed Python, numpy and TensorFlow, and make TensorFlow deterministic: one seed, one result on one machine."""
    quiet_tensorflow()
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def one_hot(targets):
    """Labels (n,) as probabilities (n, 50), float32."""
    return np.eye(N_CLASSES, dtype=np.float32)[targets]


def blend(rows, first, second, share):
    """Mixtures of rows: a share (n, 1) of the first ones, the rest of the second ones."""
    return share * rows[first] + (1 - share) * rows[second]


def cosine_decay(rate, settings, steps_per_epoch):
    """Learning rate that rises linearly from a 25th of its peak, `rate`, and then falls to zero as a cosine does."""
    from keras import optimizers

    warmup = round(settings.warmup_epochs * steps_per_epoch)
    return optimizers.schedules.CosineDecay(
        initial_learning_rate=rate / 25,
        decay_steps=max(1, settings.epochs * steps_per_epoch - warmup),
        warmup_target=rate,
        warmup_steps=warmup,
    )


def compile_model(model, settings, *, n_examples, optimizer=None):
    """Compile for cross-entropy and AdamW (or another optimizer of its kind), its rate falling over all epochs."""
    from keras import losses, optimizers

    rate = cosine_decay(settings.learning_rate, settings, -(-n_examples // settings.batch_size))
    optimizer = (optimizer or optimizers.AdamW)(rate, weight_decay=settings.weight_decay)
    model.compile(optimizer, losses.CategoricalCrossentropy(), metrics=["accuracy"])


def train(model, inputs, targets, *, settings, held_out=None, progress=False):
    """Train for a fixed number of epochs on the same examples; curves, with those of `held_out`, which nothing uses."""
    from keras import callbacks

    compile_model(model, settings, n_examples=len(inputs))
    with epochs_bar(model, settings, progress) as bar:
        told = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: bar.update())
        validation = held_out and (held_out[0], one_hot(held_out[1]))
        how = {"batch_size": settings.batch_size, "epochs": settings.epochs, "validation_data": validation}
        return model.fit(inputs, one_hot(targets), callbacks=[told], verbose=0, **how).history


def train_drawn(model, draw, *, settings, fit, progress=False):
    """Train a compiled network on what `draw()` gives for each epoch, by ``fit(inputs, labels)``; its curves."""
    history = {}
    with epochs_bar(model, settings, progress) as bar:
        for _ in range(settings.epochs):
            for name, value in fit(*draw()).items():
                history.setdefault(name, []).append(float(value))
            bar.update()
    return history


def fit_in_batches(model, batch_size, rng):
    """A function that trains for one pass in a new order: for so small batches ``Model.fit`` takes twice as long."""

    def fit(x, y):
        parts, order = (x if isinstance(x, list) else [x]), rng.permutation(len(y))
        model.reset_metrics()
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            batch = [part[rows] for part in parts]
            logs = model.train_on_batch(batch if len(batch) > 1 else batch[0], y[rows], return_dict=True)
        return logs

    return fit


def epochs_bar(model, settings, progress):
    """Progress bar over the epochs of one training."""
    from tqdm.auto import tqdm

    return tqdm(total=settings.epochs, desc=model.name, unit="epoch", disable=not progress, leave=False)
