"""`esc50.audio.sound`: formats, arrays, blocks and invalid input."""

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import soxr

from esc50.audio import streams, synthesis
from esc50.audio.sound import load_sound, open_sound
from esc50.config import AudioError, Esc50Error

RATE = 16_000
TONE_HZ = 1_000.0


def tone(rate, *, seconds=1.0, amplitude=0.5, n_channels=1):
    """A sine of (n_samples, n_channels), or (n_samples,) for one channel, in float64."""
    times = np.arange(round(seconds * rate)) / rate
    samples = amplitude * np.sin(2 * np.pi * TONE_HZ * times)
    return samples if n_channels == 1 else np.repeat(samples[:, np.newaxis], n_channels, axis=1)


def peak_hz(waveform):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return np.argmax(spectrum) * RATE / len(waveform)


def assert_is_tone(sound, *, amplitude=0.5, tolerance=0.01):
    middle = sound.waveform[len(sound.waveform) // 4 : -len(sound.waveform) // 4]
    assert peak_hz(middle) == pytest.approx(TONE_HZ, abs=3)
    assert np.std(middle) * np.sqrt(2) == pytest.approx(amplitude, rel=tolerance)


def written(path, samples, rate, **options):
    soundfile.write(path, samples, rate, **options)
    return path


@pytest.fixture
def wav_bytes():
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(RATE), RATE, format="WAV")
    return buffer.getvalue()


# Known sounds


def test_silence_is_allowed_and_flagged():
    sound = load_sound(synthesis.silence(), sample_rate_hz=RATE)
    assert sound.is_silent
    assert sound.peak == 0
    assert not sound.waveform.any()


def test_silence_is_a_peak_below_minus_80_decibel():
    assert load_sound(synthesis.sine(440, amplitude=0.9e-4), sample_rate_hz=RATE).is_silent
    assert not load_sound(synthesis.sine(440, amplitude=1.1e-4), sample_rate_hz=RATE).is_silent


@pytest.mark.parametrize(
    "waveform",
    [synthesis.sine(440.0), synthesis.white_noise(), synthesis.impulse(at_seconds=2.0), synthesis.chirp()],
    ids=["sine", "white_noise", "impulse", "chirp"],
)
def test_a_16_khz_mono_waveform_is_unchanged(waveform):
    sound = load_sound(waveform, sample_rate_hz=RATE)
    assert sound.waveform.dtype == np.float32
    np.testing.assert_array_equal(sound.waveform, waveform)
    assert sound.peak == np.abs(waveform).max()
    assert (sound.sample_rate_hz, sound.source_channels, sound.duration_seconds) == (RATE, 1, 5.0)
    assert not (sound.is_silent or sound.is_short or sound.is_clipped)


def test_an_impulse_keeps_its_place_through_resampling():
    samples = np.zeros(44_100)
    samples[22_050] = 0.9
    assert np.argmax(load_sound(samples, sample_rate_hz=44_100).waveform) == 8_000


def test_resampling_removes_frequencies_above_8_khz():
    times = np.arange(96_000) / 96_000
    sound = load_sound(0.5 * np.sin(2 * np.pi * 20_000 * times), sample_rate_hz=96_000)
    assert np.abs(sound.waveform[1_000:-1_000]).max() < 1e-4


