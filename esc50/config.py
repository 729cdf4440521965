"""Paths and shared settings, and the small things that every room needs: errors, atomic_write."""

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
    """Base of every error that a user can mend; shells show its message without a traceback."""


class DatasetError(Esc50Error):
    """ESC-50 is missing, incomplete or altered."""


class AudioError(Esc50Error, ValueError):
    """A file or an array is not sound that can be classified."""


class TooLongError(AudioError):
    """A sound is longer than what is taken; a timeline takes longer ones."""


class LabelsError(Esc50Error, ValueError):
    """A table or a folder of labelled recordings cannot be used."""


class LeakError(Esc50Error, ValueError):
    """A split would put takes of one recording on both sides."""


class FeatureError(Esc50Error):
    """A feature file is missing or was made with other parameters."""


class YamnetError(Esc50Error):
    """YAMNet cannot be loaded, or what was loaded is not YAMNet."""


class ResultsError(Esc50Error):
    """A results file or a saved model is missing, partial or made with other parameters."""


class NotebookError(Esc50Error):
    """No notebook, or more than one, has the name that was given."""


class OutputError(Esc50Error, ValueError):
    """What is there must not be overwritten, or cannot be."""


class StoreError(Esc50Error):
    """A store of recordings is missing, of another version or model, or cannot be written."""


class TeachingError(Esc50Error, ValueError):
    """A new class cannot be taught from what was given."""


PROJECT_DIR = Path(__file__).resolve().parents[1]
DATA_DIR = PROJECT_DIR / "data"
RAW_DIR = DATA_DIR / "raw"
META_DIR = DATA_DIR / "meta"
PACKAGED_MODELS = files("esc50") / "models"  # what answers: part of the package
FEATURES_DIR = DATA_DIR / "features"
MODELS_DIR = DATA_DIR / "models"  # what training writes
RESULTS_DIR = DATA_DIR / "results"
FIGURES_DIR = PROJECT_DIR / "figures"
NOTEBOOKS_DIR = PROJECT_DIR / "notebooks"
BUILD_DIR = PROJECT_DIR / "build"
OUTPUT_VARIABLE = "ESC50_OUTPUT"  # `esc50 run` sets it: what notebooks train then changes no committed file
N_CLASSES = 50
N_CLIPS = 2_000
FOLDS = (1, 2, 3, 4, 5)
SEEDS = (0, 1, 2)  # of every network that is reported
ALL_LAYERS = tuple(range(1, 15))  # of YAMNet; the last is the embedding
UPPER_LAYERS = tuple(range(7, 15))
LAYERS_AND_SCORES = (15, *ALL_LAYERS)  # with the scores of AudioSet's classes in front
POOLED_LAYERS = (16, 17)  # maxima and two bands of all layers
OPEN_FILES = ("/dev/fd", "/proc/self/fd")  # names of the files that this process has open, by their numbers
MAX_LINKS = 40  # of a chain, as Linux has it


@dataclass(frozen=True)
class AudioSettings:
    """How any sound is brought to one form."""

    sample_rate_hz: int = 16_000
    clip_seconds: float = 5.0
    min_sample_rate_hz: int = 1_000
    max_sample_rate_hz: int = 768_000
    max_loaded_seconds: float = 600.0  # longest sound held in memory at once; longer ones get a timeline
    silence_peak: float = 10 ** (-80 / 20)  # a peak below -80 dB of full scale counts as silence


@dataclass(frozen=True)
class LogMelSettings:
    """The log-mel spectrogram that the CNNs and the MFCC baselines see."""

    sample_rate_hz: int = 16_000
    window_seconds: float = 0.064
    hop_seconds: float = 0.040
    mel_bands: int = 64
    mel_min_hz: float = 50.0
    mel_max_hz: float = 8_000.0
    decibel_min: float = -70.0  # stored as uint8 0; digital silence lands here
    decibel_step: float = 0.5  # one step of the stored uint8


