"""Level-normalised heads, with YAMNet's own scores beside them: the same from Keras, ONNX and the study."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from esc50.audio import synthesis
from esc50.classifier.audioset import AUDIOSET, audioset_matrix
from esc50.classifier.model_io import REJECTION_KEYS
from esc50.classifier.predict import SoundClassifier
from esc50.classifier.timeline import detect_events
from esc50.config import LAYERS_AND_SCORES
from esc50.dataset import class_names
from esc50.experiments import robust
from esc50.experiments.keras_heads import save_classifier, to_head
from esc50.experiments.networks import with_logarithm
from esc50.yamnet.runtime import load_runtime

RATE = 16_000
TRUST = {
    "temperature": 1.0,
    "rejection": dict.fromkeys(REJECTION_KEYS) | {"score": "max_probability", "neighbours": 5, "threshold": 0.0},
}


@pytest.fixture
def path(small_wide_head, tmp_path):
    """A small head that takes levelled sounds and YAMNet's scores, saved as Keras file."""
    about = {"pooling": "maximum_of_vectors", "settings": robust.SETTINGS, "layers": LAYERS_AND_SCORES}
    model = with_logarithm(small_wide_head)
    return save_classifier(model, cross_validated={}, trust=TRUST, path=tmp_path / "head.keras", **about)


@pytest.fixture
def levelled(path):
    return SoundClassifier.load(path)


def test_scores_join_the_answer_by_the_table(small_wide_head):
    vectors = np.abs(np.random.default_rng(0).normal(size=(3, 521 + 5984))).astype(np.float32)
    vectors[:, :521] = np.random.default_rng(1).random((3, 521)) ** 4
    model = with_logarithm(small_wide_head)
    head = to_head(model, metadata={"head_settings": asdict(robust.SETTINGS)})
    alone = model.predict(vectors[:, 521:], verbose=0)
    np.testing.assert_allclose(head(vectors), robust.add_scores(alone, vectors[:, :521], AUDIOSET), atol=1e-5)
    assert np.abs(head(vectors) - alone).max() > 1e-3


def test_by_hand_a_score_of_one_thousand_times_more_raises_the_odds_by_its_power():
    matrix = audioset_matrix(class_names(), load_runtime().class_names)
    scores, equal = np.zeros((1, 521)), np.full((1, 50), 0.02)
    scores[0, load_runtime().class_names.index("Meow")] = 1 - AUDIOSET.offset
    cat, dog = (class_names().index(name) for name in ("cat", "dog"))
    found = robust.add_scores(equal, scores, AUDIOSET)[0]
    assert matrix[:, cat].sum() > 1
    assert found[cat] / found[dog] == pytest.approx(1_000**AUDIOSET.weight, rel=1e-3)


@pytest.mark.parametrize("decibel", [-20, -40])
def test_the_level_of_a_sound_changes_nothing(levelled, decibel):
    waveform = synthesis.example("rain")
    loud, quiet = (
        levelled.predict(each.astype(np.float32), sample_rate_hz=RATE)
        for each in (waveform, waveform * 10 ** (decibel / 20))
    )
    np.testing.assert_allclose(quiet.probabilities, loud.probabilities, atol=2e-3)
    assert loud.sound.peak > 5 * quiet.sound.peak


def test_vectors_begin_with_the_scores_and_end_in_the_embedding(levelled):
    waveform = synthesis.example("rain")
    vectors = levelled.embed(waveform)
    analysis = load_runtime().analyse(levelled.set_level(waveform))
    np.testing.assert_allclose(vectors[:, :521], analysis.scores, atol=1e-5)
    np.testing.assert_allclose(vectors[:, 521:], analysis.vectors, rtol=1e-4, atol=1e-4)
    (one,) = levelled.embed_batch([waveform])
    np.testing.assert_allclose(one, vectors, rtol=1e-4, atol=1e-4)


def test_a_timeline_in_blocks_has_the_frames_of_the_whole(levelled):
    waveform = np.tile(synthesis.example("siren"), 6)
    waveform[: len(waveform) // 2] *= 0.01
    timeline = detect_events(levelled, waveform, sample_rate_hz=RATE)
    prediction = levelled.predict(waveform, sample_rate_hz=RATE)
    assert len(timeline.probabilities) == len(prediction.vectors)
    np.testing.assert_allclose(levelled.embed(waveform), prediction.vectors, rtol=1e-4, atol=1e-4)


def test_the_experiment_takes_one_more_input_than_views():
    rng = np.random.default_rng(0)
    arrays = {"activations": rng.random((4, 10, 521 + 5984)).astype(np.float16), "active": np.ones((4, 10), bool)}
    *views, scores = robust.prepare(arrays, arrays, arrays)
    assert len(views) == robust.MODELS["robust"].n_frames
    assert {view.shape for view in views} == {(4, 5984)}
    np.testing.assert_array_equal(scores, arrays["activations"][..., :521].max(axis=1).astype(np.float32))
    assert json.dumps(asdict(robust.SETTINGS))
