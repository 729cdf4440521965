"""The picture of an evaluation, also where some kind of recording is missing."""

import numpy as np
import pandas as pd
import pytest

from esc50.classifier.model_io import load_model
from esc50.experiments.evaluation import Evaluation, measure
from esc50.reporting import plots

NAMES = load_model()[1]["class_names"]


def evaluated(categories, *, silent=(), errors=()):
    """Every file is taken for a dog, with the same score."""
    n = len(categories)
    about = {"filename": [f"{i}.wav" for i in range(n)], "category": categories, "predicted": "dog", "probability": 0.9}
    predictions = pd.DataFrame(about | {"is_known": True, "ood_score": 0.5, "is_silent": False, "error": ""})
    predictions.loc[[*silent], "is_silent"] = True
    predictions.loc[[*errors], "error"] = "damaged"
    probabilities = pd.DataFrame(np.eye(50)[np.zeros(n, int)], columns=NAMES)
    report = measure(predictions, probabilities, n_resamples=10)
    return Evaluation(predictions, probabilities, report | {"rejection_threshold": 0.4})


@pytest.mark.parametrize(
    ("categories", "n_axes", "kinds"),
    [
        (["dog", "cat", "none"], 3, ["right answers (1)", "sounds of no class (1)"]),
        (["dog", "dog"], 3, ["right answers (2)"]),
        (["none"], 1, ["sounds of no class (1)"]),
        (["cat"], 3, []),
    ],
)
def test_what_is_there_is_drawn(categories, n_axes, kinds):
    figure = plots.plot_evaluation(evaluated(categories))
    figure.draw_without_rendering()
    assert len(figure.axes) == n_axes
    legend = figure.axes[-1].get_legend_handles_labels()[1]
    assert [text for text in legend if "(" in text] == kinds


def test_a_row_for_each_class_and_its_files():
    ax = plots.plot_evaluation(evaluated(["cat", "dog", "dog"])).axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["cat (1)", "dog (2)"]
    assert [bar.get_width() for bar in ax.patches] == [0, 100]


def test_silence_and_what_was_not_read_have_no_score():
    figure = plots.plot_evaluation(evaluated(["none", "none", "none"], silent=[0], errors=[1]))
    assert "sounds of no class (1)" in figure.axes[0].get_legend_handles_labels()[1]
