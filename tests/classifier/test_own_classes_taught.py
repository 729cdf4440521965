import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from esc50.audio import synthesis
from esc50.classifier import own_classes, teaching
from esc50.classifier.own_classes import Example, OwnClasses
from esc50.classifier.predict import SoundClassifier
from esc50.classifier.teaching import Recording
from esc50.classifier.timeline import detect_events
from esc50.classifier.whitening import KnownClips, Whitening, WhiteningSettings
from esc50.config import TeachingError

RATE = 16_000


def whistle(seed):
    """A slide whistle: a tone that glides up or down, and a little noise."""
    rng = np.random.default_rng(seed)
    low, high, seconds = rng.uniform(300, 900), rng.uniform(1_500, 2_500), rng.uniform(1.2, 3)
    start, end = (low, high) if seed % 2 else (high, low)
    glide = synthesis.chirp(start_hz=start, end_hz=end, seconds=seconds, amplitude=0.4)
    return glide + rng.normal(0, 0.003, len(glide)).astype(np.float32)


def recording(waveform, name, **about):
    return Recording(waveform, name=name, sample_rate_hz=RATE, **about)


WHISTLES = [recording(whistle(seed), f"whistle {seed}") for seed in range(4)]


@pytest.fixture(scope="module")
def lesson(classifier):
    """Four whistles and the siren, which is none."""
    steps = []
    siren = recording(synthesis.example("siren"), "siren", is_positive=False)
    taught = teaching.teach(classifier, " slide  whistle ", [*WHISTLES, siren], report=steps.append)
    assert steps == ["embedding the sounds", "learning"]
    return taught


@pytest.fixture(scope="module")
def saved(lesson, tmp_path_factory):
    return lesson.own.save(tmp_path_factory.mktemp("own") / "my-sounds.esc50")


def test_a_new_sound_of_the_class_is_recognised_and_the_model_s_own_are_as_before(classifier, lesson):
    found = lesson.classifier.predict(whistle(10), sample_rate_hz=RATE)
    assert found.top(1)[0][0] == lesson.class_name == "slide_whistle"
    assert found.is_known and found.theme == ""
    for example in ("siren", "rain"):
        before, after = classifier.predict(f"example:{example}"), lesson.classifier.predict(f"example:{example}")
        assert (after.verdict, after.ood_score) == (before.verdict, pytest.approx(before.ood_score, abs=1e-4))


def test_the_model_s_classes_keep_their_odds(classifier, lesson):
    vectors = classifier.embed(synthesis.example("siren"))
    before, after = classifier.apply_head(vectors), lesson.classifier.apply_head(vectors)
    assert after.shape[1] == len(lesson.classifier.class_names) == before.shape[1] + 1
    np.testing.assert_allclose(after[:, :-1] / after[:, :-1].sum(axis=1, keepdims=True), before, atol=1e-5)
    odds = lesson.classifier.head.log_odds(vectors)[:, 0]
    np.testing.assert_allclose(after[:, -1], 1 / (1 + np.exp(-odds)), atol=1e-5)
    assert lesson.classifier.with_classes(None).class_names == classifier.class_names


def test_the_lesson_says_what_was_learnt_and_what_it_costs(lesson):
    learnt, cost = lesson.sentences
    assert "“slide whistle” from 4 sounds of it" in learnt and f"{sum(lesson.recognised.values())} of the 4" in learnt
    accuracies = [f"{100 * (found == lesson.targets).mean():.1f} %" for found in (lesson.before, lesson.after)]
    assert f"{accuracies[0]} were classified correctly before and {accuracies[1]} now" in cost
    assert set(lesson.recognised) == {each.name for each in WHISTLES}


def test_the_cost_is_counted_for_each_class(lesson):
    own = lesson.classifier.class_names.index("slide_whistle")
    told = replace(lesson, targets=np.array([0, 0, 1]), before=np.array([0, 1, 1]), after=np.array([own, own, 1]))
    assert told.costs() == [(lesson.classifier.class_names[0], 2, 1, 0, 2)]
    assert "2 are classified as “slide whistle”" in told.sentences[1]


def test_a_saved_class_is_loaded_by_name_of_its_file_and_says_the_same(lesson, saved):
    classifier = SoundClassifier.load(classes=saved)
    first, second = (each.predict(whistle(11), sample_rate_hz=RATE) for each in (lesson.classifier, classifier))
    np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-4)
    assert [each.file for each in classifier.own.examples] == [each.name for each in WHISTLES] + ["siren"]
    assert not classifier.own.examples[-1].is_positive
    assert saved.stat().st_size < 20_000
    with np.load(saved, allow_pickle=False) as file:
        assert {"esc50", "date"} == set(json.loads(str(file["about"]))["made"])


def test_a_second_class_joins_the_first_and_timelines_know_both(lesson):
    hums = [recording(synthesis.sine(frequency_hz=hz, seconds=2), f"hum {hz}") for hz in (110, 120, 130)]
    both = teaching.teach(lesson.classifier, "hum", hums)
    assert both.own.names == ("slide_whistle", "hum")
    assert len(both.own.examples) == len(lesson.own.examples) + 3
    quiet = np.zeros(6 * RATE, np.float32)
    waveform = np.concatenate([quiet, whistle(12), whistle(14), quiet])
    events = detect_events(both.classifier, waveform, sample_rate_hz=RATE).events
    assert "slide_whistle" in {event.class_name for event in events}


