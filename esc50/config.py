"""Paths and shared settings, and the small things that every room needs: errors, atomic_write."""

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
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
class BackboneSettings(YamnetSettings):
    """What our own copy of YAMNet must know beside: features.py and params.py of the same folder."""

    mel_min_hz: float = 125.0  # YAMNet hears nothing outside
    mel_max_hz: float = 7_500.0
    log_offset: float = 0.001


@dataclass(frozen=True)
class LayerSettings(BackboneSettings):
    """Activations inside YAMNet, averaged over each patch: of which layers, how often, at which speed of the sound."""

    layers: tuple[int, ...] = ALL_LAYERS
    speed: float = 1.0  # 1.18 plays 18 % faster and higher; cut or padded to the clip's length


@dataclass(frozen=True)
class TrustSettings:
    """When an answer is given and when it is "none of these"; fixed in advance but for what is said otherwise."""

    kept: float = 0.95  # share of known sounds that must be kept
    reliability_bins: int = 15  # as Guo et al. 2017, arXiv 1706.04599
    neighbours: int = 5  # by the mean over validation folds, one for all folds: see notebook 06
    left_out_groups: int = 5  # each of two classes a theme
    seed: int = 0


@dataclass(frozen=True)
class CnnSettings:
    """Training of the log-mel CNNs; fixed in advance, not searched on any fold."""

    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 2e-3  # peak; cosine decay to zero after a linear warm-up
    warmup_epochs: int = 3
    weight_decay: float = 0.01
    dropout: float = 0.3
    mixup_alpha: float = 0.3  # Zhang et al. 2018, arXiv 1710.09412
    masks: int = 2  # of each kind, SpecAugment: Park et al. 2019, arXiv 1904.08779
    time_mask_seconds: float = 0.6  # the widest
    band_mask_bands: int = 10  # the widest
    gain_decibel: float = 6.0  # uniform between minus and plus


@dataclass(frozen=True)
class HeadSettings:
    """The dense head on YAMNet's frames; epochs and weight decay as chosen by nested validation, see notebook 04."""

    units: tuple[int, ...] = (256, 128)
    input_dropout: float = 0.3
    dropout: float = 0.3
    epochs: int = 30
    batch_size: int = 512
    learning_rate: float = 2e-3
    warmup_epochs: int = 1
    weight_decay: float = 0.1


@dataclass(frozen=True)
class FusionSettings(HeadSettings):
    """The head on many layers of YAMNet, its training and the draw of its training vectors: see notebook 07."""

    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_epochs: int = 3
    weight_decay: float = 0.05
    draw: str = "average"  # a key of esc50.experiments.multilayer.DRAWS
    mixup_alpha: float = 0.0  # Zhang et al. 2018, arXiv 1710.09412; 0 for none
    attention_units: int = 0  # of gated attention over frames, Ilse et al. 2018, arXiv 1802.04712; 0 for none


@dataclass(frozen=True)
class KernelSettings:
    """Kernel ridge regression on the maxima of clips: the middle of the grid of notebook 07."""

    gamma: float = 0.35  # of the radial basis function, over the median squared distance of the training clips
    ridge: float = 0.02  # scikit-learn's alpha
    sharpness: float = 10.0  # its outputs, 0 to 1, times this are the logits: for probabilities, not for the order


@dataclass(frozen=True)
class DistillationSettings(HeadSettings):
    """The head that learns from kernel ridge regression; fixed before the official folds were tested: notebook 07."""

    kernel: KernelSettings = KernelSettings()
    input_dropout: float = 0.1
    dropout: float = 0.0
    epochs: int = 120
    batch_size: int = 128
    warmup_epochs: int = 3
    weight_decay: float = 0.01
    blended: float = 0.9  # chance of a training vector to be blended with another clip's, at a uniform share


