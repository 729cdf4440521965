from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from esc50.config import FOLDS
from esc50.dataset.splits import held_out_split
from esc50.experiments import ablation, nested_cv, results, study


@pytest.fixture(scope="module")
def table():
    return nested_cv.load_selection()


def test_every_candidate_is_validated_for_every_fold(table):
    for name, candidates in nested_cv.CANDIDATES.items():
        rows = table[table["experiment"] == name]
        assert len(rows) == len(candidates) * len(study.EXPERIMENTS[name].models) * 20
        assert (rows["left_out"] != rows["validation"]).all()
        assert (rows["n_clips"] == 400).all()


def test_the_reported_settings_are_the_chosen_ones(table):
    chosen = nested_cv.choices(table).groupby("experiment")
    for name, experiment in study.EXPERIMENTS.items():
        if name in nested_cv.CANDIDATES:
            for choice in chosen.get_group(name).itertuples():
                own = experiment.by_split.get(f"fold {choice.left_out}", experiment.settings)
                assert nested_cv.CANDIDATES[name][choice.candidate] == own, choice
                assert choice.model == experiment.models[0], choice


def test_layers_are_chosen_as_they_are_reported():
    table = nested_cv.load_selection(nested_cv.LAYERS_FILE)
    assert len(table) == len(nested_cv.LAYERS) * 20
    assert (table["left_out"] != table["validation"]).all()
    chosen = nested_cv.choices(table)
    assert chosen["left_out"].tolist() == list(FOLDS)
    joined = ablation.chosen_by_fold(chosen)
    for choice in chosen.itertuples():
        own = results.load_out_of_fold(choice.candidate)
        merged = joined[joined["fold"] == choice.left_out].merge(own, on="filename")
        assert len(merged) == 400
        assert np.allclose(merged["p_7_x"], merged["p_7_y"])


def test_kernels_and_what_is_distilled_are_validated_for_every_fold():
    table = nested_cv.load_selection(nested_cv.KERNEL_FILE)
    candidates = {nested_cv.kernel_label(name, each) for name in nested_cv.KERNELS for each in nested_cv.KERNEL_GRID}
    assert set(table.loc[table["experiment"] == "kernel", "candidate"]) == candidates
    assert set(table.loc[table["experiment"] == "distilled", "model"]) == set(study.EXPERIMENTS["distilled"].models)
    assert len(table) == (len(candidates) + 2) * 20
    assert (table["left_out"] != table["validation"]).all()
    assert (table["n_clips"] == 400).all()


def test_the_shipped_network_is_the_chosen_one():
    """Heard at one speed or at three, it is the distilled head for each fold; the settings are the grid's middle."""
    layers, kernel = (nested_cv.load_selection(path) for path in (nested_cv.LAYERS_FILE, nested_cv.KERNEL_FILE))
    chosen = nested_cv.network_choices(layers, kernel)
    assert chosen["left_out"].tolist() == list(FOLDS)
    assert set(chosen["candidate"]) <= set(study.EXPERIMENTS["distilled"].models)
    assert study.EXPERIMENTS["distilled"].settings.kernel == study.EXPERIMENTS["kernel_speeds"].settings
    assert study.EXPERIMENTS["kernel_speeds"].settings in nested_cv.KERNEL_GRID


def test_a_choice_never_sees_its_own_fold():
    rows = [
        {"experiment": "e", "candidate": c, "model": "m", "left_out": t, "validation": v, "accuracy": 0.5}
        for c in "ab"
        for t in FOLDS
        for v in FOLDS
        if t != v
    ]
    made_up = pd.DataFrame(rows)
    made_up.loc[(made_up["candidate"] == "b") & (made_up["validation"] == 2), "accuracy"] = 0.9
    chosen = nested_cv.choices(made_up).set_index("left_out")["candidate"]
    assert chosen.to_dict() == {1: "b", 2: "a", 3: "b", 4: "b", 5: "b"}


def test_pairs_of_folds_train_on_the_three_others(clips):
    for pair in combinations(FOLDS, 2):
        split = held_out_split(clips, pair)
        assert set(clips["fold"].iloc[split.test]) == set(pair)
        assert set(clips["fold"].iloc[split.train]) == set(FOLDS) - set(pair)


def test_validation_writes_a_row_for_each_fold_of_a_pair(monkeypatch, tmp_path, clips):
    def run(name, *, splits, seeds, settings, progress):
        [split] = splits
        part = clips.iloc[split.test][["filename", "fold", "target"]].reset_index(drop=True)
        right = part["fold"] == part["fold"].min()  # of the pair's lower fold every clip is right, of the other none
        scores = np.eye(50)[np.where(right, part["target"], (part["target"] + 1) % 50)]
        table = part.join(pd.DataFrame(scores, columns=results.PROBABILITY_COLUMNS))
        return results.Results(None, {"m": table}, None, None)

    monkeypatch.setattr(nested_cv, "run_experiment", run)
    monkeypatch.setattr(nested_cv, "EXPERIMENTS", {"e": study.Experiment("yamnet", None, None, ("m",))})
    monkeypatch.setattr(nested_cv, "CANDIDATES", {"e": {"one": None}})
    monkeypatch.setattr(nested_cv, "SELECTION_FILE", tmp_path / "selection.csv")
    rows = nested_cv.validate(progress=False)
    assert len(rows) == 20
    assert ((rows["validation"] < rows["left_out"]) == (rows["accuracy"] == 1)).all()
