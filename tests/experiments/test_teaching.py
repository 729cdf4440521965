import numpy as np
import pandas as pd
import pytest

from esc50.classifier.whitening import KnownClips
from esc50.experiments import teaching
from esc50.experiments.teaching import COLUMNS, LABELS, MARGIN, RANDOM, Lesson

N_OLD, N_NEW = 200, 60


@pytest.fixture(scope="module")
def lesson():
    """Known classes 0 and 1, and to be labelled 2 and 3; the classes lie on axes of their own."""
    rng = np.random.default_rng(0)
    targets = np.concatenate([np.arange(N_OLD) % 2, 2 + np.arange(N_NEW) % 2, np.arange(40) % 4])
    vectors = (np.eye(4)[targets] + rng.normal(0, 0.2, (len(targets), 4))).astype(np.float32)
    known = KnownClips(None, vectors[:N_OLD], targets[:N_OLD], np.arange(N_OLD) % 5, None)
    pool, test = np.arange(N_OLD, N_OLD + N_NEW), np.arange(N_OLD + N_NEW, len(targets))
    log_probabilities = np.log(0.9 * np.eye(4)[targets[test] % 2] + 0.01)
    return Lesson(known, vectors, targets == 2, pool, test, log_probabilities, targets[test])


@pytest.fixture(scope="module")
def rows(lesson):
    return pd.DataFrame(teaching._learn_class(lesson, 2), columns=COLUMNS)


def test_each_way_to_choose_gets_as_many_labels_and_learns(rows):
    every = rows[rows["form"].isna()]
    assert every.groupby("sampling")["labels"].apply(list).to_dict() == {MARGIN: [*LABELS], RANDOM: [*LABELS]}
    assert every["positives"].between(1, every["labels"]).all()
    assert every.groupby("labels")["average_precision"].min().loc[20] > 0.95
    assert every["accuracy_before"].eq(1).all()


def test_the_first_page_is_alike_the_later_ones_are_uncertain_and_none_is_asked_twice(lesson):
    rng, query = np.random.default_rng(0), lesson.pool[0]
    labelled = [query]
    for _ in range(4):
        weights = teaching._fit(lesson, labelled, lesson.known.vectors)
        page = teaching._choose(lesson, labelled, MARGIN, 5, rng, weights)
        assert not {*page} & {*labelled} and {*page} <= {*lesson.pool}
        labelled += page
    alike = lesson.vectors[lesson.pool[1:]] @ lesson.vectors[query]
    assert labelled[1:6] == list(lesson.pool[1:][np.argsort(-alike)[:5]])


def test_smaller_forms_of_the_known_clips_are_compared(rows, lesson):
    forms = rows.dropna(subset=["form"])
    assert forms["labels"].eq(teaching.FORM_LABELS).all() and len(forms) == 3
    assert {name: len(each) for (name, _), each in teaching._forms(lesson.known).items()} == {
        "every clip, 8-bit": N_OLD,
        "eight clips a class": 16,
        "the mean of each class": 2,
    }


def test_the_summary_has_means_over_classes_and_an_interval():
    figures = {"recall": 0.5, "accuracy_before": 0.9, "accuracy_after": 0.8, "positives": 3}
    values = [(name, value) for name, both in {"dog": (0.2, 0.4), "cat": (0.9, 0.9)}.items() for value in both]
    table = pd.DataFrame([{"labels": 5, "category": c, "average_precision": v} | figures for c, v in values])
    [row] = teaching.summarise(table, ["labels"]).to_dict("records")
    assert row["average_precision"] == pytest.approx(0.6)
    assert 0.3 <= row["average_precision_low"] < 0.6 < row["average_precision_high"] <= 0.9
