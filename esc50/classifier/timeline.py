"""Detect events in recordings of any length, block by block."""

import json
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from esc50.audio.loudness import level_blocks
from esc50.audio.sound import open_sound
from esc50.audio.streams import SoundFacts
from esc50.classifier.describe import list_faults, say_timeline
from esc50.classifier.formats import EVENT_COLUMNS, audacity_line, check_output, csv_lines
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS, TINY
from esc50.config import AudioError, TooLongError, YamnetSettings, atomic_write
from esc50.yamnet.frames import HOP_SAMPLES, PATCH_SAMPLES, active_frames

FRAME_SECONDS, HOP_SECONDS = YamnetSettings.patch_window_seconds, YamnetSettings.patch_hop_seconds
OPEN_END_BAR = "{desc}: {n:.0f} s [{elapsed}]"  # for a recording of unknown length
STORED = np.float16  # dtype of the vectors kept on disk until the events are judged: 90 MB per hour for 14 layers
TIMELINE_FROM_SECONDS = 10.0  # longer recordings show the timeline first
MOST_JUDGED = 125  # frames: of a longer event only the first minute is judged


@dataclass(frozen=True)
class TimelineSettings:
    """How a long recording is read, and how its frames become events.

    The values from `window_frames` on are in data/results/timeline.json: see `esc50.experiments.timelines`.
    """

    frames_per_block: int = 16  # eight seconds; more is faster and needs more memory
    max_seconds: float = 86_400.0  # longest recording accepted
    window_frames: int = 5  # centred window of the maximum, for heads on maxima
    smoothing_frames: int = 3  # centred window of the moving average of probabilities
    on_probability: float = 0.5  # an event needs a frame with at least this probability
    off_probability: float = 0.05  # and extends over neighbouring frames with at least this one
    max_gap_seconds: float = 2.0  # shorter pauses do not end an event
    min_event_seconds: float = 1.4  # counted in frames, with a silent one before and after
    trim_frames: int = 1  # removed at each end, because window and average extend events
    confidence_slope: float = 1.309  # Platt scaling of the log-odds of an event's mean probability
    confidence_offset: float = 0.841


PLAIN_TIMELINE = TimelineSettings(  # for heads on single frames: `esc50 timelines --model plain`
    window_frames=1,
    on_probability=0.6,
    off_probability=0.2,
    trim_frames=0,
    confidence_slope=2.182,
    confidence_offset=0.799,
)


@dataclass(frozen=True)
class Event:
    """One sound event in a recording.

    Attributes
    ----------
    start_seconds, end_seconds : float
        From the start of the recording, accurate to about 0.25 s.
    class_name : str
        The predicted class; the best guess if the event is not known.
    confidence : float
        Estimated probability that the class is present in at least half of the event. It is calibrated on synthetic
        soundscapes by Platt scaling of the class's mean probability.
    is_known : bool
        False if the event is rejected as "none of these", by the classifier's rule for whole sounds, whose threshold
        was set on clips of five seconds.
    """

    start_seconds: float
    end_seconds: float
    class_name: str
    confidence: float
    is_known: bool = True


