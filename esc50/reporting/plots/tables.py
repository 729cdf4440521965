"""What the data set is like: shares, counts and distributions by class."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from esc50.reporting.plots.style import THEME_PALETTE, class_label


def plot_by_class(table, column, *, label, ax=None):
    """Draw one box a class, by the median of a column of the clip table; the colour is the theme's."""
    ax = ax or plt.gca()
    order = table.groupby("category")[column].median().sort_values().index
    style = {"dodge": False, "fliersize": 1.5, "linewidth": 0.7, "palette": THEME_PALETTE}
    sns.boxplot(table, x=column, y="category", hue="theme", order=order, ax=ax, **style)
    ax.set(xlabel=label, ylabel="")
    ax.set_yticks(range(len(order)), [class_label(name) for name in order], fontsize=8)
    ax.legend(title="", fontsize=8)
    return ax


def plot_two_shares(first, second, *, ax=None):
    """Draw two series of percentages, one row a class, from the bottom up: two dots joined by a line."""
    ax = ax or plt.gca()
    rows = np.arange(len(first))
    ax.hlines(rows, first, second, color="0.75", linewidth=1.5, zorder=1)
    for shares, color in ((first, "0.45"), (second, "C0")):
        ax.scatter(shares, rows, s=30, color=color, label=shares.name, zorder=2)
    ax.set_yticks(rows, [class_label(name) for name in first.index], fontsize=8)
    ax.set(xlim=(-2, 102), ylim=(-0.7, len(rows) - 0.3), xlabel="%")
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    return ax


def plot_histogram(table, column, *, hue, label, bins, ax=None):
    """Draw how many rows of a table fall into which bin, stacked by group."""
    ax = ax or plt.gca()
    sns.histplot(table, x=column, hue=hue, multiple="stack", bins=bins, alpha=0.85, linewidth=0.3, ax=ax)
    ax.get_legend().set_title("")
    ax.set(xlabel=label, ylabel="clips", xlim=(bins[0], bins[-1]))
    ax.grid(axis="x", visible=False)
    return ax


def plot_stacked(table, *, label, colors, ax=None):
    """Draw one bar a row, the first on top, made of the row's columns."""
    ax = ax or plt.gca()
    start = np.zeros(len(table))  # (n_rows,)
    rows = np.arange(len(table))
    for part, color in zip(table, colors, strict=True):
        ax.barh(rows, table[part], left=start, height=0.8, color=color, linewidth=0, label=part)
        start += table[part].to_numpy()
    ax.set_yticks(rows, [class_label(name) for name in table.index], fontsize=8)
    ax.set(xlabel=label, xlim=(0, start.max()), ylim=(len(table) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=table.shape[1], fontsize=9, frameon=False)
    return ax


def plot_shares(shares, *, label, colors=None, ax=None):
    """Draw a series of shares of 1 as bars with their percentages, the first on top."""
    ax = ax or plt.gca()
    percent, rows = 100 * shares.to_numpy(), np.arange(len(shares))
    ax.barh(rows, percent, color=colors, height=0.65)
    for row, value in zip(rows, percent, strict=True):
        ax.text(value + 1.5, row, f"{value:.1f} %", va="center", fontweight="bold")
    ax.set_yticks(rows, shares.index)
    ax.set(xlabel=label, xlim=(0, 118), xticks=range(0, 101, 25), ylim=(len(percent) - 0.5, -0.5))
    ax.grid(False)
    return ax
