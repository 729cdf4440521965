"""Trust report: calibration and rejection, measured on held-out classes and out-of-distribution sounds."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from esc50.classifier import ood, pooling
from esc50.classifier.audioset import audioset_matrix
from esc50.classifier.model_io import DEFAULT_MODEL, command
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS, POOLINGS, softmax
from esc50.config import FOLDS, N_CLASSES, RESULTS_DIR, ResultsError, output_path
from esc50.dataset import class_names
from esc50.dataset.clips import load_clips
from esc50.dataset.feature_files import digest, load_features
from esc50.dataset.splits import Split, official_splits, validation_split
from esc50.experiments import conformal, metrics, run_cache
from esc50.experiments.base import find_experiments, take
from esc50.experiments.keras_heads import TRUST_FILES, recipe_of
from esc50.experiments.results import read_csv, read_json, recordings, write_csv, write_json
from esc50.experiments.shipping import RECIPES
from esc50.yamnet.architecture import N_AUDIOSET_CLASSES
from esc50.yamnet.architecture import SCORES as SCORES_LAYER
from esc50.yamnet.frames import active_frames
from esc50.yamnet.runtime import load_runtime

SCORES = tuple(ood.OOD_SCORES)
COMBINED = tuple(score.__name__ for score in ood.COMBINED)
NEED_TYPICAL = ("other_score", "combined")
REGULARISATION = 1.0  # of the logistic regression that combines scores: scikit-learn's C
KNOWN, HELD_OUT, OOD = "known", "held-out classes", "ood sounds"  # OOD: all kinds together
NEIGHBOURS_FILE = "trust_neighbours.csv"  # for all models, since neighbours are searched among embeddings
NEIGHBOUR_COUNTS = (1, 3, 5, 10, 20)
N_GROUPS = 5  # of held-out classes
KEPT = 0.95  # share of known sounds that the threshold keeps; fixed in advance
SHARES = (*range(50, 90, 5), *range(90, 100))  # alternatives in percent
SEED = 0  # of groups and heads
FIRST_COLUMNS = ["held_out_group", "fold", "name", "kind", "target", "taken_for", "silent"]


@dataclass(frozen=True)
class Trust:
    """Result of a trust report; the tables have the columns of the files in data/results."""

    sounds: pd.DataFrame  # held_out_group (0: none), fold, name, kind, target, taken_for, silent, calibrated, SCORES
    summary: pd.DataFrame  # unknown, score, auroc, fpr_at_95_tpr, tpr, n_unknown
    sets: pd.DataFrame  # coverage, fold, target, sureness, clips, covered, classes: see esc50.experiments.conformal
    neighbours: pd.DataFrame  # frames, k, fold, auroc
    report: dict  # model, recipe, temperature, rejection, conformal, and their provenance


def held_out_groups(*, seed=SEED):
    """Return the groups of ten classes that are held out in turn: two of each theme, each class once."""
    rng = np.random.default_rng(seed)
    themes = [rng.permutation(10) + 10 * theme for theme in range(5)]  # a label's theme is label // 10
    parts = [np.split(labels, N_GROUPS) for labels in themes]
    return [np.sort(np.concatenate(group)) for group in zip(*parts, strict=True)]


def measure(*, model=DEFAULT_MODEL, settings=None, folds=FOLDS, progress=True):
    """Train a head for each fold and each group of held-out classes, and score known and unknown sounds.

    Finished heads come from the cache. Nothing is written: see `save_trust`.

    Parameters
    ----------
    model : str
        A key of `esc50.experiments.shipping.RECIPES`.
    settings : dataclass, optional
        Of the heads; by default those of the recipe.
    folds : sequence of int
        At least two, because temperatures and thresholds are tested on folds that did not determine them.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Trust
        Tables and report.
    """
    recipe = RECIPES[model]
    settings = settings or recipe.settings
    sounds, probabilities, origins = _score_all(model, settings, folds, progress)
    if {*COMBINED} <= {*sounds}:
        sounds["combined"] = combine(sounds)
    clips = ((sounds["held_out_group"] == 0) & (sounds["kind"] == KNOWN)).to_numpy()
    targets, fold, known = *(sounds.loc[clips, key].to_numpy() for key in ("target", "fold")), probabilities[clips]
    temperatures = {k: metrics.fit_temperature(targets[fold != k], known[fold != k]) for k in folds}
    tempered = pooling.temper(probabilities, sounds["fold"].map(temperatures).to_numpy()[:, None])
    sounds.insert(len(FIRST_COLUMNS), "calibrated", tempered.max(axis=1))
    rule = make_rule(sounds, who=recipe.surrogate_name)
    if rule["score"] == "combined":
        rule |= fit_combination(sounds)
    if rule["score"] in NEED_TYPICAL:
        rule |= {"typical_scores": typical_scores(read_clips(recipe).scores)}
    likelihoods = {"before": known, "after": tempered[clips]}
    known_clips = targets, known, recordings(sounds[clips].rename(columns={"name": "filename"}))
    report = {
        "model": model,
        "recipe": recipe_of(recipe.pooling, settings, recipe.layers),
        "temperature": round(metrics.fit_temperature(targets, known), 4),
        "rejection": rule,
        "conformal": conformal.fit(*known_clips),
        "mean_set_sizes": conformal.compare_scores(*known_clips, fold),
        "temperature_without_fold": {str(k): round(t, 4) for k, t in temperatures.items()},
        "score_without_fold": {str(k): choose_score(sounds[sounds["fold"] != k]) for k in folds},
        "negative_log_likelihood": {
            when: round(metrics.negative_log_likelihood(targets, each), 4) for when, each in likelihoods.items()
        },
        "held_out_groups": [group.tolist() for group in held_out_groups()],
        "made_by": {
            "command": command("trust", model),
            "folds": list(folds),
            "seeds": [SEED],
            "splits": "official folds",
            "feature_sha256": digest_features(recipe),
            "provenance": run_cache.distinct(origins),
        },
    }
    return Trust(sounds, summarise(sounds), conformal.measure(*known_clips, fold), neighbour_study(), report)


def summarise(sounds):
    """Return how well each score separates each kind of unknown sounds from known ones.

    Silent sounds are left out, because they are rejected regardless of their score.

    Parameters
    ----------
    sounds : pandas.DataFrame
        As in `Trust`.

    Returns
    -------
    pandas.DataFrame
        One row per kind of ``unknown`` and ``score``, in shares of 1: ``auroc``, the mean over heads;
        ``fpr_at_95_tpr`` and ``tpr`` at the threshold that keeps 95 % of the known sounds of the other folds;
        ``n_unknown``, counting each sound once per head.
    """
    active = sounds[~sounds["silent"]]
    open_set, closed = active[active["held_out_group"] > 0], active[active["held_out_group"] == 0]
    kinds = [kind for kind in closed["kind"].unique() if kind != KNOWN]
    parts = {HELD_OUT: (open_set, [HELD_OUT]), OOD: (closed, kinds), **{kind: (closed, [kind]) for kind in kinds}}
    rows = [
        {"unknown": name, "score": score, **_tell_apart(table[table["kind"].isin([KNOWN, *of])], score)}
        for name, (table, of) in parts.items()
        for score in _scores_in(sounds)
    ]
    return pd.DataFrame(rows)


def _scores_in(sounds):
    return [score for score in SCORES if score in sounds]


def combine(sounds):
    """Return the score ``combined`` of each row, by regressions without its fold, group of held-out classes and kind.

    They are fitted on known classes, held-out ones and sounds outside ESC-50, never on a sound of the kind that is
    scored.
    """
    found, is_esc50 = pd.Series(0.0, index=sounds.index), sounds["kind"].isin([KNOWN, HELD_OUT])
    for (group, fold, kind), rows in sounds.groupby(["held_out_group", "fold", sounds["kind"].mask(is_esc50, "")]):
        others = (sounds["fold"] != fold) & (sounds["kind"] != kind)
        rule = fit_combination(sounds[others & (~is_esc50 | (sounds["held_out_group"] != group))])
        values = ood.expand(rows[list(COMBINED)].to_numpy(), rule["mean"], rule["deviation"])
        found[rows.index] = values @ np.array(rule["weights"]) + rule["intercept"]
    return found


def fit_combination(sounds):
    """Fit the logistic regression of known against unknown sounds; return mean, deviation, weights and intercept.

    Known clips come from the heads with held-out classes, whose clips are unknown, like all sounds outside ESC-50.
    """
    from sklearn.linear_model import LogisticRegression

    is_closed = (sounds["held_out_group"] == 0) & sounds["kind"].eq(KNOWN)
    rows = sounds[~is_closed & ~sounds["silent"]]
    values, known = rows[list(COMBINED)].to_numpy(), rows["kind"] == KNOWN
    mean, deviation = values.mean(axis=0).round(4), values.std(axis=0).round(4)
    how = {"C": REGULARISATION, "class_weight": "balanced", "max_iter": 1_000}
    regression = LogisticRegression(**how).fit(ood.expand(values, mean, deviation), known)
    rule = {"mean": mean, "deviation": deviation, "weights": regression.coef_[0].round(5)}
    return {key: each.tolist() for key, each in rule.items()} | {"intercept": round(float(regression.intercept_[0]), 5)}


def typical_scores(scores):
    """Return the mean AudioSet scores (521,) over clips of known classes, rounded, from (n_clips, 521)."""
    return np.round(scores.mean(axis=0, dtype=np.float64), 4).tolist()


def choose_score(sounds):
    """Return the score with the highest mean of two AUROCs: held-out classes, and sounds outside ESC-50.

    Held-out classes alone would favour the maximum probability, which accepts tones and speech.
    """
    active = sounds[~sounds["silent"]]
    parts = active[active["held_out_group"] > 0], active[active["held_out_group"] == 0]
    return max(_scores_in(sounds), key=lambda score: sum(_mean_auroc(part, score) for part in parts))


def accepted(sounds, score, kept=KEPT):
    """Return which sounds reach the threshold that keeps a share of the known sounds of the other folds."""
    found, known = pd.Series(False, index=sounds.index), sounds["kind"] == KNOWN
    for (group, fold), rows in sounds.groupby(["held_out_group", "fold"]):
        others = known & (sounds["fold"] != fold) & (sounds["held_out_group"] == group)
        found[rows.index] = rows[score] >= _threshold(sounds.loc[others, score], kept)
    return found


def neighbour_study():
    """Measure which frames and how many neighbours detect held-out classes best, inside the training folds.

    For each official fold, clips of the next fold are compared with the other three.

    Returns
    -------
    pandas.DataFrame
        ``frames`` ("all" or "active"), ``k``, ``fold`` (held out) and ``auroc``, the mean over groups.
    """
    embeddings, clips, rows = load_features("yamnet")["embeddings"], load_clips(), []
    mean = embeddings.mean(axis=1)  # (n_clips, 1024)
    kinds = {"all": mean / np.linalg.norm(mean, axis=1, keepdims=True), "active": ood.clip_vectors(embeddings)}
    for frames, vectors in kinds.items():
        for fold, split in zip(FOLDS, official_splits(clips), strict=True):
            inside = validation_split(clips, split)
            for k in NEIGHBOUR_COUNTS:
                how = vectors, clips["target"].to_numpy(), inside
                found = [_neighbour_auroc(*how, group, k) for group in held_out_groups()]
                rows.append({"frames": frames, "k": k, "fold": fold, "auroc": np.mean(found)})
    return pd.DataFrame(rows)


def save_trust(trust, *, folder=None):
    """Write the files of a trust report; return the path of the JSON file."""
    path = trust_path(trust.report["model"], folder or output_path(RESULTS_DIR))
    write_csv(trust.sounds, _beside(path, "sounds.csv.gz"), float_format="%.7g")
    write_csv(trust.summary, _beside(path, "summary.csv"), float_format="%.4f")
    write_csv(trust.sets, _beside(path, "sets.csv.gz"))
    write_csv(trust.neighbours, path.with_name(NEIGHBOURS_FILE), float_format="%.4f")
    write_json(trust.report, path)
    return path


def load_trust(*, model=DEFAULT_MODEL, folder=RESULTS_DIR):
    """Read a trust report; raise a `ResultsError` if a file is missing."""
    path = trust_path(model, folder)
    if not path.is_file():
        raise ResultsError(f"no results file {path}: restore it with git or run `{command('trust', model)}`")
    tables = [_beside(path, ending) for ending in ("sounds.csv.gz", "summary.csv", "sets.csv.gz")]
    return Trust(*map(read_csv, (*tables, path.with_name(NEIGHBOURS_FILE))), read_json(path))


def trust_path(model=DEFAULT_MODEL, folder=RESULTS_DIR):
    """Return the JSON file of a model's trust report."""
    return Path(folder) / TRUST_FILES[model].name


