"""`esc50.experiments.keras_heads`: saved heads and their metadata; mismatched pairs are refused."""

import hashlib
import json
from dataclasses import asdict

import numpy as np
import pytest

from esc50.classifier.model_io import DEFAULT_MODEL, TRUST_KEYS, is_plain, load_metadata
from esc50.classifier.predict import SoundClassifier
from esc50.config import ALL_LAYERS, ResultsError
from esc50.dataset import class_names
from esc50.experiments import keras_heads, robust
from esc50.experiments.keras_heads import (
    KERAS_FILES,
    load_trained,
    recipe_of,
    save_classifier,
    to_head,
    update_trust,
)
from esc50.experiments.networks import HeadSettings, with_logarithm
from esc50.yamnet.architecture import N_AUDIOSET_CLASSES

SETTINGS = HeadSettings(units=(8,))
pytestmark = pytest.mark.slow  # they need Keras


@pytest.fixture(scope="session")
def about(trust):
    return {"pooling": "mean", "cross_validated": {"accuracy": 0.88}, "settings": SETTINGS, "trust": trust}


@pytest.fixture
def saved(small_head, about, tmp_path):
    return save_classifier(small_head, path=tmp_path / "model.keras", **about)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Other places for the trained heads."""
    files = {name: tmp_path / f"{name}.keras" for name in KERAS_FILES}
    monkeypatch.setattr(keras_heads, "KERAS_FILES", files)
    return files


def read(path):
    return json.loads(path.with_suffix(".json").read_text())


def change(path, **changes):
    path.with_suffix(".json").write_text(json.dumps(read(path) | changes))


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_saved_head_comes_back_with_its_metadata_and_without_its_optimizer(small_head, saved, rng):
    classifier, vectors = SoundClassifier.load(str(saved)), rng.random((5, 1024), dtype=np.float32)
    np.testing.assert_allclose(classifier.head(vectors), small_head.predict(vectors, verbose=0), atol=1e-6)
    assert getattr(keras_heads.load_keras_model(saved, classifier.metadata), "optimizer", None) is None
    assert small_head.optimizer is not None
    assert saved.stat().st_size < 100_000  # the full head: 1.2 MB, and 3.7 MB with AdamW's state
    assert classifier.metadata == load_metadata(saved)
    assert classifier.class_names == class_names()
    assert classifier.predict("example:rain").theme


def test_the_metadata_say_what_made_the_head(saved):
    import keras

    metadata = read(saved)
    assert metadata["class_names"] == list(class_names())
    assert metadata["themes"]["dog"] == "Animals"
    assert (metadata["sample_rate_hz"], metadata["pooling"], metadata["layers"]) == (16_000, "mean", [14])
    assert metadata["cross_validated"] == {"accuracy": 0.88}
    assert metadata["head_settings"] == asdict(SETTINGS) | {"units": [8]}
    assert metadata["sha256"] == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert metadata["versions"]["keras"] == keras.__version__
    assert {file.name for file in saved.parent.iterdir()} == {"model.keras", "model.json"}


@pytest.mark.parametrize("is_wide", [False, True])
def test_the_runtime_s_head_is_the_keras_head(is_wide, small_head, small_wide_head, rng):
    import keras

    model = with_logarithm(small_wide_head) if is_wide else small_head
    vectors = 3 * rng.random((7, model.input_shape[-1]), dtype=np.float32)
    found, (weights, bias) = to_head(model), model.layers[-1].get_weights()
    activations = keras.Model(model.input, model.layers[-1].input).predict(vectors, verbose=0)
    logits = activations @ weights + bias
    np.testing.assert_allclose(found(vectors), model.predict(vectors, verbose=0), atol=1e-6)
    np.testing.assert_allclose(found.logits(vectors), logits, atol=1e-5)
    np.testing.assert_allclose(found.activations(vectors), activations, atol=1e-5)


@pytest.mark.parametrize("step", ["_without_optimizer", "write_json"])
def test_an_interrupted_save_leaves_the_old_one(small_head, saved, about, monkeypatch, step):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    before = contents(saved.parent)
    monkeypatch.setattr(keras_heads, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_classifier(small_head, path=saved, **about)
    assert contents(saved.parent) == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pooling": "median"}, "no pooling named 'median': choose from mean, geometric_mean"),
        (
            {"layers": (14, 13)},
            r"invalid layers \[14, 13\]: they must be distinct numbers from 1 to 15",
        ),
        ({"layers": ()}, r"invalid layers \[\]"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(small_head, about, tmp_path, wrong, message):
    with pytest.raises(ResultsError, match=message):
        save_classifier(small_head, path=tmp_path / "models" / "model.keras", **about | wrong)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ["dog", "cat"]}, "maps 1024 inputs to 50 classes, but its metadata say 1024 and 2"),
        ({"layers": [13, 14]}, "maps 1024 inputs to 50 classes, but its metadata say 2048 and 50"),
        ({"sha256": "abc"}, "sha256 'abc', not "),
        (
            {"rejection": {"score": "energy"}},
            "without neighbours, threshold, kept, meaning, by_share; run `esc50 trust --model plain`",
        ),
    ],
)
def test_metadata_that_do_not_fit_are_refused(saved, changes, message):
    change(saved, **changes)
    with pytest.raises(ResultsError, match=message):
        SoundClassifier.load(saved)


def test_a_head_that_keras_cannot_open_is_refused(saved):
    saved.write_bytes(b"of another version")
    change(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest(), versions={"keras": "9.0"})
    with pytest.raises(ResultsError, match=r"cannot be opened \(saved with Keras 9\.0, this is 3\."):
        SoundClassifier.load(saved)


def test_without_a_path_a_head_goes_where_its_kind_belongs(small_head, small_wide_head, about, places, rng):
    assert save_classifier(small_head, **about) == places["plain"]
    assert is_plain(load_metadata(places["plain"]))
    assert save_classifier(with_logarithm(small_wide_head), layers=ALL_LAYERS, **about) == places["multilayer"]
    model, metadata = load_trained()
    vectors = rng.random((5, 5984), dtype=np.float32)
    assert metadata["layers"] == list(ALL_LAYERS)
    expected = small_wide_head.predict(np.log1p(vectors), verbose=0)
    np.testing.assert_allclose(model.predict(vectors, verbose=0), expected, atol=1e-6)


# --- trust


@pytest.fixture
def measured(about, tmp_path, monkeypatch):
    """A file of trust for each kind of heads, and one that is not there."""
    found = {
        name: {"recipe": recipe_of("mean", SETTINGS, layers), **about["trust"], "temperature": temperature}
        for name, layers, temperature in (("plain", [14], 0.5), ("multilayer", ALL_LAYERS, 0.6))
    }
    files = {name: tmp_path / f"trust_{name}.json" for name in (*found, "none")}
    for name, trust in found.items():
        files[name].write_text(json.dumps(trust))
    monkeypatch.setattr(keras_heads, "TRUST_FILES", files)
    return found


def test_trust_of_the_same_recipe_is_taken_from_its_file(small_head, small_wide_head, about, measured, places):
    unmeasured = about | {"trust": None}
    assert load_metadata(save_classifier(small_head, **unmeasured))["temperature"] == 0.5
    wide = save_classifier(with_logarithm(small_wide_head), layers=ALL_LAYERS, **unmeasured)
    assert load_metadata(wide)["temperature"] == 0.6


def test_trust_of_another_recipe_is_left_out_and_the_loader_names_the_command(small_head, about, measured, tmp_path):
    other = about | {"trust": None, "settings": HeadSettings(units=(9,))}
    path = save_classifier(small_head, path=tmp_path / "model.keras", **other)
    with pytest.raises(ResultsError, match=r"lacks temperature, rejection; run `esc50 trust --model plain`"):
        load_metadata(path)
    assert not update_trust(measured["plain"], path=path)


def test_trust_goes_into_the_metadata_of_the_head_that_has_its_layers(
    small_head, small_wide_head, about, measured, places
):
    save_classifier(small_head, **about)
    save_classifier(with_logarithm(small_wide_head), layers=ALL_LAYERS, **about)
    for name, trust in measured.items():
        assert update_trust(trust) == places[name]
        assert load_metadata(places[name])["temperature"] == trust["temperature"]
    assert not update_trust(measured["plain"], path=places["multilayer"])


@pytest.mark.parametrize("name", KERAS_FILES)
def test_packaged_heads_equal_the_trained_ones(name, rng):
    model, metadata = load_trained(name)
    shipped = SoundClassifier.load(None if name == DEFAULT_MODEL else name)
    vectors = rng.random((20, shipped.head.input_size), dtype=np.float32)
    expected = model.predict(vectors[:, -model.input_shape[-1] :], verbose=0)
    if shipped.takes_scores:
        expected = robust.add_scores(expected, vectors[:, :N_AUDIOSET_CLASSES], robust.AUDIOSET)
    np.testing.assert_allclose(shipped.head(vectors), expected, atol=1e-3)
    assert {key: shipped.metadata[key] for key in TRUST_KEYS} == {key: metadata[key] for key in TRUST_KEYS}
    trust = json.loads(keras_heads.TRUST_FILES[name].read_text())
    assert keras_heads._fits(trust, metadata)
    assert {key: metadata[key] for key in TRUST_KEYS} == {key: trust[key] for key in TRUST_KEYS}
