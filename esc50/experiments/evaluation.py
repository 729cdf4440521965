"""Evaluate the classifier on labelled recordings, for ``esc50 evaluate``."""

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

import esc50
from esc50.audio.sound import load_sound
from esc50.classifier.model_io import DEFAULT_MODEL
from esc50.classifier.predict import SoundClassifier
from esc50.config import META_DIR, AudioError, LabelsError
from esc50.experiments import metrics, run_cache
from esc50.experiments.labels import NONE, read_labels

N_RESAMPLES = 1000
LEVEL = 0.95  # of the intervals
N_WORST = 10
PROBABILITY = "p_"  # prefix of a class's probability column
ALONE = "a recording of its own: "
RUNTIME = ("config.py", "audio", "classifier", "models", "yamnet")  # parts of the package that determine a prediction
PACKAGES = ("av", "numpy", "onnxruntime", "soundfile", "soxr")
DEFINITIONS = {
    "accuracy": "share of the files of a class whose most probable class is correct, accepted or not",
    "top3_accuracy": "share of the files of a class whose class is among the three most probable",
    "macro_recall": "mean recall over the classes present",
    "macro_f1": "mean F1 over the classes present, on the files of a class",
    "ece": f"expected calibration error on the files of a class, {metrics.RELIABILITY_BINS} bins; no interval",
    "right_refused": 'share of the correct predictions that are rejected as "none of these"',
    "none_accepted": "share of the files of no class that are accepted as some class",
    "accepted_right": "share of the accepted predictions, for files of every kind, that are correct",
    "auroc": "area under the ROC curve of the rejection score: correct predictions against files of no class",
    "fpr_at_95_tpr": "share of the files of no class at or above the score that 95 % of the correct predictions reach",
}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Result of an evaluation on labelled recordings.

    Attributes
    ----------
    predictions : pandas.DataFrame
        One row per file: the columns of the labels, then ``predicted``, ``probability``, ``is_known``, ``ood_score``,
        ``is_silent`` and ``error``, the reason why a file could not be read.
    probabilities : pandas.DataFrame
        One column per class, for the same rows; NaN for files that could not be read.
    report : dict
        Metrics in plain types, as written by ``esc50 evaluate --format json``; metrics that are undefined are left out.
    """

    predictions: pd.DataFrame
    probabilities: pd.DataFrame
    report: dict


def evaluate(
    labels,
    *,
    model=None,
    keep=None,
    classes=None,
    audio=None,
    gain_decibels=0.0,
    resume=True,
    progress=False,
    seed=0,
) -> Evaluation:
    """Evaluate the classifier on labelled recordings.

    Parameters
    ----------
    labels : path-like
        A CSV file with the columns ``filename`` and ``category`` (a class or "none"), optionally ``source`` and
        ``recording``; other columns are kept. Or a folder with one subfolder of recordings per class.
    model : str, path-like or SoundClassifier, optional
        As for `SoundClassifier.load`, or a loaded classifier, whose predictions are not cached.
    keep : float, optional
        Share of known sounds to keep: see `SoundClassifier.load`. Cached predictions serve any share.
    classes : path-like, optional
        User-defined classes, added to those of the model: see `SoundClassifier.load`.
    audio : path-like, optional
        Folder that file names are relative to; by default that of the CSV file.
    gain_decibels : float
        Gain applied to each recording before classification; the result is clipped at full scale.
    resume : bool
        Use and extend the cache of predictions, by content of the file, model and code.
    progress : bool
        Show a progress bar on stderr.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Evaluation
        Predictions, and a report with metrics, their definitions and 95 % percentile bootstrap intervals over
        recordings.

    Raises
    ------
    LabelsError
        If the labels are invalid, or no recording can be read.
    ResultsError
        If there is no such model, or it cannot keep that share.
    TeachingError
        If the file of classes is missing or damaged, or was made for another model.
    """
    is_loaded = hasattr(model, "predict")
    classifier = model if is_loaded else SoundClassifier.load(model)
    classifier = classifier if keep is None else classifier.keeping(keep)
    classifier = classifier if classes is None else classifier.with_classes(classes)
    found = read_labels(labels, classifier.class_names, audio=audio)
    folder, notes = _cache_folder() if resume and not is_loaded else (None, [])
    made_by = {"answers": _runtime_digest(model, classes), "gain": gain_decibels} if folder else None
    answers = _answer_all(classifier, found.paths, gain_decibels, folder, made_by, progress)
    rule = classifier.metadata["rejection"]
    judged = [_judge(each, rule["threshold"]) for each in answers]
    predictions, probabilities = _tabulate(found.table, judged, classifier.class_names)
    about = {
        "labels": os.fspath(labels),
        "model": "given" if is_loaded else os.fspath(model or DEFAULT_MODEL),
        "esc50": esc50.__version__,
        "gain_decibels": gain_decibels,
        "rejection_threshold": rule["threshold"],
        "kept": rule["kept"],
    }
    report = about | measure(predictions, probabilities, seed=seed)
    return Evaluation(predictions, probabilities, report | {"notes": [*found.notes, *notes, *report["notes"]]})


def measure(predictions, probabilities, *, seed=0, n_resamples=N_RESAMPLES):
    """Compute the report for the tables of an `Evaluation`.

    Parameters
    ----------
    predictions, probabilities : pandas.DataFrame
        As in `Evaluation`.
    seed, n_resamples : int
        Of the bootstrap.

    Returns
    -------
    dict
        As in `Evaluation`.

    Raises
    ------
    LabelsError
        If no recording could be read.
    """
    is_read = predictions["error"] == ""
    if not is_read.any():
        raise LabelsError(f"no recording could be read: {predictions['error'].iloc[0]}")
    names = list(probabilities)
    answers = _compare(predictions[is_read], probabilities[is_read])
    known = answers[answers["target"] >= 0]
    reliability = metrics.reliability_table(known["right"], known["probability"]) if len(known) else pd.DataFrame()
    sources = dict(iter(answers.groupby("source")))
    unreadable = predictions.loc[~is_read, ["filename", "error"]]
    return {
        "n_files": len(answers),
        "n_known": len(known),
        "n_none": len(answers) - len(known),
        "n_classes": known["target"].nunique(),
        "n_recordings": answers["group"].nunique(),
        "n_silent": int(answers["silent"].sum()),
        "n_unreadable": len(unreadable),
        "metrics": _with_intervals(answers, seed, n_resamples),
        "definitions": DEFINITIONS,
        "bootstrap": {"resamples": n_resamples, "level": LEVEL, "seed": seed},
        "per_class": _plain(_describe_classes(answers, names)),
        "per_source": _plain(
            {"source": name or "(not named)", **_describe_source(rows)}
            for name, rows in sources.items()
            if {*sources} != {""}
        ),
        "reliability": _plain(reliability.to_dict("records")),
        "worst_mistakes": _plain(_worst_mistakes(predictions[is_read]).to_dict("records")),
        "unreadable": unreadable.to_dict("records"),
        "notes": [*_notes(answers)],
    }


def _runtime_digest(model, classes):
    """Return a digest of all that determines a prediction apart from the file: code, models and packages."""
    package, own = Path(esc50.__file__).parent, Path(os.fspath(model or DEFAULT_MODEL))
    files = [path for part in RUNTIME for path in (package / part, *sorted((package / part).rglob("*")))]
    files += [own, own.with_suffix(".json"), *map(Path, [classes] if classes else [])]
    digest = hashlib.sha256(f"{own} {[version(name) for name in PACKAGES]}".encode())
    for path in files:
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _cache_folder():
    """Return the folder of cached predictions, or None and a note that says why."""
    folder = run_cache.CACHE_DIR
    if not META_DIR.exists():
        import pooch

        folder = Path(pooch.os_cache("esc50"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return None, [f"predictions are not cached: the folder {folder} cannot be created ({error.strerror})"]
    return folder, []


def _answer_all(classifier, paths, gain_decibels, folder, made_by, progress):
    """Return a dict of predictions for each file, or an `AudioError`."""
    from tqdm.auto import tqdm

    found = []
    for path in tqdm(paths, desc="evaluating", unit="file", disable=not progress):
        answer = partial(_answer, classifier, path, gain_decibels)
        content = made_by and _file_digest(path)
        key = {**(made_by or {}), "file": content, "suffix": path.suffix}
        try:
            found.append(run_cache.kept(key, answer, folder=folder) if content else answer())
        except AudioError as error:
            found.append(error)
    return found


def _file_digest(path):
    """Return a digest of a file's content, or None if it cannot be opened."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def _answer(classifier, path, gain_decibels):
    source = {"source": path}
    if gain_decibels:
        sound = load_sound(path)
        louder = np.clip(10 ** (gain_decibels / 20) * sound.waveform, -1, 1).astype(np.float32)
        source = {"source": louder, "sample_rate_hz": sound.sample_rate_hz}
    prediction = classifier.predict(**source)
    return {
        "probabilities": prediction.probabilities,
        "ood_score": float(prediction.ood_score),
        "reaches_own": prediction.reaches_own,
        "is_silent": prediction.sound.is_silent,
    }


