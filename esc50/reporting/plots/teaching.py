"""How well classes of one's own are learnt."""

import matplotlib.pyplot as plt

NAMES = {"margin": "labels where it is least sure", "random": "labels at random"}


def plot_teaching(curves, *, ax=None):
    """Draw average precision over the number of labels, with 95 % intervals: a line for each way to choose labels.

    `curves` has columns numbers, sampling, labels and average_precision with ``…_low`` and ``…_high``.
    """
    ax = ax or plt.figure(figsize=(7, 4.5), layout="constrained").subplots()
    styles = dict(zip(curves["numbers"].unique(), ("-", ":"), strict=False))
    colours = dict(zip(NAMES, ("C0", "C1"), strict=True))
    for (numbers, sampling), rows in curves.groupby(["numbers", "sampling"], sort=False):
        label = f"{numbers}, {NAMES[sampling]}"
        mean, low, high = (100 * rows[f"average_precision{end}"] for end in ("", "_low", "_high"))
        ax.plot(rows["labels"], mean, styles[numbers], color=colours[sampling], marker="o", label=label)
        ax.fill_between(rows["labels"], low, high, color=colours[sampling], alpha=0.12, linewidth=0)
    ticks = sorted(curves["labels"].unique())
    ax.set_xscale("log")
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    ax.set(xlabel="labelled sounds", ylabel="average precision of the new class (%)")
    ax.legend(title="mean over the classes; shaded: 95 % interval", alignment="left")
    return ax
