"""Load a sound, or open it as a stream: the one door by which sound comes in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import BinaryIO

import numpy as np

from esc50.audio.streams import AUDIO, Findings, Sound, SoundStream, check_sample_rate
from esc50.config import AudioError, TooLongError

EXAMPLE_PREFIX = "example:"  # "example:siren" names a sound of esc50.audio.synthesis where a file could be named
SoundSource = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO | np.ndarray
MAX_ARRAY_CHANNELS = 32  # more "channels" than this is a spectrogram or a batch, not one sound


def load_sound(
    source: SoundSource, *, sample_rate_hz: float | None = None, max_seconds: float = AUDIO.max_loaded_seconds
) -> Sound:
    """Bring a file or an array to mono float32 in [-1, 1] at 16 kHz.

    Channels are averaged, except where they cancel: there the loudest one is taken. Other rates are resampled (soxr
    HQ). Integers are divided by their full scale, so that a mono 16-bit file at 16 kHz keeps its exact values. Floats
    are taken as they are; where they go beyond [-1, 1], the gain follows the highest peak so far down to that range.
    Whatever was done or found shows in the attributes of `Sound`: nothing is clipped, and what of a file can be
    decoded is taken, up to where its data end, whatever its header says.

    Parameters
    ----------
    source : str, os.PathLike, bytes, binary file object or np.ndarray
        A sound file, or a video with sound: what FFmpeg's libraries read and has a header (wav, flac, ogg, mp3, m4a,
        webm, aiff, wma, mp4 ...), by its content, not its name; or its bytes; or samples of shape (n_samples,),
        (n_samples, n_channels) as soundfile gives, or (n_channels, n_samples) as librosa gives: the smaller axis
        holds the channels.
        Arrays may be uint8 (128 is silence), int8, int16, int32 or any float. Or ``example:siren`` for a sound
        of `esc50.audio.synthesis.EXAMPLES` (write ``./example:siren`` for a file of that name).
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
        If there is no such file or example; if it is not sound, is empty, or nothing of it can be decoded; if it holds
        NaN or infinity; if it is longer than `max_seconds`; or if no recording can have its sample rate or the array's
        dtype or shape.
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
    """Load what lies between two seconds of a file, (n_samples,) as `load_sound` gives it; the rest costs no memory."""
    rate, position, parts = AUDIO.sample_rate_hz, 0, []
    first, last = round(start_seconds * rate), inf if end_seconds is None else round(end_seconds * rate)
    if not 0 <= first < last:
        raise AudioError(
            f"no sound lasts from {start_seconds:g} to {end_seconds:g} s: begin at 0 or later, and end after that"
        )
    with open_sound(source, sample_rate_hz=sample_rate_hz) as stream:
        for block in stream:
            parts.append(block[max(0, first - position) : int(min(len(block), max(0, last - position)))])
            position += len(block)
            if position - first > AUDIO.max_loaded_seconds * rate and position < last:
                raise AudioError(f"{stream.name} lasts longer than 10 minutes: say from when to when the example is")
            if position >= last:
                break
        if position <= first:
            raise AudioError(f"{stream.name} ends at {position / rate:.1f} s, before {start_seconds:g} s")
    return np.concatenate(parts)


@contextmanager
def open_sound(source: SoundSource, *, sample_rate_hz: float | None = None) -> Iterator[SoundStream]:
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
    if isinstance(source, str) and source.startswith(EXAMPLE_PREFIX) and sample_rate_hz is None:
        from esc50.audio import synthesis  # most sounds are no examples

        source, sample_rate_hz = synthesis.example(source.removeprefix(EXAMPLE_PREFIX)), AUDIO.sample_rate_hz
    if isinstance(source, np.ndarray):
        yield _open_array(source, sample_rate_hz)
        return
    if sample_rate_hz is not None:
        raise AudioError(f"sample_rate_hz={sample_rate_hz} beside a file, which states its own: leave it out")
    from esc50.audio.decode import open_file, open_source  # FFmpeg takes 0.1 s, which arrays do without

    with open_source(source) as (file, name), open_file(file, name) as stream:
        yield stream


def _open_array(samples, sample_rate_hz):
    if samples.ndim not in (1, 2):
        raise AudioError(f"an array of shape {samples.shape} is not one sound: give one or two axes")
    if samples.size == 0:
        raise AudioError(f"the array is empty (shape {samples.shape}): nothing was recorded")
    rate = check_sample_rate(sample_rate_hz, "the array")
    samples = _channels_last(samples)  # (n_samples, n_channels)
    findings = Findings(expected_seconds=len(samples) / rate)
    return SoundStream(rate, samples.shape[1], [(rate, samples)], findings)


def _channels_last(samples):
    if samples.ndim == 1:
        return samples[:, np.newaxis]
    n_channels = min(samples.shape)
    if n_channels == max(samples.shape) > 1:
        raise AudioError(f"shape {samples.shape} does not tell which axis holds the channels: give one channel")
    if n_channels > MAX_ARRAY_CHANNELS:
        raise AudioError(f"an array of shape {samples.shape} is not sound ({n_channels} channels): give a waveform")
    return samples if samples.shape[1] == n_channels else samples.T


def _limit(max_seconds, stream):
    for block in stream:
        if stream.facts.duration_seconds > max_seconds:
            raise TooLongError(
                f"{stream.name} lasts longer than {max_seconds / 60:g} minutes, too long to be classified as one "
                "sound: make a timeline of it (`esc50 predict --timeline`) or cut it"
            )
        yield block