def _judge(answer, threshold):
    """Return an answer with ``is_known``, by the classifier's rule."""
    if isinstance(answer, AudioError):
        return answer
    is_accepted = answer["ood_score"] >= threshold or answer["reaches_own"]
    return answer | {"is_known": is_accepted and not answer["is_silent"]}


def _tabulate(table, answers, class_names):
    """Return the labels joined with the predictions, and the probabilities (n_files, n_classes)."""
    nothing = np.full(len(class_names), np.nan)
    values = np.stack([nothing if isinstance(each, AudioError) else each["probabilities"] for each in answers])
    columns = [_columns_of(each, class_names) for each in answers]
    predicted = pd.DataFrame(columns, index=table.index).astype({"is_known": "boolean", "is_silent": "boolean"})
    earlier = [*predicted, *(f"{PROBABILITY}{name}" for name in class_names)]
    kept = table.drop(columns=earlier, errors="ignore")
    return kept.join(predicted), pd.DataFrame(values, columns=class_names, index=table.index)


def _columns_of(answer, class_names):
    if isinstance(answer, AudioError):
        empty = {"predicted": "", "probability": np.nan, "is_known": None, "ood_score": np.nan, "is_silent": None}
        return {**empty, "error": str(answer)}
    best = int(answer["probabilities"].argmax())
    found = {"predicted": class_names[best], "probability": float(answer["probabilities"][best])}
    return found | {key: answer[key] for key in ("is_known", "ood_score", "is_silent")} | {"error": ""}


