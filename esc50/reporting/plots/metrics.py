"""How good the models are: curves, comparisons, confusion."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from esc50.reporting.plots.style import THEME_PALETTE, class_label

INTERVAL = ["accuracy_low", "accuracy_high"]


def plot_training_curves(history, *, training="training (dropout on)", ax=None):
    """Draw accuracy over epochs, in training and held out: the mean over runs with the band from least to most."""
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
    """Draw each model's accuracy with its interval, and published figures (name -> percent) as vertical lines."""
    ax = ax or plt.gca()
    percent, error, rows = 100 * summary["accuracy"], _error_bars(summary), np.arange(len(summary))
    ax.barh(rows, percent, xerr=error, color="C0", alpha=0.85, capsize=3, height=0.65)
    for row, value in zip(rows, percent, strict=True):
        ax.text(1, row, f"{value:.1f} %", va="center", color="white", fontweight="bold", fontsize=9)
    ax.set_yticks(rows, summary.index)
    ax.invert_yaxis()
    ax.set(xlabel="accuracy (%), official 5 folds, with 95 % interval", xlim=(0, 100))
    ax.grid(axis="y", visible=False)
    if references:
        _draw_references(ax, references)
    return ax


def plot_ablation(table, *, targets=None, ax=None):
    """Draw the rows of the ablation: one network with its spread over seeds, their average with its interval."""
    ax = ax or plt.gca()
    rows, error = np.arange(len(table)), _error_bars(table)
    average = {"fmt": "o", "color": "C0", "capsize": 3, "label": "seeds averaged"}
    ax.errorbar(100 * table["accuracy"], rows + 0.12, xerr=error, **average)
    spread = 100 * table["run_accuracy_sd"].fillna(0)
    one = {"fmt": "D", "color": "C1", "capsize": 3, "markersize": 5, "label": "one network, ± deviation over seeds"}
    ax.errorbar(100 * table["run_accuracy"], rows - 0.18, xerr=spread, **one)
    for name, value in (targets or {}).items():
        ax.axvline(value, color="0.3", linestyle="--", linewidth=1)
        ax.text(value, -0.75, f" {name}", fontsize=8, color="0.3", ha="left", va="center")
    ax.set_yticks(rows, table["title"])
    ax.set(xlabel="accuracy (%), official 5 folds, with 95 % interval; the axis does not begin at 0")
    ax.set_ylim(len(rows) - 0.4, -1.1)
    ax.legend(fontsize=8, loc="lower left")
    return ax


def plot_protocols(table, *, claim, printed, ax=None):
    """Draw what each way of splitting claims, beside a claim (percent) and a printed range from elsewhere."""
    ax = ax or plt.gca()
    table = table.assign(percent=100 * table["accuracy"])
    sns.barplot(table, x="percent", y="protocol", errorbar=None, color="C0", alpha=0.75, ax=ax)
    sns.stripplot(table, x="percent", y="protocol", color="0.2", size=4, jitter=False, ax=ax)
    ax.axvspan(*printed, color="0.6", alpha=0.4, label="printed in the old notebooks")
    ax.axvline(claim, color="0.2", linestyle="--", label="claimed in the old README")
    ax.set(xlim=(70, 101), xlabel="accuracy (%), axis from 70", ylabel="")
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.4, 1.16), ncols=2)
    return ax


def plot_confusion(counts, names, *, unit="percent", ax=None):
    """Draw a confusion matrix (row: true class) as shares of each true class; in the cells ``percent`` or ``clips``."""
    ax = ax or plt.gca()
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    written = {"percent": share, "clips": counts}[unit]
    text = np.array([[f"{value:.0f}" if value >= 0.5 else "" for value in row] for row in written])
    many = len(names) > 10
    size = 6.5 if many else 11
    sns.heatmap(
        share, annot=text, fmt="", cmap="Blues", vmin=0, vmax=100, square=True, ax=ax,
        xticklabels=names, yticklabels=names, linewidths=0.3, linecolor="0.92", annot_kws={"size": size},
        cbar_kws={"label": "share of the true class (%)", "shrink": 0.6},
    )  # fmt: skip
    ax.set(xlabel="predicted", ylabel="true")
    ax.tick_params(labelsize=size + 1.5)
    ax.set_xticks(ax.get_xticks(), names, rotation=90 if many else 30, ha="center" if many else "right")
    return ax


def plot_per_class(values, names, themes, *, label, ax=None):
    """Draw one bar a class, coloured by theme, the highest on top."""
    ax = ax or plt.gca()
    order = np.argsort(values, kind="stable")
    colors = [THEME_PALETTE.get(themes[i], "0.6") for i in order]
    ax.barh(np.arange(len(order)), np.asarray(values)[order], color=colors, height=0.75)
    ax.set_yticks(np.arange(len(order)), [class_label(names[i]) for i in order], fontsize=8)
    ax.set(xlabel=label, ylim=(-0.6, len(order) - 0.4))
    ax.grid(axis="y", visible=False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=color) for color in THEME_PALETTE.values()]
    ax.legend(handles, THEME_PALETTE, fontsize=8, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3)
    return ax


def _error_bars(summary):
    """Percentage points below and above each accuracy: (2, n_models)."""
    return 100 * np.abs(summary[INTERVAL].to_numpy(dtype=float).T - summary["accuracy"].to_numpy(dtype=float))


def _draw_references(ax, references):
    styles = ("--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
    for (name, percent), style in zip(references.items(), styles, strict=False):
        ax.axvline(percent, color="0.15", linestyle=style, linewidth=1.4, label=f"{name} {percent:.1f}")
    ax.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(references))