@dataclass(frozen=True, eq=False)
class _Sounds:
    """Sounds with the same number of vectors."""

    vectors: np.ndarray  # (n_sounds, n_vectors, size) float32, inputs of heads: all frames, or one per sound
    active: np.ndarray  # (n_sounds, n_vectors)
    embeddings: np.ndarray  # (n_sounds, 1024): see esc50.classifier.ood.clip_vectors
    scores: np.ndarray  # (n_sounds, 521) maximum AudioSet scores; (n_sounds, 0) if heads use none
    about: pd.DataFrame  # name, kind, target, silent

    def __getitem__(self, rows):
        arrays = self.vectors, self.active, self.embeddings, self.scores
        return _Sounds(*take(arrays, rows), self.about.iloc[rows])


def _make_sounds(vectors, recipe, **about):
    taken, active = ood.head_vectors(vectors, active_frames(vectors), pooling=recipe.pooling)
    taken = taken.astype(np.float32, copy=False)
    n_scores = N_AUDIOSET_CLASSES if SCORES_LAYER in recipe.layers else 0
    return _Sounds(taken, active, ood.clip_vectors(vectors), taken[..., :n_scores].max(axis=1), pd.DataFrame(about))


def _read(name):
    arrays = load_features(name)
    return arrays, arrays["embeddings" if "embeddings" in arrays else "activations"]


