"""How accuracy falls as recordings get worse."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns


def plot_robustness(table, *, figure=None):
    """Draw accuracy over how bad a fault is: a panel for each kind that has several amounts, and one for the others.

    `table` has columns kind, amount, unit and accuracy; its first row is of the clips as they are.
    """
    amounts = table.groupby("kind", sort=False)["amount"].nunique()
    curves = list(amounts[amounts > 1].index)
    figure = figure or plt.figure(figsize=(11, 6))
    axes = figure.subplots(2, -(-(len(curves) + 1) // 2), sharey=True).flat
    for ax, kind in zip(axes, curves, strict=False):
        rows = table[table["kind"] == kind]
        sns.lineplot(rows, x="amount", y=100 * rows["accuracy"], marker="o", ax=ax)
        ax.set(title=kind, xlabel=rows["unit"].iloc[0], ylabel="accuracy (%)", xticks=sorted(rows["amount"].unique()))
    _plot_single_faults(table, curves, axes[len(curves)])
    for ax in axes[len(curves) + 1 :]:
        ax.set_visible(False)
    return figure


def _plot_single_faults(table, curves, ax):
    rows = pd.concat([table.head(1).assign(kind="as they are"), table[~table["kind"].isin(curves)]])
    rows["kind"] = rows["kind"].str.replace(" ", "\n", n=1)
    sns.stripplot(rows, x="kind", y=100 * rows["accuracy"], size=8, jitter=False, color="C0", ax=ax)
    ax.set(title="other faults", xlabel="", ylabel="accuracy (%)", ylim=(0, 100))
