"""An evaluation as text for a terminal of 80 columns."""

from textwrap import wrap

from esc50.classifier.describe import class_label, count_of
from esc50.classifier.formats import printable
from esc50.reporting.tables import percent

NOTHING = "-"
FIGURES = {  # of the report -> what the table calls it, and whether it is a share in percent
    "accuracy": ("accuracy", True),
    "top3_accuracy": ("top-3 accuracy", True),
    "macro_recall": ("macro recall (mean over classes)", True),
    "macro_f1": ("macro-F1", False),
    "ece": ("calibration error (ECE)", False),
    "right_refused": ("right answers rejected", True),
    "none_accepted": ("none accepted", True),
    "accepted_right": ("accepted ones that are right", True),
    "auroc": ("AUROC, right ones against none", False),
    "fpr_at_95_tpr": ("FPR at 95 % TPR, of the same", True),
}
CLASS_COLUMNS = ("recall", "top3_accuracy", "f1", "accepted")
SOURCE_COLUMNS = ("accuracy", "right_refused", "none_accepted")
CLASS_LINE = "{:<18}{:>6}{:>9}{:>9}{:>7}{:>11}  {}"
SOURCE_LINE = "{:<34}{:>6}{:>9}{:>11}{:>9}{:>11}"


def format_report(report):
    """Give the text of a report: figures with their intervals, classes, sources, the worst mistakes, notes."""
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report):
    yield from _summary(report)
    if report["per_class"]:
        yield from [
            "",
            CLASS_LINE.format("class", "files", "right %", "top-3 %", "F1", "accepted %", "confused with"),
        ]
        yield from map(_class_line, report["per_class"])
    if report["per_source"]:
        yield from ["", SOURCE_LINE.format("source", "files", "right %", "rejected %", "of none", "accepted %")]
        yield from map(_source_line, report["per_source"])
    if report["worst_mistakes"]:
        yield from ["", "wrong and accepted, the surest first"]
        yield from map(_mistake_line, report["worst_mistakes"])
    if notes := _notes(report):
        yield from ["", *(line for note in notes for line in wrap(f"note: {note}", 80, subsequent_indent="  "))]


def _summary(report):
    known = f"{count_of(report['n_known'], 'file')} of {count_of(report['n_classes'], 'class')}"
    recordings = count_of(report["n_recordings"], "recording")
    yield f"{printable(report['labels'])}: {known} and {report['n_none']} of none, {recordings}"
    gain = f", {report['gain_decibels']:+g} dB" if report["gain_decibels"] else ""
    kept = f"keeping {100 * report['kept']:.3g} % of known sounds"
    yield f"model {report['model']}{gain}, {kept}, esc50 {report['esc50']}"
    yield ""
    yield f"{'':<36}{'':>9}  95 % interval"
    for name, (title, is_share) in FIGURES.items():
        figure = report["metrics"].get(name, {})
        value, low, high = (_number(figure.get(key), is_share) for key in ("value", "low", "high"))
        interval = f"{low} to {high}" if "low" in figure else NOTHING
        yield f"{title:<36}{value + (' %' if is_share and figure else '  '):>9}  {interval}".rstrip()


def _class_line(row):
    figures = [_number(row.get(key), key != "f1") for key in CLASS_COLUMNS]
    confused = f"{class_label(row['mistaken_for'])} ({row['n_mistaken']})" if "mistaken_for" in row else NOTHING
    return CLASS_LINE.format(_cut(class_label(row["class_name"]), 18), row["n_files"], *figures, _cut(confused, 22))


def _source_line(row):
    right, rejected, accepted = (_number(row.get(key), True) for key in SOURCE_COLUMNS)
    return SOURCE_LINE.format(_cut(row["source"], 33), row["n_known"], right, rejected, row["n_none"], accepted)


def _mistake_line(row):
    told = f"{class_label(row['category'])} -> {class_label(row['predicted'])}"
    return f"{100 * row['probability']:5.0f} %  {told:<37}  {_cut(row['filename'], 32)}"


def _notes(report):
    notes = list(report["notes"])
    if n := report["n_unreadable"]:
        notes.insert(0, f"{count_of(n, 'file')} not read, and not counted")
    return notes


def _number(value, is_share):
    if value is None:
        return NOTHING
    return percent(value) if is_share else f"{value:.3f}"


def _cut(text, width):
    text = printable(text)
    return text if len(text) <= width else f"{text[: width - 3]}..."