def _compare(predictions, probabilities):
    """Return a table to compute metrics from; a target of -1 means no class."""
    names, values = pd.Index(probabilities.columns), probabilities.to_numpy()
    target = names.get_indexer(predictions["category"])  # (n_files,)
    own = np.where(target < 0, np.nan, values[np.arange(len(target)), target])
    silent, score = predictions["is_silent"].astype(bool), predictions["ood_score"]
    return pd.DataFrame(
        {
            "target": target,
            "predicted": values.argmax(axis=1),
            "right": values.argmax(axis=1) == target,
            "in_top3": (values > own[:, np.newaxis]).sum(axis=1) < 3,
            "probability": predictions["probability"],
            "accepted": predictions["is_known"].astype(bool),
            "score": score.mask(silent, score.min() - 1),  # silence is always rejected
            "silent": silent,
            "source": predictions["source"].str.strip() if "source" in predictions else "",
            "group": _groups(predictions),
        }
    )


def _groups(predictions):
    """Return the recording of each file; a file without one is a recording by itself."""
    recording = predictions.get("recording", pd.Series("", index=predictions.index)).str.strip()
    return recording.mask(recording == "", ALONE + predictions["filename"])


def compute_metrics(answers, weights):
    """Compute every metric but the calibration error, with integer weights of files; undefined ones are left out.

    Parameters
    ----------
    answers : pandas.DataFrame
        Columns ``target`` (-1 for no class), ``predicted``, ``right``, ``in_top3``, ``accepted`` and ``score``.
    weights : np.ndarray, shape (n_files,)
        How often each file counts.

    Returns
    -------
    dict of str to float
        Some of `DEFINITIONS`.
    """
    target, predicted, right, accepted = (
        answers[key].to_numpy() for key in ("target", "predicted", "right", "accepted")
    )
    known, found = target >= 0, {}
    if weights[known].any():
        found |= _classification(target[known], predicted[known], weights[known], answers["in_top3"].to_numpy()[known])
    shares = {
        "right_refused": (right, ~accepted),
        "none_accepted": (~known, accepted),
        "accepted_right": (accepted, right),
    }
    for name, (of, hit) in shares.items():
        if weights[of].any():
            found[name] = np.average(hit[of], weights=weights[of])
    if weights[right].any() and weights[~known].any():
        found |= metrics.separation(
            right[right | ~known], answers["score"].to_numpy()[right | ~known], weights[right | ~known]
        )
    return found


