"""The models that come with the project, and the metadata beside a saved head; a pair that does not fit is refused."""

import hashlib
import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from esc50 import __version__
from esc50.classifier.ood import SCORES
from esc50.classifier.pooling import POOLING_NAMES
from esc50.config import MODELS_DIR, RESULTS_DIR, AudioSettings, ResultsError
from esc50.dataset.clips import class_names
from esc50.dataset.feature_files import parameters
from esc50.experiments.results import write_json
from esc50.yamnet import keras_model
from esc50.yamnet.backend import quiet_tensorflow
from esc50.yamnet.frames import yamnet_fingerprint

# Each with a card beside it, such as audio-classifier.json: see esc50.classifier.model_io.
MODELS = {
    "layers": MODELS_DIR / "audio-classifier.keras",  # a head on the activations of many of YAMNet's layers
    "plain": MODELS_DIR / "audio-classifier-plain.keras",  # a head on YAMNet's embedding alone
}
DEFAULT_MODEL = "layers"
CLASSIFIER_FILE = MODELS[DEFAULT_MODEL]
EMBEDDING = (keras_model.LAST,)  # layers of the plain head: the last one's activations are YAMNet's embedding
TRUST_FILES = {"plain": RESULTS_DIR / "trust.json", "layers": RESULTS_DIR / "trust_layers.json"}  # not all need exist
CARD_KEYS = ("class_names", "pooling", "layers", "head_settings", "versions", "cross_validated")  # and `_expected`
TRUST_KEYS = ("temperature", "rejection")
REJECTION_KEYS = ("score", "neighbours", "threshold", "kept", "meaning")
REMEDY = "check the path, or save the head there with esc50.classifier.model_io.save_classifier"
SHIPPED_REMEDY = "restore it with git, or run `{}`, which trains and saves it"
LAYERS_RULE = f"they must be numbers from 1 to {keras_model.LAST}, each one once, the last {keras_model.LAST}"
TRUST_REMEDY = "run `{}`, which measures them and writes them there"
# What Keras raises at a file of another version, whose bytes are as they were saved.
UNREADABLE = (AttributeError, LookupError, OSError, TypeError, ValueError)


def load_metadata(path=CLASSIFIER_FILE):
    """Read what is written beside a saved head, once it has been compared with the head's file and this YAMNet.

    Parameters
    ----------
    path : path-like
        The ``.keras`` file.

    Returns
    -------
    dict
        ``class_names`` in label order, ``sample_rate_hz``, YAMNet's parameters ``yamnet`` and its check value
        ``yamnet_fingerprint``, the ``layers`` of YAMNet that the head hears, the last of which is 14, the
        ``pooling``, ``head_settings``, the ``versions`` that saved it, the ``cross_validated`` figures as shares of 1,
        the ``sha256`` of the head's file, the ``temperature`` that calibrates its probabilities, and ``rejection``:
        the ``score`` (of `esc50.classifier.ood.SCORES`), its ``neighbours``, the ``threshold`` below which a sound is none
        of the classes, the share of known sounds ``kept``, and the ``meaning`` of all that in a sentence.

    Raises
    ------
    ResultsError
        The head or its card is missing or damaged, or they do not fit each other or this YAMNet.
    """
    path = Path(path)
    card = _read_card(path)
    _check_card(card, path)
    return card


