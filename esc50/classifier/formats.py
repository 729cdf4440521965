"""How answers are written out: for people at a terminal, and for programs as JSON, CSV and label tracks."""

import csv
import html
import io
import json
import textwrap
from pathlib import Path

from esc50.audio.decode import HEADERLESS, printable
from esc50.audio.files import SOUND_ENDINGS
from esc50.audio.sound import open_sound
from esc50.classifier.describe import class_label, event_label, say_percent, say_second, top_heading
from esc50.classifier.prediction_sets import DEFAULT_COVERAGE
from esc50.config import AudioError, OutputError

TOP_COLUMNS = ("file", "rank", "class_name", "probability", "is_known")
EVENT_COLUMNS = ("file", "start_seconds", "end_seconds", "class_name", "confidence", "is_known")
ANSWER_COLUMNS = ("file", "answer", "class_name", "probability", *EVENT_COLUMNS[1:3], "confidence", "is_known")
BAR_CELLS = 20
PLAIN = {ord("█"): "#", ord("–"): "-"}  # for outputs whose encoding lacks them
KEPT_ENDINGS = (*SOUND_ENDINGS, *HEADERLESS)  # nothing is written over such a file, even if it cannot be read as sound
NAME_OUTPUT = "name another file for what is written, as in `--output answers.csv *.wav`"


def prediction_record(name, prediction, *, top=5):
    """What a prediction says, in plain types.

    Parameters
    ----------
    name : str
        Of the file.
    prediction : esc50.classifier.predict.Prediction
        Of it.
    top : int
        How many classes.

    Returns
    -------
    dict
        ``file``, ``verdict``, ``is_known``, ``is_silent``, ``why`` it is none of the classes, ``theme``,
        ``duration_seconds``, ``top`` (a list of ``class_name`` and ``probability``) and its ``heading``,
        ``prediction_set`` (``coverage``, ``class_names`` and a ``sentence``; None where the sound is none of the
        classes), ``audioset_top`` (YAMNet's own ``class_name`` and ``score``), ``nearest`` (``filename``, ``category``,
        ``similarity``) and ``warnings``.
        Of more than ten seconds also ``events``, of which the verdict then is, and ``as_one_sound``, what is said of
        the whole, of which all else is.
    """
    timeline, sentence, found = prediction.timeline, prediction.say_set(), None
    if sentence:
        found = {"coverage": DEFAULT_COVERAGE, "class_names": list(prediction.prediction_set()), "sentence": sentence}
    return {
        "file": name,
        "verdict": prediction.verdict,
        **({"events": timeline.records(), "as_one_sound": prediction.as_one_sound} if timeline else {}),
        "is_known": bool(prediction.is_known),
        "is_silent": bool(prediction.sound.is_silent),
        "why": prediction.why,
        "theme": prediction.theme,
        "duration_seconds": prediction.sound.duration_seconds,
        "heading": top_heading(len(prediction.class_names), is_known=prediction.is_known),
        "top": [{"class_name": label, "probability": p} for label, p in prediction.top(top)],
        "prediction_set": found,
        "audioset_top": [{"class_name": label, "score": score} for label, score in prediction.top_audioset()],
        "nearest": [each._asdict() for each in prediction.nearest],
        "warnings": list(prediction.warnings),
    }


def timeline_record(name, timeline):
    """What a timeline says, in plain types: ``file``, and what `Timeline.to_dict` gives."""
    return {"file": name, **timeline.to_dict()}


def error_record(name, error):
    """Why there is no answer, in plain types: ``file`` and ``error``; only JSON shows it."""
    return {"file": name, "error": str(error)}


