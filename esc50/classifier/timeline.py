"""Recordings of any length: read in blocks, embedded frame by frame, told as a timeline of events."""

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
OPEN_END_BAR = "{desc}: {n:.0f} s [{elapsed}]"  # where the length is not known beforehand
STORED = np.float16  # of the frames' vectors, until the events are judged: on disk, 90 MB an hour for all 14 layers
TIMELINE_FROM_SECONDS = 10.0  # of longer recordings the timeline is told first, and the answer to the whole second
MOST_JUDGED = 125  # frames: of an event that lasts longer than a minute its first minute is judged


@dataclass(frozen=True)
class TimelineSettings:
    """How a long recording is read and how its frames become events."""

    frames_per_block: int = 16  # eight seconds at once: more would be quicker and take more memory
    max_seconds: float = 86_400.0  # longest recording that is taken
    window_frames: int = 5  # whose maximum a head on maxima takes, centred; this and the rest: see timeline.json
    smoothing_frames: int = 3  # over how many, centred, the probabilities are averaged then
    on_probability: float = 0.5  # an event begins where its class has this in a frame
    off_probability: float = 0.05  # and goes on while the class has this
    max_gap_seconds: float = 2.0  # pauses up to this do not end an event
    min_event_seconds: float = 1.4  # of frames, of which three hold even a click
    trim_frames: int = 1  # taken from either end inside the recording: windows and averages reach beyond the sound
    confidence_slope: float = 1.309  # from the log-odds of an event's mean probability to those of its being right
    confidence_offset: float = 0.841


PLAIN_TIMELINE = TimelineSettings(  # of heads on single frames: `esc50 timelines --model plain`
    window_frames=1,
    on_probability=0.6,
    off_probability=0.2,
    trim_frames=0,
    confidence_slope=2.182,
    confidence_offset=0.799,
)


@dataclass(frozen=True)
class Event:
    """One sound in a recording.

    Attributes
    ----------
    start_seconds, end_seconds : float
        From the start of the recording, to about a quarter of a second.
    class_name : str
        The predicted class; the best guess where the event is not known.
    confidence : float
        Calibrated: of events of soundscapes with this confidence such a share were right, which is that their class
        sounded in at least half of their time. By Platt's logistic of the class's mean probability in the event.
    is_known : bool
        False where the event is none of the classes: by the classifier's rule for whole sounds, whose threshold
        was set on clips of five seconds.
    """

    start_seconds: float
    end_seconds: float
    class_name: str
    confidence: float
    is_known: bool = True


@dataclass(frozen=True, eq=False)
class Timeline:
    """What happens in a recording, and when.

    Attributes
    ----------
    events : tuple of Event
        In order of time; those of different classes may overlap. Where there is none, nothing was recognised.
    duration_seconds : float
        Length of the recording.
    class_names : tuple of str
        In label order.
    probabilities : np.ndarray, shape (n_frames, n_classes)
        Of each YAMNet frame of 0.96 s, every 0.48 s, neither smoothed nor calibrated; a head on maxima takes some
        frames around it too.
    active : np.ndarray of bool, shape (n_frames,)
        False where a frame is silent.
    facts : esc50.audio.SoundFacts
        What is known of the source.
    settings : TimelineSettings
        How events were made of frames.
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
        """Where each frame starts, in seconds, (n_frames,)."""
        return np.arange(len(self.probabilities)) * HOP_SECONDS

    @property
    def verdict(self) -> str:
        """One sentence for people: which sounds occur when, or which ones sound longest."""
        about = {"seconds": self.duration_seconds, "n_classes": len(self.class_names)}
        return say_timeline(self.events, is_silent=self.facts.is_silent, **about)

    @property
    def is_known(self) -> bool:
        """Whether any event is one of the classes."""
        return any(event.is_known for event in self.events)

    @property
    def warnings(self) -> tuple:
        """Sentences about a recording that is silent, short, quiet, clipped, damaged, cut off ..."""
        return tuple(list_faults(self.facts))

    def records(self):
        """Events as dicts, for ``pandas.DataFrame(timeline.records())`` and the like."""
        return [*map(event_record, self.events)]

    def to_dict(self):
        """Everything but the frames in plain types.

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
        """Write the events as CSV with a header, whole or not at all; an `OutputError` where a recording lies there.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        Path
            The same.
        """
        columns = EVENT_COLUMNS[1:]
        return _write(path, csv_lines([columns, *([row[key] for key in columns] for row in self.records())]))

    def to_json(self, path):
        """Write `to_dict` as JSON, whole or not at all; an `OutputError` where a recording lies there.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        Path
            The same.
        """
        return _write(path, json.dumps(self.to_dict(), indent=1, sort_keys=True) + "\n")

    def to_audacity(self, path):
        """Write the events as a label track, which Audacity opens by File, Import, Labels.

        One line an event: start, end and class, between tabs. An `OutputError` where a recording lies there.

        Parameters
        ----------
        path : str or Path
            The file; Audacity expects the ending ``.txt``.

        Returns
        -------
        Path
            The same.
        """
        lines = [audacity_line(e.start_seconds, e.end_seconds, e.class_name, is_known=e.is_known) for e in self.events]
        return _write(path, "".join(lines))


