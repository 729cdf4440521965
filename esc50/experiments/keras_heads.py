"""Heads as Keras files, with their metadata beside them as JSON: what training writes and `esc50 export` reads."""

import hashlib
import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from esc50 import __version__
from esc50.classifier.audioset import AudioSetSettings, audioset_prior
from esc50.classifier.head import Head
from esc50.classifier.model_io import (
    DEFAULT_MODEL,
    LAYERS_RULE,
    OLD_NAMES,
    TRUST,
    are_layers,
    check_metadata,
    command,
    is_plain,
    load_metadata,
)
from esc50.classifier.pooling import POOLING_NAMES
from esc50.config import MODELS_DIR, RESULTS_DIR, AudioSettings, ResultsError, output_path
from esc50.dataset import THEMES, class_names
from esc50.experiments.results import write_json
from esc50.yamnet.architecture import LAST, SCORES, layer_sizes
from esc50.yamnet.backend import quiet_tensorflow
from esc50.yamnet.frames import yamnet_fingerprint
from esc50.yamnet.runtime import load_runtime

KERAS_FILES = {
    "multilayer": MODELS_DIR / "audio-classifier.keras",
    "plain": MODELS_DIR / "audio-classifier-plain.keras",
}
TRUST_FILES = {name: RESULTS_DIR / f"trust_{name}.json" for name in KERAS_FILES}  # not all need exist
EMBEDDING = (LAST,)  # layers of the plain head

# What Keras raises at a file of another version, whose bytes are as they were saved.
UNREADABLE = (AttributeError, LookupError, OSError, TypeError, ValueError)


def load_keras_head(path, metadata):
    """Open a saved head; the runtime calls it for ``.keras`` files, by an entry point.

    Raises
    ------
    ResultsError
        Keras cannot open it, or it does not lead from the metadata's layers to the metadata's classes.
    """
    metadata.setdefault("themes", themes())
    return to_head(load_keras_model(path, metadata), metadata=metadata)


def load_keras_model(path, metadata):
    """The Keras model of a saved head, from (n, size) to (n, n_classes), on the CPU."""
    quiet_tensorflow()
    import keras

    try:
        with keras.device("cpu"):
            model = keras.models.load_model(path, compile=False)
    except UNREADABLE as error:
        versions = f"saved with Keras {metadata['versions'].get('keras')}, this is {keras.__version__}"
        raise ResultsError(f"{path} cannot be opened ({versions}): save it anew with this version") from error
    inner = [layer for layer in metadata["layers"] if layer != SCORES]  # its scores are added behind the network
    expected = sum(layer_sizes(inner)), len(metadata["class_names"])
    if (found := (model.input_shape[-1], model.output_shape[-1])) != expected:
        raise ResultsError(
            f"{path} maps {found[0]} inputs to {found[1]} classes, but its metadata say {expected[0]} and "
            f"{expected[1]}: save it again"
        )
    return model


def to_head(model, *, weights="float32", metadata=None):
    """The runtime's head from a Keras model of `esc50.experiments.networks.build_head`."""
    return Head(to_onnx(model, weights=weights, metadata=metadata).SerializeToString())


def to_onnx(model, *, weights="float32", metadata=None):
    """A Keras head as an ONNX model: an optional logarithm, standardisation, dense layers."""
    from esc50.yamnet.export import head_model

    standardise = model.get_layer("standardise")
    dense = [layer.get_weights() for layer in model.layers if type(layer).__name__ == "Dense"]
    texts = {"esc50": json.dumps(metadata, sort_keys=True)} if metadata else {}
    mean, variance = (np.asarray(value).reshape(-1) for value in (standardise.mean, standardise.variance))
    how = {"logarithm": any(type(each).__name__ == "Log1p" for each in model.operations), "weights": weights}
    if settings := (metadata or {}).get("head_settings", {}).get("audioset"):
        how["prior"] = audioset_prior(class_names(), load_runtime().class_names, AudioSetSettings(**settings))
    return head_model(mean, np.sqrt(variance), dense, **how, metadata=texts)


