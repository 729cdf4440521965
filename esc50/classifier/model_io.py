"""Load a packaged or custom model, and check that head, metadata and YAMNet match."""

import hashlib
import json
import os
from importlib.metadata import entry_points
from pathlib import Path

from esc50.classifier.head import Head
from esc50.classifier.ood import OOD_SCORES
from esc50.classifier.pooling import POOLING_NAMES
from esc50.config import ResultsError
from esc50.yamnet.architecture import LAST, SCORES, layer_sizes
from esc50.yamnet.frames import yamnet_fingerprint
from esc50.yamnet.runtime import read_packaged

MODEL_REGISTRY = {
    "multilayer": "audio-classifier-head.onnx",  # on activations of all YAMNet layers
    "plain": "audio-classifier-plain-head.onnx",  # on YAMNet's embedding only
}
DEFAULT_MODEL = "multilayer"
OLD_NAMES = {"layers": "multilayer"}  # names in version 0.1.0
LOADERS = "esc50.heads"  # entry point group of loaders for other formats, by file suffix

KEYS = ("class_names", "pooling", "layers", "versions", "yamnet_fingerprint")
TRUST_KEYS = ("temperature", "rejection")
TRUST = (*TRUST_KEYS, "conformal")  # "conformal" is optional
REJECTION_KEYS = ("score", "neighbours", "threshold", "kept", "meaning", "by_share")
LAYERS_RULE = f"they must be distinct numbers from 1 to {SCORES} that end in {LAST}"


def load_model(name_or_path: str | os.PathLike | None = None):
    """Load a head and its metadata.

    Parameters
    ----------
    name_or_path : str or path-like, optional
        A key of `MODEL_REGISTRY`, by default `DEFAULT_MODEL`; or the path of an ``.onnx`` file written by
        ``esc50 export``, or of a ``.keras`` file with a JSON file of metadata next to it (needs the extra
        ``[study]``).

    Returns
    -------
    head : esc50.classifier.head.Head
        From vectors (n, size) to probabilities (n, n_classes).
    metadata : dict
        The main keys:

        - ``class_names`` in label order, and their ``themes``;
        - ``layers``, the YAMNet layers that the head uses, and ``pooling``;
        - ``temperature``, which calibrates the probabilities;
        - ``rejection``, the rule for "none of these": the ``score`` (of `esc50.classifier.ood.OOD_SCORES`), its number
          of ``neighbours``, the ``threshold`` below which a sound is rejected, the share of known sounds ``kept``, its
          ``meaning`` in a sentence, and ``by_share``, the same for other shares (`esc50.classifier.ood.keep_share`);
        - ``conformal``, minimum probabilities for prediction sets (`esc50.classifier.prediction_sets`);
        - ``versions``, ``cross_validated`` metrics and ``licence``.

    Raises
    ------
    ResultsError
        If there is no such model, or it is damaged or does not match this YAMNet.
    """
    name = os.fspath(DEFAULT_MODEL if name_or_path is None else name_or_path)
    name = OLD_NAMES.get(name, name)
    if name in MODEL_REGISTRY:
        return _open_onnx(read_packaged(MODEL_REGISTRY[name]), MODEL_REGISTRY[name])
    path = Path(name)
    loaders = {each.name: each for each in entry_points(group=LOADERS)}
    if path.suffix not in (".onnx", *loaders):
        known = ", ".join(MODEL_REGISTRY)
        raise ResultsError(f"no model named {name!r}: choose from {known}, or give an .onnx or a .keras file")
    if not path.is_file():
        raise ResultsError(f"no such model file: {path}; check the path")
    if path.suffix == ".onnx":
        return _open_onnx(path.read_bytes(), str(path))
    metadata = load_metadata(path)
    try:
        load = loaders[path.suffix].load()
    except ModuleNotFoundError as error:
        raise ResultsError(f"{path} needs Keras ({error}): pip install 'esc50[study]'") from error
    return load(path, metadata), metadata


