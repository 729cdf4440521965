"""An evaluation, drawn: which classes are right, how sure the answers are, how known and unknown are told apart."""

import matplotlib.pyplot as plt
import pandas as pd

from esc50.config import N_CLASSES
from esc50.dataset.clips import THEMES
from esc50.reporting.plots.metrics import plot_per_class
from esc50.reporting.plots.trust import plot_reliability, plot_score_histogram

WIDTH_INCHES = 9.0
HEIGHT_INCHES = 6.0  # at least; a row for each class needs more
ROW_INCHES = 0.19


def plot_evaluation(evaluation, *, figure=None):
    """Draw what was measured on labelled recordings.

    Parameters
    ----------
    evaluation : esc50.experiments.evaluation.Evaluation
        From `esc50.evaluate`.
    figure : matplotlib.figure.Figure, optional
        Where to draw.

    Returns
    -------
    matplotlib.figure.Figure
        A bar for each class, reliability, and the rejection scores of right answers and of sounds of no class; these
        alone where no recording is of a class.
    """
    report, kinds = evaluation.report, _scores_by_kind(evaluation.predictions)
    has_known = report["n_known"] > 0
    height = max(HEIGHT_INCHES, 2 + ROW_INCHES * report["n_classes"]) if has_known else HEIGHT_INCHES / 2
    figure = figure or plt.figure(figsize=(WIDTH_INCHES, height))
    axes = figure.subplot_mosaic([["classes", "reliability"], ["classes", "scores"]] if has_known else [["scores"]])
    if has_known:
        _plot_classes(report["per_class"], list(evaluation.probabilities), axes["classes"])
        plot_reliability(pd.DataFrame(report["reliability"]), ax=axes["reliability"])
    if kinds:
        label = "rejection score (left: none of these)"
        plot_score_histogram(kinds, label=label, threshold=report.get("rejection_threshold"), ax=axes["scores"])
    figure.suptitle(_title(report), fontsize="medium")
    return figure


def _scores_by_kind(predictions):
    """Kind and scores of its recordings, where it has any; silence is refused without a score."""
    active = predictions[(predictions["error"] == "") & ~predictions["is_silent"].fillna(True)]
    kinds = {
        "right answers": active["category"] == active["predicted"],
        "sounds of no class": active["category"] == "none",
    }
    return {
        f"{kind} ({rows.sum()})": active.loc[rows, "ood_score"].to_numpy() for kind, rows in kinds.items() if rows.any()
    }


def _plot_classes(per_class, names, ax):
    rows = [row for row in per_class if "recall" in row]
    titles = [f"{row['class_name']} ({row['n_files']})" for row in rows]
    themes = [THEMES[label // 10] if (label := names.index(row["class_name"])) < N_CLASSES else "" for row in rows]
    plot_per_class([100 * row["recall"] for row in rows], titles, themes, label="right (%); in brackets: files", ax=ax)
    ax.set_xlim(0, 100)


def _title(report):
    figures, parts = report["metrics"], []
    if "accuracy" in figures:
        parts.append(f"{100 * figures['accuracy']['value']:.1f} % of {report['n_known']} files right")
    if "none_accepted" in figures:
        parts.append(f"{100 * figures['none_accepted']['value']:.1f} % of {report['n_none']} of no class accepted")
    return ", ".join(parts)
