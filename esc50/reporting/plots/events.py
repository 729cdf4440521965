"""A timeline, drawn: one row a class, one bar an event."""

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from esc50.classifier.describe import count_of
from esc50.reporting.plots.style import THEME_PALETTE, class_label

TAUGHT = "taught"  # stands for the theme of classes that have none
COLORS = THEME_PALETTE | {TAUGHT: "0.5"}
PALEST = 0.25  # opacity of a bar of no confidence
SHORTEST_BAR = 1 / 300  # of the recording: a click in an hour must stay visible
UNKNOWN = {"facecolor": "none", "edgecolor": "0.55", "hatch": "////", "linewidth": 0.5}  # reads on white and on black
ROW_LINES = {"color": "0.55", "alpha": 0.3, "linewidth": 0.5}  # lead from a class to its bars
MINUTE_STEPS = (1, 1.5, 3, 6, 10)  # so that ticks fall on quarters and halves of minutes and hours
WIDTH_INCHES, ROW_INCHES, FRAME_INCHES, LABEL_POINTS = 5.6, 0.25, 1.5, 9.0  # 8 pixels where it is 400 wide


def plot_timeline(timeline, *, width_inches=WIDTH_INCHES):
    """Draw `plot_events` as a figure that is as high as all its classes need.

    Parameters
    ----------
    timeline : esc50.classifier.timeline.Timeline
        From `esc50.classifier.timeline.detect_events`.
    width_inches : float
        Of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        It is not pyplot's: nothing is kept after it is let go.
    """
    n_more = 0 if width_inches >= WIDTH_INCHES else 3  # rows of a key with one column
    height = FRAME_INCHES + ROW_INCHES * (n_more + max(2, len(_rows(timeline))))
    figure = Figure(figsize=(width_inches, height), layout="constrained")
    plot_events(timeline, ax=figure.subplots())
    return figure


def plot_events(timeline, *, ax=None):
    """Draw which class sounds when: a row for each class, in order of its first event, coloured by theme.

    The paler a bar, the less sure the event. One that is none of the classes is hatched, in the row of its most
    probable class.

    Parameters
    ----------
    timeline : esc50.classifier.timeline.Timeline
        From `esc50.classifier.timeline.detect_events`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; see `plot_timeline` for one of the right height.

    Returns
    -------
    matplotlib.axes.Axes
        Time to the right, in seconds or, from two minutes on, in minutes and seconds.
    """
    ax, rows, seconds = ax or plt.gca(), _rows(timeline), timeline.duration_seconds
    for event in timeline.events:
        width = max(event.end_seconds - event.start_seconds, SHORTEST_BAR * seconds)
        color = to_rgba(COLORS[_theme(event, timeline)], PALEST + (1 - PALEST) * event.confidence)
        style = {"facecolor": color, "edgecolor": "none"} if event.is_known else UNKNOWN
        ax.barh(rows.index(event.class_name), width, left=event.start_seconds, height=0.7, **style)
    ax.set_yticks(range(len(rows)), [class_label(name) for name in rows], fontsize=LABEL_POINTS)
    ax.set(ylim=(max(len(rows), 1) - 0.4, -0.6), xlim=(0, seconds))
    if not timeline.events:
        ax.text(0.5, 0.5, "no event was detected", transform=ax.transAxes, ha="center", va="center")
    ax.grid(axis="y", **ROW_LINES)
    ax.set_axisbelow(True)
    _label_times(ax, seconds)
    _add_key(ax, timeline)
    return ax


def _rows(timeline):
    return list(dict.fromkeys(event.class_name for event in timeline.events))


def _theme(event, timeline):
    return timeline.themes.get(event.class_name, TAUGHT)


def _label_times(ax, seconds):
    if seconds < 120:
        ax.set_xlabel("time (s)")
        return
    ax.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=MINUTE_STEPS))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{int(x) // 60}:{int(x) % 60:02d}"))
    ax.set_xlabel("time (minutes:seconds)")


def _add_key(ax, timeline):
    """Above the axes: how many events, the themes that occur, and what pale and hatched bars mean."""
    present = {_theme(event, timeline) for event in timeline.events if event.is_known}
    patches = [Patch(color=color, label=theme) for theme, color in COLORS.items() if theme in present]
    if not all(event.is_known for event in timeline.events):
        patches.append(Patch(**UNKNOWN, label="none of these?"))
    count = count_of(len(timeline.events), "event")
    title = f"{count} (paler: less sure)" if timeline.events else count
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "alignment": "left"}
    ax.legend(
        handles=patches,
        title=title,
        ncols=2 if ax.figure.get_figwidth() >= WIDTH_INCHES else 1,
        fontsize=LABEL_POINTS,
        title_fontsize=LABEL_POINTS,
        frameon=False,
        **place,
    )
