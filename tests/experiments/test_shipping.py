"""`esc50.experiments.shipping`: what trains the shipped models, what they hear, and how they are saved."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from esc50.apps.cli import cli
from esc50.classifier import model_io
from esc50.classifier.model_io import MODELS
from esc50.classifier.pooling import POOLING_NAMES
from esc50.config import FEATURES_DIR, DistillationSettings, HeadSettings, ResultsError
from esc50.dataset import feature_files
from esc50.experiments import results, shipping, study
from esc50.experiments.shipping import RECIPES
from esc50.reporting import readme

QUICK = {"plain": HeadSettings(units=(8,), epochs=1), "layers": DistillationSettings(units=(8,), epochs=2)}
NO_LAYERS = "data/features has no activations of layers: run `python -m esc50 features layers`"


@pytest.fixture
def drawn(monkeypatch):
    """Log activations of the clips in five versions, drawn: those of the recordings are half a gigabyte each."""
    rng, clips = np.random.default_rng(2015), len(feature_files.load_features("clip_statistics")["target"])
    versions = tuple(rng.random((clips, 5984), dtype=np.float32) for _ in range(5))
    monkeypatch.setattr(shipping.study, "inputs_of", lambda name: versions)
    return versions


def test_every_shipped_model_has_a_recipe():
    assert set(RECIPES) == set(MODELS)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_that_of_the_cross_validation_that_speaks_for_it(name):
    recipe, experiment = RECIPES[name], study.EXPERIMENTS[RECIPES[name].model]
    assert recipe.settings == experiment.settings
    assert recipe.model == experiment.models[0]
    assert recipe.pooling in POOLING_NAMES
    trained_on = experiment.features if isinstance(experiment.features, tuple) else (experiment.features,)
    *own, foreign = recipe.features
    assert tuple(own) == trained_on
    assert foreign in feature_files.FOREIGN_FEATURES


@pytest.mark.parametrize("name", RECIPES)
def test_the_layers_are_those_of_the_feature_files(name):
    recipe = RECIPES[name]
    assert model_io.is_plain({"layers": recipe.layers}) == (name == "plain")
    if name != "plain":
        for features in recipe.features:
            assert feature_files.PARAMETERS[features].layers == recipe.layers


def test_the_plain_recipe_reads_committed_files(clips):
    vectors, foreign = RECIPES["plain"].read(), RECIPES["plain"].read_foreign()
    assert vectors.shape == (len(clips), 10, 1024)
    assert foreign["vectors"].shape == (foreign["n_frames"].sum(), 1024)
    assert len(foreign["name"]) == len(foreign["kind"]) == len(foreign["silent"]) == len(foreign["n_frames"])


@pytest.mark.skipif(not (FEATURES_DIR / "layers.npz").is_file(), reason=NO_LAYERS)
def test_the_vectors_of_many_layers_end_in_the_embeddings(clips):
    activations = RECIPES["layers"].read()
    assert activations.shape == (len(clips), 10, 5984)
    assert activations.dtype == np.float16
    some = slice(None, None, 100)
    embeddings = RECIPES["plain"].read()[some]
    difference = np.abs(activations[some, :, -1024:].astype(np.float32) - embeddings)
    assert np.median(difference) < 1e-3 and difference.mean() < 0.01  # as the recordings may be of another rate


@pytest.mark.audio
@pytest.mark.yamnet
@pytest.mark.parametrize("name", RECIPES)
def test_heads_are_trained_on_what_the_shipped_model_hears(name, clips, dataset_root):
    from esc50.audio.sound import load_sound
    from esc50.dataset.clips import clip_path

    recipe, two, file = RECIPES[name], clips.iloc[[0, 1234]], RECIPES[name].features[0]
    arrays = feature_files.compute_features([file], clips=two, root=dataset_root, progress=False)[file]
    (stored,) = (arrays[key] for key in shipping.VECTORS if key in arrays)
    yamnet = shipping.load_yamnet_of(recipe)
    for clip, vectors in zip(two["filename"], stored, strict=True):
        heard = yamnet.embed(load_sound(clip_path(clip, dataset_root)).waveform)
        assert np.abs(heard - vectors.astype(np.float32)).max() < 0.02


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_a_head_from_vectors_to_classes(name, drawn, rng):
    rows = np.arange(0, 2000, 20)
    head = RECIPES[name].fit(rows, settings=QUICK[name], seed=1)
    size = 1024 if name == "plain" else 5984
    answers = head.predict(rng.random((3, size), dtype=np.float32), verbose=0)
    assert answers.shape == (3, 50)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_only_the_rows_given_are_trained_on(drawn, monkeypatch, small_wide_head, clips):
    seen = {}

    def distil(versions, targets, *, n_taught, **options):
        seen.update(versions=versions, targets=targets, n_taught=n_taught)
        return small_wide_head, {}

    monkeypatch.setattr(shipping, "distil", distil)
    rows = np.array([7, 1500, 3])
    head = RECIPES["layers"].fit(rows, settings=QUICK["layers"])
    for version, whole in zip(seen["versions"], drawn, strict=True):
        np.testing.assert_array_equal(version, whole[rows])
    assert seen["targets"].tolist() == clips["target"].iloc[rows].tolist()
    assert seen["n_taught"] == len(study.SPEEDS)
    raw = np.expm1(drawn[0][:4])  # trained on logarithms, it takes the activations as they are
    np.testing.assert_allclose(
        head.predict(raw, verbose=0), small_wide_head.predict(drawn[0][:4], verbose=0), atol=1e-5
    )


def ship(monkeypatch, head, path, **changes):
    rows = []

    def fit(given, **_):
        rows.append(given)
        return head

    monkeypatch.setitem(RECIPES, "plain", replace(RECIPES["plain"], fit=fit, **changes))
    assert shipping.ship("plain", path=path, progress=False) == path
    return rows


def test_what_is_shipped_was_trained_on_all_clips_and_says_what_its_recipe_reached(monkeypatch, small_head, tmp_path):
    path = tmp_path / "model.keras"
    settings = HeadSettings(units=(8,))
    (rows,) = ship(monkeypatch, small_head, path, settings=settings)
    assert rows.tolist() == list(range(2000))
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["cross_validated"] == readme.headline(results.summarise(["head_frames"]).loc["head_frames"])
    made_by = model_io.recipe(RECIPES["plain"].pooling, settings)
    assert {key: card[key] for key in made_by} == made_by
    assert "temperature" not in card  # measured with other settings


def test_what_is_shipped_has_the_trust_of_its_recipe(monkeypatch, small_head, tmp_path):
    ship(monkeypatch, small_head, path := tmp_path / "model.keras")
    measured = json.loads(model_io.TRUST_FILES["plain"].read_text())
    assert model_io.load_metadata(path)["temperature"] == measured["temperature"]


def test_what_has_no_cross_validation_is_not_shipped(monkeypatch, small_head, tmp_path):
    with pytest.raises(ResultsError, match="has nothing of unknown"):
        ship(monkeypatch, small_head, tmp_path / "model.keras", model="unknown")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "name"), [([], "layers"), (["--model", "plain"], "plain")])
def test_the_command_ships_one_model(monkeypatch, arguments, name):
    monkeypatch.setattr(shipping, "ship", lambda name: f"the model {name}")
    result = CliRunner().invoke(cli, ["ship", *arguments])
    assert result.exit_code == 0
    assert result.output == f"wrote the model {name}\n"


# --- what is committed


@pytest.mark.parametrize("name", RECIPES)
def test_the_shipped_model_is_made_by_its_recipe(name):
    """Fails where a recipe changed after the model was saved: run `python -m esc50 ship`."""
    recipe, card = RECIPES[name], model_io.load_metadata(MODELS[name])
    made_by = model_io.recipe(recipe.pooling, recipe.settings, recipe.layers)
    assert {key: card[key] for key in made_by} == made_by
    figures = readme.headline(results.summarise([recipe.model]).loc[recipe.model])
    assert card["cross_validated"] == pytest.approx(figures, abs=1e-4)
