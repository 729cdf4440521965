"""Teach the classifier a class of your own from a few clips, and measure what that costs the others."""

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logsumexp

from esc50.audio.sound import load_sound
from esc50.classifier.describe import class_label
from esc50.classifier.model_io import is_plain
from esc50.classifier.ood import TrainingClips, clip_vectors, head_activations
from esc50.classifier.pooling import POOLINGS
from esc50.classifier.predict import SoundClassifier
from esc50.config import AudioError, HeadSettings, TeachingError, TeachingSettings
from esc50.dataset.clips import load_clips
from esc50.dataset.feature_files import load_features
from esc50.dataset.splits import official_splits
from esc50.experiments.study import train_head_on
from esc50.yamnet.frames import active_frames

SETTINGS = TeachingSettings()
SAME_CLIP = 0.9999  # cosine of two clips' mean embeddings from which they are one and the same recording
PUPIL = "The lesson is given to the plain head, which then answers: only its training vectors come with the project."


@dataclass(frozen=True, eq=False)
class Taught:
    """A classifier with one class more, and what teaching it cost.

    Attributes
    ----------
    classifier : esc50.classifier.predict.SoundClassifier
        Knows the new class, which comes last in its labels. All other weights are those of the classifier taught.
    class_name : str
        Of the new class, as in `classifier.class_names`.
    left_out : pandas.DataFrame
        A row for each new clip: ``clip``, ``taken_for`` and whether it was ``recognised`` by a classifier that was
        taught the other clips only.
    held_out : pandas.DataFrame
        A row for each clip of ESC-50's fold 5: ``category``, and what it was taken for ``before`` and ``after`` by
        a head that was trained on folds 1 to 4 alone, without and with the new class.
    seconds : float
        How long all this took.
    """

    classifier: SoundClassifier
    class_name: str
    left_out: pd.DataFrame
    held_out: pd.DataFrame
    seconds: float

    @property
    def accuracy_before(self) -> float:
        """Share of the held-out clips that were named rightly without the new class."""
        return float((self.held_out["before"] == self.held_out["category"]).mean())

    @property
    def accuracy_after(self) -> float:
        """Share of the same clips that are named rightly with it."""
        return float((self.held_out["after"] == self.held_out["category"]).mean())

    @property
    def n_recognised(self) -> int:
        """How many new clips were recognised, each by a classifier that had not been taught it."""
        return int(self.left_out["recognised"].sum())

    @property
    def n_taken(self) -> int:
        """How many held-out clips are taken for the new class, to which none belongs."""
        return int((self.held_out["after"] == self.class_name).sum())

    @property
    def sentences(self) -> tuple:
        """What was learnt, what it costs, what was not measured anew, and by which head, for people."""
        label, n_clips = class_label(self.class_name), len(self.left_out)
        return (
            f"It learnt the class “{label}” from {n_clips} clips. Left out of the lesson in turn, "
            f"{self.n_recognised} of the {n_clips} were recognised.",
            f"The cost: of {len(self.held_out)} clips of ESC-50 that were not trained on, "
            f"{100 * self.accuracy_before:.1f} % were named rightly before and {100 * self.accuracy_after:.1f} % now; "
            f"{self.n_taken} of them {'is' if self.n_taken == 1 else 'are'} taken for “{label}”.",
            "How sure it says it is, and from where on it refuses a sound, was measured before the lesson, without "
            f"“{label}”.",
            PUPIL,
        )

    def costs(self):
        """Classes in which held-out clips are named otherwise than before.

        Returns
        -------
        pandas.DataFrame
            Index: the class. Columns ``clips``, ``right_before``, ``right_after`` and ``taken``, how many of them
            are taken for the new class. Empty where nothing changed.
        """
        rows = pd.DataFrame(
            {
                "clips": 1,
                "right_before": self.held_out["before"] == self.held_out["category"],
                "right_after": self.held_out["after"] == self.held_out["category"],
                "taken": self.held_out["after"] == self.class_name,
            }
        )
        table = rows.groupby(self.held_out["category"]).sum()
        changed = (self.held_out["before"] != self.held_out["after"]).groupby(self.held_out["category"]).any()
        return table[changed]


