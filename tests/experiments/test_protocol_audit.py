import numpy as np
import pandas as pd
import pytest

from esc50.dataset import load_clips
from esc50.experiments import protocol_audit as audit
from esc50.experiments.results import load_history


def table(**accuracies):
    rows = [("head", protocol, 0, fold, value) for protocol, values in accuracies.items() for fold, value in values]
    return pd.DataFrame(rows, columns=["model", "protocol", "seed", "fold", "accuracy"])


def test_the_gain_is_the_mean_of_the_folds_differences_with_student_s_interval():
    fixed = [(fold, 0.8 + fold / 100) for fold in range(1, 6)]
    better = [(fold, value + 0.01 + 0.002 * (fold % 2)) for fold, value in fixed]
    found = audit.worth(table(**{audit.FIXED: fixed, audit.BEST_EPOCHS: better})).set_index("protocol")
    row = found.loc[audit.BEST_EPOCHS]
    assert row["gain"] == pytest.approx(0.0112)
    differences = np.array([0.012, 0.01, 0.012, 0.01, 0.012])
    half = 2.7764 * differences.std(ddof=1) / 5**0.5  # t of 4 degrees of freedom
    assert (row["low"], row["high"]) == (pytest.approx(0.0112 - half, abs=1e-5), pytest.approx(0.0112 + half, abs=1e-5))
    assert found.loc[audit.FIXED, ["gain", "low", "high"]].tolist() == [0, 0, 0]


def test_epochs_are_picked_from_the_curves():
    curves = pd.DataFrame(
        [(0, fold, epoch, value) for fold, values in {1: (0.5, 0.9, 0.6), 2: (0.7, 0.6, 0.8)}.items()
         for epoch, value in enumerate(values, start=1)],
        columns=["seed", "fold", "epoch", "held_out_accuracy"],
    )  # fmt: skip
    found = pd.DataFrame(audit._from_curves(curves, "head"), columns=["model", "protocol", "seed", "fold", "accuracy"])
    means = found.groupby("protocol")["accuracy"].mean()
    assert means[audit.FIXED] == pytest.approx(0.7)
    assert means[audit.BEST_EPOCH] == pytest.approx(0.75)  # the second epoch
    assert means[audit.BEST_EPOCHS] == pytest.approx(0.85)


def test_hear_s_splits_keep_the_validation_fold_out_of_training():
    folds = load_clips()["fold"].to_numpy()
    for fold, split in enumerate(audit._three_folds(lambda fold: fold), start=1):
        assert set(folds[split.test]) == {fold}
        assert set(folds[split.train]) == {1, 2, 3, 4, 5} - {fold, fold % 5 + 1}


@pytest.mark.results
def test_what_is_committed_follows_from_the_curves():
    found, curves = audit.load(), load_history()
    for name in (*audit.HEADS, *audit.NETWORKS):
        rows = pd.DataFrame(audit._from_curves(curves[curves["model"] == name], name), columns=found.columns)
        kept = found[(found["model"] == name) & found["protocol"].isin(rows["protocol"])]
        pd.testing.assert_frame_equal(kept.reset_index(drop=True), rows, check_dtype=False, atol=1e-5)