def read_clips(recipe):
    """Return all clips of ESC-50 as a recipe reads them."""
    arrays, vectors = _read(recipe.clip_features)
    return _make_sounds(vectors, recipe, name=arrays["filename"], kind=KNOWN, target=arrays["target"], silent=False)


def _read_ood_sounds(recipe):
    """Read sounds outside ESC-50 one by one, because their numbers of frames differ."""
    arrays, vectors = _read(recipe.ood_features)
    parts = np.split(vectors, np.cumsum(arrays["n_frames"])[:-1])  # each (n_frames, size)
    about = [{key: [arrays[key][i]] for key in ("name", "kind", "silent")} for i in range(len(parts))]
    return [_make_sounds(part[np.newaxis], recipe, target=-1, **each) for part, each in zip(parts, about, strict=True)]


def _score_all(model, settings, folds, progress):
    """Return the rows of all sounds and heads, their probabilities (n_rows, 50), and the heads' provenance."""
    from tqdm.auto import tqdm

    recipe = RECIPES[model]
    clips, others = read_clips(recipe), _read_ood_sounds(recipe)
    groups = [np.array([], int), *held_out_groups()]
    made_from = {"trust": model, "sounds": digest_features(recipe), "seed": SEED}
    made_from |= find_experiments()[recipe.experiment].record(settings)
    todo = [(fold, number) for fold in folds for number in range(len(groups))]
    tables, found, origins = [], [], []
    for fold, number in tqdm(todo, desc="heads", unit="head", disable=not progress):
        (split,) = official_splits(load_clips(), folds=[fold])
        train = split.train[~clips.about["target"].iloc[split.train].isin(groups[number]).to_numpy()]
        tested = [clips[split.test], *([] if number else others)]
        key = made_from | {"rows": run_cache.rows_key(Split("", train, split.test)), "with_ood_sounds": number == 0}
        logits, origin = run_cache.cached(key, partial(fit_logits, recipe, train, tested, settings, SEED))
        origins.append(origin)
        judge = partial(judge_sounds, clips[train], groups[number], recipe.pooling, ood.NEIGHBOURS)
        for table, probabilities in map(judge, tested, logits):
            tables.append(table.assign(held_out_group=number, fold=fold))
            found.append(probabilities)
    joined = pd.concat(tables, ignore_index=True)
    return joined[[*FIRST_COLUMNS, *_scores_in(joined)]], np.concatenate(found), origins


