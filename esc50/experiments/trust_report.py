"""How far an answer can be trusted: calibration and rejection, measured on left-out classes and foreign sounds."""

import json
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from esc50.classifier import model_io, ood, pooling
from esc50.classifier.model_io import DEFAULT_MODEL, command
from esc50.classifier.ood import Evidence
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS, POOLINGS
from esc50.config import FOLDS, N_CLASSES, RESULTS_DIR, ResultsError, TrustSettings
from esc50.dataset.clips import load_clips
from esc50.dataset.feature_files import digest, ensure_features, load_features
from esc50.dataset.splits import official_splits, validation_split
from esc50.experiments import metrics, run_cache, study
from esc50.experiments.results import read_csv, read_json, write_csv, write_json
from esc50.experiments.shipping import RECIPES
from esc50.yamnet.backend import quiet_tensorflow
from esc50.yamnet.frames import active_frames

CODE = ("recipes", "rejection")  # modules that decide logits beside those of an experiment
NEIGHBOURS_FILE = "trust_neighbours.csv"  # one for all models: neighbours are looked for among embeddings
SETTINGS = TrustSettings()
SCORES = tuple(ood.SCORES)
NEIGHBOUR_COUNTS = (1, 3, 5, 10, 20)


KNOWN, LEFT_OUT = "known", "left out"  # kinds of clips; the others are those of esc50.dataset.ood_sounds


@dataclass(frozen=True)
class Trust:
    """What was measured; the tables have the columns of the files in data/results."""

    sounds: pd.DataFrame  # left_out, fold, name, kind, target, taken_for, silent, calibrated, then SCORES
    summary: pd.DataFrame  # unknown, score, auroc, false_acceptance, kept, n_unknown
    neighbours: pd.DataFrame  # frames, k, fold, auroc
    card: dict  # model, recipe, temperature, ood, and how they were found


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


def measure(*, model=DEFAULT_MODEL, settings=None, trust_settings=SETTINGS, folds=FOLDS, progress=True):
    """Train a head for each fold and each group of left-out classes, and score what it knows and what not.

    Finished trainings are kept in ``build/runs``, so an interrupted call goes on where it was.

    Parameters
    ----------
    model : str
        A key of `esc50.experiments.shipping.RECIPES`: how heads are made.
    settings : HeadSettings, optional
        Those of the recipe by default.
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

    Raises
    ------
    DatasetError, AudioError
        Features that are not committed are wanted, and cannot be made here: the message says what is missing.
    """
    recipe = RECIPES[model]
    settings = settings or recipe.settings
    sounds, probabilities = _score_all(model, settings, trust_settings, folds, progress)
    clips = (sounds["left_out"] == 0) & (sounds["kind"] == KNOWN)
    targets, fold = sounds.loc[clips, "target"].to_numpy(), sounds.loc[clips, "fold"].to_numpy()
    temperatures = {k: metrics.fit_temperature(targets[fold != k], probabilities[clips][fold != k]) for k in folds}
    temperature = metrics.fit_temperature(targets, probabilities[clips])
    by_row = sounds["fold"].map(temperatures).to_numpy()[:, None]
    sounds.insert(sounds.columns.get_loc("silent") + 1, "calibrated", _tempered_maximum(probabilities, by_row))
    summary = summarise(sounds, kept=trust_settings.kept)
    chosen = choose_score(sounds)
    card = {
        "model": model,
        "recipe": model_io.recipe(recipe.pooling, settings, recipe.layers),
        "temperature": round(temperature, 4),
        "rejection": _rule(chosen, sounds[clips], summary, trust_settings, who=recipe.never_shown),
        "temperature_without_fold": {str(k): round(t, 4) for k, t in temperatures.items()},
        "score_without_fold": {str(k): choose_score(sounds[sounds["fold"] != k]) for k in folds},
        "negative_log_likelihood": _likelihoods(targets, probabilities[clips], by_row[clips.to_numpy()]),
        "left_out_groups": [group.tolist() for group in left_out_groups(settings=trust_settings)],
        "made_by": _made_by(model, trust_settings, folds),
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
    active = sounds[~sounds["silent"]]
    open_set, closed = active[active["left_out"] > 0], active[active["left_out"] == 0]
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
    """The score that tells both left-out classes and foreign sounds from known ones best.

    Left-out classes alone would not do: the surer a head, the better its own probability tells them, and that lets
    tones and speech pass.

    Parameters
    ----------
    sounds : pandas.DataFrame
        Of `Trust`. Sounds with nothing to hear are left aside.

    Returns
    -------
    str
        A key of `esc50.classifier.ood.SCORES`: the highest mean of two AUROCs, each the mean over heads.
    """
    active = sounds[~sounds["silent"]]
    open_set, closed = active[active["left_out"] > 0], active[active["left_out"] == 0]
    return max(SCORES, key=lambda score: _mean_auroc(open_set, score) + _mean_auroc(closed, score))


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
        "with sound": ood.clip_vectors(embeddings),
    }
    rows = []
    for frames, vector in vectors.items():
        for fold, split in zip(FOLDS, official_splits(clips), strict=True):
            inside = validation_split(clips, split)
            for k in NEIGHBOUR_COUNTS:
                found = [_neighbour_auroc(vector, targets, inside, g, k) for g in left_out_groups(settings=settings)]
                rows.append({"frames": frames, "k": k, "fold": fold, "auroc": np.mean(found)})
    return pd.DataFrame(rows)


