import numpy as np
import pytest
import soundfile

from esc50 import dataset
from esc50.audio import synthesis
from esc50.classifier.head import Head
from esc50.classifier.predict import SoundClassifier
from esc50.config import TeachingError
from esc50.experiments import run_cache, teaching
from esc50.experiments.shipping import Recipe
from esc50.experiments.teaching import Taught

RATE = 16_000
pytestmark = pytest.mark.slow


def whistle(seed):
    """A slide whistle: a tone that glides up or down, and a little noise."""
    rng = np.random.default_rng(seed)
    low, high, seconds = rng.uniform(300, 900), rng.uniform(1_500, 2_500), rng.uniform(1.2, 3)
    start, end = (low, high) if seed % 2 else (high, low)
    glide = synthesis.chirp(start_hz=start, end_hz=end, seconds=seconds, amplitude=0.4)
    return glide + rng.normal(0, 0.003, len(glide)).astype(np.float32)


WHISTLES = {f"whistle {seed}": whistle(seed) for seed in range(4)}


@pytest.fixture(scope="module")
def lesson(classifier):
    """Four whistles, and the rain, which is none: held out, it must not be recognised."""
    steps = []
    clips = WHISTLES | {"rain": synthesis.example("rain")}
    taught = teaching.teach(classifier, " slide  whistle ", clips, sample_rate_hz=RATE, report=steps.append)
    assert len(steps) == 4
    return taught


def test_a_new_sound_of_the_class_is_recognised(classifier, lesson):
    unheard = whistle(10)
    assert classifier.predict(unheard, sample_rate_hz=RATE).top(1)[0][0] in dataset.class_names()
    prediction = lesson.classifier.predict(unheard, sample_rate_hz=RATE)
    assert prediction.top(1)[0][0] == lesson.class_name == "slide_whistle"
    assert {neighbour.category for neighbour in prediction.nearest[:3]} == {"slide_whistle"}
    assert prediction.theme == ""


def test_the_plain_head_is_taught_whichever_is_asked_and_it_is_said(classifier, plain, lesson, monkeypatch):
    taught = lesson.classifier
    assert classifier.metadata["layers"] == [15, *range(1, 15)]
    assert taught.metadata["layers"] == [14]
    assert taught.description == plain.description
    assert teaching.PUPIL in lesson.sentences
    assert taught.head.base.metadata == plain.head.metadata

    def load(*_):
        raise AssertionError("a plain head learns itself")

    monkeypatch.setattr(SoundClassifier, "load", load)
    with pytest.raises(TeachingError, match="“slide_whistle” is a class already"):
        teaching.teach(taught, "slide_whistle", WHISTLES, sample_rate_hz=RATE)


def test_the_other_classes_keep_their_odds(plain, lesson):
    embeddings = plain.embed(synthesis.example("siren"))
    before, after = plain.apply_head(embeddings), lesson.classifier.apply_head(embeddings)
    assert after.shape == (len(embeddings), 51)
    np.testing.assert_allclose(after[:, :50] / after[:, :50].sum(axis=1, keepdims=True), before, atol=1e-5)


def test_the_classifier_that_was_taught_is_as_it_was(plain, lesson):
    taught = teaching.teach(plain, "bell", WHISTLES, sample_rate_hz=RATE).classifier
    assert len(taught.class_names) == len(lesson.classifier.class_names) == 51
    assert len(plain.class_names) == plain.head.n_classes == 50
    assert len(plain.reference.targets) == 2000


def test_the_metadata_make_no_claim_of_the_head_before(plain, lesson):
    assert set(plain.metadata) - set(lesson.classifier.metadata) == {"cross_validated"}


def test_clips_are_judged_by_lessons_without_them(lesson):
    """The rain among the clips is learnt with them all, but nothing in the others would tell of it."""
    held_out_clips = lesson.cross_validated.set_index("clip")
    assert held_out_clips.loc[list(WHISTLES), "recognised"].sum() >= 3
    assert not held_out_clips.loc["rain", "recognised"]
    assert held_out_clips.loc["rain", "predicted"] == "rain"
    assert lesson.n_recognised == held_out_clips["recognised"].sum()


