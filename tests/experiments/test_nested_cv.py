from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from esc50.config import FOLDS
from esc50.dataset.splits import held_out_split
from esc50.experiments import find_experiments, nested_cv, results
from esc50.experiments.nested_cv import CANDIDATES, KINDS


@pytest.mark.results
@pytest.mark.parametrize("kind", KINDS)
def test_every_candidate_is_validated_for_every_fold(kind):
    table = nested_cv.load_validation(kind)
    for choice, label, name, _ in CANDIDATES[kind]:
        rows = table[(table["experiment"] == choice) & (table["candidate"] == label)]
        models = find_experiments()[name].models if choice in (name, "pooled") else [name]
        assert set(rows["model"]) == set(models)
        assert len(rows) == 20 * len(models)
    assert set(zip(table["experiment"], table["candidate"], strict=True)) == {each[:2] for each in CANDIDATES[kind]}
    assert (table["test_fold"] != table["validation_fold"]).all()
    assert (table["n_clips"] == 400).all()


@pytest.mark.results
def test_the_reported_settings_are_the_chosen_ones():
    settings = {(choice, label): own for choice, label, _, own in CANDIDATES["heads"]}
    for choice in nested_cv.choices(nested_cv.load_validation("heads")).itertuples():
        experiment = find_experiments()[choice.experiment]
        own = experiment.settings_by_split.get(f"fold {choice.test_fold}", experiment.settings)
        assert settings[choice.experiment, choice.candidate] == own, choice
        assert choice.model == next(iter(experiment.models)), choice


@pytest.mark.results
def test_layers_are_chosen_as_they_are_reported():
    chosen = nested_cv.choices(nested_cv.load_validation("layers"))
    assert chosen["test_fold"].tolist() == list(FOLDS)
    joined, runs = nested_cv.out_of_fold_of_chosen(chosen), nested_cv.runs_of_chosen(chosen)
    for choice in chosen.itertuples():
        merged = joined[joined["fold"] == choice.test_fold].merge(
            results.load_out_of_fold(choice.candidate), on="filename"
        )
        assert len(merged) == 400
        assert np.allclose(merged["p_7_x"], merged["p_7_y"])
        assert set(runs.loc[runs["fold"] == choice.test_fold, "model"]) == {choice.candidate}


@pytest.mark.results
def test_each_fold_takes_a_distilled_head():
    """With one view or more; the settings of the first one's teacher are the grid's middle."""
    chosen, found = nested_cv.network_choices(), find_experiments()
    assert chosen["test_fold"].tolist() == list(FOLDS)
    assert set(chosen["candidate"]) <= {*found["distilled"].models, *found["pooled_head"].models}
    assert found["distilled"].settings.teacher == found["kernel_ridge_speeds"].settings
    assert found["kernel_ridge_speeds"].settings in nested_cv.KERNEL_RIDGE_GRID


def test_a_choice_never_sees_its_own_fold():
    rows = [
        {"experiment": "e", "candidate": c, "model": "m", "test_fold": t, "validation_fold": v, "accuracy": 0.5}
        for c in "ab"
        for t in FOLDS
        for v in FOLDS
        if t != v
    ]
    made_up = pd.DataFrame(rows)
    made_up.loc[(made_up["candidate"] == "b") & (made_up["validation_fold"] == 2), "accuracy"] = 0.9
    chosen = nested_cv.choices(made_up).set_index("test_fold")["candidate"]
    assert chosen.to_dict() == {1: "b", 2: "a", 3: "b", 4: "b", 5: "b"}


def test_pairs_of_folds_train_on_the_three_others(clips):
    for pair in combinations(FOLDS, 2):
        split = held_out_split(clips, pair)
        assert set(clips["fold"].iloc[split.test]) == set(pair)
        assert set(clips["fold"].iloc[split.train]) == set(FOLDS) - set(pair)


def test_validation_writes_a_row_for_each_fold_of_a_pair(monkeypatch, tmp_path, clips):
    def run_splits(name, splits, *, seeds, settings, progress):
        for split in splits:
            part = clips.iloc[split.test]
            right = (
                part["fold"] == part["fold"].min()
            )  # of the pair's lower fold every clip is right, of the other none
            found = np.eye(50)[np.where(right, part["target"], (part["target"] + 1) % 50)]
            runs[seeds[0], split.name] = split, {"probabilities": {"head_clip_mean": found}}
        return runs

    runs = {}
    monkeypatch.setattr(nested_cv, "run_splits", run_splits)
    monkeypatch.setattr(nested_cv, "CANDIDATES", {"heads": [("head_clip_mean", "one", "head_clip_mean", None)]})
    rows = nested_cv.validate("heads", folder=tmp_path, progress=False)
    assert len(rows) == 20
    assert ((rows["validation_fold"] < rows["test_fold"]) == (rows["accuracy"] == 1)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["nested_cv_heads.csv"]
