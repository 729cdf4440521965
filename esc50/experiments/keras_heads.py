"""Save and load heads as Keras files with JSON metadata, between training and `esc50 export`."""

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
TRUST_FILES = {name: RESULTS_DIR / f"trust_{name}.json" for name in KERAS_FILES}  # may be missing
EMBEDDING = (LAST,)  # layers of the plain head

# Errors that Keras raises for an intact file of another version.
UNREADABLE = (AttributeError, LookupError, OSError, TypeError, ValueError)


def load_keras_head(path, metadata):
    """Open a saved head; called for ``.keras`` files by an entry point.

    Parameters
    ----------
    path : path-like
        The ``.keras`` file.
    metadata : dict
        Its metadata; ``themes`` are added if missing.

    Returns
    -------
    esc50.classifier.head.Head
        For the runtime.

    Raises
    ------
    ResultsError
        If Keras cannot open it, or its input and output sizes do not match the metadata.
    """
    metadata.setdefault("themes", themes())
    return to_head(load_keras_model(path, metadata), metadata=metadata)


def load_keras_model(path, metadata):
    """Load the Keras model of a saved head, from (n, size) to (n, n_classes), on the CPU."""
    quiet_tensorflow()
    import keras

    try:
        with keras.device("cpu"):
            model = keras.models.load_model(path, compile=False)
    except UNREADABLE as error:
        versions = f"saved with Keras {metadata['versions'].get('keras')}, this is {keras.__version__}"
        raise ResultsError(f"{path} cannot be opened ({versions}): save it again with this version") from error
    inner = [layer for layer in metadata["layers"] if layer != SCORES]  # scores are added after the network
    expected = sum(layer_sizes(inner)), len(metadata["class_names"])
    if (found := (model.input_shape[-1], model.output_shape[-1])) != expected:
        raise ResultsError(
            f"{path} maps {found[0]} inputs to {found[1]} classes, but its metadata say {expected[0]} and "
            f"{expected[1]}: save it again"
        )
    return model


def to_head(model, *, weights="float32", metadata=None):
    """Convert a Keras model of `esc50.experiments.networks.build_head` to the runtime's head."""
    return Head(to_onnx(model, weights=weights, metadata=metadata).SerializeToString())


def to_onnx(model, *, weights="float32", metadata=None):
    """Convert a Keras head to ONNX: optional logarithm, standardisation, dense layers, optional prior."""
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
    """Save a trained head, without its optimizer's state, and its metadata.

    Both files are written to temporary names and renamed. An interruption leaves the old pair, or a mismatched one
    that `load_metadata` rejects.

    Parameters
    ----------
    model : keras.Model
        A trained head of `esc50.experiments.networks.build_head`, for several layers with `with_logarithm`.
    pooling : str
        One of `esc50.classifier.pooling.POOLING_NAMES`.
    cross_validated : dict
        Metrics of this recipe on the official folds.
    settings : HeadSettings
        Settings of the head and its training.
    layers : sequence of int
        YAMNet layers of its input, ending in 14; by default only 14.
    trust : dict, optional
        ``temperature``, ``rejection`` and ``conformal``; by default from one of `TRUST_FILES` with the same recipe.
        Without them the head cannot be loaded.
    path : path-like, optional
        The ``.keras`` file; by default that of the model with these layers, in ``data/models``, or in ``build`` while
        notebooks run without ``--publish``.

    Returns
    -------
    Path
        The ``.keras`` file.

    Raises
    ------
    ResultsError
        If the pooling is unknown, or the layers do not end in 14.
    """
    layers = list(layers)
    path = Path(path or output_path(_file_for(layers)))
    if pooling not in POOLING_NAMES:
        raise ResultsError(f"no pooling named {pooling!r}: choose from {', '.join(POOLING_NAMES)}")
    if not are_layers(layers):
        raise ResultsError(f"invalid layers {layers!r}: {LAYERS_RULE}")
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
    """Write a new trust report to the metadata of a saved head, if both have the same recipe.

    Parameters
    ----------
    trust : dict
        The ``report`` of `esc50.experiments.trust_report.Trust`.
    path : path-like, optional
        The ``.keras`` file; by default that of the model with the report's layers.

    Returns
    -------
    Path or None
        The file, or None if the recipes differ and nothing was written.

    Raises
    ------
    ResultsError
        If the head has no metadata file.
    """
    path = Path(path or _file_for(trust["recipe"]["layers"])).with_suffix(".json")
    if not path.is_file():
        raise ResultsError(f"no such model file: {path}; restore it with git or run `esc50 ship`")
    metadata = json.loads(path.read_text(encoding="utf-8"))
    if not _fits(trust, metadata):
        return None
    write_json(metadata | trust_of(trust), path)
    return path.with_suffix(".keras")


def recipe_of(pooling, settings, layers=EMBEDDING):
    """Return the settings that a trust report depends on, in JSON types: pooling, head_settings and layers."""
    return json.loads(json.dumps({"pooling": pooling, "head_settings": asdict(settings), "layers": list(layers)}))


def trust_of(measured):
    """Return the part of a trust report that is stored in the metadata."""
    return {key: measured[key] for key in TRUST if key in measured}


def keras_file(name_or_path=DEFAULT_MODEL):
    """Return the file of a trained head, given a key of `KERAS_FILES` or a path."""
    name = OLD_NAMES.get(str(name_or_path), name_or_path)
    return KERAS_FILES[name] if name in KERAS_FILES else Path(name)


def load_trained(name=DEFAULT_MODEL):
    """Load a trained head as a Keras model, and its checked metadata."""
    path = keras_file(name)
    metadata = load_metadata(path)
    return load_keras_model(path, metadata), check_metadata(metadata, path, f"run `{command('trust', name)}`")


def themes():
    """Return the major category of each class, by name."""
    return {name: THEMES[label * len(THEMES) // len(class_names())] for label, name in enumerate(class_names())}


def _measured_trust(metadata):
    """Return temperature, rejection and conformal from the first trust report with this recipe, or an empty dict."""
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