def _classification(target, predicted, weights, in_top3):
    n_classes = max(target.max(), predicted.max()) + 1
    hit, true, said = metrics.count_by_class(target, predicted, weights, n_classes=n_classes)
    present = true > 0
    return {
        "accuracy": hit.sum() / true.sum(),
        "top3_accuracy": np.average(in_top3, weights=weights),
        "macro_recall": (hit / true.clip(1))[present].mean(),
        "macro_f1": (2 * hit / (true + said).clip(1))[present].mean(),
    }


def _with_intervals(answers, seed, n_resamples):
    """Return each metric's value and, if it varies under resampling, the ends of its interval."""
    group, names = pd.factorize(answers["group"])  # (n_files,)
    values, known = compute_metrics(answers, np.ones(len(answers))), answers["target"] >= 0
    if known.any():
        values["ece"] = metrics.expected_calibration_error(answers["right"][known], answers["probability"][known])
    rng, draws = np.random.default_rng(seed), []
    for _ in range(n_resamples):
        times = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        draws.append(compute_metrics(answers, times[group]))
    ends = pd.DataFrame(draws).quantile([(1 - LEVEL) / 2, (1 + LEVEL) / 2])  # (2, n_metrics)
    found = {}
    for name in (name for name in DEFINITIONS if name in values):
        low, high = ends.get(name, (0, 0))  # none for the calibration error, which resampling inflates
        interval = {"low": low, "high": high} if low < high else {}
        [found[name]] = _plain([{"value": values[name], **interval}])
    return found


def _describe_classes(answers, names):
    """Return metrics of each class present, the lowest recall first, and finally of files of no class."""
    known = answers[answers["target"] >= 0]
    hit, true, said = metrics.count_by_class(
        known["target"], known["predicted"], np.ones(len(known)), n_classes=len(names)
    )
    rows = []
    for label, files in known.groupby("target"):
        f1 = 2 * hit[label] / (true[label] + said[label])
        shares = {"recall": files["right"].mean(), "top3_accuracy": files["in_top3"].mean(), "f1": f1}
        rows.append(_describe_files(names[label], files, ~files["right"], names) | shares)
    rows.sort(key=lambda row: (row["recall"], -row["n_files"]))
    none = answers[answers["target"] < 0]
    return [*rows, _describe_files(NONE, none, none["accepted"], names)] if len(none) else rows


def _describe_files(name, files, wrong, names):
    mistaken = files.loc[wrong, "predicted"].value_counts()
    worst = {"mistaken_for": names[mistaken.index[0]], "n_mistaken": int(mistaken.iloc[0])} if len(mistaken) else {}
    return {"class_name": name, "n_files": len(files), "accepted": files["accepted"].mean(), **worst}


def _describe_source(answers):
    n_known = int((answers["target"] >= 0).sum())
    counts = {"n_known": n_known, "n_none": len(answers) - n_known}
    return counts | compute_metrics(answers, np.ones(len(answers)))


def _worst_mistakes(predictions):
    """Return the accepted wrong predictions, the most confident first."""
    wrong = predictions[(predictions["predicted"] != predictions["category"]) & predictions["is_known"]]
    worst = wrong.sort_values("probability", ascending=False, kind="stable").head(N_WORST)
    return worst[["filename", "category", "predicted", "probability"]]


def _notes(answers):
    if n_alone := int((answers["group"].str.startswith(ALONE)).sum()):
        yield f"{n_alone} of {len(answers)} files name no recording and count as independent: intervals are too narrow"
    if n_silent := int(answers["silent"].sum()):
        yield f"{n_silent} of {len(answers)} files are silent and therefore rejected"


def _plain(rows):
    """Return dicts of JSON types without missing values."""
    return [{key: _round(value) for key, value in row.items() if not pd.isna(value)} for row in rows]


def _round(value):
    return round(float(value), 4) if isinstance(value, float) else value
