from types import SimpleNamespace

import numpy as np
import pytest

from esc50.classifier import describe
from esc50.classifier.describe import (
    NO_ARTICLE,
    audioset_label,
    class_label,
    describe_head,
    describe_sound,
    group_by_theme,
    say_patches,
    say_percent,
    say_second,
    say_set,
    say_timeline,
    say_verdict,
    say_why,
    top_heading,
    with_article,
)
from esc50.classifier.ood import OOD_SCORES
from esc50.classifier.timeline import Event
from esc50.dataset.clips import class_names

NAMES = ("dog", "engine", "rain")


@pytest.mark.parametrize(
    ("probabilities", "is_known", "is_silent", "sentence"),
    [
        ([0.96, 0.03, 0.01], True, False, "This sounds like a dog (96 %)."),
        ([0.1, 0.8, 0.1], True, False, "This sounds like an engine (80 %)."),
        ([0.1, 0.1, 0.8], True, False, "This sounds like rain (80 %)."),
        ([0.2, 0.35, 0.45], True, False, "This may be rain (45 %) or an engine (35 %)."),
        ([0.96, 0.03, 0.01], False, False, "None of the 3 classes. YAMNet's best match is speech (0.93)."),
        ([0.96, 0.03, 0.01], False, True, "Nothing to hear: the recording is silent."),
    ],
)
def test_the_verdict_in_words(probabilities, is_known, is_silent, sentence):
    how = {"is_known": is_known, "is_silent": is_silent, "audioset_top": ("Speech", 0.93), "is_class": False}
    assert say_verdict(NAMES, np.array(probabilities), **how) == sentence


def test_where_yamnet_itself_hears_one_of_the_classes_the_verdict_says_so():
    how = {"is_known": False, "is_silent": False, "audioset_top": ("Dog", 0.456), "is_class": True}
    sentence = say_verdict(NAMES, np.array([0.4, 0.3, 0.3]), **how)
    assert sentence == "None of the 3 classes, though YAMNet's best match is dog (0.46)."


@pytest.mark.parametrize(
    ("name", "label"),
    [("Inside, small room", "inside, small room"), ("French horn", "French horn"), ("A capella", "a capella")],
)
def test_audioset_s_classes_as_they_stand_in_a_sentence(name, label):
    assert audioset_label(name, 1) == f"{label} (1.00)"


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["dog"], "A dog, at least 90 % sure."),
        (["dog", "rooster"], "A dog or a rooster, 90 % sure it is one of these."),
        (["rain", "engine", "dog"], "Rain, an engine or a dog, 90 % sure it is one of these."),
        ([*"abcdefg"], "One of 7 classes, 90 % sure: an a, a b, a c, a d, an e and 2 more."),
    ],
)
def test_a_prediction_set_in_words(names, sentence):
    assert say_set(names, 0.9) == sentence


def test_why_in_words():
    facts = {"n_clips": 2000, "nearest": "crackling fire", "best": "rain", "other": "speech (0.93)", "n_classes": 50}
    others = "95 % of known sounds"
    assert say_why("neighbours", 0.95, **facts) == (
        f"It is unlike all 2,000 training clips (nearest class: crackling fire); {others} have a closer match."
    )
    assert say_why("other_score", 0.951, **facts) == (
        f"YAMNet detects something outside the 50 classes, speech (0.93), more strongly than in {others}."
    )
    for score in OOD_SCORES:
        assert others in say_why(score, 0.95, **facts)


def test_what_stands_above_the_classes():
    assert top_heading(50, is_known=True) == "Most probable of the 50 classes"
    assert top_heading(50, is_known=False) == "If it had to be one of the 50"


def test_the_classes_by_theme():
    metadata = {"class_names": ["dog", "rain", "cat", "doorbell"], "themes": {"dog": "A", "rain": "B", "cat": "A"}}
    assert group_by_theme(metadata) == {"A": ["dog", "cat"], "B": ["rain"], "": ["doorbell"]}


