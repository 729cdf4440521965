"""The saved head and the card beside it, which says what it is; a pair that does not fit is refused."""

import hashlib
import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from esc50 import __version__
from esc50.backend import quiet_tensorflow
from esc50.config import MODELS_DIR, RESULTS_DIR, AudioSettings, YamnetSettings
from esc50.dataset import class_names
from esc50.errors import ResultsError
from esc50.evaluation import POOLINGS
from esc50.feature_files import parameters
from esc50.rejection import SCORES
from esc50.results import write_json
from esc50.yamnet import yamnet_fingerprint

CLASSIFIER_FILE = MODELS_DIR / "audio-classifier.keras"  # and a card beside it, audio-classifier.json
TRUST_FILE = RESULTS_DIR / "trust.json"  # written by `python -m esc50 trust`
CARD_KEYS = ("class_names", "pooling", "head_settings", "versions", "cross_validated")  # and what `_expected` holds
TRUST_KEYS = ("temperature", "rejection")
REJECTION_KEYS = ("score", "neighbours", "threshold", "kept", "meaning")
REMEDY = "run `make run`, which trains and saves it, or restore data/models with git"
TRUST_REMEDY = "run `python -m esc50 trust`, which measures them and writes them there"

# What Keras raises at a file of another version, whose bytes are as they were saved.
UNREADABLE = (AttributeError, LookupError, OSError, TypeError, ValueError)


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
        ``cross_validated`` figures as shares of 1, the ``sha256`` of the head's file, the ``temperature`` that
        calibrates its probabilities, and ``rejection``: the ``score`` (of `esc50.rejection.SCORES`), its
        ``neighbours``, the ``threshold`` below which a sound is none of the classes, the share of known sounds
        ``kept``, and the ``meaning`` of all that in a sentence.

    Raises
    ------
    ResultsError
        The head or its card is missing or damaged, or they do not fit each other or this YAMNet.
    """
    path = Path(path)
    card = _read_card(path)
    _check_card(card, path)
    return card


def save_classifier(model, *, pooling, cross_validated, settings, trust=None, path=CLASSIFIER_FILE):
    """Save a trained head, without its optimizer's state, and the card that says what it is.

    Both are written beside their place, then renamed: an interrupted call leaves the old ones, and were it
    interrupted between the two names, `load_card` would refuse the pair.

    Parameters
    ----------
    model : keras.Model
        A head of `esc50.models.build_head`, trained.
    pooling : str
        A name of `esc50.evaluation.POOLINGS`: how the frames' probabilities become those of the sound.
    cross_validated : dict
        What this recipe reached on the official folds, as `esc50.report.headline` gives it.
    settings : esc50.config.HeadSettings
        How the head was built and trained.
    trust : dict, optional
        ``temperature`` and ``rejection`` of the card; by default those in ``data/results/trust.json``, if they
        were measured with this pooling and these settings. Otherwise the card lacks them, and `load_card` says
        by which command they are measured.
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
        trust = _measured_trust(pooling, settings) if trust is None else trust
        write_json(_expected(beside) | _made_with() | about | trust, _card_path(beside))
        _card_path(beside).replace(_card_path(path))
        beside.replace(path)
    return path


def update_trust(trust, *, path=CLASSIFIER_FILE):
    """Write newly measured trust into the card of a saved head, where it was measured with the head's recipe.

    Parameters
    ----------
    trust : dict
        What ``data/results/trust.json`` holds.
    path : path-like
        The ``.keras`` file.

    Returns
    -------
    bool
        False where the head has another pooling or other settings: the card is then as it was.

    Raises
    ------
    ResultsError
        There is no such card.
    """
    path = Path(path)
    card = _read_card(path)
    if any(card.get(key) != value for key, value in trust["recipe"].items()):
        return False
    write_json(card | {key: trust[key] for key in TRUST_KEYS}, _card_path(path))
    return True


def recipe(pooling, settings):
    """What trust depends on, apart from the data.

    Parameters
    ----------
    pooling : str
        A name of `esc50.evaluation.POOLINGS`.
    settings : esc50.config.HeadSettings
        How heads are built and trained.

    Returns
    -------
    dict
        As JSON gives it back.
    """
    return json.loads(json.dumps({"pooling": pooling, "head_settings": asdict(settings)}))


def _measured_trust(pooling, settings):
    trust = json.loads(TRUST_FILE.read_text(encoding="utf-8")) if TRUST_FILE.is_file() else {}
    fits = trust.get("recipe") == recipe(pooling, settings)
    return {key: trust[key] for key in TRUST_KEYS} if fits else {}


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


def _read_card(path):
    for file in (path, _card_path(path)):
        if not file.is_file():
            raise ResultsError(f"no classifier here: {file} is missing; {REMEDY}")
    try:
        card = json.loads(_card_path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not text
        raise ResultsError(f"{_card_path(path)} is damaged ({error}); {REMEDY}") from error
    return card if isinstance(card, dict) else {}


def _check_card(card, path):
    expected = _expected(path)
    if missing := [key for key in (*CARD_KEYS, *expected) if key not in card]:
        raise ResultsError(f"{_card_path(path)} lacks {', '.join(missing)}; {REMEDY}")
    if differing := [f"{key} {card[key]!r}, not {value!r}" for key, value in expected.items() if card[key] != value]:
        raise ResultsError(f"{_card_path(path)} does not fit: it has {'; '.join(differing)}; {REMEDY}")
    if card["pooling"] not in POOLINGS:
        raise ResultsError(f"{_card_path(path)} names the pooling {card['pooling']!r}, which is unknown; {REMEDY}")
    if faults := list(_trust_faults(card)):
        raise ResultsError(f"{_card_path(path)} {'; '.join(faults)}; {TRUST_REMEDY}")


def _trust_faults(card):
    if missing := [key for key in TRUST_KEYS if key not in card]:
        yield f"lacks {', '.join(missing)}"
        return
    temperature, rule = card["temperature"], card["rejection"]
    if not (isinstance(temperature, int | float) and temperature > 0):
        yield f"has the temperature {temperature!r}, which is no number above zero"
    if not isinstance(rule, dict) or (missing := [key for key in REJECTION_KEYS if key not in rule]):
        yield f"has a rejection without {', '.join(missing) if isinstance(rule, dict) else 'any of its parts'}"
        return
    if rule["score"] not in SCORES:
        yield f"names the rejection score {rule['score']!r}, which is unknown"
    if not isinstance(rule["threshold"], int | float):
        yield f"has the threshold {rule['threshold']!r}, which is no number"


def load_head(path, card):
    """Open a saved head.

    Parameters
    ----------
    path : Path
        The ``.keras`` file.
    card : dict
        From `load_card`.

    Returns
    -------
    keras.Model
        From (n_frames, 1024) to (n_frames, n_classes), on the CPU.

    Raises
    ------
    ResultsError
        Keras cannot open it, or it does not lead from an embedding to the card's classes.
    """
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
