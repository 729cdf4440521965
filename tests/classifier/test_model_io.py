import hashlib
import json
from dataclasses import asdict

import numpy as np
import pytest

from esc50.classifier import model_io
from esc50.classifier.model_io import MODELS, load_head, load_metadata, save_classifier, update_trust
from esc50.classifier.predict import SoundClassifier
from esc50.config import HeadSettings, ResultsError
from esc50.dataset.clips import class_names
from esc50.experiments.networks import with_logarithm

SETTINGS = HeadSettings(units=(8,))
RATE = 16_000
RULE = {"score": "energy", "neighbours": 5, "threshold": 1.0, "kept": 0.95, "meaning": "A sentence."}


@pytest.fixture(scope="session")
def about(trust):
    return {"pooling": "mean", "cross_validated": {"accuracy": 0.88}, "settings": SETTINGS, "trust": trust}


@pytest.fixture
def head(small_head):
    return small_head


@pytest.fixture
def saved(head, about, tmp_path):
    return save_classifier(head, path=tmp_path / "model.keras", **about)


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Other places for the shipped models."""
    places = {name: tmp_path / f"{name}.keras" for name in MODELS}
    monkeypatch.setattr(model_io, "MODELS", places)
    return places


def card_of(path):
    return json.loads(path.with_suffix(".json").read_text())


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.yamnet
def test_a_saved_head_comes_back_with_its_card_and_without_its_optimizer(head, saved):
    classifier = SoundClassifier.load(str(saved))
    embeddings = np.random.default_rng(0).random((5, 1024), dtype=np.float32)
    kept = classifier.head.predict(embeddings, verbose=0)
    np.testing.assert_allclose(kept, head.predict(embeddings, verbose=0), atol=1e-7)
    assert getattr(classifier.head, "optimizer", None) is None
    assert head.optimizer is not None
    assert saved.stat().st_size < 100_000  # the full head: 1.2 MB, and 3.7 MB with AdamW's state
    assert classifier.metadata == load_metadata(saved) == card_of(saved)
    assert classifier.class_names == class_names()


def test_the_card_says_what_made_the_head(saved):
    import keras

    card = card_of(saved)
    assert card["class_names"] == list(class_names())
    assert card["sample_rate_hz"] == card["yamnet"]["sample_rate_hz"] == RATE
    assert card["yamnet"]["embedding_size"] == 1024
    assert card["pooling"] == "mean"
    assert card["cross_validated"] == {"accuracy": 0.88}
    assert card["head_settings"] == asdict(SETTINGS) | {"units": [8]}
    assert card["layers"] == [14]
    assert card["sha256"] == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert card["versions"]["keras"] == keras.__version__
    assert {"esc50", "numpy", "python", "tensorflow"} < set(card["versions"])
    assert {file.name for file in saved.parent.iterdir()} == {"model.keras", "model.json"}


@pytest.mark.parametrize("step", ["_without_optimizer", "write_json"])
def test_an_interrupted_save_leaves_the_old_one(head, saved, about, monkeypatch, step):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    before = contents(saved.parent)
    monkeypatch.setattr(model_io, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_classifier(head, path=saved, **about)
    assert contents(saved.parent) == before


def test_an_unknown_pooling_is_refused_before_anything_is_written(head, about, tmp_path):
    with pytest.raises(ResultsError, match="no pooling named 'median': choose from mean, geometric_mean"):
        save_classifier(head, path=tmp_path / "models" / "model.keras", **about | {"pooling": "median"})
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("missing", ["model.keras", "model.json"])
def test_a_missing_file_of_ones_own_is_named_with_what_to_do(saved, missing):
    (saved.parent / missing).unlink()
    with pytest.raises(ResultsError, match=f"{missing} is missing; check the path"):
        SoundClassifier.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"yamnet_fingerprint": "0123"}, "yamnet_fingerprint '0123', not "),
        ({"sha256": "abc"}, "sha256 'abc', not "),
        ({"sample_rate_hz": 44_100}, "sample_rate_hz 44100, not 16000"),
        ({"yamnet": {}}, "yamnet {}, not "),
        ({"pooling": "median"}, "names the pooling 'median', which is unknown"),
        ({"class_names": ["dog", "cat"]}, "1024 numbers to 50 classes, not .* to the 2 classes"),
        ({"layers": [13, 14]}, "1024 numbers to 50 classes, not from the 2048 numbers of the layers"),
        ({"layers": 14}, "names the layers 14: they must be numbers from 1 to 14, each one once, the last 14"),
        ({"layers": []}, r"names the layers \[\]"),
        ({"layers": [14, 13]}, r"names the layers \[14, 13\]"),
        ({"layers": [14, 14]}, r"names the layers \[14, 14\]"),
        ({"layers": [0, 14]}, r"names the layers \[0, 14\]"),
        ({"layers": [13.0, 14]}, r"names the layers \[13\.0, 14\]"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(saved, change, message):
    saved.with_suffix(".json").write_text(json.dumps(card_of(saved) | change))
    with pytest.raises(ResultsError, match=f"{message}.*; check the path"):
        SoundClassifier.load(saved)


@pytest.mark.parametrize("key", ["class_names", "pooling", "layers", "yamnet_fingerprint", "sha256", "versions"])
def test_a_card_that_lacks_something_is_refused(saved, key):
    card = card_of(saved)
    del card[key]
    saved.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ResultsError, match=f"lacks {key}; check the path"):
        SoundClassifier.load(saved)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2]"])
def test_a_card_that_is_no_card_is_refused(saved, content):
    saved.with_suffix(".json").write_bytes(content)
    with pytest.raises(ResultsError, match=r"model\.json (is damaged|lacks).*check the path"):
        SoundClassifier.load(saved)


def test_a_changed_head_is_refused(saved):
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(ResultsError, match="does not fit: it has sha256"):
        SoundClassifier.load(saved)


def test_a_head_that_keras_cannot_open_is_refused(saved):
    saved.write_bytes(b"of another version")
    card = card_of(saved) | {"sha256": hashlib.sha256(saved.read_bytes()).hexdigest(), "versions": {"keras": "9.0"}}
    saved.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ResultsError, match=r"cannot be opened \(saved with Keras 9\.0, this is 3\."):
        SoundClassifier.load(saved)


# --- layers


def test_a_head_on_many_layers_takes_as_many_numbers_as_they_have_filters(small_wide_head, about, tmp_path):
    path = save_classifier(with_logarithm(small_wide_head), layers=range(1, 15), path=tmp_path / "model.keras", **about)
    card = load_metadata(path)
    assert card["layers"] == list(range(1, 15))
    assert not model_io.is_plain(card)
    head, vectors = load_head(path, card), np.random.default_rng(0).random((5, 5984), dtype=np.float32)
    expected = small_wide_head.predict(np.log1p(vectors), verbose=0)
    np.testing.assert_allclose(head.predict(vectors, verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize("layers", [(), (14, 13), (1, 2), (0, 14), (14, 15), (7, 7, 14)])
def test_layers_that_do_not_end_in_the_embedding_are_refused_before_anything_is_written(head, about, tmp_path, layers):
    with pytest.raises(ResultsError, match=r"no head hears the layers .*: they must be numbers from 1 to 14"):
        save_classifier(head, layers=layers, path=tmp_path / "models" / "model.keras", **about)
    assert not (tmp_path / "models").exists()


def test_without_a_path_a_head_goes_where_its_kind_is_shipped(head, small_wide_head, about, models):
    assert save_classifier(head, **about) == models["plain"]
    assert model_io.is_plain(load_metadata(models["plain"]))
    assert save_classifier(with_logarithm(small_wide_head), layers=range(1, 15), **about) == models["layers"]
    assert load_metadata(models["layers"])["layers"] == list(range(1, 15))


# --- trust


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0}, "has the temperature 0, which is no number above zero"),
        ({"temperature": "warm"}, "has the temperature 'warm'"),
        ({"rejection": None}, "has a rejection without any of its parts"),
        ({"rejection": {"score": "energy"}}, "has a rejection without neighbours, threshold, kept, meaning"),
        ({"rejection": RULE | {"score": "guess"}}, "names the rejection score 'guess', which is unknown"),
        ({"rejection": RULE | {"threshold": None}}, "has the threshold None, which is no number"),
    ],
)
def test_wrong_trust_is_refused_with_the_command_that_mends_it(saved, change, message):
    saved.with_suffix(".json").write_text(json.dumps(card_of(saved) | change))
    with pytest.raises(ResultsError, match=rf"{message}.*; run `python -m esc50 trust --model plain`"):
        load_metadata(saved)


def test_trust_of_another_recipe_is_left_out_and_the_loader_names_the_command(head, about, tmp_path, monkeypatch):
    measured = {"recipe": model_io.recipe("mean", HeadSettings(units=(9,))), **about["trust"]}
    monkeypatch.setattr(model_io, "TRUST_FILES", {"plain": tmp_path / "trust.json"})
    (tmp_path / "trust.json").write_text(json.dumps(measured))
    path = save_classifier(head, path=tmp_path / "model.keras", **about | {"trust": None})
    with pytest.raises(ResultsError, match=r"lacks temperature, rejection; run `python -m esc50 trust --model plain`"):
        load_metadata(path)
    assert not update_trust(measured, path=path)
    measured["recipe"] = model_io.recipe("mean", SETTINGS)
    assert update_trust(measured | {"temperature": 0.7}, path=path) == path
    assert load_metadata(path)["temperature"] == 0.7


@pytest.fixture
def measured(about, tmp_path, monkeypatch):
    """A file of trust for each kind of head, of which the plain one is from before there was a choice of layers."""
    found = {}
    for name, layers, temperature in (("plain", [14], 0.5), ("layers", list(range(1, 15)), 0.6)):
        recipe = model_io.recipe("mean", SETTINGS, layers)
        found[name] = {"recipe": recipe, **about["trust"], "temperature": temperature}
    del found["plain"]["recipe"]["layers"]
    files = {name: tmp_path / f"trust_{name}.json" for name in found} | {"none": tmp_path / "not measured yet.json"}
    for name, trust in found.items():
        files[name].write_text(json.dumps(trust))
    monkeypatch.setattr(model_io, "TRUST_FILES", files)
    return found


def test_trust_of_the_same_recipe_is_taken_from_its_file(head, small_wide_head, about, measured, models):
    unmeasured = about | {"trust": None}
    assert load_metadata(save_classifier(head, **unmeasured))["temperature"] == 0.5
    wide = save_classifier(with_logarithm(small_wide_head), layers=range(1, 15), **unmeasured)
    assert load_metadata(wide)["temperature"] == 0.6


def test_trust_goes_into_the_card_of_the_head_that_has_its_layers(head, small_wide_head, about, measured, models):
    save_classifier(head, **about)
    save_classifier(with_logarithm(small_wide_head), layers=range(1, 15), **about)
    for name, trust in measured.items():
        assert update_trust(trust) == models[name]
        assert load_metadata(models[name])["temperature"] == trust["temperature"]
    assert not update_trust(measured["plain"], path=models["layers"])


def test_the_committed_trust_is_that_of_the_shipped_plain_head():
    trust = json.loads(model_io.TRUST_FILES["plain"].read_text())
    card = load_metadata(MODELS["plain"])
    assert model_io._fits(trust, card)
    assert {key: card[key] for key in model_io.TRUST_KEYS} == {key: trust[key] for key in model_io.TRUST_KEYS}


@pytest.mark.parametrize("name", MODELS)
def test_every_shipped_head_fits_its_card(name):
    card = load_metadata(MODELS[name])
    assert load_head(MODELS[name], card).output_shape[-1] == len(card["class_names"]) == 50
    assert model_io.is_plain(card) == (name == "plain")


@pytest.mark.parametrize(("name", "told"), [("layers", "esc50 ship`"), ("plain", "esc50 ship --model plain`")])
def test_for_a_shipped_model_the_command_that_makes_it_is_named(name, told, tmp_path, monkeypatch):
    monkeypatch.setitem(model_io.MODELS, name, tmp_path / "model.keras")
    with pytest.raises(ResultsError, match=f"is missing; restore it with git, or run `python -m {told}"):
        model_io.load_metadata(tmp_path / "model.keras")