def teach(classifier, class_name, clips, *, sample_rate_hz=None, settings=SETTINGS, report=None):
    """Add a class to the classifier, and measure what that does to the others.

    The lesson is given to the plain head, because only its training vectors are committed: where the classifier
    hears more layers than one, the plain one that comes with the project is taught in its place.

    The output layer gets one unit, which learns from the new clips and the cached embeddings of all 2,000 of
    ESC-50 when to speak up; all other weights stay as they are. Nothing that was heard in a training is counted:
    new clips are left out in turn, and the cost is measured on fold 5 with a head trained on folds 1 to 4.

    Parameters
    ----------
    classifier : esc50.classifier.predict.SoundClassifier
        Not changed; one that was taught already may learn on.
    class_name : str
        Of the new class.
    clips : dict of str to source, or sequence of path-like
        Three or more recordings of it: the names to use in messages, and what `esc50.audio.sound.load_sound` takes.
    sample_rate_hz : float, optional
        Samples per second, where the clips are arrays.
    settings : TeachingSettings
        How to train.
    report : callable, optional
        Called with a few words at each step.

    Returns
    -------
    Taught
        The new classifier and the figures.

    Raises
    ------
    TeachingError
        The name is empty or taken; there are fewer than three clips; or some are no sounds, silent, the same
        twice, or known already. The message names them.
    """
    start, report = time.perf_counter(), report or (lambda words: None)
    classifier = classifier if is_plain(classifier.metadata) else SoundClassifier.load("plain")
    class_name = _checked_name(class_name, classifier.class_names)
    report("listening to the clips")
    new = _listen(classifier, clips, sample_rate_hz, settings)
    _refuse_twins(new, classifier)
    report("learning")
    lesson = _Lesson.of(classifier.head, load_features("yamnet")["embeddings"], settings)
    taught = _with_class(classifier, lesson.learn(new), class_name, new)
    report("leaving each clip out in turn")
    left_out = _leave_out(taught, lesson, new, settings)
    report("measuring what it costs the other classes")
    held_out = _measure_cost(taught, new, settings)
    return Taught(taught, class_name, left_out, held_out, time.perf_counter() - start)


@dataclass(frozen=True, eq=False)
class _Lesson:
    """A head and what it makes of the frames of known clips, to which a new class is to be added."""

    head: object
    activations: np.ndarray  # (n_known_frames, n_units), of the last hidden layer
    offsets: np.ndarray  # (n_known_frames,), log-sum-exp of the logits
    settings: TeachingSettings

    @classmethod
    def of(cls, head, embeddings, settings):
        """Lesson beside known clips, (n_clips, n_frames, 1024)."""
        return cls(head, *_activations(head, embeddings.reshape(-1, embeddings.shape[-1])), settings)

    def learn(self, new):
        """The head with one unit more; in its training each new clip counts as much as any, and so does the class."""
        n_known, n_classes = len(self.activations), self.head.output_shape[-1]
        activations, offsets = zip(*(_activations(self.head, frames) for frames in new.values()), strict=True)
        of_clip = n_known / n_classes / len(new)  # how many frames a new clip stands for
        weights = np.concatenate([np.ones(n_known), *(np.full(len(clip), of_clip / len(clip)) for clip in activations)])
        unit = _fit_unit(
            np.concatenate([self.activations, *activations]),
            np.concatenate([self.offsets, *offsets]),
            np.arange(len(weights)) >= n_known,
            weights,
            decay=self.settings.weight_decay,
        )
        return _extended(self.head, *unit)


def _activations(head, frames):
    """What the last hidden layer makes of frames (n_frames, n_units), and log-sum-exp of their logits (n_frames,)."""
    activations, logits = head_activations(head, frames)
    return activations, logsumexp(logits, axis=1)


def _fit_unit(activations, offsets, is_new, weights, *, decay):
    """Kernel (n_units,) and bias of the unit that makes the softmax over all classes likeliest, the others as they are.

    With the other logits fixed, the new class has the probability sigmoid(logit - logsumexp(other logits)): a
    logistic regression with an offset, so there is one solution, and it is found without chance.
    """
    mean, scale = activations.mean(axis=0), np.maximum(activations.std(axis=0), 1e-3)
    inputs = np.column_stack([(activations - mean) / scale, np.ones(len(activations))])  # (n_frames, n_units + 1)
    penalty = decay * np.append(np.ones(len(mean)), 0)  # the bias is free

    def loss(unit):
        margins = np.where(is_new, 1, -1) * (inputs @ unit - offsets)  # (n_frames,)
        slopes = -np.where(is_new, 1, -1) * weights * expit(-margins)
        value = np.average(-log_expit(margins), weights=weights) + penalty @ unit**2 / 2
        return value, slopes @ inputs / weights.sum() + penalty * unit

    unit = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B").x
    kernel = unit[:-1] / scale
    return kernel, unit[-1] - mean @ kernel


def _extended(head, new_kernel, new_bias):
    """The head with one unit more in its output layer."""
    import keras

    kernel, bias = head.layers[-1].get_weights()

    with keras.device("cpu"):
        output = keras.layers.Dense(len(bias) + 1, activation="softmax", name="output")
        extended = keras.Model(head.input, output(head.layers[-1].input), name=head.name)
        output.set_weights([np.column_stack([kernel, new_kernel]), np.append(bias, new_bias)])
    return extended


