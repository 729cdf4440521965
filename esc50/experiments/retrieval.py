"""Which vectors find sounds best: each class of ESC-50 is looked for with vectors that were fitted without it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from esc50.audio.sound import load_sound
from esc50.classifier.predict import SoundClassifier
from esc50.config import LAYERS_AND_SCORES, N_CLASSES, RESULTS_DIR, output_path
from esc50.dataset.clips import class_names, load_clips
from esc50.dataset.feature_files import load_features
from esc50.dataset.features import log_mel, mfcc_statistics
from esc50.experiments.labels import read_labels
from esc50.experiments.results import write_csv
from esc50.library.vectors import PROJECTION_FILE, WindowSettings, cut_windows, fit_projection, load_projection, unit
from esc50.yamnet.architecture import LAST, columns_of
from esc50.yamnet.frames import active_frames

FILE = "retrieval.csv"
N_FIRST = 10  # of the hits, whose share of right ones is the precision
N_RESAMPLES, SEED = 2_000, 0
CLIP = WindowSettings(n_frames=10, hop_frames=10)
LENGTHS = (WindowSettings(1, 1), WindowSettings(3, 2), WindowSettings(5, 3), WindowSettings(7, 5), CLIP)


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
        recordings += [f"{row.source} {row.recording}" for row in found.table.itertuples()]
    return Sounds(frames, log_mels, np.array(targets), np.array(recordings))


def measure(labels=None):
    """Average precision and precision at 10 of each query by each kind of vector, one row each.

    Every clip of ESC-50 is a query. What is fitted is fitted on the clips of the other 49 classes. Kinds and lengths of
    windows may be compared on the classes with even labels, ``chosen_on``; figures to be told are of the odd ones.
    """
    sounds = load_sounds(labels)
    rows = [
        row
        for name, (found, owners, fit) in _candidates(sounds)
        for row in _measure_one(name, found, owners, fit, sounds)
    ]
    return pd.DataFrame(rows)


def summarise(queries):
    """Means over classes of each kind of vectors, with 95 % intervals that draw classes, and of which classes."""
    rng, rows = np.random.default_rng(SEED), []
    for (kind, chosen_on), part in queries.groupby(["vectors", "chosen_on"], sort=False):
        by_class = part.groupby("target")[["average_precision", "precision_at_10"]].mean()
        draws = rng.integers(len(by_class), size=(N_RESAMPLES, len(by_class)))
        row = {"vectors": kind, "chosen_on": chosen_on, "classes": len(by_class), "queries": len(part)}
        for name, values in by_class.items():
            low, high = np.quantile(values.to_numpy()[draws].mean(axis=1), [0.025, 0.975])
            row |= {name: values.mean(), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def run_retrieval(labels=None):
    """Measure, write ``retrieval.csv`` and the projection that comes with the package; gives the table."""
    table = summarise(measure(labels))
    write_csv(table, output_path(RESULTS_DIR) / FILE, float_format="%.4f")
    return table


def save_projection():
    """Write the projection that comes with the package, fitted on all clips."""
    activations = load_features("levelled")["activations"]
    found, _ = window_means(list(activations), [LAST], CLIP)
    mean, matrix = fit_projection(found)
    np.savez_compressed(PROJECTION_FILE, mean=mean.astype(np.float16), matrix=matrix.astype(np.float16))
    load_projection.cache_clear()


def window_means(frames, layers, settings):
    """Means over the active frames of each window, (n_windows, size), and the sound to which each belongs."""
    columns, means, owners = columns_of(layers, among=LAYERS_AND_SCORES), [], []
    for number, of_sound in enumerate(frames):
        for _, windows in cut_windows([of_sound.astype(np.float32)], settings=settings):
            active = active_frames(windows)
            heard = active.any(axis=1)
            heard = heard if heard.any() else ~heard  # a silent sound must be found, too
            counted = np.where(active.any(axis=1, keepdims=True), active, True)[heard, :, np.newaxis]
            means.append(windows[heard][..., columns].mean(axis=1, where=counted))
            owners += [number] * len(means[-1])
    return np.concatenate(means), np.array(owners)


def _candidates(sounds):
    """Name, and vectors of windows, their sounds, and how they are fitted."""
    every = [*range(1, LAST + 1)]
    mfcc = np.concatenate([mfcc_statistics(each[np.newaxis]) for each in sounds.log_mels])
    yield "MFCC statistics", (mfcc, np.arange(len(mfcc)), _standardise)
    clips = {
        name: window_means(sounds.frames, layers, CLIP)
        for name, layers in {"embedding": [LAST], "all layers": every}.items()
    }
    for name, found in clips.items():
        yield name, (*found, lambda _: lambda vectors: vectors)
        for size in (128, 256):
            yield f"{name}, whitened, {size}", (*found, _whiten(size))
    for settings in LENGTHS:
        seconds = 0.48 + 0.48 * settings.n_frames
        found = window_means(sounds.frames, [LAST], settings)
        yield f"embedding, whitened, 256, windows of {seconds:.2f} s", (*found, _whiten(256))


def _measure_one(name, vectors, owners, fit, sounds):
    is_clip = owners < len(load_clips())
    for target in tqdm(range(N_CLASSES), desc=name):
        others = is_clip & (sounds.targets[owners] != target)
        found = unit(fit(vectors[others])(vectors))
        for query in np.flatnonzero(sounds.targets[: len(load_clips())] == target):
            likeness = found @ unit(found[owners == query].mean(axis=0))
            best = np.maximum.reduceat(likeness, np.flatnonzero(np.diff(owners, prepend=-1)))  # (n_sounds,)
            compared = sounds.recordings != sounds.recordings[query]
            precision, first = rank_metrics(best[compared], sounds.targets[compared] == target)
            chosen_on = "choice" if target % 2 == 0 else "report"
            yield {
                "vectors": name,
                "target": target,
                "chosen_on": chosen_on,
                "average_precision": precision,
                "precision_at_10": first,
            }


def rank_metrics(likeness, is_right):
    """Average precision, and share of right ones among the first ten."""
    right = is_right[np.argsort(-likeness, kind="stable")]
    precisions = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float(precisions[right].mean()), float(right[:N_FIRST].mean())


def _whiten(size):
    def fit(vectors):
        mean, matrix = fit_projection(vectors, size=size)
        return lambda others: (np.log1p(others) - mean.astype(np.float32)) @ matrix.astype(np.float32)

    return fit


def _standardise(vectors):
    mean, deviation = vectors.mean(axis=0), vectors.std(axis=0)
    return lambda others: (others - mean) / deviation


def _embed(classifier, waveform):
    return classifier.yamnet.embed(classifier.set_level(waveform), with_scores=True).astype(np.float16)