def fit_logits(clips, foreign, *, model, train_rows, test_rows, settings, seed, made_from):
    """Train one head, or its stand-in where classes are left out, and give its logits on clips and foreign sounds.

    Parameters
    ----------
    clips : np.ndarray, shape (n_clips, n_vectors, size)
        What heads take of all clips: of each frame, or one vector a clip.
    foreign : np.ndarray, shape (n_foreign_vectors, size)
        What they take of the foreign sounds.
    model : str
        A key of `esc50.experiments.shipping.RECIPES`.
    train_rows, test_rows : np.ndarray, shape (n_train,) and (n_test,)
        Rows of the clips.
    settings : HeadSettings
        Training settings.
    seed : int
        Seed of weights and order.
    made_from : str
        What identifies the features and the code; nothing but a part of the cache's key.

    Returns
    -------
    clip_logits : np.ndarray, shape (n_test, n_vectors, 50)
        Of the test clips.
    foreign_logits : np.ndarray, shape (n_foreign_vectors, 50)
        Of the foreign sounds.
    """
    logits_of, tested = _trained(RECIPES[model], train_rows, settings, seed), clips[test_rows]
    clip_logits = logits_of(tested.reshape(-1, tested.shape[-1]))
    return clip_logits.reshape(*tested.shape[:2], N_CLASSES), logits_of(foreign)


def _trained(recipe, rows, settings, seed):
    """A function from vectors to logits: a head's, or its stand-in's where some classes are left out."""
    if recipe.stand_in and load_clips()["target"].iloc[rows].nunique() < N_CLASSES:
        return recipe.stand_in(rows, settings=settings)
    return partial(ood.head_logits, recipe.fit(rows, settings=settings, seed=seed))


def save_trust(trust, *, folder=RESULTS_DIR):
    """Write what was measured, in the files of the model that its card names.

    Parameters
    ----------
    trust : Trust
        Of every fold.
    folder : Path
        Where to write: ``trust_layers.json``, ``trust_layers_sounds.csv.gz`` and ``trust_layers_summary.csv``, or
        for the plain model the same without ``_layers``; and ``trust_neighbours.csv``.

    Returns
    -------
    Path
        The JSON.
    """
    card, sounds, summary = _files(trust.card["model"], folder)
    write_csv(trust.sounds, sounds, float_format="%.7g")
    write_csv(trust.summary, summary, float_format="%.4f")
    write_csv(trust.neighbours, Path(folder) / NEIGHBOURS_FILE, float_format="%.4f")
    write_json(trust.card, card)
    return card


def load_trust(*, model=DEFAULT_MODEL, folder=RESULTS_DIR):
    """Read what was measured.

    Parameters
    ----------
    model : str
        A key of `esc50.experiments.shipping.RECIPES`.
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
    card, *tables = _files(model, folder)
    if not card.is_file():
        raise ResultsError(f"no results file {card}: restore it with git or run `{command('trust', model)}`")
    read = [read_csv(path) for path in (*tables, Path(folder) / NEIGHBOURS_FILE)]
    return Trust(*read, read_json(card))


def accepted(sounds, score, *, kept=SETTINGS.kept):
    """Which sounds reach the threshold that keeps a share of the known sounds of the other folds.

    Parameters
    ----------
    sounds : pandas.DataFrame
        Rows of `Trust`, with the known sounds of at least two folds.
    score : str
        A key of `esc50.classifier.ood.SCORES`.
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
        found[rows.index] = rows[score] >= ood.threshold_keeping(sounds.loc[others, score], kept=kept)
    return found