def detect_events(classifier, source, *, sample_rate_hz=None, settings=None, progress=False, on_block=None) -> Timeline:
    """Make a timeline of a recording of any length, in bounded memory.

    Parameters
    ----------
    classifier : esc50.classifier.predict.SoundClassifier
        What embeds and judges.
    source : str, os.PathLike, bytes, binary file object or np.ndarray
        All that `esc50.audio.sound.load_sound` takes.
    sample_rate_hz : float, optional
        Samples per second: required for an array, refused otherwise.
    settings : TimelineSettings, optional
        How frames are smoothed and joined to events, and the longest recording that is taken; by default
        `settings_for` the classifier's head.
    progress : bool
        Show a progress bar on stderr.
    on_block : callable, optional
        Called after each block with the seconds read so far and the expected length in seconds, None where the
        header does not state it.

    Returns
    -------
    Timeline
        Events in order of time.

    Raises
    ------
    AudioError
        The source is not sound, is damaged, or is longer than ``settings.max_seconds``; or there is no room for a
        temporary file.
    """
    settings = settings or settings_for(classifier.metadata["pooling"])
    with tempfile.TemporaryFile() as store, open_sound(source, sample_rate_hz=sample_rate_hz) as stream:
        how = {"settings": settings, "progress": progress, "on_block": on_block}
        blocks = embed_stream(classifier.embed_levelled, stream, level=classifier.is_levelled, **how)
        probabilities, active = _read_frames(classifier, _store_blocks(blocks, store), settings)
        vectors = np.memmap(store, STORED, mode="r").reshape(len(active), -1)  # (n_frames, size)
        return _make_timeline(classifier, probabilities, active, vectors, facts=stream.facts, settings=settings)


def timeline_of(prediction, *, classifier, settings=None):
    """Make the timeline that `detect_events` makes, of a sound that has been classified already."""
    settings = settings or settings_for(classifier.metadata["pooling"])
    vectors, facts = prediction.vectors, prediction.sound
    probabilities, active = _read_frames(classifier, [vectors], settings)
    stored = vectors.astype(STORED)
    return _make_timeline(classifier, probabilities, active, stored, facts=facts, settings=settings)


