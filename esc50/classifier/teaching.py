"""Teach the classifier classes of your own from recordings, and measure what that costs the others."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from esc50.audio.sound import SoundSource, load_part
from esc50.classifier import ood
from esc50.classifier.describe import class_label
from esc50.classifier.own_classes import SETTINGS, Example, OwnClasses, learn
from esc50.classifier.pooling import TINY
from esc50.classifier.predict import SoundClassifier
from esc50.classifier.whitening import KnownClips
from esc50.config import AudioError, AudioSettings, TeachingError
from esc50.yamnet.frames import active_frames

SAME_SOUND = 0.9999  # cosine of two short vectors from which they are of one sound
TAKEN_NAMES = {"none_of_these"}  # what the apps say themselves


@dataclass(frozen=True, eq=False)
class Recording:
    """A labelled recording, or part of one."""

    source: SoundSource  # where it is no path, with a name
    is_positive: bool = True
    name: str = ""  # that of the source by default
    start_seconds: float | None = None
    end_seconds: float | None = None
    sample_rate_hz: float | None = None  # of an array


@dataclass(frozen=True, eq=False)
class Lesson:
    """A classifier with one class more, and what that cost.

    Attributes
    ----------
    classifier : SoundClassifier
        Knows the class; the model itself is as it was.
    class_name : str
        Of the new class, as in `classifier.class_names`.
    recognised : dict of str to bool
        Each sound of the class, by its name: whether a lesson without it recognises it.
    before, after : np.ndarray, shape (n_clips,)
        Labels given to ESC-50's clips by heads and lessons without the clip's fold, without and with own classes.
    targets : np.ndarray, shape (n_clips,)
        Their own labels.
    seconds : float
        How long all this took.
    """

    classifier: SoundClassifier
    class_name: str
    recognised: dict
    before: np.ndarray = field(repr=False)
    after: np.ndarray = field(repr=False)
    targets: np.ndarray = field(repr=False)
    seconds: float

    @property
    def own(self):
        """What can be saved."""
        return self.classifier.own

    @property
    def accuracies(self) -> tuple:
        """Share of ESC-50's clips that are classified correctly, without and with own classes."""
        return tuple(float((found == self.targets).mean()) for found in (self.before, self.after))

    @property
    def sentences(self) -> tuple:
        """What was learnt, and what it costs, for people."""
        label, n = class_label(self.class_name), len(self.recognised)
        right = [100 * accuracy for accuracy in self.accuracies]
        n_taken = int((self.after == self.classifier.class_names.index(self.class_name)).sum())
        return (
            f"It learnt the class “{label}” from {n} sound{'' if n == 1 else 's'} of it. Held out of the lesson in "
            f"turn, {sum(self.recognised.values())} of the {n} scored higher than 99 % of the known sounds.",
            f"The cost: of ESC-50's {len(self.targets):,} clips, {right[0]:.1f} % were classified correctly "
            f"before and {right[1]:.1f} % now; {n_taken} {'is' if n_taken == 1 else 'are'} classified as “{label}”. "
            "Each was judged by a head and a lesson that left its fold out.",
        )

    def costs(self) -> list:
        """Classes with changed predictions: name, clips, right before and after, clips predicted as the own class."""
        own, names = self.classifier.class_names.index(self.class_name), self.classifier.class_names
        rows = []
        for target in np.unique(self.targets[self.before != self.after]):
            of_class = self.targets == target
            pairs = (self.before, target), (self.after, target), (self.after, own)
            counts = ((found[of_class] == wanted).sum() for found, wanted in pairs)
            rows.append((names[target], int(of_class.sum()), *map(int, counts)))
        return rows


def teach(classifier, class_name, recordings, *, settings=SETTINGS, report=lambda words: None) -> Lesson:
    """Add a class to the classifier, and measure what that does to the others; a few seconds.

    Each own class is a logistic regression on the vectors that the head takes, shortened, beside all of ESC-50's clips;
    the model stays as it is.

    Parameters
    ----------
    classifier : SoundClassifier
        Not changed. If it has user-defined classes, they are kept.
    class_name : str
        Of the new class, or of an own class that is to learn more.
    recordings : iterable of Recording or path-like
        Some of the class, and others that are not; a path alone is of it. A new label replaces an earlier one for the
        same sound.
    settings : TeachingSettings
        How to learn.
    report : callable, optional
        Called with a few words at each step.

    Returns
    -------
    Lesson
        The new classifier and the figures.

    Raises
    ------
    TeachingError
        The name is empty or that of a class of the model; no sound is of the class; or a recording is unreadable,
        silent, or labelled both ways.
    """
    start, known = time.perf_counter(), KnownClips.load()
    class_name = check_name(class_name, classifier)
    report("embedding the sounds")
    new = embed_examples(classifier, class_name, recordings, known)
    old = [each for each in (classifier.own.examples if classifier.own else ()) if not _is_among(each, new)]
    examples = [*old, *new]
    if not any(each.is_positive for each in examples if each.class_name == class_name):
        raise TeachingError(f"no sound of “{class_label(class_name)}” was given: give one or more")
    report("learning")
    own, odds = learn(examples, known, settings=settings)
    return _measure(classifier.with_classes(own), class_name, known, odds, start)


