"""YAMNet in ONNX Runtime, for inference without TensorFlow or the hub module."""

import functools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnxruntime

from esc50.config import ALL_LAYERS, PACKAGED_MODELS, ResultsError, read_count
from esc50.yamnet.architecture import BANDS, LAST, MAXIMA, SCORES, columns_of, layer_sizes
from esc50.yamnet.frames import MEL_FRAMES_PER_HOP, check_waveform, equally_long, n_patches, overlapping_parts

OUTPUTS = {SCORES: "scores", MAXIMA: "maxima", BANDS: "bands"}  # other layers are columns of "vectors"
YAMNET_FILE = "audio-classifier.onnx"
FRAMES_PER_CALL = 32  # sixteen seconds; more is not faster and needs more memory
THREADS_VARIABLE = "ESC50_THREADS"  # threads per process, for several processes on one machine
N_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
REMEDY = "reinstall esc50, or write the models with `esc50 export`"


@dataclass(frozen=True, eq=False)
class Analysis:
    """YAMNet's outputs for one waveform.

    Attributes
    ----------
    vectors : np.ndarray, shape (n_frames, 5984)
        Float32 means of all 14 layers for each patch of 0.96 s, every 0.48 s. The last 1,024 values are YAMNet's
        embedding.
    scores : np.ndarray, shape (n_frames, 521)
        Float32 in [0, 1], independent for each AudioSet class.
    log_mel : np.ndarray, shape (n_windows, 64)
        Float32, ln(mel + 0.001) every 0.01 s, over the padded waveform.
    """

    vectors: np.ndarray
    scores: np.ndarray
    log_mel: np.ndarray