def windowed_maxima(vectors, active, *, n_frames):
    """For each frame the maximum over the active frames around it, which a head on maxima of clips is to take.

    From vectors (n_frames, size) to the same shape; the window, an odd number of frames, is centred and cut at either
    end. Where none of its frames is active, the frame stays as it is.
    """
    if n_frames == 1:
        return vectors
    counted = np.where(active[:, np.newaxis], vectors, 0)  # (n_frames, size)
    maxima, near_active = counted.copy(), active.copy()
    for shift in range(1, n_frames // 2 + 1):
        for here, there in ((slice(shift, None), slice(-shift)), (slice(-shift), slice(shift, None))):
            np.maximum(maxima[here], counted[there], out=maxima[here])
            near_active[here] |= active[there]
    return np.where(near_active[:, np.newaxis], maxima, vectors)


def windowed_blocks(blocks, *, n_frames):
    """Take `windowed_maxima` of a recording block by block: yields maxima and `active`, the numbers of the whole."""
    margin, n_before = n_frames // 2, 0  # of the frames waiting, the first n_before were given already
    waiting = np.empty((0, 0), np.float32)
    for block in blocks:
        waiting = np.concatenate([waiting, block]) if len(waiting) else block
        end = max(n_before, len(waiting) - margin)  # up to here no later block matters
        yield from _window_part(waiting, n_before, end, n_frames)
        start = max(0, end - margin)
        waiting, n_before = waiting[start:], end - start
    yield from _window_part(waiting, n_before, len(waiting), n_frames)


def event_record(event):
    """An event in plain types, with as many digits as mean something."""
    digits = {"start_seconds": 3, "end_seconds": 3, "confidence": 4}
    return asdict(event) | {name: round(float(getattr(event, name)), n) for name, n in digits.items()}


def settings_for(pooling):
    """Settings of timelines that were chosen for a kind of heads, by their pooling."""
    return TimelineSettings() if pooling == MAXIMUM_OF_VECTORS else PLAIN_TIMELINE


def window_of(pooling, settings=TimelineSettings()):
    """Over how many frames the maximum is taken for a head: 1 for heads that were trained on single frames."""
    return settings.window_frames if pooling == MAXIMUM_OF_VECTORS else 1


def judge_events(events, vectors, *, classifier, duration_seconds):
    """Say of each event whether it is any of the classes, as if it were a sound of its own."""
    borders, judged = frame_borders(len(vectors), duration_seconds), []
    for event in events:
        first, end = np.searchsorted(borders, (event.start_seconds, event.end_seconds))
        frames = vectors[first : min(end, first + MOST_JUDGED)].astype(np.float32)
        judged.append(replace(event, is_known=bool(classifier.judge(frames).is_known)))
    return tuple(judged)


def embed_stream(embed, stream, *, level=False, settings=TimelineSettings(), progress=False, on_block=None):
    """Embed a stream block by block: yields the vectors (n_frames, size) of the whole waveform, in parts."""
    blocks = _show_progress(_limit_length(stream, settings.max_seconds), stream, progress, on_block)
    blocks = level_blocks(blocks) if level else blocks
    yield from map(embed, overlapping_blocks(blocks, n_frames=settings.frames_per_block))


def overlapping_blocks(blocks, *, n_frames):
    """Cut a stream of blocks (n_samples,) anew, so that the frames of all parts are the frames of the whole.

    Neighbouring parts share what two neighbouring patches share. Only the last part may hold less than whole patches,
    and YAMNet pads it as it pads the end of any waveform.
    """
    rest, size = np.zeros(0, np.float32), PATCH_SAMPLES + (n_frames - 1) * HOP_SAMPLES
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) > size:
            yield rest[:size]
            rest = rest[n_frames * HOP_SAMPLES :]
    yield rest  # never without a sample that no earlier part held


