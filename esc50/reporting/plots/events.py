"""A timeline, drawn: one row a class, one bar an event."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.ticker import FuncFormatter, MaxNLocator

from esc50.reporting.plots.style import class_label

SHORTEST_BAR = 1 / 300  # of the recording: a click in an hour must stay visible
MOST_ROWS = 20
UNKNOWN = {"facecolor": "none", "edgecolor": "0.55", "hatch": "////", "linewidth": 0.5}  # reads on white and on black
MINUTE_STEPS = (1, 1.5, 3, 6, 10)  # so that ticks fall on quarters and halves of minutes and hours


def plot_events(timeline, *, top=MOST_ROWS, cmap="Blues", ax=None):
    """Draw which class sounds when: a row for each class, in order of its first event; darker is more confident.

    An event that is none of the classes is hatched, in the row of its most probable class.

    Parameters
    ----------
    timeline : esc50.classifier.timeline.Timeline
        From `esc50.classifier.timeline.detect_events`.
    top : int
        Rows: the classes with the longest events; the title says how many are not shown.
    cmap : str or matplotlib.colors.Colormap
        Colours of the bars; its upper three quarters are used.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Time to the right, in seconds or, from two minutes on, in minutes and seconds.
    """
    ax = ax or plt.gca()
    rows, n_hidden = _choose_rows(timeline.events, top)
    events = [event for event in timeline.events if event.class_name in rows]
    colors = plt.get_cmap(cmap)([0.25 + 0.75 * event.confidence for event in events])
    for event, color in zip(events, colors, strict=True):
        width = max(event.end_seconds - event.start_seconds, SHORTEST_BAR * timeline.duration_seconds)
        style = {"color": color, "edgecolor": "none"} if event.is_known else UNKNOWN
        ax.barh(rows.index(event.class_name), width, left=event.start_seconds, height=0.7, **style)
    ax.set_yticks(range(len(rows)), [class_label(name) for name in rows])
    ax.set(ylim=(max(len(rows), 1) - 0.4, -0.6), xlim=(0, timeline.duration_seconds))
    ax.set_title(_count_events(timeline.events, n_hidden))
    if not timeline.events:
        ax.text(0.5, 0.5, "no event was detected", transform=ax.transAxes, ha="center", va="center")
    ax.grid(axis="y", visible=False)
    _label_times(ax, timeline.duration_seconds)
    _add_colorbar(ax, cmap)
    return ax


def _choose_rows(events, top):
    """Classes with the longest events, in order of their first one, and how many others there are."""
    seconds = {}
    for event in events:
        seconds[event.class_name] = seconds.get(event.class_name, 0.0) + event.end_seconds - event.start_seconds
    longest = sorted(seconds, key=seconds.get, reverse=True)[:top]
    return [name for name in seconds if name in longest], len(seconds) - len(longest)


def _count_events(events, n_hidden):
    title = f"{len(events)} event{'' if len(events) == 1 else 's'}"
    title += "" if all(event.is_known for event in events) else "; hatched: none of these?"
    return title if not n_hidden else f"{title}; {n_hidden} briefer class{'' if n_hidden == 1 else 'es'} not shown"


def _label_times(ax, seconds):
    if seconds < 120:
        ax.set_xlabel("time (s)")
        return
    ax.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=MINUTE_STEPS))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{int(x) // 60}:{int(x) % 60:02d}"))
    ax.set_xlabel("time (minutes:seconds)")


def _add_colorbar(ax, cmap):
    shades = ScalarMappable(Normalize(0, 100), ListedColormap(plt.get_cmap(cmap)(np.linspace(0.25, 1, 128))))
    ax.figure.colorbar(shades, ax=ax, label="confidence (%),\nnot calibrated", pad=0.01)
