import json
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import classification_report

from esc50.classifier import model_io
from esc50.classifier.model_io import DEFAULT_MODEL, MODELS
from esc50.config import FOLDS, RESULTS_DIR, DistillationSettings, KernelSettings, ResultsError
from esc50.dataset.clips import class_names
from esc50.experiments import nested_cv, results, trust_report
from esc50.experiments.networks import with_logarithm
from esc50.experiments.shipping import RECIPES
from esc50.reporting import model_card


@pytest.fixture(scope="module")
def text():
    """Of the plain model, from committed files."""
    return model_card.model_card(model="plain")


@pytest.fixture(scope="module")
def table():
    return results.load_out_of_fold(RECIPES["plain"].model)


@pytest.fixture(scope="module")
def made_up(small_wide_head, trust, tmp_path_factory):
    """The card of a model on all layers, from made-up results: those of the plain model under its names."""
    folder, recipe = tmp_path_factory.mktemp("results"), RECIPES["layers"]
    (folder / "out_of_fold").mkdir()
    names = {"head_frames": "head_frames", recipe.model: "head_frames"}
    runs = results.load_cross_validation()
    parts = [runs[runs["model"] == source].assign(model=name) for name, source in names.items()]
    pd.concat(parts).to_csv(folder / "cross_validation.csv", index=False)
    for name, source in names.items():
        shutil.copy(RESULTS_DIR / "out_of_fold" / f"{source}.csv.gz", folder / "out_of_fold" / f"{name}.csv.gz")
    for file in RESULTS_DIR.glob("trust*"):
        shutil.copy(file, folder)
    measured = trust_report.load_trust(model="plain")
    measured.card["model"] = "layers"
    trust_report.save_trust(measured, folder=folder)
    timeline = json.loads((RESULTS_DIR / "timeline.json").read_text())
    results.write_json(timeline | {"model": "plain"}, folder / "timeline.json")
    for path, table in selected().items():
        table.to_csv(folder / path.name, index=False)
    about = {"pooling": recipe.pooling, "cross_validated": {}, "trust": trust, "layers": recipe.layers}
    settings = DistillationSettings(units=(8,))
    path = tmp_path_factory.mktemp("models") / "wide.keras"
    model_io.save_classifier(with_logarithm(small_wide_head), settings=settings, path=path, **about)
    return folder, path


def selected():
    """For three folds the shipped teacher was the best kernel, for four the shipped network the best network."""
    teacher = nested_cv.kernel_label("kernel_speeds", KernelSettings())
    kernels = [validated("kernel", teacher, 0.5), validated("kernel", "another", lambda k: 0.4 if k <= 3 else 0.6)]
    kernels += [validated("distilled", name, 0.5, candidate="distilled") for name in ("distilled", "distilled_speeds")]
    layers = validated("layers", "fusion_14", lambda k: 0.4 if k <= 4 else 0.6)
    return {nested_cv.KERNEL_FILE: pd.concat(kernels), nested_cv.LAYERS_FILE: layers}


def validated(experiment, model, accuracy, *, candidate=None):
    place = {"experiment": experiment, "candidate": candidate or model, "model": model}
    accuracies = [accuracy(fold) if callable(accuracy) else accuracy for fold in FOLDS]
    return pd.DataFrame([place | {"left_out": k, "accuracy": a} for k, a in zip(FOLDS, accuracies, strict=True)])


@pytest.fixture(scope="module")
def made_up_text(made_up):
    folder, path = made_up
    return model_card.model_card(model="layers", path=path, folder=folder)


def test_the_committed_card_says_what_the_results_say():
    committed = model_card.MODEL_CARD.read_text(encoding="utf-8")
    assert committed == model_card.model_card(), "MODEL_CARD.md is out of date: run `make readme`"


def test_the_card_is_written_once(tmp_path, text, monkeypatch):
    monkeypatch.setattr(model_card, "model_card", lambda *, folder: text)
    path = tmp_path / "MODEL_CARD.md"
    assert model_card.update_model_card(path=path)
    assert not model_card.update_model_card(path=path)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("model", RECIPES)