def save_classifier(model, *, pooling, cross_validated, settings, layers=EMBEDDING, trust=None, path=None):
    """Save a trained head, without its optimizer's state, and the card that says what it is.

    Both are written beside their place, then renamed: an interrupted call leaves the old ones, and were it
    interrupted between the two names, `load_metadata` would refuse the pair.

    Parameters
    ----------
    model : keras.Model
        A head of `esc50.experiments.networks.build_head`, trained; on several layers, with `esc50.experiments.networks.with_logarithm`.
    pooling : str
        One of `esc50.classifier.pooling.POOLING_NAMES`: how the frames' probabilities become those of the sound.
    cross_validated : dict
        What this recipe reached on the official folds, as `esc50.reporting.readme.headline` gives it.
    settings : esc50.config.HeadSettings
        How the head was built and trained.
    layers : sequence of int
        Layers of YAMNet whose joined activations it takes, the last of which is 14; that one alone by default.
    trust : dict, optional
        ``temperature`` and ``rejection`` of the card; by default those in one of `TRUST_FILES`, if they were
        measured with this pooling, these settings and these layers. Otherwise the card lacks them, and `load_metadata`
        says by which command they are measured.
    path : path-like, optional
        The ``.keras`` file; the card lies beside it and ends in ``.json``. By default the shipped model on these
        layers, of `MODELS`.

    Returns
    -------
    Path
        The ``.keras`` file.

    Raises
    ------
    ResultsError
        There is no such pooling, or the layers do not end in 14.
    """
    layers = list(layers)
    path = Path(path or _shipped_on(layers))
    if pooling not in POOLING_NAMES:
        raise ResultsError(f"no pooling named {pooling!r}: choose from {', '.join(POOLING_NAMES)}")
    if not _are_layers(layers):
        raise ResultsError(f"no head hears the layers {layers!r}: {LAYERS_RULE}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as scratch:
        beside = Path(scratch) / path.name
        _without_optimizer(model).save(beside)
        about = {"cross_validated": cross_validated, **recipe(pooling, settings, layers)}
        trust = _measured_trust(about) if trust is None else trust
        write_json(_expected(beside) | _made_with() | about | trust, _card_path(beside))
        _card_path(beside).replace(_card_path(path))
        beside.replace(path)
    return path


def update_trust(trust, *, path=None):
    """Write newly measured trust into the card of a saved head, where it was measured with the head's recipe.

    Parameters
    ----------
    trust : dict
        What one of `TRUST_FILES` holds.
    path : path-like, optional
        The ``.keras`` file; by default the shipped model on the layers of the recipe.

    Returns
    -------
    Path or None
        The ``.keras`` file; None where the head has another recipe: its card is then as it was.

    Raises
    ------
    ResultsError
        There is no such card.
    """
    path = Path(path or _shipped_on(_whole(trust["recipe"])["layers"]))
    card = _read_card(path)
    if not _fits(trust, card):
        return None
    write_json(card | {key: trust[key] for key in TRUST_KEYS}, _card_path(path))
    return path


def recipe(pooling, settings, layers=EMBEDDING):
    """What trust depends on, apart from the data.

    Parameters
    ----------
    pooling : str
        One of `esc50.classifier.pooling.POOLING_NAMES`.
    settings : esc50.config.HeadSettings
        How heads are built and trained.
    layers : sequence of int
        Layers of YAMNet that they hear.

    Returns
    -------
    dict
        ``pooling``, ``head_settings`` and ``layers``, as JSON gives them back.
    """
    return json.loads(json.dumps({"pooling": pooling, "head_settings": asdict(settings), "layers": list(layers)}))


def is_plain(card):
    """Tell a head on YAMNet's embedding alone from one on more layers.

    Parameters
    ----------
    card : dict
        From `load_metadata`.

    Returns
    -------
    bool
        True for the plain one.
    """
    return tuple(card["layers"]) == EMBEDDING


def _measured_trust(card):
    """Temperature and rejection from the first file that was measured with the card's recipe; else nothing."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in TRUST_FILES.values() if file.is_file()]
    return next(({key: trust[key] for key in TRUST_KEYS} for trust in found if _fits(trust, card)), {})


def _fits(trust, card):
    return all(card.get(key) == value for key, value in _whole(trust["recipe"]).items())


def _whole(made_by):
    """A recipe with its layers, which those written before there was a choice lack."""
    return {"layers": list(EMBEDDING)} | made_by


def _shipped_on(layers):
    return MODELS["plain" if is_plain({"layers": layers}) else "layers"]


def _are_layers(layers):
    """Whether these are layers of YAMNet, each one once, and frames end in its embedding."""
    numbers = isinstance(layers, list) and all(type(n) is int and 1 <= n <= keras_model.LAST for n in layers)
    return numbers and layers[-1:] == list(EMBEDDING) and len({*layers}) == len(layers)


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
            raise ResultsError(f"no classifier here: {file} is missing; {_remedy(path)}")
    try:
        card = json.loads(_card_path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not text
        raise ResultsError(f"{_card_path(path)} is damaged ({error}); {_remedy(path)}") from error
    return card if isinstance(card, dict) else {}


def _check_card(card, path):
    expected = _expected(path)
    if missing := [key for key in (*CARD_KEYS, *expected) if key not in card]:
        raise ResultsError(f"{_card_path(path)} lacks {', '.join(missing)}; {_remedy(path)}")
    if differing := [f"{key} {card[key]!r}, not {value!r}" for key, value in expected.items() if card[key] != value]:
        raise ResultsError(f"{_card_path(path)} does not fit: it has {'; '.join(differing)}; {_remedy(path)}")
    if card["pooling"] not in POOLING_NAMES:
        raise ResultsError(
            f"{_card_path(path)} names the pooling {card['pooling']!r}, which is unknown; {_remedy(path)}"
        )
    if not _are_layers(card["layers"]):
        raise ResultsError(f"{_card_path(path)} names the layers {card['layers']!r}: {LAYERS_RULE}; {_remedy(path)}")
    if faults := list(_trust_faults(card)):
        raise ResultsError(f"{_card_path(path)} {'; '.join(faults)}; {_trust_remedy(card)}")


def _remedy(path):
    shipped = [name for name, file in MODELS.items() if file == path]
    return SHIPPED_REMEDY.format(command("ship", *shipped)) if shipped else REMEDY


def _trust_remedy(card):
    return TRUST_REMEDY.format(command("trust", "plain" if is_plain(card) else "layers"))


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
        From `load_metadata`.

    Returns
    -------
    keras.Model
        From (n_frames, size), where size is the sum of the layers' filters, to (n_frames, n_classes); on the CPU.

    Raises
    ------
    ResultsError
        Keras cannot open it, or it does not lead from the card's layers to the card's classes.
    """
    quiet_tensorflow()
    import keras

    try:
        with keras.device("cpu"):
            head = keras.models.load_model(path, compile=False)
    except UNREADABLE as error:
        versions = f"saved with Keras {card['versions'].get('keras')}, this is {keras.__version__}"
        raise ResultsError(f"{path} cannot be opened ({versions}); {_remedy(path)}") from error
    expected = sum(keras_model.layer_sizes(card["layers"])), len(card["class_names"])
    if (found := (head.input_shape[-1], head.output_shape[-1])) != expected:
        raise ResultsError(
            f"{path} leads from {found[0]} numbers to {found[1]} classes, not from the {expected[0]} numbers of the "
            f"layers to the {expected[1]} classes that its card names; {_remedy(path)}"
        )
    return head


ENDING = ".keras"


def command(name, model=DEFAULT_MODEL):
    """The command line that does something with one of the models.

    Parameters
    ----------
    name : str
        Of a command that takes ``--model``.
    model : str
        A key of `MODELS`.

    Returns
    -------
    str
        Such as ``python -m esc50 trust --model plain``; the default model goes without saying.
    """
    return f"python -m esc50 {name}{'' if model == DEFAULT_MODEL else f' --model {model}'}"


def model_file(name_or_path=None):
    """Where a model lies.

    Parameters
    ----------
    name_or_path : str or path-like, optional
        A key of `MODELS`, by default `DEFAULT_MODEL`; or the path of a ``.keras`` file.

    Returns
    -------
    Path
        The ``.keras`` file, which need not exist.

    Raises
    ------
    ResultsError
        It is neither a name nor the path of such a file.
    """
    name = DEFAULT_MODEL if name_or_path is None else name_or_path
    if name in MODELS:
        return MODELS[name]
    if Path(name).suffix != ENDING:
        raise ResultsError(f"no model named {str(name)!r}: choose from {', '.join(MODELS)}, or give a {ENDING} file")
    return Path(name)
