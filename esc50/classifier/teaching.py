"""Teach the classifier classes of your own from recordings, and measure what that costs the others."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from esc50.audio.sound import EXAMPLE_PREFIX, SoundSource, load_part
from esc50.classifier import ood
from esc50.classifier.describe import class_label, class_named, count_of, plain_name
from esc50.classifier.own_classes import SETTINGS, Example, OwnClasses, learn
from esc50.classifier.pooling import TINY
from esc50.classifier.predict import SoundClassifier
from esc50.classifier.whitening import KnownClips
from esc50.config import AudioError, AudioSettings, TeachingError
from esc50.yamnet.frames import active_frames

SAME_SOUND = 0.9999  # cosine of two short vectors from which they are of one sound
TAKEN_NAMES = ("none", "none_of_these")  # what the apps say themselves


@dataclass(frozen=True, eq=False)
class Recording:
    """A labelled recording, or part of one."""

    source: SoundSource
    is_positive: bool = True
    name: str = ""  # needed unless the source is a path; parts of one recording share it
    start_seconds: float | None = None
    end_seconds: float | None = None
    sample_rate_hz: float | None = None  # of an array


@dataclass(frozen=True, eq=False)
class Lesson:
    """A classifier with one class more, and what that cost.

    Labels of ESC-50's clips, (n_clips,), are given by heads and lessons without the clip's fold.
    """

    classifier: SoundClassifier  # knows the class; the model itself is as it was
    class_name: str  # as in `classifier.class_names`
    recognised: tuple  # (name, whether recognised without its recording; None if there is no other) of its sounds
    before: np.ndarray = field(repr=False)  # labels without own classes
    after: np.ndarray = field(repr=False)  # labels with them
    targets: np.ndarray = field(repr=False)  # the clips' own labels
    left_out: tuple = ()  # why sounds were not learnt from

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
        tested = [is_recognised for _, is_recognised in self.recognised if is_recognised is not None]
        right = [100 * accuracy for accuracy in self.accuracies]
        n_taken = int((self.after == self.classifier.class_names.index(self.class_name)).sum())
        return (
            f"Learnt “{label}” from {count_of(n, 'sound')}. "
            + (
                f"Cross-validated by recording, {sum(tested)} of {n} scored above 99 % of the known sounds."
                if tested
                else "There is only one recording, so recognition was not tested."
            ),
            f"Cost: on ESC-50's {len(self.targets):,} clips, accuracy was {right[0]:.1f} % before and is "
            f"{right[1]:.1f} % now; {n_taken} {'is' if n_taken == 1 else 'are'} classified as “{label}” "
            "(cross-validated by fold).",
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


def teach(classifier, class_name, recordings, *, settings=SETTINGS, skip_unreadable=False) -> Lesson:
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
    skip_unreadable : bool
        Learn without recordings that are unreadable, silent, or labelled both ways, and list them in `left_out`.

    Returns
    -------
    Lesson
        The new classifier and the figures.

    Raises
    ------
    TeachingError
        The model is not the default one; the name is empty or that of a class of the model; no sound is of the class;
        or a recording is unreadable, silent, or labelled both ways, unless these are skipped.
    """
    class_name = _check_name(class_name, classifier)
    new, faults = _embed_recordings(classifier, class_name, recordings)
    if faults and not skip_unreadable:
        raise TeachingError("; ".join(faults))
    known = KnownClips.load()
    old = [each for each in (classifier.own.examples if classifier.own else ()) if not _is_among(each, new)]
    examples = [*old, *new]
    if not any(each.is_positive for each in examples if each.class_name == class_name):
        nothing = f"no sound of “{class_label(class_name)}” was given: give one or more"
        raise TeachingError("; ".join([nothing, *faults]))
    own, log_odds = learn(examples, known, settings=settings)
    return _measure(classifier.with_classes(own), class_name, known, log_odds, left_out=tuple(faults))


def learn_anew(classifier, path):
    """Learn a file's classes again, for this model: `OwnClasses`, and names of sounds that were kept in no file."""
    own, known, examples, lost, away = OwnClasses.load(path), KnownClips.load(), [], [], []
    for each in own.examples:
        if not Path(each.file).is_absolute() and not each.file.startswith(EXAMPLE_PREFIX):
            lost.append(each.name or each.file)  # uploaded, or from a microphone
            continue
        part = Recording(each.file, start_seconds=each.start_seconds, end_seconds=each.end_seconds)
        try:
            examples.append(replace(each, vector=_short_vector(classifier, part, known)))
        except AudioError:
            away.append(each.file)
    if away:
        raise TeachingError(
            f"{path} stays as it is, for some recordings cannot be read ({', '.join(away)}): put them back and run "
            "this again, or take their class out with `--forget`"
        )
    learnable = {each.class_name for each in examples if each.is_positive}
    if gone := [class_label(name) for name in own.names if name not in learnable]:
        raise TeachingError(
            f"{path} stays as it is, for the sounds of “{', '.join(gone)}” were kept in no file: take the class out "
            "with `--forget` and teach it again"
        )
    return learn(examples, known)[0], lost


