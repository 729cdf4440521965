"""Recordings of any length: read in blocks, heard frame by frame, told as a timeline of events."""

import tempfile
from dataclasses import asdict, astuple, dataclass, field, replace
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd

from esc50.audio.sound import open_sound
from esc50.audio.streams import SoundFacts
from esc50.classifier.describe import faults
from esc50.classifier.formats import audacity_line
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS
from esc50.config import PLAIN_TIMELINE, AudioError, TimelineSettings, TooLongError, YamnetSettings, atomic_write
from esc50.experiments.results import write_csv, write_json
from esc50.yamnet.frames import HOP_SAMPLES, PATCH_SAMPLES, active_frames

YAMNET = YamnetSettings()


FRAME_SECONDS, HOP_SECONDS = YAMNET.patch_window_seconds, YAMNET.patch_hop_seconds


OPEN_END_BAR = "{desc}: {n:.0f} s [{elapsed}]"  # where the length is not known beforehand
STORED = np.float16  # of the frames' vectors, until the events are judged: on disk, 90 MB an hour for all 14 layers
MOST_JUDGED = 1_250  # frames, ten minutes of them: of a longer event so many, evenly spread
NOTHING = -1  # label of a frame in which no class is heard


@dataclass(frozen=True)
class Event:
    """One sound in a recording.

    Attributes
    ----------
    start_seconds, end_seconds : float
        From the start of the recording, to about a quarter of a second.
    class_name : str
        What it is taken for; the best guess where it is not known.
    confidence : float
        Mean frame score: what the head gives the class, smoothed over neighbours, over the event's frames. Not
        calibrated, unlike the probabilities of a `esc50.classifier.predict.Prediction`.
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
    """What is heard in a recording, and when.

    Attributes
    ----------
    events : tuple of Event
        In order of time; they do not overlap. Where there is none, nothing was recognised.
    duration_seconds : float
        Length of the recording.
    class_names : tuple of str
        In label order.
    probabilities : np.ndarray, shape (n_frames, n_classes)
        Of each YAMNet frame of 0.96 s, every 0.48 s, read with its neighbours as `windowed_maxima` has it; neither
        smoothed nor calibrated.
    active : np.ndarray of bool, shape (n_frames,)
        False where a frame is silent.
    facts : esc50.audio.streams.SoundFacts
        What is known of the source.
    settings : esc50.config.TimelineSettings
        How events were made of frames.
    """

    events: tuple
    duration_seconds: float
    class_names: tuple = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    active: np.ndarray = field(repr=False)
    facts: SoundFacts = field(repr=False)
    settings: TimelineSettings = field(repr=False)

    @property
    def frame_seconds(self) -> np.ndarray:
        """Where each frame starts, in seconds, (n_frames,)."""
        return np.arange(len(self.probabilities)) * HOP_SECONDS

    @property
    def warnings(self) -> tuple:
        """Sentences about a recording that is silent, too short, clipped, resampled or cut off."""
        return tuple(faults(self.facts))

    def table(self):
        """Events as a table.

        Returns
        -------
        pandas.DataFrame
            Columns start_seconds, end_seconds, class_name, confidence, is_known: one row an event.
        """
        columns = list(Event.__dataclass_fields__)
        table = pd.DataFrame([astuple(event) for event in self.events], columns=columns)
        return table.round({"start_seconds": 3, "end_seconds": 3, "confidence": 4})

    def to_csv(self, path):
        """Write the events as CSV with a header: beside its place, then renamed.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        Path
            The same.
        """
        write_csv(self.table(), Path(path))
        return Path(path)

    def to_dict(self):
        """Everything but the frames in plain types.

        Returns
        -------
        dict
            ``duration_seconds``, ``warnings``, ``events`` (the columns of `table`) and ``settings``.
        """
        return {
            "duration_seconds": round(self.duration_seconds, 3),
            "warnings": list(self.warnings),
            "events": self.table().to_dict("records"),
            "settings": asdict(self.settings),
        }

    def to_json(self, path):
        """Write `to_dict` as JSON: beside its place, then renamed.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        Path
            The same.
        """
        write_json(self.to_dict(), Path(path))
        return Path(path)

    def to_audacity(self, path):
        """Write the events as a label track, which Audacity opens by File, Import, Labels.

        Parameters
        ----------
        path : str or Path
            The file; Audacity expects the ending ``.txt``.

        Returns
        -------
        Path
            The same. One line an event: start, end and class, separated by tabs (Audacity's manual, Importing and
            Exporting Labels); or such as ``none of these (clock alarm?)`` for the class.
        """
        lines = [audacity_line(e.start_seconds, e.end_seconds, e.class_name, is_known=e.is_known) for e in self.events]
        with atomic_write(Path(path)) as beside:
            beside.write_text("".join(lines), encoding="utf-8")
        return Path(path)


def detect_events(classifier, source, *, sample_rate_hz=None, settings=None, progress=False, on_block=None):
    """Make a timeline of a recording of any length, in bounded memory.

    Parameters
    ----------
    classifier : esc50.classifier.predict.SoundClassifier
        What hears.
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
        Called after each block with the seconds heard so far and the expected length in seconds, None where the
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
        blocks = embed_stream(classifier.embed, stream, settings=settings, progress=progress, on_block=on_block)
        probabilities, active = _read_frames(classifier, _stored(blocks, store), settings)
        vectors = np.memmap(store, STORED, mode="r").reshape(len(active), -1)  # (n_frames, size)
        return _told(classifier, probabilities, active, vectors, facts=stream.facts, settings=settings)


