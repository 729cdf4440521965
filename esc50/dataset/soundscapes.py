"""Synthetic soundscapes with ground truth, made of clips in sequence or overlapping; segment-based metrics."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from esc50.config import AudioSettings, StatisticsSettings


@dataclass(frozen=True)
class SoundscapeSettings:
    """How clips are combined to long recordings; fixed in advance. Ranges are uniform."""

    clips_per_recording: int = 20
    gap_seconds: tuple[float, float] = (0.0, 3.0)
    gain_decibel: tuple[float, float] = (-12.0, 0.0)  # of each part
    floor_decibel: tuple[float, float] = (-70.0, -50.0)  # RMS of the noise in every second recording, dBFS
    snr_decibel: tuple[float, float] = (-6.0, 20.0)  # RMS of an overlapping clip relative to the first one
    max_pause_seconds: float = 1.0  # a longer silence inside a clip splits its event
    segment_seconds: float = 1.0
    seed: int = 0


RATE_HZ = AudioSettings().sample_rate_hz
LEVELS = StatisticsSettings()
SILENT_RMS = np.float32(1e-4)  # used for a clip without active parts


class ReferenceEvent(NamedTuple):
    """A ground-truth event."""

    start_seconds: float
    end_seconds: float
    class_name: str

    def later(self, seconds):
        """Return the event shifted by some seconds."""
        return ReferenceEvent(self.start_seconds + seconds, self.end_seconds + seconds, self.class_name)


class Part(NamedTuple):
    """One or two clips between two gaps, and their events."""

    waveform: np.ndarray  # (n_samples,)
    reference: list[ReferenceEvent]


class Soundscape(NamedTuple):
    """A long recording, mono float32 in [-1, 1] at 16 kHz, and its ground truth."""

    waveform: np.ndarray  # (n_samples,)
    reference: tuple[ReferenceEvent, ...]

    @property
    def duration_seconds(self) -> float:
        """Length in seconds."""
        return len(self.waveform) / RATE_HZ


def make_soundscape(waveforms, names, *, seed, overlapping=False, settings=SoundscapeSettings()):
    """Make a soundscape of clips, one at a time or in overlapping pairs, with random gaps and gains.

    In an overlapping pair the onset of the second clip lies within the first, and its relative level is random (as in
    Scaper: Salamon et al., WASPAA 2017). A recording with an odd seed has a floor of white noise.

    Parameters
    ----------
    waveforms : sequence of np.ndarray, each of shape (n_samples,)
        Clips, mono float32 at 16 kHz.
    names : sequence of str
        Class of each clip.
    seed : int
        Of all random choices.
    overlapping : bool
        Whether clips form overlapping pairs.
    settings : SoundscapeSettings
        Ranges of gaps and levels.

    Returns
    -------
    Soundscape
        Waveform (n_samples,) and events in order of the clips.
    """
    rng, laid, reference, start = np.random.default_rng(seed), [], [], 0
    parts = [Part(waveform, _events(waveform, name, settings)) for waveform, name in zip(waveforms, names, strict=True)]
    if overlapping:
        parts = [_overlap(*pair, rng, settings) for pair in zip(parts[::2], parts[1::2], strict=True)]
    for waveform, events in parts:
        gap = np.zeros(round(rng.uniform(*settings.gap_seconds) * RATE_HZ), np.float32)
        start += len(gap)
        laid += [gap, waveform * _amplitude(rng.uniform(*settings.gain_decibel))]
        reference += [event.later(start / RATE_HZ) for event in events]
        start += len(waveform)
    laid.append(np.zeros(round(rng.uniform(*settings.gap_seconds) * RATE_HZ), np.float32))
    whole = np.concatenate(laid)
    if seed % 2:
        whole = whole + _amplitude(rng.uniform(*settings.floor_decibel)) * rng.standard_normal(len(whole))
    return Soundscape(np.clip(whole, -1, 1).astype(np.float32), tuple(reference))


def active_spans(waveform, *, settings=SoundscapeSettings()):
    """Return the active parts of a clip as (start, end) in seconds, without padding and long pauses.

    A part is active if its RMS in windows of 64 ms is at least -60 dBFS, as in `clip_statistics`.
    """
    frame, hop = (round(s * RATE_HZ) for s in (LEVELS.window_seconds, LEVELS.hop_seconds))
    windows = sliding_window_view(np.pad(waveform, frame // 2), frame)[::hop]  # (n_windows, frame)
    is_active = np.sqrt(np.mean(windows**2, axis=1)) > _amplitude(LEVELS.silence_decibel)  # (n_windows,)
    edges = np.flatnonzero(np.diff(is_active, prepend=False, append=False)) * hop  # first, last, first, last, ...
    spans = []
    for first, last in np.minimum(edges, len(waveform)).reshape(-1, 2):
        start, end = float(first / RATE_HZ), float(last / RATE_HZ)
        if spans and start - spans[-1][1] <= settings.max_pause_seconds:
            start = spans.pop()[0]
        spans.append((start, end))
    return spans


def segment_activity(events, names, *, duration_seconds, segment_seconds=SoundscapeSettings.segment_seconds):
    """Return which classes are active in which segments.

    As in Mesaros, Heittola and Virtanen, Metrics for Polyphonic Sound Event Detection, Applied Sciences 6 (2016) 162.

    Parameters
    ----------
    events : sequence of ReferenceEvent or esc50.classifier.timeline.Event
        Ground truth or predictions.
    names : sequence of str
        Classes in label order.
    duration_seconds, segment_seconds : float
        Length of the recording and of a segment.

    Returns
    -------
    np.ndarray of bool, shape (n_segments, n_classes)
        True where an event overlaps the segment.
    """
    n_segments, label = int(np.ceil(duration_seconds / segment_seconds)), {name: i for i, name in enumerate(names)}
    active = np.zeros((n_segments, len(names)), bool)
    for event in events:
        first, last = np.floor(event.start_seconds / segment_seconds), np.ceil(event.end_seconds / segment_seconds)
        active[int(first) : int(last), label[event.class_name]] = True
    return active


def segment_metrics(reference, found):
    """Compute segment-based metrics over all segments and classes (Mesaros et al. 2016, sections 3.1 and 3.2).

    Parameters
    ----------
    reference, found : np.ndarray of bool, shape (n_segments, n_classes)
        From `segment_activity`; several recordings may be concatenated.

    Returns
    -------
    dict of str to float
        ``f1``, ``precision``, ``recall``; ``error_rate``, the substitutions, deletions and insertions per active
        reference; and ``macro_f1``, the mean over the classes in the reference.
    """
    hit, missed, wrong = reference & found, reference & ~found, found & ~reference  # (n_segments, n_classes)
    deletions, insertions = missed.sum(axis=1), wrong.sum(axis=1)  # (n_segments,)
    errors = np.maximum(deletions, insertions).sum()  # a substitution counts once
    by_class = 2 * hit.sum(axis=0) / np.maximum(1, reference.sum(axis=0) + found.sum(axis=0))
    n_active = max(1, reference.sum())
    return {
        "f1": float(2 * hit.sum() / max(1, reference.sum() + found.sum())),
        "precision": float(hit.sum() / max(1, found.sum())),
        "recall": float(hit.sum() / n_active),
        "error_rate": float(errors / n_active),
        "macro_f1": float(by_class[reference.any(axis=0)].mean()),
    }


def _events(waveform, name, settings):
    return [ReferenceEvent(first, last, name) for first, last in active_spans(waveform, settings=settings)]


def _overlap(first, second, rng, settings):
    """Mix two parts, the second at a random onset within the first and a random relative level."""
    start = round(rng.uniform(0, len(first.waveform)))
    level = _amplitude(rng.uniform(*settings.snr_decibel)) * _active_rms(first) / _active_rms(second)
    mixed = np.zeros(max(len(first.waveform), start + len(second.waveform)), np.float32)
    mixed[: len(first.waveform)] = first.waveform
    mixed[start : start + len(second.waveform)] += level * second.waveform
    events = [*first.reference, *(event.later(start / RATE_HZ) for event in second.reference)]
    return Part(mixed / max(1.0, np.abs(mixed).max()), events)


def _active_rms(part):
    """Return the RMS over the active parts, or `SILENT_RMS`."""
    spans = [part.waveform[round(e.start_seconds * RATE_HZ) : round(e.end_seconds * RATE_HZ)] for e in part.reference]
    return np.sqrt(np.mean(np.square(np.concatenate(spans)))) if spans else SILENT_RMS


def _amplitude(decibel):
    return np.float32(10 ** (decibel / 20))
