"""Sound events as they happen: reported when they begin, and again, as in the timeline, when they are over."""

from array import array
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from esc50.audio.loudness import LEVEL, level_blocks
from esc50.classifier.timeline import (
    HOP_SECONDS,
    MOST_JUDGED,
    STORED,
    Event,
    calibrate_confidence,
    frame_border,
    overlapping_blocks,
    settings_for,
    smooth_probabilities,
    window_of,
    windowed_maxima,
)
from esc50.config import AudioSettings
from esc50.yamnet.frames import HOP_SAMPLES, PATCH_SAMPLES, active_frames

DOUBT_FRAMES = 4  # an event that is none of the classes at first is reported these frames, two seconds, later
BEGIN, UPDATE, END, WITHDRAWN = "begin", "update", "end", "withdrawn"


class Change(NamedTuple):
    """Something new about an event.

    Attributes
    ----------
    kind : str
        "begin"; "update", at each frame until it is over, with its end so far; "end", with the event as `detect_events`
        gives it; or "withdrawn", where it turned out to be none.
    number : int
        The same for the beginning and the end of an event.
    event : esc50.classifier.timeline.Event
        As far as it is known, where it has only begun.
    """

    kind: str
    number: int
    event: Event


def stream_events(classifier, blocks: Iterable[np.ndarray], tell: Callable[[Change], Any], *, settings=None) -> None:
    """Report the events of a sound as it comes in, in bounded memory.

    An event is judged twice. Its beginning is reported about a second late, as if the sound ended now: the latest
    frames are levelled by what came before them alone. Five seconds later a frame's final level is known, and it is
    judged anew: the events that are reported to be over are those of `detect_events`.

    Parameters
    ----------
    classifier : esc50.classifier.predict.SoundClassifier
        What embeds and judges.
    blocks : iterable of np.ndarray, shape (n_samples,)
        Mono float32 at 16 kHz, of half a second or less: an `esc50.audio.streams.SoundStream`, or arrays.
    tell : callable
        Takes each `Change` as it comes.
    settings : TimelineSettings, optional
        By default `settings_for` the classifier's head.
    """
    _EventStream(classifier, tell, settings or settings_for(classifier.metadata["pooling"])).run(blocks)


