"""Fine-tuning on twelve clips of noise: which weights are trained, and at which rate."""

from dataclasses import replace

import numpy as np
import pytest

from esc50.classifier.pooling import frame_mask
from esc50.experiments import finetuned
from esc50.experiments.base import take
from esc50.experiments.distilled import DistillationSettings
from esc50.experiments.finetuned import FinetuneSettings
from esc50.yamnet import keras_model
from esc50.yamnet.frames import active_frames, golden_embeddings, silence
from esc50.yamnet.hub_module import load_yamnet

pytestmark = [pytest.mark.slow, pytest.mark.yamnet]
TINY = FinetuneSettings(
    head=DistillationSettings(units=(16,), epochs=1, batch_size=8, warmup_epochs=0, mixup_probability=0.1),
    epochs=6,
    batch_size=4,
    patches_per_clip=2,
    first_trained_layer=14,
    learning_rate=3e-3,
    teacher_weight=0.0,
)
TARGETS = np.arange(12) % 4


@pytest.fixture(scope="module")
def body():
    backbone = keras_model.build_backbone(layers=range(1, 15), trainable_from=3)
    return keras_model.set_weights(backbone, load_yamnet().weights())


@pytest.fixture(scope="module")
def inputs(body):
    """Eight to train on, four to test on, three patches each; views of what YAMNet makes of two of them."""
    rng = np.random.default_rng(2015)
    log_mels = np.log(0.001 + rng.exponential(0.05, size=(12, 239, 64))).astype(np.float32)
    log_mels[np.arange(12), :, 10 * TARGETS] += 3  # the class is a tone
    active = np.array([[True, True, False]] * 12)
    patches = keras_model.cut_patches(log_mels).numpy()[:, :2]  # (12, 2, 96, 64)
    maxima = np.log1p(body.predict(patches.reshape(24, 96, 64), verbose=0).reshape(12, 2, -1).max(axis=1))
    return log_mels, active, *(maxima * np.float32(scale) for scale in (1, 1.05, 0.95, 1))


@pytest.fixture(scope="module")
def fitted(inputs):
    return finetuned.fit(take(inputs, slice(8)), TARGETS[:8], settings=TINY, seed=3)


def test_it_trains_and_gives_probabilities(inputs, fitted):
    found = fitted.predict(take(inputs, slice(8, 12)))["finetuned"]
    assert found.shape == (4, 50)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert {name: len(values) for name, values in fitted.history.items()} == dict.fromkeys(
        ("loss", "accuracy"), TINY.epochs
    )
    assert fitted.history["loss"][-1] < fitted.history["loss"][0]


def test_each_kernel_moves_by_its_own_rate(body):
    """Adam's first step is as long as the rate: relative to a kernel's size, and absolute for the head."""
    from keras import Variable

    kernels, head = body.trainable_variables, Variable(np.ones(5, np.float32))
    before = [variable.numpy() for variable in (*kernels, head)]
    optimizer = finetuned.relative_adamw(kernels)(1e-3, weight_decay=0.0)
    optimizer.apply([np.ones(variable.shape, np.float32) for variable in (*kernels, head)], [*kernels, head])
    for variable, old in zip((*kernels, head), before, strict=True):
        size = 1.0 if variable is head else np.sqrt(np.mean(old**2))
        assert np.abs(variable.numpy() - old).mean() == pytest.approx(1e-3 * size, rel=1e-2), variable.path
    assert len(kernels) == 2 * 12  # depthwise and pointwise, of layers 3 to 14
    keras_model.set_weights(body, load_yamnet().weights())


def test_averaged_weights_are_tested(inputs, body):
    """With an average that never moves from the first step, more training changes nothing."""
    how = {"settings": replace(TINY, ema_decay=1.0, warmup_epochs=0), "seed": 3}
    one, two = (
        finetuned.fit(take(inputs, slice(8)), TARGETS[:8], **how | {"settings": replace(how["settings"], epochs=n)})
        for n in (1, 2)
    )
    first, second = (each.predict(take(inputs, slice(8, 12)))["finetuned"] for each in (one, two))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_patches_go_on_from_the_beginning_of_the_clip():
    log_mels = np.arange(2 * 200 * 3, dtype=np.float32).reshape(2, 200, 3)
    patches = finetuned.cut_patches(log_mels, np.array([0, 150]), 2)
    assert patches.shape == (2, 2, 96, 3)
    np.testing.assert_array_equal(patches[0].reshape(192, 3), log_mels[0, :192])
    np.testing.assert_array_equal(patches[1].reshape(192, 3), np.roll(log_mels[1], -150, axis=0)[:192])


def test_frames_with_sound_are_those_that_the_runtime_counts():
    embeddings = golden_embeddings().reshape(2, 3, 1024)
    embeddings[0, 1] = embeddings[1] = load_yamnet().embed(silence())[0]
    found = np.asarray(finetuned._active(embeddings))
    assert found.tolist() == frame_mask(active_frames(embeddings)).tolist() == [[True, False, True], [True] * 3]


def test_blends_are_labelled_by_the_teacher_and_by_their_clips(inputs):
    share, pairs = np.array([[0.6], [1.0]], np.float32), (np.array([0, 1]), np.array([1, 2]))
    _, _, *views = inputs
    own, said = (
        finetuned._make_labels(views, TARGETS, replace(TINY, teacher_weight=weight))(*pairs, share)
        for weight in (0.0, 1.0)
    )
    np.testing.assert_allclose(own[0, :3], [0.6, 0.4, 0], atol=1e-6)
    np.testing.assert_allclose(own[1, :3], [0, 1, 0], atol=1e-6)
    half = finetuned._make_labels(views, TARGETS, replace(TINY, teacher_weight=0.5))(*pairs, share)
    np.testing.assert_allclose(half, (own + said) / 2, atol=1e-6)


@pytest.mark.audio
def test_log_mels_are_those_of_the_recordings(dataset_root, monkeypatch, clips):
    monkeypatch.setattr(finetuned, "load_clips", lambda: clips.iloc[:3])
    log_mels = finetuned.load_log_mels(clips_at_once=2)
    assert log_mels.shape == (3, 528, 64) and log_mels.dtype == np.float32
