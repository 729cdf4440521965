"""Degradations have the stated effect, and heads are tested on clips they were not trained on."""

import numpy as np
import pytest
from helpers import rms
from scipy.signal import welch

from esc50.config import FOLDS
from esc50.experiments import robustness
from esc50.experiments.robustness import CONDITIONS, Condition, load_robustness, worsen

RATE_HZ = 16_000


@pytest.fixture
def waveform():
    times = np.arange(5 * RATE_HZ) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * 1_000 * times) + 0.3 * np.sin(2 * np.pi * 6_000 * times)).astype(np.float32)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: f"{c.kind} {c.amount}")
def test_every_fault_gives_what_a_recorder_writes(waveform, condition):
    worse = worsen(waveform, condition, seed=1)
    assert worse.shape == waveform.shape and worse.dtype == np.float32
    assert np.abs(worse).max() <= 1
    np.testing.assert_array_equal(worse * 32_768, np.round(worse * 32_768))
    np.testing.assert_array_equal(worse, worsen(waveform, condition, seed=1))


@pytest.mark.parametrize("decibel", [-10, -40])
def test_a_level_is_in_decibels(waveform, decibel):
    worse = worsen(waveform, Condition("level", decibel, "dB"), seed=0)
    assert 20 * np.log10(rms(worse) / rms(waveform)) == pytest.approx(decibel, abs=0.01)


@pytest.mark.parametrize("decibel", [20, 10])
def test_noise_is_so_far_below_the_sound(waveform, decibel):
    noise = worsen(waveform / 2, Condition("white noise", decibel, "dB"), seed=0) - waveform / 2
    assert 20 * np.log10(rms(waveform / 2) / rms(noise)) == pytest.approx(decibel, abs=0.1)


def test_a_telephone_lets_one_tone_through(waveform):
    worse = worsen(waveform, Condition("telephone band", 1, ""), seed=0)
    hertz, power = welch(worse, RATE_HZ, nperseg=1_600)
    low, high = (power[hertz == each].item() for each in (1_000, 6_000))
    assert low > 1_000 * high


def test_clipping_flattens_the_peaks(waveform):
    worse = worsen(waveform, Condition("clipping", 20, "dB"), seed=0)
    assert np.mean(np.abs(worse) > 0.999) > 0.5


@pytest.mark.results
def test_the_committed_curves_have_every_condition_of_every_fold():
    table = robustness.read_csv(robustness.RESULTS_DIR / robustness.ROBUSTNESS_FILE)
    assert len(table) == len(FOLDS) * len(CONDITIONS)
    assert (table.groupby(["kind", "amount"])["n_clips"].sum() == 1_000).all()
    loaded = load_robustness().set_index(["kind", "amount"])
    assert (loaded["lost"] == loaded["lost"].clip(loaded["lost_low"], loaded["lost_high"])).all()
    noisy = loaded.loc[("white noise", 0)]
    assert 0 < noisy["lost_low"] < noisy["lost"] < noisy["lost_high"]
    kinds = loaded["accuracy"]
    assert noisy["lost"] == pytest.approx(kinds["level", 0] - noisy["accuracy"])
    for decibel in (-20, -40):  # the bar of the levels
        assert kinds["level", 0] - kinds["level", decibel] <= 0.03


@pytest.mark.audio
@pytest.mark.yamnet
@pytest.mark.slow
def test_a_fold_is_tested_by_a_head_that_did_not_see_it(clips):
    seen = []

    class Recipe:
        layers, settings, pooling, experiment = robustness.SHIPPED.layers, None, robustness.SHIPPED.pooling, "robust"
        embed = robustness.SHIPPED.embed

        def head(self, rows, *, seed):
            seen.extend(set(clips["fold"].iloc[rows]))
            return lambda vectors: np.eye(50)[[0] * len(vectors)]

    rows = robustness._test_fold(Recipe(), 2, CONDITIONS[:1], 3, False)
    assert set(seen) == set(FOLDS) - {2}
    expected = np.mean(clips[clips["fold"] == 2]["target"].iloc[:3] == 0)
    assert rows == [{"kind": "level", "amount": 0, "unit": "dB", "n_clips": 3, "accuracy": expected}]
