"""Sounds and streams of sound: mono float32 in [-1, 1] at 16 kHz, and what is known of the source."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from math import isfinite
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import soxr

from esc50.config import AudioError, AudioSettings, YamnetSettings

AUDIO = AudioSettings()
YAMNET = YamnetSettings()
FULL_SCALE = 32767 / 32768  # the highest 16-bit sample
CLIPPED_FRACTION = 0.01  # a slow sine at full scale has 0.5 % of its samples in flat tops, a clipped one far more
OVERSHOOT_PEAK = 2.0  # lossy codecs overshoot 1 a little; +6 dB and more is another scale, not overshoot
BLOCK_SAMPLES = 1 << 18
INTEGERS = ("uint8", "int8", "int16", "int32")  # as in a WAV file, where 128 is the silence of uint8


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
    sample_rate_hz: ClassVar[int] = AUDIO.sample_rate_hz  # of every waveform here: 16,000 Hz

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
    """One sound in the form that YAMNet takes, and what is known of it.

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
    blocks: Iterable[np.ndarray] = field(repr=False)  # mono (n_samples,) at the source's rate
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

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the blocks, (n_samples,) each, and count what they hold."""
        n_out = 0
        for waveform in _resample(self._count(), self.source_sample_rate_hz):
            self._peak = max(self._peak, float(np.abs(waveform).max(initial=0)))
            n_out += len(waveform)
            yield np.clip(waveform, -1.0, 1.0)
        if not self._n_read:
            raise AudioError(f"{self.name} holds no samples (0 s), or is cut off: record or copy it again")
        if not n_out:
            seconds = self.facts.duration_seconds
            raise AudioError(f"{self.name} lasts {seconds:.6f} s, less than one sample at 16 kHz: record a longer one")

    def _count(self):
        was_full = np.zeros(1, bool)
        for mono in self.blocks:
            is_full = np.concatenate([was_full, np.abs(mono) >= FULL_SCALE])
            self._n_clipped += int(np.count_nonzero(is_full[1:] & is_full[:-1]))
            self._n_read += len(mono)
            was_full = is_full[-1:]
            yield mono


def scale_integers(samples: np.ndarray) -> np.ndarray:
    """Bring integers to [-1, 1) by their full scale and leave floats as they are."""
    if samples.dtype.kind == "f":
        return samples
    if samples.dtype.name not in INTEGERS:
        known = ", ".join(INTEGERS)
        raise AudioError(f"samples of dtype {samples.dtype} have no known scale: convert to {known} or float32")
    silence = 128 if samples.dtype == np.uint8 else 0
    return (samples.astype(np.float64) - silence) / 2 ** (8 * samples.itemsize - 1)


def mix_to_mono(samples: np.ndarray, name: str) -> np.ndarray:
    """Average (n_samples, n_channels) to mono float32 (n_samples,), once the values are known to be sound."""
    peak = np.maximum(samples.max(initial=0), -samples.min(initial=0))  # NaN wins
    if not np.isfinite(peak):
        raise AudioError(
            f"{name} has samples that are {samples[~np.isfinite(samples)][0]}: repair or remove them first"
        )
    if peak > OVERSHOOT_PEAK:
        raise AudioError(
            f"{name} reaches {peak:g} where full scale is 1: divide it by its full scale (32768 for 16 bits)"
        )
    samples = samples.astype(np.result_type(samples, np.float32), copy=False)
    total = reduce(np.add, samples.T)  # many times as fast as `mean` along so short an axis
    return (total / samples.shape[1]).astype(np.float32)


def check_sample_rate(rate: Any, name: str) -> float:
    """Give back a sample rate that a recording can have; `name` says in the message whose it is."""
    if rate is None:
        raise AudioError(f"{name} has no sample rate: pass sample_rate_hz, the rate at which it was recorded")
    if isinstance(rate, bool) or not isinstance(rate, Real) or not isfinite(rate):
        raise AudioError(f"the sample rate of {name} is {rate!r}: give a number of samples per second")
    if not AUDIO.min_sample_rate_hz <= float(rate) <= AUDIO.max_sample_rate_hz:
        raise AudioError(
            f"{name} has a sample rate of {rate} Hz: sound has "
            f"{AUDIO.min_sample_rate_hz} to {AUDIO.max_sample_rate_hz} Hz (give hertz, not kilohertz)"
        )
    return float(rate)


def _resample(blocks, rate):
    """Bring mono blocks to 16 kHz; the resampler keeps its state from block to block, so no seam is heard."""
    if rate == AUDIO.sample_rate_hz:
        yield from blocks
        return
    resampler = soxr.ResampleStream(rate, AUDIO.sample_rate_hz, 1, dtype="float32", quality="HQ")
    for mono in blocks:
        yield resampler.resample_chunk(mono)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
