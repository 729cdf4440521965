"""Which vectors find sounds best: classes of ESC-50 are looked for with vectors fitted without them."""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pandas as pd
from scipy.linalg import eigh
from tqdm.auto import tqdm

from esc50.audio.sound import load_sound
from esc50.classifier.predict import SoundClassifier
from esc50.config import ALL_LAYERS, LAYERS_AND_SCORES, N_CLIPS, RESULTS_DIR, output_path
from esc50.dataset.clips import class_names, load_clips
from esc50.dataset.feature_files import load_features
from esc50.dataset.features import log_mel, mfcc_statistics
from esc50.experiments.labels import read_labels
from esc50.experiments.results import write_csv
from esc50.library.vectors import (
    PROJECTION_FILE,
    VECTOR_SIZE,
    WindowSettings,
    cut_windows,
    fit_projection,
    load_projection,
    normalise,
)
from esc50.yamnet.architecture import LAST, columns_of
from esc50.yamnet.frames import active_frames

FILE = "retrieval.csv"
N_GROUPS = 10  # of five classes each, by the last digit of their labels
N_FIRST = 10  # of the hits, whose share of right ones is the precision
N_RESAMPLES, SEED = 2_000, 0
SIZES = (64, 128, VECTOR_SIZE, 384)
CLIP = WindowSettings(n_frames=10, hop_frames=10)
FRAMES_AND_HOPS = ((1, 1), (3, 2), (5, 3), (7, 3), (7, 4))  # of windows


@dataclass(frozen=True, eq=False)
class Sounds:
    """ESC-50's clips, and after them recordings of other origin, which are only found, never looked for.

    Attributes
    ----------
    frames : list of np.ndarray, each of shape (n_frames, size)
        Of each sound, all layers of YAMNet with the scores in front, float16.
    log_mels : list of np.ndarray, each of shape (n_times, 64)
        For the baseline.
    targets : np.ndarray of int, shape (n_sounds,)
        Labels; -1 for sounds of no class.
    recordings : np.ndarray of str, shape (n_sounds,)
        What is cut from one recording counts neither as found nor as missed by its own parts.
    """

    frames: list
    log_mels: list
    targets: np.ndarray
    recordings: np.ndarray


def load_sounds(labels=None):
    """ESC-50 and, where `labels` names them, labelled recordings of other origin."""
    clips, levelled = load_clips(), load_features("levelled")
    frames, log_mels = list(levelled["activations"]), list(load_features("log_mel")["log_mel"])
    recordings = [f"ESC-50 {name}" for name in clips["src_file"]]
    targets = clips["target"].tolist()
    if labels is not None:
        found, classifier = read_labels(labels, class_names(), audio=labels.parent / "audio"), SoundClassifier.load()
        for path in tqdm(found.paths, desc="embedding"):
            waveform = load_sound(path).waveform
            frames.append(_embed(classifier, waveform))
            log_mels.append(log_mel(waveform))
        numbers = {name: label for label, name in enumerate(class_names())}
        targets += [numbers.get(name, -1) for name in found.table["category"]]
        recordings += list(map(_name_recording, found.table.to_dict("records")))
    return Sounds(frames, log_mels, np.array(targets), np.array(recordings))


def _name_recording(row):
    """Name the recording of a labelled file; one that names none is a recording by itself."""
    return f"{row.get('source', '')} {row.get('recording') or row['filename']}"


def measure(labels=None):
    """Average precision and precision at 10 of each query by each kind of vectors, one row each.

    Every clip of ESC-50 is a query. What is fitted is fitted without its class and four others. Kinds and lengths of
    windows are compared on half of the classes, ``used_for`` "choice"; figures to be told are of the other half.
    """
    sounds, rows = load_sounds(labels), []
    candidates = list(_candidates(sounds))
    for group in tqdm(range(N_GROUPS), desc="groups of classes"):
        for name, owners, vectors_without in candidates:
            rows += _measure_one(name, owners, normalise(vectors_without(group)), group, sounds)
    return pd.DataFrame(rows).assign(others=max(0, len(sounds.targets) - N_CLIPS))


