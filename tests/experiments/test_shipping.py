"""`esc50.experiments.shipping`: training, inputs and saving of the shipped models."""

import json
from dataclasses import replace

import numpy as np
import pytest

from esc50.classifier.model_io import MODEL_REGISTRY, is_plain, load_metadata
from esc50.classifier.pooling import POOLING_NAMES, softmax
from esc50.config import ResultsError
from esc50.dataset.feature_files import PARAMETERS
from esc50.experiments import distilled, find_experiments, results, robust, shipping
from esc50.experiments.base import take
from esc50.experiments.keras_heads import TRUST_FILES, keras_file
from esc50.experiments.kernel_ridge import KernelRidge
from esc50.experiments.networks import HeadSettings
from esc50.experiments.robust import RobustSettings
from esc50.experiments.shipping import RECIPES

QUICK = {"plain": HeadSettings(units=(8,), epochs=1), "multilayer": RobustSettings(units=(8,), epochs=2)}


@pytest.fixture
def recipes(monkeypatch, rng):
    """Those that ship, trained on drawn numbers: the real ones are half a gigabyte each."""
    drawn = {"plain": rng.random((2000, 2, 1024), dtype=np.float32)}
    views = tuple(rng.random((2000, 5984), dtype=np.float32) for _ in range(4))
    drawn["multilayer"] = *views, rng.random((2000, 521), dtype=np.float32)
    for name, inputs in drawn.items():
        monkeypatch.setitem(RECIPES, name, replace(RECIPES[name]))
        monkeypatch.setitem(RECIPES[name].__dict__, "inputs", inputs)
    return RECIPES


def test_every_shipped_model_has_a_recipe():
    assert set(RECIPES) == set(MODEL_REGISTRY)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_that_of_the_cross_validation_that_speaks_for_it(name):
    recipe, experiment = RECIPES[name], find_experiments()[RECIPES[name].experiment]
    assert recipe.settings == experiment.settings
    assert recipe.experiment == next(iter(experiment.models))
    assert recipe.pooling in POOLING_NAMES
    assert recipe.clip_features in experiment.features
    assert is_plain({"layers": recipe.layers}) == (name == "plain")
    for file in (recipe.clip_features, recipe.ood_features):
        assert getattr(PARAMETERS[file], "layers", (14,)) == recipe.layers


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_a_head_from_vectors_to_classes(name, recipes, rng):
    head = RECIPES[name].fit(np.arange(0, 2000, 20), settings=QUICK[name], seed=1)
    answers = head.predict(rng.random((3, 1024 if name == "plain" else 5984), dtype=np.float32), verbose=0)
    assert answers.shape == (3, 50)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_only_the_rows_given_are_trained_on(recipes, monkeypatch, small_wide_head, clips):
    seen = {}

    def fit(views, targets, *, settings, seed, progress):
        seen.update(views=views, targets=targets)
        return distilled.Fitted(None, head=small_wide_head)

    made_up = {"robust": replace(find_experiments()["robust"], fit=fit)}
    monkeypatch.setattr(shipping, "find_experiments", lambda: made_up)
    rows = np.array([7, 1500, 3])
    head = RECIPES["multilayer"].fit(rows)
    for view, whole in zip(seen["views"], RECIPES["multilayer"].inputs, strict=True):
        np.testing.assert_array_equal(view, whole[rows])
    assert seen["targets"].tolist() == clips["target"].iloc[rows].tolist()
    raw = np.expm1(RECIPES["multilayer"].inputs[0][:4])  # trained on logarithms, it takes the activations as they are
    expected = small_wide_head.predict(np.log1p(raw), verbose=0)
    np.testing.assert_allclose(head.predict(raw, verbose=0), expected, atol=1e-5)


def test_the_surrogate_answers_as_the_teacher_does(recipes, clips):
    rows, settings = np.arange(0, 2000, 40), robust.SETTINGS
    recipe, targets = RECIPES["multilayer"], clips["target"].to_numpy()[rows]
    logits_of = recipe.surrogate_fit(take(recipe.inputs, rows), targets, settings)
    *views, scores = take(recipe.inputs, rows)
    found = logits_of(np.concatenate([scores, np.expm1(views[0])], axis=1))
    assert found.shape == (50, 50) and found.dtype == np.float32
    assert (found.argmax(axis=1) == targets).mean() > 0.9
    teacher = KernelRidge(views[:3], targets, settings=settings.teacher)
    alone = teacher.probabilities(teacher.outputs(views[0]))
    joined = robust.add_scores(alone, scores, settings.audioset)
    np.testing.assert_allclose(softmax(found), joined, atol=1e-5)


def ship(monkeypatch, head, path, **changes):
    rows = []

    def fit(self, given, **_):
        rows.append(given)
        return head

    monkeypatch.setattr(shipping.Recipe, "fit", fit)
    monkeypatch.setitem(RECIPES, "plain", replace(RECIPES["plain"], **changes))
    assert shipping.ship("plain", path=path, progress=False) == path
    return rows


@pytest.mark.slow
def test_what_is_shipped_was_trained_on_all_clips_and_says_what_its_recipe_reached(monkeypatch, small_head, tmp_path):
    path = tmp_path / "model.keras"
    (rows,) = ship(monkeypatch, small_head, path)
    assert rows.tolist() == list(range(2000))
    metadata = json.loads(path.with_suffix(".json").read_text())
    assert metadata["cross_validated"] == results.headline(results.summarise(["head_frames"]).loc["head_frames"])
    assert metadata["head_settings"]["units"] == [256, 128]
    measured = json.loads(TRUST_FILES["plain"].read_text())
    assert load_metadata(path)["temperature"] == measured["temperature"]


@pytest.mark.slow
def test_what_has_no_cross_validation_is_not_shipped(monkeypatch, small_head, tmp_path):
    with pytest.raises(ResultsError, match="has no results of unknown"):
        ship(monkeypatch, small_head, tmp_path / "model.keras", experiment="unknown")
    assert not list(tmp_path.iterdir())


@pytest.mark.results
@pytest.mark.parametrize("name", RECIPES)
def test_the_shipped_model_is_made_by_its_recipe(name):
    """Fails where a recipe changed after the model was saved: run `esc50 ship`."""
    recipe, metadata = RECIPES[name], load_metadata(keras_file(name))
    assert {key: metadata[key] for key in recipe.about} == recipe.about
    figures = results.headline(results.summarise([recipe.experiment]).loc[recipe.experiment])
    assert metadata["cross_validated"] == pytest.approx(figures, abs=1e-4)
