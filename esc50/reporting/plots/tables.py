"""What the data set is like: shares, counts and distributions by class."""

import matplotlib.pyplot as plt
import numpy as np

from esc50.reporting.plots.style import EMPHASIS, MUTED, PALE, SERIES, THEME_PALETTE, class_label

CLASS_POINTS = 8  # of fifty names, one a row


def plot_quartiles(table, columns, *, axes):
    """Draw the median and the middle half of columns (name -> label) of the clip table, one row a class for all axes.

    The classes are in the order of the first column's median; the colour is the theme's.
    """
    order = table.groupby("category")[next(iter(columns))].median().sort_values().index
    themes = table.drop_duplicates("category").set_index("category")["theme"][order]
    rows = np.arange(len(order))
    for ax, (column, label) in zip(axes, columns.items(), strict=True):
        low, middle, high = (table.groupby("category")[column].quantile(q)[order] for q in (0.25, 0.5, 0.75))
        for theme, color in THEME_PALETTE.items():
            own = (themes == theme).to_numpy()
            ax.hlines(rows[own], low[own], high[own], color=color, linewidth=2.5, alpha=0.45)
            ax.scatter(middle[own], rows[own], s=22, color=color, label=theme, zorder=3)
        ax.set(xlabel=label, ylim=(-0.7, len(rows) - 0.3))
        ax.set_yticks(rows, [class_label(name) for name in order], fontsize=CLASS_POINTS)
        ax.label_outer()
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=len(THEME_PALETTE))
    return axes


def plot_two_shares(first, second, *, ax=None):
    """Draw two series of percentages, one row a class, from the bottom up: two dots joined by a line."""
    ax = ax or plt.gca()
    rows = np.arange(len(first))
    ax.hlines(rows, first, second, color=PALE, linewidth=1.5, zorder=1)
    ax.scatter(first, rows, s=26, facecolor="white", edgecolor=MUTED, linewidth=1.3, label=first.name, zorder=2)
    ax.scatter(second, rows, s=30, color=SERIES[0], label=second.name, zorder=3)
    ax.set_yticks(rows, [class_label(name) for name in first.index], fontsize=CLASS_POINTS)
    ax.set(xlim=(-2, 102), ylim=(-0.7, len(rows) - 0.3), xlabel="%")
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right", frameon=True)
    return ax


def plot_histogram(table, column, *, hue, label, bins, ax=None):
    """Draw how many rows of a table fall into which bin, stacked by group."""
    ax = ax or plt.gca()
    groups = {name: rows[column] for name, rows in table.groupby(hue, sort=False)}
    colors = (SERIES[0], "#a6cbe3", PALE)[: len(groups)]
    ax.hist(groups.values(), bins, stacked=True, label=[*groups], color=colors, edgecolor="white", linewidth=0.3)
    ax.set(xlabel=label, ylabel="clips", xlim=(bins[0], bins[-1]))
    ax.grid(axis="x", visible=False)
    ax.legend()
    return ax


def plot_stacked(table, *, label, colors=(SERIES[0], "#a6cbe3", "0.88"), ax=None):
    """Draw one bar a row, the first on top, made of the row's columns."""
    ax = ax or plt.gca()
    start = np.zeros(len(table))  # (n_rows,)
    rows = np.arange(len(table))
    for part, color in zip(table, colors, strict=True):
        ax.barh(rows, table[part], left=start, height=0.8, color=color, linewidth=0, label=part)
        start += table[part].to_numpy()
    ax.set_yticks(rows, [class_label(name) for name in table.index], fontsize=CLASS_POINTS)
    ax.set(xlabel=label, xlim=(0, start.max()), ylim=(len(table) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=table.shape[1])
    return ax


def plot_shares(shares, *, label, emphasised=(), ax=None):
    """Draw a series of shares of 1 as bars with their percentages, the first on top; some of them emphasised."""
    ax = ax or plt.gca()
    percent, rows = 100 * shares.to_numpy(), np.arange(len(shares))
    colors = [EMPHASIS if name in emphasised else SERIES[0] for name in shares.index]
    ax.barh(rows, percent, color=colors, height=0.65)
    for row, value in zip(rows, percent, strict=True):
        ax.text(value + 1.5, row, f"{value:.0f} %", va="center", fontweight="bold")
    ax.set_yticks(rows, shares.index)
    ax.set(xlabel=label, xlim=(0, 118), xticks=range(0, 101, 25), ylim=(len(percent) - 0.5, -0.5))
    ax.grid(False)
    return ax


def plot_top_labels(counts, *, ax=None):
    """Draw for each class (row of a table) how many clips get its most frequent label (column), and which that is."""
    ax = ax or plt.gca()
    labels, most = counts.idxmax(axis=1), counts.max(axis=1)
    order = most.sort_values(kind="stable").index
    rows = np.arange(len(order))
    ax.barh(rows, most[order], height=0.75, color=[PALE if labels[name] == "Silence" else "#a6cbe3" for name in order])
    for row, name in zip(rows, order, strict=True):
        ax.text(0.4, row, labels[name].split(", ")[0], va="center", fontsize=CLASS_POINTS)
    ax.set_yticks(rows, [class_label(name) for name in order], fontsize=CLASS_POINTS)
    ax.set(xlabel="clips of 40 with this top-1 label", ylim=(-0.6, len(rows) - 0.4), xlim=(0, 40))
    ax.grid(axis="y", visible=False)
    return ax
