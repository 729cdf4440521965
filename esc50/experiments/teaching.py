"""Teach the classifier a class of your own from a few clips, and measure what that costs the others."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logsumexp

from esc50.audio.sound import load_sound
from esc50.classifier.describe import class_label
from esc50.classifier.head import Head
from esc50.classifier.model_io import is_plain
from esc50.classifier.ood import ReferenceClips, clip_vectors
from esc50.classifier.pooling import pool_clips
from esc50.classifier.predict import SoundClassifier
from esc50.config import AudioError, TeachingError
from esc50.dataset.clips import load_clips
from esc50.dataset.feature_files import load_features
from esc50.dataset.splits import official_splits
from esc50.experiments import run_cache
from esc50.experiments.base import find_experiments
from esc50.experiments.keras_heads import to_onnx
from esc50.experiments.shipping import RECIPES
from esc50.yamnet.frames import active_frames

SAME_CLIP = 0.9999  # cosine of two clips' mean embeddings from which they are one and the same recording
PUPIL = "The lesson is given to the plain head, which then answers: only its training vectors come with the project."


@dataclass(frozen=True)
class TeachingSettings:
    """How the output layer gets a unit for a class of the user's own."""

    min_clips: int = 3
    held_out_fold: int = 5  # the cost to the other classes is measured on it
    n_folds: int = 5  # of new clips, held out in turn; fewer where there are fewer clips
    weight_decay: float = 1e-2  # of the unit; from a trial with five classes hidden from a head, not a measurement
    seed: int = 0


SETTINGS = TeachingSettings()


