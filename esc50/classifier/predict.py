"""From a sound to a class: YAMNet, a head and what is known of both, behind one call."""

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
from esc50.yamnet.frames import HOP_SAMPLES, MEL_FRAMES_PER_HOP, active_frames, check_waveform, equally_long
from esc50.yamnet.runtime import YamnetRuntime, load_runtime

DECIBEL_PER_NEPER = 20 / np.log(10)
STEP_SAMPLES = HOP_SAMPLES // MEL_FRAMES_PER_HOP  # from one window of the log-mel to the next


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the classifier makes of one sound.

    Attributes
    ----------
    class_names : tuple of str
        In label order.
    probabilities : np.ndarray, shape (n_classes,)
        Of the whole sound, calibrated by the model's temperature. Float32, sums to 1.
    frame_probabilities : np.ndarray, shape (n_frames, n_classes)
        Of each YAMNet frame of 0.96 s, as the head gives them: not calibrated.
    frame_seconds : np.ndarray, shape (n_frames,)
        Where each frame starts.
    sound : esc50.audio.Sound
        The sound as it was classified.
    warnings : tuple of str
        Sentences about a sound that is silent, short, quiet, clipped, damaged, cut off ...
    is_known : bool
        False where the sound is none of the classes, by the model's rejection score and threshold, or silent.
    verdict : str
        One sentence for people: what it is, or that it is none of these; of more than ten seconds, what the timeline
        says.
    timeline : esc50.classifier.timeline.Timeline or None
        Of a sound of more than ten seconds: which sounds occur when. Made when first asked for.
    as_one_sound : str
        The same of the whole as one sound, of which the probabilities are: of up to ten seconds it is the verdict.
    vectors : np.ndarray, shape (n_frames, size)
        Of the frames, as `SoundClassifier.embed` gives them.
    log_mel : np.ndarray, shape (n_windows, 64)
        YAMNet's log-mel spectrogram in decibels, a window every 0.01 s, 125 to 7,500 Hz; turned to decibels when first
        asked for.
    nearest : tuple of esc50.classifier.ood.Neighbour
        The most similar training clips, the nearest first; none for silence. Found when first asked for.
    ood_score : float
        The model's rejection score: the higher, the more like what is known; it says nothing of silence.
    why : str
        Where the sound is none of the classes, a sentence that says why; else empty. Found when first asked for.
    audioset_scores : np.ndarray, shape (521,)
        YAMNet's own scores of AudioSet's classes, the largest of the frames with sound in them.
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
    evidence: Evidence = field(repr=False)  # of this one sound
    yamnet_log_mel: np.ndarray = field(repr=False)  # (n_windows, 64) as YAMNet takes it
    ood_score: float
    audioset_scores: np.ndarray = field(repr=False)

    @property
    def embeddings(self) -> np.ndarray:
        """YAMNet's embeddings of the frames, (n_frames, 1024): the last numbers of their vectors."""
        return self.vectors[:, -YamnetSettings.embedding_size :]

    @cached_property
    def log_mel(self) -> np.ndarray:
        """YAMNet's log-mel spectrogram in decibels, (n_windows, 64)."""
        n_windows = max(2 * MEL_FRAMES_PER_HOP, -(-len(self.sound.waveform) // STEP_SAMPLES))  # without the padding
        return DECIBEL_PER_NEPER * self.yamnet_log_mel[:n_windows]

    @cached_property
    def timeline(self) -> Timeline | None:
        """Which sounds occur when, of more than ten seconds; else None."""
        if self.sound.duration_seconds > TIMELINE_FROM_SECONDS:
            return timeline_of(self, classifier=self.classifier)
        return None

    @property
    def verdict(self) -> str:
        """One sentence for people: of a long sound what its timeline says."""
        return self.timeline.verdict if self.timeline else self.as_one_sound

    @cached_property
    def nearest(self) -> tuple:
        """The most similar training clips, the nearest first."""
        if self.sound.is_silent:
            return ()
        return ood.nearest_clips(self.evidence.similarity[0], self.classifier.reference, self.class_names)

    @cached_property
    def why(self) -> str:
        """Why the sound is none of the classes: what of it the known sounds have more of, and how many of them."""
        if self.is_known or self.sound.is_silent:
            return ""
        if "by_share" not in self.evidence.rule:  # a model of before
            return self.evidence.rule["meaning"]
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
        """Major category of the most probable class; empty where that class is not one of ESC-50."""
        ((best, _),) = self.top(1)
        return self.classifier.metadata.get("themes", {}).get(best, "")

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Most probable classes.

        Parameters
        ----------
        k : int
            How many.

        Returns
        -------
        list of tuple of (str, float)
            Class name and probability, the most probable first.
        """
        return _highest(self.probabilities, self.class_names, k)

    def top_audioset(self, k: int = 3) -> list[tuple[str, float]]:
        """AudioSet's classes to which YAMNet itself gives the highest scores.

        Parameters
        ----------
        k : int
            How many.

        Returns
        -------
        list of tuple of (str, float)
            Name and score in [0, 1], the highest first: not calibrated, and independent for each class.
        """
        return _highest(self.audioset_scores, self.classifier.yamnet.class_names, k)

    def prediction_set(self, coverage: float = DEFAULT_COVERAGE) -> tuple[str, ...]:
        """Classes of which one is right at least as often as is asked for, if the sound is any of them.

        Parameters
        ----------
        coverage : float
            How often, measured on ESC-50's clips; a set for a higher one that was measured may stand in.

        Returns
        -------
        tuple of str
            Class names, the most probable first; the surer the classifier, the fewer, and never none.

        Raises
        ------
        ResultsError
            The model has no prediction sets, or none for so high a coverage.
        """
        labels = prediction_set(self.probabilities, self.classifier.metadata.get("conformal"), coverage)
        return tuple(self.class_names[label] for label in labels)

    def say_set(self, coverage: float = DEFAULT_COVERAGE) -> str:
        """Say the prediction set in a sentence.

        Parameters
        ----------
        coverage : float
            As `prediction_set` takes it.

        Returns
        -------
        str
            Empty where the sound is none of the classes, or the model has no prediction sets.
        """
        is_measured = "conformal" in self.classifier.metadata
        return describe.say_set(self.prediction_set(coverage), coverage) if self.is_known and is_measured else ""


def _highest(values, names, k):
    best = np.argsort(-values, kind="stable")[:k]
    return [(names[number], float(values[number])) for number in best]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the classifier makes of some frames of one sound, apart from words.

    Attributes
    ----------
    probabilities : np.ndarray, shape (n_classes,)
        Pooled and calibrated.
    frame_probabilities : np.ndarray, shape (n_frames, n_classes)
        As the head gives them.
    ood_score : float
        The model's rejection score: the higher, the more like what is known.
    is_known : bool
        Whether the score reaches the model's threshold.
    evidence : esc50.classifier.ood.Evidence
        What the score is made of.
    """

    probabilities: np.ndarray
    frame_probabilities: np.ndarray
    ood_score: float
    is_known: bool
    evidence: Evidence


@dataclass(frozen=True, eq=False)
class SoundClassifier:
    """YAMNet, a head behind it, and the clips that the head was trained on, loaded once.

    A frame is a vector: the activations of the layers of YAMNet that the head takes, averaged over the patch and
    joined. The last 1,024 numbers are always YAMNet's embedding; a plain head takes nothing else.

    Attributes
    ----------
    head : esc50.classifier.head.Head
        From vectors (n_frames, size) to probabilities (n_frames, n_classes).
    yamnet : esc50.yamnet.runtime.YamnetRuntime
        Makes the vectors.
    metadata : dict
        What is known of the model: see `esc50.classifier.model_io.load_model`.
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
            "multilayer" (default) or "plain"; or the path of an ``.onnx`` file that ``esc50 export`` wrote, or of a
            ``.keras`` file with its metadata beside it, which needs the extra ``[study]``.
        keep : float, optional
            Share of the known sounds that are kept, not refused as "none of these"; that of the metadata by default.
            The fewer are kept, the fewer unknown sounds pass.
        classes : path-like or OwnClasses, optional
            Classes of your own, from `esc50 teach`: they join those of the model.

        Returns
        -------
        SoundClassifier
            Ready to predict.

        Raises
        ------
        ResultsError
            There is no such model, or it is damaged, or does not fit this YAMNet; or it cannot keep that share.
        TeachingError
            The file of classes is missing or damaged, or was made for another model.

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
        """Make the same classifier with these classes of your own, in place of those that it has.

        Parameters
        ----------
        classes : path-like, OwnClasses or None
            As `load` takes them; None: only the model's own.

        Returns
        -------
        SoundClassifier
            This one is not changed.

        Raises
        ------
        TeachingError
            The file is missing or damaged, or was made for another model.
        """
        names = list(self.class_names[: self.base_head.n_classes])
        if classes is None:
            return replace(self, head=self.base_head, metadata=self.metadata | {"class_names": names})
        own = classes if isinstance(classes, OwnClasses) else OwnClasses.load(classes)
        whitening = KnownClips.load().whitening
        where = "these classes" if isinstance(classes, OwnClasses) else os.fspath(classes)
        if len(whitening.mean) != self.base_head.input_size:
            raise TeachingError(f"{where} cannot join this model: own classes are for the default one, without --model")
        if own.model != whitening.fingerprint:
            raise TeachingError(
                f"{where}: made for another version of the model; `esc50 teach --anew --classes {where}` makes it anew"
            )
        head = ExtendedHead(self.base_head, whitening, own)
        return replace(self, head=head, metadata=self.metadata | {"class_names": [*names, *own.names]})

    @property
    def own(self) -> OwnClasses | None:
        """Classes of your own, None where there are none."""
        return self.head.own if isinstance(self.head, ExtendedHead) else None

    @property
    def base_head(self) -> Head:
        """The model's head, without own classes."""
        return self.head.base if isinstance(self.head, ExtendedHead) else self.head

    def keeping(self, keep: float) -> "SoundClassifier":
        """Make the same classifier with another threshold of rejection.

        Parameters
        ----------
        keep : float
            Share of the known sounds that are kept, as `load` takes it.

        Returns
        -------
        SoundClassifier
            This one is not changed.

        Raises
        ------
        ResultsError
            The model cannot keep that share.
        """
        rule = ood.keep_share(self.metadata["rejection"], keep)
        return replace(self, metadata=self.metadata | {"rejection": rule})

    @property
    def class_names(self) -> tuple:
        """Class names in label order."""
        return tuple(self.metadata["class_names"])

    @property
    def description(self) -> str:
        """Which head answers, in a sentence for people."""
        return describe_head(self.metadata["layers"])

    def embed(self, waveform: np.ndarray) -> np.ndarray:
        """Make the vectors that the head takes of one waveform of any length.

        Parameters
        ----------
        waveform : np.ndarray, shape (n_samples,)
            Mono float32 in [-1, 1] at 16 kHz.

        Returns
        -------
        np.ndarray, shape (n_frames, size)
            Float32; the last 1,024 numbers are YAMNet's embedding.

        Raises
        ------
        AudioError
            The waveform is not 1-D float32, or is empty, not finite or outside [-1, 1].
        """
        check_waveform(waveform)
        return self.embed_levelled(self.set_level(waveform))

    def set_level(self, waveform: np.ndarray) -> np.ndarray:
        """Set a waveform to the level at which the head was trained.

        Parameters
        ----------
        waveform : np.ndarray, shape (n_samples,)
            Mono float32 at 16 kHz.

        Returns
        -------
        np.ndarray, shape (n_samples,)
            As `esc50.audio.loudness.set_level` gives it; the same waveform where the head takes any level.
        """
        return set_level(waveform) if self.is_levelled else waveform

    @property
    def is_levelled(self) -> bool:
        """Whether the head takes sounds that were set to one level."""
        return bool(self.metadata.get("head_settings", {}).get("level"))

    @property
    def takes_scores(self) -> bool:
        """Whether the head takes the scores of AudioSet's classes beside the layers."""
        return SCORES in self.metadata["layers"]

    def embed_levelled(self, waveform: np.ndarray) -> np.ndarray:
        """Make vectors of a waveform whose level was set before: the blocks of a stream.

        Parameters
        ----------
        waveform : np.ndarray, shape (n_samples,)
            Mono float32 at 16 kHz, from `set_level`.

        Returns
        -------
        np.ndarray, shape (n_frames, size)
            As `embed` gives them.
        """
        return self.yamnet.embed(waveform, layers=self.metadata["layers"])

    def embed_batch(self, waveforms) -> np.ndarray:
        """Make the vectors of many equally long waveforms.

        Parameters
        ----------
        waveforms : np.ndarray, shape (n_clips, n_samples)
            Mono float32 in [-1, 1] at 16 kHz.

        Returns
        -------
        np.ndarray, shape (n_clips, n_frames, size)
            As `embed` gives them.

        Raises
        ------
        AudioError
            There is no waveform, or one that `embed` would refuse.
        """
        levelled = map(self.set_level, equally_long(waveforms))
        return self.yamnet.embed_batch(levelled, layers=self.metadata["layers"])

    def predict(self, source, *, sample_rate_hz: float | None = None) -> Prediction:
        """Classify one sound.

        Parameters
        ----------
        source : str, os.PathLike, bytes, binary file object or np.ndarray
            All that `esc50.audio.load_sound` takes.
        sample_rate_hz : float, optional
            Samples per second: required for an array, refused otherwise.

        Returns
        -------
        Prediction
            Silence gets probabilities too, but is never known; its verdict says that there is nothing to hear.

        Raises
        ------
        AudioError
            The source is not sound; the message says what to do.
        """
        sound = load_sound(source, sample_rate_hz=sample_rate_hz)
        levelled = self.set_level(sound.waveform)
        layers = (SCORES, *(layer for layer in self.metadata["layers"] if layer != SCORES))
        every, log_mel = self.yamnet.embed_with_log_mel(levelled, layers=layers)
        vectors = every if self.takes_scores else every[:, N_AUDIOSET_CLASSES:]  # (n_frames, size)
        [scores] = maximum_of_vectors(every[np.newaxis, :, :N_AUDIOSET_CLASSES], active_frames(every)[np.newaxis])
        judgement = self.judge(vectors)
        is_known, names = judgement.is_known and not sound.is_silent, self.class_names
        loudest = int(scores.argmax())  # of AudioSet's classes
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
                audioset_top=(self.yamnet.class_names[loudest], scores[loudest]),
                is_class=bool(self.audioset_matrix[loudest].any()),
            ),
            vectors=vectors,
            classifier=self,
            evidence=judgement.evidence,
            yamnet_log_mel=log_mel,
            ood_score=judgement.ood_score,
            audioset_scores=scores,
        )

    def judge(self, vectors: np.ndarray) -> Judgement:
        """Probabilities of a sound, or of a part of one, and whether it is any of the classes.

        Parameters
        ----------
        vectors : np.ndarray, shape (n_frames, size)
            From `embed`.

        Returns
        -------
        Judgement
            Does not check for silence: see `esc50.audio.Sound.is_silent`.
        """
        frame_probabilities, active = self.apply_head(vectors), active_frames(vectors)
        whole, rule = (vectors[np.newaxis], active[np.newaxis]), self.metadata["rejection"]
        pooled = pool_clips(self.apply_head, *whole, pooling=self.metadata["pooling"])  # (1, n_classes)
        evidence = self._evidence(*whole, pooled)
        score = float(ood.OOD_SCORES[rule["score"]](evidence, k=rule["neighbours"])[0])
        calibrated = temper(pooled[0], self.metadata["temperature"])  # (n_classes,)
        is_known = score >= rule["threshold"] or self._reaches_own(*whole, pooled[0])
        return Judgement(calibrated, frame_probabilities, score, is_known, evidence)

    def predict_many(self, sources, *, progress: bool = False) -> Iterator[tuple]:
        """Classify sounds one by one; one that is not sound does not stop the rest.

        Parameters
        ----------
        sources : iterable
            What `predict` takes without a rate: paths, bytes, open files. A generator is read as it comes.
        progress : bool
            Show a progress bar on stderr.

        Yields
        ------
        tuple of (source, Prediction or AudioError)
            As soon as each is known, in the order given.
        """
        from tqdm.auto import tqdm

        for source in tqdm(sources, desc="predicting", unit="sound", disable=not progress):
            try:
                yield source, self.predict(source)
            except AudioError as error:
                yield source, error

    def apply_head(self, vectors: np.ndarray) -> np.ndarray:
        """Probabilities of each frame, not calibrated.

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
        """1 where one of AudioSet's classes means one of the model's own classes, (521, n_classes)."""
        return audioset_matrix(self.class_names[: self.base_head.n_classes], self.yamnet.class_names)

    def _reaches_own(self, vectors, active, pooled):
        """Whether the most probable class is an own one, and reaches its threshold."""
        label = int(pooled.argmax()) - self.base_head.n_classes
        if label < 0 or not isinstance(self.head, ExtendedHead):
            return False
        taken, _ = ood.head_vectors(vectors, active, pooling=self.metadata["pooling"])
        return bool(self.head.log_odds(taken[0])[:, label].max() >= self.head.own.thresholds[label])

    def _evidence(self, vectors, active, pooled):
        """Of the model's own classes, whatever was added."""
        taken, counted = ood.head_vectors(vectors, active, pooling=self.metadata["pooling"])
        rule, pooled = self.metadata["rejection"], pooled[:, : self.base_head.n_classes]
        pooled = pooled / pooled.sum(axis=1, keepdims=True)
        logits = self.base_head.logits(taken[0])[np.newaxis] if rule["score"] in ood.NEED_LOGITS else None
        similarity = np.vecdot(self.reference.vectors, clip_vectors(vectors))[np.newaxis]  # no BLAS: threads cost more
        evidence = Evidence(logits, counted, pooled, similarity, self.reference.targets, rule=rule)
        if not self.takes_scores:
            return evidence
        return replace(evidence, audioset=taken[..., :N_AUDIOSET_CLASSES].max(axis=1), matrix=self.audioset_matrix)


def warm_up(classifier):
    """Predict once, so that the first sound is not kept waiting for late imports; the same classifier."""
    rate = AudioSettings.sample_rate_hz
    classifier.predict(np.zeros(rate, np.float32), sample_rate_hz=rate)
    return classifier
