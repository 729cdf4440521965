"""`esc50.dataset.soundscapes`: recordings with ground truth, and segment-based metrics."""

import numpy as np
import pytest

from esc50.audio import synthesis
from esc50.dataset.soundscapes import (
    ReferenceEvent,
    SoundscapeSettings,
    active_spans,
    make_soundscape,
    segment_activity,
    segment_metrics,
)

RATE = 16_000
NAMES = ("dog", "rain", "siren")


def test_activity_leaves_out_silence_but_not_short_pauses():
    tone, pause, silence = synthesis.sine(440, seconds=1.0), np.zeros(RATE // 2, np.float32), np.zeros(2 * RATE)
    spans = active_spans(np.concatenate([silence, tone, pause, tone, silence, tone]).astype(np.float32))
    np.testing.assert_allclose(spans, [(2.0, 4.5), (6.5, 7.5)], atol=0.05)
    assert active_spans(synthesis.silence()) == []


def test_a_soundscape_holds_its_clips_where_the_reference_says():
    clips = [synthesis.sine(440, seconds=2.0), synthesis.sine(2_000, seconds=3.0)]
    whole = make_soundscape(clips, ("dog", "siren"), seed=4)
    assert [one.class_name for one in whole.reference] == ["dog", "siren"]
    for one, clip in zip(whole.reference, clips, strict=True):
        assert one.end_seconds - one.start_seconds == pytest.approx(len(clip) / RATE, abs=0.05)
        part = whole.waveform[round(one.start_seconds * RATE) + 1_000 : round(one.end_seconds * RATE) - 1_000]
        assert 10 ** (-12.1 / 20) <= np.abs(part).max() / 0.5 <= 1.001
    first, second = whole.reference
    assert not whole.waveform[: round(first.start_seconds * RATE)].any()
    assert 0 <= second.start_seconds - first.end_seconds <= 3.05
    assert whole.duration_seconds - second.end_seconds <= 3.05
    assert whole.waveform.dtype == np.float32


def test_clips_that_overlap_are_both_in_the_reference_at_their_level_against_each_other():
    settings = SoundscapeSettings(gap_seconds=(1.0, 1.0), gain_decibel=(0.0, 0.0), snr_decibel=(6.0, 6.0))
    clips = [synthesis.sine(500, seconds=4.0), 0.1 * synthesis.sine(2_000, seconds=4.0)]
    whole = make_soundscape(clips, ("dog", "siren"), seed=2, overlapping=True, settings=settings)
    first, second = whole.reference
    assert (first.class_name, second.class_name) == ("dog", "siren")
    assert first.start_seconds == pytest.approx(1.0, abs=0.05)
    assert first.start_seconds <= second.start_seconds <= first.end_seconds
    assert second.end_seconds - second.start_seconds == pytest.approx(4.0, abs=0.1)
    assert np.abs(whole.waveform).max() <= 1.0
    start = round((second.start_seconds + 0.1) * RATE)
    power = np.abs(np.fft.rfft(whole.waveform[start : start + RATE // 2])) ** 2  # 2 Hz a bin
    assert 10 * np.log10(power[1_000] / power[250]) == pytest.approx(6.0, abs=0.1)


def test_onsets_and_levels_of_overlapping_clips_are_drawn():
    clips, names = [synthesis.example("rain"), synthesis.example("siren")] * 3, ("rain", "siren") * 3
    whole = make_soundscape(clips, names, seed=2, overlapping=True)
    onsets = [
        b.start_seconds - a.start_seconds for a, b in zip(whole.reference[::2], whole.reference[1::2], strict=True)
    ]
    assert len(set(onsets)) == 3 and all(0 <= onset <= 5 for onset in onsets)
    same = make_soundscape(clips, names, seed=2, overlapping=True)
    np.testing.assert_array_equal(whole.waveform, same.waveform)
    silent = make_soundscape([synthesis.silence(), clips[0]], ("dog", "rain"), seed=2, overlapping=True)
    assert np.isfinite(silent.waveform).all() and [each.class_name for each in silent.reference] == ["rain"]


def test_every_second_recording_has_a_floor_of_noise():
    settings = SoundscapeSettings(gap_seconds=(2.0, 2.0), floor_decibel=(-60.0, -60.0))
    gap = make_soundscape([synthesis.sine(440)], ["dog"], seed=1, settings=settings).waveform[: 2 * RATE]
    assert np.std(gap) == pytest.approx(1e-3, rel=0.02)
    assert not make_soundscape([synthesis.sine(440)], ["dog"], seed=2, settings=settings).waveform[: 2 * RATE].any()


def test_one_seed_gives_one_recording():
    clips = [synthesis.example("rain"), synthesis.example("siren")]
    one, same, other = (make_soundscape(clips, ("rain", "siren"), seed=seed) for seed in (3, 3, 5))
    np.testing.assert_array_equal(one.waveform, same.waveform)
    assert one.reference == same.reference != other.reference


def test_a_segment_is_active_where_an_event_touches_it():
    active = segment_activity(
        [ReferenceEvent(0.9, 2.0, "dog"), ReferenceEvent(1.5, 1.6, "siren")], NAMES, duration_seconds=3.2
    )
    np.testing.assert_array_equal(active, [[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0]])


def test_metrics_by_hand():
    reference = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0]], bool)
    found = np.array([[1, 0, 0], [0, 1, 1], [0, 1, 0], [0, 0, 0]], bool)
    # hits: dog, siren; a substitution in segment 2, an insertion in segment 3, a deletion in segment 4
    metrics = segment_metrics(reference, found)
    assert metrics == pytest.approx(
        {
            "f1": 2 * 2 / (4 + 4),
            "precision": 2 / 4,
            "recall": 2 / 4,
            "error_rate": 3 / 4,
            "macro_f1": (2 / 3 + 0 + 1) / 3,
        }
    )


def test_metrics_of_all_and_of_nothing():
    reference = np.array([[1, 0], [0, 1]], bool)
    assert segment_metrics(reference, reference)["f1"] == 1
    nothing = segment_metrics(reference, np.zeros((2, 2), bool))
    assert (nothing["f1"], nothing["recall"], nothing["error_rate"]) == (0, 0, 1)