def timeline_of(prediction, *, classifier, settings=None):
    """Make the timeline that `detect_events` makes, of a sound that has been heard already.

    Parameters
    ----------
    prediction : esc50.classifier.predict.Prediction
        Of the sound.
    classifier : esc50.classifier.predict.SoundClassifier
        What made it.
    settings : TimelineSettings, optional
        How frames are smoothed and joined to events; by default `settings_for` the classifier's head.

    Returns
    -------
    Timeline
        Events in order of time.
    """
    settings = settings or settings_for(classifier.metadata["pooling"])
    vectors = prediction.vectors
    frames = *_read_frames(classifier, [vectors], settings), vectors.astype(STORED)
    return _told(classifier, *frames, facts=prediction.sound, settings=settings)


def windowed_maxima(vectors, active, *, n_frames):
    """For each frame the maximum over the active frames around it, which a head on maxima of clips is to take.

    Parameters
    ----------
    vectors : np.ndarray, shape (n_frames, size)
        Activations, float32: none is below zero.
    active : np.ndarray of bool, shape (n_frames,)
        Frames with sound in them.
    n_frames : int
        Width of the window, odd, centred on the frame and cut at either end; 1 changes nothing.

    Returns
    -------
    np.ndarray, shape (n_frames, size)
        Where no frame of the window is active, the frame as it is.
    """
    from scipy.ndimage import maximum_filter1d

    if n_frames == 1:
        return vectors
    counted = np.where(active[:, np.newaxis], vectors, 0)  # (n_frames, size)
    heard = maximum_filter1d(active.astype(np.uint8), n_frames, mode="constant") > 0  # (n_frames,)
    maxima = maximum_filter1d(counted, n_frames, axis=0, mode="constant")  # (n_frames, size)
    return np.where(heard[:, np.newaxis], maxima, vectors)


def windowed_blocks(blocks, *, n_frames):
    """Take `windowed_maxima` of a recording block by block: the numbers are those of the whole.

    Parameters
    ----------
    blocks : iterable of np.ndarray, shape (n_block_frames, size)
        Vectors of all frames, in order.
    n_frames : int
        Width of the window.

    Yields
    ------
    maxima : np.ndarray, shape (n_part_frames, size)
        Each frame once, in order; parts are as long as blocks but for the first and the last.
    active : np.ndarray of bool, shape (n_part_frames,)
        Which of these frames have sound in them.
    """
    margin, waiting, n_before = n_frames // 2, None, 0  # of those waiting, the first n_before were given already
    for block in blocks:
        waiting = block if waiting is None else np.concatenate([waiting, block])
        end = max(n_before, len(waiting) - margin)  # up to here no later block matters
        yield from _part(waiting, n_before, end, n_frames)
        start = max(0, end - margin)
        waiting, n_before = waiting[start:], end - start
    yield from _part(waiting, n_before, len(waiting), n_frames)


def settings_for(pooling):
    """Settings of timelines that were chosen for a kind of heads.

    Parameters
    ----------
    pooling : str
        One of `esc50.classifier.pooling.POOLING_NAMES`, from the head's card or recipe.

    Returns
    -------
    TimelineSettings
        Heads on maxima hear some frames at once; those of other heads are averaged behind the head.
    """
    return TimelineSettings() if pooling == MAXIMUM_OF_VECTORS else PLAIN_TIMELINE


