"""Find ESC-50 clips to review: doubtful labels, and clips that occur in two folds."""

import numpy as np
import pandas as pd

from esc50.audio import load_sound
from esc50.classifier.audioset import audioset_matrix
from esc50.classifier.ood import clip_vectors
from esc50.config import RESULTS_DIR, output_path
from esc50.dataset import class_names
from esc50.dataset.clips import clip_path, find_dataset, load_clips
from esc50.dataset.feature_files import load_features
from esc50.experiments.results import load_out_of_fold, probabilities, read_csv, write_csv
from esc50.yamnet.runtime import load_runtime

FILE = "label_audit.csv"
WITNESS = "robust"  # out-of-fold probabilities of the shipped model's recipe
LIKELIEST = 40  # clips to review
MIN_COSINE = 0.85  # of two clips' embeddings, from which waveforms are compared
MIN_CORRELATION = 0.4  # of the waveforms at the best shift; similar takes have less


def measure(*, progress=True):
    """Find the clips with the least probable labels, and those with a duplicate in another fold.

    Doubtful labels are found by confident learning (Northcutt et al. 2021, arXiv 1911.00068) with cleanlab, on
    out-of-fold probabilities.

    Returns
    -------
    pandas.DataFrame, at least 40 rows
        ``filename``, ``fold``, ``category``; ``predicted``, the head's class, and its ``confidence``;
        ``label_quality``, the probability of the label; ``audioset`` and ``audioset_score``, YAMNet's top class by mean
        score over the clip; ``witness``, whether that class agrees with the "label", the "head" or "neither";
        ``doubted``, by confident learning; ``duplicate_of`` and the ``correlation`` of the waveforms.
    """
    table = witnesses().merge(find_duplicates(progress=progress), on="filename", how="left")
    table["duplicate_of"] = table["duplicate_of"].fillna("")
    table["rank"] = table["label_quality"].rank(method="first").astype(int)
    chosen = (table["rank"] <= LIKELIEST) | table["doubted"] | (table["duplicate_of"] != "")
    return table[chosen].sort_values("rank").drop(columns="rank").reset_index(drop=True)


def witnesses():
    """Return the predictions of head and YAMNet for every clip, with columns as in `measure`."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    clips, names = load_clips()[["filename", "fold", "category", "target"]], np.array(class_names())
    found = probabilities(load_out_of_fold(WITNESS).set_index("filename").loc[clips["filename"]].reset_index())
    found = found / found.sum(axis=1, keepdims=True)  # rounded in the file
    targets, rows = clips["target"].to_numpy(), np.arange(len(clips))
    scores, labels = load_features("yamnet")["mean_scores"], np.array(load_runtime().class_names)
    matrix, loudest = audioset_matrix(class_names(), labels.tolist()), scores.argmax(axis=1)
    sides = [matrix[loudest, label] > 0 for label in (targets, found.argmax(axis=1))]
    return clips.drop(columns="target").assign(
        predicted=names[found.argmax(axis=1)],
        confidence=found.max(axis=1),
        label_quality=get_label_quality_scores(targets, found, method="self_confidence"),
        audioset=labels[loudest],
        audioset_score=scores[rows, loudest],
        witness=np.select([sides[0], sides[1]], ["label", "head"], "neither"),
        doubted=find_label_issues(targets, found, n_jobs=1),
    )


def find_duplicates(*, progress=True):
    """Find clips whose waveform occurs in another fold: filename, duplicate_of, correlation. Needs the recordings."""
    from tqdm.auto import tqdm

    clips = load_clips()
    vectors, folds = clip_vectors(load_features("yamnet")["embeddings"]), clips["fold"].to_numpy()
    alike = (vectors @ vectors.T > MIN_COSINE) & (folds[:, np.newaxis] != folds)
    pairs = np.argwhere(np.triu(alike))
    root, names = find_dataset(), clips["filename"]
    waveforms = {row: load_sound(clip_path(names[row], root)).waveform for row in np.unique(pairs)}
    bar = tqdm(pairs, desc="waveforms", unit="pair", disable=not progress)
    found = [(*pair, correlation(waveforms[pair[0]], waveforms[pair[1]])) for pair in bar]
    rows = [(names[a], names[b], r) for first, second, r in found for a, b in ((first, second), (second, first))]
    table = pd.DataFrame(rows, columns=["filename", "duplicate_of", "correlation"])
    table = table[table["correlation"] > MIN_CORRELATION].sort_values("correlation", ascending=False)
    return table.drop_duplicates("filename")


def correlation(one, other):
    """Return the largest absolute normalised cross-correlation of two waveforms (n_samples,) over all shifts."""
    from scipy.signal import correlate

    energy = np.sqrt(np.sum(one**2, dtype=np.float64) * np.sum(other**2, dtype=np.float64))
    return float(np.abs(correlate(one, other, method="fft")).max() / max(energy, 1e-9))


def accuracy_without(table, *, models=("kernel_ridge_speeds", "distilled", WITNESS), folder=RESULTS_DIR):
    """Return the accuracy of some models on all clips, without doubted ones, and without duplicates.

    Returns
    -------
    pandas.DataFrame, index model
        The columns say which clips are removed, and how many.
    """
    doubted, twice = (set(table.loc[chosen, "filename"]) for chosen in (table["doubted"], table["duplicate_of"] != ""))
    parts = {"all clips": set(), "without the doubted": doubted, "without duplicates": twice}
    rows = {}
    for model in models:
        found = load_out_of_fold(model, folder=folder)
        right = pd.Series(probabilities(found).argmax(axis=1) == found["target"], dtype=bool).set_axis(
            found["filename"]
        )
        rows[model] = {f"{name} ({len(out)})": right[~right.index.isin(out)].mean() for name, out in parts.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def save(table, *, folder=None):
    """Write the table; return its path."""
    path = (folder or output_path(RESULTS_DIR)) / FILE
    write_csv(table, path, float_format="%.4f")
    return path


def load(*, folder=RESULTS_DIR):
    """Read the committed result of `measure`."""
    return read_csv(folder / FILE).fillna({"duplicate_of": ""})
