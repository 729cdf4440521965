"""How far to trust an answer: reliability, risk over coverage, OOD scores of known and unknown sounds."""

import matplotlib.pyplot as plt
import numpy as np

from esc50.dataset.clips import THEMES, class_names
from esc50.experiments.conformal import summarise
from esc50.reporting.plots.metrics import plot_per_class

KIND_COLORS = ("C0", "C1", "C3")  # known, and two kinds of unknown sounds
HIGHEST = 0.998  # quantile beyond which a histogram does not reach


def plot_reliability(table, *, ax=None):
    """Draw how often answers were right against how sure they were (a `reliability_table`); ideally a diagonal."""
    ax = ax or plt.gca()
    width, full = 100 * (table["high"] - table["low"]), table["clips"] > 0
    left, height = 100 * table["low"], 100 * table["accuracy"].fillna(0)
    ax.bar(left, height, width, align="edge", color="C0", alpha=0.8, label="right")
    ax.plot([0, 100], [0, 100], color="0.3", linestyle="--", label="as sure as right")
    ax.scatter(100 * table["confidence"][full], height[full], color="0.2", s=14, zorder=3, label="mean confidence")
    for x, y, clips in zip((left + width / 2)[full], height[full], table["clips"][full], strict=True):
        ax.text(x, y + 2, f"{clips}", ha="center", fontsize=7)
    ax.set(xlim=(0, 100), ylim=(0, 108), xlabel="probability of the predicted class (%)", ylabel="right (%)")
    ax.legend(loc="upper left", fontsize=8)
    return ax


def plot_set_coverage(sets, *, coverage, ax=None):
    """Draw how often prediction sets hold the true class, one bar a class, from the table of a trust report."""
    table, names = summarise(sets, "target").loc[coverage], class_names()
    titles = [f"{names[label]} ({row.classes:.1f})" for label, row in table.iterrows()]
    themes = [THEMES[label // 10] for label in table.index]
    label = "sets that hold the class (%); in brackets: classes in a set"
    ax = plot_per_class(100 * table["covered"].to_numpy(), titles, themes, label=label, ax=ax)
    ax.axvline(100 * coverage, color="0.2", linestyle="--")
    ax.set_xlim(0, 100)
    return ax


def plot_risk_coverage(curves, *, ax=None):
    """Draw the share of wrong answers when only the surest are given: name -> (coverage, risk)."""
    ax = ax or plt.gca()
    for name, (coverage, risk) in curves.items():
        ax.plot(100 * coverage, 100 * risk, label=name)
    ax.set(xlim=(0, 100), xlabel="sounds that are answered (%)", ylabel="answers that are wrong (%)")
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=8, loc="upper left")
    return ax


def plot_score_histogram(scores, *, label, threshold=None, ax=None):
    """Draw the OOD scores (n_sounds,) of up to three kinds of sounds; those left of the threshold are rejected."""
    ax = ax or plt.gca()
    together = np.concatenate(list(scores.values()))
    high = np.quantile(together, HIGHEST)
    bins = np.linspace(together.min(), high, 41)
    for (kind, values), color in zip(scores.items(), KIND_COLORS, strict=False):
        weights = np.full(len(values), 100 / len(values))
        style = {"histtype": "stepfilled", "alpha": 0.35, "edgecolor": color, "linewidth": 1.5}
        ax.hist(np.minimum(values, high), bins, weights=weights, color=color, label=kind, **style)
    if threshold is not None:
        ax.axvline(threshold, color="0.2", linestyle="--", label=f"threshold {threshold:.2f}")
    ax.set(xlabel=label, ylabel="share of its kind (%)")
    ax.legend(fontsize=8)
    return ax