def test_white_noise_keeps_its_spectrum_below_8_khz():
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000 * 2)
    waveform = load_sound(noise, sample_rate_hz=48_000).waveform
    power = np.abs(np.fft.rfft(waveform)) ** 2
    low, high = power[: len(power) // 2].mean(), power[len(power) // 2 : int(0.9 * len(power))].mean()
    assert low == pytest.approx(high, rel=0.05)


def test_short_is_less_than_one_patch():
    assert load_sound(np.ones(15_599, np.float32) / 2, sample_rate_hz=RATE).is_short
    assert not load_sound(np.ones(15_600, np.float32) / 2, sample_rate_hz=RATE).is_short


@pytest.mark.parametrize("frequency_hz", [50.0, 440.0, 1_000.0])
@pytest.mark.parametrize(("gain", "clipped"), [(0.9, False), (1.0, False), (1.5, True)])
def test_clipping_is_flagged_but_a_tone_at_full_scale_is_not(gain, clipped, frequency_hz):
    samples = np.clip(gain * synthesis.sine(frequency_hz, amplitude=1.0), -1, 1)
    assert load_sound(samples, sample_rate_hz=RATE).is_clipped == clipped


# Files

FORMATS = [
    ("wav", {"subtype": "PCM_U8"}),
    ("wav", {"subtype": "PCM_16"}),
    ("wav", {"subtype": "PCM_24"}),
    ("wav", {"subtype": "PCM_32"}),
    ("wav", {"subtype": "FLOAT"}),
    ("wav", {"subtype": "DOUBLE"}),
    ("wav", {"subtype": "ULAW"}),
    ("flac", {"subtype": "PCM_16"}),
    ("flac", {"subtype": "PCM_24"}),
    ("aiff", {"subtype": "PCM_16"}),
    ("au", {"subtype": "PCM_16"}),
    ("caf", {"subtype": "PCM_24"}),
    ("w64", {"subtype": "PCM_16"}),
]


@pytest.mark.parametrize(("ending", "options"), FORMATS, ids=lambda value: str(value))
@pytest.mark.parametrize(("rate", "n_channels"), [(8_000, 1), (44_100, 2), (96_000, 6)])
def test_a_tone_survives_every_format(tmp_path, ending, options, rate, n_channels):
    path = written(tmp_path / f"tone.{ending}", tone(rate, n_channels=n_channels), rate, **options)
    sound = load_sound(path)
    assert_is_tone(sound, tolerance=0.02)
    assert sound.duration_seconds == 1.0
    assert len(sound.waveform) == RATE
    assert (sound.source_sample_rate_hz, sound.source_channels) == (rate, n_channels)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("n_channels", [1, 2, 6])
def test_a_tone_survives_every_rate(tmp_path, rate, n_channels):
    sound = load_sound(written(tmp_path / "tone.flac", tone(rate, n_channels=n_channels), rate))
    assert_is_tone(sound, tolerance=1e-3)
    assert len(sound.waveform) == RATE


@pytest.mark.parametrize(
    ("name", "rate", "options"),
    [
        *[("tone.ogg", rate, {"subtype": "VORBIS"}) for rate in (8_000, 16_000, 44_100, 96_000)],
        *[("tone.opus", rate, {"format": "OGG", "subtype": "OPUS"}) for rate in (8_000, 16_000, 48_000)],
        *[("tone.mp3", rate, {}) for rate in (8_000, 16_000, 44_100, 48_000)],
    ],
)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_tone_survives_lossy_formats(tmp_path, name, rate, options, n_channels):
    path = written(tmp_path / name, tone(rate, seconds=2.0, n_channels=n_channels), rate, **options)
    sound = load_sound(path)
    assert_is_tone(sound, tolerance=0.05)
    assert sound.duration_seconds == pytest.approx(2.0, abs=0.05)
    assert sound.source_channels == n_channels


def test_16_bit_at_16_khz_is_exact(tmp_path):
    values = np.random.default_rng(0).integers(-32_768, 32_768, 20_000).astype(np.int16)
    values[:3] = -32_768, 32_767, 1
    for name in ("exact.wav", "exact.flac"):
        waveform = load_sound(written(tmp_path / name, values, RATE)).waveform
        np.testing.assert_array_equal(waveform.astype(np.float64), values / 32_768)
    np.testing.assert_array_equal(load_sound(values, sample_rate_hz=RATE).waveform, waveform)


def test_a_file_longer_than_one_block_is_read_completely(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "BLOCK_SAMPLES", 1_000)
    noise = synthesis.white_noise(seconds=1.0)
    waveform = load_sound(written(tmp_path / "noise.wav", noise, RATE, subtype="FLOAT")).waveform
    np.testing.assert_array_equal(waveform, noise)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, io.BytesIO], ids=lambda wrap: wrap.__name__)
def test_bytes_and_file_objects_equal_the_file(tmp_path, wav_bytes, wrap):
    path = tmp_path / "tone.wav"
    path.write_bytes(wav_bytes)
    expected = load_sound(path).waveform
    np.testing.assert_array_equal(load_sound(wrap(wav_bytes)).waveform, expected)
    np.testing.assert_array_equal(load_sound(str(path)).waveform, expected)
    with path.open("rb") as handle:
        np.testing.assert_array_equal(load_sound(handle).waveform, expected)


def test_the_format_is_detected_by_content_not_by_name(tmp_path):
    written(tmp_path / "tone.flac", tone(RATE), RATE).rename(tmp_path / "tone.wav")
    assert_is_tone(load_sound(tmp_path / "tone.wav"))


def test_a_flac_that_does_not_state_its_length_is_read_whole(tmp_path):
    data = bytearray(written(tmp_path / "tone.flac", tone(RATE), RATE).read_bytes())
    data[21] &= 0xF0  # the 36 bits of total_samples in STREAMINFO
    data[22:26] = bytes(4)
    assert load_sound(bytes(data)).duration_seconds == 1.0


