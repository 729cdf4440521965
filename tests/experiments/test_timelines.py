"""`esc50.experiments.timelines`: the committed result, a piece of it made anew, and what it may not look at."""

import json
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest

from esc50.classifier.model_io import DEFAULT_MODEL
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS
from esc50.classifier.timeline import TimelineSettings
from esc50.config import FEATURES_DIR, FOLDS, RESULTS_DIR
from esc50.dataset.soundscapes import SoundscapeSettings
from esc50.dataset.splits import official_splits, validation_split
from esc50.experiments import timelines
from esc50.experiments.shipping import RECIPES, Recipe


@pytest.fixture(scope="module")
def result():
    return json.loads((RESULTS_DIR / timelines.TIMELINE_FILE).read_text())


@pytest.mark.results
def test_the_result_is_whole_and_good(result):
    assert [row["fold"] for row in result["by_fold"]] == list(FOLDS)
    assert result["pooled"]["f1"] > 0.7
    assert min(row["f1"] for row in result["by_fold"]) > 0.65
    assert result["n_recordings"] == 100
    assert result["soundscapes"] == json.loads(json.dumps(asdict(SoundscapeSettings())))


@pytest.mark.results
def test_the_settings_in_use_are_those_that_were_measured_of_the_default_model(result):
    assert result["in_use"] == {name: getattr(TimelineSettings(), name) for name in timelines.GRID}
    assert result["grid"] == {name: list(values) for name, values in timelines.GRID.items()}
    assert result["model"] == DEFAULT_MODEL
    assert result["recipe"] == RECIPES[DEFAULT_MODEL].about


def test_windows_are_chosen_for_heads_on_maxima_only(monkeypatch):
    monkeypatch.setitem(RECIPES, "multilayer", replace(RECIPES["plain"], pooling=MAXIMUM_OF_VECTORS))
    plain, layers = timelines.grid(model="plain"), timelines.grid(model="multilayer")
    assert {choice.window_frames for choice in plain} == {1}
    assert {choice.window_frames for choice in layers} == set(timelines.GRID["window_frames"])
    assert len({*layers}) == len(layers) == len(plain) * len(timelines.GRID["window_frames"])
    assert len(layers) == np.prod([len(values) for values in timelines.GRID.values()])


@pytest.mark.parametrize("model", RECIPES)
def test_settings_are_chosen_without_the_reported_fold(clips, monkeypatch, model):
    used = []

    def head(recipe, rows, *, seed):
        used.append(set(clips["fold"].iloc[rows]))

    monkeypatch.setattr(Recipe, "head", head)
    monkeypatch.setattr(timelines, "frames_of", lambda head, recordings, *, n_frames: used.append({recordings}))
    monkeypatch.setattr(timelines, "activity", lambda frames, choice: (np.ones((1, 50), bool),) * 2)
    timelines.choose_settings(3, {fold: fold for fold in FOLDS}, model=model)
    trained, validated, *others = used  # once for each width of the window
    assert others == [validated] * (len({c.window_frames for c in timelines.grid(model=model)}) - 1)
    [split] = official_splits(clips, folds=[3])
    assert validated == set(clips["fold"].iloc[validation_split(clips, split).test])
    assert trained | validated == set(FOLDS) - {3}
    assert not trained & validated


def test_every_choice_is_scored_with_the_frames_of_its_own_window(monkeypatch):
    monkeypatch.setattr(Recipe, "head", lambda *_, **__: None)
    monkeypatch.setattr(timelines, "frames_of", lambda head, recordings, *, n_frames: n_frames)
    scored = []

    def activity(frames, choice):
        scored.append((frames, choice.window_frames))
        return ()

    monkeypatch.setattr(timelines, "segment_metrics", lambda *_: {"f1": float(scored[-1][0] == 3)})
    monkeypatch.setattr(timelines, "activity", activity)
    chosen, _ = timelines.choose_settings(2, dict.fromkeys(FOLDS), model="multilayer")
    assert all(frames == window for frames, window in scored)
    assert chosen.window_frames == 3


@pytest.mark.slow
def test_frames_are_read_in_windows(small_wide_head, rng):
    from esc50.classifier.timeline import windowed_maxima
    from esc50.yamnet.frames import active_frames, golden_embeddings

    vectors = rng.random((6, 5984), dtype=np.float32)
    vectors[:, -1024:] = golden_embeddings()
    recording = timelines.Recording(vectors.astype(np.float16), np.ones((4, 50), bool), 3.4)
    stored = recording.vectors.astype(np.float32)
    head = partial(small_wide_head.predict, verbose=0)
    for n_frames in (1, 3):
        [(probabilities, active, same)] = timelines.frames_of(head, [recording], n_frames=n_frames)
        assert same is recording
        assert active.tolist() == active_frames(vectors).tolist()
        maxima = windowed_maxima(stored, active, n_frames=n_frames)
        np.testing.assert_allclose(probabilities, head(maxima), atol=1e-6)


@pytest.mark.audio
@pytest.mark.slow
@pytest.mark.parametrize("model", RECIPES)
def test_a_small_part_runs_from_the_recordings_to_the_scores(model, small_head, small_wide_head, monkeypatch, tmp_path):
    """With heads that know nothing; the file is written for all folds only."""
    head = small_head if model == "plain" else small_wide_head
    monkeypatch.setattr(Recipe, "fit", lambda *_, **__: head)
    monkeypatch.setattr(timelines, "embed_soundscapes", partial(timelines.embed_soundscapes, n_recordings=1))
    monkeypatch.setattr(timelines, "GRID", {name: values[:2] for name, values in timelines.GRID.items()})
    how = {"model": model, "settings": SoundscapeSettings(clips_per_recording=2), "folder": tmp_path, "progress": False}
    found = timelines.run_timelines(folds=(1,), **how)
    assert found["model"] == model and found["n_recordings"] == 5
    assert [row["fold"] for row in found["by_fold"]] == [1]
    assert set(found["pooled"]) == {"f1", "precision", "recall", "error_rate", "macro_f1"}
    assert found["in_use"].keys() == timelines.GRID.keys()
    assert not list(tmp_path.iterdir())
    again = timelines.run_timelines(folds=FOLDS, **how)
    assert json.loads((tmp_path / timelines.TIMELINE_FILE).read_text()) == json.loads(json.dumps(again))


@pytest.mark.audio
@pytest.mark.results
def test_a_piece_made_anew_is_as_the_file_says(result, clips):
    model, row = result["model"], result["by_fold"][0]
    if not (FEATURES_DIR / f"{RECIPES[model].clip_features}.npz").is_file():
        pytest.skip("half a gigabyte each, so not computed for a test: `esc50 features layers layers_slow layers_fast`")
    head = RECIPES[model].fit(official_splits(clips, folds=[1])[0].train)
    settings = TimelineSettings(**row["settings"])
    recordings = timelines.embed_soundscapes(1, model=model, n_recordings=1)
    frames = timelines.frames_of(head, recordings, n_frames=settings.window_frames)
    found = timelines.measure(timelines.activity(frames, settings))
    for name, value in row["first_recording"].items():
        assert found[name] == pytest.approx(value, abs=0.05), name
