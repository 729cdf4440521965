"""`esc50.classifier.timeline`: blocks, frames, events, exports."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from esc50.audio import synthesis
from esc50.audio.streams import SoundStream
from esc50.classifier import timeline
from esc50.classifier.model_io import MODEL_REGISTRY
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS, POOLING_NAMES
from esc50.classifier.predict import SoundClassifier
from esc50.classifier.timeline import (
    PLAIN_TIMELINE,
    Event,
    TimelineSettings,
    calibrate_confidence,
    detect_events,
    find_events,
    frame_borders,
    judge_events,
    overlapping_blocks,
    settings_for,
    smooth_probabilities,
    timeline_of,
    window_of,
    windowed_blocks,
    windowed_maxima,
)
from esc50.config import AudioError
from esc50.yamnet.frames import GOLDEN_FILE, active_frames, golden_embeddings, n_patches

RATE = 16_000
NAMES = ("dog", "rain", "siren")
PLAIN = TimelineSettings(
    smoothing_frames=1,
    on_probability=0.5,
    off_probability=0.5,
    max_gap_seconds=0.0,
    min_event_seconds=0.0,
    trim_frames=0,
    confidence_slope=1.0,
    confidence_offset=0.0,
)


def frames(labels, confidence=0.9):
    """Probabilities (n_frames, 3) of frames that are sure of a label; None is unsure."""
    probabilities = np.full((len(labels), 3), 1 / 3)
    for row, label in zip(probabilities, labels, strict=True):
        if label is not None:
            row[:] = (1 - confidence) / 2
            row[label] = confidence
    return probabilities


def events_of(labels, *, active=None, settings=PLAIN):
    active = np.ones(len(labels), bool) if active is None else np.array(active)
    seconds = 0.48 * (len(labels) + 1)
    return find_events(frames(labels), active, class_names=NAMES, duration_seconds=seconds, settings=settings)


def spans(events):
    return [(e.class_name, round(e.start_seconds, 2), round(e.end_seconds, 2)) for e in events]


# Blocks


@pytest.mark.parametrize("n_samples", [1, 15_599, 15_600, 15_601, 23_280, 23_281, 30_960, 100_000, 7_680 * 8 + 7_920])
@pytest.mark.parametrize("n_frames", [1, 3, 64])
def test_parts_hold_the_frames_of_the_whole(n_samples, n_frames, rng):
    waveform = rng.uniform(-1, 1, n_samples).astype(np.float32)
    cuts = np.sort(rng.integers(0, n_samples + 1, 5))
    parts = list(overlapping_blocks(np.split(waveform, cuts), n_frames=n_frames))
    assert sum(n_patches(len(part)) for part in parts) == n_patches(n_samples)
    assert all(n_patches(len(part)) == n_frames for part in parts[:-1])
    for number, part in enumerate(parts):
        start = number * n_frames * 7_680
        np.testing.assert_array_equal(part, waveform[start : start + len(part)])
    assert start + len(part) == n_samples


@pytest.mark.parametrize(("rate", "ending"), [(RATE, "wav"), (44_100, "flac")])
def test_frames_of_blocks_are_those_of_the_whole(small_classifier, tmp_path, rate, ending):
    path = tmp_path / f"long.{ending}"
    sounds = [synthesis.example(name, seconds=4.0) for name in ("siren", "rain", "clock_tick")]
    soundfile.write(path, np.tile(np.concatenate(sounds), 2), rate)
    heard = detect_events(small_classifier, path, settings=TimelineSettings(frames_per_block=7))
    whole = small_classifier.predict(path)
    np.testing.assert_allclose(heard.probabilities, whole.frame_probabilities, atol=1e-5)
    np.testing.assert_array_equal(heard.frame_seconds, whole.frame_seconds)
    assert heard.duration_seconds == whole.sound.duration_seconds
    assert heard.warnings == whole.warnings


def test_progress_is_reported_block_by_block(small_classifier):
    told = []
    detect_events(
        small_classifier, np.zeros(40 * 44_100, np.float32), sample_rate_hz=44_100, on_block=lambda *a: told.append(a)
    )
    heard, expected = zip(*told, strict=True)
    assert list(heard) == sorted(heard)
    assert heard[-1] == expected[-1] == 40.0
    assert len(told) > 5


@pytest.mark.parametrize(("expected", "told"), [(12.0, "0/12 s"), (None, "timeline: 0 s [")])
def test_the_progress_bar_needs_no_length_and_is_gone_at_the_end(small_classifier, monkeypatch, capsys, expected, told):
    monkeypatch.setattr(SoundStream, "expected_seconds", expected)
    detect_events(small_classifier, np.zeros(12 * RATE), sample_rate_hz=RATE, progress=True)
    shown = capsys.readouterr().err
    assert told in shown and not shown.split("\r")[-2].strip()


def test_a_recording_longer_than_the_limit_is_refused(small_classifier):
    with pytest.raises(AudioError, match=r"longer than 0\.00277778 hours: cut it into parts"):
        settings = TimelineSettings(max_seconds=10.0)
        detect_events(small_classifier, np.zeros(11 * RATE), sample_rate_hz=RATE, settings=settings)


def test_silence_has_no_events(shipped):
    heard = detect_events(shipped, synthesis.silence(seconds=20.0), sample_rate_hz=RATE)
    assert heard.events == ()
    assert not heard.active.any()
    assert "silent" in heard.warnings[0]


def test_sounds_between_silences_are_found_where_they_are(shipped):
    pause = synthesis.silence(seconds=3.0)
    parts = [pause, synthesis.example("siren"), pause, synthesis.example("church_bells"), pause]
    whole = np.concatenate(parts)
    heard = detect_events(shipped, whole, sample_rate_hz=RATE)
    assert [event.class_name for event in heard.events] == ["siren", "church_bells"]
    same = timeline_of(shipped.predict(whole, sample_rate_hz=RATE), classifier=shipped).events
    assert list(heard.events) == [replace(event, confidence=pytest.approx(event.confidence)) for event in same]
    for event, start in zip(heard.events, (3.0, 11.0), strict=True):
        assert event.start_seconds == pytest.approx(start, abs=0.75)
        assert event.end_seconds == pytest.approx(start + 5.0, abs=0.75)


def test_each_event_is_judged_by_its_own_frames_as_a_sound_of_its_own(shipped):
    parts = [synthesis.example(name, seconds=6.24) for name in ("siren", "clock_tick", "church_bells")]
    whole, seconds = np.concatenate(parts), 3 * 6.24
    vectors = shipped.predict(whole, sample_rate_hz=RATE).vectors
    rules = [shipped.judge(vectors[first : first + 12]).ood_score for first in (0, 13, 26)]
    middle = sorted(rules)[1]
    metadata = {**shipped.metadata, "rejection": {**shipped.metadata["rejection"], "threshold": middle}}
    borders = frame_borders(len(vectors), seconds)
    events = [Event(borders[first], borders[first + 12], "dog", 0.5) for first in (0, 13, 26)]
    judged = judge_events(events, vectors, classifier=replace(shipped, metadata=metadata), duration_seconds=seconds)
    assert [event.is_known for event in judged] == [score >= middle for score in rules]
    assert sum(event.is_known for event in judged) == 2


def test_events_below_the_threshold_are_rejected_in_both_timelines(shipped):
    strict = replace(
        shipped, metadata={**shipped.metadata, "rejection": {**shipped.metadata["rejection"], "threshold": 99.0}}
    )
    siren = synthesis.example("siren")
    heard = detect_events(strict, siren, sample_rate_hz=RATE)
    assert [(event.class_name, event.is_known) for event in heard.events] == [("siren", False)]
    [event] = timeline_of(strict.predict(siren, sample_rate_hz=RATE), classifier=strict).events
    assert not event.is_known


# Windows


def test_a_window_takes_the_maximum_of_active_frames():
    vectors = np.array([[1, 0], [9, 9], [2, 5], [0, 7], [8, 8]], np.float32)
    active = np.array([True, False, True, True, False])
    expected = [[1, 0], [2, 5], [2, 7], [2, 7], [0, 7]]  # frames 1 and 4 are silent, but not all around them is
    np.testing.assert_array_equal(windowed_maxima(vectors, active, n_frames=3), expected)
    np.testing.assert_array_equal(windowed_maxima(vectors, active, n_frames=9), [[2, 7]] * 5)


def test_frames_without_active_neighbours_are_unchanged(rng):
    vectors = rng.random((6, 4), dtype=np.float32)
    np.testing.assert_array_equal(windowed_maxima(vectors, np.zeros(6, bool), n_frames=5), vectors)
    np.testing.assert_array_equal(windowed_maxima(vectors, np.arange(6) < 3, n_frames=1), vectors)
    np.testing.assert_array_equal(windowed_maxima(vectors, np.arange(6) < 2, n_frames=3)[3:], vectors[3:])


@pytest.mark.parametrize("n_frames", [1, 3, 5])
@pytest.mark.parametrize("n_block_frames", [1, 2, 7, 30])
def test_windows_of_blocks_are_those_of_the_whole(rng, n_frames, n_block_frames):
    vectors = rng.random((23, 1100), dtype=np.float32)
    vectors[:, -1024:] = golden_embeddings()[rng.integers(0, 6, 23)]
    with np.load(GOLDEN_FILE) as golden:
        vectors[rng.random(23) < 0.5, -1024:] = golden["silence"]
    active = active_frames(vectors)
    assert 0 < active.sum() < 23
    blocks = [vectors[i : i + n_block_frames] for i in range(0, 23, n_block_frames)]
    maxima, mask = map(np.concatenate, zip(*windowed_blocks(blocks, n_frames=n_frames), strict=True))
    np.testing.assert_array_equal(maxima, windowed_maxima(vectors, active, n_frames=n_frames))
    np.testing.assert_array_equal(mask, active)


def test_only_heads_on_maxima_read_frames_in_windows():
    settings = TimelineSettings(window_frames=5)
    for pooling in POOLING_NAMES:
        assert window_of(pooling, settings) == (5 if pooling == MAXIMUM_OF_VECTORS else 1)


@pytest.mark.parametrize("model", MODEL_REGISTRY)
def test_each_kind_of_heads_has_its_own_settings(model):
    listener = SoundClassifier.load(model)
    expected = TimelineSettings() if model == "multilayer" else PLAIN_TIMELINE
    assert TimelineSettings() != PLAIN_TIMELINE
    assert settings_for(listener.metadata["pooling"]) == expected
    assert timeline.detect_events(listener, "example:siren").settings == expected


def test_a_head_on_maxima_uses_neighbouring_frames(small_classifier):
    settings = TimelineSettings(window_frames=3, frames_per_block=7)
    on_maxima = replace(small_classifier, metadata=small_classifier.metadata | {"pooling": MAXIMUM_OF_VECTORS})
    parts = [synthesis.example("siren"), synthesis.silence(seconds=3.0), synthesis.example("rain")]
    whole = on_maxima.predict(np.concatenate(parts), sample_rate_hz=RATE)
    vectors, active = whole.vectors, active_frames(whole.vectors)
    expected = on_maxima.apply_head(windowed_maxima(vectors, active, n_frames=3))
    assert np.abs(expected - whole.frame_probabilities).max() > 1e-3
    for told in (
        detect_events(on_maxima, np.concatenate(parts), sample_rate_hz=RATE, settings=settings),
        timeline_of(whole, classifier=on_maxima, settings=settings),
    ):
        np.testing.assert_allclose(told.probabilities, expected, atol=1e-5)
        np.testing.assert_array_equal(told.active, active)
    alone = timeline_of(whole, classifier=small_classifier, settings=settings)  # its pooling is another
    np.testing.assert_allclose(alone.probabilities, whole.frame_probabilities, atol=1e-6)


# Memory

MEMORY = """
import re, sys
from pathlib import Path
from esc50.classifier.predict import SoundClassifier
from esc50.classifier.timeline import detect_events

