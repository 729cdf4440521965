"""The network that is fine-tuned: YAMNet and a head, a learning rate for each kernel, averaged weights, checkpoints."""

import json
from dataclasses import dataclass

import numpy as np

from esc50.classifier.pooling import frame_mask, maximum_of_vectors
from esc50.config import FinetuneSettings, atomic_write
from esc50.experiments.networks import build_head
from esc50.experiments.training import cosine_decay
from esc50.yamnet import keras_model
from esc50.yamnet.frames import active_frames

SETTINGS = FinetuneSettings()


@dataclass(frozen=True, eq=False)
class Learner:
    """A network in training: all that a checkpoint holds."""

    network: object  # (batch, 96, 64) patches -> (batch, 50); its parts are "backbone", a logarithm, and "head"
    averaged: object  # the same with the running averages of its weights: this one is tested
    optimizers: dict  # a key of `learning_rates` -> (optimizer, variables)
    rows: list  # one dict an epoch; the first is of the head alone

    def variables(self):
        """Everything that training changes, always in the same order.

        Returns
        -------
        list of keras.Variable
            Weights, averaged weights, states of the optimizers.
        """
        states = [v for optimizer, _ in self.optimizers.values() for v in optimizer.variables]
        return [*self.network.weights, *self.averaged.weights, *states]

    def start_average(self):
        """Let the averages begin with the weights as they are."""
        self.averaged.set_weights(self.network.get_weights())
        self.standardise()

    def standardise(self):
        """Let both networks use the mean and deviation that are among their weights; Keras keeps a copy of them."""
        for network in (self.network, self.averaged):
            network.get_layer("head").get_layer("standardise").finalize_state()

    def save(self, path):
        """Write a checkpoint: beside its place first, then renamed.

        Parameters
        ----------
        path : Path
            Ends in .npz.
        """
        values = [variable.numpy() for variable in self.variables()]
        with atomic_write(path) as beside:
            np.savez(beside, *values, rows=json.dumps(self.rows))

    def restore(self, path):
        """Go on from a checkpoint.

        Parameters
        ----------
        path : Path
            From `save`, of a learner with the same settings.
        """
        with np.load(path, allow_pickle=False) as file:
            for index, variable in enumerate(self.variables()):
                variable.assign(file[f"arr_{index}"])
            self.rows[:] = json.loads(str(file["rows"]))
        self.standardise()


