"""`esc50.classifier.formats`: tables for the terminal, and JSON, CSV and label tracks."""

import csv
import io
import json
from types import SimpleNamespace

import pytest

from esc50.classifier import formats
from esc50.classifier.formats import (
    EVENT_COLUMNS,
    TOP_COLUMNS,
    as_answers,
    as_audacity,
    as_csv,
    as_json,
    as_table,
    clock,
    error_record,
)
from esc50.classifier.ood import Neighbour
from esc50.classifier.timeline import Event

TOP = {
    "file": "a, b.wav",
    "verdict": "This sounds like a dog (80 %).",
    "is_known": True,
    "is_silent": False,
    "why": "",
    "duration_seconds": 5.0,
    "heading": "Most probable of the 50 classes",
    "prediction_set": {"sentence": "A dog or a door wood knock, 90 % sure it is one of these."},
    "top": [{"class_name": "dog", "probability": 0.8}, {"class_name": "door_wood_knock", "probability": 0.2}],
    "warnings": ["The recording was too loud."],
}
EVENT = {
    "start_seconds": 0.72,
    "end_seconds": 3661.5,
    "class_name": "door_wood_knock",
    "confidence": 0.5123,
    "is_known": True,
}
EVENTS = {
    "file": "long.wav",
    "verdict": "1 sound in 1:01:02: door wood knock 0:01 to 1:01:02.",
    "duration_seconds": 3662.0,
    "events": [EVENT],
    "warnings": [],
}
FAILED = error_record("bad.wav", ValueError("bad.wav is not sound"))


def test_json_is_one_array_with_failures_in_it():
    records = [TOP, FAILED, EVENTS]
    assert json.loads("".join(as_json(records))) == records
    assert json.loads("".join(as_json([]))) == []


def test_a_record_is_written_before_the_next_is_asked_for():
    def records():
        yield TOP
        raise KeyboardInterrupt

    pieces, written = as_json(records()), []
    with pytest.raises(KeyboardInterrupt):
        written.extend(iter(lambda: next(pieces), None))
    next_piece = as_json(iter([TOP]))
    assert json.loads(next(next_piece).removeprefix("[")) == TOP


def test_csv_has_a_row_for_each_class():
    rows = list(csv.DictReader(io.StringIO("".join(as_csv([TOP, FAILED], columns=TOP_COLUMNS)))))
    assert [(r["file"], r["rank"], r["class_name"], float(r["probability"]), r["is_known"]) for r in rows] == [
        ("a, b.wav", "1", "dog", 0.8, "True"),
        ("a, b.wav", "2", "door_wood_knock", 0.2, "True"),
    ]


def test_csv_has_a_row_for_each_event_and_a_header_without_any():
    text = "".join(as_csv([EVENTS], columns=EVENT_COLUMNS))
    header = "file,start_seconds,end_seconds,class_name,confidence,is_known\n"
    assert text == header + "long.wav,0.72,3661.5,door_wood_knock,0.5123,True\n"
    assert "".join(as_csv([FAILED], columns=EVENT_COLUMNS)) == header


def test_a_table_has_verdict_bars_and_warnings():
    text = "".join(as_table([FAILED, TOP]))
    assert text.splitlines() == [
        "a, b.wav (0:05.0): This sounds like a dog (80 %).",
        "  A dog or a door wood knock, 90 % sure it is one of these.",
        "  dog                  80 %  ████████████████",
        "  door wood knock      20 %  ████",
        "  note: The recording was too loud.",
        "",
    ]


def test_where_nothing_is_known_the_table_says_why_and_what_it_would_be():
    heading = "If it had to be one of the 50"
    unknown = {**TOP, "is_known": False, "why": "It is far.", "heading": heading, "prediction_set": None}
    assert "".join(as_table([unknown])).splitlines()[1:4] == [
        "  Why? It is far.",
        f"  {heading}:",
        "  dog                  80 %  ████████████████",
    ]


def test_a_table_of_events_is_aligned():
    other = {**EVENT, "start_seconds": 3661.5, "end_seconds": 3662.0, "class_name": "rain", "confidence": 1.0}
    head, first, second, _ = "".join(as_table([{**EVENTS, "events": [EVENT, other]}])).splitlines()
    assert head == f"long.wav (1:01:02.0): {EVENTS['verdict']}"
    assert first.split() == ["0:00.7", "–", "1:01:01.5", "door", "wood", "knock", "51", "%"]
    assert [line.index("–") for line in (first, second)] == [13, 13]
    assert len(first) == len(second)


def test_of_a_long_sound_the_events_come_first_and_the_answer_to_the_whole_second():
    second = "None of the 50 classes: even dog, the likeliest, is too unlike this sound."
    text = "".join(as_table([TOP | EVENTS | {"as_one_sound": second, "warnings": ["Too loud."]}]))
    assert text.splitlines()[0] == f"long.wav (1:01:02.0): {EVENTS['verdict']}"
    assert text.splitlines()[1].endswith("door wood knock    51 %")
    assert text.splitlines()[2:] == [
        "  As one sound: none of the 50 classes: even dog, the likeliest, is too unlike this sound.",
        "  A dog or a door wood knock, 90 % sure it is one of these.",
        "  dog                  80 %  ████████████████",
        "  door wood knock      20 %  ████",
        "  note: Too loud.",
        "",
    ]


