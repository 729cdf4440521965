"""How good the models are: curves, comparisons, confusion."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from esc50.reporting.plots.style import EMPHASIS, MUTED, PALE, SERIES, THEME_PALETTE, class_label
from esc50.reporting.plots.tables import CLASS_POINTS
from esc50.reporting.tables import percent

INTERVAL = ["accuracy_low", "accuracy_high"]
LEAKING = ("random clips", "duplicated clips, then random")  # of the protocols
OTHERS = "all others"


def plot_training_curves(history, *, training="training", ax=None):
    """Draw accuracy over epochs, in training and held out: a thin line for each run, a thick one for their mean.

    The mean ends where the first run ends.
    """
    ax = ax or plt.gca()
    names = {"accuracy": (training, SERIES[1], "--"), "held_out_accuracy": ("held out", SERIES[0], "-")}
    keys = [name for name in ("fold", "seed") if name in history]
    runs = [run for _, run in history.groupby(keys)] if keys else [history]
    shared = min(run["epoch"].max() for run in runs)
    for column, (label, color, dashes) in names.items():
        for run in runs if len(runs) > 1 else ():
            ax.plot(run["epoch"], 100 * run[column], color=color, linewidth=0.6, alpha=0.4)
        mean = 100 * history[history["epoch"] <= shared].groupby("epoch")[column].mean()
        ax.plot(mean.index, mean, color=color, linestyle=dashes, linewidth=2, label=label)
    ax.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 100))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="lower right")
    return ax


def plot_model_comparison(summary, *, references=None, ax=None):
    """Draw each model's accuracy with its interval, the best on top; published figures (name -> percent) as lines."""
    ax, summary = ax or plt.gca(), summary.sort_values("accuracy", kind="stable")
    accuracy, error, rows = summary["accuracy"], _error_bars(summary), np.arange(len(summary))
    ax.errorbar(100 * accuracy, rows, xerr=error, fmt="o", color=SERIES[0], markersize=7, capsize=3)
    for row, share, (_, high) in zip(rows, accuracy, error.T, strict=True):
        ax.text(100 * share + high + 0.6, row, f"{percent(share)} %", va="center", fontweight="bold")
    for place, (name, value) in enumerate(sorted((references or {}).items(), key=lambda item: item[1])):
        ax.axvline(value, color=MUTED, linestyle="--", linewidth=1)
        side = "left" if place else "right"  # the lowest has its name on the other side, so that two do not meet
        ax.text(value, len(rows) - 0.35, f" {name} {value:.1f} ", ha=side, va="bottom", color=MUTED)
    ax.set_yticks(rows, summary.index)
    ax.set(xlabel="accuracy (%) on the official folds, with its 95 % interval", ylim=(-0.6, len(rows) - 0.4))
    ax.margins(x=0.12)
    return ax


def plot_ablation(table, *, ax=None):
    """Draw rows of the ablation: one network with its spread over seeds, their average with its interval.

    The index names the rows.
    """
    ax = ax or plt.gca()
    rows, error = np.arange(len(table)), _error_bars(table)
    average = {"fmt": "o", "color": SERIES[0], "capsize": 3, "label": "seeds averaged, with 95 % interval"}
    ax.errorbar(100 * table["accuracy"], rows + 0.15, xerr=error, **average)
    spread = 100 * table["run_accuracy_sd"].fillna(0)
    one = {"fmt": "D", "color": SERIES[3], "capsize": 3, "markersize": 5, "markerfacecolor": "white"}
    label = "one network, ± standard deviation over seeds"
    ax.errorbar(100 * table["run_accuracy"], rows - 0.2, xerr=spread, **one, label=label)
    ax.set_yticks(rows, table.index)
    ax.set(xlabel="accuracy (%) on the official folds", ylim=(len(rows) - 0.4, -0.6))
    ax.figure.legend(loc="outside lower right", ncols=2)  # wider than the axes, which must not shrink for it
    return ax