def build_learner(weights, *, n_clips, settings=SETTINGS):
    """YAMNet with a head whose weights are drawn at random, ready to be trained.

    Parameters
    ----------
    weights : dict of str to np.ndarray
        Of YAMNet: `esc50.yamnet.hub_module.Yamnet.weights`.
    n_clips : int
        To be trained on in an epoch; the rates fall accordingly.
    settings : FinetuneSettings
        Of network and training.

    Returns
    -------
    Learner
        Without any epoch.
    """
    network, averaged = (_build_network(weights, settings) for _ in range(2))
    rates, steps_per_epoch = learning_rates(network, settings=settings), -(-n_clips // settings.clips_per_batch)
    optimizers = {
        name: (_optimizer(rates[name], variables, settings, steps_per_epoch, decays=name == "head"), variables)
        for name, variables in _trained_variables(network).items()
    }
    return Learner(network, averaged, optimizers, [])


def learning_rates(network, *, settings=SETTINGS):
    """Peak learning rate of the head and of each trained kernel of YAMNet.

    Adam's steps are as long as the rate, whatever the gradient. YAMNet's kernels are small, for each is followed by
    a normalisation: a rate of 1e-4 undoes them in a hundred steps. So each kernel's rate is a share of its root mean
    square, as in Adafactor (Shazeer and Stern 2018, arXiv 1804.04235, section 8).

    Parameters
    ----------
    network : keras.Model
        Of a `Learner`.
    settings : FinetuneSettings
        The head's rate and the share.

    Returns
    -------
    dict of str to float
        Keys ``head``, ``layer3.depthwise_conv`` … ``layer14.pointwise_conv``.
    """
    groups = _trained_variables(network)
    squares = {name: np.mean(np.square(of[0].numpy())) for name, of in groups.items() if name != "head"}
    rates = {name: settings.relative_rate * float(np.sqrt(square)) for name, square in squares.items()}
    return {"head": settings.head_learning_rate, **rates}


def make_step(learner, *, settings=SETTINGS):
    """Make the function that trains on one batch.

    Parameters
    ----------
    learner : Learner
        Changed at every call: weights, their averages, optimizers.
    settings : FinetuneSettings
        How slowly the averages follow.

    Returns
    -------
    callable
        From patches (n_clips, n_patches, 96, 64), each clip's partner (n_clips,), its own share (n_clips, 1) of the
        blend and the blends' labels (n_clips, 50) to loss and accuracy before the step, scalar tensors.
    """
    import tensorflow as tf
    from keras import losses, metrics

    head, optimizers = learner.network.get_layer("head"), learner.optimizers.values()
    pairs = list(zip(learner.averaged.trainable_variables, learner.network.trainable_variables, strict=True))

    @tf.function
    def step(patches, partners, share, labels):
        with tf.GradientTape() as tape:
            heard = _clip_maxima(learner.network.get_layer("backbone"), patches)  # (n_clips, size)
            blends = share * heard + (1 - share) * tf.gather(heard, partners)
            predicted = head(blends, training=True)  # (n_clips, 50)
            loss = tf.reduce_mean(losses.categorical_crossentropy(labels, predicted))
        gradients = tape.gradient(loss, [[v.value for v in variables] for _, variables in optimizers])
        for (optimizer, variables), of_group in zip(optimizers, gradients, strict=True):
            optimizer.apply(of_group, variables)
        for average, now in pairs:
            average.assign(settings.ema_decay * average + (1 - settings.ema_decay) * now)
        return loss, tf.reduce_mean(metrics.categorical_accuracy(labels, predicted))

    return step


def _clip_maxima(backbone_model, patches):
    """Logarithm of the maximum over the patches with sound, (n_clips, size); a graph, through which gradients flow.

    Which patches have sound is told by what the network itself makes of them, as it is trained; tests tell it by
    YAMNet as AudioSet left it. On clips with silence the two differ in one or two patches of a hundred.
    """
    import tensorflow as tf

    n_clips, n_patches, *size = patches.shape
    vectors = backbone_model(tf.reshape(patches, (-1, *size)), training=True)  # (n_clips * n_patches, size)
    vectors = tf.reshape(vectors, (n_clips, n_patches, -1))
    counted = tf.numpy_function(lambda v: frame_mask(active_frames(v)), [vectors], tf.bool)
    counted = tf.ensure_shape(counted, (n_clips, n_patches))
    return tf.math.log1p(tf.reduce_max(tf.where(counted[..., tf.newaxis], vectors, 0.0), axis=1))


def reseed_dropout(network, rng):
    """Let the draws of dropout start anew.

    Parameters
    ----------
    network : keras.Model
        Of a `Learner`.
    rng : np.random.Generator
        The source of the new seeds.
    """
    from keras.layers import Dropout

    for layer in network.get_layer("head").layers:
        if isinstance(layer, Dropout) and layer.rate > 0:
            layer.seed_generator.state.assign(rng.integers(2**31, size=2))


def hear(network, log_mels, *, progress=False):
    """What a network makes of every patch of some clips, one patch every 0.48 s.

    Parameters
    ----------
    network : keras.Model
        From (batch, 96, 64) patches to (batch, size).
    log_mels : np.ndarray, shape (n_clips, n_windows, 64)
        From `esc50.experiments.finetune_data.load_log_mels`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    np.ndarray, shape (n_clips, n_patches, size)
        Float32.
    """
    from tqdm.auto import tqdm

    parts, clips_per_batch = [], SETTINGS.clips_per_batch
    for first in tqdm(range(0, len(log_mels), clips_per_batch), desc="hearing", disable=not progress, leave=False):
        patches = keras_model.cut_patches(log_mels[first : first + clips_per_batch]).numpy()  # (n, n_patches, 96, 64)
        heard = network.predict_on_batch(patches.reshape(-1, *patches.shape[2:]))  # (n * n_patches, size)
        parts.append(heard.reshape(*patches.shape[:2], -1))
    return np.concatenate(parts)


def clip_scores(network, log_mels, active):
    """Class probabilities of whole clips.

    Parameters
    ----------
    network : keras.Model
        Of a `Learner`.
    log_mels : np.ndarray, shape (n_clips, n_windows, 64)
        From `esc50.experiments.finetune_data.load_log_mels`.
    active : np.ndarray of bool, shape (n_clips, n_patches)
        Patches, every 0.48 s, that count.

    Returns
    -------
    np.ndarray, shape (n_clips, 50)
        Of the maxima over the patches with sound.
    """
    maxima = maximum_of_vectors(hear(network.get_layer("backbone"), log_mels), active)  # (n_clips, size)
    return network.get_layer("head").predict_on_batch(np.log1p(maxima))


def _build_network(weights, settings):
    from keras import Input, Model, ops

    layers, first = settings.layers, settings.first_trained_layer
    body = keras_model.set_weights(keras_model.build_backbone(layers=layers, trainable_from=first), weights)
    head = build_head(input_size=sum(keras_model.layer_sizes(layers)), settings=settings.head)
    patches = Input(body.input_shape[1:])
    return Model(patches, head(ops.log1p(body(patches))))


def _trained_variables(network):
    """Of the head, and of each part of YAMNet that is trained."""
    groups = {"head": network.get_layer("head").trainable_variables}
    parts = network.get_layer("backbone").layers
    return groups | {part.name: part.trainable_variables for part in parts if part.trainable_variables}


def _optimizer(rate, variables, settings, steps_per_epoch, *, decays):
    """One for each rate: to scale gradients would do nothing, for Adam's steps do not depend on their length."""
    from keras import optimizers

    schedule = cosine_decay(rate, settings, steps_per_epoch)
    optimizer = optimizers.AdamW(schedule, weight_decay=settings.weight_decay if decays else 0.0)
    optimizer.build(variables)
    return optimizer