def _score_all(model, settings, trust_settings, folds, progress):
    """Rows of all sounds under all heads, and their probabilities (n_rows, 50)."""
    from tqdm.auto import tqdm

    quiet_tensorflow()
    clips, foreign = _read_clips(model), _read_foreign(model)
    logits_of = _head_maker(model, settings, trust_settings.seed, clips, foreign)
    groups = [np.array([], int), *left_out_groups(settings=trust_settings)]
    todo = [(split, number) for split in official_splits(load_clips(), folds=folds) for number in range(len(groups))]
    tables, probabilities = [], []
    for split, number in tqdm(todo, desc="heads", unit="head", disable=not progress):
        train_rows = split.train[~np.isin(clips.target[split.train], groups[number])]
        judge = _Judge(clips.of(train_rows), groups[number], RECIPES[model].pooling, trust_settings.neighbours)
        asked = [clips.of(split.test), *([] if number else foreign)]
        for table, scores in map(judge, asked, logits_of(train_rows, split.test)):
            tables.append(table.assign(left_out=number, fold=int(clips.fold[split.test[0]])))
            probabilities.append(scores)
    first = ["left_out", "fold", "name", "kind", "target", "taken_for", "silent"]
    return pd.concat(tables, ignore_index=True)[[*first, *SCORES]], np.concatenate(probabilities)


def _head_maker(model, settings, seed, clips, foreign):
    """From training and test rows to the logits of the test clips, then of each foreign sound: trained or read."""
    from joblib import Memory

    foreign_vectors = np.concatenate([sound.vectors[0] for sound in foreign])  # (n_foreign_vectors, size)
    ends = np.cumsum([sound.vectors.shape[1] for sound in foreign])[:-1]
    fit = Memory(run_cache.RUNS_DIR / "open_set", verbose=0).cache(fit_logits, ignore=["clips", "foreign"])
    cached = {"model": model, "settings": settings, "seed": seed, "made_from": json.dumps(_made_from(model))}

    def logits_of(train_rows, test_rows):
        rows = {"train_rows": train_rows, "test_rows": test_rows}
        clip_logits, foreign_logits = fit(clips.vectors, foreign_vectors, **rows, **cached)
        return [clip_logits, *np.split(foreign_logits[np.newaxis], ends, axis=1)]  # each (n_sounds, n_vectors, 50)

    return logits_of


@dataclass(frozen=True, eq=False)
class _Sounds:
    """Sounds of equally many vectors: what heads take of them, and what else is known."""

    vectors: np.ndarray  # (n_sounds, n_vectors, size) float32: of all frames, or one of each sound
    active: np.ndarray  # (n_sounds, n_vectors)
    embeddings: np.ndarray  # (n_sounds, 1024): see esc50.classifier.ood.clip_vectors
    name: np.ndarray  # (n_sounds,), as are all that follow
    kind: np.ndarray
    target: np.ndarray
    silent: np.ndarray
    fold: np.ndarray

    def of(self, rows):
        """Some of the sounds."""
        return _Sounds(*(getattr(self, each.name)[rows] for each in fields(self)))


def _heard(vectors, pooling, **about):
    """Sounds as heads take them; vectors of all frames (n_sounds, n_frames, size) are float32 only where needed."""
    taken, active = ood.head_vectors(vectors, active_frames(vectors), pooling=pooling)
    n_sounds = len(vectors)
    columns = {key: np.broadcast_to(value, n_sounds) for key, value in about.items()}
    return _Sounds(taken.astype(np.float32, copy=False), active, ood.clip_vectors(vectors), **columns)


def _read_clips(model):
    recipe, clips = RECIPES[model], load_clips()
    about = {"name": clips["filename"].to_numpy(), "target": clips["target"].to_numpy()}
    about |= {"kind": KNOWN, "silent": False, "fold": clips["fold"].to_numpy()}
    return _heard(recipe.read(), recipe.pooling, **about)


