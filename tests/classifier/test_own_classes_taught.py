import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import whistle

from esc50.audio import synthesis
from esc50.classifier import own_classes, teaching
from esc50.classifier.own_classes import Example, OwnClasses
from esc50.classifier.predict import SoundClassifier
from esc50.classifier.teaching import Recording
from esc50.classifier.timeline import detect_events
from esc50.classifier.whitening import KnownClips, Whitening, WhiteningSettings
from esc50.config import TeachingError

RATE = 16_000


def recording(waveform, name, **about):
    return Recording(waveform, name=name, sample_rate_hz=RATE, **about)


WHISTLES = [recording(whistle(seed), f"whistle {seed}") for seed in range(4)]


@pytest.fixture(scope="module")
def lesson(classifier):
    """Four whistles and the siren, which is none."""
    siren = recording(synthesis.example("siren"), "siren", is_positive=False)
    return teaching.teach(classifier, " slide  whistle ", [*WHISTLES, siren])


@pytest.fixture(scope="module")
def saved(lesson, tmp_path_factory):
    return lesson.own.save(tmp_path_factory.mktemp("own") / "my-sounds.esc50")


def test_a_new_sound_of_the_class_is_recognised_and_the_model_s_own_are_as_before(classifier, lesson):
    found = lesson.classifier.predict(whistle(10), sample_rate_hz=RATE)
    assert found.top(1)[0][0] == lesson.class_name == "slide_whistle"
    assert found.is_known and found.theme == found.say_set() == ""  # coverage was measured without the class
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
    n_recognised = sum(is_recognised for _, is_recognised in lesson.recognised)
    assert learnt.startswith("Learnt “slide whistle” from 4 sounds.") and f"by recording, {n_recognised} of 4" in learnt
    accuracies = [f"{100 * (found == lesson.targets).mean():.1f} %" for found in (lesson.before, lesson.after)]
    assert f"accuracy was {accuracies[0]} before and is {accuracies[1]} now" in cost
    assert [name for name, _ in lesson.recognised] == [each.name for each in WHISTLES]


def test_parts_of_one_recording_are_not_held_out_from_each_other(classifier, tmp_path):
    soundfile.write(path := tmp_path / "one.wav", np.concatenate([whistle(seed) for seed in (0, 2, 4)]), RATE)
    parts = [Recording(path, name="mine", start_seconds=s, end_seconds=s + 1.5) for s in (0.0, 0.02, 0.04)]
    alone = teaching.teach(classifier, "slide whistle", parts)
    assert alone.recognised == tuple((f"mine at {s:.1f} s", None) for s in (0.0, 0.0, 0.0))
    assert "from 3 sounds. There is only one recording, so recognition was not tested." in alone.sentences[0]
    assert {(each.file, each.name) for each in alone.own.examples} == {(str(path), "mine")}
    more = teaching.teach(alone.classifier, "slide whistle", WHISTLES[:1])
    assert len(more.recognised) == 4 and None not in dict(more.recognised).values()


def test_the_cost_is_counted_for_each_class(lesson):
    own = lesson.classifier.class_names.index("slide_whistle")
    told = replace(lesson, targets=np.array([0, 0, 1]), before=np.array([0, 1, 1]), after=np.array([own, own, 1]))
    assert told.costs() == [(lesson.classifier.class_names[0], 2, 1, 0, 2)]
    assert "2 are classified as “slide whistle”" in told.sentences[1]


