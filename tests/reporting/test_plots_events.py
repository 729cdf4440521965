"""`esc50.reporting.plots.plot_events`: from ten seconds to an hour."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from esc50 import dataset
from esc50.classifier.timeline import Event
from esc50.reporting import plots


@pytest.fixture
def ax():
    return plt.subplots(figsize=(11, 4))[1]


def draw(ax, *events, seconds):
    return plots.plot_events(SimpleNamespace(events=events, duration_seconds=seconds), ax=ax)


def tick_labels(axis):
    axis.axes.figure.canvas.draw()
    return [label.get_text() for label in axis.get_ticklabels()]


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
    assert ax.get_title() == "3 events"


def test_surer_is_darker(ax):
    draw(ax, Event(0, 1, "rain", 0.3), Event(1, 2, "rain", 0.9), seconds=2.0)
    pale, dark = (sum(bar.get_facecolor()[:3]) for bar in ax.patches)
    assert dark < pale


def test_none_of_the_classes_is_hatched_and_the_title_says_so(ax):
    draw(ax, Event(0, 1, "rain", 0.9), Event(1, 2, "rain", 0.9, is_known=False), seconds=2.0)
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [False, True]
    assert ax.get_title() == "2 events; hatched: none of these?"
    assert ax.figure.axes[1].get_ylabel() == "confidence (%),\nnot calibrated"


def test_a_click_in_an_hour_is_seen_and_times_are_minutes(ax):
    draw(ax, Event(1800, 1800.5, "mouse_click", 0.9), seconds=3600.0)
    assert ax.patches[0].get_width() == pytest.approx(12.0)
    assert "30:00" in tick_labels(ax.xaxis)
    assert ax.get_xlabel() == "time (minutes:seconds)"


def test_only_the_longest_classes_have_a_row_and_the_title_says_so(ax):
    events = [Event(10 * i, 10 * i + 1 + i / 10, name, 0.8) for i, name in enumerate(dataset.class_names())]
    draw(ax, *events, seconds=500.0)
    assert len(tick_labels(ax.yaxis)) == 20
    assert tick_labels(ax.yaxis)[-1] == "hand saw"
    assert ax.get_title() == "50 events; 30 briefer classes not shown"


def test_nothing_is_said_where_nothing_was_recognised(ax):
    draw(ax, seconds=10.0)
    assert [text.get_text() for text in ax.texts] == ["no event was detected"]
    assert ax.get_title() == "0 events"
