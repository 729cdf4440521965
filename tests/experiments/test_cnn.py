"""The CNNs and the augmentation of their log-mels."""

from dataclasses import replace

import numpy as np
import pytest

from esc50.experiments import cnn
from esc50.experiments.cnn import CnnSettings, augment, mixup

QUICK = replace(CnnSettings(), epochs=2, warmup_epochs=0, batch_size=8)


@pytest.fixture
def batch(rng):
    return rng.uniform(-70, 20, size=(16, 126, 64)).astype(np.float32), np.eye(50, dtype=np.float32)[np.arange(16)]


def test_one_seed_gives_one_batch_and_another_another(batch):
    one, again, other = (augment(*batch, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(one[0], again[0]) and np.array_equal(one[1], again[1])
    assert not np.array_equal(one[0], other[0])


def test_augmentation_leaves_its_input_alone_and_keeps_shapes(batch):
    before = batch[0].copy()
    inputs, labels = augment(*batch, np.random.default_rng(0))
    assert np.array_equal(batch[0], before)
    assert inputs.shape == (16, 126, 64)
    assert np.allclose(labels.sum(axis=1), 1)


def test_without_strength_only_the_roll_remains(batch):
    still = CnnSettings(masks=0, gain_decibel=0.0, mixup_alpha=1e-6)
    inputs, _ = augment(*batch, np.random.default_rng(0), settings=still)
    for changed in inputs[:3]:
        assert any(np.allclose(changed, np.roll(clip, shift, axis=0)) for clip in batch[0] for shift in range(126))


def test_mixup_blends_inputs_and_labels_by_one_share(rng):
    inputs = np.eye(50, dtype=np.float32)
    blended, labels = mixup(inputs, inputs.copy(), rng, alpha=1.0)
    assert np.allclose(blended, labels)
    assert np.allclose(labels.sum(axis=1), 1)
    assert (labels.max(axis=1) < 0.999).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", cnn.LAYERS)
def test_networks_have_a_layer_for_each_row_of_the_table_and_take_any_length(name):
    network, kinds = cnn.build(name), [kind for kind, *_ in cnn.LAYERS[name]]
    made = [layer.__class__.__name__ for layer in network.layers]
    assert made.count("Conv2D") == kinds.count("conv") + kinds.count("separable")
    assert made.count("DepthwiseConv2D") == kinds.count("separable")
    assert made.count("AveragePooling2D") == kinds.count("pool")
    for n_frames in (126, 60):
        found = network.predict(np.zeros((2, n_frames, 64), np.float32), verbose=0)
        assert found.shape == (2, 50)
        assert np.allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_cnn_whatever_is_held_out(rng):
    inputs, targets = rng.uniform(-70, 0, size=(24, 40, 64)).astype(np.float32), np.arange(24) % 3
    train, test = (inputs[:16], targets[:16]), (inputs[16:], targets[16:])
    one, two = (
        cnn.fit("cnn_separable", *train, settings=QUICK, seed=3, held_out=held_out) for held_out in (test, train)
    )
    assert np.array_equal(*(fitted.predict(test[0])["cnn_separable"] for fitted in (one, two)))
    assert one.history["loss"] == two.history["loss"]
    assert {len(values) for values in one.history.values()} == {QUICK.epochs}