def window_of(pooling, settings=TimelineSettings()):
    """Over how many frames the maximum is taken for a head.

    Parameters
    ----------
    pooling : str
        One of `esc50.classifier.pooling.POOLING_NAMES`, from the head's card or recipe.
    settings : TimelineSettings
        Says so for heads on maxima.

    Returns
    -------
    int
        1 for every other head: it was trained on single frames.
    """
    return settings.window_frames if pooling == MAXIMUM_OF_VECTORS else 1


def judge_events(events, vectors, *, classifier, duration_seconds):
    """Say of each event whether it is any of the classes, as if it were a sound of its own.

    Parameters
    ----------
    events : sequence of Event
        From `find_events`.
    vectors : np.ndarray, shape (n_frames, size)
        Of all frames of the recording, from the classifier's `embed`.
    classifier : esc50.classifier.predict.SoundClassifier
        Its `judge` decides.
    duration_seconds : float
        Length of the recording.

    Returns
    -------
    tuple of Event
        The same events with their ``is_known``.
    """
    borders, judged = _borders(len(vectors), duration_seconds), []
    for event in events:
        first, end = np.searchsorted(borders, (event.start_seconds, event.end_seconds))
        frames = vectors[first : end : ceil((end - first) / MOST_JUDGED)].astype(np.float32)
        judged.append(replace(event, is_known=bool(classifier.judge(frames).is_known)))
    return tuple(judged)


def embed_stream(embed, stream, *, settings=TimelineSettings(), progress=False, on_block=None):
    """Hear a stream block by block; the frames are those of the whole waveform.

    Parameters
    ----------
    embed : callable
        From a waveform (n_samples,) to the vectors of its frames: `esc50.classifier.predict.SoundClassifier.embed`, or the method
        ``embed`` of a `esc50.yamnet.hub_module.Yamnet`.
    stream : esc50.audio.streams.SoundStream
        From `esc50.audio.sound.open_sound`.
    settings : TimelineSettings
        Frames in a block, and the longest recording that is taken.
    progress, on_block
        As for `detect_events`.

    Yields
    ------
    np.ndarray, shape (n_frames, size)
        Vectors of one block.

    Raises
    ------
    AudioError
        As `detect_events`.
    """
    blocks = _shown(_limited(stream, settings.max_seconds), stream, progress, on_block)
    yield from map(embed, overlapping_blocks(blocks, n_frames=settings.frames_per_block))


def overlapping_blocks(blocks, *, n_frames):
    """Cut a stream anew, so that the frames of all parts are the frames of the whole.

    Neighbouring parts share what two neighbouring patches share. Only the last part may hold less than whole
    patches, and YAMNet pads it as it pads the end of any waveform.

    Parameters
    ----------
    blocks : iterable of np.ndarray, shape (n_samples,)
        A waveform at 16 kHz, cut anywhere.
    n_frames : int
        Frames of each part but the last.

    Yields
    ------
    np.ndarray, shape (n_samples,)
        Parts for `esc50.yamnet.hub_module.Yamnet.embed`.
    """
    rest, size = np.zeros(0, np.float32), PATCH_SAMPLES + (n_frames - 1) * HOP_SAMPLES
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) > size:
            yield rest[:size]
            rest = rest[n_frames * HOP_SAMPLES :]
    yield rest  # never without a sample that no earlier part held


def find_events(probabilities, active, *, class_names, duration_seconds, settings=TimelineSettings()):
    """Make events of frames: smooth, decide for each frame, join equal neighbours, drop what is too short.

    Parameters
    ----------
    probabilities : np.ndarray, shape (n_frames, n_classes)
        Of each frame.
    active : np.ndarray of bool, shape (n_frames,)
        False where a frame is silent: no class can be heard there.
    class_names : sequence of str
        In label order.
    duration_seconds : float
        Length of the recording, where the last frame ends.
    settings : TimelineSettings
        Smoothing, threshold, gaps and shortest event.

    Returns
    -------
    tuple of Event
        In order of time; whether they are known is left to `judge_events`.
    """
    smooth = smooth_probabilities(probabilities, active, n_frames=settings.smoothing_frames)
    labels = np.where(smooth.max(axis=1) >= settings.min_confidence, smooth.argmax(axis=1), NOTHING)
    labels[~active] = NOTHING
    max_gap = round(settings.max_gap_seconds / HOP_SECONDS)
    runs = [run for run in _joined(_runs(labels), max_gap) if _seconds(run) >= settings.min_event_seconds]
    ends = _borders(len(labels), duration_seconds)
    return tuple(
        Event(ends[first], ends[last + 1], class_names[label], float(smooth[first : last + 1, label].mean()))
        for first, last, label in _joined(runs, max_gap)
    )


