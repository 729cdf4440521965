import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from esc50 import dataset
from esc50.reporting import plots


@pytest.fixture(autouse=True)
def headless():
    plt.switch_backend("agg")
    plots.set_style()
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_every_plot_draws_on_the_axes_it_is_given_and_returns_them(ax, rng):
    targets = np.repeat(np.arange(50), 2)
    history = pd.DataFrame({"epoch": [1, 2], "accuracy": [0.1, 0.5], "held_out_accuracy": [0.2, 0.4]})
    drawn = [
        plots.plot_waveform(rng.uniform(-1, 1, 1600), ax=ax),
        plots.plot_envelope(rng.uniform(-1, 1, (250, 2)), ax=ax),
        plots.plot_log_mel(rng.uniform(-70, 0, (126, 64)), ax=ax),
        plots.plot_training_curves(history, ax=ax),
        plots.plot_map(rng.normal(size=(100, 2)), targets.astype(str), ax=ax),
        plots.plot_top_scores(np.full(50, 0.02), dataset.class_names(), ax=ax),
        plots.plot_timeline(rng.dirichlet(np.ones(50), 10), 0.48 * np.arange(10), dataset.class_names(), ax=ax),
    ]
    assert all(one is ax for one in drawn)


def test_a_waveform_is_drawn_over_seconds(ax):
    plots.plot_waveform(np.zeros(32_000), ax=ax)
    assert ax.get_xlim() == (0, 2)
    assert ax.get_xlabel() == "time (s)"


def test_a_log_mel_has_hertz_on_the_mel_scale(ax):
    import librosa

    plots.plot_log_mel(np.zeros((126, 64)), ax=ax)
    assert tick_labels(ax.yaxis) == ["125", "500", "2000", "8000"]
    assert ax.get_yticks()[-1] == pytest.approx(librosa.hz_to_mel(8000))


def test_the_best_class_stands_on_top(ax):
    scores = np.zeros(50)
    scores[[3, 7, 1]] = 0.2, 0.7, 0.1
    plots.plot_top_scores(scores, dataset.class_names(), top=3, ax=ax)
    assert tick_labels(ax.yaxis) == ["insects", "cow", "rooster"]
    assert ax.yaxis_inverted()
    assert [text.get_text() for text in ax.texts] == ["70.0 %", "20.0 %", "10.0 %"]


@pytest.mark.parametrize(("unit", "expected"), [("percent", ["75", "25", "100"]), ("clips", ["3", "1", "4"])])
def test_confusion_is_written_into_the_cells(unit, expected, ax):
    plots.plot_confusion(np.array([[3, 1], [0, 4]]), ["one", "two"], unit=unit, ax=ax)
    assert [text.get_text() for text in ax.texts if text.get_text()] == expected
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")


def test_confusion_of_a_class_that_does_not_occur_is_empty(ax):
    plots.plot_confusion(np.array([[0, 0], [0, 4]]), ["one", "two"], ax=ax)
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["100"]


def test_models_are_compared_with_intervals_and_references(ax):
    summary = pd.DataFrame({"accuracy": [0.5], "accuracy_low": [0.4], "accuracy_high": [0.6]}, index=["some model"])
    plots.plot_model_comparison(summary, references={"others": 81.3}, ax=ax)
    assert [text.get_text() for text in ax.texts] == ["50.0 %"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["others 81.3"]
    assert tick_labels(ax.yaxis) == ["some model"]


def test_a_gallery_has_two_axes_a_clip():
    figure = plots.plot_gallery(np.zeros((7, 250, 2)), np.zeros((7, 126, 64)), list("abcdefg"))
    assert len([ax for ax in figure.axes if ax.has_data()]) == 14


def test_a_figure_is_saved_whole_under_its_name(tmp_path, ax):
    path = plots.save_figure(ax.figure, "09_test", folder=tmp_path)
    assert path == tmp_path / "09_test.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["09_test.png"]


def test_themes_have_one_colour_each():
    assert set(plots.THEME_PALETTE) == set(dataset.THEMES)
    assert len(set(plots.THEME_PALETTE.values())) == 5
