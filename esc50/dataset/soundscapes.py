"""Soundscapes, long recordings with a known truth: clips laid one after the other or over each other; the metrics."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from esc50.config import AudioSettings, StatisticsSettings


@dataclass(frozen=True)
class SoundscapeSettings:
    """How clips are joined to long recordings with a known truth; fixed in advance."""

    clips_per_recording: int = 20
    gap_seconds: tuple[float, float] = (0.0, 3.0)  # uniform
    gain_decibel: tuple[float, float] = (-12.0, 0.0)  # uniform, of each clip
    floor_decibel: tuple[float, float] = (-70.0, -50.0)  # uniform, RMS of the noise in every second recording
    snr_decibel: tuple[float, float] = (-6.0, 20.0)  # uniform, RMS of a clip over that of the one in which it begins
    max_pause_seconds: float = 1.0  # a longer silence inside a clip is no part of its sound
    segment_seconds: float = 1.0
    seed: int = 0


RATE_HZ = AudioSettings().sample_rate_hz
LEVELS = StatisticsSettings()
SILENT_RMS = np.float32(1e-4)  # stands for that of a clip in which nothing is active


class ReferenceEvent(NamedTuple):
    """Where a class truly sounds."""

    start_seconds: float
    end_seconds: float
    class_name: str

    def later(self, seconds):
        """The same, some seconds later."""
        return ReferenceEvent(self.start_seconds + seconds, self.end_seconds + seconds, self.class_name)


class Part(NamedTuple):
    """What is laid between two gaps, and the events in it."""

    waveform: np.ndarray  # (n_samples,)
    reference: list[ReferenceEvent]


class Soundscape(NamedTuple):
    """A long recording, mono float32 in [-1, 1] at 16 kHz, and what is truly in it."""

    waveform: np.ndarray  # (n_samples,)
    reference: tuple[ReferenceEvent, ...]

    @property
    def duration_seconds(self) -> float:
        """Length in seconds."""
        return len(self.waveform) / RATE_HZ


def make_soundscape(waveforms, names, *, seed, overlapping=False, settings=SoundscapeSettings()):
    """Lay clips one after the other, or two at a time, each part at a level of its own, with gaps around the parts.

    Every second recording, by its seed, has a floor of white noise, the others digital silence in the gaps. Where clips
    overlap, the onset of each second one is drawn within the first, and so is its level against it (Salamon et al.,
    Scaper, WASPAA 2017).
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
    """Where a clip sounds, in seconds: ESC-50's clips are filled up with digital silence, and many sounds pause.

    Parts whose RMS, in windows of 64 ms, is at least -60 dB of full scale, as `clip_statistics` counts silence.
    """
    import librosa

    frame, hop = (round(s * RATE_HZ) for s in (LEVELS.window_seconds, LEVELS.hop_seconds))
    top = -LEVELS.silence_decibel
    spans = []
    for first, last in librosa.effects.split(waveform, top_db=top, ref=1.0, frame_length=frame, hop_length=hop):
        start, end = float(first / RATE_HZ), float(last / RATE_HZ)
        if spans and start - spans[-1][1] <= settings.max_pause_seconds:
            start = spans.pop()[0]
        spans.append((start, end))
    return spans


def segment_activity(events, names, *, duration_seconds, segment_seconds=SoundscapeSettings.segment_seconds):
    """Which classes sound in which segment, (n_segments, n_classes): True where an event overlaps the segment.

    The segment-based activity of Mesaros, Heittola and Virtanen, Metrics for Polyphonic Sound Event Detection, Applied
    Sciences 6 (2016) 162. Events are those of a reference or of a timeline.
    """
    n_segments, label = int(np.ceil(duration_seconds / segment_seconds)), {name: i for i, name in enumerate(names)}
    active = np.zeros((n_segments, len(names)), bool)
    for event in events:
        first, last = np.floor(event.start_seconds / segment_seconds), np.ceil(event.end_seconds / segment_seconds)
        active[int(first) : int(last), label[event.class_name]] = True
    return active


def segment_metrics(reference, found):
    """Segment-based metrics, counted over all segments and classes (Mesaros et al. 2016, sections 3.1 and 3.2).

    Parameters
    ----------
    reference, found : np.ndarray of bool, shape (n_segments, n_classes)
        From `segment_activity`; segments of several recordings may follow each other.

    Returns
    -------
    dict of str to float
        ``f1``, ``precision``, ``recall``; ``error_rate``, substitutions, deletions and insertions over the active
        reference; and ``macro_f1``, the mean over the classes of the reference.
    """
    hit, missed, wrong = reference & found, reference & ~found, found & ~reference  # (n_segments, n_classes)
    deletions, insertions = missed.sum(axis=1), wrong.sum(axis=1)  # (n_segments,)
    errors = np.maximum(deletions, insertions).sum()  # a substitution is one of each
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
    """Two parts of which the second begins within the first, at a drawn level against it; at most full scale."""
    start = round(rng.uniform(0, len(first.waveform)))
    level = _amplitude(rng.uniform(*settings.snr_decibel)) * _active_rms(first) / _active_rms(second)
    mixed = np.zeros(max(len(first.waveform), start + len(second.waveform)), np.float32)
    mixed[: len(first.waveform)] = first.waveform
    mixed[start : start + len(second.waveform)] += level * second.waveform
    events = [*first.reference, *(event.later(start / RATE_HZ) for event in second.reference)]
    return Part(mixed / max(1.0, np.abs(mixed).max()), events)


def _active_rms(part):
    """Root mean square where it sounds; tiny for silence."""
    spans = [part.waveform[round(e.start_seconds * RATE_HZ) : round(e.end_seconds * RATE_HZ)] for e in part.reference]
    return np.sqrt(np.mean(np.square(np.concatenate(spans)))) if spans else SILENT_RMS


def _amplitude(decibel):
    return np.float32(10 ** (decibel / 20))
