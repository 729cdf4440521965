"""The embeddings' map, and what YAMNet itself guesses."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from esc50.reporting.plots.style import PART_PALETTE, class_label

_LABEL_BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}


def plot_map(points, labels, *, palette=None, names=None, ax=None):
    """Draw a two-dimensional map of clips.

    Parameters
    ----------
    points : np.ndarray, shape (n_clips, 2)
        Such as from t-SNE.
    labels : sequence of str
        The theme or class of each clip, for the colour.
    palette : dict or str, optional
        As in seaborn.
    names : sequence of str, optional
        Labels to write at the median of their clips.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Without ticks: neither axis has a unit.
    """
    ax = ax or plt.gca()
    labels = np.asarray(labels)
    legend = "brief" if names is None else False
    sns.scatterplot(
        x=points[:, 0], y=points[:, 1], hue=labels, palette=palette, s=12, linewidth=0, alpha=0.8, legend=legend, ax=ax
    )
    for name in names if names is not None else ():
        x, y = np.median(points[labels == name], axis=0)
        ax.text(x, y, class_label(name), ha="center", va="center", fontsize=7.5, bbox=_LABEL_BOX)
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="", aspect="equal")
    return ax


def plot_guesses(counts, names, guess_names, *, most=30, ax=None):
    """Draw how often each class gets each of the most frequent guesses of another classifier.

    Parameters
    ----------
    counts : np.ndarray, shape (n_classes, n_guesses)
        Clips of a class that got a guess.
    names : sequence of str
        n_classes names.
    guess_names : sequence of str
        n_guesses names.
    most : int
        How many guesses, the most frequent on the left.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Classes downwards, guesses to the right; in each cell the number of clips.
    """
    ax = ax or plt.gca()
    best = np.argsort(-counts.sum(axis=0), kind="stable")[:most]
    shown = counts[:, best].astype(int)
    sns.heatmap(
        shown, annot=np.where(shown > 0, shown.astype(str), ""), fmt="", cmap="Blues", vmin=0, ax=ax, linewidths=0.3,
        linecolor="0.92", annot_kws={"size": 7}, cbar_kws={"label": "clips", "shrink": 0.4, "pad": 0.01},
        xticklabels=[f"{_shortened(guess_names[i])} ({counts[:, i].sum():.0f})" for i in best],
        yticklabels=[class_label(name) for name in names],
    )  # fmt: skip
    ax.tick_params(labelsize=8)
    ax.set_xticks(ax.get_xticks(), ax.get_xticklabels(), rotation=60, ha="right", rotation_mode="anchor")
    return ax


def plot_map_part(points, labels, chosen, *, ax=None):
    """Draw some clips of a two-dimensional map in colour, one colour a label, and the others in grey.

    Parameters
    ----------
    points : np.ndarray, shape (n_clips, 2)
        Such as from t-SNE.
    labels : np.ndarray of str, shape (n_clips,)
        Such as the class of each clip; at most ten labels among the chosen.
    chosen : np.ndarray of bool, shape (n_clips,)
        Which clips are in colour.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Without ticks; each label beside its most central clip.
    """
    ax = ax or plt.gca()
    labels, chosen = np.asarray(labels), np.asarray(chosen)
    ax.scatter(*points[~chosen].T, s=4, color="0.85", linewidth=0)
    palette = dict(zip(dict.fromkeys(labels[chosen]), PART_PALETTE, strict=False))
    plot_map(points[chosen], labels[chosen], palette=palette, names=(), ax=ax)
    return plot_map_names(points[chosen], labels[chosen], ax=ax)


def plot_map_names(points, labels, *, size=8, ax=None):
    """Write each label of a two-dimensional map at its most central clip, moved so that no two overlap.

    Parameters
    ----------
    points : np.ndarray, shape (n_clips, 2)
        Such as from t-SNE.
    labels : np.ndarray of str, shape (n_clips,)
        Such as the class of each clip.
    size : float
        Of the letters, in points.
    ax : matplotlib.axes.Axes, optional
        Where to write.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    ax = ax or plt.gca()
    labels = np.asarray(labels)
    style = {"ha": "center", "va": "center", "fontsize": size, "bbox": _LABEL_BOX}
    texts = [ax.text(*_medoid(points[labels == name]), class_label(name), **style) for name in dict.fromkeys(labels)]
    ax.figure.draw_without_rendering()  # only now is it known how large the letters are
    boxes = np.array([text.get_window_extent().extents for text in texts])  # (n_labels, 4) pixels: x0, y0, x1, y1
    for text, shift in zip(texts, _vertical_shifts(boxes), strict=True):
        pixels = ax.transData.transform(text.get_position()) + np.array([0, shift])
        text.set_position(ax.transData.inverted().transform(pixels))
    return ax


def plot_map_values(points, values, *, label, ax=None):
    """Draw a two-dimensional map of clips, coloured by a number.

    Parameters
    ----------
    points : np.ndarray, shape (n_clips, 2)
        Such as from t-SNE.
    values : np.ndarray, shape (n_clips,)
        The number of each clip; the highest are drawn last.
    label : str
        Name and unit of the numbers, for the colour bar.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Without ticks: neither axis has a unit.
    """
    ax = ax or plt.gca()
    order = np.argsort(values, kind="stable")
    dots = ax.scatter(*points[order].T, c=values[order], s=12, linewidth=0, cmap="flare", alpha=0.8)
    ax.figure.colorbar(dots, ax=ax, label=label, shrink=0.8, pad=0.01)
    ax.set(xticks=[], yticks=[])
    return ax


def _shortened(name):
    """First part of an AudioSet name, which may list several: ``Vehicle horn, car horn, honking``."""
    return name.split(", ")[0]


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