DOG, RAIN = Event(2.2, 7.4, "dog", 0.9), Event(9.0, 14.6, "rain", 0.9)
DOUBT = Event(15.0, 17.0, "siren", 0.4, is_known=False)
MANY = tuple(
    Event(12.0 * number, 12.0 * number + number, name, 0.9)
    for number, name in enumerate(("dog", "rain", "wind", "siren", "cat", "car_horn", "dog"), start=1)
)


@pytest.mark.parametrize(
    ("events", "seconds", "sentence"),
    [
        ((DOG,), 12.0, "1 sound in 0:12: dog 0:02 to 0:07."),
        ((DOG, RAIN), 15.0, "2 sounds in 0:15: dog 0:02 to 0:07, rain 0:09 to 0:15."),
        ((DOG, DOUBT), 17.0, "1 sound in 0:17: dog 0:02 to 0:07. 1 other is none of the 50 classes."),
        (
            (*MANY, DOUBT, DOUBT),
            3723.0,
            "7 sounds in 1:02:03: dog for 0:08, car horn for 0:06, cat for 0:05, siren for 0:04 and 2 other classes."
            " 2 others are none of the 50 classes.",
        ),
        (
            (*MANY[:3], *MANY[:2]),
            60.0,
            "5 sounds in 1:00: rain for 0:04, wind for 0:03, dog for 0:02.",
        ),
        ((DOUBT,), 17.0, "None of the 50 classes: 1 sound in 0:17 is too unlike them."),
        ((DOUBT, DOUBT), 17.0, "None of the 50 classes: 2 sounds in 0:17 are too unlike them."),
        ((), 59.9, "None of the 50 classes was found in 1:00."),
    ],
)
def test_the_verdict_on_a_long_recording_in_words(events, seconds, sentence):
    assert say_timeline(events, seconds=seconds, n_classes=50) == sentence
    silent = say_timeline(events, seconds=seconds, n_classes=50, is_silent=True)
    assert silent == "Nothing to hear: the recording is silent."


def test_the_answer_to_the_whole_comes_second():
    assert say_second("This may be rain.") == "As one sound: this may be rain."


def test_which_part_of_a_long_sound_is_explained():
    whole = say_patches("dog", (0.0, 5.295), seconds=5.3)
    assert whole.startswith("Blue: without this patch, a dog becomes less likely; red: more likely. On top: ")
    part = " Only 0:10 to 0:15 of 0:20 is shown, around its most probable frame."
    assert say_patches("dog", (10.08, 15.375), seconds=20.0) == whole + part


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ((5, 1, 16_000.0), "5.00 s, 1 channel, 16000 Hz"),
        ((0.1234, 6, 11_025.5), "0.12 s, 6 channels, 11025.5 Hz"),
    ],
)
def test_the_facts_in_words(facts, words):
    names = ("duration_seconds", "source_channels", "source_sample_rate_hz")
    assert describe_sound(SimpleNamespace(**dict(zip(names, facts, strict=True)))) == words


def test_which_head_answers_in_words():
    assert describe_head([14]).startswith("Answers come from the plain head: ")
    assert "on top of YAMNet, Google's" in describe_head(range(1, 15))


def test_what_is_possible_has_no_share_of_nothing():
    assert [say_percent(share) for share in (1.0, 0.996, 0.5, 0.01, 0.004, 1e-9)] == [
        *("100 %", "100 %", "50 %", "1 %", "< 1 %", "< 1 %")
    ]


def test_every_class_that_goes_without_an_article_exists():
    assert set(NO_ARTICLE) < set(class_names())


def test_names_are_written_with_spaces():
    assert class_label("door_wood_knock") == "door wood knock"
    assert with_article("airplane") == "an airplane"


@pytest.mark.parametrize("text", ["door_wood_knock", "Door wood knock", " door-wood  knock "])
def test_a_class_is_named_as_people_write_it(text):
    assert describe.class_named(text, ["dog", "door_wood_knock"]) == "door_wood_knock"
    assert describe.class_named(text, ["dog"]) is None