@dataclass(eq=False)
class _Run:
    """Frames in which a class is present, and the gaps between them."""

    label: int
    first: int
    last: int  # in which it was present
    is_after_silence: bool = False
    is_before_silence: bool = False  # as far as is known
    values: array = field(default_factory=lambda: array("f"))  # its probability in each frame from the first on
    vectors: list = field(default_factory=list)  # of the first frames, as many as are judged

    def add(self, value, vector):
        """Take in one more frame."""
        self.values.append(value)
        if len(self.vectors) <= MOST_JUDGED:
            self.vectors.append(vector)

    def copy(self):
        """The same, to try on it what may come."""
        return replace(self, values=self.values[:], vectors=self.vectors[:])

    def overlaps(self, other):
        """Whether both are of one class and share a frame."""
        return self.label == other.label and self.first <= other.last and other.first <= self.last

    def is_event(self, settings):
        """Whether it is long and probable enough."""
        values = np.frombuffer(self.values, np.float32)[: self.last - self.first + 1]
        n_frames = len(values) + self.is_after_silence + self.is_before_silence
        return n_frames * HOP_SECONDS >= settings.min_event_seconds and values.max() >= settings.on_probability

    def trimmed(self, n_frames, settings):
        """First and last frame of its event, where the sound has so many frames."""
        trim = min(settings.trim_frames, (self.last - self.first) // 2)
        return self.first + trim * (self.first > 0), self.last - trim * (self.last < n_frames - 1)


class _Tracker:
    """Makes runs of frames, as `find_events` does, one frame at a time."""

    def __init__(self, settings, runs=(), n_frames=0, was_active=True):
        self.settings, self.n_frames, self.was_active = settings, n_frames, was_active
        self.runs = {run.label: run for run in runs}  # that may go on
        self.max_gap = round(settings.max_gap_seconds / HOP_SECONDS)

    def push(self, row, is_active, vector):
        """Take a frame's smoothed probabilities (n_classes,); the runs that are over now."""
        index, self.n_frames, over = self.n_frames, self.n_frames + 1, []
        sounding = {*np.flatnonzero(row >= self.settings.off_probability).tolist()} if is_active else set()
        for label in sounding - self.runs.keys():
            self.runs[label] = _Run(label, index, index, not self.was_active)
        for label, run in [*self.runs.items()]:
            if index == run.last + 1:
                run.is_before_silence = not is_active
            if label in sounding:
                run.last, run.is_before_silence = index, False
            elif index - run.last > self.max_gap:
                over.append(self.runs.pop(label))
                continue
            run.add(row[label], vector)
        self.was_active = is_active
        return over

    def look_ahead(self, frames):
        """The events that further frames would make or end, or leave open, with nothing changed here."""
        ahead = _Tracker(self.settings, [run.copy() for run in self.runs.values()], self.n_frames, self.was_active)
        runs = [run for frame in frames for run in ahead.push(*frame)] + [*ahead.runs.values()]
        return [run for run in runs if run.is_event(self.settings)]


@dataclass(eq=False)
class _Begun:
    """An event that has begun: its run so far, and its number once it is reported."""

    run: _Run
    n_doubts: int = 0
    number: int | None = None
    event: Event | None = None


class _EventStream:
    """What `stream_events` knows: vectors of the latest frames, the runs that are open, the events that have begun."""

    def __init__(self, classifier, tell, settings):
        self.classifier, self.tell, self.settings = classifier, tell, settings
        self.window = window_of(classifier.metadata["pooling"], settings)
        self.margin = self.window // 2 + settings.smoothing_frames // 2  # frames that are looked ahead
        self.vectors, self.start, self.n_final = [], 0, 0  # vectors from frame `start` on, the first of them final
        self.tracker, self.begun, self.n_told, self.n_samples = _Tracker(settings), [], 0, 0

    def run(self, blocks):
        blocks = self._look_at(blocks)
        blocks = level_blocks(blocks) if self.classifier.is_levelled else blocks
        for part in overlapping_blocks(blocks, n_frames=1):
            for vector in self.classifier.embed_levelled(part):
                self._put(self.n_final, vector)
                self.n_final += 1
                self._settle(self.n_final - self.margin)
        self._settle(self.n_final)
        for run in self.tracker.runs.values():
            self._end(run)
        self._match([])

    def _look_at(self, blocks):
        """The same blocks; before each goes on, what it changes is reported."""
        patches = _Patches(self.classifier)
        for block in blocks:
            self.n_samples += len(block)
            for index, vector in patches.push(block):
                self._put(index, vector)
                frames = self._frames(self.tracker.n_frames, self.start + len(self.vectors))
                self._match(self.tracker.look_ahead(frames))
            yield block

    def _put(self, index, vector):
        self.vectors[index - self.start : index - self.start + 1] = [vector]

    def _settle(self, end):
        """Give the tracker the frames whose probabilities no later sound will change."""
        for frame in self._frames(self.tracker.n_frames, end):
            for run in self.tracker.push(*frame):
                self._end(run)
        n_past = max(0, self.tracker.n_frames - self.margin - self.start)
        self.start, self.vectors = self.start + n_past, self.vectors[n_past:]

    def _frames(self, first, end):
        """Smoothed probabilities, activity and vector of some frames, whatever is known of those around them."""
        if first >= end:
            return []
        context = slice(max(0, first - self.margin - self.start), end + self.margin - self.start)
        vectors = np.stack(self.vectors[context])  # (n_frames, size)
        active = active_frames(vectors)
        probabilities = self.classifier.apply_head(windowed_maxima(vectors, active, n_frames=self.window))
        smooth = smooth_probabilities(probabilities, active, n_frames=self.settings.smoothing_frames)
        kept = slice(first - self.start - context.start, end - self.start - context.start)
        return [*zip(smooth[kept], active[kept], vectors[kept].astype(STORED), strict=True)]

    def _match(self, runs):
        """Bring what has begun up to date with the events that there would be if the sound ended now."""
        before, self.begun = self.begun, []
        for run in runs:
            known = next((each for each in before if each.run.overlaps(run)), None)
            before = [each for each in before if each is not known]
            self.begun.append(known or _Begun(run))
            self._begin(self.begun[-1], run)
        for each in before:
            self._tell(WITHDRAWN, each)

    def _begin(self, begun, run):
        begun.run = run
        if begun.number is None:
            begun.event = self._event(run, self.start + len(self.vectors))
            begun.n_doubts += not begun.event.is_known
            if begun.event.is_known or begun.n_doubts > DOUBT_FRAMES:
                self._number(begun)
        else:
            begun.event = replace(begun.event, end_seconds=self._border(run.last + 1, self.start + len(self.vectors)))
            self._tell(UPDATE, begun)

    def _number(self, begun):
        begun.number, self.n_told = self.n_told + 1, self.n_told + 1
        self._tell(BEGIN, begun)

    def _end(self, run):
        if not run.is_event(self.settings):
            return
        same = [each for each in self.begun if each.run.overlaps(run)]
        self.begun = [each for each in self.begun if each not in same]
        begun, *others = same or [_Begun(run)]
        begun.event = self._event(run, self.n_final)
        if begun.number is None:
            self._number(begun)
        self._tell(END, begun)
        for each in others:
            self._tell(WITHDRAWN, each)

    def _tell(self, kind, begun):
        if begun.number is not None:
            self.tell(Change(kind, begun.number, begun.event))

    def _event(self, run, n_frames):
        first, last = run.trimmed(n_frames, self.settings)
        part = slice(first - run.first, last - run.first + 1)
        confidence = calibrate_confidence(np.frombuffer(run.values, np.float32)[part].mean(), self.settings)
        judged = self.classifier.judge(np.stack(run.vectors[part][:MOST_JUDGED]).astype(np.float32))
        start, end = self._border(first, n_frames), self._border(last + 1, n_frames)
        return Event(start, end, self.classifier.class_names[run.label], confidence, bool(judged.is_known))

    def _border(self, frame, n_frames):
        return frame_border(frame, n_frames, self.n_samples / AudioSettings.sample_rate_hz)


class _Patches:
    """Vectors of frames as soon as their sound is there, at the level of the loudest second up to their end."""

    def __init__(self, classifier):
        self.classifier, self.waiting, self.n_frames = classifier, np.zeros(0, np.float32), 0
        self.loudest = deque([LEVEL.target_rms / LEVEL.max_gain], maxlen=LEVEL.reach_hops + 1)

    def push(self, block):
        """Number and vector of each frame that this block completes."""
        self.waiting = np.concatenate([self.waiting, block])
        while len(self.waiting) >= PATCH_SAMPLES:
            yield self.n_frames, self.classifier.embed_levelled(self._set_level(self.waiting[:PATCH_SAMPLES]))[0]
            self.waiting, self.n_frames = self.waiting[HOP_SAMPLES:], self.n_frames + 1

    def _set_level(self, patch):
        if not self.classifier.is_levelled:
            return patch
        rms = float(np.sqrt(np.mean(np.square(patch[: 2 * HOP_SAMPLES], dtype=np.float64))))
        self.loudest.append(max(rms, LEVEL.target_rms / LEVEL.max_gain))
        return patch * np.float32(LEVEL.target_rms / max(self.loudest))
