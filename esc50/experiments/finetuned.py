"""Fine-tune YAMNet end to end with the distilled head; the learning rate is relative to each kernel's size."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from esc50.audio.sound import load_sound
from esc50.classifier.pooling import maximum_of_vectors
from esc50.config import ALL_LAYERS, SEEDS
from esc50.dataset.clips import clip_path, find_dataset, load_clips
from esc50.experiments import distilled
from esc50.experiments.base import Experiment, Fitted, Model
from esc50.experiments.distilled import N_TAUGHT, N_VIEWS, DistillationSettings
from esc50.experiments.kernel_ridge import KernelRidge
from esc50.experiments.multilayer import SPEEDS
from esc50.experiments.training import blend, compile_model, one_hot, set_seed, train_drawn
from esc50.yamnet import keras_model
from esc50.yamnet.frames import MAX_SILENCE_COSINE, pad_waveform, silence
from esc50.yamnet.hub_module import load_yamnet

PATCH_WINDOWS = keras_model.PATCH_WINDOWS


@dataclass(frozen=True)
class FinetuneSettings:
    """End-to-end fine-tuning; chosen in trials on two folds with networks trained on the other three."""

    head: DistillationSettings = distilled.SETTINGS  # trained first, with YAMNet frozen
    epochs: int = 2  # end to end, after the head's; more made the result worse
    batch_size: int = 32  # clips
    patches_per_clip: int = 5  # of 0.96 s without overlap, from a random start: nearly the whole clip
    learning_rate: float = 1e-4  # peak; absolute for the head, relative to the RMS of each YAMNet kernel
    first_trained_layer: int = 3  # layers 1 and 2 stay frozen
    teacher_weight: float = 0.5  # weight of the teacher's outputs in the targets; the rest are the true labels
    weight_decay: float = 0.01  # of the head
    warmup_epochs: float = 0.5
    ema_decay: float = 0.98  # per step: averages the tested weights over about 50 steps


SETTINGS = FinetuneSettings()


def prepare(*files):
    """Return the log-mels of the recordings, their active frames, and the views for distillation."""
    return load_log_mels(), files[0]["active"], *distilled.prepare(*files)


def load_log_mels(*, clips_at_once=50):
    """Return YAMNet's log-mels of all recordings, (n_clips, 528, 64)."""
    root = find_dataset()
    waveforms = np.stack([load_sound(clip_path(name, root)).waveform for name in load_clips()["filename"]])
    parts = np.array_split(pad_waveform(waveforms), len(waveforms) // clips_at_once)
    return np.concatenate([keras_model.log_mel(part).numpy() for part in parts])


def fit(inputs, targets, *, settings=SETTINGS, seed=0, weights=None, progress=False, **_):
    """Distil the head, then train head and YAMNet on mixup pairs with labels from teacher and clips."""
    log_mels, _, *views = inputs
    head = distilled.fit({}, tuple(views), targets, settings=settings.head, seed=seed, progress=progress).head
    set_seed(seed)
    rng, rows = np.random.default_rng(seed), np.arange(len(targets))
    body = keras_model.build_backbone(layers=ALL_LAYERS, trainable_from=settings.first_trained_layer)
    keras_model.set_weights(body, weights or load_yamnet().weights())
    network = _build_network(body, head, settings)
    optimizer = partial(relative_adamw(body.trainable_variables), use_ema=True, ema_momentum=settings.ema_decay)
    compile_model(network, settings, n_examples=len(targets), optimizer=optimizer)
    label = _make_labels(views, targets, settings)

    def fit_epoch(order, starts):
        network.reset_metrics()
        for batch in np.split(order, range(settings.batch_size, len(order), settings.batch_size)):
            partner, share = _draw_partners(len(batch), rng, settings)
            patches = cut_patches(log_mels[batch], starts[batch], settings.patches_per_clip)
            labels = label(batch, batch[partner], share)
            logs = network.train_on_batch([patches, partner, share], labels, return_dict=True)
        return logs

    def draw():
        return rng.permutation(rows), rng.integers(log_mels.shape[1], size=len(rows))

    history = train_drawn(network, draw, settings=settings, fit=fit_epoch, progress=progress)
    network.optimizer.finalize_variable_values(network.trainable_variables)  # uses the averaged weights
    return Fitted(lambda test: {"finetuned": _predict(body, head, *test[:2])}, history, head)


def relative_adamw(relative):
    """Return an AdamW whose steps are relative to the RMS of the variables in `relative`, without weight decay on them.

    Adam's step size is the learning rate, regardless of the gradient's size. YAMNet's kernels are small, because each
    is followed by batch normalisation: a rate of 1e-4 destroys them within a hundred steps. The relative scale is that
    of Adafactor (Shazeer and Stern 2018, arXiv 1804.04235, section 8).
    """
    from keras import optimizers

    sizes = {id(variable): float(np.sqrt(np.mean(np.square(variable.numpy())))) for variable in relative}

    class RelativeAdamW(optimizers.AdamW):
        def build(self, variables):
            self.exclude_from_weight_decay(var_list=relative)
            super().build(variables)
            self.scales = [sizes.get(id(variable), 1.0) for variable in variables]

        def update_step(self, gradient, variable, learning_rate):
            scale = self.scales[self._get_variable_index(variable)]
            super().update_step(gradient, variable, scale * learning_rate)

    return RelativeAdamW


def cut_patches(log_mels, starts, n_patches):
    """Cut patches (n_clips, n_patches, 96, 64) from each clip's start on, with wrap-around at its end."""
    windows = (starts[:, np.newaxis] + np.arange(n_patches * PATCH_WINDOWS)) % log_mels.shape[1]
    x = log_mels[np.arange(len(log_mels))[:, np.newaxis], windows]  # (n_clips, n_patches * 96, 64)
    return x.reshape(len(x), n_patches, PATCH_WINDOWS, -1)


def _build_network(body, head, settings):
    """Build a network from patches (n_clips, n_patches, 96, 64), mixup partners and shares to probabilities."""
    from keras import Input, Model, ops

    patches = Input((settings.patches_per_clip, *body.input_shape[1:]))
    partner, share = Input((), dtype="int32"), Input((1,))
    vectors = body(ops.reshape(patches, (-1, *body.input_shape[1:])))  # (n_clips * n_patches, size)
    vectors = ops.reshape(vectors, (-1, settings.patches_per_clip, body.output_shape[-1]))
    maxima = ops.log1p(ops.max(ops.where(_active(vectors)[..., None], vectors, 0.0), axis=1))  # (n_clips, size)
    blends = share * maxima + (1 - share) * ops.take(maxima, partner, axis=0)
    return Model([patches, partner, share], head(blends), name="finetuned")


def _active(vectors):
    """Return the active patches like `esc50.yamnet.frames.active_frames`, inside the network."""
    from keras import ops

    silent = load_yamnet().embed(silence())[0]  # (1024,)
    embeddings = vectors[..., -len(silent) :]
    lengths = ops.norm(embeddings, axis=-1) * np.linalg.norm(silent)
    active = ops.matmul(embeddings, silent) <= MAX_SILENCE_COSINE * lengths  # (n_clips, n_patches)
    return ops.logical_or(active, ops.logical_not(ops.any(active, axis=1, keepdims=True)))


def _draw_partners(n_clips, rng, settings):
    partner, share = rng.permutation(n_clips), rng.random(n_clips, dtype=np.float32)
    return partner, np.where(rng.random(n_clips) < settings.head.mixup_probability, share, np.float32(1))[:, np.newaxis]


def _make_labels(views, targets, settings):
    """Return a function from mixup pairs to labels: a weighted mean of the teacher's outputs and the clips' labels."""
    teacher, labels = KernelRidge(views[:N_TAUGHT], targets, settings=settings.head.teacher), one_hot(targets)

    def label(*pairs):
        said = teacher.probabilities(teacher.outputs(blend(views[0], *pairs)))
        return settings.teacher_weight * said + (1 - settings.teacher_weight) * blend(labels, *pairs)

    return label


def _predict(body, head, log_mels, active):
    """Return probabilities (n_clips, 50) from the maxima over active patches, one every 0.48 s."""
    maxima = []
    for part, mask in zip(*(np.array_split(x, -(-len(active) // 32)) for x in (log_mels, active)), strict=True):
        patches = keras_model.cut_patches(part).numpy()  # (n, n_patches, 96, 64)
        vectors = body.predict_on_batch(patches.reshape(-1, *patches.shape[2:])).reshape(*patches.shape[:2], -1)
        maxima.append(maximum_of_vectors(vectors, mask))
    return head.predict_on_batch(np.log1p(np.concatenate(maxima)))


EXPERIMENTS = [
    Experiment(
        "finetuned",
        SPEEDS,
        prepare,
        fit,
        {
            "finetuned": Model(
                idea="the distilled head and YAMNet fine-tuned, at one speed",
                over="distilled",
                n_frames=N_VIEWS,
                needs_log_mel=True,
            )
        },
        SETTINGS,
        SEEDS,
        version=2,
    )
]
