import numpy as np
import pytest

from esc50.config import CnnSettings
from esc50.experiments.augmentation import augment_log_mel, mixup


@pytest.fixture
def batch(rng):
    return rng.uniform(-70, 20, size=(16, 126, 64)).astype(np.float32), np.eye(50, dtype=np.float32)[np.arange(16)]


def test_the_same_seed_gives_the_same_batch(batch):
    one, two = (augment_log_mel(*batch, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])


def test_another_seed_gives_another_batch(batch):
    one, two = (augment_log_mel(*batch, np.random.default_rng(seed)) for seed in (7, 8))
    assert not np.array_equal(one[0], two[0])


def test_augmentation_leaves_its_input_alone(batch):
    before = batch[0].copy()
    augment_log_mel(*batch, np.random.default_rng(0))
    assert np.array_equal(batch[0], before)


def test_shapes_stay_and_probabilities_sum_to_one(batch):
    inputs, labels = augment_log_mel(*batch, np.random.default_rng(0))
    assert inputs.shape == (16, 126, 64)
    assert labels.shape == (16, 50)
    assert np.allclose(labels.sum(axis=1), 1)


def test_without_strength_only_the_roll_remains(batch):
    still = CnnSettings(masks=0, gain_decibel=0.0, mixup_alpha=1e-6)
    inputs, _ = augment_log_mel(*batch, np.random.default_rng(0), settings=still)
    matches = [
        any(np.allclose(changed, np.roll(clip, shift, axis=0)) for clip in batch[0] for shift in range(126))
        for changed in inputs[:3]
    ]
    assert all(matches)


def test_mixup_blends_inputs_and_labels_by_one_share(rng):
    inputs = np.eye(50, dtype=np.float32)
    blended, labels = mixup(inputs, inputs.copy(), rng, alpha=1.0)
    assert np.allclose(blended, labels)
    assert np.allclose(labels.sum(axis=1), 1)
    assert (labels.max(axis=1) < 0.999).any()
