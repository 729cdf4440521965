"""Maps of the embeddings: (n_clips, 2) points such as from t-SNE."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patheffects import withStroke

from esc50.reporting.plots.style import SERIES, class_label

MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", ">", "p")  # told apart without colour
CLASS_COLORS = (*SERIES[:6], "#7b3294", "0.35", "#8a8000", SERIES[9])  # dark enough for small dots on white
VALUES = LinearSegmentedColormap.from_list("from grey", ["0.8", "#56b4e9", "#0173b2", "#08204a"])
_OUTLINE = [withStroke(linewidth=2, foreground="white")]  # a box would hide the clips behind a name
_GAP = 3  # pixels between a name and what is near it
_CORE = 0.5  # of a class's clips, the nearest to its middle: its name stands above them


def plot_map(points, labels, *, palette, legend=True, ax=None):
    """Draw a map of clips, coloured by their labels (label -> colour); the axes have no unit, so there are no ticks."""
    ax, labels = ax or plt.gca(), np.asarray(labels)
    for (label, color), marker in zip(palette.items(), MARKERS, strict=False):
        style = {"s": 13, "linewidth": 0, "alpha": 0.8, "marker": marker, "color": color, "label": label}
        ax.scatter(*points[labels == label].T, **style)
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
    if legend:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=len(palette), markerscale=1.6)
    return ax


def plot_map_part(points, labels, chosen, *, ax=None):
    """Draw the chosen clips of a map in colour, one for each of at most ten labels, and the others in grey."""
    ax = ax or plt.gca()
    labels, chosen = np.asarray(labels), np.asarray(chosen)
    ax.scatter(*points[~chosen].T, s=4, color="0.85", linewidth=0)
    palette = dict(zip(dict.fromkeys(labels[chosen]), CLASS_COLORS, strict=False))
    plot_map(points[chosen], labels[chosen], palette=palette, legend=False, ax=ax)
    return plot_map_names(points[chosen], labels[chosen], ax=ax)


def plot_map_names(points, labels, *, ax=None):
    """Write each label above most of its clips, moved up or down so that no two overlap."""
    ax = ax or plt.gca()
    labels = np.asarray(labels)
    style = {"ha": "center", "va": "bottom", "fontsize": 8, "path_effects": _OUTLINE}
    texts = [ax.text(*_above(points[labels == name]), class_label(name), **style) for name in dict.fromkeys(labels)]
    ax.figure.draw_without_rendering()  # only now is it known how large the letters are
    boxes = np.array([text.get_window_extent().extents for text in texts])  # (n_labels, 4) pixels: x0, y0, x1, y1
    for text, shift in zip(texts, _vertical_shifts(boxes + np.array([-_GAP, 0, _GAP, 0])), strict=True):
        pixels = ax.transData.transform(text.get_position()) + np.array([0, shift + _GAP])
        text.set_position(ax.transData.inverted().transform(pixels))
    return ax


def plot_map_values(points, values, *, label, ax=None):
    """Draw a map of clips, coloured by a number (n_clips,) that `label` names; the highest are drawn last."""
    ax = ax or plt.gca()
    order = np.argsort(values, kind="stable")
    dots = ax.scatter(*points[order].T, c=values[order], s=12, linewidth=0, cmap=VALUES, alpha=0.8)
    ax.figure.colorbar(dots, ax=ax, label=label, shrink=0.8, pad=0.01)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def _above(points):
    """The place (2,) above the middle of a class: the clip with the least summed distance to the others."""
    distances = np.linalg.norm(points[:, None] - points, axis=2)  # (n_points, n_points)
    middle = distances.sum(axis=1).argmin()
    core = points[distances[middle].argsort()[: max(1, int(_CORE * len(points)))]]
    return points[middle, 0], core[:, 1].max()


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