def plot_protocols(table, *, claim=None, printed=None, ax=None):
    """Draw what each way of splitting claims: a dot for each part, a line for their mean; leaking ones in orange."""
    ax, accuracy = ax or plt.gca(), table.groupby("protocol", sort=False)["accuracy"].mean()
    for row, (name, share) in enumerate(accuracy.items()):
        color, parts = (
            EMPHASIS if name in LEAKING else SERIES[0],
            100 * table.loc[table["protocol"] == name, "accuracy"],
        )
        ax.scatter(parts, np.full(len(parts), row), s=22, color=color, alpha=0.6)
        ax.vlines(100 * share, row - 0.3, row + 0.3, color=color, linewidth=2.5)
        ax.text(100 * share, row - 0.34, f"{percent(share)} %", ha="center", va="bottom", fontweight="bold")
    if printed:
        ax.axvspan(*printed, color=PALE, alpha=0.6, zorder=0, label="printed in the student project's notebooks")
    if claim:
        ax.axvline(claim, color=MUTED, linestyle="--", label="claimed in its README")
    leaks = [f"{name}{' (leaks)' if name in LEAKING else ''}" for name in accuracy.index]
    ax.set_yticks(range(len(accuracy)), leaks)
    ax.set(xlabel="accuracy (%)", ylim=(len(accuracy) - 0.5, -0.7))
    ax.grid(axis="y", visible=False)
    if printed or claim:
        ax.figure.legend(loc="outside lower right", ncols=2)
    return ax


def plot_confusion(counts, names, *, of="class", unit="percent", ax=None):
    """Draw a confusion matrix (row: true class) as shares of each true class; in the cells ``percent`` or ``clips``.

    `of` says what a row is, where it is no class.
    """
    ax, rows = ax or plt.gca(), np.arange(len(names))
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    edges = np.arange(len(names) + 1)
    mesh = ax.pcolormesh(edges, edges, share, cmap="Blues", vmin=0, vmax=100, edgecolor="0.92", linewidth=0.3)
    for row, column in np.argwhere(counts > 0):
        color = "white" if share[row, column] > 60 else "0.15"
        place = {"ha": "center", "va": "center", "color": color}
        in_percent = percent(share[row, column] / 100, digits=0) if share[row, column] >= 1 else "< 1"
        ax.text(column + 0.5, row + 0.5, {"percent": in_percent, "clips": counts[row, column]}[unit], **place)
    ax.figure.colorbar(mesh, ax=ax, label=f"share of the true {of} (%)", shrink=0.7, pad=0.02)
    ax.set_xticks(rows + 0.5, names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(rows + 0.5, names)
    ax.set(xlabel=f"predicted {of}", ylabel=f"true {of}", aspect="equal", ylim=(len(names), 0))
    ax.grid(False)
    return ax


def plot_confused_classes(counts, names, *, most=15, ax=None):
    """Draw the part of a confusion matrix with most of the errors: the classes with most, and all others as one."""
    errors = counts - np.diag(np.diag(counts))
    worst = np.sort(np.argsort(-(errors.sum(axis=0) + errors.sum(axis=1)), kind="stable")[:most])
    rest = np.setdiff1d(np.arange(len(names)), worst)
    part = np.zeros((most + 1, most + 1), int)
    part[:most, :most] = counts[np.ix_(worst, worst)]
    part[:most, most], part[most, :most] = (
        counts[np.ix_(worst, rest)].sum(axis=1),
        counts[np.ix_(rest, worst)].sum(axis=0),
    )
    part[most, most] = counts[np.ix_(rest, rest)].sum()
    return plot_confusion(part, [*(class_label(names[i]) for i in worst), OTHERS], unit="clips", ax=ax)


def plot_per_class(values, names, themes, *, label, ax=None):
    """Draw one bar a class, coloured by theme, the highest on top."""
    ax = ax or plt.gca()
    order = np.argsort(values, kind="stable")
    colors = [THEME_PALETTE.get(themes[i], "0.6") for i in order]
    ax.barh(np.arange(len(order)), np.asarray(values)[order], color=colors, height=0.75)
    ax.set_yticks(np.arange(len(order)), [class_label(names[i]) for i in order], fontsize=CLASS_POINTS)
    ax.set(xlabel=label, ylim=(-0.6, len(order) - 0.4))
    ax.grid(axis="y", visible=False)
    present = {theme: color for theme, color in THEME_PALETTE.items() if theme in {*themes}}
    handles = [plt.Rectangle((0, 0), 1, 1, color=color) for color in present.values()]
    ax.legend(handles, present, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3)
    return ax


def _error_bars(summary):
    """Percentage points below and above each accuracy: (2, n_models)."""
    return 100 * np.abs(summary[INTERVAL].to_numpy(dtype=float).T - summary["accuracy"].to_numpy(dtype=float))
