"""From a sound to a class: YAMNet, the saved head and what is known about both, behind one call."""

from dataclasses import dataclass

import numpy as np

from esc50 import audio
from esc50.audio import synthesis
from esc50.audio.sound import load_sound
from esc50.classifier import ood
from esc50.classifier.describe import describe_head, faults, say
from esc50.classifier.model_io import is_plain, load_head, load_metadata, model_file
from esc50.classifier.ood import TrainingClips
from esc50.classifier.pooling import pool_clips, temper
from esc50.config import AudioError, AudioSettings, YamnetSettings
from esc50.dataset import features
from esc50.dataset.clips import THEMES, class_names
from esc50.yamnet import layers
from esc50.yamnet.frames import active_frames
from esc50.yamnet.hub_module import BatchAnalysis, Yamnet, load_yamnet

FRAMES_PER_CALL = 128  # of the head: what it computes on the way is as large as the vectors that it takes


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the classifier makes of one sound.

    Attributes
    ----------
    class_names : tuple of str
        In label order.
    probabilities : np.ndarray, shape (n_classes,)
        Of the whole sound: the frames' pooled, then calibrated by the card's temperature. Float32, sums to 1.
    frame_probabilities : np.ndarray, shape (n_frames, n_classes)
        Of each YAMNet frame of 0.96 s, as the head gives them: not calibrated.
    frame_seconds : np.ndarray, shape (n_frames,)
        Where each frame starts.
    sound : esc50.audio.streams.Sound
        What was heard.
    log_mel : np.ndarray, shape (n_windows, mel_bands)
        Decibels, for the picture; the classifier hears YAMNet's own.
    warnings : tuple of str
        Sentences about a sound that is silent, too short, clipped or resampled.
    is_known : bool
        False where the sound is none of the classes, by the card's rejection score and threshold, or silent.
    verdict : str
        One sentence for people: what it is, or that it is none of these.
    nearest : tuple of esc50.classifier.ood.Neighbour
        The most similar training clips, the nearest first; none for silence.
    vectors : np.ndarray, shape (n_frames, size)
        Of the frames, as `SoundClassifier.embed` gives them.
    """

    class_names: tuple
    probabilities: np.ndarray
    frame_probabilities: np.ndarray
    frame_seconds: np.ndarray
    sound: audio.Sound
    log_mel: np.ndarray
    warnings: tuple
    is_known: bool
    verdict: str
    nearest: tuple
    vectors: np.ndarray

    @property
    def embeddings(self) -> np.ndarray:
        """YAMNet's embeddings of the frames, (n_frames, 1024): the last numbers of their vectors."""
        return self.vectors[:, -YamnetSettings.embedding_size :]

    @property
    def theme(self) -> str:
        """Major category of the most probable class; empty where that class is not one of ESC-50."""
        ((best, _),) = self.top(1)
        return THEMES[class_names().index(best) // 10] if best in class_names() else ""

    def top(self, k=5):
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
        best = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.class_names[label], float(self.probabilities[label])) for label in best]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the classifier makes of some frames of one sound, apart from words.

    Attributes
    ----------
    probabilities : np.ndarray, shape (n_classes,)
        Pooled and calibrated.
    frame_probabilities : np.ndarray, shape (n_frames, n_classes)
        As the head gives them.
    score : float
        The card's rejection score: the higher, the more like what is known.
    is_known : bool
        Whether the score reaches the card's threshold.
    similarity : np.ndarray, shape (n_training,)
        Cosine to each training clip.
    """

    probabilities: np.ndarray
    frame_probabilities: np.ndarray
    score: float
    is_known: bool
    similarity: np.ndarray


@dataclass(frozen=True, eq=False)
class SoundClassifier:
    """The dense head, YAMNet before it, the card beside it and the clips it was trained on, loaded once.

    A frame is a vector: the activations of the layers of YAMNet that the head hears, averaged over the patch and
    joined. The last 1,024 numbers are always YAMNet's embedding; a plain head hears nothing else.

    Attributes
    ----------
    head : keras.Model
        From vectors (n_frames, size) to probabilities (n_frames, n_classes).
    yamnet : esc50.yamnet.hub_module.Yamnet or esc50.yamnet.layers.LayerYamnet
        Makes the vectors: the hub module for a plain head, else our own copy of it. See `embed` and `embed_batch`.
    card : dict
        What the JSON beside the saved head says: see `esc50.classifier.model_io.load_metadata`.
    training : esc50.classifier.ood.TrainingClips
        One vector a training clip.
    """

    head: object
    yamnet: Yamnet | layers.LayerYamnet
    metadata: dict
    training: TrainingClips

    @classmethod
    def load(cls, model=None, *, warm_up=True):
        """Load a saved head, once its card has been compared with it, and YAMNet.

        Parameters
        ----------
        model : str or path-like, optional
            A name of `esc50.classifier.model_io.MODELS`, by default "layers"; or the path of a ``.keras`` file.
        warm_up : bool
            Predict once, so that the first sound is not kept waiting for late imports. A timeline needs none of
            them (librosa among them, 130 MB).

        Returns
        -------
        SoundClassifier
            Ready to predict.

        Raises
        ------
        ResultsError
            There is no such model; or the head or its card is missing or damaged, or they do not fit each other or
            this YAMNet.
        FeatureError
            The training clips' embeddings are missing or were made with other parameters.
        YamnetError
            YAMNet cannot be loaded.
        """
        path = model_file(model)
        card = load_metadata(path)
        training = ood.load_training_clips()  # before TensorFlow: reading them needs 130 MB for a moment
        yamnet = load_yamnet() if is_plain(card) else layers.load_layers(card["layers"])
        classifier = cls(load_head(path, card), yamnet, card, training)
        if warm_up:
            classifier.predict(synthesis.silence(), sample_rate_hz=AudioSettings().sample_rate_hz)
        return classifier

    @property
    def class_names(self) -> tuple:
        """Class names in label order."""
        return tuple(self.metadata["class_names"])

    @property
    def description(self) -> str:
        """Which head answers, in a sentence for people."""
        return describe_head(len(self.metadata["layers"]))

    def embed(self, waveform):
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
        return self.yamnet.embed(waveform)

    def embed_batch(self, waveforms):
        """Make the vectors that the head takes of many equally long waveforms.

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
        heard = self.yamnet.embed_batch(waveforms)
        return heard.embeddings if isinstance(heard, BatchAnalysis) else heard

    def predict(self, source, *, sample_rate_hz=None):
        """Classify one sound.

        Parameters
        ----------
        source : str, os.PathLike, bytes, binary file object or np.ndarray
            All that `load_sound` takes.
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
        vectors = self.embed(sound.waveform)  # (n_frames, size)
        judgement = self.judge(vectors)
        is_known = judgement.is_known and not sound.is_silent
        nearest = () if sound.is_silent else self.nearest(judgement.similarity)
        return Prediction(
            class_names=self.class_names,
            probabilities=judgement.probabilities,
            frame_probabilities=judgement.frame_probabilities,
            frame_seconds=np.arange(len(vectors)) * YamnetSettings.patch_hop_seconds,
            sound=sound,
            log_mel=features.log_mel(audio.pad_waveform(sound.waveform) if sound.is_short else sound.waveform),
            warnings=tuple(faults(sound)),
            is_known=is_known,
            verdict=say(self.class_names, judgement.probabilities, is_known=is_known, is_silent=sound.is_silent),
            nearest=nearest,
            vectors=vectors,
        )

    def judge(self, vectors):
        """Probabilities of a sound, or of a part of one, and whether it is any of the classes.

        Parameters
        ----------
        vectors : np.ndarray, shape (n_frames, size)
            From `embed`.

        Returns
        -------
        Judgement
            Silence is not told from sound here: see `esc50.audio.streams.Sound.is_silent`.
        """
        frame_probabilities, active = self.apply_head(vectors), active_frames(vectors)
        whole, pooling, rule = (
            (vectors[np.newaxis], active[np.newaxis]),
            self.metadata["pooling"],
            self.metadata["rejection"],
        )
        pooled = pool_clips(self.apply_head, *whole, pooling=pooling)  # (1, n_classes)
        similarity = ood.clip_vectors(vectors[np.newaxis]) @ self.training.vectors.T  # (1, n_training)
        (taken,), counted = ood.head_vectors(*whole, pooling=pooling)  # (n_frames or 1, size)
        logits = ood.head_logits(self.head, taken)[np.newaxis] if rule["score"] == "energy" else None
        evidence = ood.Evidence(logits, counted, pooled, similarity, self.training.targets)
        score = float(ood.SCORES[rule["score"]](evidence, k=rule["neighbours"])[0])
        calibrated = temper(pooled[0], self.metadata["temperature"])  # (n_classes,)
        return Judgement(calibrated, frame_probabilities, score, score >= rule["threshold"], similarity[0])

    def nearest(self, similarity, *, n_nearest=5):
        """Training clips that are most similar to a sound.

        Parameters
        ----------
        similarity : np.ndarray, shape (n_training,)
            From `judge`.
        n_nearest : int
            How many.

        Returns
        -------
        tuple of esc50.classifier.ood.Neighbour
            The nearest first.
        """
        return ood.nearest(similarity, self.training, names=self.class_names, n_nearest=n_nearest)

    def predict_many(self, sources, *, progress=False):
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

    def apply_head(self, vectors):
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
        import keras

        with keras.device("cpu"):  # as YAMNet: a few multiplications, the same numbers on every machine
            parts = (vectors[i : i + FRAMES_PER_CALL] for i in range(0, len(vectors), FRAMES_PER_CALL))
            return np.concatenate([self.head(part, training=False).numpy() for part in parts])
