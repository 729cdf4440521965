"""How far to trust an answer: reliability, risk over coverage, OOD scores of known and unknown sounds."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np

from esc50.classifier.ood import OOD_SCORE_NAMES
from esc50.dataset.clips import THEMES, class_names
from esc50.experiments.conformal import summarise
from esc50.reporting.plots.metrics import plot_per_class
from esc50.reporting.plots.style import MUTED, SERIES, line_styles

KINDS = (  # known, and two kinds of unknown sounds: told apart in grey too
    {"color": SERIES[0], "fill": True, "alpha": 0.35},
    {"color": SERIES[3], "fill": False, "linestyle": "-", "linewidth": 1.8},
    {"color": "0.25", "fill": False, "linestyle": ":", "linewidth": 1.8},
)
HIGHEST = 0.998  # quantile beyond which a histogram does not reach
FEWEST = 0.05  # share of sounds: of fewer, one answer more or less makes a curve jump
Z = 1.96  # of a 95 % interval
LABELS = OOD_SCORE_NAMES | {
    "class_score": "log10 of YAMNet's summed scores of the predicted class",
    "other_score": "−log10 of YAMNet's largest score, above typical, of any other sound",
}


def plot_reliability(table, *, ax=None):
    """Draw how often answers were right against how sure they were (a `reliability_table`); ideally a diagonal.

    The area of a dot is the number of its clips, its line the 95 % interval (Wilson 1927).
    """
    ax, table = ax or plt.gca(), table[table["clips"] > 0]
    n, right = table["clips"].to_numpy(), table["accuracy"].to_numpy()
    middle = (right + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z / (1 + Z**2 / n) * np.sqrt(right * (1 - right) / n + Z**2 / (4 * n**2))
    ax.plot([0, 100], [0, 100], color=MUTED, linestyle="--", label="perfect calibration")
    ax.vlines(100 * table["confidence"], 100 * (middle - reach), 100 * (middle + reach), color=SERIES[0], linewidth=1.2)
    sizes = np.clip(400 * n / n.sum(), 14, None)
    ax.scatter(
        100 * table["confidence"],
        100 * right,
        s=sizes,
        color=SERIES[0],
        zorder=3,
        clip_on=False,
        label="bin of answers; area: their number",
    )
    ax.set(xlim=(0, 102), ylim=(0, 102), xlabel="probability of the predicted class (%)", ylabel="right (%)")
    ax.set_aspect("equal")
    ax.legend(loc="lower right")
    return ax


def plot_set_coverage(sets, *, coverage, ax=None):
    """Draw how often prediction sets hold the true class, one bar a class, from the table of a trust report."""
    table, names = summarise(sets, "target").loc[coverage], class_names()
    titles = [f"{names[label]} ({row.classes:.1f})" for label, row in table.iterrows()]
    themes = [THEMES[label // 10] for label in table.index]
    label = "sets that hold the class (%); in brackets: classes in a set"
    ax = plot_per_class(100 * table["covered"].to_numpy(), titles, themes, label=label, ax=ax)
    ax.axvline(100 * coverage, color=MUTED, linestyle="--")
    ax.set_xlim(0, 100)
    return ax


def plot_risk_coverage(curves, *, ax=None):
    """Draw the share of wrong answers when only the surest are given: name -> (coverage, risk)."""
    ax = ax or plt.gca()
    for (name, (coverage, risk)), style in zip(curves.items(), line_styles(), strict=False):
        shown = coverage >= FEWEST
        ax.plot(100 * coverage[shown], 100 * risk[shown], label=name, **style)
    ax.set(xlim=(0, 100), xlabel="sounds that are answered (%)", ylabel="answers that are wrong (%)")
    ax.set_ylim(bottom=0)
    ax.legend(loc="upper left")
    return ax


def plot_score_histograms(sounds, kinds, *, decides, kept):
    """Draw every OOD score in a table of sounds, one histogram a score; gives the figure.

    `kinds` maps the name of a kind to its rows, a mask. Each threshold keeps a share of the rows that `decides` marks.
    """
    names = [name for name in OOD_SCORE_NAMES if name in sounds]
    n_rows = -(-len(names) // 2)
    figure, axes = plt.subplots(n_rows, 2, figsize=(9, 2.3 * n_rows))
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    for ax, name in zip(axes.flat, names, strict=False):
        scores = {kind: sounds.loc[rows, name] for kind, rows in kinds.items()}
        how = {"threshold": sounds.loc[decides, name].quantile(1 - kept), "legend": False}
        label = textwrap.fill(LABELS[name], 44)
        plot_score_histogram(scores, label=label, **how, ax=ax)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def plot_score_histogram(scores, *, label, threshold=None, legend=True, ax=None):
    """Draw the OOD scores (n_sounds,) of up to three kinds of sounds; those left of the threshold are rejected."""
    ax = ax or plt.gca()
    together = np.concatenate(list(scores.values()))
    high = np.quantile(together, HIGHEST)
    bins = np.linspace(together.min(), high, 41)
    for (kind, values), style in zip(scores.items(), KINDS, strict=False):
        weights = np.full(len(values), 100 / len(values))
        ax.hist(np.minimum(values, high), bins, weights=weights, label=kind, histtype="step", **style)
    if threshold is not None:
        ax.axvline(threshold, color=MUTED, linestyle="--", label="threshold: rejected to the left")
    ax.set(xlabel=label, ylabel="share of its kind (%)")
    if legend:
        ax.legend()
    return ax
