"""Long recordings with a known truth: clips of known classes laid one after the other, with gaps and levels."""

from dataclasses import dataclass

import numpy as np

from esc50.classifier.timeline import Event
from esc50.config import AudioSettings, StatisticsSettings, StitchingSettings

RATE_HZ = AudioSettings().sample_rate_hz
LEVELS = StatisticsSettings()


@dataclass(frozen=True, eq=False)
class StitchedRecording:
    """A long recording and what is truly in it.

    Attributes
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Mono float32 in [-1, 1] at 16 kHz.
    reference : tuple of esc50.classifier.timeline.Event
        Where each class sounds, with confidence 1.
    """

    waveform: np.ndarray
    reference: tuple

    @property
    def duration_seconds(self) -> float:
        """Length in seconds."""
        return len(self.waveform) / RATE_HZ


def stitch(waveforms, names, *, seed, settings=StitchingSettings()):
    """Lay clips one after the other, each at a level of its own, with gaps before, between and behind them.

    Every second recording, by its seed, has a floor of white noise, the others digital silence in the gaps.

    Parameters
    ----------
    waveforms : sequence of np.ndarray, shape (n_samples,)
        Clips, mono float32 in [-1, 1] at 16 kHz.
    names : sequence of str
        The class of each.
    seed : int
        Of gaps, levels and noise.
    settings : StitchingSettings
        Their ranges.

    Returns
    -------
    StitchedRecording
        The clips in the order given.
    """
    rng, parts, reference, start = np.random.default_rng(seed), [], [], 0
    for waveform, name in zip(waveforms, names, strict=True):
        gap = np.zeros(round(rng.uniform(*settings.gap_seconds) * RATE_HZ), np.float32)
        start += len(gap)
        parts += [gap, waveform * _amplitude(rng.uniform(*settings.gain_decibel))]
        reference += [
            Event(start / RATE_HZ + first, start / RATE_HZ + last, name, 1.0)
            for first, last in active_spans(waveform, settings=settings)
        ]
        start += len(waveform)
    parts.append(np.zeros(round(rng.uniform(*settings.gap_seconds) * RATE_HZ), np.float32))
    whole = np.concatenate(parts)
    if seed % 2:
        whole = whole + _amplitude(rng.uniform(*settings.floor_decibel)) * rng.standard_normal(len(whole))
    return StitchedRecording(np.clip(whole, -1, 1).astype(np.float32), tuple(reference))


def active_spans(waveform, *, settings=StitchingSettings()):
    """Where a clip sounds: ESC-50's clips are filled up with digital silence, and many sounds pause.

    Parameters
    ----------
    waveform : np.ndarray, shape (n_samples,)
        The clip as published, mono at 16 kHz.
    settings : StitchingSettings
        The longest pause that still belongs to the sound.

    Returns
    -------
    list of tuple of float
        Start and end in seconds of each part whose RMS, in windows of 64 ms, is at least -60 dB of full scale, as
        `esc50.dataset.features.clip_statistics` counts silence.
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


def segment_activity(events, names, *, duration_seconds, segment_seconds=StitchingSettings.segment_seconds):
    """Which classes sound in which segment.

    Parameters
    ----------
    events : sequence of esc50.classifier.timeline.Event
        Of a reference or of a timeline.
    names : sequence of str
        Class names in label order.
    duration_seconds : float
        Length of the recording.
    segment_seconds : float
        Length of a segment.

    Returns
    -------
    np.ndarray of bool, shape (n_segments, n_classes)
        True where an event of the class overlaps the segment: the segment-based activity of Mesaros, Heittola and
        Virtanen, Metrics for Polyphonic Sound Event Detection, Applied Sciences 6 (2016) 162.
    """
    n_segments, label = int(np.ceil(duration_seconds / segment_seconds)), {name: i for i, name in enumerate(names)}
    active = np.zeros((n_segments, len(names)), bool)
    for event in events:
        first, last = np.floor(event.start_seconds / segment_seconds), np.ceil(event.end_seconds / segment_seconds)
        active[int(first) : int(last), label[event.class_name]] = True
    return active


def segment_scores(reference, found):
    """Segment-based scores, counted over all segments and classes (Mesaros et al. 2016, sections 3.1 and 3.2).

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
    return {
        "f1": float(2 * hit.sum() / max(1, reference.sum() + found.sum())),
        "precision": float(hit.sum() / max(1, found.sum())),
        "recall": float(hit.sum() / max(1, reference.sum())),
        "error_rate": float(errors / max(1, reference.sum())),
        "macro_f1": float(by_class[reference.any(axis=0)].mean()),
    }


def _amplitude(decibel):
    return np.float32(10 ** (decibel / 20))
