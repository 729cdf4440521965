"""What the data set is like: shares, counts and distributions by class."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from esc50.reporting.plots.style import THEME_PALETTE, class_label


def plot_by_class(table, column, *, label, order=None, ax=None):
    """Draw how a clip statistic spreads within each class, coloured by theme.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns category, theme and `column`, one row a clip.
    column : str
        The statistic.
    label : str
        Its name and unit for the axis.
    order : sequence of str, optional
        Classes from top to bottom; by median by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        One box a class.
    """
    ax = ax or plt.gca()
    order = order if order is not None else table.groupby("category")[column].median().sort_values().index
    sns.boxplot(
        table, x=column, y="category", hue="theme", order=order, palette=THEME_PALETTE,
        dodge=False, fliersize=1.5, linewidth=0.7, ax=ax,
    )  # fmt: skip
    ax.set(xlabel=label, ylabel="")
    ax.set_yticks(range(len(order)), [class_label(name) for name in order], fontsize=8)
    ax.legend(title="", fontsize=8)
    return ax


def plot_two_shares(first, second, names, *, ax=None):
    """Draw two shares of each class as two dots joined by a line.

    Parameters
    ----------
    first, second : pandas.Series, length n_classes
        Percent; the series' names go into the legend.
    names : sequence of str
        Class names, from the bottom up.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Percent to the right, one row a class.
    """
    ax = ax or plt.gca()
    rows = np.arange(len(names))
    ax.hlines(rows, first, second, color="0.75", linewidth=1.5, zorder=1)
    for shares, color in ((first, "0.45"), (second, sns.color_palette()[0])):
        ax.scatter(shares, rows, s=30, color=color, label=shares.name, zorder=2)
    ax.set_yticks(rows, [class_label(name) for name in names], fontsize=8)
    ax.set(xlim=(-2, 102), ylim=(-0.7, len(names) - 0.3), xlabel="%")
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    return ax


def plot_histogram(table, column, *, hue, label, bins, ax=None):
    """Draw how many clips have which value, stacked by group.

    Parameters
    ----------
    table : pandas.DataFrame
        One row a clip.
    column, hue : str
        The values, and the groups that give the colour.
    label : str
        Name and unit of the values, for the axis.
    bins : np.ndarray, shape (n_bins + 1,)
        Edges of the bins.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Values to the right, number of clips upwards.
    """
    ax = ax or plt.gca()
    sns.histplot(table, x=column, hue=hue, multiple="stack", bins=bins, alpha=0.85, linewidth=0.3, ax=ax)
    ax.get_legend().set_title("")
    ax.set(xlabel=label, ylabel="clips", xlim=(bins[0], bins[-1]))
    ax.grid(axis="x", visible=False)
    return ax


def plot_stacked(table, *, label, colors=None, ax=None):
    """Draw one bar a row, made of the row's parts.

    Parameters
    ----------
    table : pandas.DataFrame
        Index: names of the rows, the first on top; one column a part.
    label : str
        Name and unit of the parts, for the axis.
    colors : sequence of color, optional
        One a part.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Parts to the right, rows downwards.
    """
    ax = ax or plt.gca()
    start = np.zeros(len(table))  # (n_rows,)
    rows = np.arange(len(table))
    for part, color in zip(table, colors or sns.color_palette(n_colors=table.shape[1]), strict=True):
        ax.barh(rows, table[part], left=start, height=0.8, color=color, linewidth=0, label=part)
        start += table[part].to_numpy()
    ax.set_yticks(rows, [class_label(name) for name in table.index], fontsize=8)
    ax.set(xlabel=label, xlim=(0, start.max()), ylim=(len(table) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=table.shape[1], fontsize=9, frameon=False)
    return ax


def plot_shares(shares, *, label, colors=None, ax=None):
    """Draw shares as bars with their percentages.

    Parameters
    ----------
    shares : pandas.Series
        Index: names, the first on top; values from 0 to 1.
    label : str
        What they are shares of, for the axis.
    colors : sequence of color, optional
        One a bar.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Percent to the right, one bar a name.
    """
    ax = ax or plt.gca()
    percent = 100 * shares.to_numpy()
    rows = np.arange(len(percent))
    ax.barh(rows, percent, color=colors, height=0.65)
    for row, value in zip(rows, percent, strict=True):
        ax.text(value + 1.5, row, f"{value:.1f} %", va="center", fontweight="bold")
    ax.set_yticks(rows, shares.index)
    ax.set(xlabel=label, xlim=(0, 118), xticks=range(0, 101, 25), ylim=(len(percent) - 0.5, -0.5))
    ax.grid(False)
    return ax