# Blocks


@pytest.mark.parametrize(
    ("ending", "rate", "n_channels"), [("wav", 44_100, 2), ("flac", 48_000, 1), ("mp3", 22_050, 2), ("wav", RATE, 6)]
)
def test_resampling_in_blocks_equals_resampling_at_once(tmp_path, monkeypatch, ending, rate, n_channels):
    monkeypatch.setattr(streams, "BLOCK_SAMPLES", 20_000)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * rate, n_channels))
    path = written(tmp_path / f"noise.{ending}", noise, rate)
    with open_sound(path) as stream:
        blocks = list(stream)
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    whole = soxr.resample(samples.mean(axis=1), rate, RATE)
    assert len(blocks) > 5
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-5)
    assert (stream.facts.source_sample_rate_hz, stream.facts.source_channels) == (rate, n_channels)
    assert stream.expected_seconds == pytest.approx(stream.facts.duration_seconds) == pytest.approx(3.0, abs=0.1)


def test_flat_tops_are_counted_across_blocks(monkeypatch):
    samples = np.clip(2 * synthesis.sine(100, amplitude=1.0), -1, 1)
    whole = load_sound(samples, sample_rate_hz=RATE).clipped_fraction
    monkeypatch.setattr(streams, "BLOCK_SAMPLES", 50)
    assert load_sound(samples, sample_rate_hz=RATE).clipped_fraction == whole > 0.5


def test_a_sound_beyond_the_length_limit_is_refused(tmp_path):
    path = written(tmp_path / "long.flac", np.zeros(3 * RATE), RATE)
    with pytest.raises(AudioError, match=r"longer than 0\.0333333 minutes.*--timeline"):
        load_sound(path, max_seconds=2)
    assert load_sound(path, max_seconds=3).duration_seconds == 3


# Arrays


@pytest.mark.parametrize(
    ("dtype", "offset", "scale", "tolerance"),
    [
        (np.uint8, 128, 127, 0.01),
        (np.int8, 0, 127, 0.02),
        (np.int16, 0, 32_767, 1e-3),
        (">i2", 0, 32_767, 1e-3),
        (np.int32, 0, 2**31 - 1, 1e-3),
        (np.float16, 0, 1, 1e-3),
        (np.float32, 0, 1, 1e-3),
        (np.float64, 0, 1, 1e-3),
    ],
)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_arrays_of_every_dtype(dtype, offset, scale, tolerance, rate):
    samples = np.round(tone(rate) * scale + offset) if scale > 1 else tone(rate)
    sound = load_sound(samples.astype(dtype), sample_rate_hz=rate)
    assert sound.waveform.dtype == np.float32
    assert_is_tone(sound, tolerance=tolerance)


@pytest.mark.parametrize(
    ("dtype", "lowest", "silence"), [(np.uint8, 0, 128), (np.int8, -128, 0), (np.int16, -32_768, 0)]
)
def test_integers_reach_full_scale_exactly(dtype, lowest, silence):
    sound = load_sound(np.array([lowest, silence], dtype), sample_rate_hz=RATE)
    np.testing.assert_array_equal(sound.waveform, [-1.0, 0.0])


def test_channels_are_averaged_whichever_axis_holds_them():
    left, right = tone(RATE), np.zeros(RATE)
    channels_last = load_sound(np.stack([left, right], axis=1), sample_rate_hz=RATE)
    channels_first = load_sound(np.stack([left, right]), sample_rate_hz=RATE)
    assert_is_tone(channels_last, amplitude=0.25)
    assert channels_last.source_channels == channels_first.source_channels == 2
    np.testing.assert_array_equal(channels_last.waveform, channels_first.waveform)


@pytest.mark.parametrize("shape", [(RATE, 1), (1, RATE)])
def test_one_channel_with_an_axis_of_its_own_is_mono(shape):
    sound = load_sound(tone(RATE).reshape(shape), sample_rate_hz=RATE)
    assert (sound.source_channels, len(sound.waveform)) == (1, RATE)


def test_an_overshoot_is_scaled_down_and_reported_in_the_peak():
    sound = load_sound(tone(RATE, amplitude=1.2), sample_rate_hz=RATE)
    assert sound.peak == pytest.approx(1.2, abs=1e-3)
    np.testing.assert_allclose(sound.waveform, tone(RATE) * 2 * 1.2 / sound.peak, atol=1e-6)
    assert sound.is_clipped and not sound.is_beyond_scale


