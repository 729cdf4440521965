"""What notebooks put on their pages."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import soundfile

from esc50.audio import synthesis
from esc50.reporting import show, tables


@pytest.fixture
def shown(monkeypatch):
    found = []
    monkeypatch.setattr(show, "display", found.append)
    return found


def test_a_figure_is_shown_at_half_its_pixels_with_a_text_for_who_cannot_see_it(tmp_path, shown):
    show.figure(plt.figure(figsize=(4, 2)), "09_test", alt="An empty plot.", folder=tmp_path)
    [picture] = shown
    assert (picture.alt, picture.width) == ("An empty plot.", plt.imread(tmp_path / "09_test.png").shape[1] // 2)
    assert not plt.get_fignums()


def test_letters_too_small_to_read_are_refused(tmp_path):
    figure = plt.figure()
    figure.text(0, 0, "tiny", fontsize=4)
    with pytest.raises(ValueError, match=r"09_test: text of 5\.6 pixels"):
        show.figure(figure, "09_test", alt="", folder=tmp_path)


def test_a_long_table_is_folded(shown):
    show.table(pd.DataFrame({"n": range(12)}), first=10)
    rows, folded = (item.data for item in shown)
    assert (
        "<th>0</th>" not in rows and rows.count("<tr") == 11 and folded.startswith("<details><summary>the other 2 rows")
    )


def test_a_whole_table_can_be_folded_under_its_title(shown):
    show.table(pd.DataFrame({"n": range(3)}), first=0, title="three rows")
    [folded] = (item.data for item in shown)
    assert folded.startswith("<details><summary>three rows</summary>") and folded.count("<tr") == 4


def test_a_table_shows_its_cells_in_full_and_says_where_there_is_none(shown):
    show.table(pd.DataFrame({"verdict": ["a" * 80, None]}, index=["first", "second"]))
    show.table(pd.DataFrame({"accuracy": [0.5]}, index=pd.RangeIndex(1, 2, name="fold")))
    whole, numbered = (item.data for item in shown)
    assert "a" * 80 in whole and "–" in whole and "first" in whole
    assert "<th>fold</th>" in numbered and "<th>1</th>" in numbered


def test_a_player_holds_the_sound(shown):
    show.sound(synthesis.sine(440, seconds=1), "a tone")
    [player] = shown
    content = base64.b64decode(re.search(r"base64,([^\"]+)", player.data)[1])
    samples, rate = soundfile.read(io.BytesIO(content))
    assert rate == 16_000 and np.argmax(np.abs(np.fft.rfft(samples[:16_000]))) == pytest.approx(440, abs=2)
    assert 'aria-label="a tone"' in player.data and len(content) < 20_000


def test_models_are_listed_in_words_the_best_first():
    row = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "top3_accuracy": 0.7, "macro_f1": 0.45}
    table = tables.model_table([row, row | {"accuracy": 0.6}], {0: "one", 1: "other"})
    assert [*table.index] == ["other", "one"]
    assert [*table.loc["one"]] == ["50.0", "40.0 to 60.0", "70.0", "0.450"]


def test_confused_pairs_are_named_with_their_counts():
    table = tables.pair_table(np.array([0, 0, 5]), np.eye(50)[[5, 0, 0]])
    assert [*table.index] == ["dog and cat"] and [*table.iloc[0]] == [1, 1, 2]


@pytest.mark.parametrize(
    ("n_right", "shown"), [(949, "47.5"), (1663, "83.2"), (1869, "93.5"), (1873, "93.7"), (1872, "93.6")]
)
def test_a_share_is_rounded_half_up_whatever_sum_it_comes_from(n_right, shown):
    folds = np.array([n_right // 5 + (fold < n_right % 5) for fold in range(5)]) / 400
    assert tables.percent(n_right / 2000) == tables.percent(folds.mean()) == shown


def test_percentages_have_ranges_signs_and_digits():
    assert tables.percent(0.9205, 0.945) == "92.1 to 94.5"
    assert tables.percent(-0.0105, 0.0005, sign=True) == "-1.1 to +0.1"
    assert tables.percent(0.935, digits=0) == "94" and tables.percent(0.931, digits=2) == "93.10"
