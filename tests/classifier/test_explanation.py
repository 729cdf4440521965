from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from esc50.audio import synthesis
from esc50.audio.streams import Sound
from esc50.classifier.explanation import ExplanationSettings, explain, first_explained_frame, mel_edges, split_bands
from esc50.dataset.features import log_mel
from esc50.reporting import plots
from esc50.yamnet.frames import HOP_SAMPLES, PATCH_SAMPLES, pad_waveform, silent_embedding

RATE = 16_000
LOW_HZ, HIGH_HZ = 300.0, 3_200.0  # in the bands 0 and 5
LOW, HIGH = 0, 5


class FakeClassifier:
    """A classifier by power: "high" above 1 kHz, "low" below, "nothing" for silence."""

    class_names = ("low", "high", "nothing")

    def __init__(self, pooling="mean_of_sound"):
        self.metadata = {"pooling": pooling, "temperature": 1.0}

    def embed_batch(self, waveforms):
        """Return the power of each frame above and below 1 kHz."""
        starts = range(0, waveforms.shape[1] - PATCH_SAMPLES + 1, HOP_SAMPLES)
        patches = np.stack([waveforms[:, start : start + PATCH_SAMPLES] for start in starts], axis=1)
        power = np.abs(np.fft.rfft(patches)) ** 2 / PATCH_SAMPLES**2  # (n_clips, n_frames, n_bins)
        border = round(1_000 * PATCH_SAMPLES / RATE)
        vectors = np.zeros((*patches.shape[:2], 1024), np.float32)
        vectors[..., 0] = power[..., :border].sum(axis=-1)
        vectors[..., 1] = power[..., border:].sum(axis=-1)
        return vectors

    def apply_head(self, vectors):
        odds = np.stack([100 * vectors[:, 0], 100 * vectors[:, 1], np.ones(len(vectors))], axis=1)
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)

    def predict(self, waveform):
        vectors = self.embed_batch(pad_waveform(waveform)[np.newaxis])[0]
        frames = self.apply_head(vectors)
        peak, seconds = float(np.abs(waveform).max()), len(waveform) / RATE
        facts = {"source_channels": 1, "duration_seconds": seconds, "peak": peak, "clipped_fraction": 0.0}
        return SimpleNamespace(
            class_names=self.class_names,
            probabilities=frames.mean(axis=0),
            vectors=np.where(vectors.any(axis=1, keepdims=True), vectors, silent_embedding()),
            frame_probabilities=frames,
            frame_seconds=0.48 * np.arange(len(frames)),
            sound=Sound(waveform=waveform, source_sample_rate_hz=RATE, **facts),
            log_mel=log_mel(pad_waveform(waveform)),
        )


def tone(frequency_hz, *, start=0.0, end=5.0, seconds=5.0, amplitude=0.4):
    times = np.arange(round(seconds * RATE)) / RATE
    inside = (times >= start) & (times < end)
    return (inside * amplitude * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def cells_that_matter(explanation):
    """Cells (time, band) with at least a tenth of the greatest relevance."""
    return set(map(tuple, np.argwhere(explanation.relevance > 0.1 * explanation.relevance.max()).tolist()))


# --- known answers


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "mean_of_sound", "geometric_mean"])
@pytest.mark.parametrize(("frequency_hz", "band", "label"), [(LOW_HZ, LOW, 0), (HIGH_HZ, HIGH, 1)])
def test_a_burst_is_found_in_time_and_frequency(pooling, frequency_hz, band, label):
    waveform = tone(frequency_hz, start=2.0, end=2.3)  # in the fifth cell, from 1.92 to 2.4 s
    classifier = FakeClassifier(pooling)
    explanation = explain(classifier, classifier.predict(waveform), label=label)
    assert explanation.class_name == classifier.class_names[label]
    assert cells_that_matter(explanation) == {(4, band)}
    assert explanation.relevance[4, band] > 1


