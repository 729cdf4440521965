from dataclasses import replace

import numpy as np
import pytest

from esc50.classifier import ood
from esc50.classifier.audioset import AUDIOSET
from esc50.classifier.ood import Evidence, ReferenceClips
from esc50.config import ResultsError
from esc50.yamnet.frames import GOLDEN_FILE, active_frames, golden_embeddings

PER_SOUND = ("frame_logits", "active", "probabilities", "similarity", "audioset")


@pytest.fixture
def evidence():
    """Two sounds of two frames, the second frame of the first one silent; three classes; four training clips."""
    return Evidence(
        frame_logits=np.array([[[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]], [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]]),
        active=np.array([[True, False], [True, True]]),
        probabilities=np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]),
        similarity=np.array([[0.9, 0.5, 0.1, 0.7], [0.2, 0.3, 0.6, 0.4]]),
        reference_targets=np.array([0, 1, 1, 0]),
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
def test_scores_equal_values_computed_by_hand(evidence, score, expected):
    np.testing.assert_allclose(ood.OOD_SCORES[score](evidence, k=2), expected)


@pytest.fixture
def audioset_evidence(evidence):
    """Four classes of AudioSet: the first two mean the first class, the third the second one, the last none."""
    return replace(
        evidence,
        audioset=np.array([[0.3, 0.2, 0.0, 0.9], [0.1, 0.0, 0.499, 0.0]]),
        matrix=np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32),
        rule={"typical_scores": [0.5, 0.5, 0.5, 0.1], "mean": [0.0] * 4, "deviation": [1.0] * 4, "intercept": 0.5},
    )


def test_audioset_scores_equal_values_computed_by_hand(audioset_evidence):
    np.testing.assert_allclose(ood.class_score(audioset_evidence), np.log10([0.501, 0.5]))
    np.testing.assert_allclose(ood.other_score(audioset_evidence), -np.log10([0.501, 0.001]), rtol=1e-6)
    third = replace(audioset_evidence, probabilities=np.array([[0.0, 0.0, 1.0]] * 2))
    np.testing.assert_allclose(ood.class_score(third), np.log10(AUDIOSET.unmapped + AUDIOSET.offset))


def test_the_combined_score_weighs_each_and_their_products(audioset_evidence):
    values = ood.features(audioset_evidence, k=2)
    assert values.shape == (2, 4)
    np.testing.assert_allclose(values[:, 0], [0.8, 0.5])
    for number, expected in ((0, values[:, 0]), (4, values[:, 0] ** 2), (13, np.clip(values[:, 3], -4, 4) ** 2)):
        weights = np.eye(14)[number].tolist()
        rule = audioset_evidence.rule | {"weights": weights}
        found = ood.combined(replace(audioset_evidence, rule=rule), k=2)
        np.testing.assert_allclose(found, expected + 0.5, rtol=1e-6)


RULE = {"score": "neighbours", "neighbours": 2, "threshold": 0.6, "kept": 0.95, "meaning": "As it was."}
TABLE = {
    "share": [0.5, 0.9, 0.95],
    "scores": {"neighbours": [0.9, 0.7, 0.6]},
    "accepted": [0.1, 0.3, 0.5],
    "who": "a head",
}


def test_another_share_of_the_known_is_kept_by_a_threshold_between_those_measured():
    rule = RULE | {"by_share": TABLE}
    assert ood.keep_share(rule, 0.95) is rule
    assert ood.keep_share(rule, 0.9)["threshold"] == pytest.approx(0.7)
    found = ood.keep_share(rule, 0.7)
    assert (found["threshold"], found["kept"]) == (pytest.approx(0.8), 0.7)
    assert "is below 0.80. This threshold keeps 70 % of ESC-50's clips" in found["meaning"]
    assert "accepts 20 % of clips from classes the model was not trained on." in found["meaning"]


@pytest.mark.parametrize("keep", [0.49, 0.96, -1, 90, float("nan")])
def test_a_share_that_was_not_measured_is_refused(keep):
    with pytest.raises(ResultsError, match=r"^\S+ of the known sounds cannot be kept: choose from 0\.5 to 0\.95$"):
        ood.keep_share(RULE | {"by_share": TABLE}, keep)


