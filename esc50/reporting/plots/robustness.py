"""How accuracy falls as recordings get worse."""

import matplotlib.pyplot as plt
import pandas as pd

from esc50.reporting.plots.style import SERIES, WIDTH_INCHES

AXES = {  # kind -> what is measured, with its unit
    "level": "change of level (dB)",
    "white noise": "signal-to-noise ratio (dB)",
    "reverberation": "time to fall by 60 dB (s)",
    "clipping": "peak above full scale (dB)",
}


def plot_robustness(table, *, figure=None):
    """Draw accuracy over how bad a fault is: a panel for each kind that has several amounts, and one for the others.

    `table` has columns kind, amount and accuracy, and may have a row for each fold; its first row is of the clips
    as they are.
    """
    amounts = table.groupby("kind", sort=False)["amount"].nunique()
    curves = list(amounts[amounts > 1].index)
    figure = figure or plt.figure(figsize=(WIDTH_INCHES, 5.4))
    axes = figure.subplots(2, -(-(len(curves) + 1) // 2), sharey=True).flat
    for ax, kind in zip(axes, curves, strict=False):
        rows = table[table["kind"] == kind]
        mean = 100 * rows.groupby("amount")["accuracy"].mean()
        ax.plot(mean.index, mean, marker="o", color=SERIES[0])
        ax.set(title=kind, xlabel=AXES[kind], xticks=mean.index, ylim=(0, 100))
    _plot_single_faults(table, curves, axes[len(curves)])
    for ax in axes:
        ax.set_ylabel("accuracy (%)" if ax.get_subplotspec().is_first_col() else "")
    for ax in axes[len(curves) + 1 :]:
        ax.set_visible(False)
    return figure


def _plot_single_faults(table, curves, ax):
    first = table["amount"] == table["amount"].iloc[0]
    clean = table[first & (table["kind"] == table["kind"].iloc[0])].assign(kind="as they are")
    rows = pd.concat([clean, table[~table["kind"].isin(curves)]])
    mean = 100 * rows.groupby(rows["kind"].str.replace(" ", "\n", n=1), sort=False)["accuracy"].mean()
    ax.vlines(range(len(mean)), 0, mean, color=SERIES[0], linewidth=1)
    ax.scatter(range(len(mean)), mean, s=45, color=SERIES[0])
    ax.set_xticks(range(len(mean)), mean.index)
    ax.set(title="other faults", xlim=(-0.5, len(mean) - 0.5), ylim=(0, 100))
