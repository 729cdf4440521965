"""Events of live sound equal those of the timeline, without delay, for half a day."""

from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from esc50.audio import synthesis
from esc50.audio.loudness import level_blocks
from esc50.classifier import live, timeline
from esc50.classifier.live import BEGIN, DOUBT_FRAMES, END, UPDATE, WITHDRAWN, _Tracker, stream_events
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS
from esc50.classifier.timeline import TimelineSettings, detect_events, find_events, overlapping_blocks, windowed_blocks
from esc50.yamnet.frames import HOP_SAMPLES, n_patches

RATE = 16_000
BLOCK = RATE // 10
HOURS, HOPS_PER_HOUR = 12, 7_500


def blocks_of(waveform, elapsed=None):
    for start in range(0, len(waveform), BLOCK):
        if elapsed is not None:
            elapsed[0] = min(start + BLOCK, len(waveform)) / RATE
        yield waveform[start : start + BLOCK]


def changes_of(classifier, waveform, **options):
    """Return the seconds processed so far and each change but updates."""
    return [(at, change) for at, change in all_of(classifier, waveform, **options) if change.kind != UPDATE]


def all_of(classifier, waveform, **options):
    elapsed, changes = [0.0], []
    blocks = blocks_of(waveform, elapsed)
    stream_events(classifier, blocks, lambda change: changes.append((elapsed[0], change)), **options)
    return changes


def in_order(events):
    return sorted(events, key=lambda event: (event.start_seconds, event.end_seconds, event.class_name))


def ended(changes):
    return in_order(change.event for _, change in changes if change.kind == END)


def assert_each_begins_and_is_over_once(changes):
    begun = [change.number for _, change in changes if change.kind == BEGIN]
    over = [change.number for _, change in changes if change.kind != BEGIN]
    assert sorted(begun) == sorted(over) == list(range(1, len(begun) + 1))


def scene():
    """Examples with pauses of faint noise between them; and where each begins."""
    parts, starts, rng = [], {}, np.random.default_rng(2015)
    for name in ("siren", "church_bells", "keyboard_typing", "helicopter"):
        parts.append(np.zeros(4 * RATE, np.float32))
        starts[name] = sum(map(len, parts)) / RATE
        parts.append(synthesis.example(name))
    waveform = np.concatenate(parts)
    return waveform + rng.normal(0, 1e-4, len(waveform)).astype(np.float32), starts


def test_the_events_are_those_of_the_timeline_and_begin_in_time(shipped):
    waveform, starts = scene()
    changes = changes_of(shipped, waveform)
    expected = detect_events(shipped, waveform, sample_rate_hz=RATE)
    assert len(expected.events) >= 4
    assert_each_begins_and_is_over_once(changes)
    for found, event in zip(ended(changes), in_order(expected.events), strict=True):
        assert (found.class_name, found.is_known) == (event.class_name, event.is_known)
        times = (found.start_seconds, found.end_seconds, found.confidence)
        assert times == pytest.approx((event.start_seconds, event.end_seconds, event.confidence), abs=1e-3)
    for name, start in starts.items():
        begins = [
            at for at, change in changes if change.kind == BEGIN and change.event.class_name == name and at >= start
        ]
        assert begins[0] - start <= (1.5 if shipped.is_levelled else 2.0)


@pytest.mark.parametrize("seconds", [0.3, 0.975, 1.0, 2.5, 5.9])
def test_a_short_sound_has_the_events_of_its_timeline(classifier, seconds):
    waveform = synthesis.example("siren")[: round(seconds * RATE)]
    expected = detect_events(classifier, waveform, sample_rate_hz=RATE).events
    assert [(e.class_name, e.end_seconds) for e in ended(changes_of(classifier, waveform))] == [
        (e.class_name, pytest.approx(e.end_seconds)) for e in expected
    ]


@pytest.mark.parametrize(("trim", "silent", "max_gap"), [(0, 0.1, 2.0), (1, 0.1, 2.0), (0, 0.6, 2.0), (1, 0.6, 0.0)])
def test_frame_by_frame_the_runs_are_the_events_of_the_whole(rng, trim, silent, max_gap):
    settings = TimelineSettings(smoothing_frames=1, trim_frames=trim, max_gap_seconds=max_gap)
    for n_frames in (1, 2, 5, 30, 200):
        probabilities = rng.random((n_frames, 6)) ** rng.choice([2, 20, 60])
        active = rng.random(n_frames) > silent
        about = {"class_names": "abcdef", "duration_seconds": n_frames * 0.48 + 0.5, "settings": settings}
        tracker = _Tracker(settings)
        counted = zip(np.where(active[:, np.newaxis], probabilities, 0), active, strict=True)
        runs = [run for row, is_active in counted for run in tracker.push(row, is_active, None)]
        runs = [run for run in [*runs, *tracker.runs.values()] if run.is_event(settings)]
        expected = find_events(probabilities, active, **about)
        assert len(runs) == len(expected)
        spans = {("abcdef"[run.label], run.trimmed(n_frames, settings)[0]) for run in runs}
        starts = [0.0, *(i * 0.48 + 0.24 for i in range(1, n_frames))]
        assert spans == {(e.class_name, int(np.argmin(np.abs(np.array(starts) - e.start_seconds)))) for e in expected}