def test_the_cost_is_counted_on_the_whole_of_the_held_out_fold(lesson, clips):
    expected = clips.loc[clips["fold"] == 5, "category"].tolist()
    assert lesson.held_out["category"].tolist() == expected
    assert not lesson.held_out["before"].eq("slide_whistle").any()
    assert 0.8 < lesson.accuracy_after <= lesson.accuracy_before < 1
    table = lesson.costs()
    lost = round(400 * (lesson.accuracy_before - lesson.accuracy_after))
    assert (table["right_before"] - table["right_after"]).sum() == lost
    assert table["taken"].sum() == lesson.n_taken


def test_what_it_costs_is_said_in_numbers():
    import pandas as pd

    held_out = pd.DataFrame(
        [("dog", "dog", "dog"), ("dog", "dog", "bell"), ("cat", "dog", "bell")], columns=["category", "before", "after"]
    )
    held_out_clips = pd.DataFrame(
        [("a", "bell", True), ("b", "dog", False)], columns=["clip", "predicted", "recognised"]
    )
    taught = Taught(None, "bell", held_out_clips, held_out, 1.0)
    assert "1 of the 2" in taught.sentences[0]
    assert "66.7 %" in taught.sentences[1]
    assert "33.3 %" in taught.sentences[1]
    assert "2 of them are taken for “bell”" in taught.sentences[1]
    assert "measured before the lesson, without “bell”" in taught.sentences[2]
    assert "plain head, which then answers" in taught.sentences[3]
    assert taught.costs().loc["dog"].tolist() == [2, 2, 1, 1]


def test_the_head_that_measures_has_not_seen_the_held_out_fold_and_is_trained_once(
    monkeypatch, clips, small_head, tmp_path
):
    seen = []

    def fit(recipe, rows, *, seed):
        seen.append(rows)
        return small_head

    monkeypatch.setattr(Recipe, "fit", fit)
    monkeypatch.setattr(run_cache, "CACHE_DIR", tmp_path)
    (split,) = dataset.official_splits(clips, folds=[5])
    heads = [teaching._head_without(split, 0) for _ in range(2)]
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], np.flatnonzero(clips["fold"] != 5))
    assert all(isinstance(head, Head) and head.n_classes == 50 for head in heads)


def test_the_unit_has_the_logistic_regression_it_should_have(rng):
    """Without offsets the solution is scikit-learn's, which knows none."""
    from sklearn.linear_model import LogisticRegression

    inputs = rng.normal(size=(200, 3))
    is_new = inputs[:, 0] + 0.5 * rng.normal(size=200) > 0
    decay = 0.01
    kernel, bias = teaching._fit_unit(inputs, np.zeros(200), is_new, np.ones(200), decay=decay)
    scaled = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    expected = LogisticRegression(C=1 / (decay * 200), tol=1e-8).fit(scaled, is_new)
    np.testing.assert_allclose(inputs @ kernel + bias, expected.decision_function(scaled), atol=0.02)


@pytest.mark.parametrize(
    ("name", "clips", "message"),
    [
        ("  ", WHISTLES, "no name"),
        ("Door wood knock", WHISTLES, "is a class already"),
        ("bell", dict(list(WHISTLES.items())[:2]), "3 different recordings or more; got 2"),
        ("bell", WHISTLES | {"still": synthesis.silence()}, "still: it is silent"),
        ("bell", WHISTLES | {"nothing": np.zeros(0, np.float32)}, "nothing: "),
        ("bell", WHISTLES | {"again": WHISTLES["whistle 1"]}, "whistle 1 and again are the same sound"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(classifier, name, clips, message):
    with pytest.raises(TeachingError, match=message):
        teaching.teach(classifier, name, clips, sample_rate_hz=RATE)


def test_every_bad_file_is_named(classifier, tmp_path):
    for name in WHISTLES:
        soundfile.write(tmp_path / f"{name}.wav", WHISTLES[name], RATE)
    (tmp_path / "notes.wav").write_text("not a sound")
    with pytest.raises(TeachingError, match=r"notes\.wav.*missing\.wav"):
        teaching.teach(classifier, "bell", [*sorted(tmp_path.iterdir()), tmp_path / "missing.wav"])


@pytest.mark.audio
def test_clips_that_it_was_trained_on_are_refused(classifier, dataset_root):
    clip = dataset.clip_path("1-100032-A-0.wav", dataset_root)
    with pytest.raises(TeachingError, match="learnt already as “dog”"):
        teaching.teach(classifier, "puppy", {"mine.wav": clip, "a": "example:rain", "b": "example:siren"})
