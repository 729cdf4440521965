"""How well classes of one's own are learnt, after how many labels, and what that costs the others.

Each class of ESC-50 in turn is new: with the group of ten that it is held out with (see `openset`) it is taken out of
what whitening, known clips and odds are made of. Labels are given to training clips of the ten, and the test fold tells
what was learnt. The settings come from trials on fold 1, so folds 2 to 5 are reported.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from esc50.classifier.model_io import DEFAULT_MODEL
from esc50.classifier.own_classes import SETTINGS, Example, fit_class, most_uncertain
from esc50.classifier.pooling import TINY
from esc50.classifier.whitening import STEPS, TEACHING_FILE, KnownClips, Whitening, WhiteningSettings
from esc50.config import FOLDS, N_CLASSES, N_CLIPS, PACKAGED_MODELS, RESULTS_DIR, YamnetSettings, output_path
from esc50.dataset import class_names, load_clips
from esc50.experiments import run_cache, trust_report
from esc50.experiments.results import load_out_of_fold, probabilities, read_csv, write_csv, write_json
from esc50.experiments.shipping import RECIPES
from esc50.experiments.trust_report import held_out_groups

CURVES_FILE, FORMS_FILE, RECORD_FILE = "teaching.csv", "teaching_known.csv", "teaching.json"
LABELS = (1, 5, 10, 20, 50)  # how many sounds are labelled, the query among them
PAGE = 5  # sounds that are labelled before the class is learnt anew
MARGIN, RANDOM = "margin", "random"
TRIED_FOLDS = (1,)
FORM_LABELS = 20  # after which the forms of the known clips are compared
N_RESAMPLES, ENDS, SEED = 1_000, (0.025, 0.975), 0
FIGURES = ["average_precision", "recall", "accuracy_before", "accuracy_after", "positives"]
COLUMNS = ["sampling", "labels", "form", "bytes", *FIGURES]
NUMBERS = {"all layers": slice(None), "embedding": slice(-YamnetSettings.embedding_size, None)}


@dataclass(frozen=True, eq=False)
class Lesson:
    """One class to learn: short vectors of the clips, and which of them are known, to be labelled, and tested."""

    known: KnownClips
    vectors: np.ndarray  # (n_clips, size)
    is_new: np.ndarray  # (n_clips,)
    pool: np.ndarray  # rows that can be labelled
    test: np.ndarray  # rows
    log_probabilities: np.ndarray  # (n_test, n_classes) of the model; of the group's classes nothing
    targets: np.ndarray  # (n_test,)


def read_clips(model=DEFAULT_MODEL):
    """What the head takes of each clip (n_clips, size), and `KnownClips` of them all."""
    recipe, clips = RECIPES[model], load_clips()
    [taken] = trust_report.read_clips(recipe).vectors.swapaxes(0, 1)  # (n_clips, size): one vector a clip
    whitening, found = Whitening.fit(taken), probabilities(load_out_of_fold(recipe.experiment))
    return taken, KnownClips(whitening, whitening(taken), clips["target"].to_numpy(), clips["fold"].to_numpy(), found)


def save_known_clips(*, folder=None):
    """Write what comes with the shipped model to teach it more; gives its path."""
    _, known = read_clips()
    return known.save(Path(folder or str(PACKAGED_MODELS)) / TEACHING_FILE)


def measure(*, folds=tuple(fold for fold in FOLDS if fold not in TRIED_FOLDS), progress=True):
    """Learn every class of every fold; a row for each way to choose labels, how many there are, and what is taken.

    A call that was stopped goes on.
    """
    from tqdm.auto import tqdm

    clips, key = read_clips(), _settings() | {"features": trust_report.digest_features(RECIPES[DEFAULT_MODEL])}
    parts = [(numbers, fold, group) for fold in folds for group in held_out_groups() for numbers in NUMBERS]
    rows = []
    for numbers, fold, group in tqdm(parts, desc="teaching", unit="group", disable=not progress):
        its_key = key | {"numbers": numbers, "fold": fold, "group": group.tolist()}
        found, _ = run_cache.cached(its_key, partial(_learn_group, *clips, numbers, fold, group))
        rows += found
    return pd.DataFrame(rows, columns=["numbers", "fold", "category", *COLUMNS])


def run_teaching(*, folder=None, progress=True):
    """Measure, and write the two tables and what made them; gives the tables."""
    folder, rows = folder or output_path(RESULTS_DIR), measure(progress=progress)
    is_form = rows["form"].notna()
    write_csv(summarise(rows[~is_form], ["numbers", "sampling", "labels"]), folder / CURVES_FILE, float_format="%.4f")
    forms = rows[(rows["labels"] == FORM_LABELS) & (rows["sampling"] == MARGIN) & (rows["numbers"] == "all layers")]
    forms = forms.fillna({"form": "every clip", "bytes": forms["bytes"].max() * 4})
    write_csv(summarise(forms, ["form", "bytes"]), folder / FORMS_FILE, float_format="%.4f")
    about = {"command": "esc50 teaching", "model": DEFAULT_MODEL, "folds": sorted({*rows["fold"].tolist()})}
    write_json(about | _settings() | {"provenance": [run_cache.provenance()]}, folder / RECORD_FILE)
    return load_teaching(folder=folder)


def load_teaching(*, folder=RESULTS_DIR):
    """Both tables: learning curves, and forms of the known clips; see `summarise` for the columns."""
    return tuple(read_csv(Path(folder) / name) for name in (CURVES_FILE, FORMS_FILE))


def summarise(rows, keys):
    """Means over classes and folds, and the 95 % bootstrap interval of the average precision over classes.

    ``average_precision``; ``recall``, the share of the class's test clips that are given it; ``accuracy_before`` and
    ``accuracy_after``, of the other classes' test clips; ``positives``, how many labels were of the class.
    """
    rng, tables = np.random.default_rng(SEED), []
    draws = rng.integers(N_CLASSES, size=(N_RESAMPLES, N_CLASSES))
    for key, part in rows.groupby(keys, sort=False):
        by_class = part.groupby("category")[FIGURES].mean()
        low, high = np.quantile(by_class["average_precision"].to_numpy()[draws % len(by_class)].mean(axis=1), ENDS)
        ends = {"average_precision_low": low, "average_precision_high": high}
        tables.append(dict(zip(keys, key, strict=True)) | by_class.mean().to_dict() | ends)
    return pd.DataFrame(tables)


def _settings():
    return {"learning": asdict(SETTINGS), "whitening": asdict(WhiteningSettings()), "seed": SEED}


def _learn_group(taken, known, numbers, fold, group):
    """Rows of the classes of one group, each learnt in turn."""
    part, names = _without(taken[:, NUMBERS[numbers]], known, fold, group), class_names()
    return [
        {"numbers": numbers, "fold": fold, "category": names[target]} | row
        for target in group
        for row in _learn_class(_lesson(part, known, fold, group, target), target)
    ]


def _without(taken, known, fold, group):
    """Whitening and short vectors made without a test fold and a group of classes."""
    rows = (known.folds != fold) & ~np.isin(known.targets, group)
    whitening = Whitening.fit(taken[rows])
    vectors = whitening(taken)
    return replace(known, whitening=whitening, vectors=vectors[rows], targets=known.targets[rows]), vectors


def _lesson(part, known, fold, group, target):
    kept, vectors = part
    test = np.flatnonzero(known.folds == fold)
    found = known.probabilities[test].copy()
    found[:, group] = 0
    found = np.log(np.maximum(found / found.sum(axis=1, keepdims=True), TINY))
    pool = np.flatnonzero((known.folds != fold) & np.isin(known.targets, group))
    return Lesson(kept, vectors, known.targets == target, pool, test, found, known.targets[test])


def _learn_class(lesson, target):
    for sampling in (MARGIN, RANDOM):
        rng, weights = np.random.default_rng([SEED, int(target)]), None
        labelled = [rng.choice(lesson.pool[lesson.is_new[lesson.pool]])]
        for n in LABELS:
            while len(labelled) < n:
                labelled += _choose(lesson, labelled, sampling, min(PAGE, n - len(labelled)), rng, weights)
                weights = _fit(lesson, labelled, lesson.known.vectors, weights) if sampling == MARGIN else weights
            weights = _fit(lesson, labelled, lesson.known.vectors, weights)
            row = {"sampling": sampling, "labels": n, "positives": int(lesson.is_new[labelled].sum())}
            yield row | _score(lesson, weights, target)
            if n == FORM_LABELS and sampling == MARGIN:
                for (form, n_bytes), vectors in _forms(lesson.known).items():
                    score = _score(lesson, _fit(lesson, labelled, vectors, weights), target)
                    yield row | {"form": form, "bytes": n_bytes} | score


def _choose(lesson, labelled, sampling, n, rng, weights):
    """Rows to label next: at random, or first those most alike the query, then those at the margin."""
    rest = np.setdiff1d(lesson.pool, labelled)
    if sampling == RANDOM:
        return list(rng.choice(rest, n, replace=False))
    if len(labelled) == 1:
        return list(rest[np.argsort(-lesson.vectors[rest] @ lesson.vectors[labelled[0]])[:n]])
    log_odds = lesson.vectors[rest] @ weights[:-1] + weights[-1]
    return list(rest[most_uncertain(log_odds, np.zeros(len(rest), bool), n)])


def _fit(lesson, labelled, known_vectors, start=None):
    examples = [Example("new", bool(lesson.is_new[row]), lesson.vectors[row]) for row in labelled]
    return fit_class("new", examples, known_vectors, start=start)


def _score(lesson, weights, target):
    from sklearn.metrics import average_precision_score

    log_odds, is_new = lesson.vectors[lesson.test] @ weights[:-1] + weights[-1], lesson.targets == target
    best, is_taken = lesson.log_probabilities.argmax(axis=1), log_odds > lesson.log_probabilities.max(axis=1)
    others, right = np.isin(lesson.targets, lesson.known.targets), best == lesson.targets
    return {
        "average_precision": average_precision_score(is_new, log_odds),
        "recall": is_taken[is_new].mean(),
        "accuracy_before": right[others].mean(),
        "accuracy_after": (right & ~is_taken)[others].mean(),
    }


def _forms(known):
    """Smaller forms of the known clips' vectors, by name and bytes for all of ESC-50."""
    size, classes = known.vectors.shape[1], np.unique(known.targets)
    of_class = [known.vectors[known.targets == target] for target in classes]
    return {
        ("every clip, 8-bit", N_CLIPS * size): np.round(known.vectors * STEPS) / STEPS,
        ("eight clips a class", N_CLASSES * 8 * size): np.concatenate([each[:8] for each in of_class]),
        ("the mean of each class", N_CLASSES * size): np.stack([each.mean(axis=0) for each in of_class]),
    }
