"""Paths, shared settings, exceptions and atomic file writing."""

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path


class Esc50Error(Exception):
    """Base class of errors that a user can fix; the apps print the message without a traceback."""


class DatasetError(Esc50Error):
    """ESC-50 is missing, incomplete or altered."""


class AudioError(Esc50Error, ValueError):
    """A file or an array cannot be read as sound."""


class TooLongError(AudioError):
    """A sound exceeds the length limit; timelines accept longer ones."""


class LabelsError(Esc50Error, ValueError):
    """A table or a folder of labelled recordings is invalid."""


class LeakError(Esc50Error, ValueError):
    """A split puts clips of one recording in both training and test."""


class FeatureError(Esc50Error):
    """A feature file is missing or was computed with other parameters."""


class YamnetError(Esc50Error):
    """YAMNet cannot be loaded, or the loaded model is not YAMNet."""


class ResultsError(Esc50Error):
    """A results file or a saved model is missing, incomplete or made with other parameters."""


class NotebookError(Esc50Error):
    """The given name matches no notebook, or more than one."""


class OutputError(Esc50Error, ValueError):
    """An output file must not or cannot be overwritten."""


class StoreError(Esc50Error):
    """A store of recordings is missing, incompatible or not writable."""


class TeachingError(Esc50Error, ValueError):
    """A new class cannot be learned from the given examples."""


PROJECT_DIR = Path(__file__).resolve().parents[1]
DATA_DIR = PROJECT_DIR / "data"
RAW_DIR = DATA_DIR / "raw"
META_DIR = DATA_DIR / "meta"
PACKAGED_MODELS = files("esc50") / "models"  # used for inference
FEATURES_DIR = DATA_DIR / "features"
MODELS_DIR = DATA_DIR / "models"  # written by training
RESULTS_DIR = DATA_DIR / "results"
FIGURES_DIR = PROJECT_DIR / "figures"
NOTEBOOKS_DIR = PROJECT_DIR / "notebooks"
BUILD_DIR = PROJECT_DIR / "build"
OUTPUT_VARIABLE = "ESC50_OUTPUT"  # set by `esc50 run`, so that notebooks leave committed files unchanged
N_CLASSES = 50
N_CLIPS = 2_000
FOLDS = (1, 2, 3, 4, 5)
SEEDS = (0, 1, 2)  # of every reported network
ALL_LAYERS = tuple(range(1, 15))  # of YAMNet; layer 14 is the embedding
UPPER_LAYERS = tuple(range(7, 15))
LAYERS_AND_SCORES = (15, *ALL_LAYERS)  # 15: the AudioSet scores, placed first
POOLED_LAYERS = (16, 17)  # maxima and two-band means of all layers
VIEW_LAYERS = (15, *POOLED_LAYERS, 14)  # the AudioSet scores first, the embedding last
OPEN_FILES = ("/dev/fd", "/proc/self/fd")  # folders that list this process's file descriptors
MAX_LINKS = 40  # symbolic links followed in a row, as on Linux


@dataclass(frozen=True)
class AudioSettings:
    """The format to which every sound is converted."""

    sample_rate_hz: int = 16_000
    clip_seconds: float = 5.0
    min_sample_rate_hz: int = 1_000
    max_sample_rate_hz: int = 768_000
    max_loaded_seconds: float = 600.0  # longest sound held in memory at once; a timeline has no such limit
    silence_peak: float = 10 ** (-80 / 20)  # a peak below -80 dBFS counts as silence


@dataclass(frozen=True)
class LogMelSettings:
    """The log-mel spectrogram for the CNNs and the MFCC baselines."""

    sample_rate_hz: int = 16_000
    window_seconds: float = 0.064
    hop_seconds: float = 0.040
    mel_bands: int = 64
    mel_min_hz: float = 50.0
    mel_max_hz: float = 8_000.0
    decibel_min: float = -70.0  # stored as 0; also the level of digital silence
    decibel_step: float = 0.5  # per step of the stored uint8


@dataclass(frozen=True)
class StatisticsSettings:
    """Frames, silence level and coefficients of the clip statistics and envelopes."""

    sample_rate_hz: int = 16_000
    window_seconds: float = 0.064
    hop_seconds: float = 0.020
    silence_decibel: float = -60.0  # frames below this RMS (re full scale) count as silent
    mfcc_coefficients: int = 20


@dataclass(frozen=True)
class YamnetSettings:
    """YAMNet's own constants (tensorflow/models, research/audioset/yamnet/params.py)."""

    sample_rate_hz: int = 16_000
    stft_window_seconds: float = 0.025
    stft_hop_seconds: float = 0.010
    mel_bands: int = 64
    patch_window_seconds: float = 0.96
    patch_hop_seconds: float = 0.48
    embedding_size: int = 1024
    n_audioset_classes: int = 521

    @property
    def min_waveform_seconds(self) -> float:
        """Shortest waveform that fills one patch: 0.975 s."""
        return self.patch_window_seconds + self.stft_window_seconds - self.stft_hop_seconds

    @property
    def patch_samples(self) -> int:
        """Samples of the shortest waveform that fills one patch: 15,600."""
        return round(self.min_waveform_seconds * self.sample_rate_hz)

    @property
    def hop_samples(self) -> int:
        """Samples from the start of one patch to that of the next: 7,680."""
        return round(self.patch_hop_seconds * self.sample_rate_hz)