classifier = SoundClassifier.load(sys.argv[1])
for path in sys.argv[2:]:
    seconds = detect_events(classifier, path).duration_seconds
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's memory too
    print(seconds, 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the largest resident memory is read from /proc")
@pytest.mark.parametrize("model", MODEL_REGISTRY)
def test_memory_is_bounded_and_does_not_grow_with_length(tmp_path, model):
    minute = np.random.default_rng(0).uniform(-0.5, 0.5, (60 * 44_100, 2))
    for minutes in (1, 6):  # six minutes of samples would take 127 MB
        with soundfile.SoundFile(tmp_path / f"{minutes}.wav", "w", 44_100, 2) as file:
            for _ in range(minutes):
                file.write(minute)
    command = [sys.executable, "-c", MEMORY, model, tmp_path / "1.wav", tmp_path / "6.wav"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (short_seconds, short_bytes), (long_seconds, long_bytes) = (
        map(float, line.split()) for line in answer.splitlines()
    )
    assert (short_seconds, long_seconds) == (60.0, 360.0)
    assert long_bytes - short_bytes < 80e6  # of an event's frames ten minutes at the most are judged: 30 MB, held twice
    assert long_bytes < 400e6


# Events


def test_a_single_click_in_silence_is_an_event():
    labels = [None] * 5 + [2, 2, 2] + [None] * 5  # half a second of sound is in three frames
    active = [label is not None for label in labels]
    [event] = events_of(labels, active=active, settings=TimelineSettings())
    assert event.class_name == "siren"


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_a_short_sound_is_an_event_only_between_silences(n_frames):
    labels = [None] * 5 + [2] * n_frames + [None] * 5
    silent = [label is not None for label in labels]
    noisy = [True] * len(labels)
    how = replace(TimelineSettings(), smoothing_frames=1, off_probability=0.5)
    assert len(events_of(labels, active=silent, settings=how)) == 1
    assert len(events_of(labels, active=noisy, settings=how)) == (n_frames == 3)
    one_side = [True] * 5 + silent[5:]
    assert len(events_of(labels, active=one_side, settings=how)) == (n_frames >= 2)


def test_equal_neighbours_make_one_event_up_to_the_middle_of_the_overlap():
    assert spans(events_of([0, 0, 0, 2, 2])) == [("dog", 0.0, 1.68), ("siren", 1.68, 2.88)]
    assert spans(events_of([None, 1, 1, None])) == [("rain", 0.72, 1.68)]
    assert spans(events_of([1])) == [("rain", 0.0, 0.96)]
    assert events_of([None, None]) == ()


def test_a_frame_below_the_confidence_or_in_silence_is_no_event():
    sure = replace(PLAIN, on_probability=0.91)
    assert events_of([0, 0, 0], settings=sure) == ()
    assert spans(events_of([0, 0, 0], active=[True, False, True])) == [("dog", 0.0, 0.72), ("dog", 1.2, 1.92)]


def test_gaps_are_closed_whatever_else_sounds_in_them():
    close = replace(PLAIN, max_gap_seconds=1.0)
    assert spans(events_of([0, None, None, 0], settings=close)) == [("dog", 0.0, 2.4)]
    assert len(events_of([0, None, None, None, 0], settings=close)) == 2
    assert spans(events_of([0, 0, 1, 0, 0], settings=close)) == [("dog", 0.0, 2.88), ("rain", 1.2, 1.68)]


def test_a_short_event_is_dropped_and_does_not_cut_another():
    settings = replace(PLAIN, max_gap_seconds=0.5, min_event_seconds=0.9)
    assert spans(events_of([0, 0, 1, 0, 0], settings=settings)) == [("dog", 0.0, 2.88)]
    assert events_of([None, 0, None], settings=settings) == ()


def told(probabilities, **settings):
    probabilities, seconds = np.array(probabilities, float), 0.48 * (len(probabilities) + 1)
    how = {"class_names": NAMES, "duration_seconds": seconds, "settings": replace(PLAIN, **settings)}
    return find_events(probabilities, np.ones(len(probabilities), bool), **how)


def test_overlapping_sounds_are_both_detected():
    events = told([[0.9, 0.1, 0], [0.5, 0.5, 0], [0.4, 0.6, 0], [0, 1, 0]], on_probability=0.4, off_probability=0.4)
    assert spans(events) == [("dog", 0.0, 1.68), ("rain", 0.72, 2.4)]


def test_an_event_begins_at_one_probability_and_ends_at_a_lower_one():
    sinking = [[0.1, 0, 0], [0.6, 0, 0], [0.3, 0, 0], [0.19, 0, 0], [0.3, 0, 0]]
    assert spans(told(sinking, off_probability=0.2)) == [("dog", 0.72, 1.68)]
    assert told([[0.3, 0, 0], [0.49, 0, 0]], off_probability=0.2) == ()


def test_events_are_trimmed_where_they_do_not_touch_an_end_of_the_recording():
    assert spans(events_of([0, 0, 0, 1, 1, 1, 1, 0], settings=replace(PLAIN, trim_frames=1))) == [
        ("dog", 0.0, 1.2),
        ("rain", 2.16, 3.12),
        ("dog", 3.6, 4.32),
    ]
    [click] = events_of([None, 2, 2, None], settings=replace(PLAIN, trim_frames=2))
    assert click.end_seconds > click.start_seconds


def test_confidence_is_the_logistic_of_the_mean_over_the_event():
    [event] = told([[0.6, 0.2, 0.2], [0.8, 0.1, 0.1]])
    assert event == Event(0.0, 1.44, "dog", pytest.approx(0.7))
    [event] = told([[0.6, 0.2, 0.2], [0.8, 0.1, 0.1]], confidence_slope=2.0, confidence_offset=1.0)
    odds = np.e * (0.7 / 0.3) ** 2
    assert event.confidence == pytest.approx(odds / (1 + odds))
    assert 0 < calibrate_confidence(0.0, PLAIN) < calibrate_confidence(1.0, PLAIN) < 1


def test_smoothing_averages_neighbours_and_counts_silence_as_nothing():
    probabilities = frames([0, 0, 1, 0, 0])
    smooth = smooth_probabilities(probabilities, np.ones(5, bool), n_frames=3)
    np.testing.assert_allclose(smooth[2, :2], [(0.9 + 0.05 + 0.9) / 3, (0.05 + 0.9 + 0.05) / 3])
    np.testing.assert_allclose(smooth.sum(axis=1), 1)
    silent = smooth_probabilities(probabilities, np.array([True, True, False, True, True]), n_frames=3)
    np.testing.assert_allclose(silent[2, 0], 0.6)
    alone = smooth_probabilities(probabilities, np.ones(5, bool), n_frames=1)
    np.testing.assert_allclose(alone, probabilities, atol=1e-12)


# Exports


@pytest.fixture
def heard():
    events = (Event(0.72, 1.68, "door_wood_knock", 0.51234567, is_known=False), Event(2.0, 3661.5, "rain", 1.0))
    facts = timeline.SoundFacts(
        source_sample_rate_hz=44_100.0, source_channels=2, duration_seconds=3662.0, peak=0.005, clipped_fraction=0.0
    )
    return timeline.Timeline(events, 3662.0, NAMES, frames([0]), np.ones(1, bool), facts, TimelineSettings())


def test_csv(heard, tmp_path):
    rows = list(csv.reader(heard.to_csv(tmp_path / "events.csv").open()))
    assert rows == [
        ["start_seconds", "end_seconds", "class_name", "confidence", "is_known"],
        ["0.72", "1.68", "door_wood_knock", "0.5123", "False"],
        ["2.0", "3661.5", "rain", "1.0", "True"],
    ]


def test_json(heard, tmp_path):
    content = json.loads(heard.to_json(str(tmp_path / "events.json")).read_text())
    assert content["duration_seconds"] == 3662.0
    rain = {"start_seconds": 2, "end_seconds": 3661.5, "class_name": "rain", "confidence": 1, "is_known": True}
    assert content["events"][1] == rain
    assert content["events"][0]["is_known"] is False
    assert content["settings"]["on_probability"] == TimelineSettings().on_probability
    assert content["verdict"] == heard.verdict
    assert content["warnings"] == ["The sound is very quiet: it stays 46 dB below full scale."]


def test_an_audacity_label_track_has_start_end_and_label_between_tabs(heard, tmp_path):
    text = heard.to_audacity(tmp_path / "labels.txt").read_text()
    assert text == "0.720000\t1.680000\tnone of these (door wood knock?)\n2.000000\t3661.500000\train\n"


@pytest.mark.parametrize("export", ["to_csv", "to_json", "to_audacity"])
def test_a_timeline_without_events_can_be_exported(heard, tmp_path, export):
    path = getattr(replace(heard, events=()), export)(tmp_path / "none")
    assert [file.name for file in tmp_path.iterdir()] == ["none"]
    assert "rain" not in path.read_text()


@pytest.mark.parametrize("export", ["to_csv", "to_json", "to_audacity"])
def test_an_interrupted_export_leaves_the_old_file(heard, tmp_path, monkeypatch, export):
    path = tmp_path / "events"
    path.write_text("old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        getattr(heard, export)(path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_a_full_disk_gives_a_message_with_advice():
    class Full:
        def write(self, _):
            raise OSError(28, "No space left on device")

    with pytest.raises(
        AudioError, match=r"cannot write temporary vectors to .* \(No space left on device\): free some space"
    ):
        list(timeline._store_blocks([np.zeros((1, 2), np.float32)], Full()))
