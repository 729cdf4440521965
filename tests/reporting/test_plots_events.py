"""`esc50.reporting.plots.plot_events`: from ten seconds to an hour."""

from itertools import pairwise
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
from helpers import tick_labels
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from esc50 import dataset
from esc50.classifier.timeline import Event
from esc50.reporting import plots


@pytest.fixture
def ax():
    return plt.subplots(figsize=(11, 4))[1]


def draw(ax, *events, seconds):
    return plots.plot_events(timeline_of(*events, seconds=seconds), ax=ax)


def timeline_of(*events, seconds):
    names = dataset.class_names()
    themes = {name: dataset.THEMES[label // 10] for label, name in enumerate(names)}
    return SimpleNamespace(events=events, duration_seconds=seconds, themes=themes)


def key(ax):
    return [ax.get_legend().get_title().get_text(), *(text.get_text() for text in ax.get_legend().get_texts())]


def test_a_row_for_each_class_in_order_of_its_first_event(ax):
    events = [Event(0, 2, "rain", 0.9), Event(2, 3, "door_wood_knock", 0.4), Event(3, 9, "rain", 0.5)]
    assert draw(ax, *events, seconds=10.0) is ax
    assert tick_labels(ax.yaxis) == ["rain", "door wood knock"]
    assert [(bar.get_x(), bar.get_width(), round(bar.get_y() + bar.get_height() / 2)) for bar in ax.patches] == [
        (0, 2, 0),
        (2, 1, 1),
        (3, 6, 0),
    ]
    assert ax.get_xlim() == (0, 10)
    assert ax.get_xlabel() == "time (s)"
    assert key(ax) == ["3 events (paler: less sure)", "Natural soundscapes & water", "Interior/domestic"]


def test_colours_are_those_of_themes_and_paler_where_less_sure(ax):
    draw(ax, Event(0, 1, "rain", 0.2), Event(1, 2, "wind", 1.0), Event(2, 3, "taught", 1.0), seconds=3.0)
    rain, wind, taught = (bar.get_facecolor() for bar in ax.patches)
    assert rain[:3] == wind[:3] == to_rgb(plots.THEME_PALETTE["Natural soundscapes & water"]) != taught[:3]
    assert (rain[3], wind[3]) == (pytest.approx(0.4), 1.0)


def test_sounds_that_overlap_have_rows_of_their_own(ax):
    draw(ax, Event(0, 5, "rain", 0.9), Event(1, 3, "dog", 0.9), seconds=5.0)
    rain, dog = ax.patches
    assert rain.get_y() + rain.get_height() <= dog.get_y()


def test_none_of_the_classes_is_hatched_and_the_title_says_so(ax):
    draw(ax, Event(0, 1, "rain", 0.9), Event(1, 2, "rain", 0.9, is_known=False), seconds=2.0)
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [False, True]
    assert key(ax)[-1] == "none of these?"


def test_a_click_in_an_hour_is_seen_and_times_are_minutes(ax):
    draw(ax, Event(1800, 1800.5, "mouse_click", 0.9), seconds=3600.0)
    assert ax.patches[0].get_width() == pytest.approx(12.0)
    assert "30:00" in tick_labels(ax.xaxis)
    assert ax.get_xlabel() == "time (minutes:seconds)"


def test_every_class_has_a_row_that_can_be_read_where_the_picture_is_900_pixels_wide():
    events = [Event(10 * i, 10 * i + 5, name, 0.8) for i, name in enumerate(dataset.class_names())]
    figure = plots.plot_timeline(timeline_of(*events, seconds=500.0))
    figure.set_dpi(900 / figure.get_figwidth())
    FigureCanvasAgg(figure).draw()
    [ax] = figure.axes
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert len(boxes) == 50
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))  # none covers another
    assert min(text.get_fontsize() / 72 * figure.dpi for text in (*ax.get_yticklabels(), *ax.get_xticklabels())) >= 8
    assert all(box.x0 >= 0 and box.x1 <= ax.get_window_extent().x0 for box in boxes)
    assert plots.plot_timeline(timeline_of(seconds=10.0)).get_figheight() < figure.get_figheight() / 4
    assert not plt.get_fignums()


@pytest.mark.parametrize("width_inches", [4.0, 5.6])
def test_the_key_stays_inside_a_wide_and_a_narrow_picture(width_inches):
    names = ("dog", "rain", "sneezing", "clock_tick", "siren")  # one of each theme
    events = [Event(2 * i, 2 * i + 1, name, 0.8, is_known=name != "dog") for i, name in enumerate((*names, "cow"))]
    figure = plots.plot_timeline(timeline_of(*events, seconds=12.0), width_inches=width_inches)
    FigureCanvasAgg(figure).draw()
    box = figure.axes[0].get_legend().get_window_extent()
    assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def test_nothing_is_said_where_nothing_was_recognised(ax):
    draw(ax, seconds=10.0)
    assert [text.get_text() for text in ax.texts] == ["no event was detected"]
    assert key(ax) == ["0 events"]
