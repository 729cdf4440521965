"""The ablation's rows: results, links to other rows, and costs."""

import pytest

from esc50.config import ALL_LAYERS
from esc50.experiments import ablation, models
from esc50.experiments.base import Model
from esc50.experiments.multilayer import MultilayerSettings
from esc50.experiments.networks import build_head
from esc50.experiments.results import load_cross_validation, load_out_of_fold, probabilities
from esc50.yamnet import keras_model
from esc50.yamnet.architecture import layer_sizes


@pytest.fixture(scope="module")
def table():
    return ablation.ablation()


def test_every_idea_has_a_row_behind_the_one_that_it_changes():
    rows = ablation.rows()
    assert set(rows) == {name for name, model in models().items() if model.idea}
    seen = []
    for name, model in rows.items():
        assert bool(model.over) == bool(seen)
        assert not model.over or model.over in seen
        seen.append(name)


def test_side_lines_come_before_the_one_that_leads_on(monkeypatch):
    over = {"b": "a", "c": "a", "d": "b", "e": "d", "f": "b", "a": ""}
    made_up = {name: Model(idea=name, over=other) for name, other in over.items()}
    monkeypatch.setattr(ablation, "models", lambda: made_up | {"g": Model("no idea")})
    assert list(ablation.rows()) == list("acbfde")


@pytest.mark.slow
def test_yamnet_has_the_parameters_that_are_counted():
    assert keras_model.build_backbone().count_params() == ablation.YAMNET_PARAMETERS


@pytest.mark.slow
@pytest.mark.parametrize("layers", [(14,), (12, 13, 14), ALL_LAYERS])
def test_heads_have_the_parameters_that_are_counted(layers):
    head = build_head(input_size=sum(layer_sizes(layers)), settings=MultilayerSettings())
    own_count_of_the_standardisation = 1  # Keras counts the examples it was adapted to
    expected = ablation.YAMNET_PARAMETERS + head.count_params() - own_count_of_the_standardisation
    assert ablation.n_parameters(Model(layers=layers)) == expected


@pytest.mark.results
def test_the_table_says_what_the_files_say(table):
    for name, row in table.iterrows():
        out_of_fold = load_out_of_fold(name)
        right = probabilities(out_of_fold).argmax(axis=1) == out_of_fold["target"]
        assert row["accuracy"] == pytest.approx(right.mean())
        if row["over"]:
            assert row["gain"] == pytest.approx(row["accuracy"] - table.loc[row["over"], "accuracy"])
            assert row["won"] - row["lost"] == pytest.approx(2000 * row["gain"])
            assert row["gain_low"] <= row["gain"] <= row["gain_high"]
            assert 0 <= row["p"] <= row["p_holm"] <= 1


@pytest.mark.results
def test_more_layers_are_better_beyond_chance():
    found = ablation.gain_over("multilayer_8", "head_frames")
    assert found["gain_low"] > 0 and found["p"] < 0.01


@pytest.mark.results
def test_rows_cost_what_they_keep_and_what_they_were_trained_on(table):
    """Kernel machines keep 1,600 clips; three speeds, each whole and in two parts; fine-tuning needs log-mels too."""
    size = sum(layer_sizes(ALL_LAYERS))
    assert table.loc["kernel_ridge", "parameters"] == ablation.YAMNET_PARAMETERS + 2 * size + 1_600 * (size + 50)
    assert table.loc["distilled", "parameters"] < 5e6
    megabytes = 2 * 2_000 * 9 * size / 1e6
    assert table.loc["distilled", "megabytes"] == pytest.approx(megabytes)
    assert table.loc["finetuned", "megabytes"] == pytest.approx(megabytes + 2 * 2_000 * 528 * 64 / 1e6)
    assert table.loc["multilayer_8_speeds", "megabytes"] == pytest.approx(
        2 * 2_000 * 30 * sum(layer_sizes(range(7, 15))) / 1e6
    )


@pytest.mark.results
def test_one_network_stays_above_the_old_claim(table):
    """All are of one network: the mean over three seeds."""
    one = load_cross_validation().query("model == 'distilled'").groupby("seed")
    assert one["accuracy"].mean().mean() >= 0.913
    assert one["top3_accuracy"].mean().mean() >= 0.973
    assert one["macro_f1"].mean().mean() >= 0.912
    assert table.loc["distilled_speeds", "run_accuracy"] >= 0.925