class YamnetRuntime:
    """YAMNet from an ONNX file; safe to call from several threads.

    Parameters
    ----------
    content : bytes
        Content of an ONNX file written by `esc50 export`.

    Attributes
    ----------
    metadata : dict
        Metadata stored in the file: versions, licence, sample rate ...
    class_names : list of str
        The 521 AudioSet display names, in the order of the scores.
    """

    def __init__(self, content: bytes):
        self._session = open_session(content)
        self.metadata = read_metadata(self._session)
        self.class_names = self.metadata["audioset_classes"]

    def analyse(self, waveform: np.ndarray) -> Analysis:
        """Compute vectors, AudioSet scores and log-mel of one waveform of any length.

        A waveform under 0.975 s is padded with zeros, as in YAMNet. A long one is processed in parts that are cut
        where patches start: memory is bounded and the result is the same.

        Parameters
        ----------
        waveform : np.ndarray, shape (n_samples,)
            Mono float32 at 16 kHz.

        Returns
        -------
        Analysis
            10 frames for 5 s.

        Raises
        ------
        AudioError
            If the waveform is not 1-D float32, or is empty or not finite.
        """
        check_waveform(waveform, peak=np.inf)
        vectors, scores, log_mel = self._run(waveform[np.newaxis], "vectors", "scores", "log_mel")
        return Analysis(vectors[0], scores[0], log_mel[0])

    def embed(self, waveform: np.ndarray, *, layers=ALL_LAYERS) -> np.ndarray:
        """Compute the outputs of some layers for one waveform of any length.

        Parameters
        ----------
        waveform : np.ndarray, shape (n_samples,)
            Mono float32 at 16 kHz.
        layers : sequence of int
            Layers 1 to 14, or `SCORES`, `MAXIMA` and `BANDS` of `esc50.yamnet.architecture`.

        Returns
        -------
        np.ndarray, shape (n_frames, size)
            Float32, concatenated in the order of `layers`.

        Raises
        ------
        AudioError
            If the waveform is not 1-D float32, or is empty or not finite.
        """
        check_waveform(waveform, peak=np.inf)
        return _join(self._run(waveform[np.newaxis], *_outputs(layers)), layers)[0]

    def embed_batch(self, waveforms, *, layers=ALL_LAYERS) -> np.ndarray:
        """Compute `embed` of many waveforms of equal length in parallel, (n_clips, n_frames, size)."""
        clips = np.stack(list(equally_long(waveforms, peak=np.inf)))[:, np.newaxis]  # (n_clips, 1, n_samples)
        outputs, join = _outputs(layers), functools.partial(_join, layers=layers)
        if n_patches(clips.shape[-1]) > FRAMES_PER_CALL:
            return np.concatenate([join(self._run(clip, *outputs)) for clip in clips])
        return np.concatenate([*map(join, _workers().map(self._run_part(outputs), clips))])

    def embed_with_log_mel(self, waveform: np.ndarray, *, layers=ALL_LAYERS) -> tuple[np.ndarray, np.ndarray]:
        """Compute `embed` and the log-mel (n_windows, 64) of one waveform."""
        check_waveform(waveform, peak=np.inf)
        *parts, log_mel = self._run(waveform[np.newaxis], *_outputs(layers), "log_mel")
        return _join(parts, layers)[0], log_mel[0]

    def _run(self, waveforms, *outputs):
        """Run waveforms (n, n_samples) in parts that are cut where patches start, one part per core at a time."""
        n_frames = min(FRAMES_PER_CALL, -(-n_patches(waveforms.shape[-1]) // n_threads()))
        parts = overlapping_parts(waveforms, n_frames=n_frames)
        joined = []
        for name, arrays in zip(
            outputs, zip(*_workers().map(self._run_part(outputs), parts), strict=True), strict=True
        ):
            if name == "log_mel":  # consecutive parts share the windows of half a patch
                arrays = [*(a[:, : n_frames * MEL_FRAMES_PER_HOP] for a in arrays[:-1]), arrays[-1]]
            joined.append(np.concatenate(arrays, axis=1))
        return joined

    def _run_part(self, outputs):
        return lambda waveforms: self._session.run(outputs, {"waveforms": waveforms})


def _outputs(layers):
    """Return the names of the graph outputs that contain some layers, each once, in order."""
    return tuple(dict.fromkeys(OUTPUTS.get(layer, "vectors") for layer in layers))


def _join(parts, layers):
    """Select the columns of the layers from the outputs, and concatenate them."""
    inner = [layer for layer in layers if layer not in OUTPUTS]
    if inner and inner != [*ALL_LAYERS]:
        place = _outputs(layers).index("vectors")
        part = parts[place]
        part = part[..., -layer_sizes([LAST])[0] :] if inner == [LAST] else part[..., columns_of(inner)]
        parts = [*parts[:place], part, *parts[place + 1 :]]
    return np.concatenate(parts, axis=-1)


def n_threads() -> int:
    """Return the number of threads of this process; by default one per core."""
    return read_count(THREADS_VARIABLE, N_CORES)


@functools.cache
def _workers() -> ThreadPoolExecutor:
    """Return a pool of threads: parallel parts are faster than threads within a part."""
    return ThreadPoolExecutor(n_threads(), thread_name_prefix="yamnet")


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_workers.cache_clear)  # a forked process has no threads of the pool


@functools.cache
def load_runtime() -> YamnetRuntime:
    """Return the packaged YAMNet, opened once per process.

    Returns
    -------
    YamnetRuntime
        The same object at every call.

    Raises
    ------
    ResultsError
        If the file is missing or damaged.
    """
    return YamnetRuntime(read_packaged(YAMNET_FILE))


def read_packaged(name: str) -> bytes:
    """Return the content of a file in ``esc50/models``; works in a zipped package too."""
    try:
        return (PACKAGED_MODELS / name).read_bytes()
    except OSError as error:
        raise ResultsError(f"no model {name} in the package: {REMEDY}") from error


def open_session(content: bytes) -> onnxruntime.InferenceSession:
    """Open an ONNX model on the CPU, for reproducible results up to rounding."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # `_workers` runs several calls in parallel
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no other common base class
        raise ResultsError(f"the model is not a valid ONNX file, or is damaged: {REMEDY}") from error


def read_metadata(session: onnxruntime.InferenceSession) -> dict:
    """Return the metadata stored in an ONNX file of this project; empty if there are none."""
    return json.loads(session.get_modelmeta().custom_metadata_map.get("esc50", "{}"))
