"""`esc50.audio.mixing`: the mean of the channels, and the loudest channel where they cancel."""

import numpy as np
import pytest
import soundfile

from esc50.audio import load_sound, streams, synthesis
from esc50.audio.mixing import FADE_SAMPLES, Mixer
from esc50.audio.sound import open_sound

RATE = 16_000
NOISE = synthesis.white_noise(seconds=2.0)
OTHER = synthesis.white_noise(seconds=2.0, seed=1)
SILENCE = np.zeros_like(NOISE)


def mixed(*channels):
    return load_sound(np.stack(channels, axis=1), sample_rate_hz=RATE)


@pytest.mark.parametrize(
    "channels",
    [
        [NOISE, NOISE],
        [NOISE, OTHER],
        [NOISE, SILENCE],
        [NOISE, -0.5 * NOISE],  # quieter, but all there
        [NOISE, SILENCE, SILENCE, SILENCE],
        [NOISE, *5 * [SILENCE]],
        [NOISE, NOISE, OTHER, OTHER, 0.1 * NOISE, NOISE],
        [0.3 + 0.1 * NOISE, -0.3 + 0.1 * NOISE],  # only an offset is opposite
        [SILENCE, SILENCE],
        [np.full_like(NOISE, 0.5), np.full_like(NOISE, -0.5)],
        [5e-5 * NOISE, -5e-5 * NOISE],  # next to nothing to hear
    ],
)
def test_channels_are_averaged_as_long_as_they_do_not_cancel(channels):
    sound = mixed(*channels)
    np.testing.assert_allclose(sound.waveform, np.mean(np.float32(channels), axis=0), atol=1e-7)
    assert not sound.is_opposite_phase


@pytest.mark.parametrize(
    ("channels", "loudest"),
    [
        ([NOISE, -NOISE], 0),
        ([NOISE, -0.9 * NOISE], 0),
        ([-0.9 * NOISE, NOISE], 1),
        ([NOISE, 0.01 * OTHER - 0.99 * NOISE], 0),
        ([0.5 * NOISE, -0.5 * NOISE, OTHER, -OTHER], 2),
        ([NOISE, -NOISE, SILENCE, SILENCE, SILENCE, SILENCE], 0),
        ([8 * NOISE, -8 * NOISE], 0),
        ([1e20 * NOISE, -1e20 * NOISE], 0),
    ],
)
def test_the_loudest_channel_is_used_where_channels_cancel(channels, loudest):
    sound = mixed(*channels)
    expected = channels[loudest] / max(1, np.abs(channels[loudest]).max())
    assert np.sqrt(np.mean((sound.waveform - expected) ** 2)) < 0.02 * np.std(expected)
    assert sound.is_opposite_phase


def test_a_change_is_faded_and_the_channel_is_kept():
    mixer, size = Mixer(), 4 * FADE_SAMPLES
    together, opposite = np.stack([NOISE, NOISE], 1)[:size], np.stack([NOISE, -1.001 * NOISE], 1)[:size]
    first, second, third = mixer.mix(opposite), mixer.mix(together), mixer.mix(opposite * np.float32([1.001, 1]))
    np.testing.assert_array_equal(first, opposite[:, 1])
    np.testing.assert_allclose(second[0], together[0, 1], rtol=1e-6)
    np.testing.assert_array_equal(second[FADE_SAMPLES:], together[FADE_SAMPLES:, 0])
    np.testing.assert_array_equal(third[FADE_SAMPLES:], opposite[FADE_SAMPLES:, 0] * np.float32(1.001))
    assert mixer.mix(opposite)[-1] == opposite[-1, 0]  # nearly as loud: no reason to change


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_file_bytes_array_and_stream_agree_bit_for_bit(tmp_path, monkeypatch, rate):
    monkeypatch.setattr(streams, "BLOCK_SAMPLES", 3_000)
    rng = np.random.default_rng(0)
    left, right = rng.uniform(-0.5, 0.5, (2, rate))
    right[rate // 3 : rate // 2] = -left[rate // 3 : rate // 2]
    samples = np.int16(32_767 * np.stack([left, right], axis=1))
    path = tmp_path / "now and then.wav"
    soundfile.write(path, samples, rate)
    sound = load_sound(path)
    assert sound.is_opposite_phase
    with open_sound(path) as stream:
        np.testing.assert_array_equal(np.concatenate(list(stream)), sound.waveform)
    for source, given_rate in ((path.read_bytes(), None), (samples, rate), (np.float32(samples / 32_768).T, rate)):
        np.testing.assert_array_equal(load_sound(source, sample_rate_hz=given_rate).waveform, sound.waveform)
