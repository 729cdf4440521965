from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from esc50 import rejection
from esc50.rejection import Evidence, TrainingClips
from esc50.yamnet import GOLDEN_FILE, golden_embeddings


@pytest.fixture
def evidence():
    """Two sounds of two frames, the second frame of the first one silent; three classes; four training clips."""
    return Evidence(
        frame_logits=np.array([[[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]], [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]]),
        audible=np.array([[True, False], [True, True]]),
        probabilities=np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]),
        similarity=np.array([[0.9, 0.5, 0.1, 0.7], [0.2, 0.3, 0.6, 0.4]]),
        training_targets=np.array([0, 1, 1, 0]),
    )


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("max_probability", [0.5, 0.8]),
        ("energy", [np.log(3), np.log(np.exp(2) + 2)]),
        ("neighbours", [0.8, 0.5]),
        ("class_neighbours", [0.8, 0.45]),
    ],
)
def test_scores_by_hand(evidence, score, expected):
    np.testing.assert_allclose(rejection.SCORES[score](evidence, k=2), expected)
    assert score in rejection.SCORE_NAMES
    assert rejection.describe(score, 7)


def test_a_class_with_few_clips_is_judged_by_those_it_has(evidence):
    np.testing.assert_allclose(rejection.class_neighbours(evidence, k=3), [0.8, 0.45])
    unheard = replace(evidence, training_targets=np.array([0, 2, 2, 0]))
    np.testing.assert_allclose(rejection.class_neighbours(unheard, k=3), [0.8, -1])


def test_energy_of_a_sound_without_any_audible_frame_is_that_of_all(evidence):
    silent = replace(evidence, audible=np.array([[False, False], [True, True]]))
    np.testing.assert_allclose(rejection.energy(silent)[0], (np.log(3) + np.log(3 * np.exp(9))) / 2)


def test_vectors_have_unit_length_and_leave_silence_out():
    frames = golden_embeddings()[:2]
    with np.load(GOLDEN_FILE) as golden:
        silent = golden["silence"]
    [vector] = rejection.clip_vectors(np.stack([*frames, silent])[np.newaxis])
    [expected] = rejection.clip_vectors(frames[np.newaxis])
    assert np.linalg.norm(vector) == pytest.approx(1)
    np.testing.assert_allclose(vector, expected, atol=1e-6)
    [of_silence] = rejection.clip_vectors(silent[np.newaxis, np.newaxis])
    np.testing.assert_allclose(of_silence, silent / np.linalg.norm(silent), atol=1e-6)


def test_the_training_clips_are_those_of_the_study(clips):
    training = rejection.load_training_clips()
    assert training.vectors.shape == (2000, 1024)
    assert training.vectors.dtype == np.float32
    assert training.filenames.tolist() == clips["filename"].tolist()
    assert rejection.load_training_clips() is training


def test_the_nearest_come_in_order():
    training = TrainingClips(None, np.array([1, 0, 1]), np.array(["a.wav", "b.wav", "c.wav"]))
    found = rejection.nearest(np.array([0.2, 0.9, 0.5]), training, names=("cat", "dog"), n_nearest=2)
    assert [(n.filename, n.category, n.similarity) for n in found] == [("b.wav", "cat", 0.9), ("c.wav", "dog", 0.5)]


def test_the_threshold_keeps_what_it_promises(rng):
    known = rng.normal(size=1000)
    assert (known >= rejection.threshold_keeping(known, kept=0.95)).mean() == pytest.approx(0.95, abs=0.002)
    assert rejection.threshold_keeping(known, kept=1.0) == known.min()


def test_auroc_of_what_is_told_apart_and_of_what_is_not():
    assert rejection.auroc([3, 4], [1, 2]) == 1
    assert rejection.auroc([1, 2], [3, 4]) == 0
    assert rejection.auroc([1, 2], [1, 2]) == 0.5


@pytest.mark.yamnet
def test_the_softmax_of_the_logits_is_what_the_head_gives(small_head):
    embeddings = golden_embeddings()
    logits = rejection.head_logits(small_head, embeddings)
    np.testing.assert_allclose(softmax(logits, axis=1), small_head.predict(embeddings, verbose=0), atol=1e-6)


@pytest.mark.yamnet
def test_the_last_layer_turns_activations_into_logits(small_head):
    embeddings, (kernel, bias) = golden_embeddings(), small_head.layers[-1].get_weights()
    activations, logits = rejection.head_activations(small_head, embeddings)
    assert activations.shape == (len(embeddings), len(kernel))
    np.testing.assert_allclose(activations @ kernel + bias, logits, atol=1e-6)
    np.testing.assert_array_equal(logits, rejection.head_logits(small_head, embeddings))
