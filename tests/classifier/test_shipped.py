from pathlib import Path

import pytest

from esc50.classifier.model_io import DEFAULT_MODEL, MODELS, command, model_file
from esc50.config import ResultsError


def test_a_model_is_found_by_its_name_or_is_a_file_of_its_own(tmp_path):
    assert model_file() == model_file(None) == MODELS[DEFAULT_MODEL]
    assert [model_file(name) for name in MODELS] == list(MODELS.values())
    assert model_file("mine.keras") == Path("mine.keras")
    assert model_file(tmp_path / "mine.keras") == tmp_path / "mine.keras"


def test_a_command_names_the_model_where_it_is_not_the_default():
    assert command("trust") == command("trust", DEFAULT_MODEL) == "python -m esc50 trust"
    assert command("ship", "plain") == "python -m esc50 ship --model plain"


@pytest.mark.parametrize("wrong", ["Plain", "", "models/plain", Path("head.h5")])
def test_what_is_neither_is_refused_with_the_names(wrong):
    with pytest.raises(ResultsError, match=r"no model named .*: choose from layers, plain, or give a \.keras file"):
        model_file(wrong)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_there_with_its_card(name):
    assert MODELS[name].is_file()
    assert MODELS[name].with_suffix(".json").is_file()
