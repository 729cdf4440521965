"""The only decoder of the project: any file or array becomes mono float32 in [-1, 1] at 16 kHz."""

import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil, isfinite
from numbers import Real
from pathlib import Path

import numpy as np
import soundfile
import soxr

from esc50.config import AudioSettings, YamnetSettings
from esc50.errors import AudioError, TooLongError

AUDIO = AudioSettings()
YAMNET = YamnetSettings()

FULL_SCALE = 32767 / 32768  # the highest 16-bit sample
CLIPPED_FRACTION = 0.01  # a slow sine at full scale has 0.5 % of its samples in flat tops, a clipped one far more
OVERSHOOT_PEAK = 2.0  # lossy codecs overshoot 1 a little; +6 dB and more is another scale, not overshoot
MAX_ARRAY_CHANNELS = 32  # more "channels" than this is a spectrogram or a batch, not one sound
BLOCK_SAMPLES = 1 << 18
UNKNOWN_LENGTH = (1 << 63) - 1  # libsndfile's count for a stream whose header states none

INTEGER_SCALES = {  # dtype: (value of silence, full scale), as in a WAV file
    "uint8": (128, 1 << 7),
    "int8": (0, 1 << 7),
    "int16": (0, 1 << 15),
    "int32": (0, 1 << 31),
}

# libsndfile's own words on a WAV, AIFF or AU file that ends before its header says (`SoundFile.extra_info`).
CUT_OFF = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
OPEN_END_BYTES = 0x7FFF0000  # programs that write into a pipe declare this and more: they cannot know the length

NOT_SOUND = "{name} is not sound, or damaged: give wav, flac, ogg, mp3 or aiff (m4a and webm need ffmpeg)"


