from types import SimpleNamespace

import numpy as np
import pytest

from esc50.classifier.describe import NO_ARTICLE, class_label, describe_head, describe_sound, say_verdict, with_article
from esc50.dataset.clips import class_names

NAMES = ("dog", "engine", "rain")


@pytest.mark.parametrize(
    ("probabilities", "is_known", "is_silent", "sentence"),
    [
        ([0.96, 0.03, 0.01], True, False, "This sounds like a dog (96 %)."),
        ([0.1, 0.8, 0.1], True, False, "This sounds like an engine (80 %)."),
        ([0.1, 0.1, 0.8], True, False, "This sounds like rain (80 %)."),
        ([0.2, 0.35, 0.45], True, False, "This may be rain (45 %) or an engine (35 %)."),
        ([0.96, 0.03, 0.01], False, False, "None of the 3 classes: even dog, the likeliest, is too unlike this sound."),
        ([0.96, 0.03, 0.01], False, True, "Nothing to hear: the recording is silent."),
    ],
)
def test_the_verdict_in_words(probabilities, is_known, is_silent, sentence):
    assert say_verdict(NAMES, np.array(probabilities), is_known=is_known, is_silent=is_silent) == sentence


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
    assert describe_head(1) == "Answers come from the plain head, on YAMNet's embedding alone."
    assert describe_head(14) == "Answers come from the head on 14 of YAMNet's layers."


def test_every_class_that_goes_without_an_article_exists():
    assert set(NO_ARTICLE) < set(class_names())


def test_names_are_written_with_spaces():
    assert class_label("door_wood_knock") == "door wood knock"
    assert with_article("airplane") == "an airplane"
