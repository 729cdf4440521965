"""How far to trust an answer: reliability, risk over coverage, and what the known and the unknown score."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

KIND_PALETTE = dict(
    zip(("known", "left out", "foreign"), [sns.color_palette("colorblind")[i] for i in (0, 1, 3)], strict=True)
)
HIGHEST = 0.998  # quantile beyond which a histogram does not reach


def plot_reliability(table, *, ax=None):
    """Draw how often answers were right against how sure they were; on the diagonal both agree.

    Parameters
    ----------
    table : pandas.DataFrame
        From `esc50.experiments.metrics.reliability_table`.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Confidence to the right, accuracy upwards, both in percent; over each bar its number of clips.
    """
    ax = ax or plt.gca()
    width, full = 100 * (table["high"] - table["low"]), table["clips"] > 0
    left, height = 100 * table["low"], 100 * table["accuracy"].fillna(0)
    ax.bar(left, height, width, align="edge", color=sns.color_palette()[0], alpha=0.8, label="right")
    ax.plot([0, 100], [0, 100], color="0.3", linestyle="--", label="as sure as right")
    ax.scatter(100 * table["confidence"][full], height[full], color="0.2", s=14, zorder=3, label="mean confidence")
    for x, y, clips in zip((left + width / 2)[full], height[full], table["clips"][full], strict=True):
        ax.text(x, y + 2, f"{clips}", ha="center", fontsize=7)
    ax.set(xlim=(0, 100), ylim=(0, 108), xlabel="probability of the class named (%)", ylabel="right (%)")
    ax.legend(loc="upper left", fontsize=8)
    return ax


def plot_risk_coverage(curves, *, ax=None):
    """Draw the share of wrong answers when only the surest are given.

    Parameters
    ----------
    curves : dict of str to tuple of np.ndarray
        Name -> (coverage, risk) from `esc50.experiments.metrics.risk_coverage`.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Share answered to the right, share of these that is wrong upwards, both in percent.
    """
    ax = ax or plt.gca()
    for name, (coverage, risk) in curves.items():
        ax.plot(100 * coverage, 100 * risk, label=name)
    ax.set(xlim=(0, 100), xlabel="sounds that are answered (%)", ylabel="answers that are wrong (%)")
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=8, loc="upper left")
    return ax


def plot_score_histogram(scores, *, label, threshold=None, ax=None):
    """Draw what kinds of sounds score, each kind as shares of its own sounds.

    Parameters
    ----------
    scores : dict of str to np.ndarray
        ``known``, ``left out`` or ``foreign`` -> scores.
    label : str
        Name of the score, for the axis.
    threshold : float, optional
        Drawn as a line: what is left of it is none of the classes.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        The score to the right, percent of each kind upwards. Higher outliers are counted in the last bin.
    """
    ax = ax or plt.gca()
    together = np.concatenate(list(scores.values()))
    high = np.quantile(together, HIGHEST)
    bins = np.linspace(together.min(), high, 41)
    for kind, values in scores.items():
        weights = np.full(len(values), 100 / len(values))
        style = {"histtype": "stepfilled", "alpha": 0.35, "edgecolor": KIND_PALETTE[kind], "linewidth": 1.5}
        ax.hist(np.minimum(values, high), bins, weights=weights, color=KIND_PALETTE[kind], label=kind, **style)
    if threshold is not None:
        ax.axvline(threshold, color="0.2", linestyle="--", label=f"threshold {threshold:.2f}")
    ax.set(xlabel=label, ylabel="share of its kind (%)")
    ax.legend(fontsize=8)
    return ax