def fit_logits(recipe, rows, tested, settings, seed):
    """Train a head, or its surrogate if classes are held out; return the logits (n_sounds, n_vectors, 50) of sounds."""
    targets = load_clips()["target"].to_numpy()[rows]
    if recipe.surrogate_fit and len(np.unique(targets)) < N_CLASSES:
        logits_of = recipe.surrogate_fit(take(recipe.inputs, rows), targets, settings)
    else:
        logits_of = recipe.head(rows, settings=settings, seed=seed).logits
    flat = [sounds.vectors.reshape(-1, sounds.vectors.shape[-1]) for sounds in tested]
    parts = np.split(logits_of(np.concatenate(flat)), np.cumsum([len(part) for part in flat])[:-1])
    return [part.reshape(*sounds.vectors.shape[:2], -1) for part, sounds in zip(parts, tested, strict=True)]


def judge_sounds(reference, held_out, pooling_name, k, sounds, logits):
    """Return the rows and probabilities (n_sounds, 50) of sounds, without the held-out classes."""
    known = np.setdiff1d(np.arange(N_CLASSES), held_out)  # (n_known,)
    frames = softmax(logits[..., known])  # (n_sounds, n_vectors, n_known)
    is_pooled = pooling_name == MAXIMUM_OF_VECTORS
    pooled = frames[:, 0] if is_pooled else POOLINGS[pooling_name](frames, sounds.active)
    similarity = sounds.embeddings @ reference.embeddings.T  # (n_sounds, n_reference)
    labels = np.searchsorted(known, reference.about["target"])
    evidence = ood.Evidence(logits[..., known], sounds.active, pooled, similarity, labels)
    usable = [name for name in SCORES if name not in ood.NEED_AUDIOSET]
    if sounds.scores.shape[1]:
        matrix = audioset_matrix([class_names()[label] for label in known], load_runtime().class_names)
        rule = {"typical_scores": typical_scores(reference.scores)}
        evidence = replace(evidence, audioset=sounds.scores, matrix=matrix, rule=rule)
        usable = [name for name in SCORES if name != "combined"]
    scores = {name: ood.OOD_SCORES[name](evidence, k=k) for name in usable}
    probabilities = np.zeros((len(pooled), N_CLASSES))
    probabilities[:, known] = pooled
    kind = sounds.about["kind"].mask(sounds.about["target"].isin(held_out), HELD_OUT)
    return sounds.about.assign(kind=kind, taken_for=known[pooled.argmax(axis=1)], **scores), probabilities