def smooth_probabilities(probabilities, active, *, n_frames):
    """Average each frame with its neighbours; silent frames count as no class at all.

    Parameters
    ----------
    probabilities : np.ndarray, shape (n_frames, n_classes)
        Of each frame.
    active : np.ndarray of bool, shape (n_frames,)
        False where a frame is silent.
    n_frames : int
        Width of the window, odd; 1 changes nothing but the silent frames.

    Returns
    -------
    np.ndarray, shape (n_frames, n_classes)
        Rows sum to 1 or, beside silence, to less.
    """
    from scipy.ndimage import uniform_filter1d

    heard = np.where(active[:, np.newaxis], probabilities, 0.0)
    return uniform_filter1d(heard, n_frames, axis=0, mode="nearest")


def _read_frames(classifier, blocks, settings):
    """Probabilities (n_frames, n_classes) of all frames, and which are active (n_frames,)."""
    window = window_of(classifier.metadata["pooling"], settings)
    read = [(classifier.apply_head(part), active) for part, active in windowed_blocks(blocks, n_frames=window)]
    return tuple(map(np.concatenate, zip(*read, strict=True)))


def _stored(blocks, store):
    """The same blocks, each written to the store as it goes by."""
    for vectors in blocks:
        try:
            store.write(vectors.astype(STORED).tobytes())
            store.flush()
        except OSError as error:
            where = f"{tempfile.gettempdir()} has no room for what is heard ({error.strerror})"
            raise AudioError(f"{where}: make room, or let TMPDIR name another folder") from error
        yield vectors


def _part(vectors, first, end, n_frames):
    """Maxima of some of the frames, and which of them are active; nothing where there are none."""
    if first < end:
        active = active_frames(vectors)
        yield windowed_maxima(vectors, active, n_frames=n_frames)[first:end], active[first:end]


def _told(classifier, probabilities, active, vectors, *, facts, settings):
    names, seconds = classifier.class_names, facts.duration_seconds
    events = find_events(probabilities, active, class_names=names, duration_seconds=seconds, settings=settings)
    events = judge_events(events, vectors, classifier=classifier, duration_seconds=seconds)
    return Timeline(events, seconds, names, probabilities, active, facts, settings)


def _limited(stream, max_seconds):
    for block in stream:
        if stream.facts.duration_seconds > max_seconds:
            hours = f"{max_seconds / 3600:g} hour{'' if max_seconds == 3600 else 's'}"
            raise TooLongError(f"{stream.name} lasts longer than {hours}: cut it into parts")
        yield block


def _shown(blocks, stream, progress, on_block):
    from tqdm.auto import tqdm

    of_known_length = stream.expected_seconds is not None
    form = "{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]" if of_known_length else OPEN_END_BAR
    with tqdm(total=stream.expected_seconds, desc="listening", bar_format=form, disable=not progress) as bar:
        for block in blocks:
            yield block
            bar.update(stream.facts.duration_seconds - bar.n)
            if on_block:
                on_block(stream.facts.duration_seconds, stream.expected_seconds)


def _runs(labels):
    """Runs (first frame, last frame, label) of equal labels, without those of nothing."""
    starts = np.flatnonzero(np.diff(labels, prepend=NOTHING - 1))
    bounds = pairwise([*starts.tolist(), len(labels)])
    return [(first, end - 1, int(labels[first])) for first, end in bounds if labels[first] != NOTHING]


def _joined(runs, max_gap):
    """Join runs of one label with at most `max_gap` frames and no other run between them."""
    joined = []
    for first, last, label in runs:
        if joined and joined[-1][2] == label and first - joined[-1][1] - 1 <= max_gap:
            first = joined.pop()[0]
        joined.append((first, last, label))
    return joined


def _seconds(run):
    return (run[1] - run[0] + 1) * HOP_SECONDS


def _borders(n_frames, duration_seconds):
    """Where frames hand over to each other: in the middle of their overlap, so that events do not overlap."""
    inner = np.arange(1, n_frames) * HOP_SECONDS + (FRAME_SECONDS - HOP_SECONDS) / 2
    return [0.0, *np.minimum(inner, duration_seconds).tolist(), duration_seconds]  # n_frames + 1