def test_a_file_of_another_model_is_refused_and_made_anew(lesson, saved, tmp_path, classifier):
    path = tmp_path / "old.esc50"
    for seed in range(3):
        soundfile.write(tmp_path / f"{seed}.wav", whistle(seed), RATE)
    examples = [replace(each, file=str(tmp_path / f"{i}.wav")) for i, each in enumerate(lesson.own.examples)]
    replace(lesson.own, model="another", examples=tuple(examples)).save(path)
    with pytest.raises(TeachingError, match=f"another version of the model: run `esc50 teach --anew --classes {path}`"):
        classifier.with_classes(path)
    own, missing = teaching.learn_anew(classifier, path)
    assert classifier.with_classes(own).class_names[-1] == "slide_whistle"
    assert missing == [str(tmp_path / "3.wav"), str(tmp_path / "4.wav")]


def test_own_classes_are_not_for_the_plain_model(plain, lesson, saved):
    for classes in (saved, lesson.own):
        with pytest.raises(TeachingError, match="your own classes need the default model"):
            plain.with_classes(classes)


@pytest.mark.parametrize("content", [b"", b"not a file of classes", b"PK\x03\x04", None])
def test_what_is_no_file_of_classes_is_refused_in_a_line(content, tmp_path):
    path = tmp_path / "my-sounds.esc50"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TeachingError, match=r"holds no classes|is missing") as caught:
        OwnClasses.load(path)
    assert "\n" not in str(caught.value) and "pickle" not in str(caught.value)


def test_damaged_numbers_other_versions_and_pickles_are_refused(saved, tmp_path):
    with np.load(saved) as file:
        arrays = dict(file)
    about, path = json.loads(str(arrays["about"])), tmp_path / "x.esc50"

    def refused(message, **changes):
        with path.open("wb") as file:
            np.savez(file, **arrays | changes)
        with pytest.raises(TeachingError, match=message):
            OwnClasses.load(path)

    refused("version 99", about=np.array(json.dumps(about | {"version": 99})))
    refused("vectors are damaged", vectors=arrays["vectors"][1:])
    refused("biases are damaged", biases=np.array([np.nan]))
    refused("holds no classes", about=np.array([{"version": 1}], dtype=object))


def test_a_place_that_cannot_be_written_is_named(lesson, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TeachingError, match="cannot be written"):
        lesson.own.save(tmp_path / "file" / "my-sounds.esc50")


@pytest.mark.parametrize(
    ("name", "recordings", "message"),
    [
        ("  ", WHISTLES, "no name"),
        ("Door wood knock", WHISTLES, "is a class of the model already"),
        ("bell", [replace(WHISTLES[0], is_positive=False)], "no sound of “bell” was given"),
        (
            "bell",
            [recording(synthesis.silence(), "still"), Recording("gone.wav")],
            r"still: it is silent.*; no such file: gone\.wav",
        ),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(classifier, name, recordings, message):
    with pytest.raises(TeachingError, match=message):
        teaching.teach(classifier, name, recordings)


def test_a_class_is_the_logistic_regression_that_it_should_be(rng):
    from sklearn.linear_model import LogisticRegression

    inputs, decay = rng.normal(size=(200, 3)), 0.01
    labels = np.where(inputs[:, 0] + 0.5 * rng.normal(size=200) > 0, 1, -1)
    weights = rng.uniform(0.5, 2, size=200)
    unit = own_classes.fit_logistic(inputs, labels, weights, decay=decay)
    expected = LogisticRegression(C=1 / (decay * weights.sum()), tol=1e-8).fit(inputs, labels, weights)
    np.testing.assert_allclose(inputs @ unit[:-1] + unit[-1], expected.decision_function(inputs), atol=1e-3)


def test_margin_sampling_takes_the_least_sure_of_the_rest():
    odds, labelled = np.array([3.0, -0.1, 0.5, 0.0, -2.0]), np.array([0, 0, 0, 1, 0], bool)
    assert own_classes.most_uncertain(odds, labelled, 2).tolist() == [1, 2]
    assert own_classes.most_uncertain(odds, labelled, 9).tolist() == [1, 2, 4, 0]


def test_held_out_odds_come_from_lessons_without_the_sound(rng):
    vectors = rng.normal(size=(40, 4)).astype(np.float32)
    known = KnownClips(None, vectors, np.zeros(40, int), np.arange(40) % 5, None)
    examples = [Example("x", True, np.float32([5, 0, 0, 0])), Example("x", True, np.float32([0, 5, 0, 0]))]
    _, (first, _) = own_classes.held_out_odds("x", examples, known)
    alone = own_classes.fit_class("x", examples[1:], vectors[known.folds != 0])
    assert first == pytest.approx(examples[0].vector @ alone[:-1] + alone[-1], abs=1e-3)
    assert own_classes.held_out_odds("x", examples[:1], known)[1] == [-np.inf]


def test_whitened_vectors_are_short_of_unit_length_and_spread_evenly(rng):
    vectors = rng.gamma(1, rng.uniform(0.1, 2, 300), size=(500, 300)).astype(np.float32)
    short = Whitening.fit(vectors, settings=WhiteningSettings(n_buckets=64, size=16))(vectors)
    assert short.shape == (500, 16)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)
    spread = np.linalg.eigvalsh(np.cov(short.T))
    assert spread[-1] < 2 * spread[0]


def test_what_comes_with_the_package_fits_the_shipped_model(classifier):
    known = KnownClips.load()
    assert len(known.whitening.mean) == classifier.head.input_size
    assert known.vectors.shape == (2000, known.whitening.matrix.shape[1])
    assert (known.probabilities.argmax(axis=1) == known.targets).mean() > 0.9
