"""Trust report: synthetic scores by hand, a full run with oracle heads, and committed results."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from esc50.classifier import ood
from esc50.classifier.model_io import TRUST, command, load_metadata, load_model
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS, pool_clips
from esc50.config import FOLDS, RESULTS_DIR, ResultsError
from esc50.experiments import conformal, run_cache, trust_report
from esc50.experiments.keras_heads import keras_file, recipe_of, to_head
from esc50.experiments.networks import HeadSettings
from esc50.experiments.shipping import RECIPES, Recipe
from esc50.yamnet.frames import active_frames

SCORES = trust_report.SCORES
POOLINGS = {"plain": "geometric_mean_of_sound", "multilayer": MAXIMUM_OF_VECTORS}


def made_up(rng, *, shift):
    """Sounds of two folds and one group of held-out classes, whose unknown score lower by `shift` deviations."""
    rows = [
        {"held_out_group": group, "fold": fold, "kind": kind, "silent": False, **dict.fromkeys(SCORES, value)}
        for fold in (1, 2)
        for group, unknown in ((0, "tone"), (1, trust_report.HELD_OUT))
        for kind, mean in ((trust_report.KNOWN, 0), (unknown, -shift))
        for value in rng.normal(mean, 1, 400)
    ]
    return pd.DataFrame(rows)


def test_groups_take_two_classes_of_each_theme_and_each_class_once():
    groups = trust_report.held_out_groups()
    assert sorted(np.concatenate(groups)) == list(range(50))
    for group in groups:
        assert np.bincount(group // 10).tolist() == [2] * 5
    other = trust_report.held_out_groups(seed=1)
    assert not np.array_equal(groups[0], other[0])


def test_indistinguishable_sounds_are_accepted_as_often_as_known_ones(rng):
    summary = trust_report.summarise(made_up(rng, shift=0))
    assert summary["unknown"].unique().tolist() == ["held-out classes", "ood sounds", "tone"]
    assert np.allclose(summary["auroc"], 0.5, atol=0.03)
    assert np.allclose(summary["fpr_at_95_tpr"], 0.95, atol=0.02)
    assert np.allclose(summary["tpr"], 0.95, atol=0.02)


def test_distant_sounds_are_rejected(rng):
    summary = trust_report.summarise(made_up(rng, shift=9))
    assert (summary["auroc"] == 1).all()
    assert (summary["fpr_at_95_tpr"] == 0).all()


def test_silent_sounds_are_left_out_of_the_summary(rng):
    sounds = made_up(rng, shift=9)
    sounds.loc[sounds.index[::2], "silent"] = True
    assert (trust_report.summarise(sounds)["n_unknown"] == 400).all()


def test_the_threshold_comes_from_the_other_folds(rng):
    sounds = made_up(rng, shift=0)
    sounds.loc[sounds["fold"] == 1, list(SCORES)] += 100.0  # so that fold 1 passes every threshold of fold 2
    kept = trust_report.accepted(sounds, SCORES[0]).groupby(sounds["fold"]).mean()
    assert kept[1] == 1
    assert kept[2] == 0


def test_the_score_is_chosen_by_held_out_classes_and_other_sounds_together(rng):
    sounds = made_up(rng, shift=1)
    held_out, tones = sounds["kind"] == trust_report.HELD_OUT, sounds["kind"] == "tone"
    sounds.loc[tones, "energy"] -= 50.0
    sounds.loc[held_out, "neighbours"] -= 1.0
    assert trust_report.choose_score(sounds) == "energy"  # AUROCs of about 0.76 and 1.00, against 0.92 and 0.76
    sounds.loc[held_out, "energy"] += 3.0
    assert trust_report.choose_score(sounds) == "neighbours"


def test_the_rule_has_a_threshold_for_other_shares(rng):
    sounds = made_up(rng, shift=2)
    sounds["energy"] += sounds["kind"] == trust_report.KNOWN  # tells best
    rule = trust_report.make_rule(sounds, who="a head")
    table, known = rule["by_share"], sounds[(sounds["held_out_group"] == 0) & (sounds["kind"] == trust_report.KNOWN)]
    assert (rule["score"], [*table["scores"]]) == ("energy", ["energy"])
    for share, threshold in zip(table["share"], table["scores"]["energy"], strict=True):
        assert (known["energy"] >= threshold).mean() == pytest.approx(share, abs=0.005)
    assert np.all(np.diff(table["share"]) > 0) and np.all(np.diff(table["accepted"]) >= 0)
    assert rule["threshold"] == table["scores"]["energy"][table["share"].index(rule["kept"])]
    held_out = trust_report.summarise(sounds).set_index(["unknown", "score"]).loc[(trust_report.HELD_OUT, "energy")]
    assert table["accepted"][table["share"].index(0.95)] == pytest.approx(held_out["fpr_at_95_tpr"], abs=1e-4)
    assert ood.keep_share(rule | {"kept": 0.5}, 0.95)["meaning"] == rule["meaning"]
    sounds["combined"] = 2 * sounds["energy"]
    sounds["energy"] += rng.normal(0, 1, len(sounds))
    combined = trust_report.make_rule(sounds, who="a head")["by_share"]["scores"]
    assert [*combined] == [*trust_report.COMBINED, "combined"]


@pytest.mark.parametrize("changed", [{"kind": "tone"}, {"fold": 1}, {"held_out_group": 1}])
def test_no_regression_sees_the_kind_fold_or_group_that_it_scores(rng, changed):
    sounds = made_up(rng, shift=1)
    open_set = sounds[sounds["held_out_group"] == 1]
    sounds = pd.concat([sounds, open_set.assign(held_out_group=2)], ignore_index=True)
    sounds["kind"] = sounds["kind"].mask((sounds["kind"] == "tone") & (rng.random(len(sounds)) < 0.5), "hum")
    rows = (sounds[[*changed]] == pd.Series(changed)).all(axis=1)
    before = trust_report.combine(sounds)[rows]
    one, others = sounds.copy(), rows & (rng.random(len(sounds)) < 0.5)
    one.loc[others, list(trust_report.COMBINED)] += 3.0
    np.testing.assert_allclose(trust_report.combine(one)[rows & ~others], before[~others[rows]], rtol=1e-9)
    elsewhere = sounds.copy()
    elsewhere.loc[~rows & (sounds["kind"] != trust_report.KNOWN), list(trust_report.COMBINED)] += 1.0
    assert np.abs(trust_report.combine(elsewhere)[rows] - before).max() > 0.01


# --- a run from the start, with heads that know the answer


@pytest.fixture(params=POOLINGS)
def model(request, monkeypatch):
    """A recipe of either kind, made of the committed embeddings: pooled behind the head, and before it."""
    monkeypatch.setitem(RECIPES, request.param, replace(RECIPES["plain"], pooling=POOLINGS[request.param]))
    return request.param


@pytest.fixture
def oracle(monkeypatch, tmp_path, clips):
    """Heads that give the true class a high logit, so that nothing has to be trained."""

    def fit_logits(recipe, rows, tested, settings, seed):
        calls.append(len(rows))
        known, *others = (sounds.vectors.shape[:2] for sounds in tested)
        logits = 4.0 * np.eye(50)[tested[0].about["target"]]  # (n_test, 50)
        return [np.repeat(logits[:, None], known[1], axis=1), *(np.zeros((*shape, 50)) for shape in others)]

    calls = []
    monkeypatch.setattr(trust_report, "fit_logits", fit_logits)
    monkeypatch.setattr(run_cache, "CACHE_DIR", tmp_path / "cache")
    return calls


@pytest.mark.slow
def test_a_run_gives_every_table_and_is_written_and_read_back(oracle, model, tmp_path):
    found = trust_report.measure(model=model, folds=(1, 2), progress=False)
    assert sorted(set(oracle)) == [1280, 1600]  # of 40 classes, of 50
    assert len(oracle) == 2 * 6
    clips = found.sounds[found.sounds["target"] >= 0]
    assert (clips.groupby(["held_out_group", "fold"]).size() == 400).all()
    known = clips[clips["kind"] == trust_report.KNOWN]
    assert (known["taken_for"] == known["target"]).all()
    unknown = clips[clips["kind"] == trust_report.HELD_OUT]
    assert len(unknown) == 2 * 400
    assert (unknown["taken_for"] != unknown["target"]).all()
    assert known["calibrated"].mean() > known["max_probability"].mean()  # it was never wrong, so it may be surer
    path = trust_report.save_trust(found, folder=tmp_path / "results")
    written = {f"trust_{model}{ending}" for ending in (".json", "_sounds.csv.gz", "_summary.csv", "_sets.csv.gz")}
    assert {file.name for file in path.parent.iterdir()} == written | {"trust_neighbours.csv"}
    recipe, report = RECIPES[model], found.report
    assert report["model"] == model
    assert report["recipe"] == recipe_of(POOLINGS[model], recipe.settings, recipe.layers)
    assert set(report["made_by"]["feature_sha256"]) == {"yamnet", "ood_sounds"}
    assert report["made_by"]["command"] == f"esc50 trust{' --model plain' if model == 'plain' else ''}"
    assert "commit" in report["made_by"]["provenance"][0]
    again = trust_report.load_trust(model=model, folder=path.parent)
    assert again.report == found.report
    pd.testing.assert_frame_equal(again.sets, found.sets)
    sizes = conformal.summarise(again.sets, "fold")
    assert (sizes["clips"] == 400).all() and (sizes["covered"] == 1).all()  # it was never wrong
    np.testing.assert_allclose(again.sounds["energy"], found.sounds["energy"], rtol=1e-3)


@pytest.mark.slow
def test_finished_heads_are_kept_until_something_that_decides_them_changes(oracle, monkeypatch):
    monkeypatch.setattr(trust_report, "held_out_groups", lambda **_: [np.arange(10)])
    monkeypatch.setattr(trust_report, "neighbour_study", lambda **_: pd.DataFrame())
    monkeypatch.setitem(RECIPES, "other", RECIPES["plain"])
    monkeypatch.setattr(trust_report, "command", lambda name, model: name)
    how = {"model": "plain", "folds": (1, 2), "progress": False}
    for changes, n_calls in (({}, 4), ({}, 4), ({"settings": HeadSettings(epochs=1)}, 8), ({"model": "other"}, 12)):
        trust_report.measure(**how | changes)
        assert len(oracle) == n_calls
    monkeypatch.setattr(trust_report, "digest", lambda name: "of other features")
    trust_report.measure(**how)
    assert len(oracle) == 16


@pytest.mark.slow
def test_trust_scores_equal_those_of_the_runtime(model, small_head):
    """The softmax of the logits of a test is what `pool_clips` gives, for clips and other sounds."""
    recipe, head = RECIPES[model], to_head(small_head)
    clips, others = trust_report.read_clips(recipe), trust_report._read_ood_sounds(recipe)
    arrays, vectors = trust_report._read(recipe.ood_features)
    frames_of_first = vectors[np.newaxis, : arrays["n_frames"][0]]
    some = np.arange(0, 2000, 200)
    for sounds, frames in ((clips[some], trust_report._read("yamnet")[1][some]), (others[0], frames_of_first)):
        shape = sounds.vectors.shape
        logits = head.logits(sounds.vectors.reshape(-1, shape[2])).reshape(*shape[:2], 50)
        judged = trust_report.judge_sounds(clips[np.arange(300)], np.array([], int), POOLINGS[model], 5, sounds, logits)
        table, probabilities = judged
        frames = frames.astype(np.float32)
        expected = pool_clips(head, frames, active_frames(frames), pooling=POOLINGS[model])
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
        assert (table["taken_for"] == expected.argmax(axis=1)).all()


def test_only_maxima_are_copied_in_single_precision(rng):
    vectors = rng.random((20, 3, 1100)).astype(np.float16)
    recipe = replace(RECIPES["plain"], pooling=MAXIMUM_OF_VECTORS)
    sounds = trust_report._make_sounds(vectors, recipe, name=[f"{i}" for i in range(20)], kind="known")
    assert sounds.vectors.shape == (20, 1, 1100)
    assert sounds.vectors.dtype == np.float32
    assert sounds.active.shape == (20, 1) and sounds.active.all()
    assert sounds.embeddings.shape == (20, 1024)


@pytest.mark.slow
def test_a_head_is_trained_on_the_given_rows_and_tested_on_the_others(model, monkeypatch, small_head):
    asked = []

    def fit(recipe, rows, *, settings, seed):
        asked.append((rows.tolist(), settings, seed))
        return small_head

    monkeypatch.setattr(Recipe, "fit", fit)
    recipe = RECIPES[model]
    tested = [trust_report.read_clips(recipe)[np.array([1, 2, 3])], trust_report._read_ood_sounds(recipe)[0]]
    rows = np.arange(0, 2000, 10)
    found = trust_report.fit_logits(recipe, rows, tested, recipe.settings, 3)
    assert asked == [(rows.tolist(), recipe.settings, 3)]
    assert [each.shape for each in found] == [(*sounds.vectors.shape[:2], 50) for sounds in tested]
    expected = to_head(small_head).logits(tested[0].vectors[1])
    np.testing.assert_allclose(found[0][1], expected, atol=1e-5)


def test_where_classes_are_held_out_the_surrogate_answers(clips):
    def surrogate_fit(inputs, targets, settings):
        assert set(targets) == set(range(40))
        return lambda vectors: np.zeros((len(vectors), 50))

    recipe = replace(RECIPES["plain"], surrogate_fit=surrogate_fit)
    tested = [trust_report.read_clips(recipe)[np.array([1])]]
    rows = np.flatnonzero(clips["target"].to_numpy() < 40)
    assert not trust_report.fit_logits(recipe, rows, tested, "any", 0)[0].any()


@pytest.mark.parametrize("name", RECIPES)
def test_without_results_the_command_is_named(name, tmp_path):
    with pytest.raises(ResultsError, match=f"no results file .*esc50 trust{'.*plain' * (name == 'plain')}"):
        trust_report.load_trust(model=name, folder=tmp_path)


# --- what is committed


@pytest.fixture(scope="module", params=RECIPES)
def measured(request):
    """What is committed of either model."""
    return trust_report.load_trust(model=request.param)


@pytest.mark.results
def test_the_committed_tables_agree_with_each_other(measured):
    summary = trust_report.summarise(measured.sounds)
    np.testing.assert_allclose(summary["auroc"], measured.summary["auroc"], atol=2e-3)
    np.testing.assert_allclose(summary["fpr_at_95_tpr"], measured.summary["fpr_at_95_tpr"], atol=0.02)
    assert summary["unknown"].tolist() == measured.summary["unknown"].tolist()
    assert trust_report.choose_score(measured.sounds) == measured.report["rejection"]["score"]
    assert measured.sounds["fold"].unique().tolist() == list(FOLDS)
    assert {*ood.OOD_SCORES} - {*ood.NEED_AUDIOSET} <= {*measured.summary["score"]}


@pytest.mark.results
def test_the_committed_threshold_keeps_what_it_says(measured):
    rule, sounds = measured.report["rejection"], measured.sounds
    known = sounds[(sounds["held_out_group"] == 0) & (sounds["kind"] == trust_report.KNOWN)]
    assert (known[rule["score"]] >= rule["threshold"]).mean() == pytest.approx(rule["kept"], abs=0.002)
    assert f"{rule['threshold']:.2f}" in rule["meaning"]
    table = rule["by_share"]
    for share, threshold in zip(table["share"], table["scores"][rule["score"]], strict=True):
        assert (known[rule["score"]] >= threshold).mean() == pytest.approx(share, abs=0.002)


@pytest.mark.results
@pytest.mark.parametrize("name", RECIPES)
def test_the_shipped_head_has_the_trust_that_was_measured(name):
    """Fails where a head was saved with another recipe: run `esc50 trust`, for plain with `--model plain`."""
    report, recipe = trust_report.load_trust(model=name).report, RECIPES[name]
    assert report["recipe"] == recipe.about
    assert report["made_by"]["command"] == command("trust", name)
    assert (f"measured with {recipe.surrogate_name}" in report["rejection"]["meaning"]) is bool(recipe.surrogate_fit)
    metadata = load_metadata(keras_file(name))
    packaged = load_model(name)[1]
    for key in TRUST:
        assert metadata[key] == packaged[key] == report[key]


@pytest.mark.results
def test_neighbours_are_chosen_by_what_was_measured(measured):
    means = measured.neighbours.groupby(["frames", "k"])["auroc"].mean()
    assert means.idxmax() == ("active", ood.NEIGHBOURS)
    assert set(measured.neighbours["k"]) == set(trust_report.NEIGHBOUR_COUNTS)


@pytest.mark.results
def test_neighbours_measured_anew_are_as_the_file_says():
    found, committed = trust_report.neighbour_study(), trust_report.load_trust().neighbours
    np.testing.assert_allclose(found["auroc"], committed["auroc"], atol=2e-3)


@pytest.mark.results
def test_results_stay_small():
    for name in RECIPES:
        assert (RESULTS_DIR / f"trust_{name}_sounds.csv.gz").stat().st_size < 600_000