def test_events_as_html_are_escaped_and_doubts_are_told():
    events = [Event(0.72, 3661.5, "door_wood_knock", 0.512, is_known=False), Event(1, 2, "<b>", 0.9)]
    text = formats.events_table(events)
    assert text.count('<th scope="col">') == 4 and 'role="region" aria-label="Events" tabindex="0"' in text
    assert "<td>0:00.7</td><td>1:01:01.5</td><td>none of these (door wood knock?)</td><td>51 %</td>" in text
    assert "<td>&lt;b&gt;</td>" in text and "<button" not in text
    text = formats.events_table(events, playable=True)
    assert 'data-end="2.000" aria-label="Play &lt;b&gt;, 0:01.0 to 0:02.0"' in text


def test_the_table_of_a_page_says_of_each_file_what_the_page_says():
    silent = TOP | {"file": "silence.wav", "verdict": "Nothing to hear.", "is_silent": True}
    long = TOP | EVENTS | {"events": [EVENT, EVENT | {"is_known": False}], "as_one_sound": "This may be rain."}
    rows = list(csv.DictReader(io.StringIO("".join(as_answers([TOP, FAILED, silent, long, EVENTS | {"events": []}])))))
    assert [(row["file"], row["answer"]) for row in rows] == [
        *((TOP["file"], TOP["verdict"]), ("bad.wav", "bad.wav is not sound"), ("silence.wav", "Nothing to hear.")),
        *[("long.wav", EVENTS["verdict"])] * 3,
    ]
    dog, *none, first, second, empty = ([*row.values()][2:] for row in rows)
    assert dog == ["dog", "0.8", "", "", "", "True"]
    assert none == [[""] * 6] * 2 and empty == [""] * 6
    assert first == ["door_wood_knock", "", "0.72", "3661.5", "0.5123", "True"]
    assert second[-1] == "False"


def test_of_silence_the_table_says_only_that_there_is_nothing_to_hear():
    silent = TOP | {"file": "a.wav", "verdict": "Nothing to hear.", "is_known": False, "is_silent": True}
    lines = ["a.wav (0:05.0): Nothing to hear.", "  note: The recording was too loud.", ""]
    assert "".join(as_table([silent])).splitlines() == lines
    long = silent | {"events": [], "as_one_sound": "Nothing to hear."}
    assert "".join(as_table([long], columns=80)).splitlines() == lines


def test_no_line_is_longer_than_the_terminal():
    text = "".join(as_table([TOP | EVENTS | {"as_one_sound": "This may be rain."}], columns=40))
    assert max(map(len, text.splitlines())) <= 40 and "of any length" in text


@pytest.mark.parametrize(("seconds", "length"), [(0.05, "0.05 s"), (0.1, "0:00.1"), (5.0, "0:05.0")])
def test_of_a_click_the_length_is_told_in_hundredths(seconds, length):
    assert "".join(as_table([TOP | {"duration_seconds": seconds}])).startswith(f"a, b.wav ({length}): ")


def test_a_label_track_has_tabs():
    assert "".join(as_audacity([EVENTS])) == "0.720000\t3661.500000\tdoor_wood_knock\n"


def test_an_event_that_is_none_of_the_classes_is_marked():
    unknown = {**EVENTS, "events": [{**EVENT, "is_known": False}]}
    assert "".join(as_table([unknown])).splitlines()[1].endswith(" 51 %  none of these?")
    assert "".join(as_audacity([unknown])).endswith("\tnone of these (door wood knock?)\n")
    assert "".join(as_csv([unknown], columns=EVENT_COLUMNS)).endswith(",0.5123,False\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.0"), (59.96, "1:00.0"), (7.04, "0:07.0"), (3599.99, "1:00:00.0"), (3723.4, "1:02:03.4")],
)
def test_times_are_written_as_people_read_them(seconds, text):
    assert clock(seconds) == text


def test_a_prediction_in_plain_types():
    prediction = SimpleNamespace(
        verdict="This sounds like rain (90 %).",
        timeline=None,
        is_known=True,
        why="",
        class_names=("rain", "wind"),
        say_set=lambda: "Rain, at least 90 % sure.",
        prediction_set=lambda: ("rain",),
        top_audioset=lambda: [("Rain", 0.7)],
        theme="Natural soundscapes & water",
        sound=SimpleNamespace(duration_seconds=5.0, is_silent=False),
        top=lambda k: [("rain", 0.9), ("wind", 0.1)][:k],
        nearest=(Neighbour("1-a.wav", "rain", 0.8),),
        warnings=(),
    )
    record = formats.prediction_record("r.wav", prediction, top=1)
    assert json.loads(json.dumps(record)) == record
    assert record["top"] == [{"class_name": "rain", "probability": 0.9}]
    assert record["nearest"] == [{"filename": "1-a.wav", "category": "rain", "similarity": 0.8}]
    assert record["audioset_top"] == [{"class_name": "Rain", "score": 0.7}]
    sets = {"coverage": 0.9, "class_names": ["rain"], "sentence": "Rain, at least 90 % sure."}
    assert record["prediction_set"] == sets
    assert record["heading"] == "Most probable of the 2 classes"
    unknown = SimpleNamespace(**vars(prediction) | {"is_known": False, "say_set": lambda: ""})
    found = formats.prediction_record("r.wav", unknown)
    assert (found["prediction_set"], found["heading"]) == (None, "If it had to be one of the 2")
    assert "events" not in record
    prediction.timeline, prediction.as_one_sound = SimpleNamespace(records=lambda: [EVENT]), "This may be rain."
    assert formats.prediction_record("r.wav", prediction) == record | {
        "top": [{"class_name": "rain", "probability": 0.9}, {"class_name": "wind", "probability": 0.1}],
        "events": [EVENT],
        "as_one_sound": "This may be rain.",
    }