@dataclass(frozen=True)
class StatisticsSettings:
    """What the clip-statistics table and the drawn envelopes measure."""

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
    """The level to which a sound is set before YAMNet takes it."""

    target_rms: float = 0.1  # of the loudest 0.96 s: -20 dB of full scale
    max_gain: float = 1_000.0  # 60 dB: what is fainter is left faint, so that no noise floor is blown up
    hop_samples: int = YamnetSettings().hop_samples  # 0.48 s
    reach_hops: int = 11  # how far the gain looks, before and after: 5.28 s, more than one clip


@dataclass(frozen=True)
class BackboneSettings(YamnetSettings):
    """What our own copy of YAMNet must know beside: features.py and params.py of the same folder."""

    mel_min_hz: float = 125.0  # YAMNet hears nothing outside
    mel_max_hz: float = 7_500.0
    log_offset: float = 0.001


@dataclass(frozen=True)
class LayerSettings(BackboneSettings):
    """Activations inside YAMNet, averaged over each patch: of which layers, how often, at which speed of the sound."""

    layers: tuple[int, ...] = ALL_LAYERS  # 15 stands for the scores of AudioSet's classes, as they are
    speed: float = 1.0  # 1.18 plays 18 % faster and higher; cut or padded to the clip's length


@dataclass(frozen=True)
class LevelledLayerSettings(LayerSettings):
    """The same of sounds that were set to one level, with the scores of AudioSet's classes in front."""

    layers: tuple[int, ...] = LAYERS_AND_SCORES
    level: LevelSettings = LevelSettings()
    degradation: object = None  # a `esc50.dataset.degradation.DegradationSettings` for copies that are degraded


@dataclass(frozen=True)
class ViewSettings(LevelledLayerSettings):
    """One view of each clip, the maxima over its active frames: as it is, at another speed or level, or looped."""

    layers: tuple[int, ...] = POOLED_LAYERS
    looped: bool = False  # the sound is repeated where digital silence was put behind it


def lazy_modules(package):
    """Make a package's `__getattr__`: its modules are imported when they are first asked for."""

    def getter(name):
        try:
            return import_module(f"{package}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{name}":
                raise
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None

    return getter


def output_path(committed):
    """Where to write: the committed path itself or, where $ESC50_OUTPUT names a folder, its counterpart in there."""
    output = os.environ.get(OUTPUT_VARIABLE)
    return Path(output) / committed.relative_to(PROJECT_DIR) if output else committed


@contextmanager
def atomic_write(path):
    """Write a file beside its place and rename it when all is well; otherwise the old one stays.

    An old file's permissions are kept. Where the path is a link, what it points to is replaced. A device, a pipe or
    ``/dev/stdout`` cannot be replaced: it is written to when all is well.

    Parameters
    ----------
    path : Path
        The file to make or replace; its folder is made where it is missing.

    Returns
    -------
    context manager
        Gives the path to write to.
    """
    path = Path(path)
    with _beside(path) if find_stream(path) is None else _before(path) as beside:
        yield beside


def find_stream(path):
    """Find what cannot be replaced, only written to, as `open` takes it; None for plain files.

    A device, a pipe, or the number of a file that is open already: ``/dev/stdout``, what bash makes of ``>(program)``.
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
    """Open what `find_stream` has found; a file that was open before stays open."""
    return open(stream, mode, closefd=not isinstance(stream, int), **how)


@contextmanager
def _beside(path):
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as folder:
        beside = Path(folder) / path.name  # which some formats hold
        if target.exists():
            target.open("ab").close()  # refuses what this user may not write
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
    """Make an empty file with the owner, the permissions and the attributes of another."""
    beside.touch()
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(beside, like.stat().st_uid, like.stat().st_gid)
    shutil.copystat(like, beside)


def _sync(path):
    """Wait until the disk holds a file, which is when the last of its errors come."""
    with path.open("ab") as file:
        os.fsync(file.fileno())
