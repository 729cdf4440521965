import subprocess
import sys
from itertools import combinations
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers import tick_labels
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from esc50 import dataset
from esc50.audio import load_sound
from esc50.reporting import plots


@pytest.fixture
def ax():
    return plt.subplots()[1]


def test_every_plot_draws_on_the_axes_it_is_given_and_returns_them(ax, rng):
    targets, names = np.repeat(np.arange(50), 2), dataset.class_names()
    history = pd.DataFrame({"epoch": [1, 2], "accuracy": [0.1, 0.5], "held_out_accuracy": [0.2, 0.4]})
    drawn = [
        plots.plot_waveform(rng.uniform(-1, 1, 1600), ax=ax),
        plots.plot_envelope(rng.uniform(-1, 1, (250, 2)), ax=ax),
        plots.plot_log_mel(rng.uniform(-70, 0, (126, 64)), ax=ax),
        plots.plot_training_curves(history, ax=ax),
        plots.plot_map(rng.normal(size=(100, 2)), targets // 10, palette={0: "C0", 1: "C1"}, ax=ax),
        plots.plot_top_classes(np.full(50, 0.02), names, ax=ax),
        plots.plot_frame_probabilities(
            rng.dirichlet(np.ones(50), 10), 0.48 * np.arange(10), dataset.class_names(), ax=ax
        ),
    ]
    assert all(one is ax for one in drawn)


def test_a_waveform_is_drawn_over_seconds(ax):
    plots.plot_waveform(np.zeros(32_000), ax=ax)
    assert ax.get_xlim() == (0, 2)
    assert ax.get_xlabel() == "time (s)"


@pytest.mark.parametrize(("axes", "htk", "ticks"), [("STUDY_MEL", False, 4), ("YAMNET_MEL", True, 6)])
def test_a_log_mel_has_hertz_on_the_mel_scale(ax, axes, htk, ticks):
    import librosa

    axes = getattr(plots.sound, axes)
    plots.plot_log_mel(np.zeros((100, 64)), axes=axes, ax=ax)
    np.testing.assert_allclose(ax.get_yticks(), librosa.hz_to_mel(list(map(float, tick_labels(ax.yaxis))), htk=htk))
    np.testing.assert_allclose(ax.get_ylim(), librosa.hz_to_mel(axes.range_hz, htk=htk))
    assert len(ax.get_yticks()) == ticks
    assert ax.get_xlim() == (0, pytest.approx(100 * axes.hop_seconds))


@pytest.fixture
def prediction():
    """Two seconds, silent but for a click at 1 s, as the classifier would hand them over: padded to whole patches."""
    waveform, log_mel = np.zeros(32_000, np.float32), np.full((240, 64), -70, np.float32)
    waveform[16_000], log_mel[98:101] = 1, 0
    sound = load_sound(waveform, sample_rate_hz=16_000)
    probabilities = np.full(50, 0.002)
    probabilities[3] = 0.902
    return SimpleNamespace(
        sound=sound, log_mel=log_mel, probabilities=probabilities, frame_probabilities=np.tile(probabilities, (4, 1)),
        frame_seconds=0.48 * np.arange(4), class_names=dataset.class_names(), verdict="This is a cow.", timeline=None,
        is_known=True, warnings=("Too loud.",), as_one_sound="This is a cow.", vectors=np.ones((4, 1024), np.float32),
    )  # fmt: skip


def test_the_log_mel_of_a_prediction_stands_under_its_waveform(prediction):
    """A click at 1 s is drawn at 1 s in both; the padding after the sound is cut off."""
    wave, mel = plots.plot_sound(prediction).axes
    assert wave.get_xlim() == mel.get_xlim() == (0, 2)
    start, end, *_ = mel.images[0].get_extent()
    picture = mel.images[0].get_array()  # (64, n_windows)
    loudest = start + (end - start) * np.flatnonzero(picture[0] == 0).mean() / picture.shape[1]
    assert loudest == pytest.approx(1.0, abs=0.02) and wave.get_xlim()[1] < end == pytest.approx(2.4)


def test_a_prediction_is_drawn_on_one_time_axis_with_its_verdict(prediction):
    figure = plots.plot_prediction(prediction, top=3)
    wave, mel, frames = figure.subfigs[0].axes[:3]
    assert wave.get_xlim() == mel.get_xlim() == frames.get_xlim() == (0, pytest.approx(2.4))
    assert figure.get_suptitle() == "This is a cow."
    bars, facts = figure.subfigs[1].axes
    assert tick_labels(bars.yaxis)[0] == "cow"
    assert facts.texts[0].get_text() == "2.00 s, 1 channel, 16000 Hz\nToo loud."


def test_the_title_of_the_classes_stays_inside_the_picture_beside_long_names(classifier):
    figure = plots.plot_prediction(classifier.predict("example:siren"))
    FigureCanvasAgg(figure).draw()
    title = figure.subfigs[1].axes[0].get_title(loc="right")
    [text] = [text for text in figure.subfigs[1].axes[0].findobj(Text) if text.get_text() == title]
    assert title and text.get_window_extent().x1 <= figure.bbox.x1


def test_the_coverage_of_sets_is_drawn_by_class(ax):
    sets = pd.DataFrame({"coverage": 0.9, "fold": 1, "target": range(50), "sureness": 0, "clips": 8, "covered": 7})
    sets.loc[0, "covered"] = 2
    assert plots.plot_set_coverage(sets.assign(classes=12), coverage=0.9, ax=ax) is ax
    assert tick_labels(ax.yaxis)[0] == "dog (1.5)"
    assert [bar.get_width() for bar in ax.patches[:2]] == [25, 87.5]
    assert ax.lines[0].get_xdata()[0] == 90


def test_the_plots_of_the_app_need_nothing_but_numpy_and_matplotlib():
    names = "plot_prediction", "plot_sound", "plot_explanation", "plot_events", "plot_top_classes", "blend_in"
    code = f"from esc50.reporting import plots; [getattr(plots, name) for name in {names}]; import sys; "
    code += "print(*({'pandas', 'scipy', 'librosa', 'sklearn', 'tensorflow'} & {*sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_the_best_class_stands_on_top(ax):
    scores = np.zeros(50)
    scores[[3, 7, 1]] = 0.2, 0.7, 0.1
    plots.plot_top_classes(scores, dataset.class_names(), top=3, ax=ax)
    assert tick_labels(ax.yaxis) == ["insects", "cow", "rooster"]
    assert ax.yaxis_inverted()
    assert [text.get_text() for text in ax.texts] == ["70 %", "20 %", "10 %"]


@pytest.mark.parametrize(("unit", "expected"), [("percent", ["75", "25", "100"]), ("clips", ["3", "1", "4"])])
def test_confusion_is_written_into_the_cells(unit, expected, ax):
    plots.plot_confusion(np.array([[3, 1], [0, 4]]), ["one", "two"], unit=unit, ax=ax)
    assert [text.get_text() for text in ax.texts if text.get_text()] == expected
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")


def test_of_a_large_confusion_matrix_the_errors_are_drawn(ax):
    counts = 40 * np.eye(50, dtype=int)
    counts[3, 7], counts[3, 3], counts[20, 3], counts[20, 20] = 6, 34, 1, 39
    plots.plot_confused_classes(counts, dataset.class_names(), most=2, ax=ax)
    assert tick_labels(ax.yaxis) == ["cow", "insects", "all others"]
    written = [text.get_text() for text in ax.texts]
    assert written == ["34", "6", "40", "1", str(counts.sum() - 81)]  # row by row; nothing where there is no clip


def test_a_rare_confusion_is_told_from_none(ax):
    plots.plot_confusion(np.array([[995, 5, 0], [15, 985, 0], [0, 0, 1]]), ["one", "two", "three"], ax=ax)
    assert [text.get_text() for text in ax.texts] == ["100", "< 1", "2", "99", "100"]


def test_confusion_of_a_class_that_does_not_occur_is_empty(ax):
    plots.plot_confusion(np.array([[0, 0], [0, 4]]), ["one", "two"], ax=ax)
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["100"]


def test_models_are_compared_with_intervals_and_references(ax):
    summary = pd.DataFrame({"accuracy": [0.5], "accuracy_low": [0.4], "accuracy_high": [0.6]}, index=["some model"])
    plots.plot_model_comparison(summary, references={"others": 81.3}, ax=ax)
    assert [text.get_text().strip() for text in ax.texts] == ["50.0 %", "others 81.3"]
    assert tick_labels(ax.yaxis) == ["some model"]


def test_figures_round_as_tables_do(ax):
    summary = pd.DataFrame({"accuracy": [0.4745], "accuracy_low": [0.45], "accuracy_high": [0.5]}, index=["SVM"])
    plots.plot_model_comparison(summary, ax=ax)
    assert [text.get_text() for text in ax.texts] == ["47.5 %"]


def test_rows_of_the_ablation_are_named_by_the_index(ax):
    row = {"accuracy": 0.89, "accuracy_low": 0.87, "accuracy_high": 0.9, "run_accuracy": 0.88, "run_accuracy_sd": 0.01}
    plots.plot_ablation(pd.DataFrame([row, row], index=["2. frames", "9. layers"]), ax=ax)
    assert tick_labels(ax.yaxis) == ["2. frames", "9. layers"]


def test_a_gallery_has_two_axes_a_clip():
    figure = plots.plot_gallery(np.zeros((7, 250, 2)), np.zeros((7, 126, 64)), list("abcdefg"))
    assert len([ax for ax in figure.axes if ax.has_data()]) == 14


def test_a_model_that_is_not_sure_has_no_probability_of_nothing(ax):
    probabilities = np.array([0.997, 0.002, 0.001])
    plots.plot_top_classes(probabilities, ["dog", "cat", "cow"], ax=ax)
    assert [text.get_text() for text in ax.texts] == ["100 %", "< 1 %", "< 1 %"]


def test_a_figure_is_saved_whole_under_its_name(tmp_path, ax):
    path = plots.save_figure(ax.figure, "09_test", folder=tmp_path)
    assert path == tmp_path / "09_test.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["09_test.png"]


def test_a_figure_that_is_drawn_again_keeps_its_bytes_until_it_shows_something_else(tmp_path, ax):
    path = plots.save_figure(ax.figure, "09_test", folder=tmp_path)
    plt.imsave(path, plt.imread(path), metadata={"Software": "another encoder"})
    before = path.read_bytes()
    plots.save_figure(ax.figure, "09_test", folder=tmp_path)
    assert path.read_bytes() == before
    ax.plot([0, 1])
    plots.save_figure(ax.figure, "09_test", folder=tmp_path)
    assert path.read_bytes() != before and b"Software" not in path.read_bytes()


def test_themes_have_one_colour_each():
    assert set(plots.THEME_PALETTE) == set(dataset.THEMES)
    assert len(set(plots.THEME_PALETTE.values())) == 5


# Machado, Oliveira and Fernandes 2009, severity 1.0: what linear RGB becomes
VISION = {
    "full": np.eye(3),
    "no red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
WHITE = np.array([0.9505, 1.0, 1.089])
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def seen(color, vision):
    """CIE Lab of a colour as someone with this colour vision sees it."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(TO_XYZ @ np.clip(np.array(VISION[vision]) @ linear, 0, 1) / WHITE)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart_whatever_ones_colour_vision(vision):
    """Themes, and known, held-out and other sounds: at least 10 in CIE 1976; 2.3 is just noticed."""
    for colors in (plots.THEME_PALETTE.values(), [style["color"] for style in plots.trust.KINDS]):
        distances = [np.linalg.norm(seen(a, vision) - seen(b, vision)) for a, b in combinations(colors, 2)]
        assert min(distances) >= 10


def test_lines_that_cross_differ_in_their_dashes_too(ax):
    curves = {str(i): (np.linspace(0, 1, 50), np.linspace(0, i / 10, 50)) for i in range(7)}
    lines = plots.plot_risk_coverage(curves, ax=ax).lines
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 7
