"""What shortcuts are worth, and what accuracy costs."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from esc50.reporting.plots.style import MUTED, SERIES, class_label

TICKS = (3, 5, 10, 20, 50, 100, 200)  # millions of parameters
MARKERS = ("o", "s", "D", "^")
NAME_OFFSETS = {  # points; elsewhere they would run into others or out of the axes
    "AST": (5, -9),
    "shipped model": (5, -11),
    "maxima and bands, three speeds": (5, 3),
}


def plot_shortcuts(worth, *, names=None, ax=None):
    """Draw the points that each shortcut adds, with its interval, one row a shortcut and one marker a network."""
    ax = ax or plt.gca()
    protocols = list(dict.fromkeys(worth["protocol"]))
    models = worth.groupby("model", sort=False)
    for number, (model, rows) in enumerate(models):
        place = np.array([protocols.index(each) for each in rows["protocol"]]) + 0.16 * (number - (len(models) - 1) / 2)
        gain = 100 * rows["gain"]
        error = np.abs(100 * rows[["low", "high"]].to_numpy().T - gain.to_numpy())
        how = {"fmt": MARKERS[number], "color": SERIES[number], "markersize": 5, "elinewidth": 1}
        ax.errorbar(gain, place, xerr=error, label=(names or {}).get(model, class_label(model)), **how)
    ax.axvline(0, color=MUTED, linewidth=1)
    ax.set_yticks(range(len(protocols)), protocols)
    ax.invert_yaxis()
    ax.set_xlabel("gain over fixed epochs on the official folds (points, with 95 % interval)")
    ax.legend(loc="upper right")
    return ax


def plot_pareto(ours, published, *, labels=(), ax=None):
    """Draw accuracy (percent) over parameters (millions, logarithmic) of our rows and of published networks.

    Both are tables with the columns name, parameters and accuracy; `labels` names those of ours that are written out.
    """
    ax = ax or plt.gca()
    parts = {"this study": ours, "published": published}
    table = pd.concat([part.assign(kind=kind) for kind, part in parts.items()], ignore_index=True)
    sns.scatterplot(
        table, x="parameters", y="accuracy", hue="kind", style="kind", palette=[SERIES[0], SERIES[3]], s=45, ax=ax
    )
    for row in table[(table["kind"] == "published") | table["name"].isin(labels)].itertuples():
        aside, up = NAME_OFFSETS.get(row.name, (-5 if row.name in labels else 5, 3))
        place = {"xytext": (aside, up), "ha": "left" if aside > 0 else "right", "textcoords": "offset points"}
        ax.annotate(row.name, (row.parameters, row.accuracy), fontsize=8.5, **place)
    ax.set(xscale="log", xlim=(1.5, 200), xlabel="parameters (millions, logarithmic)", ylabel="accuracy (%)")
    ax.set_xticks(TICKS, map(str, TICKS))
    ax.legend(loc="lower right")
    return ax