@dataclass(frozen=True, eq=False)
class Timeline:
    """The sound events in a recording.

    Attributes
    ----------
    events : tuple of Event
        In order of time; events of different classes may overlap. Empty if nothing was recognised.
    duration_seconds : float
        Length of the recording.
    class_names : tuple of str
        In label order.
    probabilities : np.ndarray, shape (n_frames, n_classes)
        Of each YAMNet frame of 0.96 s, every 0.48 s, neither smoothed nor calibrated. With a head on maxima each
        includes neighbouring frames.
    active : np.ndarray of bool, shape (n_frames,)
        False for silent frames.
    facts : esc50.audio.SoundFacts
        Facts about the source.
    settings : TimelineSettings
        Settings of the event detection.
    themes : dict of str to str
        Major category of each class of ESC-50.
    """

    events: tuple
    duration_seconds: float
    class_names: tuple = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    active: np.ndarray = field(repr=False)
    facts: SoundFacts = field(repr=False)
    settings: TimelineSettings = field(repr=False)
    themes: dict = field(repr=False, default_factory=dict)

    @property
    def frame_seconds(self) -> np.ndarray:
        """Start of each frame in seconds, (n_frames,)."""
        return np.arange(len(self.probabilities)) * HOP_SECONDS

    @property
    def verdict(self) -> str:
        """One sentence that says which sounds occur when, or which last longest."""
        about = {"seconds": self.duration_seconds, "n_classes": len(self.class_names)}
        return say_timeline(self.events, is_silent=self.facts.is_silent, **about)

    @property
    def is_known(self) -> bool:
        """Whether any event is known."""
        return any(event.is_known for event in self.events)

    @property
    def warnings(self) -> tuple:
        """Sentences about faults: the recording is silent, short, quiet, clipped, damaged, truncated ..."""
        return tuple(list_faults(self.facts))

    def records(self):
        """Return the events as a list of dicts, for example for ``pandas.DataFrame(timeline.records())``."""
        return [*map(event_record, self.events)]

    def to_dict(self):
        """Return everything but the frames in plain types.

        Returns
        -------
        dict
            ``verdict``, ``duration_seconds``, ``warnings``, ``events`` (`records`) and ``settings``.
        """
        return {
            "verdict": self.verdict,
            "duration_seconds": round(self.duration_seconds, 3),
            "warnings": list(self.warnings),
            "events": self.records(),
            "settings": asdict(self.settings),
        }

    def to_csv(self, path):
        """Write the events as CSV with a header.

        Parameters
        ----------
        path : str or Path
            The file; written completely or not at all.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OutputError
            If the file is a recording, which is not overwritten.
        """
        columns = EVENT_COLUMNS[1:]
        return _write(path, csv_lines([columns, *([row[key] for key in columns] for row in self.records())]))

    def to_json(self, path):
        """Write `to_dict` as JSON.

        Parameters
        ----------
        path : str or Path
            The file; written completely or not at all.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OutputError
            If the file is a recording, which is not overwritten.
        """
        return _write(path, json.dumps(self.to_dict(), indent=1, sort_keys=True) + "\n")

    def to_audacity(self, path):
        """Write the events as an Audacity label track (File, Import, Labels).

        Each line has the start, end and class of an event, separated by tabs.

        Parameters
        ----------
        path : str or Path
            The file, written completely or not at all; Audacity expects the suffix ``.txt``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OutputError
            If the file is a recording, which is not overwritten.
        """
        lines = [audacity_line(e.start_seconds, e.end_seconds, e.class_name, is_known=e.is_known) for e in self.events]
        return _write(path, "".join(lines))


def detect_events(classifier, source, *, sample_rate_hz=None, settings=None, progress=False, on_block=None) -> Timeline:
    """Detect the sound events in a recording of any length, in bounded memory.

    Parameters
    ----------
    classifier : esc50.classifier.predict.SoundClassifier
        The classifier.
    source : str, os.PathLike, bytes, binary file object or np.ndarray
        As for `esc50.audio.sound.load_sound`.
    sample_rate_hz : float, optional
        Samples per second: required for an array, refused otherwise.
    settings : TimelineSettings, optional
        Smoothing, thresholds and the longest recording accepted; by default `settings_for` the classifier's head.
    progress : bool
        Show a progress bar on stderr.
    on_block : callable, optional
        Called after each block with the seconds read so far and the expected length in seconds, or None if unknown.

    Returns
    -------
    Timeline
        Events in order of time.

    Raises
    ------
    AudioError
        If the source cannot be read as sound, or there is no space for a temporary file.
    TooLongError
        If the source is longer than ``settings.max_seconds``.
    """
    settings = settings or settings_for(classifier.metadata["pooling"])
    with tempfile.TemporaryFile() as store, open_sound(source, sample_rate_hz=sample_rate_hz) as stream:
        how = {"settings": settings, "progress": progress, "on_block": on_block}
        blocks = embed_stream(classifier.embed_levelled, stream, level=classifier.is_levelled, **how)
        probabilities, active = _read_frames(classifier, _store_blocks(blocks, store), settings)
        vectors = np.memmap(store, STORED, mode="r").reshape(len(active), -1)  # (n_frames, size)
        return _make_timeline(classifier, probabilities, active, vectors, facts=stream.facts, settings=settings)


def timeline_of(prediction, *, classifier, settings=None):
    """Return the same timeline as `detect_events`, from an existing prediction."""
    settings = settings or settings_for(classifier.metadata["pooling"])
    vectors, facts = prediction.vectors, prediction.sound
    probabilities, active = _read_frames(classifier, [vectors], settings)
    stored = vectors.astype(STORED)
    return _make_timeline(classifier, probabilities, active, stored, facts=facts, settings=settings)


