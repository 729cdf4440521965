"""From a sound to a class: YAMNet, the saved head and what is known about both, behind one call."""

import hashlib
import json
import platform
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from esc50 import __version__, audio, evaluation, features, synthesis
from esc50.backend import quiet_tensorflow
from esc50.config import MODELS_DIR, AudioSettings, YamnetSettings
from esc50.dataset import class_names
from esc50.errors import AudioError, ResultsError
from esc50.feature_files import parameters
from esc50.results import write_json
from esc50.yamnet import Yamnet, load_yamnet, yamnet_fingerprint

CLASSIFIER_FILE = MODELS_DIR / "audio-classifier.keras"  # and a card beside it, audio-classifier.json
EXAMPLE_PREFIX = "example:"  # "example:siren" names a sound of esc50.synthesis where a file could be named
POOLINGS = {"mean": evaluation.mean_pool, "geometric_mean": evaluation.geometric_mean_pool}
CARD_KEYS = ("class_names", "pooling", "head_settings", "versions", "cross_validated")  # and what `_expected` holds
REMEDY = "run `make run`, which trains and saves it, or restore data/models with git"

# What Keras raises at a file of another version, whose bytes are as they were saved.
UNREADABLE = (AttributeError, LookupError, OSError, TypeError, ValueError)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the classifier makes of one sound.

    Attributes
    ----------
    class_names : tuple of str
        In label order.
    probabilities : np.ndarray, shape (n_classes,)
        Of the whole sound: the frames' pooled. Float32, sums to 1.
    frame_probabilities : np.ndarray, shape (n_frames, n_classes)
        Of each YAMNet frame of 0.96 s.
    frame_seconds : np.ndarray, shape (n_frames,)
        Where each frame starts.
    sound : esc50.audio.Sound
        What was heard.
    log_mel : np.ndarray, shape (n_windows, mel_bands)
        Decibels, for the picture; the classifier hears YAMNet's own.
    warnings : tuple of str
        Sentences about a sound that is silent, too short, clipped or resampled.
    """

    class_names: tuple
    probabilities: np.ndarray
    frame_probabilities: np.ndarray
    frame_seconds: np.ndarray
    sound: audio.Sound
    log_mel: np.ndarray
    warnings: tuple

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
class SoundClassifier:
    """The dense head, YAMNet before it and the card beside it, loaded once for any number of predictions.

    Attributes
    ----------
    head : keras.Model
        From embeddings (n_frames, 1024) to probabilities (n_frames, n_classes).
    yamnet : esc50.yamnet.Yamnet
        Makes the embeddings.
    card : dict
        What the JSON beside the saved head says: see `load_card`.
    """

    head: object
    yamnet: Yamnet
    card: dict

    @classmethod
    def load(cls, path=None):
        """Load the saved head, once its card has been compared with it, and YAMNet.

        Parameters
        ----------
        path : path-like, optional
            The ``.keras`` file; ``data/models/audio-classifier.keras`` by default.

        Returns
        -------
        SoundClassifier
            Ready to predict.

        Raises
        ------
        ResultsError
            The head or its card is missing or damaged, or they do not fit each other or this YAMNet.
        YamnetError
            YAMNet cannot be loaded.
        """
        path = Path(CLASSIFIER_FILE if path is None else path)
        card = load_card(path)
        classifier = cls(_load_head(path, card), load_yamnet(), card)
        classifier.predict(synthesis.silence(), sample_rate_hz=AudioSettings().sample_rate_hz)  # imports the rest now
        return classifier

    @property
    def class_names(self) -> tuple:
        """Class names in label order."""
        return tuple(self.card["class_names"])

    def predict(self, source, *, sample_rate_hz=None):
        """Classify one sound.

        Parameters
        ----------
        source : str, os.PathLike, bytes, binary file object or np.ndarray
            All that `load_source` takes.
        sample_rate_hz : float, optional
            Samples per second: required for an array, refused otherwise.

        Returns
        -------
        Prediction
            Silence gets probabilities too, and a warning.

        Raises
        ------
        AudioError
            The source is not sound; the message says what to do.
        """
        sound = load_source(source, sample_rate_hz=sample_rate_hz)
        analysis = self.yamnet.analyse(sound.waveform)
        frame_probabilities = self.apply_head(analysis.embeddings)  # (n_frames, n_classes)
        pool = POOLINGS[self.card["pooling"]]
        return Prediction(
            class_names=self.class_names,
            probabilities=pool(frame_probabilities[np.newaxis])[0],  # (n_classes,)
            frame_probabilities=frame_probabilities,
            frame_seconds=analysis.frame_seconds,
            sound=sound,
            log_mel=features.log_mel(audio.pad_waveform(sound.waveform) if sound.is_short else sound.waveform),
            warnings=tuple(faults(sound)),
        )

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

    def apply_head(self, embeddings):
        """Probabilities of each frame, not calibrated.

        Parameters
        ----------
        embeddings : np.ndarray, shape (n_frames, 1024)
            YAMNet's embeddings.

        Returns
        -------
        np.ndarray, shape (n_frames, n_classes)
            Float32, each row sums to 1.
        """
        import keras

        with keras.device("cpu"):  # as YAMNet: a few multiplications, the same numbers on every machine
            return self.head(embeddings, training=False).numpy()


def load_source(source, *, sample_rate_hz=None):
    """Load what `esc50.audio.load_sound` takes, or a synthesised example by its name.

    Parameters
    ----------
    source : str, os.PathLike, bytes, binary file object or np.ndarray
        As for `esc50.audio.load_sound`; or ``example:siren`` for a sound of `esc50.synthesis.EXAMPLES` (write
        ``./example:siren`` for a file of that name).
    sample_rate_hz : float, optional
        Samples per second: required for an array, refused otherwise.

    Returns
    -------
    esc50.audio.Sound
        Mono float32 at 16 kHz, and what is known of its source.

    Raises
    ------
    AudioError
        There is no such file or example, or it is not sound.
    """
    source, sample_rate_hz = _example_or(source, sample_rate_hz)
    return audio.load_sound(source, sample_rate_hz=sample_rate_hz)


def open_source(source, *, sample_rate_hz=None):
    """Open what `load_source` takes to read it block by block.

    Parameters
    ----------
    source, sample_rate_hz
        As for `load_source`.

    Returns
    -------
    context manager
        Gives an `esc50.audio.SoundStream`.

    Raises
    ------
    AudioError
        As `load_source`, on entering or while the blocks are read.
    """
    source, sample_rate_hz = _example_or(source, sample_rate_hz)
    return audio.open_sound(source, sample_rate_hz=sample_rate_hz)


def _example_or(source, sample_rate_hz):
    if isinstance(source, str) and source.startswith(EXAMPLE_PREFIX) and sample_rate_hz is None:
        return synthesis.example(source.removeprefix(EXAMPLE_PREFIX)), AudioSettings().sample_rate_hz
    return source, sample_rate_hz


def load_card(path=CLASSIFIER_FILE):
    """Read what is written beside a saved head, once it has been compared with the head's file and this YAMNet.

    Parameters
    ----------
    path : path-like
        The ``.keras`` file.

    Returns
    -------
    dict
        ``class_names`` in label order, ``sample_rate_hz``, YAMNet's parameters ``yamnet`` and its check value
        ``yamnet_fingerprint``, ``pooling``, ``head_settings``, the ``versions`` that saved it, the
        ``cross_validated`` figures as shares of 1, and the ``sha256`` of the head's file.

    Raises
    ------
    ResultsError
        The head or its card is missing or damaged, or they do not fit each other or this YAMNet.
    """
    path = Path(path)
    for file in (path, _card_path(path)):
        if not file.is_file():
            raise ResultsError(f"no classifier here: {file} is missing; {REMEDY}")
    try:
        card = json.loads(_card_path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not text
        raise ResultsError(f"{_card_path(path)} is damaged ({error}); {REMEDY}") from error
    _check_card(card if isinstance(card, dict) else {}, path)
    return card


def save_classifier(model, *, pooling, cross_validated, settings, path=CLASSIFIER_FILE):
    """Save a trained head, without its optimizer's state, and the card that says what it is.

    Both are written beside their place, then renamed: an interrupted call leaves the old ones, and were it
    interrupted between the two names, `load_card` would refuse the pair.

    Parameters
    ----------
    model : keras.Model
        A head of `esc50.models.build_head`, trained.
    pooling : {"mean", "geometric_mean"}
        How the frames' probabilities become those of the sound.
    cross_validated : dict
        What this recipe reached on the official folds, as `esc50.report.headline` gives it.
    settings : esc50.config.HeadSettings
        How the head was built and trained.
    path : path-like
        The ``.keras`` file; the card lies beside it and ends in ``.json``.

    Returns
    -------
    Path
        The ``.keras`` file.

    Raises
    ------
    ResultsError
        There is no such pooling.
    """
    path = Path(path)
    if pooling not in POOLINGS:
        raise ResultsError(f"no pooling named {pooling!r}: choose from {', '.join(POOLINGS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as scratch:
        beside = Path(scratch) / path.name
        _without_optimizer(model).save(beside)
        about = {"pooling": pooling, "cross_validated": cross_validated, "head_settings": asdict(settings)}
        write_json(_expected(beside) | _made_with() | about, _card_path(beside))
        _card_path(beside).replace(_card_path(path))
        beside.replace(path)
    return path


def _without_optimizer(model):
    import keras

    return keras.Model(model.input, model.output, name=model.name)


def _expected(path):
    """What the card of this file must say for this code and this YAMNet."""
    return {
        "sample_rate_hz": AudioSettings().sample_rate_hz,
        "yamnet": parameters("yamnet"),
        "yamnet_fingerprint": yamnet_fingerprint(),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _made_with():
    import keras
    import tensorflow as tf

    versions = {"esc50": __version__, "keras": keras.__version__, "numpy": np.__version__}
    versions |= {"python": platform.python_version(), "tensorflow": tf.__version__}
    return {"class_names": class_names(), "versions": versions}


def _card_path(path):
    return path.with_suffix(".json")


def _check_card(card, path):
    expected = _expected(path)
    if missing := [key for key in (*CARD_KEYS, *expected) if key not in card]:
        raise ResultsError(f"{_card_path(path)} lacks {', '.join(missing)}; {REMEDY}")
    if differing := [f"{key} {card[key]!r}, not {value!r}" for key, value in expected.items() if card[key] != value]:
        raise ResultsError(f"{_card_path(path)} does not fit: it has {'; '.join(differing)}; {REMEDY}")
    if card["pooling"] not in POOLINGS:
        raise ResultsError(f"{_card_path(path)} names the pooling {card['pooling']!r}, which is unknown; {REMEDY}")


def _load_head(path, card):
    quiet_tensorflow()
    import keras

    try:
        with keras.device("cpu"):
            head = keras.models.load_model(path, compile=False)
    except UNREADABLE as error:
        versions = f"saved with Keras {card['versions'].get('keras')}, this is {keras.__version__}"
        raise ResultsError(f"{path} cannot be opened ({versions}); {REMEDY}") from error
    n_names, shape = len(card["class_names"]), (head.input_shape[-1], head.output_shape[-1])
    if shape != (YamnetSettings().embedding_size, n_names):
        raise ResultsError(
            f"{path} leads from {shape[0]} numbers to {shape[1]} classes, not from an embedding of "
            f"{YamnetSettings().embedding_size} to the {n_names} classes that its card names; {REMEDY}"
        )
    return head


def faults(sound):
    """Say what makes a sound hard to classify.

    Parameters
    ----------
    sound : esc50.audio.SoundFacts
        A `Sound`, or what is known of a stream at its end.

    Yields
    ------
    str
        One sentence for each fault.
    """
    if sound.declared_seconds is not None:
        yield (
            f"The recording was cut off: it ends after {sound.duration_seconds:.2f} of the "
            f"{sound.declared_seconds:.2f} s that its header states."
        )
    if sound.is_silent:
        yield "The sound is silent: a class is named because one must be, and means nothing."
    if sound.is_short:
        needed = YamnetSettings().min_waveform_seconds
        yield f"The sound lasts only {sound.duration_seconds:.2f} s: silence was added, up to {needed} s."
    if sound.is_clipped:
        yield f"The recording was too loud: {100 * sound.clipped_fraction:.1f} % of its samples are clipped."
    rate = sound.source_sample_rate_hz
    if rate != sound.sample_rate_hz:
        lost = f", so nothing above {rate / 2:g} Hz is in it" if rate < sound.sample_rate_hz else ""
        yield f"The sound was resampled from {rate:g} to {sound.sample_rate_hz} Hz{lost}."