@dataclass(frozen=True)
class FinetuneSettings:
    """YAMNet trained further, end to end; from trials on two folds, with networks trained on the three others."""

    layers: tuple[int, ...] = ALL_LAYERS
    head: DistillationSettings = DistillationSettings()  # distilled first, on YAMNet as AudioSet left it
    epochs: int = 2  # of everything, after the head's own: with more it forgot
    clips_per_batch: int = 32
    patches_per_clip: int = 5  # of 0.96 s without overlap, from a start drawn anew in each epoch: nearly the whole clip
    head_learning_rate: float = 1e-4  # peak; cosine decay to zero after a linear warm-up, as are all rates
    relative_rate: float = 1e-4  # peak, of each kernel, over its root mean square: YAMNet's are as small as 0.005
    first_trained_layer: int = 3  # the two before, which hear the finest grain, stay as AudioSet left them
    taught: float = 0.5  # of a label, what the head's teacher says of the blend; the rest are the clips' own labels
    weight_decay: float = 0.01  # of the head
    warmup_epochs: float = 0.5
    ema_decay: float = 0.98  # a step; tested are the weights averaged over about the last 50 steps


@dataclass(frozen=True)
class TimelineSettings:
    """How a long recording is read and how its frames become events."""

    frames_per_block: int = 16  # eight seconds at once: more would be quicker and take more memory
    max_seconds: float = 86_400.0  # longest recording that is taken
    window_frames: int = 5  # whose maximum a head on maxima takes, centred; this and the rest: see timeline.json
    smoothing_frames: int = 1  # over how many, centred, the probabilities are averaged then
    min_confidence: float = 0.35  # a frame whose most probable class has less is no event
    max_gap_seconds: float = 2.0  # pauses up to this do not end an event
    min_event_seconds: float = 1.4  # of frames, of which three hold even a click


PLAIN_TIMELINE = TimelineSettings(window_frames=1, smoothing_frames=5)  # of heads on single frames


@dataclass(frozen=True)
class ExplanationSettings:
    """How finely a sound is silenced, part by part, to find what spoke for its class."""

    max_frames: int = 10  # longer sounds are explained around their most telling frame
    mel_bands: int = 8  # over what YAMNet hears
    stft_samples: int = 512
    fade_seconds: float = 0.010  # into and out of each silenced cell, so that no click is heard


@dataclass(frozen=True)
class TeachingSettings:
    """How the output layer gets a unit for a class of the user's own."""

    min_clips: int = 3
    held_out_fold: int = 5  # the cost to the other classes is measured on it
    left_out_parts: int = 5  # new clips are left out one by one, or in this many parts where they are more
    weight_decay: float = 1e-2  # of the unit; from a trial with five classes hidden from a head, not a measurement
    seed: int = 0


@dataclass(frozen=True)
class AppSettings:
    """What the browser app accepts and how long it keeps it."""

    host: str = "127.0.0.1"
    port: int = 7860
    max_file_megabytes: int = 100
    max_timeline_seconds: float = 3_600.0  # what is too long for one answer gets a timeline alone
    timeline_from_seconds: float = 10.0  # longer recordings get a timeline beside the one answer
    top: int = 5
    predictions_at_once: int = 2
    max_waiting: int = 100  # further requests are told that the queue is full
    keep_files_seconds: int = 1_800  # uploads and downloads are deleted after this time, and all at the end
    sweep_seconds: int = 300


def output_path(committed):
    """Where to write: the committed path itself or, where $ESC50_OUTPUT names a folder, its counterpart in there."""
    output = os.environ.get(OUTPUT_VARIABLE)
    return Path(output) / committed.relative_to(PROJECT_DIR) if output else committed


@contextmanager
def atomic_write(path):
    """Write a file beside its place and rename it when all is well; otherwise the old one stays.

    Parameters
    ----------
    path : Path
        The file to make or replace; its folder is made where it is missing.

    Returns
    -------
    context manager
        Gives the path to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
        beside = Path(scratch) / path.name
        yield beside
        beside.replace(path)
