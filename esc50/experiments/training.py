"""One training: seeds, the learning-rate schedule, the loop over epochs, and the fit of one fold."""

import time
from dataclasses import dataclass
from functools import partial

import numpy as np

from esc50.config import N_CLASSES
from esc50.experiments.augmentation import augment_log_mel
from esc50.experiments.networks import build_classical, build_cnn, build_head


@dataclass(frozen=True)
class Trained:
    """A trained network and how it came about."""

    model: object
    history: dict  # loss, accuracy, … -> one value an epoch
    train_seconds: float


@dataclass(frozen=True)
class Run:
    """What one training found out about its test clips."""

    scores: dict  # model name -> (n_test_clips, 50) probabilities
    history: dict  # loss, accuracy, … -> one value an epoch; empty where there are no epochs
    train_seconds: float


def set_seed(seed):
    """Seed Python, numpy and TensorFlow, and make TensorFlow's operations deterministic.

    Parameters
    ----------
    seed : int
        Two runs with one seed on one machine give the same numbers.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def train(model, inputs, targets, *, settings, seed, augment=None, held_out=None, progress=False):
    """Train for a fixed number of epochs: AdamW, linear warm-up, cosine decay, no early stopping.

    Parameters
    ----------
    model : keras.Model
        With a ``standardise`` layer, which is adapted to `inputs` first.
    inputs : np.ndarray, shape (n, ...)
        Training examples, float32.
    targets : np.ndarray, shape (n,)
        Labels 0 to 49.
    settings : CnnSettings or HeadSettings
        Epochs, batch size and rates.
    seed : int
        Order of examples and augmentation; the weights were drawn when the model was built.
    augment : callable, optional
        ``augment(inputs, one_hot, rng)`` returns a new pair of the same shapes for one epoch.
    held_out : tuple of np.ndarray, optional
        (inputs, targets) whose loss and accuracy are logged after each epoch and never used.
    progress : bool
        Show a progress bar over the epochs.

    Returns
    -------
    Trained
        Model, history (loss, accuracy and, with `held_out`, val_loss, val_accuracy) and seconds.
    """
    rng = np.random.default_rng(seed)
    one_hot = np.eye(N_CLASSES, dtype=np.float32)[targets]  # (n, 50)
    validation = held_out and (held_out[0], np.eye(N_CLASSES, dtype=np.float32)[held_out[1]])
    start = time.perf_counter()
    model.get_layer("standardise").adapt(inputs)
    compile_model(model, settings, steps_per_epoch=-(-len(inputs) // settings.batch_size))
    fit = partial(model.fit, batch_size=settings.batch_size, validation_data=validation, verbose=0)
    with epochs_bar(model, settings, progress) as bar:
        if augment is None:
            history = fit(inputs, one_hot, epochs=settings.epochs, callbacks=[_on_epoch_end(bar.update)]).history
        else:
            history = _fit_augmented(fit, inputs, one_hot, augment, rng, epochs=settings.epochs, bar=bar)
    return Trained(model, history, time.perf_counter() - start)


def fit_cnn(name, inputs, targets, split, *, settings, seed, progress=False):
    """Train a log-mel CNN on one split and score its test clips.

    Parameters
    ----------
    name : str
        A key of `esc50.experiments.networks.CNN_LAYERS`.
    inputs : np.ndarray, shape (n_clips, n_frames, mel_bands)
        Log-mels in decibels.
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    split : esc50.dataset.splits.Split
        Training and test clips.
    settings : CnnSettings
        Training settings.
    seed : int
        Seed of weights, order and augmentation.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Run
        The history has the test clips' accuracy after each epoch too; nothing uses it but the picture.
    """
    set_seed(seed)
    model = build_cnn(name, settings=settings)
    test = inputs[split.test], targets[split.test]
    trained = train(
        model,
        inputs[split.train],
        targets[split.train],
        settings=settings,
        seed=seed,
        augment=partial(augment_log_mel, settings=settings),
        held_out=test,
        progress=progress,
    )
    scores = model.predict(test[0], batch_size=64, verbose=0)  # (n_test_clips, 50)
    return Run({name: scores}, trained.history, trained.train_seconds)


def fit_head(poolings, inputs, targets, split, *, settings, seed, active=None, progress=False):
    """Train the dense head on single vectors and pool its scores over each test clip.

    Parameters
    ----------
    poolings : dict of str to callable
        Model name -> function from the scores (n_clips, n_vectors, 50) and the mask that `active` makes, to
        (n_clips, 50), as in `esc50.classifier.pooling.POOLINGS`.
    inputs : np.ndarray, shape (n_clips, n_vectors, size)
        One vector a frame, or a single one for the clip; each is trained with its clip's label.
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    split : esc50.dataset.splits.Split
        Training and test clips.
    settings : HeadSettings
        Training settings.
    seed : int
        Seed of weights and order.
    active : callable, optional
        From inputs (n_clips, n_vectors, size) to the mask (n_clips, n_vectors) of those with sound in them. All
        are trained on; poolings may leave the silent ones out.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Run
        Scores under every pooling; the history counts vectors, not clips.
    """
    set_seed(seed)
    model = build_head(input_size=inputs.shape[2], settings=settings)
    (train_x, train_y), test = (_vectors(inputs[part], targets[part]) for part in (split.train, split.test))
    trained = train(model, train_x, train_y, settings=settings, seed=seed, held_out=test, progress=progress)
    scores = model.predict(test[0], batch_size=2048, verbose=0)
    scores = scores.reshape(len(split.test), -1, N_CLASSES)  # (n_test_clips, n_vectors, 50)
    mask = active and active(inputs[split.test])  # (n_test_clips, n_vectors)
    return Run({name: pool(scores, mask) for name, pool in poolings.items()}, trained.history, trained.train_seconds)


def fit_classical(name, inputs, targets, split, *, settings=None, seed=0, progress=False):
    """Fit a scikit-learn classifier on one split and score its test clips.

    Parameters
    ----------
    name : str
        A classifier of `esc50.experiments.networks.build_classical`.
    inputs : np.ndarray, shape (n_clips, size)
        One vector a clip.
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    split : esc50.dataset.splits.Split
        Training and test clips.
    settings : None
        There are none; the signature is that of the other fits.
    seed : int
        Seed of the random forest.
    progress : bool
        There is nothing to show.

    Returns
    -------
    Run
        Probabilities, or for the SVM the softmax of its decision function, which has the same order.
    """
    from scipy.special import softmax

    start = time.perf_counter()
    model = build_classical(name, seed=seed).fit(inputs[split.train], targets[split.train])
    seconds = time.perf_counter() - start
    test = inputs[split.test]
    has_probabilities = hasattr(model, "predict_proba")
    scores = model.predict_proba(test) if has_probabilities else softmax(model.decision_function(test), axis=1)
    return Run({name: scores.astype(np.float32)}, {}, seconds)


def compile_model(model, settings, *, steps_per_epoch):
    """Compile a network for AdamW with cosine decay after a linear warm-up, and cross-entropy.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    settings : esc50.config.HeadSettings
        Learning rate, warm-up, epochs and weight decay.
    steps_per_epoch : int
        Of the training, by which the rate is set.
    """
    from keras import losses, optimizers

    optimizer = optimizers.AdamW(
        cosine_decay(settings.learning_rate, settings, steps_per_epoch), weight_decay=settings.weight_decay
    )
    model.compile(optimizer, losses.CategoricalCrossentropy(), metrics=["accuracy"])


def cosine_decay(rate, settings, steps_per_epoch):
    """Learning rate that rises linearly from a 25th of its peak and then falls to zero as a cosine does.

    Parameters
    ----------
    rate : float
        Its peak.
    settings : esc50.config.HeadSettings or esc50.config.FinetuneSettings
        Epochs in all, and of the warm-up.
    steps_per_epoch : int
        Of the training.

    Returns
    -------
    keras.optimizers.schedules.CosineDecay
        Over all steps.
    """
    from keras import optimizers

    warmup = round(settings.warmup_epochs * steps_per_epoch)
    return optimizers.schedules.CosineDecay(
        initial_learning_rate=rate / 25,
        decay_steps=max(1, settings.epochs * steps_per_epoch - warmup),
        warmup_target=rate,
        warmup_steps=warmup,
    )


def epochs_bar(model, settings, progress):
    """Progress bar of one training.

    Parameters
    ----------
    model : keras.Model
        Its name is shown.
    settings : esc50.config.HeadSettings
        Says how many epochs there are.
    progress : bool
        Whether to show it.

    Returns
    -------
    tqdm.tqdm
        To be updated after each epoch.
    """
    from tqdm.auto import tqdm

    return tqdm(total=settings.epochs, desc=model.name, unit="epoch", disable=not progress, leave=False)


def _fit_augmented(fit, inputs, one_hot, augment, rng, *, epochs, bar):
    """Fit one epoch at a time, each on a newly drawn set."""
    history = {}
    for _ in range(epochs):
        order = rng.permutation(len(inputs))
        x, y = augment(inputs[order], one_hot[order], rng)
        for name, values in fit(x, y, shuffle=False).history.items():
            history.setdefault(name, []).extend(values)
        bar.update()
    return history


def _on_epoch_end(update):
    from keras import callbacks

    return callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: update())


def _vectors(inputs, targets):
    n_clips, n_vectors, size = inputs.shape
    return inputs.reshape(n_clips * n_vectors, size), np.repeat(targets, n_vectors)
