"""The table from AudioSet classes to ESC-50's is complete, with valid and unique names."""

import csv
from importlib.resources import files

import numpy as np

from esc50.classifier.audioset import AUDIOSET, audioset_matrix, audioset_prior, audioset_table
from esc50.dataset import class_names
from esc50.yamnet.runtime import load_runtime

WITHOUT = {"can_opening", "washing_machine"}  # classes that YAMNet does not have


def test_every_class_has_its_classes_of_audioset_but_two():
    assert {*class_names()} - {*audioset_table()} == WITHOUT


def test_every_name_is_one_of_yamnets_and_means_one_class():
    names = [name for each in audioset_table().values() for name in each]
    assert len({*names}) == len(names)
    assert {*names} <= {*load_runtime().class_names}


def test_every_line_has_an_id_of_the_ontology():
    with (files("esc50.classifier") / "audioset_classes.csv").open(encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    assert len({row["audioset_id"] for row in rows}) == len(rows)
    assert all(row["audioset_id"].startswith(("/m/", "/t/", "/g/")) for row in rows)


def test_the_matrix_says_which_is_which():
    audioset = load_runtime().class_names
    matrix = audioset_matrix(["dog", "can_opening", "own sound"], audioset)
    assert matrix[audioset.index("Bark"), 0] == 1
    assert matrix[audioset.index("Meow")].tolist() == [0, 0, 0]
    assert not matrix[:, 1:].any()


def test_classes_without_an_audioset_counterpart_get_a_fixed_score():
    _, bias, weight = audioset_prior(class_names(), load_runtime().class_names)
    unmapped = np.isin(class_names(), [*WITHOUT])
    np.testing.assert_allclose(bias, np.where(unmapped, AUDIOSET.unmapped, 0) + AUDIOSET.offset)
    assert weight == AUDIOSET.weight
