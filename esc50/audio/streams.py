"""Sounds and streams of sound as mono float32 in [-1, 1] at 16 kHz, with facts about the source."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from math import isfinite
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import soxr

from esc50.audio.mixing import Mixer
from esc50.config import AudioError, AudioSettings, YamnetSettings

AUDIO = AudioSettings()
YAMNET = YamnetSettings()
FULL_SCALE = 32767 / 32768  # the highest 16-bit sample
CLIPPED_FRACTION = 0.01  # an unclipped sine at full scale has up to 0.5 % of its samples in flat tops
OVERSHOOT_PEAK = 2.0  # lossy codecs overshoot 1 slightly; above +6 dB the samples have another scale
QUIET_PEAK = 10 ** (-40 / 20)  # -40 dBFS
MAX_PEAK = 1e30  # float32 ends at 3e38; leaves headroom for sums
BLOCK_SAMPLES = 1 << 17  # of all channels together
INTEGERS = ("uint8", "int8", "int16", "int32")  # as in WAV; 128 is silence in uint8


@dataclass(frozen=True, eq=False, kw_only=True)
class SoundFacts:
    """Facts about a sound and its source.

    Attributes
    ----------
    source_sample_rate_hz : float
        Sample rate before resampling.
    source_channels : int
        Number of channels before mixing.
    duration_seconds : float
        Length of the source.
    peak : float
        Largest absolute sample of the 16 kHz mono mix. Above 1, the waveform was scaled down to [-1, 1].
    clipped_fraction : float
        Share of the source's mono samples that are, like the one before, at full scale.
    declared_seconds : float or None
        Length that the header states, if the file ends before it (truncated); else None.
    states_no_length : bool
        Whether the header should state the length but states none, or an impossible one.
    n_damaged : int
        Number of places where sound is missing or could not be decoded; these are skipped.
    is_opposite_phase : bool
        Whether the channels cancelled in their mean anywhere, so that the loudest was used.
    """

    source_sample_rate_hz: float
    source_channels: int
    duration_seconds: float
    peak: float
    clipped_fraction: float
    declared_seconds: float | None = None
    states_no_length: bool = False
    n_damaged: int = 0
    is_opposite_phase: bool = False
    sample_rate_hz: ClassVar[int] = AUDIO.sample_rate_hz  # of the waveform: 16,000 Hz

    @property
    def is_silent(self) -> bool:
        """Whether the peak is below -80 dBFS."""
        return self.peak < AUDIO.silence_peak

    @property
    def is_short(self) -> bool:
        """Whether the sound is shorter than one YAMNet patch (0.975 s), which needs padding."""
        return round(self.duration_seconds * AUDIO.sample_rate_hz) < YAMNET.patch_samples

    @property
    def is_clipped(self) -> bool:
        """Whether more than 1 % of the samples are clipped."""
        return self.clipped_fraction > CLIPPED_FRACTION

    @property
    def is_quiet(self) -> bool:
        """Whether the peak is below -40 dBFS but not silent."""
        return self.peak < QUIET_PEAK and not self.is_silent

    @property
    def is_beyond_scale(self) -> bool:
        """Whether the peak is above 2, too high for codec overshoot: the samples have another scale."""
        return self.peak > OVERSHOOT_PEAK


@dataclass(frozen=True, eq=False, kw_only=True)
class Sound(SoundFacts):
    """A waveform in the format of YAMNet, with facts about its source.

    Attributes
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Mono float32 in [-1, 1] at `sample_rate_hz`.
    """

    waveform: np.ndarray


@dataclass(eq=False)
class Findings:
    """Running results of decoding: see `SoundFacts` and `SoundStream`."""

    seconds: float = 0.0  # decoded so far
    missing_seconds: float = 0.0  # total of the gaps
    bytes_per_second: int = 0  # of the last decoded frame
    position: int = 0  # of the last packet, in bytes
    expected_seconds: float | None = None
    declared_seconds: float | None = None
    states_no_length: bool = False
    n_damaged: int = 0
    ends_in_damage: bool = False  # not in n_damaged: it may be where the file was truncated


@dataclass(eq=False)
class SoundStream:
    """A sound that is read block by block, in bounded memory.

    Iterate over it once. Each block is mono float32 (n_samples,) in [-1, 1] at 16 kHz, possibly empty; the blocks
    joined are the waveform of `load_sound`.

    Attributes
    ----------
    source_sample_rate_hz : float
        Sample rate before resampling.
    source_channels : int
        Number of channels before mixing.
    name : str
        Name of the source in messages.
    """

    source_sample_rate_hz: float
    source_channels: int
    chunks: Iterable[tuple[float, np.ndarray]] = field(repr=False)  # (sample rate, samples (n_samples, n_channels))
    findings: Findings = field(default_factory=Findings, repr=False)
    name: str = "the array"
    block_samples: int = 0  # read at once, of all channels; 0 is BLOCK_SAMPLES, live sound needs fewer
    _mixer: Mixer = field(default_factory=Mixer, init=False, repr=False)
    _peak: float = field(default=0.0, init=False, repr=False)
    _seconds: float = field(default=0.0, init=False, repr=False)
    _n_read: int = field(default=0, init=False, repr=False)
    _n_clipped: int = field(default=0, init=False, repr=False)

    @property
    def expected_seconds(self) -> float | None:
        """Length of the source from its header or size, which may be wrong; None if unknown."""
        return self.findings.expected_seconds

    @property
    def facts(self) -> SoundFacts:
        """Facts from the blocks read so far; complete after the last block."""
        is_beyond_scale = self._peak > OVERSHOOT_PEAK  # then full scale is no limit
        return SoundFacts(
            source_sample_rate_hz=float(self.source_sample_rate_hz),
            source_channels=self.source_channels,
            duration_seconds=self._seconds,
            peak=self._peak,
            clipped_fraction=0.0 if is_beyond_scale else self._n_clipped / max(1, self._n_read),
            declared_seconds=self.findings.declared_seconds,
            states_no_length=self.findings.states_no_length,
            n_damaged=self.findings.n_damaged,
            is_opposite_phase=self._mixer.has_cancelled,
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the blocks, (n_samples,) each, and update the facts."""
        n_out = 0
        for waveform in self._bring_to_rate():
            self._peak = max(self._peak, float(np.abs(waveform).max(initial=0)))
            n_out += len(waveform)
            yield waveform / np.float32(max(1.0, self._peak))
        if not self._n_read:
            raise AudioError(f"{self.name} holds no samples (0 s), or is cut off: record or copy it again")
        if not n_out:
            seconds = self.facts.duration_seconds
            raise AudioError(f"{self.name} lasts {seconds:.6f} s, less than one sample at 16 kHz: record a longer one")

    def _bring_to_rate(self):
        """Yield mono blocks at 16 kHz; concatenated files may change rate, channels or dtype."""
        for (rate, n_channels, _), part in groupby(self.chunks, key=_describe_form):
            if not AUDIO.min_sample_rate_hz <= rate <= AUDIO.max_sample_rate_hz:  # damage
                self.findings.n_damaged += 1
                continue
            n_samples = max(1, (self.block_samples or BLOCK_SAMPLES) // n_channels)
            blocks = _regroup((samples for _, samples in part), n_samples)
            mono = (self._mixer.mix(to_float32(block, self.name)) for block in blocks)
            yield from _resample(self._count(mono, rate), rate)

    def _count(self, blocks, rate):
        seconds_before, n_read, was_full = self._seconds, 0, np.zeros(1, bool)
        for mono in blocks:
            is_full = np.concatenate([was_full, np.abs(mono) >= FULL_SCALE])
            self._n_clipped += int(np.count_nonzero(is_full[1:] & is_full[:-1]))
            n_read, was_full = n_read + len(mono), is_full[-1:]
            self._seconds = seconds_before + n_read / rate
            yield mono
        self._n_read += n_read


def _describe_form(chunk):
    rate, samples = chunk
    return rate, samples.shape[1], samples.dtype


def _regroup(chunks, n_rows):
    """Join and cut arrays to `n_rows` each, so that decisions per block do not depend on the chunks."""
    held, n_held = [], 0
    for chunk in chunks:
        while n_held + len(chunk) >= n_rows:
            yield np.concatenate([*held, chunk[: n_rows - n_held]])
            chunk, held, n_held = chunk[n_rows - n_held :], [], 0
        held, n_held = [*held, chunk], n_held + len(chunk)
    if n_held:
        yield np.concatenate(held)


def to_float32(samples: np.ndarray, name: str) -> np.ndarray:
    """Convert samples to float32: integers are divided by their full scale, floats are unchanged.

    Parameters
    ----------
    samples : np.ndarray, any shape
        Floats, or one of `INTEGERS`. The conversion is exact up to 24 bits.
    name : str
        Name of the source in messages.

    Returns
    -------
    np.ndarray, same shape
        Float32.

    Raises
    ------
    AudioError
        If the dtype has no known scale, or a sample is NaN, infinite or above `MAX_PEAK`.
    """
    if samples.dtype.kind == "f":
        _check_values(samples, name)
        return samples.astype(np.float32, copy=False)
    if samples.dtype.name not in INTEGERS:
        known = ", ".join(INTEGERS)
        raise AudioError(f"samples of dtype {samples.dtype} have no known scale: convert to {known} or float32")
    silence = 128 if samples.dtype == np.uint8 else 0
    return (samples.astype(np.float32) - np.float32(silence)) / np.float32(2 ** (8 * samples.itemsize - 1))


def _check_values(samples, name):
    peak = np.maximum(samples.max(initial=0), -samples.min(initial=0))  # propagates NaN
    if not np.isfinite(peak):
        value = samples[~np.isfinite(samples)][0]
        raise AudioError(f"{name} has samples that are {value}: repair or remove them")
    if float(peak) > MAX_PEAK:
        raise AudioError(
            f"{name} has a peak of {peak:g}, too high for sound: divide it by its full scale, or repair it"
        )


def check_sample_rate(rate: Any, name: str) -> float:
    """Return a valid sample rate in Hz, or raise an `AudioError`; messages call its source `name`."""
    if rate is None:
        raise AudioError(f"{name} has no sample rate: pass the rate of the recording as sample_rate_hz")
    if isinstance(rate, bool) or not isinstance(rate, Real) or not isfinite(rate):
        raise AudioError(f"the sample rate of {name} is {rate!r}: give a number of samples per second")
    if not AUDIO.min_sample_rate_hz <= float(rate) <= AUDIO.max_sample_rate_hz:
        raise AudioError(
            f"{name} has a sample rate of {rate} Hz: give {AUDIO.min_sample_rate_hz} to {AUDIO.max_sample_rate_hz} Hz "
            "(in hertz, not kilohertz)"
        )
    return float(rate)


def _resample(blocks, rate):
    """Resample mono blocks to 16 kHz; the resampler keeps its state between blocks."""
    if rate == AUDIO.sample_rate_hz:
        yield from blocks
        return
    resampler = soxr.ResampleStream(rate, AUDIO.sample_rate_hz, 1, dtype="float32", quality="HQ")
    for mono in blocks:
        yield resampler.resample_chunk(mono)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
