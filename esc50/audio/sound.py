"""Load a sound, or open it as a stream; every sound in the project is read here."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf, isinf
from typing import BinaryIO

import numpy as np

from esc50.audio.streams import AUDIO, Findings, Sound, SoundStream, check_sample_rate
from esc50.config import AudioError, TooLongError

EXAMPLE_PREFIX = "example:"  # "example:siren" stands for a sound of esc50.audio.synthesis
SoundSource = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO | np.ndarray
MAX_ARRAY_CHANNELS = 32  # an array with more is a spectrogram or a batch


def load_sound(
    source: SoundSource, *, sample_rate_hz: float | None = None, max_seconds: float = AUDIO.max_loaded_seconds
) -> Sound:
    """Convert a file or an array to mono float32 in [-1, 1] at 16 kHz.

    Channels are averaged; where they cancel, the loudest one is used. Other sample rates are resampled (soxr HQ).
    Integers are divided by their full scale, so a mono 16-bit file at 16 kHz keeps its exact values. Floats are used
    unchanged; beyond [-1, 1] they are divided by the highest peak so far, never clipped. All data that can be decoded
    are used, whatever length the header states. The attributes of `Sound` describe what was found.

    Parameters
    ----------
    source : str, os.PathLike, bytes, binary file object or np.ndarray
        One of:

        - a sound file, or a video with sound, in a format with a header that FFmpeg reads (wav, flac, ogg, mp3, m4a,
          webm, aiff, wma, mp4 ...); the content decides, not the name;
        - the bytes of such a file, or a binary file object;
        - samples of shape (n_samples,), (n_samples, n_channels) as from soundfile or (n_channels, n_samples) as from
          librosa: the shorter axis holds the channels. The dtype is uint8 (128 is silence), int8, int16, int32 or any
          float;
        - ``example:siren`` for a sound of `esc50.audio.synthesis.EXAMPLES` (``./example:siren`` is a file).
    sample_rate_hz : float, optional
        Samples per second: required for an array, refused for a file, which states its own.
    max_seconds : float, optional
        Longest sound to load, in seconds.

    Returns
    -------
    Sound
        Waveform of shape (n_samples,), and facts about its source.

    Raises
    ------
    AudioError
        If the file or example does not exist; if the source is not sound, is empty or cannot be decoded; if it
        contains NaN or infinity; or if the sample rate, dtype or shape is impossible.
    TooLongError
        If the sound is longer than `max_seconds`.
    """
    with open_sound(source, sample_rate_hz=sample_rate_hz) as stream:
        waveform = np.concatenate(list(_limit(max_seconds, stream)))  # (n_samples,)
        return Sound(waveform=waveform, **vars(stream.facts))


def load_part(
    source: SoundSource,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    *,
    sample_rate_hz: float | None = None,
) -> np.ndarray:
    """Load a part of a sound as `load_sound` does, without keeping the rest in memory.

    Parameters
    ----------
    source : str, os.PathLike, bytes, binary file object or np.ndarray
        As for `load_sound`.
    start_seconds, end_seconds : float
        The part, in seconds; by default to the end.
    sample_rate_hz : float, optional
        Samples per second: required for an array, refused for a file.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Mono float32 in [-1, 1] at 16 kHz.

    Raises
    ------
    AudioError
        As `load_sound`; also if the range is empty, lies behind the end of the sound or is longer than 10 minutes.
    """
    rate, position, parts = AUDIO.sample_rate_hz, 0, []
    end_seconds = inf if end_seconds is None else end_seconds
    first = last = 0
    if 0 <= start_seconds < end_seconds:
        first, last = round(start_seconds * rate), end_seconds if isinf(end_seconds) else round(end_seconds * rate)
    if first >= last:
        raise AudioError(
            f"the range {start_seconds:g} to {end_seconds:g} s is empty: start at 0 s or later, and end after the start"
        )
    with open_sound(source, sample_rate_hz=sample_rate_hz) as stream:
        for block in stream:
            parts.append(block[max(0, first - position) : int(min(len(block), max(0, last - position)))])
            position += len(block)
            if position - first > AUDIO.max_loaded_seconds * rate and position < last:
                raise AudioError(f"{stream.name}: the part is longer than 10 minutes: cut it, or take a shorter part")
            if position >= last:
                break
        if position <= first:
            raise AudioError(
                f"{stream.name} ends at {position / rate:.1f} s, before {start_seconds:g} s: start earlier"
            )
    return np.concatenate(parts)


@contextmanager
def open_sound(source: SoundSource, *, sample_rate_hz: float | None = None) -> Iterator[SoundStream]:
    """Open a file or an array to read it block by block.

    Parameters
    ----------
    source : str, os.PathLike, bytes, binary file object or np.ndarray
        As for `load_sound`.
    sample_rate_hz : float, optional
        Samples per second: required for an array, refused for a file, which states its own.

    Yields
    ------
    SoundStream
        Iterate over it to get the blocks; the file is closed at the end of the ``with`` block.

    Raises
    ------
    AudioError
        As `load_sound`: on opening, or during iteration when a fault is reached.
    """
    if isinstance(source, str) and source.startswith(EXAMPLE_PREFIX) and sample_rate_hz is None:
        from esc50.audio import synthesis  # rarely needed

        source, sample_rate_hz = synthesis.example(source.removeprefix(EXAMPLE_PREFIX)), AUDIO.sample_rate_hz
    if isinstance(source, np.ndarray):
        yield _open_array(source, sample_rate_hz)
        return
    if sample_rate_hz is not None:
        raise AudioError(f"sample_rate_hz={sample_rate_hz} with a file, which states its own: leave it out")
    from esc50.audio.decode import open_file, open_source  # importing FFmpeg takes 0.1 s; arrays do not need it

    with open_source(source) as (file, name), open_file(file, name) as stream:
        yield stream


def _open_array(samples, sample_rate_hz):
    if samples.ndim not in (1, 2):
        raise AudioError(f"an array of shape {samples.shape} is not one sound: give one or two dimensions")
    if samples.size == 0:
        raise AudioError(f"the array is empty (shape {samples.shape}): give at least one sample")
    rate = check_sample_rate(sample_rate_hz, "the array")
    samples = _channels_last(samples)  # (n_samples, n_channels)
    findings = Findings(expected_seconds=len(samples) / rate)
    return SoundStream(rate, samples.shape[1], [(rate, samples)], findings)


def _channels_last(samples):
    if samples.ndim == 1:
        return samples[:, np.newaxis]
    n_channels = min(samples.shape)
    if n_channels == max(samples.shape) > 1:
        raise AudioError(f"shape {samples.shape} does not show which axis holds the channels: give one channel")
    if n_channels > MAX_ARRAY_CHANNELS:
        raise AudioError(f"an array of shape {samples.shape} is not sound ({n_channels} channels): give a waveform")
    return samples if samples.shape[1] == n_channels else samples.T


def _limit(max_seconds, stream):
    for block in stream:
        if stream.facts.duration_seconds > max_seconds:
            raise TooLongError(
                f"{stream.name} lasts longer than {max_seconds / 60:g} minutes, too long for one answer: "
                "use `esc50 predict --timeline`, or cut it into parts"
            )
        yield block
