"""Training of networks: seeds, learning-rate schedule and training loops."""

import numpy as np

from esc50.config import N_CLASSES
from esc50.yamnet.backend import quiet_tensorflow


def set_seed(seed):
    """Seed Python, numpy and TensorFlow, and make TensorFlow deterministic."""
    quiet_tensorflow()
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def one_hot(targets):
    """Return labels (n,) as one-hot vectors, float32 (n, 50)."""
    return np.eye(N_CLASSES, dtype=np.float32)[targets]


def blend(rows, first, second, share):
    """Return mixup of rows: share (n, 1) * first + (1 - share) * second."""
    return share * rows[first] + (1 - share) * rows[second]


def cosine_decay(rate, settings, steps_per_epoch):
    """Return a schedule with linear warm-up from `rate` / 25 to `rate`, followed by cosine decay to zero."""
    from keras import optimizers

    warmup = round(settings.warmup_epochs * steps_per_epoch)
    return optimizers.schedules.CosineDecay(
        initial_learning_rate=rate / 25,
        decay_steps=max(1, settings.epochs * steps_per_epoch - warmup),
        warmup_target=rate,
        warmup_steps=warmup,
    )


def compile_model(model, settings, *, n_examples, optimizer=None):
    """Compile with cross-entropy and AdamW, or a similar optimizer, with `cosine_decay` over all epochs."""
    from keras import losses, optimizers

    rate = cosine_decay(settings.learning_rate, settings, -(-n_examples // settings.batch_size))
    optimizer = (optimizer or optimizers.AdamW)(rate, weight_decay=settings.weight_decay)
    model.compile(optimizer, losses.CategoricalCrossentropy(), metrics=["accuracy"])


def train(model, inputs, targets, *, settings, held_out=None, progress=False):
    """Train for a fixed number of epochs; return the curves, including those of `held_out`, which nothing else uses."""
    from keras import callbacks

    compile_model(model, settings, n_examples=len(inputs))
    with epochs_bar(model, settings, progress) as bar:
        update_bar = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: bar.update())
        validation = held_out and (held_out[0], one_hot(held_out[1]))
        how = {"batch_size": settings.batch_size, "epochs": settings.epochs, "validation_data": validation}
        return model.fit(inputs, one_hot(targets), callbacks=[update_bar], verbose=0, **how).history


def train_drawn(model, draw, *, settings, fit, progress=False):
    """Train a compiled network with ``fit(*draw())`` in each epoch; return the curves."""
    history = {}
    with epochs_bar(model, settings, progress) as bar:
        for _ in range(settings.epochs):
            for name, value in fit(*draw()).items():
                history.setdefault(name, []).append(float(value))
            bar.update()
    return history


def fit_in_batches(model, batch_size, rng):
    """Return a function that trains for one epoch in random order, twice as fast as ``Model.fit`` for small batches."""

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
    """Return a progress bar over the epochs of one training."""
    from tqdm.auto import tqdm

    return tqdm(total=settings.epochs, desc=model.name, unit="epoch", disable=not progress, leave=False)