def check_output(path):
    """Refuse to overwrite a recording, or what no file can replace.

    Parameters
    ----------
    path : str or Path
        Where something is to be written.

    Raises
    ------
    OutputError
        It is a sound by its content or, if it is there, by the ending of its name; or it is a folder or a disk.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{printable(path)} is a folder: name a file in it")
    if path.is_block_device():
        raise OutputError(f"{printable(path)} is a disk, and all on it would be lost: name a file")
    if path.is_file() and is_recording(path.resolve()):  # of /dev/stdout, too
        raise OutputError(f"{printable(path)} is a recording and would be overwritten: {NAME_OUTPUT}")


def is_recording(path):
    """Whether a file is a sound, by its name or by its content."""
    if path.suffix.lower() in KEPT_ENDINGS:
        return True
    try:
        with open_sound(path):
            return True
    except AudioError:
        return False


def as_json(records, *, encoding="utf-8"):
    """One JSON array, each record on a line as soon as it is known; in ASCII where the encoding lacks a character."""
    mark = "["
    for record in records:
        text = json.dumps(record, ensure_ascii=False)
        yield f"{mark}\n{text if _fits(text, encoding) else json.dumps(record)}"
        mark = ","
    yield "[\n]\n" if mark == "[" else "\n]\n"


def as_csv(records, *, columns):
    """CSV with a header: a row for each class (`TOP_COLUMNS`) or event (`EVENT_COLUMNS`)."""
    yield csv_lines([columns])
    for record in records:
        yield csv_lines([row[column] for column in columns] for row in _rows(record))


def as_answers(records):
    """CSV with each file's answer or error: a row for each event, for a short sound's class, or without any."""
    yield csv_lines([ANSWER_COLUMNS])
    for record in records:
        shared = {"file": record["file"], "answer": record.get("verdict") or record["error"]}
        rows = [] if record.get("is_silent") else record["events"] if "events" in record else _rows(record)[:1]
        yield csv_lines([(shared | row).get(column, "") for column in ANSWER_COLUMNS] for row in rows or [{}])


def as_table(records, *, encoding="utf-8", columns=None):
    """For people: verdict, bars or events, and warnings of each file; on a terminal of so many columns."""
    for record in records:
        if "error" not in record:
            lines = _lines(record) if columns is None else _fold(record, columns)
            text = "\n".join([*lines, "\n"])
            yield text if _fits(text, encoding) else text.translate(PLAIN)


def as_audacity(records):
    """A label track for Audacity: start, end and class of each event, between tabs."""
    for row in (row for record in records for row in _rows(record)):
        yield audacity_line(row["start_seconds"], row["end_seconds"], row["class_name"], is_known=row["is_known"])


def audacity_line(start_seconds, end_seconds, class_name, *, is_known):
    """One line of a label track (Audacity's manual, Importing and Exporting Labels)."""
    return f"{start_seconds:.6f}\t{end_seconds:.6f}\t{event_label(class_name, is_known=is_known)}\n"


def event_line(event):
    """One event of a table: from when to when, class, confidence; of a record as `Timeline.records` gives it."""
    name, span = class_label(event["class_name"]), (event["start_seconds"], event["end_seconds"])
    doubt = "" if event["is_known"] else "  none of these?"
    return f"  {clock(span[0]):>10} – {clock(span[1]):<10}  {name:<17}{100 * event['confidence']:4.0f} %{doubt}"


def events_table(events, *, playable=False):
    """Events of a timeline as HTML; `playable` where the page has a player of the sound and apps/play.js."""
    rows = []
    for event in events:
        name = html.escape(class_label(event_label(event.class_name, is_known=event.is_known)))
        start, end = clock(event.start_seconds), clock(event.end_seconds)
        span = f'data-start="{event.start_seconds:.3f}" data-end="{event.end_seconds:.3f}"'
        label = f'aria-label="Play {name}, {start} to {end}"'
        play = f'<button type="button" class="play" {span} {label} onclick="esc50Play(this)">{start}</button>'
        rows.append((play if playable else start, end, name, f"{100 * event.confidence:.0f} %"))
    table = html_table(("from", "to", "sound", "confidence"), rows)
    return f'<div class="events" role="region" aria-label="Events" tabindex="0">{table}</div>'


def html_table(heads, rows):
    """An HTML table of cells that are HTML."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def clock(seconds):
    """A time as people read it: ``1:02:03.4`` or ``0:07.0``."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{rest // 10:02d}.{rest % 10}"


def csv_lines(rows):
    """Rows as lines of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _fits(text, encoding):
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _rows(record):
    if "top" in record:
        shared = {"file": record["file"], "is_known": record["is_known"]}
        return [{**shared, "rank": rank, **entry} for rank, entry in enumerate(record["top"], start=1)]
    return [{"file": record["file"], **event} for event in record.get("events", [])]


def _lines(record):
    seconds = record["duration_seconds"]
    length = clock(seconds) if seconds >= 0.1 else f"{seconds:.2f} s"
    yield f"{printable(record['file'])} ({length}): {record['verdict']}"
    yield from map(event_line, record.get("events", ()))
    if "top" in record and not record["is_silent"]:
        yield from _top_lines(record)
    yield from (f"  note: {warning}" for warning in record["warnings"])


def _fold(record, columns):
    """The lines as a terminal shows them."""
    is_long = "as_one_sound" in record and not record["is_silent"]
    hint = ["  (--timeline shows the events alone, and takes recordings of any length.)"] if is_long else []
    for line in [*_lines(record), *hint]:
        how = {"subsequent_indent": "    ", "break_long_words": False, "break_on_hyphens": False}
        yield textwrap.fill(line, columns, **how) if len(line) > columns else line


def _top_lines(record):
    if "as_one_sound" in record:
        yield f"  {say_second(record['as_one_sound'])}"
    if record["prediction_set"]:
        yield f"  {record['prediction_set']['sentence']}"
    if record["why"]:
        yield f"  Why? {record['why']}"
    if not record["is_known"]:
        yield f"  {record['heading']}:"
    for entry in record["top"]:
        name, share = class_label(entry["class_name"]), entry["probability"]
        yield f"  {name:<17}{say_percent(share):>8}  {'█' * round(BAR_CELLS * share)}".rstrip()
