"""Maps of the embeddings, (n_clips, 2) points such as from t-SNE, and what YAMNet itself guesses."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from esc50.reporting.plots.style import class_label

PART_PALETTE = sns.color_palette("tab10")
_LABEL_BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}


def plot_map(points, labels, *, palette=None, legend="brief", ax=None):
    """Draw a map of clips, coloured by their labels; the axes have no unit, so there are no ticks."""
    ax = ax or plt.gca()
    style = {"s": 12, "linewidth": 0, "alpha": 0.8}
    x, y = np.asarray(points).T
    sns.scatterplot(x=x, y=y, hue=np.asarray(labels), palette=palette, legend=legend, ax=ax, **style)
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="", aspect="equal")
    return ax


def plot_map_part(points, labels, chosen, *, ax=None):
    """Draw the chosen clips of a map in colour, one for each of at most ten labels, and the others in grey."""
    ax = ax or plt.gca()
    labels, chosen = np.asarray(labels), np.asarray(chosen)
    ax.scatter(*points[~chosen].T, s=4, color="0.85", linewidth=0)
    palette = dict(zip(dict.fromkeys(labels[chosen]), PART_PALETTE, strict=False))
    plot_map(points[chosen], labels[chosen], palette=palette, legend=False, ax=ax)
    return plot_map_names(points[chosen], labels[chosen], ax=ax)


def plot_map_names(points, labels, *, ax=None):
    """Write each label at its most central clip, moved up or down so that no two overlap."""
    ax = ax or plt.gca()
    labels = np.asarray(labels)
    style = {"ha": "center", "va": "center", "fontsize": 8, "bbox": _LABEL_BOX}
    texts = [ax.text(*_medoid(points[labels == name]), class_label(name), **style) for name in dict.fromkeys(labels)]
    ax.figure.draw_without_rendering()  # only now is it known how large the letters are
    boxes = np.array([text.get_window_extent().extents for text in texts])  # (n_labels, 4) pixels: x0, y0, x1, y1
    for text, shift in zip(texts, _vertical_shifts(boxes), strict=True):
        pixels = ax.transData.transform(text.get_position()) + np.array([0, shift])
        text.set_position(ax.transData.inverted().transform(pixels))
    return ax


def plot_map_values(points, values, *, label, ax=None):
    """Draw a map of clips, coloured by a number (n_clips,) that `label` names; the highest are drawn last."""
    ax = ax or plt.gca()
    order = np.argsort(values, kind="stable")
    dots = ax.scatter(*points[order].T, c=values[order], s=12, linewidth=0, cmap="flare", alpha=0.8)
    ax.figure.colorbar(dots, ax=ax, label=label, shrink=0.8, pad=0.01)
    ax.set(xticks=[], yticks=[])
    return ax


def plot_guesses(counts, *, most=30, ax=None):
    """Draw how many clips of each class (rows of a table) get each of the most frequent guesses (its columns)."""
    ax = ax or plt.gca()
    totals = counts.sum().sort_values(ascending=False, kind="stable")[:most]
    shown = counts[totals.index]
    sns.heatmap(
        shown, annot=shown.astype(str).replace("0", ""), fmt="", cmap="Blues", vmin=0, ax=ax, linewidths=0.3,
        linecolor="0.92", annot_kws={"size": 7}, cbar_kws={"label": "clips", "shrink": 0.4, "pad": 0.01},
        xticklabels=[f"{name.split(', ')[0]} ({clips})" for name, clips in totals.items()],
        yticklabels=[class_label(name) for name in shown.index],
    )  # fmt: skip
    ax.tick_params(labelsize=8)
    ax.set(xlabel="", ylabel="")
    ax.set_xticks(ax.get_xticks(), ax.get_xticklabels(), rotation=60, ha="right", rotation_mode="anchor")
    return ax


def _medoid(points):
    """The point (2,) whose summed distance to the others is least: unlike their mean, it is one of them."""
    distances = np.linalg.norm(points[:, None] - points, axis=2)  # (n_points, n_points)
    return points[distances.sum(axis=1).argmin()]


def _vertical_shifts(boxes, *, most_rounds=300):
    """How far up to move each box (x0, y0, x1, y1) until none overlap; shape (n_boxes,)."""
    shifts = np.zeros(len(boxes))
    for _ in range(most_rounds):
        low, high = boxes[:, 1] + shifts, boxes[:, 3] + shifts
        aside = (boxes[:, None, 2] > boxes[:, 0]) & (boxes[:, None, 0] < boxes[:, 2])  # (n_boxes, n_boxes)
        overlap = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
        pairs = np.argwhere(np.triu(aside & (overlap > 0), k=1))
        if not len(pairs):
            break
        for a, b in pairs:
            upper, lower = (a, b) if low[a] >= low[b] else (b, a)
            shifts[upper] += overlap[a, b] / 2 + 0.5
            shifts[lower] -= overlap[a, b] / 2 + 0.5
    return shifts