def _with_class(classifier, head, class_name, new):
    """The classifier with another head, the class in its card, and the new clips among those it was trained on."""
    known = classifier.training
    training = TrainingClips(
        np.concatenate([known.vectors, _vectors(new)]),
        np.append(known.targets, np.full(len(new), len(classifier.class_names))),
        np.append(known.filenames, list(new)),
    )
    card = classifier.metadata | {"class_names": [*classifier.class_names, class_name]}
    card.pop("cross_validated", None)  # accuracies of a head without the new class
    return replace(classifier, head=head, card=card, training=training)


def _leave_out(taught, lesson, new, settings):
    parts = np.array_split(list(new), min(len(new), settings.left_out_parts))
    rows = []
    for part in parts:
        head = lesson.learn({name: frames for name, frames in new.items() if name not in part})
        taken = {name: _taken_for(taught, head, new[name][np.newaxis])[0] for name in part}
        rows += [(name, found, found == taught.class_names[-1]) for name, found in taken.items()]
    return pd.DataFrame(rows, columns=["clip", "taken_for", "recognised"])


def _measure_cost(taught, new, settings):
    known = load_features("yamnet")
    is_held_out = known["fold"] == settings.held_out_fold
    heard, test = known["embeddings"][~is_held_out], known["embeddings"][is_held_out]
    before = _head_without(settings.held_out_fold, _head_settings(taught.metadata), settings.seed)
    after = _Lesson.of(before, heard, settings).learn(new)
    return pd.DataFrame(
        {
            "category": np.array(taught.class_names)[known["target"][is_held_out]],
            "before": _taken_for(taught, before, test),
            "after": _taken_for(taught, after, test),
        }
    )


@functools.cache
def _head_without(fold, settings, seed):
    """A head that never heard one official fold; trained once in a process."""
    known, (split,) = load_features("yamnet"), official_splits(load_clips(), folds=(fold,))
    embeddings, targets = (known[key][split.train] for key in ("embeddings", "target"))
    return train_head_on(embeddings, targets, settings=settings, seed=seed)


def _head_settings(card):
    return HeadSettings(**card["head_settings"] | {"units": tuple(card["head_settings"]["units"])})


def _taken_for(classifier, head, embeddings):
    """Most probable class of each clip by a head with this pooling, by name; from (n_clips, n_frames, 1024)."""
    n_clips, n_frames, size = embeddings.shape
    scores = head(embeddings.reshape(n_clips * n_frames, size), training=False).numpy()
    pool = POOLINGS[classifier.metadata["pooling"]]
    pooled = pool(scores.reshape(n_clips, n_frames, -1), active_frames(embeddings))  # (n_clips, n_classes)
    return np.array(classifier.class_names)[pooled.argmax(axis=1)]


def _checked_name(class_name, taken):
    name = "_".join(class_name.split())
    if not name:
        raise TeachingError("the new class has no name: give it one, such as “doorbell”")
    if name.lower() in {other.lower() for other in taken}:
        raise TeachingError(f"“{class_name.strip()}” is a class already: choose another name")
    return name


def _listen(classifier, clips, sample_rate_hz, settings):
    """Embeddings of the active frames of each clip, (n_frames, 1024), by name; faults of all clips in one message."""
    clips = clips if isinstance(clips, Mapping) else {Path(path).name: path for path in clips}
    if len(clips) < settings.min_clips:
        raise TeachingError(
            f"a class is learnt from {settings.min_clips} different recordings or more; got {len(clips)}"
        )
    embeddings, faults = {}, []
    for name, source in clips.items():
        try:
            embeddings[name] = _active_embeddings(classifier, source, sample_rate_hz)
        except AudioError as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise TeachingError("; ".join(faults))
    return embeddings


def _active_embeddings(classifier, source, sample_rate_hz):
    sound = load_sound(source, sample_rate_hz=sample_rate_hz)
    embeddings = classifier.embed(sound.waveform)  # (n_frames, 1024)
    active = active_frames(embeddings)  # (n_frames,)
    if sound.is_silent or not active.any():
        raise AudioError("there is nothing to hear in it, so nothing to learn from: leave it out")
    return embeddings[active]


def _refuse_twins(new, classifier):
    names, vectors = list(new), _vectors(new)
    for first, second in np.argwhere(np.triu(vectors @ vectors.T, k=1) > SAME_CLIP):
        raise TeachingError(f"{names[first]} and {names[second]} are the same sound: give different recordings")
    for clip, known in np.argwhere(vectors @ classifier.training.vectors.T > SAME_CLIP):
        label = classifier.class_names[classifier.training.targets[known]]
        raise TeachingError(
            f"{names[clip]} is {classifier.training.filenames[known]}, learnt already as “{class_label(label)}”: "
            "give another recording"
        )


def _vectors(new):
    """One vector of unit length a clip, (n_clips, 1024)."""
    return np.concatenate([clip_vectors(frames[np.newaxis]) for frames in new.values()])
