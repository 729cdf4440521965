import numpy as np
import pytest
from sklearn.metrics import classification_report

from esc50 import model_card, open_set, results, saved
from esc50.dataset import class_names
from esc50.errors import ResultsError


@pytest.fixture(scope="module")
def text():
    return model_card.model_card()


@pytest.fixture(scope="module")
def table():
    return results.load_out_of_fold(model_card.MODEL)


def test_the_committed_card_says_what_the_results_say(text):
    committed = model_card.MODEL_CARD.read_text(encoding="utf-8")
    assert committed == text, "MODEL_CARD.md is out of date: run `make readme`"


def test_the_card_is_written_once(tmp_path, text, monkeypatch):
    monkeypatch.setattr(model_card, "model_card", lambda *, folder: text)
    path = tmp_path / "MODEL_CARD.md"
    assert model_card.update_model_card(path=path)
    assert not model_card.update_model_card(path=path)
    assert path.read_text(encoding="utf-8") == text


def test_the_headline_agrees_with_the_results_and_with_the_saved_head(text):
    summary = results.summarise([model_card.MODEL]).loc[model_card.MODEL]
    saved_figures = saved.load_card()["cross_validated"]
    for name, title in model_card.SCORES.items():
        value, low, high = (100 * summary[f"{name}{end}"] for end in ("", "_low", "_high"))
        assert f"| {title} | {value:.1f} % | {low:.1f} to {high:.1f} |" in text
        assert saved_figures[name] == pytest.approx(summary[name], abs=1e-4)
    assert f"{100 * summary['run_accuracy']:.1f} ± {100 * summary['run_accuracy_sd']:.1f} %" in text


def test_the_classes_agree_with_scikit_learn(table):
    figures = model_card.class_figures(table)
    predicted = results.probabilities(table).argmax(axis=1)
    expected = classification_report(table["target"], predicted, target_names=class_names(), output_dict=True)
    assert list(figures.index) == list(class_names())
    for name, row in figures.iterrows():
        theirs = [expected[name][key] for key in ("precision", "recall", "f1-score", "support")]
        np.testing.assert_allclose(row[["precision", "recall", "f1", "clips"]].astype(float), theirs)
    assert figures["f1"].mean() == pytest.approx(expected["macro avg"]["f1-score"])


def test_what_a_class_is_taken_for_is_counted_clip_by_clip(table):
    figures, names = model_card.class_figures(table), np.array(class_names())
    guesses = names[results.probabilities(table).argmax(axis=1)]
    for name, row in figures.iterrows():
        wrong = [guess for guess in guesses[names[table["target"]] == name] if guess != name]
        assert row["taken_clips"] == max(map(wrong.count, wrong), default=0)
        assert set(row["taken_for"]) == {guess for guess in wrong if wrong.count(guess) == row["taken_clips"]}


def test_the_table_has_a_row_for_each_class(text):
    rows = [line for line in text.splitlines() if line.count("|") == 7]
    assert len(rows) == 2 + len(class_names())


def test_a_class_that_is_never_mistaken_has_no_rival(table):
    right = table.copy()
    right[results.PROBABILITY_COLUMNS] = np.eye(len(class_names()))[right["target"]]
    figures = model_card.class_figures(right)
    assert (figures[["precision", "recall", "f1"]] == 1).all(axis=None)
    assert not figures["taken_for"].str.len().any() and not figures["taken_clips"].any()


def test_the_parameters_are_those_of_the_head():
    card = saved.load_card()
    head = saved.load_head(saved.CLASSIFIER_FILE, card)
    assert model_card.head_parameters(card) == sum(np.prod(weight.shape) for weight in head.trainable_weights)


def test_the_rule_that_the_card_explains_is_the_measured_one(text):
    trust, card = open_set.load_trust(), saved.load_card()
    assert trust.card["rejection"] == card["rejection"] and trust.card["temperature"] == card["temperature"]
    assert card["rejection"]["meaning"] in text and f"**Temperature** {card['temperature']}" in text


def test_the_licences_are_stated(text):
    for licence in ("CC BY-NC 3.0", "Apache-2.0", "MIT License", "non-commercial"):
        assert licence in text


def test_a_missing_head_is_named(tmp_path):
    with pytest.raises(ResultsError, match=r"none\.keras"):
        model_card.model_card(path=tmp_path / "none.keras")