def _embed_recordings(classifier, class_name, recordings):
    """Embed recordings; return examples without duplicates, and error messages."""
    if isinstance(recordings, str | bytes | os.PathLike | Recording | np.ndarray):
        raise TeachingError("the recordings are no list: give one, such as ['bell1.wav', 'bell2.wav']")
    known, examples, faults = KnownClips.load(), [], []
    for given in recordings:
        each = given if isinstance(given, Recording) else Recording(given)
        file = _find_file(each.source)
        if not (name := each.name or file):
            raise TeachingError("what is no file needs a name: give it as Recording(source, name=…)")
        try:
            vector = _short_vector(classifier, each, known)
        except AudioError as error:
            faults.append(str(error) if str(each.source) in str(error) else f"{name}: {error}")
            continue
        example = Example(class_name, each.is_positive, vector, file, name, each.start_seconds, each.end_seconds)
        if not _is_among(example, examples):
            examples.append(example)
        elif not _is_among(example, [other for other in examples if other.is_positive == each.is_positive]):
            faults.append(f"{each.name or each.source} is given as of the class and as not of it: leave one out")
    return examples, faults


def _short_vector(classifier, recording, known):
    """Short vector (size,) of a recording, or of a part of one."""
    part = recording.start_seconds or 0.0, recording.end_seconds
    waveform = load_part(recording.source, *part, sample_rate_hz=recording.sample_rate_hz)
    vectors = classifier.embed(waveform)  # (n_frames, size of the head's input)
    active = active_frames(vectors)  # (n_frames,)
    if np.abs(waveform).max() < AudioSettings.silence_peak or not active.any():
        raise AudioError("it is silent, so there is nothing to learn from: give another recording")
    taken, _ = ood.head_vectors(vectors[np.newaxis], active[np.newaxis], pooling=classifier.metadata["pooling"])
    return known.whitening(taken[0])[0]


def _check_name(class_name, classifier):
    """The name as a class has it; refused where it is empty or a class of the model, or the model cannot learn."""
    if classifier.base_head.input_size != len(KnownClips.load().whitening.mean):
        raise TeachingError("this model learns no classes: load the default one, `SoundClassifier.load()`")
    name, own = "_".join(class_name.split()), classifier.own.names if classifier.own else ()
    if not plain_name(name):
        raise TeachingError("the new class has no name: give it one, such as “doorbell”")
    if class_named(name, [*TAKEN_NAMES, *classifier.with_classes(None).class_names]):
        raise TeachingError(f"“{class_name.strip()}” is a class of the model already: choose another name")
    return class_named(name, own) or name


def _measure(taught, class_name, known, log_odds, **more):
    of_known = np.column_stack([each for each, _ in log_odds.values()])  # (n_clips, n_names)
    joined = np.concatenate([np.log(np.maximum(known.probabilities, TINY)), of_known], axis=1)
    threshold = taught.own.thresholds[taught.own.names.index(class_name)]
    own = [each for each in taught.own.examples if each.class_name == class_name and each.is_positive]
    recognised = tuple(
        (_name_place(each), None if np.isneginf(value) else bool(value >= threshold))
        for each, value in zip(own, log_odds[class_name][1], strict=True)
    )
    found = known.probabilities.argmax(axis=1), joined.argmax(axis=1)
    return Lesson(taught, class_name, recognised, *found, known.targets, **more)


def _is_among(example, others):
    """Whether an example is of the same class and the same sound as one of some others."""
    return any(
        example.class_name == other.class_name and example.vector @ other.vector > SAME_SOUND for other in others
    )


def _find_file(source):
    """Where a source is found from any folder; empty where it is no file."""
    if not isinstance(source, str | os.PathLike):
        return ""
    path = os.fspath(source)
    return path if path.startswith(EXAMPLE_PREFIX) else str(Path(path).absolute())


def _name_place(example):
    name = example.name or example.file
    return name if example.start_seconds is None else f"{name} at {example.start_seconds:.1f} s"