def test_the_headline_agrees_with_the_results_and_with_the_saved_head(model):
    name, text = RECIPES[model].model, model_card.model_card(model=model)
    summary = results.summarise([name]).loc[name]
    saved_figures = model_io.load_metadata(MODELS[model])["cross_validated"]
    for score, title in model_card.SCORES.items():
        value, low, high = (100 * summary[f"{score}{end}"] for end in ("", "_low", "_high"))
        assert f"| {title} | {value:.1f} % | {low:.1f} to {high:.1f} |" in text
        assert saved_figures[score] == pytest.approx(summary[score], abs=1e-4)
    assert f"{100 * summary['run_accuracy']:.1f} ± {100 * summary['run_accuracy_sd']:.1f} %" in text


def test_a_head_on_layers_is_described_as_it_is_made(made_up_text):
    speeds = "at 3 speeds (1, 0.85, 1.18)"
    for said in (
        *(
            "the activations of 14 layers of a frozen",
            "5984 numbers a frame",
            "logarithm, standardised",
            "Dense 8, ReLU",
        ),
        *("maximum over the frames with sound, before the head", "kernel ridge regression", "distillation", speeds),
        *("data/results/selection_kernel.csv", "notebooks/07_beyond_the_last_layer.ipynb"),
        *("out_of_fold/distilled.csv.gz", "non-commercial", "with heads of the model plain"),
    ):
        assert said in made_up_text, said
    assert f"{5985 * 8 + 9 * 50:,} trained" in made_up_text
    assert not [line for line in made_up_text.splitlines() if "{" in line or "}" in line]


def test_the_card_says_for_how_many_folds_what_is_shipped_would_have_been_chosen(made_up_text):
    assert "(kernel_speeds, gamma 0.35, ridge 0.02) is the best of its grid for 3 folds" in made_up_text
    assert "and behind the best by 10.0 points or less" in made_up_text
    assert "this one as it is shipped in 4 of 5 folds" in made_up_text
    assert "at 3 speeds in 0" in made_up_text


def test_the_card_of_the_default_model_has_the_commands_that_make_it(made_up_text):
    for command in ("train distilled ", "trust ", "ship ", "readme "):
        assert f"\npython -m esc50 {command}" in made_up_text
    assert "`python -m esc50 predict dog.wav`" in made_up_text


def test_the_card_of_the_default_model_tells_of_the_plain_one(made_up_text, text):
    _, other = made_up_text.split("## The other model: plain")
    section, _ = other.split("## How to reproduce it")
    headline = text[text.index("| accuracy |") : text.index("A single head, as")].strip()
    for said in ("audio-classifier-plain.keras", "301,746 trained", headline, "53 %", "88.8 ± 0.1 %", "0.7222"):
        assert said in section
    for name in ("predict", "app", "trust", "ship"):
        assert f"python -m esc50 {name} --model plain" in section
    assert "## The other model" not in text and DEFAULT_MODEL == "layers"


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


@pytest.mark.parametrize("model", RECIPES)
def test_the_parameters_are_those_of_the_head(model):
    card = model_io.load_metadata(MODELS[model])
    head = model_io.load_head(MODELS[model], card)
    assert model_card.head_parameters(card) == sum(np.prod(weight.shape) for weight in head.trainable_weights)


@pytest.mark.parametrize("model", RECIPES)
def test_the_rule_that_the_card_explains_is_the_measured_one(model):
    trust, card, text = (
        trust_report.load_trust(model=model),
        model_io.load_metadata(MODELS[model]),
        model_card.model_card(model=model),
    )
    assert trust.card["rejection"] == card["rejection"] and trust.card["temperature"] == card["temperature"]
    assert card["rejection"]["meaning"] in text and f"**Temperature** {card['temperature']}" in text


def test_the_licences_are_stated(text):
    for licence in ("CC BY-NC 3.0", "Apache-2.0", "MIT License", "non-commercial"):
        assert licence in text


def test_a_missing_head_is_named(tmp_path):
    with pytest.raises(ResultsError, match=r"none\.keras"):
        model_card.model_card(path=tmp_path / "none.keras")