def find_events(probabilities, active, *, class_names, duration_seconds, settings=TimelineSettings()):
    """Make events of frames, for each class by itself: it begins at one probability and ends at a lower one.

    Parameters
    ----------
    probabilities : np.ndarray, shape (n_frames, n_classes)
        Of each frame.
    active : np.ndarray of bool, shape (n_frames,)
        False where a frame is silent: it has no class.
    class_names : sequence of str
        In label order.
    duration_seconds : float
        Length of the recording, where the last frame ends.
    settings : TimelineSettings
        Smoothing, thresholds, gaps and shortest event.

    Returns
    -------
    tuple of Event
        In order of time; whether they are known is left to `judge_events`.
    """
    smooth = smooth_probabilities(probabilities, active, n_frames=settings.smoothing_frames)
    borders, events = frame_borders(len(smooth), duration_seconds), []
    for label in np.flatnonzero((smooth >= settings.on_probability).any(axis=0)):
        for first, last in _runs_of_class(smooth[:, label], active, settings):
            confidence = calibrate_confidence(smooth[first : last + 1, label].mean(), settings)
            events.append(Event(borders[first], borders[last + 1], class_names[label], confidence))
    return tuple(sorted(events, key=lambda event: (event.start_seconds, event.end_seconds)))


def calibrate_confidence(probability, settings):
    """How often an event is right, by its class's mean probability (Platt 1999)."""
    odds = settings.confidence_offset + settings.confidence_slope * log_odds(probability)
    return float(1 / (1 + np.exp(-odds)))


def log_odds(probability):
    """Of a probability, kept off 0 and 1."""
    probability = np.clip(probability, TINY, 1 - TINY)
    return np.log(probability / (1 - probability))


def smooth_probabilities(probabilities, active, *, n_frames):
    """Average each frame with its neighbours, n_frames of them in all; silent frames count as no class at all."""
    margin = n_frames // 2
    counted = np.where(active[:, np.newaxis], probabilities, 0.0)
    padded = np.pad(counted, ((margin, margin), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, n_frames, axis=0).mean(axis=-1)


def frame_borders(n_frames, duration_seconds):
    """Where frames hand over to each other, n_frames + 1 times, the start and the end among them."""
    return [frame_border(index, n_frames, duration_seconds) for index in range(n_frames + 1)]


def frame_border(index, n_frames, duration_seconds):
    """Where a frame takes over from the one before: in the middle of their overlap."""
    inner = index * HOP_SECONDS + (FRAME_SECONDS - HOP_SECONDS) / 2
    return 0.0 if index == 0 else duration_seconds if index == n_frames else min(inner, duration_seconds)


def _read_frames(classifier, blocks, settings):
    """Probabilities (n_frames, n_classes) of all frames, and which are active (n_frames,)."""
    window = window_of(classifier.metadata["pooling"], settings)
    read = [(classifier.apply_head(part), active) for part, active in windowed_blocks(blocks, n_frames=window)]
    return tuple(map(np.concatenate, zip(*read, strict=True)))


def _store_blocks(blocks, store):
    """The same blocks, each written to the store as it goes by."""
    for vectors in blocks:
        try:
            store.write(vectors.astype(STORED).tobytes())
            store.flush()
        except OSError as error:
            where = f"{tempfile.gettempdir()} has no room for the vectors ({error.strerror})"
            raise AudioError(f"{where}: make room, or let TMPDIR name another folder") from error
        yield vectors


def _window_part(vectors, first, end, n_frames):
    """Maxima of some of the frames, and which of them are active; nothing where there are none."""
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
    """First and last frame of each event of one class, of its probabilities (n_frames,)."""
    max_gap, events = round(settings.max_gap_seconds / HOP_SECONDS), []
    for first, last in _join_runs(_runs(active & (probability >= settings.off_probability)), max_gap):
        is_event = probability[first : last + 1].max() >= settings.on_probability
        if is_event and (last - first + 1) * HOP_SECONDS >= settings.min_event_seconds:
            trim = min(settings.trim_frames, (last - first) // 2)
            events.append((first + trim * (first > 0), last - trim * (last < len(active) - 1)))
    return events


def _runs(mask):
    """First and last frame of each run of True."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False)).tolist()
    return [(start, end - 1) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _join_runs(runs, max_gap):
    """Join runs with at most `max_gap` frames between them."""
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
