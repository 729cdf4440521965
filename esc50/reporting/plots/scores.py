"""How good the models are: curves, comparisons, confusion."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from esc50.reporting.plots.style import THEME_PALETTE, class_label


def plot_training_curves(history, *, training="training (dropout on)", ax=None):
    """Draw accuracy over epochs: training and held-out, the mean over runs with the band from least to most.

    Parameters
    ----------
    history : pandas.DataFrame
        Columns epoch, accuracy, held_out_accuracy; several runs below each other.
    training : str
        What the legend calls the training examples, which the network met under harder conditions.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Epochs to the right, accuracy in percent upwards.
    """
    ax = ax or plt.gca()
    names = {"accuracy": training, "held_out_accuracy": "held out"}
    long = history.melt("epoch", list(names), var_name="part", value_name="percent")
    long = long.assign(part=long["part"].map(names), percent=100 * long["percent"])
    sns.lineplot(long, x="epoch", y="percent", hue="part", errorbar=("pi", 100), ax=ax)
    ax.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 100))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(title="", loc="lower right")
    return ax


def plot_model_comparison(summary, *, references=None, ax=None):
    """Draw each model's accuracy with its interval, and published figures as vertical lines.

    Parameters
    ----------
    summary : pandas.DataFrame
        Index: model; columns accuracy, accuracy_low, accuracy_high, as shares of 1.
    references : dict of str to float, optional
        Name -> percent.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Percent to the right, one row a model.
    """
    ax = ax or plt.gca()
    percent = 100 * summary[["accuracy", "accuracy_low", "accuracy_high"]]
    error = np.abs(percent[["accuracy_low", "accuracy_high"]].to_numpy().T - percent["accuracy"].to_numpy())
    rows = np.arange(len(percent))
    ax.barh(rows, percent["accuracy"], xerr=error, color=sns.color_palette()[0], alpha=0.85, capsize=3, height=0.65)
    for row, value in zip(rows, percent["accuracy"], strict=True):
        ax.text(1, row, f"{value:.1f} %", va="center", color="white", fontweight="bold", fontsize=9)
    ax.set_yticks(rows, percent.index)
    ax.invert_yaxis()
    ax.set(xlabel="accuracy (%), official 5 folds, with 95 % interval", xlim=(0, 100))
    ax.grid(axis="y", visible=False)
    _reference_lines(ax, references or {})
    return ax


def plot_ablation(table, *, targets=None, ax=None):
    """Draw what each idea reaches: one network with its spread over seeds, and the seeds' average with its interval.

    Parameters
    ----------
    table : pandas.DataFrame
        From `esc50.experiments.ablation.ablation`.
    targets : dict of str to float, optional
        Name -> percent, drawn as vertical lines.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Percent to the right, one row an idea.
    """
    ax = ax or plt.gca()
    percent, rows = 100 * table.select_dtypes("number"), np.arange(len(table))
    error = np.abs(percent[["accuracy_low", "accuracy_high"]].to_numpy().T - percent["accuracy"].to_numpy())
    first, second = sns.color_palette()[:2]
    ax.errorbar(percent["accuracy"], rows + 0.12, xerr=error, fmt="o", color=first, capsize=3, label="seeds averaged")
    spread = percent["run_accuracy_sd"].fillna(0)
    one = {"fmt": "D", "color": second, "capsize": 3, "markersize": 5, "label": "one network, ± deviation over seeds"}
    ax.errorbar(percent["run_accuracy"], rows - 0.18, xerr=spread, **one)
    for name, value in (targets or {}).items():
        ax.axvline(value, color="0.3", linestyle="--", linewidth=1)
        ax.text(value, -0.75, f" {name}", fontsize=8, color="0.3", ha="left", va="center")
    ax.set_yticks(rows, table["title"])
    ax.set(xlabel="accuracy (%), official 5 folds, with 95 % interval; the axis does not begin at 0")
    ax.set_ylim(len(rows) - 0.4, -1.1)
    ax.legend(fontsize=8, loc="lower left")
    return ax


def plot_protocols(table, *, claim, printed, ax=None):
    """Draw what each way of splitting claims, beside a claim and a printed range from elsewhere.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns protocol, accuracy (share of 1), one row a part.
    claim : float
        Percent, drawn as a line.
    printed : tuple of float
        Percent, lowest and highest, drawn as a band.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Percent to the right, one row a protocol.
    """
    ax = ax or plt.gca()
    table = table.assign(percent=100 * table["accuracy"])
    sns.barplot(table, x="percent", y="protocol", errorbar=None, color=sns.color_palette()[0], alpha=0.75, ax=ax)
    sns.stripplot(table, x="percent", y="protocol", color="0.2", size=4, ax=ax)
    ax.axvspan(*printed, color="0.6", alpha=0.4, label="printed in the old notebooks")
    ax.axvline(claim, color="0.2", linestyle="--", label="claimed in the old README")
    ax.set(xlim=(70, 101), xlabel="accuracy (%), axis from 70", ylabel="")
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.4, 1.16), ncols=2)
    return ax


def plot_confusion(counts, names, *, unit="percent", ax=None):
    """Draw confusion as the share of each true class, in percent.

    Parameters
    ----------
    counts : np.ndarray, shape (n, n)
        Row: the true class; column: the predicted one.
    names : sequence of str
        n names.
    unit : {"percent", "clips"}
        What is written into the cells that are not zero.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        True classes downwards, predicted ones to the right.
    """
    ax = ax or plt.gca()
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    written = {"percent": share, "clips": counts}[unit]
    text = np.array([[f"{value:.0f}" if value >= 0.5 else "" for value in row] for row in written])
    size = 6.5 if len(names) > 10 else 11
    sns.heatmap(
        share, annot=text, fmt="", cmap="Blues", vmin=0, vmax=100, square=True, ax=ax,
        xticklabels=names, yticklabels=names, linewidths=0.3, linecolor="0.92", annot_kws={"size": size},
        cbar_kws={"label": "share of the true class (%)", "shrink": 0.6},
    )  # fmt: skip
    ax.set(xlabel="predicted", ylabel="true")
    ax.tick_params(labelsize=size + 1.5)
    ax.set_xticks(
        ax.get_xticks(), names, rotation=90 if len(names) > 10 else 30, ha="center" if len(names) > 10 else "right"
    )
    return ax


def plot_per_class(values, names, themes, *, label, ax=None):
    """Draw one bar a class, coloured by theme, best on top.

    Parameters
    ----------
    values : np.ndarray, shape (n_classes,)
        Such as the F1 of each class.
    names, themes : sequence of str
        Name and theme of each class.
    label : str
        What the values are, for the axis.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        One bar a class.
    """
    ax = ax or plt.gca()
    order = np.argsort(values, kind="stable")
    colors = [THEME_PALETTE[themes[i]] for i in order]
    ax.barh(np.arange(len(order)), np.asarray(values)[order], color=colors, height=0.75)
    ax.set_yticks(np.arange(len(order)), [class_label(names[i]) for i in order], fontsize=8)
    ax.set(xlabel=label, ylim=(-0.6, len(order) - 0.4))
    ax.grid(axis="y", visible=False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=color) for color in THEME_PALETTE.values()]
    ax.legend(handles, THEME_PALETTE, fontsize=8, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3)
    return ax


def _reference_lines(ax, references):
    styles = zip(references.items(), ("--", ":", "-.", (0, (6, 1, 1, 1, 1, 1))), strict=False)
    for (name, percent), style in styles:
        ax.axvline(percent, color="0.15", linestyle=style, linewidth=1.4, label=f"{name} {percent:.1f}")
    if references:
        ax.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(references))