def load_metadata(path):
    """Read the JSON metadata next to a head, and check that they belong to it.

    Parameters
    ----------
    path : path-like
        File of the head; its metadata have the same name with the suffix ``.json``.

    Returns
    -------
    dict
        As `load_model` gives it.

    Raises
    ------
    ResultsError
        If a file is missing or damaged, or they do not match each other or this YAMNet.
    """
    path, beside = Path(path), Path(path).with_suffix(".json")
    for file in (path, beside):
        if not file.is_file():
            raise ResultsError(f"no such model file: {file}; {_remedy(path)}")
    try:
        metadata = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not text
        raise ResultsError(f"{beside} is damaged ({error}); {_remedy(path)}") from error
    metadata = metadata if isinstance(metadata, dict) else {}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if metadata.get("sha256") != digest:
        found = metadata.get("sha256")
        raise ResultsError(f"{beside} does not match: it has sha256 {found!r}, not {digest!r}; {_remedy(path)}")
    return check_metadata(metadata, beside, _remedy(path))


def check_metadata(metadata, name, remedy):
    """Return metadata if they are complete and valid; else raise a `ResultsError` that ends in `remedy`."""
    if missing := [key for key in KEYS if key not in metadata]:
        raise ResultsError(f"{name} lacks {', '.join(missing)}; {remedy}")
    for fault in _faults(metadata):
        raise ResultsError(f"{name} {fault}; {remedy}")
    for fault in _trust_faults(metadata):
        measure = command("trust", "plain" if is_plain(metadata) else DEFAULT_MODEL)
        raise ResultsError(f"{name} {fault}; run `{measure}` to measure it and update the metadata")
    return metadata


def is_plain(metadata):
    """Return whether a head uses YAMNet's embedding only."""
    return list(metadata["layers"]) == [LAST]


def command(name, model=DEFAULT_MODEL):
    """Return a command for a model, such as ``esc50 trust --model plain``."""
    return f"esc50 {name}{'' if model == DEFAULT_MODEL else f' --model {model}'}"


def _open_onnx(content, name):
    head = Head(content)
    metadata = check_metadata(head.metadata, name, "write it again with `esc50 export`")
    expected = sum(layer_sizes(metadata["layers"])), len(metadata["class_names"])
    if (found := (head.input_size, head.n_classes)) != expected:
        raise ResultsError(
            f"{name} maps {found[0]} inputs to {found[1]} classes, but its metadata say {expected[0]} and "
            f"{expected[1]}: write it again with `esc50 export`"
        )
    return head, metadata


def _faults(metadata):
    if (fingerprint := metadata["yamnet_fingerprint"]) != yamnet_fingerprint():
        yield f"does not match: it has yamnet_fingerprint {fingerprint!r}, not {yamnet_fingerprint()!r}"
    if metadata["pooling"] not in POOLING_NAMES:
        yield f"has the unknown pooling {metadata['pooling']!r}"
    if not are_layers(metadata["layers"]):
        yield f"has the layers {metadata['layers']!r}: {LAYERS_RULE}"


def _trust_faults(metadata):
    if missing := [key for key in TRUST_KEYS if key not in metadata]:
        yield f"lacks {', '.join(missing)}"
        return
    temperature, rule = metadata["temperature"], metadata["rejection"]
    if not (isinstance(temperature, int | float) and temperature > 0):
        yield f"has the temperature {temperature!r}, which is not a number above zero"
    if not isinstance(rule, dict) or (missing := [key for key in REJECTION_KEYS if key not in rule]):
        yield f"has a rejection rule without {', '.join(missing) if isinstance(rule, dict) else 'any of its keys'}"
        return
    if rule["score"] not in OOD_SCORES:
        yield f"has the unknown rejection score {rule['score']!r}"
    if not isinstance(rule["threshold"], int | float):
        yield f"has the threshold {rule['threshold']!r}, which is not a number"


def are_layers(layers):
    """Return whether these are distinct layers of YAMNet that end in its embedding."""
    numbers = isinstance(layers, list) and all(type(n) is int and 1 <= n <= SCORES for n in layers)
    return numbers and layers[-1:] == [LAST] and len({*layers}) == len(layers)


def _remedy(path):
    return f"check the path {path}, or save the head there with esc50.experiments.keras_heads.save_classifier"