def test_the_score_in_which_a_sound_is_most_unlike_the_known(evidence, audioset_evidence):
    first = replace(evidence, similarity=evidence.similarity[:1], rule=RULE | {"by_share": TABLE})
    assert ood.most_unlike(first) == ("neighbours", pytest.approx(0.7))  # 0.8
    reached = {
        "neighbours": [0.9, 0.7, 0.5],
        "energy": [9, 5, 1],
        "class_score": [0, -0.1, -0.31],
        "combined": [2, 1, 0],
    }
    rule = audioset_evidence.rule | {"score": "combined", "neighbours": 2, "weights": [0.0] * 14}
    rule["by_share"] = {"share": [0.5, 0.9, 0.95], "scores": reached | {"other_score": [3, 2, 1]}}
    second = replace(audioset_evidence, **{key: getattr(audioset_evidence, key)[1:] for key in PER_SOUND}, rule=rule)
    assert ood.most_unlike(second) == ("neighbours", pytest.approx(0.95))
    rule["by_share"]["scores"]["neighbours"] = [0.4, 0.3, 0.2]
    score, share = ood.most_unlike(second)
    assert (score, share) == ("class_score", pytest.approx(0.948, abs=0.001))
    rule["by_share"]["scores"]["energy"] = [9, 5, 3]
    no_such_class = replace(second, matrix=np.zeros((4, 3), np.float32))
    assert ood.most_unlike(no_such_class)[0] == "energy"


@pytest.mark.parametrize("score", sorted(ood.OOD_SCORES))
def test_every_score_has_a_name_and_is_described(score):
    assert score in ood.OOD_SCORE_NAMES
    assert ood.describe_score(score, 7)


def test_a_class_with_few_clips_is_judged_by_those_it_has(evidence):
    np.testing.assert_allclose(ood.class_neighbours(evidence, k=3), [0.8, 0.45])
    unheard = replace(evidence, reference_targets=np.array([0, 2, 2, 0]))
    np.testing.assert_allclose(ood.class_neighbours(unheard, k=3), [0.8, -1])


def test_energy_of_a_silent_sound_uses_all_frames(evidence):
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


def test_the_embedding_at_the_end_of_longer_vectors_is_used(rng):
    embeddings = golden_embeddings()
    with np.load(GOLDEN_FILE) as golden:
        embeddings[1] = golden["silence"]
    wide = np.concatenate([9 * rng.random((len(embeddings), 512), dtype=np.float32), embeddings], axis=1)
    vectors = ood.clip_vectors(wide[np.newaxis])
    assert vectors.shape == (1, 1024)
    np.testing.assert_array_equal(vectors, ood.clip_vectors(embeddings[np.newaxis]))
    assert active_frames(wide).tolist() == active_frames(embeddings).tolist() == [True, False, *[True] * 4]


def test_active_frames_work_in_half_precision():
    """The squares of the embedding of silence add up to more than float16 can hold."""
    with np.load(GOLDEN_FILE) as golden:
        frames = np.stack([*golden_embeddings(), golden["silence"]])
    assert active_frames(frames.astype(np.float16)).tolist() == active_frames(frames).tolist()
    half, single = (ood.clip_vectors(f[np.newaxis]) for f in (frames.astype(np.float16), frames))
    np.testing.assert_allclose(half, single, atol=1e-3)


def test_the_reference_clips_are_those_of_the_study(clips):
    reference = ood.load_reference()
    assert reference.vectors.shape == (2000, 1024)
    np.testing.assert_allclose(np.linalg.norm(reference.vectors, axis=1), 1, atol=1e-3)  # stored as float16
    assert reference.filenames.tolist() == clips["filename"].tolist()
    assert reference.targets.tolist() == clips["target"].tolist()
    assert ood.load_reference() is reference


def test_the_nearest_come_in_order():
    reference = ReferenceClips(None, np.array([1, 0, 1]), np.array(["a.wav", "b.wav", "c.wav"]))
    found = ood.nearest_clips(np.array([0.2, 0.9, 0.5]), reference, ("cat", "dog"), n_nearest=2)
    assert found == (("b.wav", "cat", 0.9), ("c.wav", "dog", 0.5))