@dataclass(frozen=True)
class LevelSettings:
    """Level normalisation before YAMNet."""

    target_rms: float = 0.1  # of the loudest 0.96 s: -20 dBFS
    max_gain: float = 1_000.0  # 60 dB: limits the amplification of background noise
    hop_samples: int = YamnetSettings().hop_samples  # 0.48 s
    reach_hops: int = 11  # window of the gain before and after: 5.28 s, more than one clip


@dataclass(frozen=True)
class BackboneSettings(YamnetSettings):
    """Further constants for the Keras copy of YAMNet (features.py and params.py of the same folder)."""

    mel_min_hz: float = 125.0
    mel_max_hz: float = 7_500.0
    log_offset: float = 0.001


@dataclass(frozen=True)
class LayerSettings(BackboneSettings):
    """Which layers of YAMNet to average over each patch, and the playback speed of the sound."""

    layers: tuple[int, ...] = ALL_LAYERS  # 15: the AudioSet scores
    speed: float = 1.0  # 1.18 is 18 % faster and higher; the result is cut or padded to the clip's length


@dataclass(frozen=True)
class LevelledLayerSettings(LayerSettings):
    """Layers of level-normalised sounds, with the AudioSet scores placed first."""

    layers: tuple[int, ...] = LAYERS_AND_SCORES
    level: LevelSettings = LevelSettings()
    degradation: object = None  # an `esc50.dataset.degradation.DegradationSettings`, for degraded copies


@dataclass(frozen=True)
class ViewSettings(LevelledLayerSettings):
    """One view of each clip, as it is or changed in speed, level, padding or quality: maxima over its active frames."""

    layers: tuple[int, ...] = VIEW_LAYERS
    looped: bool = False  # whether the sound is repeated in place of padding


def lazy_modules(package):
    """Return a `__getattr__` for a package that imports its modules on first access."""

    def getter(name):
        try:
            return import_module(f"{package}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{name}":
                raise
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None

    return getter


def read_count(variable, default):
    """Return the number in an environment variable, or the default if it is unset; an error unless it is 1 or more."""
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise Esc50Error(f"{variable} is {text!r}: set it to a whole number from 1 on, or unset it")
    return int(text)


def output_path(committed):
    """Return the committed path, or its counterpart in the folder that ``ESC50_OUTPUT`` names."""
    output = os.environ.get(OUTPUT_VARIABLE)
    return Path(output) / committed.relative_to(PROJECT_DIR) if output else committed


@contextmanager
def atomic_write(path):
    """Write to a temporary file and rename it on success; on failure the existing file stays.

    Permissions of an existing file are kept. If the path is a symbolic link, its target is replaced. A device, a pipe
    or ``/dev/stdout`` cannot be replaced: the finished content is copied to it.

    Parameters
    ----------
    path : Path
        The file to create or replace; a missing folder is created.

    Yields
    ------
    Path
        The temporary file to write to.
    """
    path = Path(path)
    with _beside(path) if find_stream(path) is None else _before(path) as beside:
        yield beside


def find_stream(path):
    """Return a device, pipe or open file descriptor in a form that `open` accepts; None for a plain file.

    Such a target can be written to but not replaced. ``/dev/stdout`` and bash's ``>(program)`` are descriptors.
    """
    link = Path(path).absolute()
    for _ in range(MAX_LINKS):
        if str(link.parent) in OPEN_FILES and link.name.isdecimal():
            return int(link.name)
        if not link.is_symlink():
            break
        link = link.parent / link.readlink()
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    path = Path(path)
    return path if path.exists() and not (path.is_file() or path.is_dir()) else None


def open_stream(stream, mode, **how):
    """Open the result of `find_stream`; a descriptor that was already open stays open."""
    return open(stream, mode, closefd=not isinstance(stream, int), **how)


@contextmanager
def _beside(path):
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as folder:
        beside = Path(folder) / path.name  # some formats store the name
        if target.exists():
            target.open("ab").close()  # raises an error without write permission
            _create(beside, like=target)
        yield beside
        _sync(beside)
        beside.replace(target)


@contextmanager
def _before(path):
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / path.name
        yield beside
        with beside.open("rb") as source, open_stream(find_stream(path), "wb") as sink:
            shutil.copyfileobj(source, sink)


def _create(beside, *, like):
    """Create an empty file with the owner, permissions and attributes of another."""
    beside.touch()
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(beside, like.stat().st_uid, like.stat().st_gid)
    shutil.copystat(like, beside)


def _sync(path):
    """Flush a file to disk, so that late write errors are raised."""
    with path.open("ab") as file:
        os.fsync(file.fileno())
