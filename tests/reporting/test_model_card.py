import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import classification_report

from esc50.classifier.describe import class_label
from esc50.classifier.model_io import DEFAULT_MODEL, load_model
from esc50.config import FOLDS, RESULTS_DIR
from esc50.dataset.clips import class_names
from esc50.experiments import label_audit, nested_cv, results, trust_report
from esc50.experiments.keras_heads import keras_file, load_keras_model
from esc50.experiments.kernel_ridge import KernelRidgeSettings
from esc50.experiments.shipping import RECIPES
from esc50.reporting import model_card
from esc50.reporting.tables import percent


@pytest.fixture(scope="module")
def cards():
    return {name: model_card.model_card(model=name) for name in RECIPES}


@pytest.fixture(scope="module")
def table():
    return results.load_out_of_fold(RECIPES["plain"].experiment)


@pytest.mark.results
def test_the_committed_card_says_what_the_results_say(cards):
    committed = model_card.MODEL_CARD.read_text(encoding="utf-8")
    assert committed == cards[DEFAULT_MODEL], "MODEL_CARD.md is out of date: run `make readme`"


def test_the_card_is_written_once(tmp_path, cards, monkeypatch):
    monkeypatch.setattr(model_card, "model_card", lambda *, folder: cards["plain"])
    path = tmp_path / "MODEL_CARD.md"
    assert model_card.update_model_card(path=path)
    assert not model_card.update_model_card(path=path)
    assert path.read_text(encoding="utf-8") == cards["plain"]


@pytest.mark.parametrize("model", RECIPES)
def test_the_headline_agrees_with_the_results_and_with_the_shipped_head(model, cards):
    summary = results.summarise([RECIPES[model].experiment]).iloc[0]
    shipped = load_model(model)[1]["cross_validated"]
    for metric, title in {"accuracy": "accuracy", "top3_accuracy": "top-3 accuracy", "macro_f1": "macro-F1"}.items():
        value, low, high = (summary[f"{metric}{end}"] for end in ("", "_low", "_high"))
        if metric == "macro_f1":
            assert f"| {title}, pooled | {value:.3f} | {low:.3f} to {high:.3f} |" in cards[model]
        else:
            assert f"| {title} | {percent(value)} % | {percent(low, high)} |" in cards[model]
        assert shipped[metric] == pytest.approx(summary[metric], abs=1e-4)
    assert f"{percent(summary['run_accuracy'])} ± {percent(summary['run_accuracy_sd'])} %" in cards[model]


@pytest.mark.results
def test_each_head_is_described_as_it_is_made(cards):
    for fact in ("5984 values per frame", "logarithm, standardised", "Dense 256, ReLU → Dense 128, ReLU → 50 softmax"):
        assert fact in cards["multilayer"] and (fact in cards["plain"]) == fact.startswith("Dense")
    assert "| training | 120 epochs" in cards["multilayer"] and "2 degraded copies of each" in cards["multilayer"]
    assert "1024 values per frame" in cards["plain"] and "geometric mean over the active frames" in cards["plain"]


@pytest.mark.parametrize("model", RECIPES)
def test_nothing_of_the_template_is_left_over(model, cards):
    assert not [line for line in cards[model].splitlines() if "{" in line or "}" in line]
    blocks = cards[model].split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert all(len({line.count("|") for line in lines}) == 1 for lines in tables)
    assert max(map(len, tables)) == 2 + len(class_names())


@pytest.fixture
def made_up(tmp_path):
    """For three folds the shipped teacher is the best kernel, for four the distilled head the best network."""
    shutil.copytree(RESULTS_DIR, tmp_path, dirs_exist_ok=True)
    teacher = nested_cv.kernel_ridge_label("kernel_ridge", KernelRidgeSettings())
    other = nested_cv.kernel_ridge_label("kernel_ridge", KernelRidgeSettings(0.2))
    at_speeds = nested_cv.kernel_ridge_label("kernel_ridge_speeds", KernelRidgeSettings())  # not what the head learns
    kernels = [validated("kernel_ridge", teacher, 0.5), validated("kernel_ridge", other, 0.4, 0.6, up_to=3)]
    kernels += [validated("kernel_ridge", at_speeds, 0.9)]
    kernels += [validated("distilled", name, 0.5, candidate="distilled") for name in ("distilled", "distilled_speeds")]
    pd.concat(kernels).to_csv(nested_cv.path_of("kernel_ridge", tmp_path), index=False)
    validated("layers", "multilayer_14", 0.4, 0.6, up_to=4).to_csv(nested_cv.path_of("layers", tmp_path), index=False)
    validated("pooled_head", "pooled_head", 0.3).to_csv(nested_cv.path_of("pooled_head", tmp_path), index=False)
    return tmp_path


def validated(experiment, model, accuracy, later=None, *, up_to=5, candidate=None):
    place = {"experiment": experiment, "candidate": candidate or model, "model": model}
    rows = [{"test_fold": k, "validation_fold": 1, "accuracy": accuracy if k <= up_to else later} for k in FOLDS]
    return pd.DataFrame([place | row for row in rows])


