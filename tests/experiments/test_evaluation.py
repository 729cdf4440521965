"""Metrics on labelled recordings: by hand, against scikit-learn and for missing data; and the cache of predictions."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, recall_score, roc_auc_score, roc_curve

import esc50
from esc50.classifier.predict import SoundClassifier
from esc50.config import AudioError, LabelsError
from esc50.experiments import evaluation, run_cache
from esc50.reporting.evaluation import format_report

NAMES = ("dog", "cat", "rain", "wind", "frog")


def tables(*rows, **columns):
    """Predictions and probabilities of rows (category, probabilities, is_known, score), or (category, error)."""
    labels = pd.DataFrame({"filename": [f"{i}.wav" for i in range(len(rows))], "category": [row[0] for row in rows]})
    answers = [answer(*row[1:]) if len(row) > 2 else AudioError(row[1]) for row in rows]
    return evaluation._tabulate(labels.assign(**columns), answers, NAMES)


def answer(probabilities, is_known, score, *, is_silent=False):
    found = {"probabilities": np.array(probabilities, np.float32), "is_known": is_known, "ood_score": score}
    return found | {"is_silent": is_silent}


KNOWN = (
    ("dog", (0.8, 0.1, 0.1, 0, 0), True, 0.9),
    ("dog", (0.3, 0.4, 0.2, 0.1, 0), True, 0.5),  # wrong, second
    ("cat", (0, 1, 0, 0, 0), False, 0.3),  # right, refused
    ("rain", (0.4, 0.3, 0.05, 0.15, 0.1), False, 0.1),  # wrong, last
)
NONE = (
    ("none", (0.1, 0, 0.9, 0, 0), True, 0.6),
    ("none", (0, 0, 0, 1, 0), False, 0.2),
)


def figures(report):
    return {name: figure["value"] for name, figure in report["metrics"].items()}


def test_figures_of_a_known_case():
    report = evaluation.measure(*tables(*KNOWN, *NONE, source=["x", "x", "x", "y", "y", ""]))
    assert figures(report) == pytest.approx(
        {
            "accuracy": 2 / 4,
            "top3_accuracy": 3 / 4,
            "macro_recall": (1 / 2 + 1 + 0) / 3,
            "macro_f1": (2 / 4 + 2 / 3 + 0) / 3,  # rain is never taken for another here, dog once
            "ece": (0.2 + 0.4 + 0 + 0.4) / 4,
            "right_refused": 1 / 2,
            "none_accepted": 1 / 2,
            "accepted_right": 1 / 3,
            "auroc": 3 / 4,
            "fpr_at_95_tpr": 1 / 2,
        },
        abs=1e-4,
    )
    counts = {"n_files": 6, "n_known": 4, "n_none": 2, "n_classes": 3, "n_recordings": 6, "n_unreadable": 0}
    assert {key: report[key] for key in counts} == counts
    assert [row["class_name"] for row in report["per_class"]] == ["rain", "dog", "cat", "none"]
    assert report["per_class"][1] == {
        **{"class_name": "dog", "n_files": 2, "accepted": 1, "mistaken_for": "cat", "n_mistaken": 1},
        **{"recall": 0.5, "top3_accuracy": 1, "f1": 0.5},
    }
    assert report["per_class"][3] == {
        **{"class_name": "none", "n_files": 2, "accepted": 0.5, "mistaken_for": "rain", "n_mistaken": 1}
    }
    by_source = {row["source"]: row for row in report["per_source"]}
    assert by_source["x"]["accuracy"] == pytest.approx(2 / 3, abs=1e-4) and by_source["x"]["n_none"] == 0
    assert by_source["y"]["none_accepted"] == 1 and "right_refused" not in by_source["y"]
    assert by_source["(not named)"]["none_accepted"] == 0 and "accuracy" not in by_source["(not named)"]
    assert [row["filename"] for row in report["worst_mistakes"]] == ["4.wav", "1.wav"]
    assert sum(row["clips"] for row in report["reliability"]) == 4


def test_figures_agree_with_scikit_learn(rng):
    n = 300
    category = rng.choice([*NAMES[:4], "none"], n)
    probabilities = rng.dirichlet(np.full(5, 0.4), n)
    score = np.round(rng.normal(size=n) + (category != "none"), 1)  # with many equal scores
    rows = zip(category, probabilities, score > 0, score, strict=True)
    predictions, values = tables(*rows)
    found = figures(evaluation.measure(predictions, values))
    known, told = predictions["category"] != "none", predictions["predicted"]
    truth, labels = predictions["category"][known], list(NAMES[:4])
    assert found["macro_recall"] == pytest.approx(
        recall_score(truth, told[known], labels=labels, average="macro"), abs=1e-4
    )
    assert found["macro_f1"] == pytest.approx(f1_score(truth, told[known], labels=labels, average="macro"), abs=1e-4)
    right = told == predictions["category"]
    counted = right | ~known
    assert found["auroc"] == pytest.approx(roc_auc_score(right[counted], score[counted]), abs=1e-4)
    fpr, tpr, _ = roc_curve(right[counted], score[counted], drop_intermediate=False)
    assert found["fpr_at_95_tpr"] == pytest.approx(fpr[tpr >= 0.95][0], abs=1e-4)


@pytest.mark.parametrize(
    ("rows", "missing"),
    [
        (KNOWN, {"none_accepted", "auroc", "fpr_at_95_tpr"}),
        (
            NONE,
            {"accuracy", "top3_accuracy", "macro_recall", "macro_f1", "ece", "right_refused", "auroc", "fpr_at_95_tpr"},
        ),
        (KNOWN[3:], {"right_refused", "none_accepted", "accepted_right", "auroc", "fpr_at_95_tpr"}),
        ((KNOWN[3], *NONE), {"right_refused", "auroc", "fpr_at_95_tpr"}),
        (NONE[1:], {*evaluation.DEFINITIONS} - {"none_accepted"}),
    ],
)
def test_what_cannot_be_computed_is_left_out(rows, missing):
    report = evaluation.measure(*tables(*rows, ("dog", "damaged")))
    assert {*evaluation.DEFINITIONS} - {*report["metrics"]} == missing
    assert "NaN" not in json.dumps(report, allow_nan=False)
    assert "nan" not in text_of(report)
    assert report["unreadable"] == [{"filename": f"{len(rows)}.wav", "error": "damaged"}]


def text_of(report):
    return format_report(
        {"labels": "l.csv", "model": "plain", "esc50": "1", "gain_decibels": 0.0, "kept": 0.95, **report}
    )


def test_nothing_that_can_be_read_is_an_error():
    with pytest.raises(LabelsError, match="no recording could be read: damaged"):
        evaluation.measure(*tables(("dog", "damaged"), ("cat", "empty")))


def test_silence_is_refused_whatever_its_score():
    predictions, probabilities = tables(*KNOWN, *NONE)
    predictions.loc[4, ["is_silent", "is_known", "ood_score"]] = [True, False, 9.0]
    report = evaluation.measure(predictions, probabilities)
    assert (report["metrics"]["auroc"]["value"], report["n_silent"]) == (1, 1)
    assert "1 of 6 files are silent and therefore rejected" in report["notes"]


def test_intervals_draw_recordings_by_a_seed(rng):
    rows = [(name, np.eye(5)[(i + (rng.random() < 0.4)) % 5], True, 0.0) for i, name in enumerate(NAMES * 20)]
    alone, again = (evaluation.measure(*tables(*rows), n_resamples=200, seed=1) for _ in range(2))
    other = evaluation.measure(*tables(*rows), n_resamples=200, seed=2)
    together = evaluation.measure(*tables(*rows, recording=[str(i // 10) for i in range(100)]), n_resamples=200)
    single = evaluation.measure(*tables(*rows, recording=["x"] * 100), n_resamples=20)
    assert alone == again and alone["metrics"]["macro_f1"] != other["metrics"]["macro_f1"]
    low, value, high = (alone["metrics"]["accuracy"][key] for key in ("low", "value", "high"))
    assert low < value < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(value * (1 - value) / 100), rel=0.25)
    assert (alone["n_recordings"], together["n_recordings"]) == (100, 10)
    assert "100 of 100 files name no recording" in alone["notes"][0] and not together["notes"]
    assert {*single["metrics"]["accuracy"]} == {"value"}


def test_what_an_earlier_evaluation_wrote_is_replaced():
    predictions, _ = tables(*KNOWN, predicted="frog", is_known="maybe", p_dog="1", licence="CC0")
    assert [*predictions] == [
        *("filename", "category", "licence"),
        *("predicted", "probability", "is_known", "ood_score", "is_silent", "error"),
    ]
    assert [*predictions["predicted"]] == ["dog", "cat", "cat", "dog"]


def test_the_text_fits_80_columns_whatever_the_names_are():
    predictions, probabilities = tables(*KNOWN, *NONE, source="a very long name of a source, longer than its column is")
    predictions["filename"] = [f"folder/of/{'many ' * 12}words/{i}\n.wav" for i in range(6)]
    text = text_of(evaluation.measure(predictions, probabilities))
    assert max(map(len, text.splitlines()[1:])) <= 80
    assert text.isascii() and "\n.wav" not in text


class Counting:
    """A classifier that predicts "dog" for every file and records the files."""

    class_names = NAMES
    metadata = {"rejection": {"threshold": 0.5, "kept": 0.95}}  # noqa: RUF012

    def __init__(self):
        self.given, self.stop_at = [], None

    def predict(self, source, *, sample_rate_hz=None):
        if self.stop_at == len(self.given):
            raise KeyboardInterrupt
        name = getattr(source, "name", "an array")
        self.given.append(name)
        if name in ("bad.wav", "missing.wav"):
            raise AudioError(f"{name} is damaged")
        values = np.array([1, 0, 0, 0, 0], np.float32)
        sound = SimpleNamespace(is_silent=False)
        return SimpleNamespace(probabilities=values, ood_score=1.0, reaches_own=False, sound=sound)


@pytest.fixture
def counting(monkeypatch, tmp_path):
    """What `SoundClassifier.load` gives, with a cache of its own."""
    found = Counting()
    monkeypatch.setattr(SoundClassifier, "load", classmethod(lambda *_: found))
    monkeypatch.setattr(run_cache, "CACHE_DIR", tmp_path / "cache")
    return found


@pytest.fixture
def labels(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.wav").write_bytes(bytes([i]))
    lines = [f"{i}.wav,{'dog' if i % 2 else 'none'}" for i in range(5)]
    (folder / "labels.csv").write_text("\n".join(["filename,category", *lines]))
    return folder / "labels.csv"


def test_a_second_call_takes_the_answers_of_the_first(counting, labels):
    first, second = evaluation.evaluate(labels), evaluation.evaluate(labels)
    assert counting.given == [f"{i}.wav" for i in range(5)]
    assert first.report == second.report
    pd.testing.assert_frame_equal(first.probabilities, second.probabilities)
    assert figures(first.report)["accuracy"] == figures(first.report)["none_accepted"] == 1


def test_a_call_that_was_stopped_goes_on(counting, labels):
    counting.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        evaluation.evaluate(labels)
    counting.stop_at = None
    evaluation.evaluate(labels)
    assert counting.given == [f"{i}.wav" for i in range(5)]


def test_a_file_is_known_by_its_content(counting, labels):
    evaluation.evaluate(labels)
    (labels.parent / "0.wav").write_bytes(b"changed")
    (labels.parent / "1.wav").replace(labels.parent / "renamed.wav")
    labels.write_text(labels.read_text().replace("1.wav", "renamed.wav"))
    evaluation.evaluate(labels)
    assert counting.given[5:] == ["0.wav"]


@pytest.mark.parametrize("options", [{"resume": False}, {"gain_decibels": -20.0}, {"model": "plain"}])
def test_other_answers_are_asked_for_anew(counting, labels, options, monkeypatch):
    sound = SimpleNamespace(waveform=np.zeros(9, np.float32), sample_rate_hz=16_000)
    monkeypatch.setattr(evaluation, "load_sound", lambda _: sound)
    evaluation.evaluate(labels)
    evaluation.evaluate(labels, **options)
    assert len(counting.given) == 10


def test_answers_of_other_code_are_asked_for_anew(counting, labels, monkeypatch, tmp_path):
    (tmp_path / "esc50" / "audio").mkdir(parents=True)
    monkeypatch.setattr(esc50, "__file__", str(tmp_path / "esc50" / "__init__.py"))
    for code, n_given in (("one", 5), ("two", 10), ("one", 10)):
        (tmp_path / "esc50" / "audio" / "decode.py").write_text(code)
        evaluation.evaluate(labels)
        assert len(counting.given) == n_given


def test_a_bad_file_does_not_stop_the_rest(counting, labels):
    (labels.parent / "bad.wav").write_bytes(b"x")
    labels.write_text(f"{labels.read_text()}\nbad.wav,dog\nmissing.wav,dog\n")
    found = evaluation.evaluate(labels)
    assert found.report["unreadable"] == [
        {"filename": name, "error": f"{name} is damaged"} for name in ("bad.wav", "missing.wav")
    ]
    assert (found.report["n_files"], found.report["n_unreadable"]) == (5, 2)
    bad = found.predictions.iloc[5]
    assert (bad["error"], bad["predicted"]) == ("bad.wav is damaged", "")
    assert figures(found.report)["accuracy"] == 1


def test_a_missing_cache_is_noted(counting, labels, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(run_cache, "CACHE_DIR", tmp_path / "file" / "cache")
    [note, *_] = evaluation.evaluate(labels).report["notes"]
    assert note.startswith("predictions are not cached: the folder ") and note.count("\n") == 0


def test_outside_a_checkout_answers_are_kept_for_the_user(counting, labels, monkeypatch, tmp_path):
    monkeypatch.setattr(evaluation, "META_DIR", tmp_path / "nothing")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    evaluation.evaluate(labels)
    assert [*(tmp_path / "user" / "esc50").rglob("output.pkl")]
    assert not (tmp_path / "cache").exists()


def test_a_loaded_classifier_is_used_without_a_cache(counting, labels, tmp_path):
    mine = Counting()
    found = evaluation.evaluate(labels, model=mine)
    assert (len(mine.given), counting.given, found.report["model"]) == (5, [], "given")
    assert not (tmp_path / "cache").exists()