def test_of_two_parts_only_the_one_that_matters_is_relevant():
    waveform = tone(LOW_HZ, end=1.9) + tone(HIGH_HZ, start=3.0, end=3.3)  # cell 6 is from 2.88 to 3.36 s
    classifier = FakeClassifier()
    prediction = classifier.predict(waveform)
    assert cells_that_matter(explain(classifier, prediction, label=1)) == {(6, HIGH)}
    assert cells_that_matter(explain(classifier, prediction, label=0)) == {(cell, LOW) for cell in range(4)}


def test_evidence_against_a_class_has_negative_relevance():
    waveform = tone(LOW_HZ) + tone(HIGH_HZ, start=1.0, end=1.4)
    classifier = FakeClassifier()
    relevance = explain(classifier, classifier.predict(waveform), label=0).relevance
    assert np.unravel_index(relevance.argmin(), relevance.shape) == (2, HIGH)
    assert relevance.min() < -0.05


def test_silencing_half_of_the_evidence_halves_the_odds_once():
    """One frame, power above 1 kHz in one of two equal bursts: odds go from 2 p to p."""
    waveform = tone(HIGH_HZ, start=0.02, end=0.46, seconds=0.96) + tone(HIGH_HZ, start=0.50, end=0.94, seconds=0.96)
    classifier = FakeClassifier()
    explanation = explain(classifier, classifier.predict(waveform), label=1)
    np.testing.assert_allclose(explanation.relevance[:, HIGH], [1, 1], atol=0.05)
    np.testing.assert_allclose(np.delete(explanation.relevance, HIGH, axis=1), 0, atol=0.05)


def test_silence_has_no_relevance():
    classifier = FakeClassifier()
    explanation = explain(classifier, classifier.predict(synthesis.silence()))
    assert explanation.class_name == "nothing"
    assert not explanation.relevance.any()


# --- axes


@pytest.mark.parametrize("seconds", [1 / RATE, 0.1, 0.96, 1.5, 5.0, 5.295])
def test_cells_cover_the_sound_to_its_end(seconds):
    waveform = tone(HIGH_HZ, seconds=seconds)
    classifier = FakeClassifier()
    explanation = explain(classifier, classifier.predict(waveform))
    edges = explanation.time_edges_seconds
    assert explanation.relevance.shape == (len(edges) - 1, len(explanation.frequency_edges_hz) - 1)
    assert (edges[0], edges[-1]) == (0, pytest.approx(len(waveform) / RATE))
    assert np.all(np.diff(edges) > 0)
    assert np.isfinite(explanation.relevance).all()


def test_a_long_sound_is_explained_around_its_most_probable_frame():
    waveform = tone(HIGH_HZ, start=40.0, end=40.3, seconds=60.0)
    classifier = FakeClassifier()
    explanation = explain(classifier, classifier.predict(waveform), label=1)
    edges = explanation.time_edges_seconds
    assert edges[0] <= 40 - 2 and edges[-1] >= 40.3 + 2 and edges[-1] - edges[0] < 5.3
    ((cell, band),) = cells_that_matter(explanation)
    assert band == HIGH and edges[cell] <= 40.0 and edges[cell + 1] >= 40.3
    assert len(explanation.frame_relevance) == len(explanation.frame_seconds) == 124  # of the whole sound


def test_of_a_long_sound_no_silent_frame_is_explained():
    waveform = tone(HIGH_HZ, start=12.0, end=12.3, seconds=20.0)
    classifier = FakeClassifier()
    explanation = explain(classifier, classifier.predict(waveform), label=2)  # surest in silence
    assert np.flatnonzero(explanation.frame_relevance).tolist() == [23, 24, 25]  # from 11.04 to 12.98 s
    assert explanation.time_edges_seconds[[0, -1]] == pytest.approx([8.64, 13.935])
    assert explanation.relevance.any()