class Stub:
    """A classifier without networks: the mean of a frame separates its two classes.

    YAMNet would take a quarter of an hour for half a day of sound.
    """

    class_names, is_levelled = ("up", "down"), True
    metadata = {"pooling": MAXIMUM_OF_VECTORS}  # noqa: RUF012

    def __init__(self, is_known=True):
        self.is_known = is_known

    def embed_levelled(self, waveform):
        starts = np.arange(n_patches(len(waveform))) * HOP_SAMPLES
        means = np.array([waveform[start : start + 2 * HOP_SAMPLES : 16].mean() for start in starts])
        return np.maximum(np.stack([means, -means], axis=1), 0).astype(np.float32)

    def apply_head(self, vectors):
        return np.clip(20 * vectors - 0.3, 0, 1)

    def judge(self, vectors):
        return SimpleNamespace(is_known=self.is_known)


@pytest.fixture
def stub(monkeypatch):
    for module in (live, timeline):
        monkeypatch.setattr(module, "active_frames", lambda vectors: np.ones(len(vectors), bool))
    return Stub()


def half_a_day(memory):
    """Blocks of sound: now one class, now the other, some seconds each, with pauses; notes the memory every hour."""
    rng, hop, n_hops = np.random.default_rng(1), HOP_SAMPLES, 0
    noise = rng.normal(0, 1e-3, hop).astype(np.float32)
    while n_hops < HOURS * HOPS_PER_HOUR:
        level = np.float32(rng.choice([0, 0, 0.01, 0.1, 0.5, -0.05, -0.3]))
        for _ in range(rng.integers(2, 40)):
            if n_hops % HOPS_PER_HOUR == 0:
                memory.append(psutil.Process().memory_info().rss)
            n_hops += 1
            yield noise + level


@pytest.mark.slow
def test_half_a_day_loses_and_doubles_no_event_in_flat_memory(stub):
    memory, changes, settings = [], [], TimelineSettings()
    stream_events(stub, half_a_day(memory), lambda change: change.kind == UPDATE or changes.append((0, change)))
    assert len(memory) >= HOURS and max(memory[1:]) <= 1.05 * memory[1]
    assert_each_begins_and_is_over_once(changes)
    parts = overlapping_blocks(level_blocks(half_a_day([])), n_frames=64)
    read = [(stub.apply_head(p), active) for p, active in windowed_blocks(map(stub.embed_levelled, parts), n_frames=5)]
    probabilities, active = map(np.concatenate, zip(*read, strict=True))
    seconds = sum(map(len, half_a_day([]))) / RATE
    about = {"class_names": stub.class_names, "duration_seconds": seconds, "settings": settings}
    expected = in_order(find_events(probabilities, active, **about))
    assert len(expected) > 1_000
    assert [(e.class_name, e.start_seconds) for e in ended(changes)] == [
        (e.class_name, e.start_seconds) for e in expected
    ]
    np.testing.assert_allclose([e.end_seconds for e in ended(changes)], [e.end_seconds for e in expected])
    np.testing.assert_allclose([e.confidence for e in ended(changes)], [e.confidence for e in expected], atol=1e-5)


def test_an_event_that_goes_on_is_known_as_far_as_it_has_come(stub):
    sound = np.concatenate([np.full(4 * RATE, level, np.float32) for level in (0, 0.2, 0)])
    ends = [(at, change.event.end_seconds) for at, change in all_of(stub, sound) if change.kind == UPDATE]
    assert all(at - 1 < end <= at for at, end in ends if 5 < at < 8)
    assert max(end for at, end in ends if at > 11) < 10  # 8 s, and what the moving maximum adds


def test_rejected_events_are_reported_later(stub):
    sound = np.concatenate([np.full(4 * RATE, level, np.float32) for level in (0, 0.2, 0)])
    begins = {}
    for is_known in (True, False):
        [(at, change), *_] = changes_of(Stub(is_known), sound)
        assert (change.kind, change.event.is_known) == (BEGIN, is_known)
        begins[is_known] = at
    assert begins[False] - begins[True] == pytest.approx(DOUBT_FRAMES * 0.48, abs=0.1)


def test_an_event_made_faint_by_a_louder_sound_is_withdrawn(stub):
    """A faint sound is brought to the level of loud ones, until a loud one follows within five seconds."""
    levels = [0.0] * 2 + [0.01] * 2 + [0.0] + [-0.9] * 3 + [0.0] * 4
    sound = np.concatenate([np.full(RATE, level, np.float32) for level in levels])
    changes = changes_of(stub, sound)
    kinds = [change.kind for _, change in changes]
    assert kinds.count(WITHDRAWN) == 1 and kinds.count(END) == 1
    assert_each_begins_and_is_over_once(changes)