@pytest.mark.parametrize("peak", [2.1, 8.0, 32_767.0, 1e29])
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_floats_far_above_full_scale_are_scaled_down(tmp_path, peak, rate):
    samples = tone(rate, amplitude=peak).astype(np.float32)
    sound = load_sound(samples, sample_rate_hz=rate)
    assert_is_tone(sound, amplitude=1.0)
    assert np.abs(sound.waveform).max() == 1
    assert sound.peak == pytest.approx(peak, rel=1e-2)
    assert sound.is_beyond_scale and not sound.is_clipped
    path = written(tmp_path / "loud.wav", samples, rate, subtype="FLOAT")
    np.testing.assert_array_equal(load_sound(path).waveform, sound.waveform)


def test_the_gain_follows_the_highest_peak_so_far(monkeypatch):
    monkeypatch.setattr(streams, "BLOCK_SAMPLES", 1_000)
    samples = np.repeat(np.float32([0.5, 4, 2, 8, 1]), 1_000)
    waveform = load_sound(samples, sample_rate_hz=RATE).waveform
    np.testing.assert_array_equal(waveform[::1_000], np.float32([0.5, 1, 0.5, 1, 0.125]))


@pytest.mark.parametrize("peak", [2e30, 1e300])
def test_values_beyond_any_scale_are_refused(peak):
    with pytest.raises(AudioError, match=r"the array has a peak of .*e\+3?0?0.*, too high for sound: divide it"):
        load_sound(tone(RATE, amplitude=peak), sample_rate_hz=RATE)


@pytest.mark.parametrize(
    ("amplitude", "is_quiet"), [(0.5, False), (0.011, False), (0.009, True), (2e-4, True), (9e-5, False)]
)
def test_very_quiet_is_a_peak_below_minus_40_decibel_and_not_silence(amplitude, is_quiet):
    assert load_sound(synthesis.sine(440, amplitude=amplitude), sample_rate_hz=RATE).is_quiet == is_quiet


def test_the_input_array_is_not_modified():
    samples = tone(RATE, amplitude=1.2).astype(np.float32)
    before = samples.copy()
    load_sound(samples, sample_rate_hz=RATE).waveform[:] = 0
    np.testing.assert_array_equal(samples, before)


# What is not sound


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.wav", b"this is not a sound\n" * 50, "text.wav is not sound"),
        ("text.mp3", b"this is not a sound\n" * 50, "is not sound"),
        ("text.au", b"this is not a sound\n" * 50, "is not sound"),
        ("page.ogg", b"<html><body>403</body></html>", "is not sound"),
        ("zeros.flac", bytes(5_000), "is not sound"),
        ("header.wav", b"RIFF\0\0\0\0WAVE", "is not sound"),
        ("bytes.wav", np.random.default_rng(0).bytes(5_000), "is not sound"),
        ("empty.wav", b"", r"empty.wav is empty \(0 bytes\)"),
        ("samples.raw", bytes(5_000), "has no header: read it with numpy.fromfile"),
    ],
)
def test_files_without_sound_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AudioError, match=message):
        load_sound(path)


def test_an_address_or_a_folder_is_refused_as_what_it_is(tmp_path):
    with pytest.raises(AudioError, match=r"^https://a\.b/c\.wav is an address: download the file"):
        load_sound("https://a.b/c.wav")
    with pytest.raises(AudioError, match="is a folder: give a sound file"):
        load_sound(tmp_path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(AudioError, match=r"no such file: .*bark\.wav; check its name"):
        load_sound(tmp_path / "bark.wav")


@pytest.mark.parametrize("path", ["a\0b.wav", "x" * 5_000])
def test_an_invalid_path_is_refused(path):
    with pytest.raises(AudioError, match="cannot be opened"):
        load_sound(path)


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = written(tmp_path / "secret.wav", tone(RATE), RATE)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)  # root may read everything, so chmod would not do
    with pytest.raises(AudioError, match="no permission to read"):
        load_sound(path)


def test_a_file_with_no_samples(tmp_path):
    path = written(tmp_path / "none.wav", np.zeros(0), RATE)
    with pytest.raises(AudioError, match=r"none.wav holds no samples \(0 s\)"):
        load_sound(path)