def _tell_apart(table, score):
    known, passed = table["kind"] == KNOWN, accepted(table, score)
    shares = {"fpr_at_95_tpr": passed[~known].mean(), "tpr": passed[known].mean()}
    return {"auroc": _mean_auroc(table, score), **shares, "n_unknown": int((~known).sum())}


def _mean_auroc(table, score):
    from sklearn.metrics import roc_auc_score

    groups = table.groupby(["held_out_group", "fold"])
    return float(np.mean([roc_auc_score(rows["kind"] == KNOWN, rows[score]) for _, rows in groups]))


def _neighbour_auroc(vectors, targets, split, held_out, k):
    from sklearn.metrics import roc_auc_score

    train = split.train[~np.isin(targets[split.train], held_out)]
    evidence = ood.Evidence(None, None, None, vectors[split.test] @ vectors[train].T, targets[train])
    return roc_auc_score(~np.isin(targets[split.test], held_out), ood.neighbours(evidence, k=k))


def make_rule(sounds, *, who):
    """Return the metadata's rejection rule: the best score, its threshold, and thresholds for other shares.

    `who` names the model that scored clips of held-out classes.
    """
    score, closed = choose_score(sounds), sounds[sounds["held_out_group"] == 0]
    known, shares = closed[closed["kind"] == KNOWN], [percent / 100 for percent in SHARES]
    reached = {name: [round(_threshold(known[name], each), 4) for each in shares] for name in ood.scores_of(score)}
    unknown = sounds[(sounds["held_out_group"] > 0) & ~sounds["silent"]]
    passed = [float(accepted(unknown, score, each)[unknown["kind"] == HELD_OUT].mean()) for each in shares]
    threshold, share_passed = _threshold(known[score], KEPT), passed[SHARES.index(round(100 * KEPT))]
    figures = {"threshold": threshold, "kept": KEPT, "accepted": share_passed, "who": who}
    return {
        "score": score,
        "neighbours": ood.NEIGHBOURS,
        "threshold": round(threshold, 4),
        "kept": KEPT,
        "meaning": ood.describe_rule(score, ood.NEIGHBOURS, **figures),
        "by_share": {"share": shares, "scores": reached, "accepted": [round(p, 4) for p in passed], "who": who},
    }


def _threshold(known, kept):
    """Return the score that a share of the known sounds reach."""
    return float(np.quantile(known, 1 - kept, method="lower"))


def _beside(path, ending):
    return path.with_name(f"{path.stem}_{ending}")


def digest_features(recipe):
    """Return the first digits of the digest of each feature file of a recipe."""
    names = {*find_experiments()[recipe.experiment].features, recipe.clip_features, recipe.ood_features}
    return {name: digest(name)[:12] for name in sorted(names)}