def summarise(queries):
    """Means over classes of each kind of vectors, with 95 % intervals that draw classes, and of which classes."""
    rng, rows = np.random.default_rng(SEED), []
    for (kind, used_for), part in queries.groupby(["vectors", "used_for"], sort=False):
        by_class = part.groupby("target")[["average_precision", "precision_at_10"]].mean()
        draws = rng.integers(len(by_class), size=(N_RESAMPLES, len(by_class)))
        row = {"vectors": kind, "used_for": used_for, "classes": len(by_class), "queries": len(part)}
        row["others"] = part["others"].iloc[0]  # recordings of other origin that were searched too
        for name, values in by_class.items():
            low, high = np.quantile(values.to_numpy()[draws].mean(axis=1), [0.025, 0.975])
            row |= {name: values.mean(), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def run_retrieval(labels=None):
    """Measure, and write ``retrieval.csv``; gives the table."""
    table = summarise(measure(labels))
    write_csv(table, output_path(RESULTS_DIR) / FILE, float_format="%.4f")
    return table


def save_projection():
    """Write the projection that comes with the package, fitted on a window of each clip."""
    activations = load_features("levelled")["activations"]
    windows = take_middle(*window_means(list(activations), ALL_LAYERS, WindowSettings()))
    mean, matrix = fit_projection(windows)
    np.savez_compressed(PROJECTION_FILE, mean=mean.astype(np.float16), matrix=matrix.astype(np.float16))
    load_projection.cache_clear()


def window_means(frames, layers, settings):
    """Means over the active frames of each window, (n_windows, size), and the sound to which each belongs."""
    columns, means, owners = columns_of(layers, among=LAYERS_AND_SCORES), [], []
    for number, of_sound in enumerate(frames):
        found = [
            _mean(window, columns) for _, windows in cut_windows([of_sound], settings=settings) for window in windows
        ]
        found = [mean for mean in found if mean is not None] or [of_sound[:, columns].mean(axis=0)]  # of silence
        means += found
        owners += [number] * len(found)
    return np.array(means, np.float32), np.array(owners)


def _mean(window, columns):
    active = active_frames(window)
    return window[active][:, columns].astype(np.float32).mean(axis=0) if active.any() else None


def take_middle(windows, owners):
    """The middle one of each sound's windows, (n_sounds, size)."""
    _, first, counts = np.unique(owners, return_index=True, return_counts=True)
    return windows[first + counts // 2]


def _candidates(sounds):
    """Name, the sounds of all windows, and a function from a group of classes to vectors that were fitted without."""
    mfcc = np.concatenate([mfcc_statistics(each[np.newaxis]) for each in sounds.log_mels])
    yield "MFCC statistics", np.arange(len(mfcc)), partial(_standardise, mfcc, sounds.targets)
    for name, layers in {"embedding": [LAST], "all layers": ALL_LAYERS}.items():
        clips, owners = window_means(sounds.frames, layers, CLIP)
        yield name, owners, lambda _, clips=clips: clips
        whitening = Whitening(clips[:N_CLIPS], sounds.targets)
        for size in SIZES:
            yield f"{name}, whitened, {size}", owners, whitening.of(clips, size)
    for settings in (WindowSettings(*each) for each in FRAMES_AND_HOPS):
        windows, owners = window_means(sounds.frames, ALL_LAYERS, settings)
        whitening = Whitening(take_middle(windows, owners)[:N_CLIPS], sounds.targets)
        yield windows_name(settings), owners, whitening.of(windows, VECTOR_SIZE)


def windows_name(settings):
    """How the vectors of a store's windows are called in the table."""
    of = f"windows of {settings.seconds:.2f} s every {settings.hop_seconds:.2f} s"
    return f"all layers, whitened, {VECTOR_SIZE}, {of}"


class Whitening:
    """What `fit_projection` makes of ESC-50's clips without some classes, by products that are computed once."""

    def __init__(self, clips, targets):
        self.groups = targets[:N_CLIPS] % N_GROUPS
        logs = np.log1p(clips)
        self.mean = logs.mean(axis=0)  # near that of any fit: keeps the products small
        self.logs = logs - self.mean
        self.products = self.logs.astype(np.float64) @ self.logs.T  # (n_clips, n_clips)
        self.decompose = cache(self._decompose)

    def of(self, windows, size):
        """Function from a group to vectors of windows (n, size), up to a factor, which cosines do not see."""
        outer = (np.log1p(windows) - self.mean) @ self.logs.T  # (n, n_clips)

        def vectors_without(group):
            others, means, mean, variances, sides = self.decompose(group)
            part = outer[:, others]
            centred = part - part.mean(axis=1, keepdims=True) - means + mean
            return centred @ (sides[:, -size:] / variances[-size:]).astype(np.float32)

        return vectors_without

    def _decompose(self, group):
        others = np.flatnonzero(self.groups != group)
        inner = self.products[np.ix_(others, others)]
        means, mean, n = inner.mean(axis=0), inner.mean(), len(others)
        centred = inner - means - means[:, np.newaxis] + mean
        variances, sides = eigh(centred, subset_by_index=[n - max(SIZES), n - 1])
        return others, means.astype(np.float32), np.float32(mean), variances, sides


def _measure_one(name, owners, vectors, group, sounds):
    first = np.flatnonzero(np.diff(owners, prepend=-1))  # window of each sound
    for query in np.flatnonzero(sounds.targets[:N_CLIPS] % N_GROUPS == group):
        target = sounds.targets[query]
        likeness = np.maximum.reduceat(vectors @ normalise(vectors[owners == query].mean(axis=0)), first)  # (n_sounds,)
        compared = sounds.recordings != sounds.recordings[query]
        precision, share = rank_metrics(likeness[compared], sounds.targets[compared] == target)
        row = {"vectors": name, "target": target, "used_for": "choice" if group % 2 == 0 else "report"}
        yield row | {"average_precision": precision, "precision_at_10": share}


def rank_metrics(likeness, is_right):
    """Average precision, and share of right ones among the first ten."""
    right = is_right[np.argsort(-likeness, kind="stable")]
    precisions = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float(precisions[right].mean()), float(right[:N_FIRST].mean())


def _standardise(statistics, targets, group):
    others = statistics[:N_CLIPS][targets[:N_CLIPS] % N_GROUPS != group]
    return (statistics - others.mean(axis=0)) / others.std(axis=0)


def _embed(classifier, waveform):
    return classifier.yamnet.embed(classifier.set_level(waveform), layers=LAYERS_AND_SCORES).astype(np.float16)