@dataclass(frozen=True, eq=False, kw_only=True)
class SoundFacts:
    """What is known of a sound beside its samples.

    Attributes
    ----------
    source_sample_rate_hz : float
        Sample rate before resampling.
    source_channels : int
        Number of channels before mixing.
    duration_seconds : float
        Length of the source.
    peak : float
        Largest absolute sample of the 16 kHz mono mix; above 1 where overshoot was cut back to [-1, 1].
    clipped_fraction : float
        Share of the source's samples, mixed to mono, in flat tops: at full scale, and so is the next one.
    declared_seconds : float or None
        Length that the header states, where the file ends before it: a recording cut off.
    """

    source_sample_rate_hz: float
    source_channels: int
    duration_seconds: float
    peak: float
    clipped_fraction: float
    declared_seconds: float | None = None

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate of every waveform here: 16,000 Hz."""
        return AUDIO.sample_rate_hz

    @property
    def is_silent(self) -> bool:
        """Whether the peak stays under -80 dB of full scale, so that no class can be heard."""
        return self.peak < AUDIO.silence_peak

    @property
    def is_short(self) -> bool:
        """Whether the sound is shorter than one YAMNet patch (0.975 s) and must be padded."""
        return round(self.duration_seconds * AUDIO.sample_rate_hz) < YAMNET.patch_samples

    @property
    def is_clipped(self) -> bool:
        """Whether over 1 % of the samples are in flat tops: the recording was too loud."""
        return self.clipped_fraction > CLIPPED_FRACTION


@dataclass(frozen=True, eq=False, kw_only=True)
class Sound(SoundFacts):
    """One sound as every part of this project hears it, and what is known of it.

    Attributes
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Mono float32 in [-1, 1] at `sample_rate_hz`.
    """

    waveform: np.ndarray


@dataclass(eq=False)
class SoundStream:
    """A sound that is read block by block, so that an hour takes no more memory than a minute.

    Iterate once: each block is mono float32 (n_samples,) in [-1, 1] at 16 kHz, and all blocks joined are the
    waveform of `load_sound`. Any but the last may be empty.

    Attributes
    ----------
    source_sample_rate_hz : float
        Sample rate before resampling.
    source_channels : int
        Number of channels before mixing.
    expected_seconds : float or None
        Length of the source where its header states it; headers may be wrong.
    declared_seconds : float or None
        The same, only where the file is known to end before it.
    name : str
        Of the source, for messages.
    """

    source_sample_rate_hz: float
    source_channels: int
    blocks: object = field(repr=False)  # iterator of mono (n_samples,) at the source's rate
    expected_seconds: float | None = None
    declared_seconds: float | None = None
    name: str = "the array"
    _peak: float = field(default=0.0, init=False, repr=False)
    _n_read: int = field(default=0, init=False, repr=False)
    _n_clipped: int = field(default=0, init=False, repr=False)

    @property
    def facts(self) -> SoundFacts:
        """What is known from the blocks read so far: of the whole sound after the last."""
        return SoundFacts(
            source_sample_rate_hz=float(self.source_sample_rate_hz),
            source_channels=self.source_channels,
            duration_seconds=self._n_read / self.source_sample_rate_hz,
            peak=self._peak,
            clipped_fraction=self._n_clipped / max(1, self._n_read),
            declared_seconds=self.declared_seconds,
        )

    def __iter__(self):
        """Yield the blocks, (n_samples,) each, and count what they hold."""
        n_out = 0
        for waveform in _resampled(self._counted(), self.source_sample_rate_hz):
            self._peak = max(self._peak, float(np.abs(waveform).max(initial=0)))
            n_out += len(waveform)
            yield np.clip(waveform, -1.0, 1.0)
        if not self._n_read:
            raise AudioError(f"{self.name} holds no samples (0 s), or is cut off: record or copy it again")
        if not n_out:
            seconds = self.facts.duration_seconds
            raise AudioError(f"{self.name} lasts {seconds:.6f} s, less than one sample at 16 kHz: record a longer one")

    def _counted(self):
        last = np.zeros(1, np.float32)
        for mono in self.blocks:
            is_full = np.abs(np.concatenate([last, mono])) >= FULL_SCALE
            self._n_clipped += np.count_nonzero(is_full[1:] & is_full[:-1])
            self._n_read += len(mono)
            last = mono[-1:]
            yield mono


def load_sound(source, *, sample_rate_hz=None, max_seconds=AUDIO.max_loaded_seconds):
    """Bring a file or an array to mono float32 in [-1, 1] at 16 kHz.

    Channels are averaged and other rates resampled (soxr HQ). Integers are divided by their full scale, so
    that a mono 16-bit file at 16 kHz keeps its exact values. Floats are taken as they are: a peak up to 2.0,
    the overshoot of lossy codecs, is cut back to [-1, 1] and shows in `Sound.peak`; a higher one is an error,
    since any rescaling would be a guess.

    Parameters
    ----------
    source : str, os.PathLike, bytes, binary file object or np.ndarray
        A sound file that soundfile reads (wav, flac, ogg, mp3, aiff ...) or audioread does (m4a, aac, webm,
        where ffmpeg is installed); or its bytes; or samples of shape (n_samples,), (n_samples, n_channels) as
        soundfile gives, or (n_channels, n_samples) as librosa gives: the smaller axis holds the channels.
        Arrays may be uint8 (128 is silence), int8, int16, int32 or any float.
    sample_rate_hz : float, optional
        Samples per second: required for an array, refused for a file, which states its own.
    max_seconds : float, optional
        Longest sound that is taken into memory.

    Returns
    -------
    Sound
        Waveform of shape (n_samples,) and what is known of its source.

    Raises
    ------
    AudioError
        If there is no such file; if it is not sound, damaged or empty; if it holds NaN or infinity; if it is
        longer than `max_seconds`; or if no recording can have its sample rate or the array's dtype, shape or
        scale.
    """
    with open_sound(source, sample_rate_hz=sample_rate_hz) as stream:
        waveform = np.concatenate(list(_no_longer_than(max_seconds, stream)))  # (n_samples,)
        return Sound(waveform=waveform, **vars(stream.facts))


@contextmanager
def open_sound(source, *, sample_rate_hz=None):
    """Open a file or an array to read it block by block; every sound of the project comes in by this door.

    Parameters
    ----------
    source : str, os.PathLike, bytes, binary file object or np.ndarray
        As for `load_sound`.
    sample_rate_hz : float, optional
        Samples per second: required for an array, refused for a file, which states its own.

    Yields
    ------
    SoundStream
        Iterate over it for the blocks; the file is closed at the end of the ``with`` block.

    Raises
    ------
    AudioError
        As `load_sound`: at once, or from the iteration when the damage is reached.
    """
    if isinstance(source, np.ndarray):
        yield _open_array(source, sample_rate_hz)
        return
    if sample_rate_hz is not None:
        raise AudioError(f"sample_rate_hz={sample_rate_hz} beside a file, which states its own: leave it out")
    with _on_disk(source) as (path, name), _open_file(path, name) as stream:
        yield stream


def pad_waveform(waveform):
    """Pad with zeros at the end as YAMNet does, so that every sample is covered by a whole patch.

    The rule of ``pad_waveform`` in tensorflow/models, research/audioset/yamnet/features.py: at least one
    patch (0.975 s), then a whole number of patch hops (0.48 s).

    Parameters
    ----------
    waveform : np.ndarray, shape (..., n_samples)
        Waveform at 16 kHz, or a batch of them.

    Returns
    -------
    np.ndarray, shape (..., n_padded_samples)
        Same dtype; ``n_patches(n_samples)`` patches fit exactly.
    """
    n_samples = waveform.shape[-1]
    n_padded = YAMNET.patch_samples + (n_patches(n_samples) - 1) * YAMNET.hop_samples
    widths = [(0, 0)] * (waveform.ndim - 1) + [(0, n_padded - n_samples)]
    return np.pad(waveform, widths)  # (..., n_padded_samples)


def n_patches(n_samples):
    """Count the embedding frames that YAMNet gives for a waveform.

    Parameters
    ----------
    n_samples : int
        Length at 16 kHz, before padding.

    Returns
    -------
    int
        Number of patches of 0.96 s every 0.48 s: 10 for a clip of 5 s, never below 1.
    """
    n_after_first = max(0, n_samples - YAMNET.patch_samples)
    return 1 + ceil(n_after_first / YAMNET.hop_samples)


@contextmanager
def _on_disk(source):
    """Yield the path of a sound file, made for the moment where bytes were given, and its name for messages."""
    if isinstance(source, str | os.PathLike):
        _check_file(Path(source))
        yield str(source), _printable(source)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording"
        path.write_bytes(_all_bytes(source))
        yield str(path), "the given recording"


def _all_bytes(source):
    data = source.read() if hasattr(source, "read") else source
    if isinstance(data, str):
        raise AudioError("the file was opened as text: open it in binary mode, open(path, 'rb')")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise AudioError(f"no sound in a {type(data).__name__}: give a path, the bytes of a file or a numpy array")
    return data


def _printable(path):
    """On one line, whatever characters a name is made of."""
    return str(path) if str(path).isprintable() else repr(str(path))


def _check_file(path):
    name = _printable(path)
    try:
        is_other = path.exists() and not path.is_file()
        if not is_other:
            path.open("rb").close()
    except FileNotFoundError as error:
        raise AudioError(f"no such file: {name}; check its name and folder (now in {Path.cwd()})") from error
    except PermissionError as error:
        raise AudioError(f"{name} may not be read by this user: change its permissions") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"{str(path)!r} cannot be opened ({_reason(error)}): check the path") from error
    if is_other:
        raise AudioError(f"{name} is a folder or a device: give a sound file")


def _reason(error):
    return getattr(error, "strerror", None) or str(error)  # an OSError's text would repeat the path


class _StraightThrough(soundfile.SoundFile):
    """Read without the seek after each block that soundfile makes, which fails in a FLAC of unknown length."""

    def seekable(self):
        return False


@contextmanager
def _open_file(path, name):
    if Path(path).stat().st_size == 0:
        raise AudioError(f"{name} is empty (0 bytes): record or copy it again")
    if path.lower().endswith(".raw"):
        raise AudioError(f"{name} has no header: read it with numpy.fromfile and give the array and its rate")
    try:
        sound = _StraightThrough(os.fsencode(path) if os.name == "posix" else path)  # no name need be UTF-8
    except soundfile.LibsndfileError:
        with _open_with_audioread(path, name) as stream:
            yield stream
        return
    with sound:
        if sound.format == "RAW":  # libsndfile took the ending of the name for a headerless format
            raise AudioError(NOT_SOUND.format(name=name))
        rate = _check_sample_rate(sound.samplerate, name)
        expected = sound.frames / rate if sound.frames < UNKNOWN_LENGTH else None
        declared = _declared_seconds(sound)
        yield SoundStream(rate, sound.channels, _soundfile_blocks(sound, name), expected, declared, name)


def _declared_seconds(sound):
    """Length that the header states, where libsndfile found the file to end before it; else None."""
    found = CUT_OFF.search(sound.extra_info)
    declared_bytes, present_bytes = map(int, found.groups()) if found else (0, 0)
    if not present_bytes < declared_bytes < OPEN_END_BYTES:
        return None
    return sound.frames / sound.samplerate * declared_bytes / max(1, present_bytes)


def _soundfile_blocks(sound, name):
    """Read block by block, so that a header that declares too much cannot claim the memory for it."""
    n_samples = 0
    try:
        while len(block := sound.read(BLOCK_SAMPLES // sound.channels, dtype="float32", always_2d=True)):
            yield _mix(block, name)  # (n_samples, n_channels) -> (n_samples,)
            n_samples += len(block)
    except soundfile.LibsndfileError as error:
        raise AudioError(_damaged(name, n_samples, sound)) from error
    if n_samples < sound.frames < UNKNOWN_LENGTH:
        raise AudioError(_damaged(name, n_samples, sound))


def _damaged(name, n_samples, sound):
    seconds, declared = n_samples / sound.samplerate, sound.frames / sound.samplerate
    return f"{name} is damaged or cut off after {seconds:.2f} of {declared:.2f} s: copy or export it again"


@contextmanager
def _open_with_audioread(path, name):
    """Open what soundfile cannot, by the back ends that know other formats."""
    import audioread
    from audioread.rawread import RawAudioFile  # wav, aiff and au only: soundfile has refused those by now

    backends = [backend for backend in audioread.available_backends() if backend is not RawAudioFile]
    try:
        with audioread.audio_open(path, backends) as sound:
            if not sound.samplerate or not sound.channels:  # what ffmpeg says of bytes that only begin like sound
                raise AudioError(NOT_SOUND.format(name=name))
            rate = _check_sample_rate(sound.samplerate, name)
            yield SoundStream(rate, sound.channels, _audioread_blocks(sound, name), name=name)
    except audioread.DecodeError as error:
        raise AudioError(NOT_SOUND.format(name=name)) from error


def _audioread_blocks(sound, name):
    """Whole sample frames of 16 bits, wherever the back end cuts its buffers."""
    rest, frame_bytes = b"", 2 * sound.channels
    for buffer in sound:
        data = rest + buffer
        whole = len(data) - len(data) % frame_bytes
        rest = data[whole:]
        samples = np.frombuffer(data[:whole], "<i2").reshape(-1, sound.channels)
        yield _mix(_scale(samples), name)


def _open_array(samples, sample_rate_hz):
    if samples.ndim not in (1, 2):
        raise AudioError(f"an array of shape {samples.shape} is not one sound: give one or two axes")
    if samples.size == 0:
        raise AudioError(f"the array is empty (shape {samples.shape}): nothing was recorded")
    rate = _check_sample_rate(sample_rate_hz, "the array")
    samples = _channels_last(samples)  # (n_samples, n_channels)
    blocks = (samples[start : start + BLOCK_SAMPLES] for start in range(0, len(samples), BLOCK_SAMPLES))
    mono = (_mix(_scale(block), "the array") for block in blocks)
    return SoundStream(rate, samples.shape[1], mono, len(samples) / rate)


def _channels_last(samples):
    if samples.ndim == 1:
        return samples[:, np.newaxis]
    n_channels = min(samples.shape)
    if n_channels == max(samples.shape) > 1:
        raise AudioError(f"shape {samples.shape} does not tell which axis holds the channels: give one channel")
    if n_channels > MAX_ARRAY_CHANNELS:
        raise AudioError(f"an array of shape {samples.shape} is not sound ({n_channels} channels): give a waveform")
    return samples if samples.shape[1] == n_channels else samples.T


def _scale(samples):
    """Bring integers to [-1, 1) by their full scale and leave floats as they are."""
    if samples.dtype.kind == "f":
        return samples
    if samples.dtype.name not in INTEGER_SCALES:
        known = ", ".join(INTEGER_SCALES)
        raise AudioError(f"samples of dtype {samples.dtype} have no known scale: convert to {known} or float32")
    silence, full_scale = INTEGER_SCALES[samples.dtype.name]
    return (samples.astype(np.float64) - silence) / full_scale


def _mix(samples, name):
    """Average (n_samples, n_channels) to mono float32 (n_samples,), once the values are known to be sound."""
    finite = np.isfinite(samples)
    if not finite.all():
        raise AudioError(f"{name} has samples that are {samples[~finite][0]}: repair or remove them first")
    peak = np.abs(samples).max(initial=0)
    if peak > OVERSHOOT_PEAK:
        raise AudioError(
            f"{name} reaches {peak:g} where full scale is 1: divide it by its full scale (32768 for 16 bits)"
        )
    return samples.mean(axis=1).astype(np.float32)


def _check_sample_rate(rate, name):
    if rate is None:
        raise AudioError(f"{name} has no sample rate: pass sample_rate_hz, the rate at which it was recorded")
    if isinstance(rate, bool) or not isinstance(rate, Real) or not isfinite(rate):
        raise AudioError(f"the sample rate of {name} is {rate!r}: give a number of samples per second")
    if not AUDIO.min_sample_rate_hz <= rate <= AUDIO.max_sample_rate_hz:
        raise AudioError(
            f"{name} has a sample rate of {rate} Hz: sound has "
            f"{AUDIO.min_sample_rate_hz} to {AUDIO.max_sample_rate_hz} Hz (give hertz, not kilohertz)"
        )
    return rate


def _resampled(blocks, rate):
    """Bring mono blocks to 16 kHz; the resampler keeps its state from block to block, so no seam is heard."""
    if rate == AUDIO.sample_rate_hz:
        yield from blocks
        return
    resampler = soxr.ResampleStream(rate, AUDIO.sample_rate_hz, 1, dtype="float32", quality="HQ")
    for mono in blocks:
        yield resampler.resample_chunk(mono)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _no_longer_than(max_seconds, stream):
    for block in stream:
        if stream.facts.duration_seconds > max_seconds:
            raise TooLongError(
                f"{stream.name} lasts longer than {max_seconds / 60:g} minutes, too long to be classified as one "
                "sound: make a timeline of it (`python -m esc50 predict --timeline`) or cut it"
            )
        yield block
