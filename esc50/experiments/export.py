"""Export the models for inference: YAMNet and heads to ONNX, YAMNet to TFLite, and the reference clips."""

import json
from pathlib import Path

import numpy as np

from esc50 import __version__
from esc50.classifier import ood
from esc50.classifier.model_io import MODEL_REGISTRY
from esc50.config import BUILD_DIR, PACKAGED_MODELS, AudioSettings, atomic_write
from esc50.dataset import CITATION, LICENCE
from esc50.dataset.feature_files import load_features
from esc50.experiments import keras_heads
from esc50.yamnet import export, hub_module
from esc50.yamnet.frames import yamnet_fingerprint
from esc50.yamnet.hub_module import load_yamnet
from esc50.yamnet.runtime import YAMNET_FILE

WEIGHTS = "int16"  # of the shipped files; benchmarks/formats.py compares formats
TFLITE_FILE = "audio-classifier.tflite"
YAMNET_NOTICE = (
    f"YAMNet, Copyright the TensorFlow Authors, {hub_module.LICENCE}. Changed: converted to ONNX, normalisation folded "
    "into the convolutions, weights stored in another format, the log-mel written anew, means of all layers given out"
)
HEAD_NOTICE = f"The head was trained on ESC-50 ({LICENCE}): for non-commercial use"


def export_models(*, format="onnx", folder=None, weights=WEIGHTS):
    """Export the Keras heads in ``data/models`` and YAMNet with the weights of the hub module.

    Parameters
    ----------
    format : str
        "onnx": YAMNet, both heads and the reference clips; "tflite": YAMNet for one patch of 0.975 s.
    folder : path-like, optional
        Where to write; by default ``esc50/models``, or ``build`` for TFLite.
    weights : str
        One of `esc50.yamnet.export.WEIGHT_FORMATS`; for TFLite "float32" or "float16".

    Returns
    -------
    list of Path
        The written files.

    Raises
    ------
    ResultsError
        If a head is missing or invalid.
    YamnetError
        If YAMNet cannot be loaded.
    """
    if format == "tflite":
        folder = Path(folder or BUILD_DIR)
        content = export.tflite_model(load_yamnet().weights(), weights="float16" if weights == WEIGHTS else weights)
        return [_write(folder / TFLITE_FILE, content)]
    folder = Path(folder or str(PACKAGED_MODELS))
    contents = {YAMNET_FILE: _yamnet(weights)} | {file: _head(name, weights) for name, file in MODEL_REGISTRY.items()}
    return [*(_write(folder / name, content) for name, content in contents.items()), _write_reference(folder)]


def _yamnet(weights):
    yamnet = load_yamnet()
    metadata = {
        "audioset_classes": yamnet.class_names,
        "licence": hub_module.LICENCE,
        "notice": YAMNET_NOTICE,
        "citation": hub_module.CITATION,
    } | _made_with(weights)
    texts = {"esc50": json.dumps(metadata, sort_keys=True)}
    return export.yamnet_model(yamnet.weights(), weights=weights, metadata=texts).SerializeToString()


def _head(name, weights):
    model, metadata = keras_heads.load_trained(name)
    metadata = {key: value for key, value in metadata.items() if key not in ("sha256", "yamnet")}
    metadata |= {"themes": keras_heads.themes(), "licence": HEAD_NOTICE, "citation": CITATION}
    metadata |= {"exported": _made_with(weights), "yamnet_fingerprint": yamnet_fingerprint()}
    return keras_heads.to_onnx(model, weights=weights, metadata=metadata).SerializeToString()


def _write_reference(folder):
    arrays = load_features("yamnet")
    path = folder / ood.REFERENCE_FILE
    vectors = ood.clip_vectors(arrays["embeddings"]).astype(np.float16)
    with atomic_write(path) as beside:
        np.savez_compressed(
            beside, vectors=vectors, targets=arrays["target"].astype(np.uint8), filenames=arrays["filename"]
        )
    return path


def _made_with(weights):
    import keras
    import onnx

    versions = {"esc50": __version__, "keras": keras.__version__, "onnx": onnx.__version__, "opset": export.OPSET}
    about = {"weights": weights, "versions": versions, "yamnet_fingerprint": yamnet_fingerprint()}
    return about | {"sample_rate_hz": AudioSettings.sample_rate_hz}


def _write(path, content):
    with atomic_write(path) as beside:
        beside.write_bytes(content)
    return path
