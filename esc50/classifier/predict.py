"""Classify sounds: YAMNet, a head and its metadata behind one interface."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from esc50.audio.loudness import set_level
from esc50.audio.sound import load_sound
from esc50.audio.streams import Sound
from esc50.classifier import describe, model_io, ood
from esc50.classifier.audioset import audioset_matrix
from esc50.classifier.describe import describe_head, list_faults, say_verdict
from esc50.classifier.head import ExtendedHead, Head
from esc50.classifier.ood import Evidence, ReferenceClips, clip_vectors
from esc50.classifier.own_classes import OwnClasses
from esc50.classifier.pooling import maximum_of_vectors, pool_clips, temper
from esc50.classifier.prediction_sets import DEFAULT_COVERAGE, prediction_set
from esc50.classifier.timeline import TIMELINE_FROM_SECONDS, Timeline, timeline_of
from esc50.classifier.whitening import KnownClips
from esc50.config import AudioError, AudioSettings, TeachingError, YamnetSettings
from esc50.yamnet.architecture import N_AUDIOSET_CLASSES, SCORES
from esc50.yamnet.frames import MEL_FRAMES_PER_HOP, STEP_SAMPLES, active_frames, check_waveform, equally_long
from esc50.yamnet.runtime import YamnetRuntime, load_runtime

DECIBEL_PER_NEPER = 20 / np.log(10)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Result of classifying one sound.

    Attributes
    ----------
    class_names : tuple of str
        In label order.
    probabilities : np.ndarray, shape (n_classes,)
        Of the whole sound, calibrated by the model's temperature. Float32, sums to 1.
    frame_probabilities : np.ndarray, shape (n_frames, n_classes)
        Of each YAMNet frame of 0.96 s, not calibrated.
    frame_seconds : np.ndarray, shape (n_frames,)
        Start of each frame.
    sound : esc50.audio.Sound
        The sound as it was classified.
    warnings : tuple of str
        Sentences about faults: the sound is silent, short, quiet, clipped, damaged, truncated ...
    is_known : bool
        False if the sound is silent, or rejected as "none of these" by the model's rejection rule.
    verdict : str
        One sentence that names the sound, or says that it is none of the classes. For more than ten seconds it
        summarises the timeline.
    timeline : esc50.classifier.timeline.Timeline or None
        The events of a sound of more than ten seconds, else None. Computed on first access.
    as_one_sound : str
        A sentence about the whole as one sound, as the probabilities describe it; up to ten seconds it is the verdict.
    vectors : np.ndarray, shape (n_frames, size)
        Of the frames, as from `SoundClassifier.embed`.
    log_mel : np.ndarray, shape (n_windows, 64)
        YAMNet's log-mel spectrogram in decibels, one window every 0.01 s, 125 to 7,500 Hz. Computed on first access.
    nearest : tuple of esc50.classifier.ood.Neighbour
        The most similar training clips, the nearest first; empty for silence. Computed on first access.
    ood_score : float
        The model's rejection score, higher for known sounds; meaningless for silence.
    reaches_own : bool
        Whether the most probable class is user-defined and reaches its own threshold, whatever the score.
    why : str
        A sentence that explains a rejection; empty if the sound is known or silent. Computed on first access.
    audioset_scores : np.ndarray, shape (521,)
        YAMNet's own AudioSet scores, maximum over the active frames.
    """

    class_names: tuple
    probabilities: np.ndarray
    frame_probabilities: np.ndarray
    frame_seconds: np.ndarray
    sound: Sound
    warnings: tuple
    is_known: bool
    as_one_sound: str
    vectors: np.ndarray
    classifier: "SoundClassifier" = field(repr=False)
    evidence: Evidence = field(repr=False)  # for this sound
    yamnet_log_mel: np.ndarray = field(repr=False)  # (n_windows, 64), natural logarithm
    ood_score: float
    reaches_own: bool
    audioset_scores: np.ndarray = field(repr=False)

    @property
    def embeddings(self) -> np.ndarray:
        """YAMNet's embeddings of the frames, (n_frames, 1024): the end of their vectors."""
        return self.vectors[:, -YamnetSettings.embedding_size :]

    @cached_property
    def log_mel(self) -> np.ndarray:
        """YAMNet's log-mel spectrogram in decibels, (n_windows, 64)."""
        n_windows = max(2 * MEL_FRAMES_PER_HOP, -(-len(self.sound.waveform) // STEP_SAMPLES))  # without the padding
        return DECIBEL_PER_NEPER * self.yamnet_log_mel[:n_windows]

    @cached_property
    def timeline(self) -> Timeline | None:
        """Timeline of a sound of more than ten seconds, else None."""
        if self.sound.duration_seconds > TIMELINE_FROM_SECONDS:
            return timeline_of(self, classifier=self.classifier)
        return None

    @property
    def verdict(self) -> str:
        """One sentence about the sound; for a long one, a summary of its timeline."""
        return self.timeline.verdict if self.timeline else self.as_one_sound

    @cached_property
    def nearest(self) -> tuple:
        """The most similar training clips, the nearest first."""
        if self.sound.is_silent:
            return ()
        return ood.nearest_clips(self.evidence.similarity[0], self.classifier.reference, self.class_names)

    @cached_property
    def why(self) -> str:
        """Why the sound was rejected: the score in which it is most unusual; empty if it is known or silent."""
        if self.is_known or self.sound.is_silent:
            return ""
        facts = {"n_clips": len(self.classifier.reference.targets), "n_classes": len(self.class_names)}
        facts |= {"best": describe.with_article(self.top(1)[0][0])}
        facts |= {"nearest": describe.with_article(self.nearest[0].category)}
        score, share = ood.most_unlike(self.evidence)
        if score == "other_score":
            other = int(ood.above_typical(self.evidence)[0].argmax())
            name = self.classifier.yamnet.class_names[other]
            facts |= {"other": describe.audioset_label(name, self.audioset_scores[other])}
        return describe.say_why(score, share, **facts)

    @property
    def theme(self) -> str:
        """Major category of the most probable class; empty for a class that is not in ESC-50."""
        ((best, _),) = self.top(1)
        return self.classifier.metadata.get("themes", {}).get(best, "")

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Return the most probable classes.

        Parameters
        ----------
        k : int
            Number of classes.

        Returns
        -------
        list of tuple of (str, float)
            Class name and probability, the most probable first.
        """
        return _highest(self.probabilities, self.class_names, k)

    def top_audioset(self, k: int = 3) -> list[tuple[str, float]]:
        """Return the AudioSet classes with the highest YAMNet scores.

        Parameters
        ----------
        k : int
            Number of classes.

        Returns
        -------
        list of tuple of (str, float)
            Name and score in [0, 1], the highest first. Scores are not calibrated and do not sum to 1.
        """
        return _highest(self.audioset_scores, self.classifier.yamnet.class_names, k)

    def prediction_set(self, coverage: float = DEFAULT_COVERAGE) -> tuple[str, ...]:
        """Return a conformal prediction set, valid if the sound is one of the model's own classes.

        With user-defined classes its coverage was not measured.

        Parameters
        ----------
        coverage : float
            Minimum share of sounds whose set contains the true class, measured on ESC-50. If it was not measured, the
            next higher measured coverage is used.

        Returns
        -------
        tuple of str
            Class names, the most probable first; at least one.

        Raises
        ------
        ResultsError
            If the model has no prediction sets, or the coverage is higher than measured.
        """
        labels = prediction_set(self.probabilities, self.classifier.metadata.get("conformal"), coverage)
        return tuple(self.class_names[label] for label in labels)

    def say_set(self, coverage: float = DEFAULT_COVERAGE) -> str:
        """Return the prediction set as a sentence.

        Parameters
        ----------
        coverage : float
            As for `prediction_set`.

        Returns
        -------
        str
            Empty if the sound was rejected, or the model has no prediction sets or user-defined classes.

        Raises
        ------
        ResultsError
            If the coverage is higher than measured.
        """
        is_measured = "conformal" in self.classifier.metadata and not self.classifier.own
        return describe.say_set(self.prediction_set(coverage), coverage) if self.is_known and is_measured else ""


def _highest(values, names, k):
    best = np.argsort(-values, kind="stable")[:k]
    return [(names[number], float(values[number])) for number in best]


@dataclass(frozen=True, eq=False)
class Judgement:
    """Numerical result for some frames of one sound.

    Attributes
    ----------
    probabilities : np.ndarray, shape (n_classes,)
        Pooled and calibrated.
    frame_probabilities : np.ndarray, shape (n_frames, n_classes)
        Output of the head, not calibrated.
    ood_score : float
        The model's rejection score, higher for known sounds.
    reaches_own : bool
        Whether the most probable class is user-defined and reaches its own threshold, whatever the score.
    is_known : bool
        Whether the score reaches the model's threshold, or `reaches_own`.
    evidence : esc50.classifier.ood.Evidence
        Inputs of the score.
    """

    probabilities: np.ndarray
    frame_probabilities: np.ndarray
    ood_score: float
    reaches_own: bool
    is_known: bool
    evidence: Evidence


@dataclass(frozen=True, eq=False)
class SoundClassifier:
    """A classifier of environmental sounds: YAMNet, a head and the head's training clips.

    Each frame is represented by a vector: activations of YAMNet layers, averaged over the patch and concatenated. The
    last 1,024 values are always YAMNet's embedding; the plain head uses nothing else.

    Attributes
    ----------
    head : esc50.classifier.head.Head
        From vectors (n_frames, size) to probabilities (n_frames, n_classes).
    yamnet : esc50.yamnet.runtime.YamnetRuntime
        Computes the vectors.
    metadata : dict
        See `esc50.classifier.model_io.load_model`.
    reference : esc50.classifier.ood.ReferenceClips
        One vector for each training clip.
    """

    head: Head | ExtendedHead
    yamnet: YamnetRuntime
    metadata: dict
    reference: ReferenceClips

    @classmethod
    def load(
        cls,
        model: "str | os.PathLike | None" = None,
        *,
        keep: float | None = None,
        classes: "str | os.PathLike | OwnClasses | None" = None,
    ) -> "SoundClassifier":
        """Load a model and YAMNet.

        Parameters
        ----------
        model : str or path-like, optional
            "multilayer" (default) or "plain"; or the path of an ``.onnx`` file written by ``esc50 export``, or of a
            ``.keras`` file with its metadata next to it (needs the extra ``[study]``).
        keep : float, optional
            Share of known sounds to keep rather than reject as "none of these"; by default that of the metadata. A
            smaller share rejects more unknown sounds.
        classes : path-like or OwnClasses, optional
            User-defined classes from `esc50 teach`, added to those of the model.

        Returns
        -------
        SoundClassifier
            Ready to predict.

        Raises
        ------
        ResultsError
            If there is no such model, if it is damaged or does not match this YAMNet, or if it cannot keep that share.
        TeachingError
            If the file of classes is missing or damaged, or was made for another model.

        Examples
        --------
        >>> classifier = SoundClassifier.load()
        >>> classifier.predict("example:siren").verdict
        'This sounds like a siren (100 %).'
        """
        head, metadata = model_io.load_model(model)
        classifier = cls(head, load_runtime(), metadata, ood.load_reference())
        classifier = classifier if keep is None else classifier.keeping(keep)
        return classifier if classes is None else classifier.with_classes(classes)

    def with_classes(self, classes: "str | os.PathLike | OwnClasses | None") -> "SoundClassifier":
        """Return a copy with other user-defined classes.

        Parameters
        ----------
        classes : path-like, OwnClasses or None
            As for `load`; None removes them.

        Returns
        -------
        SoundClassifier
            A new classifier.

        Raises
        ------
        TeachingError
            If the file is missing or damaged, or was made for another model.
        """
        names = list(self.class_names[: self.base_head.n_classes])
        if classes is None:
            return replace(self, head=self.base_head, metadata=self.metadata | {"class_names": names})
        own = classes if isinstance(classes, OwnClasses) else OwnClasses.load(classes)
        whitening = KnownClips.load().whitening
        where = "these classes" if isinstance(classes, OwnClasses) else os.fspath(classes)
        if len(whitening.mean) != self.base_head.input_size:
            raise TeachingError(f"{where}: your own classes need the default model; leave out --model")
        if own.model != whitening.fingerprint:
            raise TeachingError(
                f"{where} was made for another version of the model: run `esc50 teach --anew --classes {where}`"
            )
        head = ExtendedHead(self.base_head, whitening, own)
        return replace(self, head=head, metadata=self.metadata | {"class_names": [*names, *own.names]})

    @property
    def own(self) -> OwnClasses | None:
        """User-defined classes, or None."""
        return self.head.own if isinstance(self.head, ExtendedHead) else None

    @property
    def base_head(self) -> Head:
        """The model's head, without user-defined classes."""
        return self.head.base if isinstance(self.head, ExtendedHead) else self.head

    def keeping(self, keep: float) -> "SoundClassifier":
        """Return a copy with another rejection threshold.

        Parameters
        ----------
        keep : float
            Share of known sounds to keep, as for `load`.

        Returns
        -------
        SoundClassifier
            A new classifier.

        Raises
        ------
        ResultsError
            If the model cannot keep that share.
        """
        rule = ood.keep_share(self.metadata["rejection"], keep)
        return replace(self, metadata=self.metadata | {"rejection": rule})

    @property
    def class_names(self) -> tuple:
        """Class names in label order."""
        return tuple(self.metadata["class_names"])

    @property
    def description(self) -> str:
        """A sentence that describes the head."""
        return describe_head(self.metadata["layers"])

    def embed(self, waveform: np.ndarray) -> np.ndarray:
        """Compute the head's input vectors for one waveform of any length.

        Parameters
        ----------
        waveform : np.ndarray, shape (n_samples,)
            Mono float32 in [-1, 1] at 16 kHz.

        Returns
        -------
        np.ndarray, shape (n_frames, size)
            Float32; the last 1,024 values of each row are YAMNet's embedding.

        Raises
        ------
        AudioError
            If the waveform is not 1-D float32, or is empty, not finite or outside [-1, 1].
        """
        check_waveform(waveform)
        return self.embed_levelled(self.set_level(waveform))

    def set_level(self, waveform: np.ndarray) -> np.ndarray:
        """Normalise a waveform to the level at which the head was trained.

        Parameters
        ----------
        waveform : np.ndarray, shape (n_samples,)
            Mono float32 at 16 kHz.

        Returns
        -------
        np.ndarray, shape (n_samples,)
            As from `esc50.audio.loudness.set_level`; unchanged if the head was trained without level normalisation.
        """
        return set_level(waveform) if self.is_levelled else waveform

    @property
    def is_levelled(self) -> bool:
        """Whether the head expects level-normalised sounds."""
        return bool(self.metadata.get("head_settings", {}).get("level"))

    @property
    def takes_scores(self) -> bool:
        """Whether the head uses the AudioSet scores in addition to the layers."""
        return SCORES in self.metadata["layers"]

    def embed_levelled(self, waveform: np.ndarray) -> np.ndarray:
        """Compute the vectors of a waveform that is already level-normalised, such as a block of a stream.

        Parameters
        ----------
        waveform : np.ndarray, shape (n_samples,)
            Mono float32 at 16 kHz, from `set_level`.

        Returns
        -------
        np.ndarray, shape (n_frames, size)
            As from `embed`.
        """
        return self.yamnet.embed(waveform, layers=self.metadata["layers"])

    def embed_batch(self, waveforms) -> np.ndarray:
        """Compute the vectors of many waveforms of equal length.

        Parameters
        ----------
        waveforms : np.ndarray, shape (n_clips, n_samples)
            Mono float32 in [-1, 1] at 16 kHz.

        Returns
        -------
        np.ndarray, shape (n_clips, n_frames, size)
            As from `embed`.

        Raises
        ------
        AudioError
            If there is no waveform, if lengths differ, or as for `embed`.
        """
        levelled = map(self.set_level, equally_long(waveforms))
        return self.yamnet.embed_batch(levelled, layers=self.metadata["layers"])

    def predict(self, source, *, sample_rate_hz: float | None = None) -> Prediction:
        """Classify one sound.

        Parameters
        ----------
        source : str, os.PathLike, bytes, binary file object or np.ndarray
            As for `esc50.audio.load_sound`.
        sample_rate_hz : float, optional
            Samples per second: required for an array, refused otherwise.

        Returns
        -------
        Prediction
            Silence gets probabilities too, but ``is_known`` is False.

        Raises
        ------
        AudioError
            If the source cannot be read as sound; the message says what to do.
        """
        sound = load_sound(source, sample_rate_hz=sample_rate_hz)
        levelled = self.set_level(sound.waveform)
        layers = (SCORES, *(layer for layer in self.metadata["layers"] if layer != SCORES))
        every, log_mel = self.yamnet.embed_with_log_mel(levelled, layers=layers)
        vectors = every if self.takes_scores else every[:, N_AUDIOSET_CLASSES:]  # (n_frames, size)
        [scores] = maximum_of_vectors(every[np.newaxis, :, :N_AUDIOSET_CLASSES], active_frames(every)[np.newaxis])
        judgement = self.judge(vectors)
        is_known, names = judgement.is_known and not sound.is_silent, self.class_names
        best = int(scores.argmax())  # of the AudioSet classes
        return Prediction(
            class_names=names,
            probabilities=judgement.probabilities,
            frame_probabilities=judgement.frame_probabilities,
            frame_seconds=np.arange(len(vectors)) * YamnetSettings.patch_hop_seconds,
            sound=sound,
            warnings=tuple(list_faults(sound)),
            is_known=is_known,
            as_one_sound=say_verdict(
                names,
                judgement.probabilities,
                is_known=is_known,
                is_silent=sound.is_silent,
                audioset_top=(self.yamnet.class_names[best], scores[best]),
                is_class=bool(self.audioset_matrix[best].any()),
            ),
            vectors=vectors,
            classifier=self,
            evidence=judgement.evidence,
            yamnet_log_mel=log_mel,
            ood_score=judgement.ood_score,
            reaches_own=judgement.reaches_own,
            audioset_scores=scores,
        )

    def judge(self, vectors: np.ndarray) -> Judgement:
        """Compute the probabilities and the rejection score of a sound or a part of one.

        This does not check for silence: see `esc50.audio.Sound.is_silent`.

        Parameters
        ----------
        vectors : np.ndarray, shape (n_frames, size)
            From `embed`.

        Returns
        -------
        Judgement
            Probabilities (n_classes,), score and decision.
        """
        frame_probabilities, active = self.apply_head(vectors), active_frames(vectors)
        whole, rule = (vectors[np.newaxis], active[np.newaxis]), self.metadata["rejection"]
        pooled = pool_clips(self.apply_head, *whole, pooling=self.metadata["pooling"])  # (1, n_classes)
        evidence = self._evidence(*whole, pooled)
        score = float(ood.OOD_SCORES[rule["score"]](evidence, k=rule["neighbours"])[0])
        calibrated = temper(pooled[0], self.metadata["temperature"])  # (n_classes,)
        reaches_own = self._reaches_own(*whole, pooled[0])
        is_known = score >= rule["threshold"] or reaches_own
        return Judgement(calibrated, frame_probabilities, score, reaches_own, is_known, evidence)

    def predict_many(self, sources, *, progress: bool = False) -> Iterator[tuple]:
        """Classify sounds one by one; a source that cannot be read does not stop the rest.

        Parameters
        ----------
        sources : iterable
            Sources for `predict` without a sample rate: paths, bytes, open files. A generator is read lazily.
        progress : bool
            Show a progress bar on stderr.

        Yields
        ------
        tuple of (source, Prediction or AudioError)
            Each as soon as it is ready, in the given order.
        """
        from tqdm.auto import tqdm

        for source in tqdm(sources, desc="predicting", unit="sound", disable=not progress):
            try:
                yield source, self.predict(source)
            except AudioError as error:
                yield source, error

    def apply_head(self, vectors: np.ndarray) -> np.ndarray:
        """Return the probabilities of each frame, not calibrated.

        Parameters
        ----------
        vectors : np.ndarray, shape (n_frames, size)
            From `embed`.

        Returns
        -------
        np.ndarray, shape (n_frames, n_classes)
            Float32, each row sums to 1.
        """
        return self.head(vectors)

    @cached_property
    def audioset_matrix(self) -> np.ndarray:
        """Mapping from AudioSet classes to the model's trained classes, (521, n_classes): see `audioset_matrix`."""
        return audioset_matrix(self.class_names[: self.base_head.n_classes], self.yamnet.class_names)

    def _reaches_own(self, vectors, active, pooled):
        """Return whether the most probable class is user-defined and reaches its threshold."""
        label = int(pooled.argmax()) - self.base_head.n_classes
        if label < 0 or not isinstance(self.head, ExtendedHead):
            return False
        taken, _ = ood.head_vectors(vectors, active, pooling=self.metadata["pooling"])
        return bool(self.head.log_odds(taken[0])[:, label].max() >= self.head.own.thresholds[label])

    def _evidence(self, vectors, active, pooled):
        """Return the inputs of the rejection score, for the trained classes only."""
        taken, mask = ood.head_vectors(vectors, active, pooling=self.metadata["pooling"])
        rule, pooled = self.metadata["rejection"], pooled[:, : self.base_head.n_classes]
        pooled = pooled / pooled.sum(axis=1, keepdims=True)
        logits = self.base_head.logits(taken[0])[np.newaxis] if rule["score"] in ood.NEED_LOGITS else None
        similarity = np.vecdot(self.reference.vectors, clip_vectors(vectors))[np.newaxis]  # faster than BLAS threads
        evidence = Evidence(logits, mask, pooled, similarity, self.reference.targets, rule=rule)
        if not self.takes_scores:
            return evidence
        return replace(evidence, audioset=taken[..., :N_AUDIOSET_CLASSES].max(axis=1), matrix=self.audioset_matrix)


def warm_up(classifier):
    """Predict once, so that the first request does not wait for lazy imports; return the same classifier."""
    rate = AudioSettings.sample_rate_hz
    classifier.predict(np.zeros(rate, np.float32), sample_rate_hz=rate)
    return classifier
