"""Evaluate the shipped model on labelled recordings that cannot be published; reports omit file names."""

from esc50.config import RESULTS_DIR, output_path
from esc50.experiments.evaluation import evaluate
from esc50.experiments.results import read_json, write_json
from esc50.experiments.run_cache import provenance

WILD_FILE = "wild.json"
LEVELS = (0, -20, -40)  # gains in dB
COMMAND = "esc50 run 08 -p labels LABELS.csv -p audio FOLDER --publish"
PRIVATE = ("labels", "worst_mistakes", "unreadable")  # parts of a report that name files


def measure(labels, *, audio=None, progress=True):
    """Return the report at each level: see `esc50.experiments.evaluation.evaluate`."""
    reports = {}
    for level in LEVELS:
        report = evaluate(labels, audio=audio, gain_decibels=level, progress=progress).report
        reports[str(level)] = {key: value for key, value in report.items() if key not in PRIVATE}
    return {"levels": reports, "command": COMMAND, "provenance": [provenance()]}


def save_wild(measured):
    """Write ``wild.json``; return its path."""
    path = output_path(RESULTS_DIR) / WILD_FILE
    write_json(measured, path)
    return path


def load_wild(*, folder=RESULTS_DIR):
    """Read the reports of `measure` by level in dB, the loudest first."""
    reports = read_json(folder / WILD_FILE)["levels"]
    return {level: reports[str(level)] for level in LEVELS}