def forget(path, class_name, *, settings=SETTINGS) -> OwnClasses:
    """Return the classes of a file without one of them; the others are learnt again."""
    own, known, name = OwnClasses.load(path), KnownClips.load(), "_".join(class_name.split())
    if name not in own.names:
        raise TeachingError(f"{path} has no class “{class_name}”, only {', '.join(map(class_label, own.names))}")
    kept = [each for each in own.examples if each.class_name != name]
    if not kept:
        raise TeachingError(f"“{class_name}” is the only class in {path}: delete the file")
    if own.model != known.whitening.fingerprint:
        raise TeachingError(f"{path} was made for another version of the model: run `esc50 teach --anew` first")
    return learn(kept, known, settings=settings)[0]


def learn_anew(classifier, path, *, settings=SETTINGS):
    """Learn the classes of a file again, for this model, from the recordings that it names.

    Returns
    -------
    own : OwnClasses
        The new classes, and names of the recordings that could not be read, which they are learnt without.
    missing : list of str

    Raises
    ------
    TeachingError
        There is no such file, or of one of its classes no recording can be read.
    """
    known, old, examples, missing = KnownClips.load(), OwnClasses.load(path), [], []
    for each in old.examples:
        part = (each.start_seconds, each.end_seconds)
        try:
            vector = short_vector(classifier, Recording(each.file, each.is_positive, "", *part), known)
        except AudioError:
            missing.append(each.file)
            continue
        examples.append(replace(each, vector=vector))
    learnable = {each.class_name for each in examples if each.is_positive}
    if lost := [class_label(name) for name in old.names if name not in learnable]:
        classes = f"the class “{lost[0]}”" if len(lost) == 1 else f"the classes {', '.join(lost)}"
        raise TeachingError(
            f"{path} names no recording of {classes} that can be read ({', '.join(missing)}): put these back, or "
            "`--forget` the class"
        )
    return learn(examples, known, settings=settings)[0], missing


def embed_examples(classifier, class_name, recordings: Iterable[Recording], known) -> list[Example]:
    """Make examples of recordings; the faults of all are in one message, and the same sound counts once."""
    examples, faults = [], []
    for given in recordings:
        each = given if isinstance(given, Recording) else Recording(given)
        name = each.name or _name_source(each.source)
        try:
            vector = short_vector(classifier, each, known)
        except AudioError as error:
            faults.append(str(error) if str(each.source) in str(error) else f"{name}: {error}")
            continue
        example = Example(class_name, each.is_positive, vector, name, each.start_seconds, each.end_seconds)
        if not _is_among(example, examples):
            examples.append(example)
        elif not _is_among(example, [other for other in examples if other.is_positive == each.is_positive]):
            faults.append(f"{each.name or each.source} is given as of the class and as not of it: leave one out")
    if faults:
        raise TeachingError("; ".join(faults))
    return examples


def short_vector(classifier, recording: Recording, known) -> np.ndarray:
    """Short vector (size,) of a recording, or of a part of one."""
    part = recording.start_seconds or 0.0, recording.end_seconds
    waveform = load_part(recording.source, *part, sample_rate_hz=recording.sample_rate_hz)
    vectors = classifier.embed(waveform)  # (n_frames, size of the head's input)
    active = active_frames(vectors)  # (n_frames,)
    if np.abs(waveform).max() <= AudioSettings.silence_peak or not active.any():
        raise AudioError("it is silent, so there is nothing to learn from: give another recording")
    taken, _ = ood.head_vectors(vectors[np.newaxis], active[np.newaxis], pooling=classifier.metadata["pooling"])
    return known.whitening(taken[0])[0]


def check_name(class_name, classifier):
    """The name as a class has it; refused where it is empty or a class of the model."""
    name, own = "_".join(class_name.split()), classifier.own.names if classifier.own else ()
    if not name:
        raise TeachingError("the new class has no name: give it one, such as “doorbell”")
    if name.lower() in TAKEN_NAMES | {other.lower() for other in classifier.class_names if other not in own}:
        raise TeachingError(f"“{class_name.strip()}” is a class of the model already: choose another name")
    return next((other for other in own if other.lower() == name.lower()), name)


def _measure(taught, class_name, known, odds, start):
    of_known = np.column_stack([each for each, _ in odds.values()])  # (n_clips, n_names)
    joined = np.concatenate([np.log(np.maximum(known.probabilities, TINY)), of_known], axis=1)
    threshold = taught.own.thresholds[taught.own.names.index(class_name)]
    own = [each for each in taught.own.examples if each.class_name == class_name and each.is_positive]
    recognised = {
        _name_place(each): bool(value >= threshold) for each, value in zip(own, odds[class_name][1], strict=True)
    }
    found = known.probabilities.argmax(axis=1), joined.argmax(axis=1)
    return Lesson(taught, class_name, recognised, *found, known.targets, time.perf_counter() - start)


def _is_among(example, others):
    """Whether an example is of the same class and the same sound as one of some others."""
    return any(
        example.class_name == other.class_name and example.vector @ other.vector > SAME_SOUND for other in others
    )


def _name_source(source):
    """Name of a source, which of a file leads there from anywhere."""
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else str(source)
    return str(Path(name).absolute()) if Path(name).is_file() else name


def _name_place(example):
    return example.file if example.start_seconds is None else f"{example.file} at {example.start_seconds:.1f} s"