@pytest.mark.parametrize(("best", "n_frames", "expected"), [(0, 30, 0), (15, 30, 10), (29, 30, 20), (3, 4, 0)])
def test_the_explained_window_is_centred_on_the_best_frame(best, n_frames, expected):
    assert first_explained_frame(np.eye(n_frames)[best], max_frames=10) == expected


def test_bands_add_up_to_the_sound(rng):
    waveform = rng.uniform(-1, 1, 20_000).astype(np.float32)
    bands = split_bands(waveform, np.array([0, 500, 2_000, 8_001]), sample_rate_hz=RATE)
    np.testing.assert_allclose(bands.sum(axis=0), waveform, atol=1e-6)


def test_bands_are_even_on_the_mel_scale():
    mel = 2595 * np.log10(1 + mel_edges() / 700)  # O'Shaughnessy, Speech Communication (1987)
    np.testing.assert_allclose(np.diff(mel), np.diff(mel)[0])
    assert len(mel) == ExplanationSettings.mel_bands + 1


# --- with YAMNet


def test_silencing_cells_in_parallel_equals_silencing_each_alone(small_classifier):
    """Compare with the direct way: one waveform per cell."""
    waveform = synthesis.example("door_wood_knock")[: 3 * RATE]
    prediction = small_classifier.predict(waveform, sample_rate_hz=RATE)
    explanation = explain(small_classifier, prediction, label=30)
    bands = split_bands(pad_waveform(waveform), explanation.frequency_edges_hz, sample_rate_hz=RATE)
    odds = np.log2(_odds(prediction, 30))
    for cell, band in ((0, 0), (2, 4), (5, 7)):
        start = cell * HOP_SAMPLES
        rest = waveform.copy()
        rest[start : start + HOP_SAMPLES] -= bands[band, start : start + HOP_SAMPLES].astype(np.float32)
        without = small_classifier.predict(np.clip(rest, -1, 1), sample_rate_hz=RATE)
        expected = odds - np.log2(_odds(without, 30))
        assert explanation.relevance[cell, band] == pytest.approx(expected, rel=0.15, abs=0.02)  # the sound fades here
    assert np.abs(explanation.relevance).max() > 0.05


def test_an_explanation_is_the_same_each_time(small_classifier):
    prediction = small_classifier.predict("example:siren")
    first, second = (explain(small_classifier, prediction) for _ in range(2))
    np.testing.assert_array_equal(first.relevance, second.relevance)
    assert first.class_name == prediction.top(1)[0][0]


def test_what_yamnet_takes_silence_for_is_explained_where_there_is_sound(classifier):
    waveform = np.concatenate([np.zeros(8 * RATE, np.float32), synthesis.example("rain")])
    prediction = classifier.predict(waveform, sample_rate_hz=RATE)
    label = prediction.class_names.index("vacuum_cleaner")
    assert prediction.frame_probabilities[:15, label].min() > 0.9
    explanation = explain(classifier, prediction, label=label)
    assert not explanation.frame_relevance[:15].any()
    assert explanation.time_edges_seconds[-1] > 8.5 and explanation.relevance.any()


def _odds(prediction, label):
    return prediction.probabilities[label] / (1 - prediction.probabilities[label])


# --- drawn


def test_an_explanation_is_drawn_over_the_log_mel_with_the_frames_above():
    classifier = FakeClassifier()
    prediction = classifier.predict(tone(HIGH_HZ, start=2.0, end=2.3))
    explanation = explain(classifier, prediction, label=1)
    figure = Figure()
    ax = plots.plot_explanation(prediction, explanation, ax=figure.subplots())
    (mesh,), (above,) = ax.collections, ax.child_axes
    np.testing.assert_allclose(mesh.get_array(), explanation.relevance.T)
    low, high = mesh.get_clim()
    assert low == -high and high >= np.abs(explanation.relevance).max()
    assert ax.get_xlim() == (0, 5)
    np.testing.assert_allclose([bar.get_height() for bar in above.patches], 100 * explanation.frame_relevance)
    assert "“high”" in figure.axes[-1].get_ylabel()
