"""`esc50.classifier.model_io`: packaged models, and the errors for invalid ones."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from esc50.classifier.model_io import DEFAULT_MODEL, MODEL_REGISTRY, check_metadata, command, load_metadata, load_model
from esc50.config import PACKAGED_MODELS, ResultsError
from esc50.yamnet.export import head_model
from esc50.yamnet.runtime import load_runtime

RULE = {"score": "energy", "neighbours": 5, "threshold": 0.5, "kept": 0.9, "meaning": "", "by_share": {}}
WRONG = {  # message -> changes to the metadata
    "lacks pooling; mend it": {"pooling": None},
    "has the unknown pooling 'median'; mend it": {"pooling": "median"},
    "does not match: it has yamnet_fingerprint '0000'": {"yamnet_fingerprint": "0000"},
    "has the temperature 0, which is not a number above zero; run `esc50 trust`": {"temperature": 0},
    "has the layers [13, 13, 14]: they must be distinct": {"layers": [13, 13, 14]},
    "has the layers [12, 13]: they must be distinct": {"layers": [12, 13]},
    "has the unknown rejection score 'nose'; run `esc50 trust`": {"rejection": RULE | {"score": "nose"}},
    "has the threshold 'x', which is not a number; run": {"rejection": RULE | {"threshold": "x"}},
    "has a rejection rule without neighbours, threshold, kept, meaning, by_share; run": {
        "rejection": {"score": "energy"}
    },
    "has a rejection rule without any of its keys; run": {"rejection": []},
}


@pytest.mark.parametrize("name", MODEL_REGISTRY)
def test_packaged_heads_have_complete_metadata(name):
    head, metadata = load_model(name)
    assert head.n_classes == len(metadata["class_names"]) == len(metadata["themes"]) == 50
    assert metadata["sample_rate_hz"] == load_runtime().metadata["sample_rate_hz"] == 16_000
    assert "CC BY-NC" in metadata["licence"]
    assert metadata["exported"]["versions"]["opset"] == 17
    assert 0.85 < metadata["cross_validated"]["accuracy"] < 1


def test_packaged_yamnet_has_complete_metadata():
    runtime = load_runtime()
    assert len(runtime.class_names) == 521 and "Dog" in runtime.class_names
    assert runtime.metadata["licence"] == "Apache-2.0"
    assert "YAMNet" in runtime.metadata["notice"]


def test_packaged_models_stay_small():
    sizes = {
        name: (PACKAGED_MODELS / name).stat().st_size for name in ("audio-classifier.onnx", *MODEL_REGISTRY.values())
    }
    assert sizes["audio-classifier.onnx"] < 10e6
    assert sum(sizes.values()) < 12e6


def test_a_command_names_the_model_where_it_is_not_the_default():
    assert command("trust") == command("trust", DEFAULT_MODEL) == "esc50 trust"
    assert command("ship", "plain") == "esc50 ship --model plain"


@pytest.mark.parametrize("wrong", ["Plain", "", "models/plain", Path("head.h5")])
def test_an_unknown_model_name_is_refused_with_the_known_names(wrong):
    with pytest.raises(
        ResultsError, match=r"no model named .*: choose from multilayer, plain, or give an \.onnx or a \.keras"
    ):
        load_model(wrong)


@pytest.mark.parametrize("ending", ["onnx", "keras"])
def test_a_file_that_is_missing_is_named(ending, tmp_path):
    with pytest.raises(ResultsError, match=rf"no such model file: .*mine\.{ending};"):
        load_model(tmp_path / f"mine.{ending}")


def test_an_invalid_onnx_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"no model")
    with pytest.raises(ResultsError, match="not a valid ONNX file, or is damaged") as error:
        load_model(tmp_path / "mine.onnx")
    assert "\n" not in str(error.value)


def test_a_custom_head_is_loaded_and_must_match_its_metadata(tmp_path):
    _, metadata = load_model("plain")
    layers = [
        (np.zeros((1024, 8), np.float32), np.zeros(8, np.float32)),
        (np.zeros((8, 50), np.float32), np.zeros(50, np.float32)),
    ]

    def write(name, **changes):
        texts = {"esc50": json.dumps(metadata | changes)}
        model = head_model(np.zeros(1024), np.ones(1024), layers, logarithm=False, metadata=texts)
        (tmp_path / name).write_bytes(model.SerializeToString())
        return tmp_path / name

    head, found = load_model(write("mine.onnx"))
    assert found == metadata
    np.testing.assert_allclose(head(np.ones((2, 1024), np.float32)), 0.02)
    with pytest.raises(ResultsError, match=r"maps 1024 inputs to 50 classes, but its metadata say 2048 and 50"):
        load_model(write("other.onnx", layers=[13, 14]))


@pytest.mark.parametrize(("message", "changes"), WRONG.items())
def test_invalid_metadata_are_refused(message, changes):
    _, metadata = load_model()
    changed = {key: value for key, value in (metadata | changes).items() if value is not None}
    with pytest.raises(ResultsError, match=re.escape(f"it {message}")):
        check_metadata(changed, "it", "mend it")


def test_metadata_of_another_file_are_refused(tmp_path):
    (tmp_path / "mine.keras").write_bytes(b"a head")
    with pytest.raises(ResultsError, match=r"no such model file: .*mine\.json;"):
        load_metadata(tmp_path / "mine.keras")
    (tmp_path / "mine.json").write_text("{")
    with pytest.raises(ResultsError, match="is damaged"):
        load_metadata(tmp_path / "mine.keras")
    (tmp_path / "mine.json").write_text(json.dumps({"sha256": "0"}))
    with pytest.raises(ResultsError, match="does not match: it has sha256 '0'"):
        load_metadata(tmp_path / "mine.keras")
