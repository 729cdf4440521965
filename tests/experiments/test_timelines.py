"""`esc50.experiments.timelines`: the committed result, a recomputed part of it, and separation of folds."""

import json
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest

from esc50.classifier.model_io import DEFAULT_MODEL
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS
from esc50.classifier.timeline import Event, TimelineSettings, calibrate_confidence
from esc50.config import FEATURES_DIR, FOLDS, RESULTS_DIR
from esc50.dataset.soundscapes import ReferenceEvent, SoundscapeSettings
from esc50.dataset.splits import official_splits, validation_split
from esc50.experiments import timelines
from esc50.experiments.shipping import RECIPES, Recipe


@pytest.fixture(scope="module")
def result():
    return json.loads((RESULTS_DIR / timelines.TIMELINE_FILE).read_text())


@pytest.mark.results
def test_the_result_is_whole_and_good(result):
    assert [row["fold"] for row in result["by_fold"]] == list(FOLDS)
    one, two = (result["pooled"][kind] for kind in timelines.KINDS)
    assert one["f1"] > 0.78 and two["f1"] > 0.6
    assert min(row["one_at_a_time"]["f1"] for row in result["by_fold"]) > 0.74
    assert one["psds2"] > one["psds1"] > 0.4
    assert result["n_recordings"] == {"one_at_a_time": 100, "overlapping": 100}
    assert result["soundscapes"] == json.loads(json.dumps(asdict(SoundscapeSettings())))


@pytest.mark.results
def test_confidence_is_the_share_of_events_that_are_right(result):
    found = result["calibration"]
    assert sum(row["n_events"] for row in found["bins"]) == found["n_events"] > 1_000
    assert found["ece"] < 0.05
    gaps = [row["n_events"] * abs(row["confidence"] - row["right"]) for row in found["bins"]]
    assert sum(gaps) / found["n_events"] == pytest.approx(found["ece"], abs=1e-3)


@pytest.mark.results
def test_the_settings_in_use_are_those_that_were_measured_of_the_default_model(result):
    assert result["in_use"] == {name: getattr(TimelineSettings(), name) for name in result["in_use"]}
    assert result["in_use"].keys() == {*timelines.GRID, "confidence_slope", "confidence_offset"}
    [found] = [each for each in result["calibration"]["bins"] if each["from"] == 0.8]  # as the app says: web.CONFIDENCE
    assert found["right"] == pytest.approx(found["confidence"], abs=0.02)
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
    monkeypatch.setattr(timelines, "segments", lambda frames, choice: {"f1": 0.0})
    timelines.validate(3, {fold: dict.fromkeys(timelines.KINDS, fold) for fold in FOLDS}, model=model)
    trained, validated, *others = used  # once for each width of the window and kind of soundscapes
    n_windows = len({choice.window_frames for choice in timelines.grid(model=model)})
    assert others == [validated] * (len(timelines.KINDS) * n_windows - 1)
    [split] = official_splits(clips, folds=[3])
    assert validated == set(clips["fold"].iloc[validation_split(clips, split).test])
    assert trained | validated == set(FOLDS) - {3}
    assert not trained & validated


def test_every_choice_is_scored_with_the_frames_of_its_own_window_and_the_best_is_chosen(monkeypatch):
    monkeypatch.setattr(Recipe, "head", lambda *_, **__: None)
    monkeypatch.setattr(timelines, "frames_of", lambda head, recordings, *, n_frames: n_frames)
    monkeypatch.setattr(timelines, "segments", lambda frames, choice: {"f1": frames == choice.window_frames == 3})
    nothing = dict.fromkeys(FOLDS, dict.fromkeys(timelines.KINDS))
    validation = [timelines.validate(fold, nothing, model="multilayer") for fold in (2, 3)]
    assert set(validation[0][0].values()) == {0, 1}
    chosen = timelines.choose(validation)
    assert chosen.window_frames == 3
    second = (dict.fromkeys(validation[1][0], 0.5) | {timelines.grid()[-1]: 9.0}, None)
    assert timelines.choose([validation[0], second]) == timelines.grid()[-1]


def frames_naming(labels, *, reference, confidence=0.9):
    """Frames of a head that names a label in each with some confidence, and what is truly there."""
    probabilities = np.full((len(labels), 50), (1 - confidence) / 49)
    probabilities[np.arange(len(labels)), labels] = confidence
    recording = timelines.Recording(None, reference, 0.48 * (len(labels) + 1))
    return timelines.Frames(probabilities, np.ones(len(labels), bool), recording)


DOG, ROOSTER = "dog", "rooster"  # the first two labels
UNCALIBRATED = {"confidence_slope": 1.0, "confidence_offset": 0.0}
SHARP = TimelineSettings(smoothing_frames=1, on_probability=0.5, off_probability=0.5, trim_frames=0, **UNCALIBRATED)


