"""How far an answer can be trusted: calibration and rejection, measured on left-out classes and foreign sounds."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from esc50 import calibration, evaluation, rejection, saved, study
from esc50.backend import quiet_tensorflow
from esc50.config import FEATURES_DIR, FOLDS, N_CLASSES, RESULTS_DIR, TrustSettings
from esc50.dataset import load_clips, official_splits, validation_split
from esc50.feature_files import load_features
from esc50.results import read_csv, write_csv, write_json
from esc50.yamnet import audible_frames

MODEL = "head_frames"  # the experiment of esc50.study whose recipe is shipped
SETTINGS = TrustSettings()
SCORES = tuple(rejection.SCORES)
NEIGHBOUR_COUNTS = (1, 3, 5, 10, 20)
KNOWN, LEFT_OUT = "known", "left out"  # kinds of clips; the others are those of esc50.foreign


@dataclass(frozen=True)
class Trust:
    """What was measured; the tables have the columns of the files in data/results."""

    sounds: pd.DataFrame  # left_out, fold, name, kind, target, taken_for, silent, calibrated, then SCORES
    summary: pd.DataFrame  # unknown, score, auroc, false_acceptance, kept, n_unknown
    neighbours: pd.DataFrame  # frames, k, fold, auroc
    card: dict  # recipe, temperature, rejection, and how they were found


def left_out_groups(*, settings=SETTINGS):
    """Draw the groups of classes that are left out in turn: two of each theme, each class once.

    Parameters
    ----------
    settings : TrustSettings
        Number of groups and seed.

    Returns
    -------
    list of np.ndarray, each of shape (10,)
        Labels in order.
    """
    rng = np.random.default_rng(settings.seed)
    themes = [rng.permutation(10) + 10 * theme for theme in range(5)]  # a label's theme is label // 10
    parts = [np.split(labels, settings.left_out_groups) for labels in themes]
    return [np.sort(np.concatenate(group)) for group in zip(*parts, strict=True)]


def measure(*, settings=None, pooling=None, trust_settings=SETTINGS, folds=FOLDS, progress=True):
    """Train a head for each fold and each group of left-out classes, and score what it knows and what not.

    Finished trainings are kept in ``build/runs``, so an interrupted call goes on where it was.

    Parameters
    ----------
    settings : HeadSettings, optional
        Those of the shipped recipe by default.
    pooling : str, optional
        A name of `esc50.evaluation.POOLINGS`; that of the shipped recipe by default.
    trust_settings : TrustSettings
        Groups, seed, neighbours and the share to keep.
    folds : sequence of int
        Official folds to test, at least two: temperatures and thresholds are tested on folds they did not see.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Trust
        Not yet written: see `save_trust`.
    """
    settings = settings or study.EXPERIMENTS[MODEL].settings
    pooling = pooling or study.FRAME_POOLINGS[MODEL]
    sounds, probabilities = _score_all(settings, pooling, trust_settings, folds, progress)
    clips = (sounds["left_out"] == 0) & (sounds["kind"] == KNOWN)
    targets, fold = sounds.loc[clips, "target"].to_numpy(), sounds.loc[clips, "fold"].to_numpy()
    temperatures = {k: calibration.fit_temperature(targets[fold != k], probabilities[clips][fold != k]) for k in folds}
    temperature = calibration.fit_temperature(targets, probabilities[clips])
    by_row = sounds["fold"].map(temperatures).to_numpy()[:, None]
    sounds.insert(sounds.columns.get_loc("silent") + 1, "calibrated", _tempered_maximum(probabilities, by_row))
    summary = summarise(sounds, kept=trust_settings.kept)
    chosen = choose_score(sounds)
    card = {
        "recipe": saved.recipe(pooling, settings),
        "temperature": round(temperature, 4),
        "rejection": _rule(chosen, sounds[clips], summary, trust_settings),
        "temperature_without_fold": {str(k): round(t, 4) for k, t in temperatures.items()},
        "score_without_fold": {str(k): choose_score(sounds[sounds["fold"] != k]) for k in folds},
        "negative_log_likelihood": _likelihoods(targets, probabilities[clips], by_row[clips.to_numpy()]),
        "left_out_groups": [group.tolist() for group in left_out_groups(settings=trust_settings)],
        "made_by": _made_by(trust_settings, folds),
    }
    return Trust(sounds, summary, neighbour_study(settings=trust_settings), card)


def summarise(sounds, *, kept=SETTINGS.kept):
    """How well each score tells the unknown from the known.

    Parameters
    ----------
    sounds : pandas.DataFrame
        Of `Trust`. Sounds with nothing to hear are left aside: they are refused without any score.
    kept : float
        Share of the known that the threshold keeps, on the other folds than the one tested.

    Returns
    -------
    pandas.DataFrame
        One row for each score and kind of unknown: ``left out``, ``foreign`` and each kind of foreign sounds.
        As shares of 1: ``auroc``, the mean over heads; ``false_acceptance`` of the unknown and what was ``kept``
        of the known; and ``n_unknown``, sounds that were tested, each as often as there were heads.
    """
    audible = sounds[~sounds["silent"]]
    open_set, closed = audible[audible["left_out"] > 0], audible[audible["left_out"] == 0]
    foreign_kinds = [kind for kind in closed["kind"].unique() if kind != KNOWN]
    parts = {LEFT_OUT: (open_set, [LEFT_OUT]), "foreign": (closed, foreign_kinds)}
    parts |= {kind: (closed, [kind]) for kind in foreign_kinds}
    rows = [
        {"unknown": name, "score": score, **_told_apart(table[table["kind"].isin([KNOWN, *kinds])], score, kept)}
        for name, (table, kinds) in parts.items()
        for score in SCORES
    ]
    return pd.DataFrame(rows)


def choose_score(sounds):
    """The score that tells left-out classes from known ones best, by the mean AUROC over heads.

    Parameters
    ----------
    sounds : pandas.DataFrame
        Of `Trust`; foreign sounds have no say.

    Returns
    -------
    str
        A key of `esc50.rejection.SCORES`.
    """
    open_set = sounds[sounds["left_out"] > 0]
    return max(SCORES, key=lambda score: _mean_auroc(open_set, score))


def neighbour_study(*, settings=SETTINGS):
    """Which frames and how many neighbours tell left-out classes best, inside the training folds.

    For each official fold, the next fold is asked and the three others answer; the fold itself stays aside.

    Parameters
    ----------
    settings : TrustSettings
        Groups and seed.

    Returns
    -------
    pandas.DataFrame
        Columns frames (``all`` or ``with sound``), k, fold (the one aside) and auroc, the mean over groups.
    """
    arrays, clips = load_features("yamnet"), load_clips()
    embeddings, targets = arrays["embeddings"], arrays["target"]
    mean = embeddings.mean(axis=1)  # (n_clips, 1024)
    vectors = {
        "all": mean / np.linalg.norm(mean, axis=1, keepdims=True),
        "with sound": rejection.clip_vectors(embeddings),
    }
    rows = []
    for frames, vector in vectors.items():
        for fold, split in zip(FOLDS, official_splits(clips), strict=True):
            inside = validation_split(clips, split)
            for k in NEIGHBOUR_COUNTS:
                found = [_neighbour_auroc(vector, targets, inside, g, k) for g in left_out_groups(settings=settings)]
                rows.append({"frames": frames, "k": k, "fold": fold, "auroc": np.mean(found)})
    return pd.DataFrame(rows)


def fit_logits(embeddings, targets, foreign, *, train_rows, test_rows, settings, seed, made_from):
    """Train one head and give its logits on test clips and foreign sounds.

    Parameters
    ----------
    embeddings : np.ndarray, shape (n_clips, n_frames, 1024)
        Of the clips.
    targets : np.ndarray, shape (n_clips,)
        Labels.
    foreign : np.ndarray, shape (n_foreign_frames, 1024)
        Frames of foreign sounds.
    train_rows, test_rows : np.ndarray, shape (n_train,) and (n_test,)
        Rows of the clips.
    settings : HeadSettings
        Training settings.
    seed : int
        Seed of weights and order.
    made_from : str
        What identifies the arrays and the code; nothing but a part of the cache's key.

    Returns
    -------
    clip_logits : np.ndarray, shape (n_test, n_frames, 50)
        Of the test clips.
    foreign_logits : np.ndarray, shape (n_foreign_frames, 50)
        Of the foreign frames.
    """
    n_frames, size = embeddings.shape[1:]
    head = study.train_head_on(embeddings[train_rows], targets[train_rows], settings=settings, seed=seed)
    clip_logits = rejection.head_logits(head, embeddings[test_rows].reshape(-1, size))
    return clip_logits.reshape(len(test_rows), n_frames, N_CLASSES), rejection.head_logits(head, foreign)


def save_trust(trust, *, folder=RESULTS_DIR):
    """Write what was measured.

    Parameters
    ----------
    trust : Trust
        Of every fold.
    folder : Path
        Where to write ``trust.json`` and ``trust_*.csv``.

    Returns
    -------
    Path
        The JSON.
    """
    folder = Path(folder)
    write_csv(trust.sounds, folder / "trust_sounds.csv.gz", float_format="%.7g")
    write_csv(trust.summary, folder / "trust_summary.csv", float_format="%.4f")
    write_csv(trust.neighbours, folder / "trust_neighbours.csv", float_format="%.4f")
    write_json(trust.card, folder / "trust.json")
    return folder / "trust.json"


def load_trust(*, folder=RESULTS_DIR):
    """Read what was measured.

    Parameters
    ----------
    folder : Path
        Where the files lie.

    Returns
    -------
    Trust
        As `save_trust` wrote it.

    Raises
    ------
    ResultsError
        A file is missing.
    """
    folder = Path(folder)
    tables = [read_csv(folder / name) for name in ("trust_sounds.csv.gz", "trust_summary.csv", "trust_neighbours.csv")]
    return Trust(*tables, json.loads((folder / "trust.json").read_text(encoding="utf-8")))


def accepted(sounds, score, *, kept=SETTINGS.kept):
    """Which sounds reach the threshold that keeps a share of the known sounds of the other folds.

    Parameters
    ----------
    sounds : pandas.DataFrame
        Rows of `Trust`, with the known sounds of at least two folds.
    score : str
        A key of `esc50.rejection.SCORES`.
    kept : float
        The share.

    Returns
    -------
    pandas.Series of bool
        One a row.
    """
    found, known = pd.Series(False, index=sounds.index), sounds["kind"] == KNOWN
    for (left_out, fold), rows in sounds.groupby(["left_out", "fold"]):
        others = known & (sounds["fold"] != fold) & (sounds["left_out"] == left_out)
        found[rows.index] = rows[score] >= rejection.threshold_keeping(sounds.loc[others, score], kept=kept)
    return found


def _score_all(settings, pooling, trust_settings, folds, progress):
    """Rows of all sounds under all heads, and their probabilities (n_rows, 50)."""
    from joblib import Memory
    from tqdm.auto import tqdm

    quiet_tensorflow()
    arrays, foreign, clips = load_features("yamnet"), load_features("foreign"), load_clips()
    fit = Memory(study.RUNS_DIR / "open_set", verbose=0).cache(fit_logits, ignore=["embeddings", "targets", "foreign"])
    cached = {"settings": settings, "seed": trust_settings.seed, "made_from": _made_from()}
    groups = [np.array([], int), *left_out_groups(settings=trust_settings)]
    todo = [(split, number) for split in official_splits(clips, folds=folds) for number in range(len(groups))]
    vectors = rejection.clip_vectors(arrays["embeddings"])  # (n_clips, 1024)
    tables, probabilities = [], []
    for split, number in tqdm(todo, desc="heads", unit="head", disable=not progress):
        train_rows = split.train[~np.isin(arrays["target"][split.train], groups[number])]
        data = arrays["embeddings"], arrays["target"], foreign["embeddings"]
        logits = fit(*data, train_rows=train_rows, test_rows=split.test, **cached)
        run = _Run(arrays, vectors, foreign, train_rows, split.test, groups[number], pooling, trust_settings.neighbours)
        for table, scores in run.tables(*logits):
            tables.append(table.assign(left_out=number, fold=int(clips["fold"].iloc[split.test[0]])))
            probabilities.append(scores)
    sounds = pd.concat(tables, ignore_index=True)
    first = ["left_out", "fold", "name", "kind", "target", "taken_for", "silent"]
    return sounds[[*first, *SCORES]], np.concatenate(probabilities)


@dataclass(frozen=True)
class _Run:
    """One trained head and what it is asked about."""

    arrays: dict
    vectors: np.ndarray
    foreign: dict
    train_rows: np.ndarray
    test_rows: np.ndarray
    left_out: np.ndarray
    pooling: str
    k: int

    def tables(self, clip_logits, foreign_logits):
        """Rows and probabilities (n_sounds, 50) of the test clips and, where no class is left out, foreign sounds."""
        clips, targets = self.arrays["embeddings"][self.test_rows], self.arrays["target"][self.test_rows]
        about = {
            "name": self.arrays["filename"][self.test_rows],
            "kind": np.where(np.isin(targets, self.left_out), LEFT_OUT, KNOWN),
            "target": targets,
            "silent": False,
        }
        yield self._judged(clips, clip_logits, about)
        if self.left_out.size:
            return
        ends = np.cumsum(self.foreign["n_frames"])
        for i, (start, end) in enumerate(zip(ends - self.foreign["n_frames"], ends, strict=True)):
            about = {"name": self.foreign["name"][[i]], "kind": self.foreign["kind"][[i]], "target": -1}
            frames = self.foreign["embeddings"][np.newaxis, start:end]
            yield self._judged(
                frames, foreign_logits[np.newaxis, start:end], about | {"silent": self.foreign["silent"][[i]]}
            )

    def _judged(self, embeddings, logits, about):
        known = np.setdiff1d(np.arange(N_CLASSES), self.left_out)  # (n_known,)
        audible, logits = audible_frames(embeddings), logits[..., known]
        pooled = evaluation.POOLINGS[self.pooling](softmax(logits, axis=-1), audible)  # (n_sounds, n_known)
        similarity = rejection.clip_vectors(embeddings) @ self.vectors[self.train_rows].T  # (n_sounds, n_training)
        columns = np.searchsorted(known, self.arrays["target"][self.train_rows])
        evidence = rejection.Evidence(logits, audible, pooled, similarity, columns)
        scores = {name: score(evidence, k=self.k) for name, score in rejection.SCORES.items()}
        probabilities = np.zeros((len(pooled), N_CLASSES))
        probabilities[:, known] = pooled
        return pd.DataFrame({**about, "taken_for": known[pooled.argmax(axis=1)], **scores}), probabilities


def _told_apart(table, score, kept):
    known, taken = table["kind"] == KNOWN, accepted(table, score, kept=kept)
    return {
        "auroc": _mean_auroc(table, score),
        "false_acceptance": taken[~known].mean(),
        "kept": taken[known].mean(),
        "n_unknown": int((~known).sum()),
    }


def _mean_auroc(table, score):
    known = table["kind"] == KNOWN
    groups = [rows.index for _, rows in table.groupby(["left_out", "fold"])]
    found = [rejection.auroc(table[score][i][known[i]], table[score][i][~known[i]]) for i in groups]
    return float(np.mean(found))


def _neighbour_auroc(vectors, targets, split, left_out, k):
    train_rows = split.train[~np.isin(targets[split.train], left_out)]
    scores = np.sort(vectors[split.test] @ vectors[train_rows].T, axis=1)[:, -k:].mean(axis=1)
    unknown = np.isin(targets[split.test], left_out)
    return rejection.auroc(scores[~unknown], scores[unknown])


def _tempered_maximum(probabilities, temperatures):
    return calibration.temper(probabilities, temperatures).max(axis=1)


def _likelihoods(targets, probabilities, temperatures):
    after = calibration.temper(probabilities, temperatures)
    values = {"before": probabilities, "after": after}
    return {name: round(calibration.negative_log_likelihood(targets, each), 4) for name, each in values.items()}


def _rule(score, known, summary, settings):
    refused = summary[summary["score"] == score].set_index("unknown")["false_acceptance"]
    threshold = rejection.threshold_keeping(known[score], kept=settings.kept)
    meaning = (
        f"A sound is none of the classes where the {rejection.describe(score, settings.neighbours)} is below "
        f"{threshold:.2f}. Of ESC-50's clips {100 * settings.kept:.0f} % reach that with heads that were not trained "
        f"on them; so do {100 * refused[LEFT_OUT]:.0f} % of the clips of classes that a head was never shown."
    )
    return {
        "score": score,
        "neighbours": settings.neighbours,
        "threshold": round(threshold, 4),
        "kept": settings.kept,
        "meaning": meaning,
    }


def _made_from():
    digests = [hashlib.sha256((FEATURES_DIR / f"{n}.npz").read_bytes()).hexdigest() for n in ("yamnet", "foreign")]
    return " ".join([study.code_version(), *(digest[:12] for digest in digests)])


def _made_by(settings, folds):
    code, yamnet, foreign = _made_from().split()
    return {
        "command": "python -m esc50 trust",
        "code_version": code,
        "feature_sha256": {"yamnet": yamnet, "foreign": foreign},
        "folds": list(folds),
        "seeds": [settings.seed],
        "splits": "official folds",
    }