def test_the_card_says_for_how_many_folds_what_is_shipped_would_have_been_chosen(made_up):
    text = " ".join(model_card.model_card(folder=made_up).split())
    assert "the kernel setting gamma 0.35, ridge 0.02." in text
    assert "this setting was the best of 2 for 3 of the 5 folds, and within 10.0 points of the best for all" in text
    assert "small head distilled from kernel ridge regression (4 of 5 folds); all 14 layers (1 of 5 folds)." in text


@pytest.mark.results
def test_the_card_says_how_many_clips_have_a_twin_in_another_fold(made_up):
    text = " ".join(model_card.model_card().split())
    assert "some clips in different folds seem to come from one recording too (4 pairs, " in text
    audit = label_audit.load()
    wrong = results.load_out_of_fold("robust")
    wrong = wrong[results.probabilities(wrong).argmax(axis=1) != wrong["target"]]
    pair = wrong["filename"].iloc[[0, 1]].tolist()
    audit = audit[audit["duplicate_of"] == ""].head(2).assign(filename=pair, duplicate_of=pair[::-1])
    label_audit.save(audit, folder=made_up)
    n_right = 2000 - len(wrong)
    without, with_all = percent(n_right / 1998), percent(n_right / 2000)
    text = " ".join(model_card.model_card(folder=made_up).split())
    assert "too (1 pair" in text and f"the accuracy is {without} %, {with_all} % with them." in text


def test_the_card_of_the_default_model_has_the_commands_that_make_it(cards):
    for command in ("train robust ", "trust ", "ship ", "export ", "readme "):
        assert f"\nesc50 {command}" in cards[DEFAULT_MODEL]


def test_the_card_of_the_default_model_has_a_section_on_the_plain_one(cards):
    _, other = cards[DEFAULT_MODEL].split("## The other model: plain")
    section, _ = other.split("## How to reproduce it")
    plain = cards["plain"]
    headline = plain[plain.index("| accuracy |") : plain.index("A single head, like")].strip()
    assert headline in section and f"{load_model('plain')[1]['temperature']}" in section
    for name in ("predict", "app", "trust", "ship"):
        assert f"esc50 {name} --model plain" in section
    assert "## The other model" not in plain


def test_the_classes_agree_with_scikit_learn(table):
    figures = model_card.class_figures(table).set_index("name")
    predicted = results.probabilities(table).argmax(axis=1)
    expected = classification_report(table["target"], predicted, target_names=class_names(), output_dict=True)
    assert set(figures.index) == set(class_names()) and figures["f1"].is_monotonic_increasing
    for name, row in figures.iterrows():
        theirs = [expected[name][key] for key in ("precision", "recall", "f1-score", "support")]
        np.testing.assert_allclose(row[["precision", "recall", "f1", "clips"]].astype(float), theirs)


def test_what_a_class_is_taken_for_is_counted_clip_by_clip(table):
    figures, names = model_card.class_figures(table).set_index("name"), np.array(class_names())
    guesses = names[results.probabilities(table).argmax(axis=1)]
    for name, row in figures.iterrows():
        wrong = [guess for guess in guesses[names[table["target"]] == name] if guess != name]
        most = max(map(wrong.count, wrong), default=0)
        rivals = [class_label(rival) for rival in names if wrong.count(rival) == most > 0]
        each = " each" if len(rivals) > 1 else ""
        listed = f"{', '.join(rivals)} ({most}{each})" if rivals else "–"
        assert row["rivals"] == (listed if len(rivals) <= 3 else f"{len(rivals)} classes ({most} each)")


def test_a_class_that_is_never_mistaken_has_no_rival(table):
    right = table.copy()
    right[results.PROBABILITY_COLUMNS] = np.eye(len(class_names()))[right["target"]]
    figures = model_card.class_figures(right)
    assert (figures[["precision", "recall", "f1"]] == 1).all(axis=None) and {*figures["rivals"]} == {"–"}


@pytest.mark.slow
@pytest.mark.parametrize("model", RECIPES)
def test_the_parameters_are_those_of_the_head(model):
    metadata = load_model(model)[1]
    head = load_keras_model(keras_file(model), metadata)
    assert model_card.count_parameters(metadata) == sum(np.prod(weight.shape) for weight in head.trainable_weights)


@pytest.mark.results
@pytest.mark.parametrize("model", RECIPES)
def test_the_rule_that_the_card_explains_is_the_measured_one(model, cards):
    report, metadata = trust_report.load_trust(model=model).report, load_model(model)[1]
    assert report["rejection"] == metadata["rejection"] and report["temperature"] == metadata["temperature"]
    assert metadata["rejection"]["meaning"] in cards[model]
    assert f"**Temperature** {metadata['temperature']}" in cards[model]


def test_the_licences_are_stated(cards):
    for licence in ("CC BY-NC 3.0", "Apache-2.0", "MIT License", "non-commercial"):
        assert licence in cards["plain"]