def test_psds_is_one_for_perfect_timelines_and_zero_for_wrong_ones():
    pytest.importorskip("sed_scores_eval")
    reference = (ReferenceEvent(0.0, 4.8, DOG), ReferenceEvent(3.0, 4.8, DOG), ReferenceEvent(4.8, 9.6, ROOSTER))
    right = frames_naming([0] * 10 + [1] * 9, reference=reference, confidence=1.0)
    found = timelines.psds([(right, SHARP)])
    assert found == {"psds1": pytest.approx(1.0), "psds2": pytest.approx(1.0)}
    wrong = frames_naming([1] * 10 + [0] * 9, reference=reference, confidence=1.0)
    assert timelines.psds([(wrong, SHARP)])["psds1"] == 0.0


def test_an_event_is_right_where_its_class_sounds_in_half_of_its_time():
    event = Event(1.0, 3.0, DOG, 0.5)
    assert timelines.is_right(event, [ReferenceEvent(0.0, 2.0, DOG)])
    assert not timelines.is_right(event, [ReferenceEvent(0.0, 1.9, DOG), ReferenceEvent(1.0, 3.0, ROOSTER)])
    assert not timelines.is_right(event, [ReferenceEvent(1.0, 1.6, DOG), ReferenceEvent(1.0, 1.6, DOG)])
    assert timelines.is_right(event, [ReferenceEvent(1.0, 1.6, DOG), ReferenceEvent(2.0, 2.4, DOG)])


def test_confidence_is_calibrated_to_the_share_of_right_events():
    """Of events at 0.9 half are right, of those at 0.6 one in ten."""
    frames = []
    for confidence, n_right in ((0.9, 10), (0.6, 2)):
        for number in range(20):
            name = DOG if number < n_right else ROOSTER
            reference = (ReferenceEvent(0.0, 4.8, name),)
            frames.append(frames_naming([0] * 9, reference=reference, confidence=confidence))
    validation = [(None, {SHARP.window_frames: {"one_at_a_time": frames}})]
    fitted = timelines.calibrate(SHARP, validation)
    assert [round(calibrate_confidence(p, fitted), 2) for p in (0.9, 0.6)] == [0.5, 0.1]
    events = timelines.judge_all([(frames, fitted)])
    found = timelines.reliability(events)
    assert (found["n_events"], found["right"]) == (40, 0.3)
    assert found["ece"] < 0.01
    assert timelines.reliability(timelines.judge_all([(frames, SHARP)]))["ece"] == pytest.approx(0.45, abs=0.01)


@pytest.mark.slow
def test_frames_are_read_in_windows(small_wide_head, rng):
    from esc50.classifier.timeline import windowed_maxima
    from esc50.yamnet.frames import active_frames, golden_embeddings

    vectors = rng.random((6, 5984), dtype=np.float32)
    vectors[:, -1024:] = golden_embeddings()
    recording = timelines.Recording(vectors.astype(np.float16), (), 3.4)
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
    """Heads are random, and psds needs a package with a compiler; the file is written for all folds only."""
    monkeypatch.setattr(timelines, "find_spec", lambda _: True)
    monkeypatch.setattr(timelines, "psds", lambda _: {"psds1": 0.5, "psds2": 0.5})
    head = small_head if model == "plain" else small_wide_head
    monkeypatch.setattr(Recipe, "fit", lambda *_, **__: head)
    monkeypatch.setattr(timelines, "embed_soundscapes", partial(timelines.embed_soundscapes, n_recordings=1))
    monkeypatch.setattr(timelines, "GRID", {name: values[:2] for name, values in timelines.GRID.items()})
    how = {"model": model, "settings": SoundscapeSettings(clips_per_recording=6), "folder": tmp_path, "progress": False}
    found = timelines.run_timelines(folds=(1,), **how)
    assert found["model"] == model and found["n_recordings"] == dict.fromkeys(timelines.KINDS, 5)
    assert [row["fold"] for row in found["by_fold"]] == [1]
    metrics = {"f1", "precision", "recall", "error_rate", "macro_f1", "psds1", "psds2"}
    assert [set(each) for each in found["pooled"].values()] == [metrics] * 2
    assert found["n_choices"] == 2 ** (len(timelines.GRID) - (model == "plain"))
    assert not list(tmp_path.iterdir())
    again = timelines.run_timelines(folds=FOLDS, **how)
    assert json.loads((tmp_path / timelines.TIMELINE_FILE).read_text()) == json.loads(json.dumps(again))


@pytest.mark.audio
@pytest.mark.results
def test_a_piece_made_anew_is_as_the_file_says(result, clips):
    model, row = result["model"], result["by_fold"][0]
    if not (FEATURES_DIR / f"{RECIPES[model].clip_features}.npz").is_file():
        pytest.skip("half a gigabyte each, so not computed for a test: `esc50 features layers layers_slow layers_fast`")
    head = RECIPES[model].head(official_splits(clips, folds=[1])[0].train)
    settings = TimelineSettings(**row["settings"])
    recordings = timelines.embed_soundscapes(1, model=model, n_recordings=1)["one_at_a_time"]
    frames = timelines.frames_of(head, recordings, n_frames=settings.window_frames)
    found = timelines.segments(frames, settings)
    for name, value in row["first_recording"].items():
        assert found[name] == pytest.approx(value, abs=0.05), name
