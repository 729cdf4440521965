"""Precision of made-up vectors, by hand."""

import numpy as np
import pytest

from esc50.experiments import retrieval


def test_precision_is_that_computed_by_hand_and_parts_of_one_recording_do_not_count(monkeypatch):
    degrees = np.radians([0, 30, 10, 90, 200, 270])
    vectors, recordings = 3 * np.stack([np.cos(degrees), np.sin(degrees)], axis=1), np.array(list("abacde"))
    sounds = retrieval.Sounds([], [], np.array([0, 0, 1, 1, 2, 2]), recordings)
    monkeypatch.setattr(retrieval, "load_sounds", lambda _: sounds)
    monkeypatch.setattr(retrieval, "_candidates", lambda _: [("made up", np.arange(6), lambda group: vectors)])
    found = retrieval.measure()
    assert found["target"].tolist() == [0, 0, 1, 1, 2, 2]
    assert found["average_precision"].tolist() == [1, 1 / 2, 1 / 2, 1 / 2, 1, 1]
    assert found["precision_at_10"].tolist() == [1 / 4, 1 / 5, 1 / 4, 1 / 5, 1 / 5, 1 / 5]
    choice, report = retrieval.summarise(found).to_dict("records")
    assert (choice["used_for"], choice["classes"], choice["queries"], choice["others"]) == ("choice", 2, 4, 0)
    assert (choice["average_precision"], choice["precision_at_10"]) == pytest.approx((0.875, 0.2125))
    assert report["average_precision_low"] == report["average_precision_high"] == 1 / 2


def test_a_file_that_names_no_recording_is_one_by_itself():
    rows = (
        {"filename": "1.wav"},
        {"filename": "1.wav", "source": "x", "recording": ""},
        {"source": "x", "recording": "r"},
    )
    assert [*map(retrieval._name_recording, rows)] == [" 1.wav", "x 1.wav", "x r"]