def windowed_maxima(vectors, active, *, n_frames):
    """Return the moving maximum over active frames, the input of heads that were trained on maxima of clips.

    Parameters
    ----------
    vectors : np.ndarray, shape (n_frames, size)
        Of the frames.
    active : np.ndarray of bool, shape (n_frames,)
        False for silent frames, which are left out.
    n_frames : int
        Length of the centred window, odd; truncated at both ends of the recording.

    Returns
    -------
    np.ndarray, shape (n_frames, size)
        A frame without active frames in its window is unchanged.
    """
    if n_frames == 1:
        return vectors
    masked = np.where(active[:, np.newaxis], vectors, 0)  # (n_frames, size)
    maxima, near_active = masked.copy(), active.copy()
    for shift in range(1, n_frames // 2 + 1):
        for here, there in ((slice(shift, None), slice(-shift)), (slice(-shift), slice(shift, None))):
            np.maximum(maxima[here], masked[there], out=maxima[here])
            near_active[here] |= active[there]
    return np.where(near_active[:, np.newaxis], maxima, vectors)


def windowed_blocks(blocks, *, n_frames):
    """Apply `windowed_maxima` to a stream of blocks, with the same result; yield maxima and `active`."""
    margin, n_before = n_frames // 2, 0  # the first n_before frames of `waiting` have been yielded
    waiting = np.empty((0, 0), np.float32)
    for block in blocks:
        waiting = np.concatenate([waiting, block]) if len(waiting) else block
        end = max(n_before, len(waiting) - margin)  # frames before `end` do not depend on later blocks
        yield from _window_part(waiting, n_before, end, n_frames)
        start = max(0, end - margin)
        waiting, n_before = waiting[start:], end - start
    yield from _window_part(waiting, n_before, len(waiting), n_frames)


def event_record(event):
    """Return an event as a dict of plain types with rounded numbers."""
    digits = {"start_seconds": 3, "end_seconds": 3, "confidence": 4}
    return asdict(event) | {name: round(float(getattr(event, name)), n) for name, n in digits.items()}


def settings_for(pooling):
    """Return the timeline settings that were chosen for heads with this pooling."""
    return TimelineSettings() if pooling == MAXIMUM_OF_VECTORS else PLAIN_TIMELINE


def window_of(pooling, settings=TimelineSettings()):
    """Return the window of the moving maximum in frames: 1 for heads that were trained on single frames."""
    return settings.window_frames if pooling == MAXIMUM_OF_VECTORS else 1


def judge_events(events, vectors, *, classifier, duration_seconds):
    """Set `is_known` of each event by the classifier's rejection rule, applied to the event's frames."""
    borders, judged = frame_borders(len(vectors), duration_seconds), []
    for event in events:
        first, end = np.searchsorted(borders, (event.start_seconds, event.end_seconds))
        frames = vectors[first : min(end, first + MOST_JUDGED)].astype(np.float32)
        judged.append(replace(event, is_known=bool(classifier.judge(frames).is_known)))
    return tuple(judged)


def embed_stream(embed, stream, *, level=False, settings=TimelineSettings(), progress=False, on_block=None):
    """Embed a stream block by block; yield the vectors (n_frames, size) of the whole waveform, in parts."""
    blocks = _show_progress(_limit_length(stream, settings.max_seconds), stream, progress, on_block)
    blocks = level_blocks(blocks) if level else blocks
    yield from map(embed, overlapping_blocks(blocks, n_frames=settings.frames_per_block))


def overlapping_blocks(blocks, *, n_frames):
    """Re-block a stream (n_samples,) so that the frames of all parts together are the frames of the whole.

    Consecutive parts overlap as consecutive patches do. Only the last part may need padding, which YAMNet adds.
    """
    rest, size = np.zeros(0, np.float32), PATCH_SAMPLES + (n_frames - 1) * HOP_SAMPLES
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) > size:
            yield rest[:size]
            rest = rest[n_frames * HOP_SAMPLES :]
    yield rest  # always has samples that no earlier part had


def find_events(probabilities, active, *, class_names, duration_seconds, settings=TimelineSettings()):
    """Find the events of each class independently, by a threshold with hysteresis.

    Parameters
    ----------
    probabilities : np.ndarray, shape (n_frames, n_classes)
        Of each frame.
    active : np.ndarray of bool, shape (n_frames,)
        False for silent frames, which belong to no event.
    class_names : sequence of str
        In label order.
    duration_seconds : float
        Length of the recording.
    settings : TimelineSettings
        Smoothing, thresholds, gaps and shortest event.

    Returns
    -------
    tuple of Event
        In order of time, all with ``is_known`` True: see `judge_events`.
    """
    smooth = smooth_probabilities(probabilities, active, n_frames=settings.smoothing_frames)
    borders, events = frame_borders(len(smooth), duration_seconds), []
    for label in np.flatnonzero((smooth >= settings.on_probability).any(axis=0)):
        for first, last in _runs_of_class(smooth[:, label], active, settings):
            confidence = calibrate_confidence(smooth[first : last + 1, label].mean(), settings)
            events.append(Event(borders[first], borders[last + 1], class_names[label], confidence))
    return tuple(sorted(events, key=lambda event: (event.start_seconds, event.end_seconds)))


def calibrate_confidence(probability, settings):
    """Return the calibrated confidence of an event from its class's mean probability (Platt 1999)."""
    odds = settings.confidence_offset + settings.confidence_slope * log_odds(probability)
    return float(1 / (1 + np.exp(-odds)))


def log_odds(probability):
    """Return the log-odds of a probability, clipped away from 0 and 1."""
    probability = np.clip(probability, TINY, 1 - TINY)
    return np.log(probability / (1 - probability))