def save_classifier(model, *, pooling, cross_validated, settings, layers=EMBEDDING, trust=None, path=None):
    """Save a trained head, without its optimizer's state, and the metadata that say what it is.

    Both are written beside their place, then renamed: an interrupted call leaves the old ones, and were it
    interrupted between the two names, `load_metadata` would refuse the pair.

    Parameters
    ----------
    model : keras.Model
        A head of `esc50.experiments.networks.build_head`, trained; on several layers, with `with_logarithm`.
    pooling : str
        One of `esc50.classifier.pooling.POOLING_NAMES`.
    cross_validated : dict
        What this recipe reached on the official folds.
    settings : HeadSettings
        How the head was built and trained.
    layers : sequence of int
        Layers of YAMNet whose joined activations it takes, the last of which is 14; that one alone by default.
    trust : dict, optional
        ``temperature``, ``rejection`` and ``conformal``; by default those in one of `TRUST_FILES`, if they were
        measured with this recipe. Otherwise the metadata lack them, and loading says so.
    path : path-like, optional
        The ``.keras`` file; by default that of the model on these layers, in ``data/models`` or in ``build`` while
        notebooks run without ``--publish``.

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
    path = Path(path or output_path(_file_for(layers)))
    if pooling not in POOLING_NAMES:
        raise ResultsError(f"no pooling named {pooling!r}: choose from {', '.join(POOLING_NAMES)}")
    if not are_layers(layers):
        raise ResultsError(f"no head takes the layers {layers!r}: {LAYERS_RULE}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as scratch:
        beside = Path(scratch) / path.name
        _without_optimizer(model).save(beside)
        about = {"cross_validated": cross_validated, **recipe_of(pooling, settings, layers)}
        trust = _measured_trust(about) if trust is None else trust
        made = {"sha256": hashlib.sha256(beside.read_bytes()).hexdigest()} | _made_with()
        write_json(made | about | trust, beside.with_suffix(".json"))
        beside.with_suffix(".json").replace(path.with_suffix(".json"))
        beside.replace(path)
    return path


def update_trust(trust, *, path=None):
    """Write newly measured trust into the metadata of a saved head, where it was measured with the head's recipe.

    Returns the ``.keras`` file, or None where the head has another recipe: its metadata stay as they were.
    """
    path = Path(path or _file_for(trust["recipe"]["layers"])).with_suffix(".json")
    if not path.is_file():
        raise ResultsError(f"no classifier here: {path} is missing; restore it with git or run `esc50 ship`")
    metadata = json.loads(path.read_text(encoding="utf-8"))
    if not _fits(trust, metadata):
        return None
    write_json(metadata | trust_of(trust), path)
    return path.with_suffix(".keras")


def recipe_of(pooling, settings, layers=EMBEDDING):
    """What trust depends on, apart from the data: ``pooling``, ``head_settings`` and ``layers``, as JSON has them."""
    return json.loads(json.dumps({"pooling": pooling, "head_settings": asdict(settings), "layers": list(layers)}))


def trust_of(measured):
    """What the metadata have of a trust report."""
    return {key: measured[key] for key in TRUST if key in measured}


def keras_file(name_or_path=DEFAULT_MODEL):
    """Where a trained head lies: a key of `KERAS_FILES`, or the path of a ``.keras`` file."""
    name = OLD_NAMES.get(str(name_or_path), name_or_path)
    return KERAS_FILES[name] if name in KERAS_FILES else Path(name)


def load_trained(name=DEFAULT_MODEL):
    """A trained head as Keras model, and its metadata, checked."""
    path = keras_file(name)
    metadata = load_metadata(path)
    return load_keras_model(path, metadata), check_metadata(metadata, path, f"run `{command('trust', name)}`")


def themes():
    """Class name -> major category."""
    return {name: THEMES[label * len(THEMES) // len(class_names())] for label, name in enumerate(class_names())}


def _measured_trust(metadata):
    """Temperature and rejection from the first file that was measured with this recipe; else nothing."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in TRUST_FILES.values() if file.is_file()]
    return next((trust_of(trust) for trust in found if _fits(trust, metadata)), {})


def _fits(trust, metadata):
    return all(metadata.get(key) == value for key, value in trust["recipe"].items())


def _file_for(layers):
    return KERAS_FILES["plain" if is_plain({"layers": layers}) else "multilayer"]


def _without_optimizer(model):
    import keras

    return keras.Model(model.input, model.output, name=model.name)


def _made_with():
    import keras
    import tensorflow as tf

    versions = {"esc50": __version__, "keras": keras.__version__, "numpy": np.__version__}
    versions |= {"python": platform.python_version(), "tensorflow": tf.__version__}
    about = {"class_names": list(class_names()), "themes": themes(), "versions": versions}
    return about | {"sample_rate_hz": AudioSettings.sample_rate_hz, "yamnet_fingerprint": yamnet_fingerprint()}