def _read_foreign(model):
    """Foreign sounds one by one, for each has its own number of frames."""
    recipe = RECIPES[model]
    foreign = recipe.read_foreign()
    frames = np.split(foreign["vectors"], np.cumsum(foreign["n_frames"])[:-1])  # each (n_frames, size)
    about = [{key: foreign[key][i] for key in ("name", "kind", "silent")} for i in range(len(frames))]
    options = {"target": -1, "fold": 0}  # none of either
    return [_heard(f[np.newaxis], recipe.pooling, **a, **options) for f, a in zip(frames, about, strict=True)]


@dataclass(frozen=True, eq=False)
class _Judge:
    """One trained head and what it knows."""

    training: _Sounds
    left_out: np.ndarray
    pooling: str
    k: int

    def __call__(self, sounds, logits):
        """Rows and probabilities (n_sounds, 50) of sounds; classes left out have no part in them."""
        known = np.setdiff1d(np.arange(N_CLASSES), self.left_out)  # (n_known,)
        logits = logits[..., known]  # (n_sounds, n_vectors, n_known)
        frames, active = softmax(logits, axis=-1), sounds.active
        pooled = frames[:, 0] if self.pooling == MAXIMUM_OF_VECTORS else POOLINGS[self.pooling](frames, active)
        similarity = sounds.embeddings @ self.training.embeddings.T  # (n_sounds, n_training)
        evidence = Evidence(logits, active, pooled, similarity, np.searchsorted(known, self.training.target))
        scores = {name: score(evidence, k=self.k) for name, score in ood.SCORES.items()}
        probabilities = np.zeros((len(pooled), N_CLASSES))
        probabilities[:, known] = pooled
        kind = np.where(np.isin(sounds.target, self.left_out), LEFT_OUT, sounds.kind)
        about = {"name": sounds.name, "kind": kind, "target": sounds.target, "silent": sounds.silent}
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
    found = [ood.auroc(table[score][i][known[i]], table[score][i][~known[i]]) for i in groups]
    return float(np.mean(found))


def _neighbour_auroc(vectors, targets, split, left_out, k):
    train_rows = split.train[~np.isin(targets[split.train], left_out)]
    scores = np.sort(vectors[split.test] @ vectors[train_rows].T, axis=1)[:, -k:].mean(axis=1)
    unknown = np.isin(targets[split.test], left_out)
    return ood.auroc(scores[~unknown], scores[unknown])


def _tempered_maximum(probabilities, temperatures):
    return pooling.temper(probabilities, temperatures).max(axis=1)


def _likelihoods(targets, probabilities, temperatures):
    after = pooling.temper(probabilities, temperatures)
    values = {"before": probabilities, "after": after}
    return {name: round(metrics.negative_log_likelihood(targets, each), 4) for name, each in values.items()}


def _rule(score, known, summary, settings, *, who):
    refused = summary[summary["score"] == score].set_index("unknown")["false_acceptance"]
    threshold = ood.threshold_keeping(known[score], kept=settings.kept)
    meaning = (
        f"A sound is none of the classes where the {ood.describe(score, settings.neighbours)} is below "
        f"{threshold:.2f}. Of ESC-50's clips {100 * settings.kept:.0f} % reach that with heads that were not trained "
        f"on them; so do {100 * refused[LEFT_OUT]:.0f} % of the clips of classes that {who} was never shown."
    )
    return {
        "score": score,
        "neighbours": settings.neighbours,
        "threshold": round(threshold, 4),
        "kept": settings.kept,
        "meaning": meaning,
    }


def _files(model, folder):
    """The JSON, the sounds and the summary of a model."""
    stem = model_io.TRUST_FILES[model].stem
    return [Path(folder) / f"{stem}{ending}" for ending in (".json", "_sounds.csv.gz", "_summary.csv")]


def _made_from(model):
    recipe = RECIPES[model]
    for name in recipe.features:
        ensure_features(name)
    return {
        "code_version": run_cache.code_version((*study.EXPERIMENTS[recipe.model].code, *CODE)),
        "feature_sha256": {name: digest(name)[:12] for name in recipe.features},
    }


def _made_by(model, settings, folds):
    return {
        **_made_from(model),
        "command": command("trust", model),
        "folds": list(folds),
        "seeds": [settings.seed],
        "splits": "official folds",
    }