@dataclass(frozen=True, eq=False)
class Taught:
    """A classifier with one class more, and what teaching it cost.

    Attributes
    ----------
    classifier : esc50.classifier.predict.SoundClassifier
        Knows the new class, which comes last in its labels. All other weights are those of the classifier taught.
    class_name : str
        Of the new class, as in `classifier.class_names`.
    cross_validated : pandas.DataFrame
        A row for each new clip: ``clip``, the class ``predicted`` by a classifier that was taught the other clips only,
        and whether it was ``recognised``.
    held_out : pandas.DataFrame
        A row for each clip of ESC-50's fold 5: ``category``, and the class predicted ``before`` and ``after`` by a
        head that was trained on folds 1 to 4 alone, without and with the new class.
    seconds : float
        How long all this took.
    """

    classifier: SoundClassifier
    class_name: str
    cross_validated: pd.DataFrame
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
        return int(self.cross_validated["recognised"].sum())

    @property
    def n_taken(self) -> int:
        """How many held-out clips are taken for the new class, to which none belongs."""
        return int((self.held_out["after"] == self.class_name).sum())

    @property
    def sentences(self) -> tuple:
        """What was learnt, what it costs, what was not measured anew, and by which head, for people."""
        label, n_clips = class_label(self.class_name), len(self.cross_validated)
        return (
            f"It learnt the class “{label}” from {n_clips} clips. Held out of the lesson in turn, "
            f"{self.n_recognised} of the {n_clips} were recognised.",
            f"The cost: of {len(self.held_out)} clips of ESC-50 that were not trained on, "
            f"{100 * self.accuracy_before:.1f} % were named rightly before and {100 * self.accuracy_after:.1f} % now; "
            f"{self.n_taken} of them {'is' if self.n_taken == 1 else 'are'} taken for “{label}”.",
            "How sure it says it is, and from where on it rejects a sound, was measured before the lesson, without "
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
        before, after, category = (self.held_out[key] for key in ("before", "after", "category"))
        right = {"right_before": before == category, "right_after": after == category}
        table = pd.DataFrame({"clips": 1, **right, "taken": after == self.class_name}).groupby(category).sum()
        return table[(before != after).groupby(category).any()]


def teach(classifier, class_name, clips, *, sample_rate_hz=None, settings=SETTINGS, report=lambda words: None):
    """Add a class to the classifier, and measure what that does to the others.

    The lesson is given to the plain head, because only its training vectors are committed: where the classifier takes
    more layers than one, the plain one that comes with the project is taught in its place.

    The output layer gets one unit, which learns from the new clips and the cached embeddings of all 2,000 of
    ESC-50 when to speak up; all other weights stay as they are. Nothing that was seen in a training is counted:
    new clips are held out in turn, and the cost is measured on fold 5 with a head trained on folds 1 to 4.

    Parameters
    ----------
    classifier : esc50.classifier.predict.SoundClassifier
        Not changed; one that was taught already may learn on.
    class_name : str
        Of the new class.
    clips : dict of str to source, or sequence of path-like
        Three or more recordings of it: the names to use in messages, and what `esc50.audio.load_sound` takes.
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
    start = time.perf_counter()
    classifier = classifier if is_plain(classifier.metadata) else SoundClassifier.load("plain")
    class_name = _check_name(class_name, classifier.class_names)
    report("embedding the clips")
    new = _embed_clips(classifier, clips, sample_rate_hz, settings)
    _refuse_twins(new, classifier)
    report("learning")
    learn = _prepare_lesson(classifier.head, load_features("yamnet")["embeddings"], settings)
    taught = _with_class(classifier, learn(new), class_name, new)
    report("holding each clip out in turn")
    cross_validated = _cross_validate(taught, learn, new, settings)
    report("measuring what it costs the other classes")
    held_out = _measure_cost(taught, new, settings)
    return Taught(taught, class_name, cross_validated, held_out, time.perf_counter() - start)


def _prepare_lesson(head, embeddings, settings):
    """A function from new clips to the head with one unit more, beside known clips (n_clips, n_frames, 1024)."""
    known, n_known = embeddings.reshape(-1, embeddings.shape[-1]), embeddings.shape[0] * embeddings.shape[1]
    activations, offsets = head.activations(known), logsumexp(head.logits(known), axis=1)

    def learn(new):
        frames, sizes = np.concatenate(list(new.values())), np.array([len(clip) for clip in new.values()])
        of_clip = n_known / head.n_classes / len(new)  # a clip counts as much as any, and so does the class
        unit = _fit_unit(
            np.concatenate([activations, head.activations(frames)]),
            np.concatenate([offsets, logsumexp(head.logits(frames), axis=1)]),
            np.arange(n_known + len(frames)) >= n_known,
            np.concatenate([np.ones(n_known), np.repeat(of_clip / sizes, sizes)]),
            decay=settings.weight_decay,
        )
        return head.with_unit(*unit)

    return learn


def _fit_unit(activations, offsets, is_new, weights, *, decay):
    """Kernel (n_units,) and bias of the unit that makes the softmax over all classes likeliest, the others as they are.

    With the other logits fixed, the new class has the probability sigmoid(logit - logsumexp(other logits)): a
    logistic regression with an offset, so there is one solution, and it is found without chance.
    """
    mean, scale = activations.mean(axis=0), np.maximum(activations.std(axis=0), 1e-3)
    inputs = np.column_stack([(activations - mean) / scale, np.ones(len(activations))])  # (n_frames, n_units + 1)
    penalty, signs = decay * np.append(np.ones(len(mean)), 0), np.where(is_new, 1, -1)  # the bias is free

    def loss(unit):
        margins = signs * (inputs @ unit - offsets)  # (n_frames,)
        slopes = -signs * weights * expit(-margins)
        value = np.average(-log_expit(margins), weights=weights) + penalty @ unit**2 / 2
        return value, slopes @ inputs / weights.sum() + penalty * unit

    unit = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B").x
    kernel = unit[:-1] / scale
    return kernel, unit[-1] - mean @ kernel


def _with_class(classifier, head, class_name, new):
    """The classifier with another head, the class in its metadata, and the new clips among its reference clips."""
    known = classifier.reference
    reference = ReferenceClips(
        np.concatenate([known.vectors, _clip_vectors(new)]),
        np.append(known.targets, np.full(len(new), len(classifier.class_names))),
        np.append(known.filenames, list(new)),
    )
    metadata = classifier.metadata | {"class_names": [*classifier.class_names, class_name]}
    metadata.pop("cross_validated", None)  # accuracies of a head without the new class
    return replace(classifier, head=head, metadata=metadata, reference=reference)


def _cross_validate(taught, learn, new, settings):
    rows = []
    for part in np.array_split(list(new), min(len(new), settings.n_folds)):
        head = learn({name: frames for name, frames in new.items() if name not in part})
        taken = {str(name): _classify(taught, head, new[name][np.newaxis])[0] for name in part}
        rows += [(name, found, found == taught.class_names[-1]) for name, found in taken.items()]
    return pd.DataFrame(rows, columns=["clip", "predicted", "recognised"])


def _measure_cost(taught, new, settings):
    known = load_features("yamnet")
    (split,) = official_splits(load_clips(), folds=[settings.held_out_fold])
    before, test = _head_without(split, settings.seed), known["embeddings"][split.test]
    after = _prepare_lesson(before, known["embeddings"][split.train], settings)(new)
    names = np.array(taught.class_names)[known["target"][split.test]]
    found = {"before": _classify(taught, before, test), "after": _classify(taught, after, test)}
    return pd.DataFrame({"category": names, **found})


def _head_without(split, seed):
    """The plain head of a training without the test fold; trained once, in a minute."""
    recipe = RECIPES["plain"]
    key = find_experiments()[recipe.experiment].key(split, seed, recipe.settings) | {"gives": "head"}
    content, _ = run_cache.cached(key, lambda: to_onnx(recipe.fit(split.train, seed=seed)).SerializeToString())
    return Head(content)


def _classify(classifier, head, embeddings):
    """Most probable class of each clip (n_clips, n_frames, 1024) by a head with this classifier's pooling, by name."""
    pool = partial(pool_clips, head, embeddings, active_frames(embeddings))
    return np.array(classifier.class_names)[pool(pooling=classifier.metadata["pooling"]).argmax(axis=1)]


def _check_name(class_name, taken):
    name = "_".join(class_name.split())
    if not name:
        raise TeachingError("the new class has no name: give it one, such as “doorbell”")
    if name.lower() in {other.lower() for other in taken}:
        raise TeachingError(f"“{class_name.strip()}” is a class already: choose another name")
    return name


def _embed_clips(classifier, clips, sample_rate_hz, settings):
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
        raise AudioError("it is silent, so there is nothing to learn from: give another recording")
    return embeddings[active]


def _refuse_twins(new, classifier):
    names, vectors = list(new), _clip_vectors(new)
    for first, second in np.argwhere(np.triu(vectors @ vectors.T, k=1) > SAME_CLIP):
        raise TeachingError(f"{names[first]} and {names[second]} are the same sound: give different recordings")
    for clip, known in np.argwhere(vectors @ classifier.reference.vectors.T > SAME_CLIP):
        label = classifier.class_names[classifier.reference.targets[known]]
        raise TeachingError(
            f"{names[clip]} is {classifier.reference.filenames[known]}, learnt already as “{class_label(label)}”: "
            "give another recording"
        )


def _clip_vectors(new):
    """One vector of unit length a clip, (n_clips, 1024)."""
    return np.concatenate([clip_vectors(frames[np.newaxis]) for frames in new.values()])
