"""The ablation's rows: every one has results, says what it changes, and costs what the networks really cost."""

import numpy as np
import pytest

from esc50.config import FusionSettings
from esc50.dataset.clips import load_clips
from esc50.experiments import ablation, study
from esc50.experiments.attention import attention_table
from esc50.experiments.networks import build_head
from esc50.experiments.results import load_cross_validation, load_out_of_fold, probabilities
from esc50.yamnet import keras_model


@pytest.fixture(scope="module")
def table():
    return ablation.ablation()


def test_every_trained_row_is_shown_and_every_row_is_trained():
    kinds = ("fusion", "kernel", "blended", "distilled")
    trained = {model for name, e in study.EXPERIMENTS.items() if name.startswith(kinds) for model in e.models}
    assert set(ablation.TRAINED_HERE) == trained


def test_every_row_but_the_first_changes_an_earlier_one():
    seen = []
    for model, row in ablation.ROWS.items():
        assert bool(row.over) == bool(seen)
        assert not row.over or row.over in seen
        seen.append(model)


def test_yamnet_has_the_parameters_that_are_counted():
    assert keras_model.build_backbone().count_params() == ablation.YAMNET_PARAMETERS


@pytest.mark.parametrize("layers", [(14,), (12, 13, 14), tuple(range(7, 15)), tuple(range(1, 15))])
def test_heads_have_the_parameters_that_are_counted(layers):
    head = build_head(input_size=sum(keras_model.layer_sizes(layers)), settings=FusionSettings())
    own_count_of_the_standardisation = 1  # Keras counts the examples it was adapted to
    assert ablation.YAMNET_PARAMETERS + head.count_params() - own_count_of_the_standardisation == (
        ablation.n_parameters(layers)
    )


def test_the_table_says_what_the_files_say(table):
    for model, row in table.iterrows():
        out_of_fold = load_out_of_fold(model)
        right = probabilities(out_of_fold).argmax(axis=1) == out_of_fold["target"]
        assert row["accuracy"] == pytest.approx(right.mean())
        if ablation.ROWS[model].over:
            other = table.loc[ablation.ROWS[model].over]
            assert row["gain"] == pytest.approx(row["accuracy"] - other["accuracy"])
            assert row["won"] - row["lost"] == pytest.approx(2000 * row["gain"])
            assert row["gain_low"] <= row["gain"] <= row["gain_high"]
            assert 0 <= row["p"] <= 1


def test_more_layers_are_better_beyond_chance(table):
    found = ablation.gain_over("fusion_8", "head_frames")
    assert found["gain_low"] > 0 and found["p"] < 0.01


def test_an_ensemble_averages_clip_by_clip():
    both = ablation.ensemble(["head_frames", "fusion_8"])
    alone = [load_out_of_fold(m).set_index("filename") for m in ("head_frames", "fusion_8")]
    name = both["filename"][700]
    expected = np.mean([table.loc[name, "p_3"] for table in alone])
    assert both.set_index("filename").loc[name, "p_3"] == pytest.approx(expected)
    assert len(both) == len(load_clips())


def test_kernel_machines_count_what_they_remember(table):
    size = sum(keras_model.layer_sizes(range(1, 15)))
    expected = ablation.YAMNET_PARAMETERS + 2 * size + 1_600 * (size + 50)
    assert table.loc["kernel", "parameters"] == expected


def test_the_shipped_network_has_less_than_five_million_parameters(table):
    assert table.loc["distilled", "parameters"] < 5e6


def test_one_network_stays_above_the_old_claim(table):
    """All are of one network: the mean over three seeds."""
    one = load_cross_validation().query("model == 'distilled'").groupby("seed")
    assert one["accuracy"].mean().mean() >= 0.913
    assert one["top3_accuracy"].mean().mean() >= 0.973
    assert one["macro_f1"].mean().mean() >= 0.912
    assert table.loc["distilled_speeds", "run_accuracy"] >= 0.925


def test_disagreements_are_won_and_lost():
    names = load_clips().query("fold == 2")["filename"]
    found = ablation.disagreements("fusion_14", "head_frames", n_each=3, among=names)
    assert found["filename"].isin(names).all()
    assert len(found) == 6
    assert (found["taken_for"] == found["category"]).tolist() == [True] * 3 + [False] * 3
    assert (found["other_taken_for"] == found["category"]).tolist() == [False] * 3 + [True] * 3


def test_attention_is_shared_among_the_frames_of_each_clip():
    table = attention_table()
    clips = load_clips()
    assert set(table.index) == set(clips.loc[clips["fold"] == 1, "filename"])
    assert table.shape == (400, 10)
    assert np.allclose(table.sum(axis=1), 1, atol=2e-3)
    assert (table >= 0).all(axis=None)


def test_shared_errors_are_errors_of_each():
    models = ["head_frames", "fusion_8"]
    hard = ablation.hardest_clips(models, at_least=2)
    assert (hard["models"] == 2).all()
    clips = load_clips().set_index("filename")
    for model in models:
        table = load_out_of_fold(model).set_index("filename").loc[hard["filename"]]
        assert (probabilities(table).argmax(axis=1) != clips.loc[hard["filename"], "target"]).all()
    assert (clips.loc[hard["filename"], "category"].to_numpy() == hard["category"]).all()


def test_a_row_costs_what_it_was_trained_on(table):
    """Three speeds, each whole and in two parts; fine-tuning needs the log-mels too."""
    megabytes = 2 * 2_000 * 9 * 5_984 / 1e6
    assert table.loc["distilled", "megabytes"] == pytest.approx(megabytes)
    assert table.loc["finetuned", "megabytes"] == pytest.approx(megabytes + 2 * 2_000 * 528 * 64 / 1e6)
