"""`esc50.audio.synthesis`: shape, range, determinism and spectrum of each sound."""

import numpy as np
import pytest

from esc50.audio import synthesis
from esc50.config import AudioError

RATE = 16_000

SOUNDS = {
    "silence": lambda **options: synthesis.silence(**options),
    "sine": lambda **options: synthesis.sine(440.0, **options),
    "white_noise": lambda **options: synthesis.white_noise(**options),
    "impulse": lambda **options: synthesis.impulse(**options),
    "chirp": lambda **options: synthesis.chirp(**options),
    **{name: lambda *, name=name, **options: synthesis.example(name, **options) for name in synthesis.EXAMPLES},
}


def spectrum(waveform):
    """Frequencies in Hz and power, both (n_bins,)."""
    return np.fft.rfftfreq(len(waveform), 1 / RATE), np.abs(np.fft.rfft(waveform)) ** 2


def share_of_power(waveform, low_hz, high_hz):
    frequency_hz, power = spectrum(waveform)
    return power[(frequency_hz >= low_hz) & (frequency_hz < high_hz)].sum() / power.sum()


@pytest.mark.parametrize("seconds", [0.05, 1.0, 2.5])
@pytest.mark.parametrize("name", SOUNDS)
def test_every_sound_is_float32_in_range_and_the_same_each_time(name, seconds):
    waveform = SOUNDS[name](seconds=seconds)
    assert waveform.shape == (round(seconds * RATE),)
    assert waveform.dtype == np.float32
    assert np.abs(waveform).max() <= 1
    np.testing.assert_array_equal(waveform, SOUNDS[name](seconds=seconds))


@pytest.mark.parametrize("name", SOUNDS)
def test_a_length_of_zero_is_refused(name):
    with pytest.raises(AudioError, match=r"s: choose a (length above zero|time inside it)"):
        SOUNDS[name](seconds=0)


def test_the_default_length_is_that_of_a_clip():
    assert len(synthesis.silence()) == 80_000
    assert not synthesis.silence().any()


@pytest.mark.parametrize("frequency_hz", [50.0, 440.0, 1_000.0, 7_900.0])
def test_a_sine_has_its_frequency_and_amplitude(frequency_hz):
    waveform = synthesis.sine(frequency_hz, amplitude=0.25)
    bins, power = spectrum(waveform)
    assert bins[np.argmax(power)] == pytest.approx(frequency_hz)
    assert np.std(waveform) * np.sqrt(2) == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("frequency_hz", [0, -5, 8_001])
def test_a_sine_that_16_khz_cannot_hold(frequency_hz):
    with pytest.raises(AudioError, match=f"no tone of {frequency_hz} Hz"):
        synthesis.sine(frequency_hz)


def test_white_noise_is_flat_and_follows_its_seed():
    waveform = synthesis.white_noise(amplitude=0.5)
    for low_hz in range(0, 8_000, 1_000):
        assert share_of_power(waveform, low_hz, low_hz + 1_000) == pytest.approx(1 / 8, rel=0.05)
    assert np.abs(waveform).max() == pytest.approx(0.5, abs=1e-3)
    assert not np.array_equal(waveform, synthesis.white_noise(seed=1))


def test_an_impulse_is_one_sample():
    waveform = synthesis.impulse(at_seconds=1.5, amplitude=-0.5)
    assert np.flatnonzero(waveform).tolist() == [24_000]
    assert waveform[24_000] == -0.5
    with pytest.raises(AudioError, match=r"no impulse at 5\.0 s"):
        synthesis.impulse(at_seconds=5.0)


def test_a_chirp_rises_evenly():
    waveform = synthesis.chirp(start_hz=500.0, end_hz=4_500.0, seconds=4.0)
    for second in range(4):
        bins, power = spectrum(waveform[second * RATE : (second + 1) * RATE])
        centre_hz = (bins * power).sum() / power.sum()
        assert centre_hz == pytest.approx(1_000 * (second + 1), abs=50)


def test_there_are_examples_and_each_is_named_after_a_class():
    assert len(synthesis.EXAMPLES) >= 6
    assert list(synthesis.EXAMPLES) == sorted(synthesis.EXAMPLES)
    with pytest.raises(AudioError, match="no example named 'unicorn': choose from car_horn"):
        synthesis.example("unicorn")


@pytest.mark.parametrize("name", synthesis.EXAMPLES)
def test_examples_vary_with_their_seed_and_share_one_peak(name):
    first, second = (synthesis.example(name, seconds=1.0, seed=seed) for seed in (0, 1))
    assert np.abs(first).max() == pytest.approx(0.8)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("name", "low_hz", "high_hz", "least"),
    [
        ("siren", 400, 4_000, 0.9),
        ("car_horn", 350, 7_200, 0.9),
        ("chirping_birds", 1_500, 6_000, 0.9),
        ("helicopter", 100, 5_000, 0.9),
        ("sea_waves", 100, 4_000, 0.8),
        ("door_wood_knock", 50, 1_500, 0.8),
    ],
)
def test_examples_have_energy_at_the_expected_frequencies(name, low_hz, high_hz, least):
    assert share_of_power(synthesis.example(name, seconds=2.5), low_hz, high_hz) > least