@pytest.mark.parametrize(("rate", "message"), [(0, "is not sound"), (1, "sample rate of 1 Hz")])
def test_a_file_with_an_absurd_sample_rate(wav_bytes, rate, message):
    data = bytearray(wav_bytes)
    data[24:28] = rate.to_bytes(4, "little")
    with pytest.raises(AudioError, match=message):
        load_sound(bytes(data))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(tmp_path, value):
    samples = tone(RATE)
    samples[RATE // 2] = value
    with pytest.raises(AudioError, match=f"the array has samples that are {value}"):
        load_sound(samples, sample_rate_hz=RATE)
    path = written(tmp_path / "hole.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=f"hole.wav has samples that are {value}"):
        load_sound(path)


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (None, "the array has no sample rate: pass the rate of the recording"),
        (0, "a sample rate of 0 Hz"),
        (-16_000, "a sample rate of -16000 Hz"),
        (44.1, r"a sample rate of 44.1 Hz.*not kilohertz"),
        (10**9, "a sample rate of 1000000000 Hz"),
        (np.nan, "is nan"),
        (np.inf, "is inf"),
        ("16000", "is '16000'"),
        (True, "is True"),
        (16_000j, "is 16000j"),
    ],
)
def test_impossible_sample_rates_are_refused(rate, message):
    with pytest.raises(AudioError, match=message):
        load_sound(tone(RATE), sample_rate_hz=rate)


@pytest.mark.parametrize("rate", [1_000, 22_050.5, np.int64(44_100), np.float32(48_000), 768_000])
def test_sample_rates_at_the_edges(rate):
    sound = load_sound(synthesis.white_noise(), sample_rate_hz=rate)
    assert sound.duration_seconds == pytest.approx(80_000 / rate)
    assert len(sound.waveform) == pytest.approx(80_000 * RATE / rate, abs=1)


@pytest.mark.parametrize("dtype", [object, complex, bool, str, np.int64, np.uint16, "datetime64[s]"])
def test_dtypes_without_a_scale(dtype):
    with pytest.raises(AudioError, match="have no known scale: convert to"):
        load_sound(np.zeros(100, np.int16).astype(dtype), sample_rate_hz=RATE)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((), r"shape \(\) is not one sound"),
        ((2, 3, 100), r"shape \(2, 3, 100\) is not one sound"),
        ((0,), "the array is empty"),
        ((0, 2), "the array is empty"),
        ((2, 2), "does not show which axis holds the channels"),
        ((500, 64), r"is not sound \(64 channels\)"),
    ],
)
def test_shapes_that_are_not_one_sound(shape, message):
    with pytest.raises(AudioError, match=message):
        load_sound(np.zeros(shape, np.float32), sample_rate_hz=RATE)


def test_less_than_one_sample_at_16_khz():
    with pytest.raises(AudioError, match="less than one sample at 16 kHz"):
        load_sound(np.ones(1), sample_rate_hz=96_000)


@pytest.mark.parametrize("source", [None, 3, [0.0, 0.1], (RATE, np.zeros(10))])
def test_sources_of_an_unknown_type_are_refused(source):
    with pytest.raises(AudioError, match=f"cannot read sound from {type(source).__name__}: give a path"):
        load_sound(source)


def test_empty_bytes_and_a_file_opened_as_text():
    with pytest.raises(AudioError, match="the given recording is empty"):
        load_sound(b"")
    with pytest.raises(AudioError, match="opened as text"):
        load_sound(io.StringIO("RIFF"))


def test_a_sample_rate_beside_a_file_is_refused(wav_bytes):
    with pytest.raises(AudioError, match="states its own: leave it out"):
        load_sound(wav_bytes, sample_rate_hz=44_100)
    with pytest.raises(AudioError, match="leave it out"):
        load_sound("example:siren", sample_rate_hz=RATE)


def test_errors_are_esc50_errors_and_value_errors():
    assert issubclass(AudioError, Esc50Error)
    assert issubclass(AudioError, ValueError)


def test_fuzzed_files_give_sound_or_an_audio_error(tmp_path):
    rng = np.random.default_rng(0)
    for ending in ("wav", "flac", "ogg", "aiff", "caf", "w64", "mp3"):
        intact = written(tmp_path / f"noise.{ending}", tone(RATE, seconds=0.2), RATE).read_bytes()
        for _ in range(20):
            damaged = bytearray(intact)
            for position in rng.integers(0, min(len(intact), 200), 4):
                damaged[position] = rng.integers(256)
            try:
                assert np.isfinite(load_sound(bytes(damaged)).waveform).all()
            except AudioError as error:
                assert str(error)


def test_arrays_are_loaded_without_importing_decoders():
    code = (
        "import sys, esc50.audio.sound; print({'tensorflow', 'librosa', 'keras', 'av', 'soundfile'} & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"