def smooth_probabilities(probabilities, active, *, n_frames):
    """Return the centred moving average over `n_frames` frames, with zero probability in silent frames."""
    margin = n_frames // 2
    masked = np.where(active[:, np.newaxis], probabilities, 0.0)
    padded = np.pad(masked, ((margin, margin), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, n_frames, axis=0).mean(axis=-1)


def frame_borders(n_frames, duration_seconds):
    """Return the borders between consecutive frames in seconds, (n_frames + 1,), including start and end."""
    return [frame_border(index, n_frames, duration_seconds) for index in range(n_frames + 1)]


def frame_border(index, n_frames, duration_seconds):
    """Return the border in seconds between a frame and the previous one: the middle of their overlap."""
    inner = index * HOP_SECONDS + (FRAME_SECONDS - HOP_SECONDS) / 2
    return 0.0 if index == 0 else duration_seconds if index == n_frames else min(inner, duration_seconds)


def _read_frames(classifier, blocks, settings):
    """Return the probabilities (n_frames, n_classes) of all frames, and which are active (n_frames,)."""
    window = window_of(classifier.metadata["pooling"], settings)
    read = [(classifier.apply_head(part), active) for part, active in windowed_blocks(blocks, n_frames=window)]
    return tuple(map(np.concatenate, zip(*read, strict=True)))


def _store_blocks(blocks, store):
    """Yield the same blocks, and write each to the store."""
    for vectors in blocks:
        try:
            store.write(vectors.astype(STORED).tobytes())
            store.flush()
        except OSError as error:
            where = f"cannot write temporary vectors to {tempfile.gettempdir()} ({error.strerror})"
            raise AudioError(f"{where}: free some space, or set TMPDIR to another folder") from error
        yield vectors


def _window_part(vectors, first, end, n_frames):
    """Yield the maxima of frames `first` to `end` and which are active; nothing for an empty range."""
    if first < end:
        active = active_frames(vectors)
        yield windowed_maxima(vectors, active, n_frames=n_frames)[first:end], active[first:end]


def _make_timeline(classifier, probabilities, active, vectors, *, facts, settings):
    names, seconds = classifier.class_names, facts.duration_seconds
    events = find_events(probabilities, active, class_names=names, duration_seconds=seconds, settings=settings)
    events = judge_events(events, vectors, classifier=classifier, duration_seconds=seconds)
    themes = classifier.metadata.get("themes", {})
    return Timeline(events, seconds, names, probabilities, active, facts, settings, themes)


def _limit_length(stream, max_seconds):
    for block in stream:
        if stream.facts.duration_seconds > max_seconds:
            hours = f"{max_seconds / 3600:g} hour{'' if max_seconds == 3600 else 's'}"
            raise TooLongError(f"{stream.name} lasts longer than {hours}: cut it into parts")
        yield block


def _show_progress(blocks, stream, progress, on_block):
    from tqdm.auto import tqdm

    of_known_length = stream.expected_seconds is not None
    form = "{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]" if of_known_length else OPEN_END_BAR
    about = {"total": stream.expected_seconds, "desc": "timeline", "bar_format": form, "leave": False}
    with tqdm(**about, disable=not progress) as bar:
        for block in blocks:
            yield block
            bar.update(stream.facts.duration_seconds - bar.n)
            if on_block:
                on_block(stream.facts.duration_seconds, stream.expected_seconds)


def _runs_of_class(probability, active, settings):
    """Return the first and last frame of each event of one class, from its probabilities (n_frames,)."""
    max_gap, events = round(settings.max_gap_seconds / HOP_SECONDS), []
    for first, last in _join_runs(_runs(active & (probability >= settings.off_probability)), max_gap):
        is_event = probability[first : last + 1].max() >= settings.on_probability
        beside = active[first - 1 : first].tolist() + active[last + 1 : last + 2].tolist()
        n_frames = last - first + 1 + beside.count(False)  # a click in digital silence has two frames of its own
        if is_event and n_frames * HOP_SECONDS >= settings.min_event_seconds:
            trim = min(settings.trim_frames, (last - first) // 2)
            events.append((first + trim * (first > 0), last - trim * (last < len(active) - 1)))
    return events


def _runs(mask):
    """Return the first and last index of each run of True."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False)).tolist()
    return [(start, end - 1) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _join_runs(runs, max_gap):
    """Join runs that are at most `max_gap` frames apart."""
    joined = []
    for first, last in runs:
        if joined and first - joined[-1][1] - 1 <= max_gap:
            first = joined.pop()[0]
        joined.append((first, last))
    return joined


def _write(path, text):
    check_output(path)
    with atomic_write(Path(path)) as beside:
        beside.write_text(text, encoding="utf-8", newline="")
    return Path(path)
