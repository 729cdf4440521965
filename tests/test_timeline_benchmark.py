"""`esc50.timeline_benchmark`: the committed result, a piece of it made anew, and what it may not look at."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from esc50 import timeline_benchmark as benchmark
from esc50.config import FOLDS, RESULTS_DIR, StitchingSettings, TimelineSettings
from esc50.dataset import official_splits, validation_split


@pytest.fixture(scope="module")
def result():
    return json.loads((RESULTS_DIR / benchmark.TIMELINE_FILE).read_text())


def test_the_result_is_whole_and_good(result):
    assert [row["fold"] for row in result["by_fold"]] == list(FOLDS)
    assert result["pooled"]["f1"] > 0.7
    assert min(row["f1"] for row in result["by_fold"]) > 0.65
    assert result["n_recordings"] == 100
    assert result["stitching"] == json.loads(json.dumps(asdict(StitchingSettings())))


def test_the_settings_in_use_are_those_that_were_measured(result):
    assert result["in_use"] == {name: getattr(TimelineSettings(), name) for name in benchmark.GRID}
    assert result["grid"] == {name: list(values) for name, values in benchmark.GRID.items()}


def test_settings_are_chosen_without_the_reported_fold(clips, monkeypatch):
    used = []
    monkeypatch.setattr(benchmark, "train_head", lambda rows, *, seed: used.append(set(clips["fold"].iloc[rows])))
    monkeypatch.setattr(benchmark, "frames_of", lambda head, recordings: used.append({recordings}))
    monkeypatch.setattr(benchmark, "activity", lambda frames, choice: (np.ones((1, 50), bool),) * 2)
    benchmark.choose_settings(3, {fold: fold for fold in FOLDS})
    trained, validated = used
    [split] = official_splits(clips, folds=[3])
    assert validated == set(clips["fold"].iloc[validation_split(clips, split).test])
    assert trained | validated == set(FOLDS) - {3}
    assert not trained & validated


@pytest.mark.audio
@pytest.mark.yamnet
def test_a_piece_made_anew_is_as_the_file_says(result, clips):
    row = result["by_fold"][0]
    head = benchmark.train_head(official_splits(clips, folds=[1])[0].train)
    frames = benchmark.frames_of(head, benchmark.heard_recordings(1, n_recordings=1))
    settings = TimelineSettings(**row["settings"])
    found = benchmark.segment_scores(*benchmark.activity(frames, settings))
    for name, value in row["first_recording"].items():
        assert found[name] == pytest.approx(value, abs=0.05), name
