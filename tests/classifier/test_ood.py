from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from esc50.classifier import ood
from esc50.classifier.ood import Evidence, TrainingClips
from esc50.yamnet.frames import GOLDEN_FILE, active_frames, golden_embeddings


@pytest.fixture
def evidence():
    """Two sounds of two frames, the second frame of the first one silent; three classes; four training clips."""
    return Evidence(
        frame_logits=np.array([[[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]], [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]]),
        active=np.array([[True, False], [True, True]]),
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
    np.testing.assert_allclose(ood.SCORES[score](evidence, k=2), expected)
    assert score in ood.SCORE_NAMES
    assert ood.describe(score, 7)


def test_a_class_with_few_clips_is_judged_by_those_it_has(evidence):
    np.testing.assert_allclose(ood.class_neighbours(evidence, k=3), [0.8, 0.45])
    unheard = replace(evidence, training_targets=np.array([0, 2, 2, 0]))
    np.testing.assert_allclose(ood.class_neighbours(unheard, k=3), [0.8, -1])


def test_energy_of_a_sound_without_any_audible_frame_is_that_of_all(evidence):
    silent = replace(evidence, active=np.array([[False, False], [True, True]]))
    np.testing.assert_allclose(ood.energy(silent)[0], (np.log(3) + np.log(3 * np.exp(9))) / 2)


def test_where_vectors_are_pooled_a_head_takes_one_of_each_sound():
    vectors = np.array([[[1, 5], [9, 0]], [[3, 2], [2, 4]]], np.float16)
    active = np.array([[True, False], [True, True]])
    taken, counted = ood.head_vectors(vectors, active, pooling="maximum_of_vectors")
    np.testing.assert_array_equal(taken, np.array([[[1, 5]], [[3, 4]]], np.float16))
    assert taken.dtype == np.float16
    assert counted.tolist() == [[True], [True]]
    for_frames = ood.head_vectors(vectors, active, pooling="mean_of_sound")
    assert for_frames[0] is vectors and for_frames[1] is active


def test_vectors_have_unit_length_and_leave_silence_out():
    frames = golden_embeddings()[:2]
    with np.load(GOLDEN_FILE) as golden:
        silent = golden["silence"]
    [vector] = ood.clip_vectors(np.stack([*frames, silent])[np.newaxis])
    [expected] = ood.clip_vectors(frames[np.newaxis])
    assert np.linalg.norm(vector) == pytest.approx(1)
    np.testing.assert_allclose(vector, expected, atol=1e-6)
    [of_silence] = ood.clip_vectors(silent[np.newaxis, np.newaxis])
    np.testing.assert_allclose(of_silence, silent / np.linalg.norm(silent), atol=1e-6)


def test_of_longer_vectors_the_embedding_at_their_end_counts(rng):
    embeddings = golden_embeddings()
    with np.load(GOLDEN_FILE) as golden:
        embeddings[1] = golden["silence"]
    wide = np.concatenate([9 * rng.random((len(embeddings), 512), dtype=np.float32), embeddings], axis=1)
    vectors = ood.clip_vectors(wide[np.newaxis])
    assert vectors.shape == (1, 1024)
    np.testing.assert_array_equal(vectors, ood.clip_vectors(embeddings[np.newaxis]))
    assert active_frames(wide).tolist() == active_frames(embeddings).tolist() == [True, False, *[True] * 4]


def test_half_precision_tells_sound_from_silence_too():
    """The squares of the embedding of silence add up to more than float16 can hold."""
    with np.load(GOLDEN_FILE) as golden:
        frames = np.stack([*golden_embeddings(), golden["silence"]])
    assert active_frames(frames.astype(np.float16)).tolist() == active_frames(frames).tolist()
    half, single = (ood.clip_vectors(f[np.newaxis]) for f in (frames.astype(np.float16), frames))
    np.testing.assert_allclose(half, single, atol=1e-3)


def test_the_training_clips_are_those_of_the_study(clips):
    training = ood.load_training_clips()
    assert training.vectors.shape == (2000, 1024)
    assert training.vectors.dtype == np.float32
    assert training.filenames.tolist() == clips["filename"].tolist()
    assert ood.load_training_clips() is training


def test_the_nearest_come_in_order():
    training = TrainingClips(None, np.array([1, 0, 1]), np.array(["a.wav", "b.wav", "c.wav"]))
    found = ood.nearest(np.array([0.2, 0.9, 0.5]), training, names=("cat", "dog"), n_nearest=2)
    assert [(n.filename, n.category, n.similarity) for n in found] == [("b.wav", "cat", 0.9), ("c.wav", "dog", 0.5)]


def test_the_threshold_keeps_what_it_promises(rng):
    known = rng.normal(size=1000)
    assert (known >= ood.threshold_keeping(known, kept=0.95)).mean() == pytest.approx(0.95, abs=0.002)
    assert ood.threshold_keeping(known, kept=1.0) == known.min()


def test_auroc_of_what_is_told_apart_and_of_what_is_not():
    assert ood.auroc([3, 4], [1, 2]) == 1
    assert ood.auroc([1, 2], [3, 4]) == 0
    assert ood.auroc([1, 2], [1, 2]) == 0.5


@pytest.mark.yamnet
def test_the_softmax_of_the_logits_is_what_the_head_gives(small_head):
    embeddings = golden_embeddings()
    logits = ood.head_logits(small_head, embeddings)
    np.testing.assert_allclose(softmax(logits, axis=1), small_head.predict(embeddings, verbose=0), atol=1e-6)


@pytest.mark.yamnet
def test_the_last_layer_turns_activations_into_logits(small_head):
    embeddings, (kernel, bias) = golden_embeddings(), small_head.layers[-1].get_weights()
    activations, logits = ood.head_activations(small_head, embeddings)
    assert activations.shape == (len(embeddings), len(kernel))
    np.testing.assert_allclose(activations @ kernel + bias, logits, atol=1e-6)
    np.testing.assert_array_equal(logits, ood.head_logits(small_head, embeddings))