def test_a_saved_class_is_loaded_by_name_of_its_file_and_says_the_same(lesson, saved):
    classifier = SoundClassifier.load(classes=saved)
    first, second = (each.predict(whistle(11), sample_rate_hz=RATE) for each in (lesson.classifier, classifier))
    np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-4)
    assert [each.name for each in classifier.own.examples] == [each.name for each in WHISTLES] + ["siren"]
    assert not classifier.own.examples[-1].is_positive
    assert saved.stat().st_size < 20_000
    checksum, content = saved.read_text(encoding="utf-8").split("\n")
    assert hashlib.sha256(content.encode()).hexdigest() == checksum
    assert {"esc50", "date"} == set(json.loads(content)["made"])
    np.testing.assert_array_equal(classifier.own.thresholds, lesson.own.thresholds.astype(np.float32))
    np.testing.assert_array_equal(classifier.own.kernels, lesson.own.kernels.astype(np.float32))


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
    with pytest.raises(TeachingError) as refused:
        teaching.learn_anew(classifier, path)
    assert f"stays as it is, for some recordings cannot be read ({tmp_path / '3.wav'}, {tmp_path / '4.wav'})" in str(
        refused.value
    )


def test_made_anew_without_what_no_file_holds_but_not_without_a_class(lesson, tmp_path, classifier, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("kept.wav", "whistle 1"):  # the second only has the name of an upload
        soundfile.write(tmp_path / name, whistle(0), RATE, format="WAV")
    kept, second, *others = lesson.own.examples
    old = replace(second, file=second.name, name="")  # as files were before
    examples = [replace(kept, file=str(tmp_path / "kept.wav")), old, *others]
    path = replace(lesson.own, model="another", examples=tuple(examples)).save(tmp_path / "old.esc50")
    own, lost = teaching.learn_anew(classifier, path)
    assert [Path(each.file).name for each in own.examples] == ["kept.wav"]
    assert classifier.with_classes(own).class_names[-1] == "slide_whistle"
    assert lost == ["whistle 1", "whistle 2", "whistle 3", "siren"]
    path = lesson.own.save(tmp_path / "old.esc50")
    with pytest.raises(TeachingError, match="the sounds of “slide whistle” were kept in no file"):
        teaching.learn_anew(classifier, path)


def test_a_forgotten_class_leaves_the_others_as_they_were_for_any_model(lesson, tmp_path):
    own = lesson.own
    other = replace(own.examples[0], class_name="hiss")
    two = replace(
        own,
        model="another",
        names=("hiss", *own.names),
        kernels=np.concatenate([own.kernels + 1, own.kernels]),
        biases=np.repeat(own.biases, 2),
        thresholds=np.append(0, own.thresholds),
        examples=(other, *own.examples),
    )
    left = OwnClasses.load(two.save(tmp_path / "two.esc50")).without(" Hiss")
    assert left.names == own.names and left.model == "another" and len(left.examples) == len(own.examples)
    np.testing.assert_allclose(left.kernels, own.kernels, rtol=1e-6)
    np.testing.assert_allclose(left.thresholds, own.thresholds, rtol=1e-6)


def test_own_classes_are_not_for_the_plain_model(plain, lesson, saved):
    for classes in (saved, lesson.own):
        with pytest.raises(TeachingError, match="your own classes need the default model"):
            plain.with_classes(classes)
    with pytest.raises(TeachingError, match="this model learns no classes: load the default one"):
        teaching.teach(plain, "slide whistle", WHISTLES)


@pytest.mark.parametrize("content", [b"", b"not a file of classes", b"PK\x03\x04", None])
def test_what_is_no_file_of_classes_is_refused_in_a_line(content, tmp_path):
    path = tmp_path / "my-sounds.esc50"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TeachingError, match=r"holds no classes|is missing") as caught:
        OwnClasses.load(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_any_changed_byte_and_any_cut_is_noticed(saved, tmp_path, rng):
    data, path = saved.read_bytes(), tmp_path / "x.esc50"
    places = rng.integers(len(data), size=200)
    changed = [data[:i] + bytes([data[i] ^ rng.integers(1, 256)]) + data[i + 1 :] for i in places]
    for content in (*changed, *(data[:i] for i in places), data + b"\n"):
        path.write_bytes(content)
        with pytest.raises(
            TeachingError, match=r"x\.esc50 is damaged, or holds no classes: give a file that `esc50 teach"
        ):
            OwnClasses.load(path)


@pytest.mark.parametrize(
    "change", [{"names": None}, {"units": "AAAA"}, {"examples": [{"vector": "AAAA", "x": 1}]}, None]
)
def test_what_another_program_wrote_is_refused(saved, tmp_path, change):
    content = json.loads(saved.read_bytes().partition(b"\n")[2])
    text = "[1]" if change is None else json.dumps(content | change)
    (tmp_path / "x.esc50").write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    with pytest.raises(TeachingError, match=r"x\.esc50 is damaged, or holds no classes"):
        OwnClasses.load(tmp_path / "x.esc50")


def test_another_version_is_refused(saved, tmp_path):
    content = json.dumps(json.loads(saved.read_bytes().partition(b"\n")[2]) | {"version": 99})
    (tmp_path / "x.esc50").write_text(f"{hashlib.sha256(content.encode()).hexdigest()}\n{content}")
    with pytest.raises(TeachingError, match=r"x\.esc50 is of version 99, not 1: update esc50"):
        OwnClasses.load(tmp_path / "x.esc50")


def test_a_place_that_cannot_be_written_is_named(lesson, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TeachingError, match="cannot be written"):
        lesson.own.save(tmp_path / "file" / "my-sounds.esc50")


@pytest.mark.parametrize(
    ("name", "recordings", "message"),
    [
        ("  ", WHISTLES, "no name"),
        ("Door wood knock", WHISTLES, "is a class of the model already"),
        ("sea-waves", WHISTLES, "is a class of the model already"),
        ("None", WHISTLES, "is a class of the model already"),
        ("bell", [replace(WHISTLES[0], is_positive=False)], "no sound of “bell” was given"),
        (
            "bell",
            [recording(synthesis.silence(), "still"), Recording("gone.wav")],
            r"still: it is silent.*; no such file: gone\.wav",
        ),
        ("bell", "bell.wav", r"the recordings are no list: give one, such as \['bell1\.wav'"),
        ("bell", Recording("bell.wav"), "the recordings are no list"),
        ("bell", [b"RIFF" * 200], r"what is no file needs a name: give it as Recording\(source, name=…\)"),
        ("bell", ["x" * 300], "name too long"),
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
    fitted = own_classes.fit_logistic(inputs, labels, weights, decay=decay)
    expected = LogisticRegression(C=1 / (decay * weights.sum()), tol=1e-8).fit(inputs, labels, weights)
    np.testing.assert_allclose(inputs @ fitted[:-1] + fitted[-1], expected.decision_function(inputs), atol=1e-3)


def test_margin_sampling_takes_the_least_sure_of_the_rest():
    log_odds, labelled = np.array([3.0, -0.1, 0.5, 0.0, -2.0]), np.array([0, 0, 0, 1, 0], bool)
    assert own_classes.most_uncertain(log_odds, labelled, 2).tolist() == [1, 2]
    assert own_classes.most_uncertain(log_odds, labelled, 9).tolist() == [1, 2, 4, 0]


def test_log_odds_are_cross_validated(rng):
    vectors = rng.normal(size=(40, 4)).astype(np.float32)
    known = KnownClips(None, vectors, np.zeros(40, int), np.arange(40) % 5, None)
    examples = [Example("x", True, np.float32([5, 0, 0, 0])), Example("x", True, np.float32([0, 5, 0, 0]))]
    _, (first, _) = own_classes.held_out_log_odds("x", examples, known)
    alone = own_classes.fit_class("x", examples[1:], vectors[known.folds != 0])
    assert first == pytest.approx(examples[0].vector @ alone[:-1] + alone[-1], abs=1e-3)
    assert own_classes.held_out_log_odds("x", examples[:1], known)[1] == [-np.inf]
    parts = [replace(each, file="one.wav") for each in examples]
    assert own_classes.held_out_log_odds("x", parts, known)[1].tolist() == [-np.inf] * 2


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
