"""How much accuracy faults of a recording cost."""

import matplotlib.pyplot as plt

from esc50.reporting.plots.style import MUTED, SERIES, WIDTH_INCHES

AXES = {  # kind -> what is measured, with its unit
    "level": "change of level (dB)",
    "white noise": "signal-to-noise ratio (dB)",
    "reverberation": "time to fall by 60 dB (s)",
    "clipping": "peak above full scale (dB)",
}


def plot_robustness(table, *, figure=None):
    """Draw the points of accuracy that faults cost: a panel for each kind that has several amounts, one for the others.

    `table` has columns kind, amount, lost, lost_low and lost_high, as from `load_robustness`.
    """
    amounts = table.groupby("kind", sort=False)["amount"].nunique()
    curves = list(amounts[amounts > 1].index)
    figure = figure or plt.figure(figsize=(WIDTH_INCHES, 5.4))
    axes = figure.subplots(2, -(-(len(curves) + 1) // 2), sharey=True).flat
    for ax, kind in zip(axes, curves, strict=False):
        rows = table[table["kind"] == kind].sort_values("amount")
        _draw_lost(ax, rows["amount"], rows, marker="o-")
        ax.set(title=kind, xlabel=AXES[kind], xticks=rows["amount"])
    rows, ax = table[~table["kind"].isin(curves)], axes[len(curves)]
    _draw_lost(ax, range(len(rows)), rows, marker="o")
    ax.set_xticks(range(len(rows)), rows["kind"].str.replace(" ", "\n", n=1))
    ax.set(title="other faults", xlim=(-0.5, len(rows) - 0.5))
    axes[0].legend(loc="upper left")
    for ax in axes:
        ax.set_ylabel("accuracy lost (points)" if ax.get_subplotspec().is_first_col() else "")
    for ax in axes[len(curves) + 1 :]:
        ax.set_visible(False)
    return figure


def _draw_lost(ax, places, rows, *, marker):
    lost, low, high = (100 * rows[column] for column in ("lost", "lost_low", "lost_high"))
    label = "mean and 95 % interval over the folds"
    ax.axhline(0, color=MUTED, linewidth=1)
    ax.errorbar(places, lost, (lost - low, high - lost), fmt=marker, color=SERIES[0], capsize=3, label=label)
