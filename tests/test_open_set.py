from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.special import softmax

from esc50 import open_set, rejection, runs, saved
from esc50.__main__ import cli
from esc50.config import FOLDS, RESULTS_DIR, HeadSettings, TrustSettings
from esc50.errors import ResultsError
from esc50.evaluation import MAXIMUM_OF_VECTORS, pool_clips
from esc50.recipes import RECIPES
from esc50.shipped import command
from esc50.yamnet import audible_frames

SCORES = open_set.SCORES
POOLINGS = {"plain": "geometric_mean_of_sound", "layers": MAXIMUM_OF_VECTORS}


@pytest.fixture(scope="module", params=RECIPES)
def measured(request):
    """What is committed of either model."""
    return open_set.load_trust(model=request.param)


def made_up(rng, *, shift):
    """Sounds of two folds and one left-out group, whose unknown score lower by `shift` standard deviations."""
    rows = [
        {"left_out": left_out, "fold": fold, "kind": kind, "silent": False, **dict.fromkeys(SCORES, value)}
        for fold in (1, 2)
        for left_out, unknown in ((0, "tone"), (1, open_set.LEFT_OUT))
        for kind, mean in ((open_set.KNOWN, 0), (unknown, -shift))
        for value in rng.normal(mean, 1, 400)
    ]
    return pd.DataFrame(rows)


def test_groups_take_two_classes_of_each_theme_and_each_class_once():
    groups = open_set.left_out_groups()
    assert sorted(np.concatenate(groups)) == list(range(50))
    for group in groups:
        assert np.bincount(group // 10).tolist() == [2] * 5
    other = open_set.left_out_groups(settings=replace(TrustSettings(), seed=1))
    assert not np.array_equal(groups[0], other[0])


def test_what_cannot_be_told_apart_is_accepted_as_often_as_the_known(rng):
    summary = open_set.summarise(made_up(rng, shift=0), kept=0.95)
    assert summary["unknown"].unique().tolist() == ["left out", "foreign", "tone"]
    assert np.allclose(summary["auroc"], 0.5, atol=0.03)
    assert np.allclose(summary["false_acceptance"], 0.95, atol=0.02)
    assert np.allclose(summary["kept"], 0.95, atol=0.02)


def test_what_is_far_off_is_refused(rng):
    summary = open_set.summarise(made_up(rng, shift=9), kept=0.95)
    assert (summary["auroc"] == 1).all()
    assert (summary["false_acceptance"] == 0).all()


def test_sounds_with_nothing_to_hear_need_no_score(rng):
    sounds = made_up(rng, shift=9)
    sounds.loc[sounds.index[::2], "silent"] = True
    assert (open_set.summarise(sounds)["n_unknown"] == 400).all()


def test_the_threshold_comes_from_the_other_folds(rng):
    sounds = made_up(rng, shift=0)
    sounds.loc[sounds["fold"] == 1, list(SCORES)] += 100.0  # so that fold 1 passes every threshold of fold 2
    kept = open_set.accepted(sounds, SCORES[0], kept=0.95).groupby(sounds["fold"]).mean()
    assert kept[1] == 1
    assert kept[2] == 0


def test_the_score_is_chosen_by_left_out_classes_and_foreign_sounds_together(rng):
    sounds = made_up(rng, shift=1)
    left_out, tones = sounds["kind"] == open_set.LEFT_OUT, sounds["kind"] == "tone"
    sounds.loc[tones, "energy"] -= 50.0
    sounds.loc[left_out, "neighbours"] -= 1.0
    assert open_set.choose_score(sounds) == "energy"  # AUROCs of about 0.76 and 1.00, against 0.92 and 0.76
    sounds.loc[left_out, "energy"] += 3.0
    assert open_set.choose_score(sounds) == "neighbours"


# --- a run from the start, with heads that know the answer


@pytest.fixture(params=POOLINGS)
def model(request, monkeypatch):
    """A recipe of either kind, made of the committed embeddings: pooled behind the head, and before it."""
    toy = replace(RECIPES["plain"], pooling=POOLINGS[request.param])
    monkeypatch.setitem(RECIPES, request.param, toy)
    return request.param


@pytest.fixture
def oracle(monkeypatch, tmp_path):
    """Heads that give the true class a high logit, so that nothing has to be trained."""

    def fit_logits(clips, foreign, *, model, train_rows, test_rows, settings, seed, made_from):
        calls.append(len(train_rows))
        logits = 4.0 * np.eye(50)[targets[test_rows]]  # (n_test, 50)
        return np.repeat(logits[:, np.newaxis], clips.shape[1], axis=1), np.zeros((len(foreign), 50))

    calls, targets = [], open_set.load_clips()["target"].to_numpy()
    monkeypatch.setattr(open_set, "fit_logits", fit_logits)
    monkeypatch.setattr(runs, "RUNS_DIR", tmp_path)
    return calls


def test_a_run_gives_every_table_and_is_written_and_read_back(oracle, model, tmp_path):
    found = open_set.measure(model=model, folds=(1, 2), progress=False)
    assert sorted(set(oracle)) == [1280, 1600]  # of 40 classes, of 50
    assert len(oracle) == 2 * 6
    clips = found.sounds[found.sounds["target"] >= 0]
    assert (clips.groupby(["left_out", "fold"]).size() == 400).all()
    known = clips[clips["kind"] == open_set.KNOWN]
    assert (known["taken_for"] == known["target"]).all()
    unknown = clips[clips["kind"] == open_set.LEFT_OUT]
    assert len(unknown) == 2 * 400
    assert (unknown["taken_for"] != unknown["target"]).all()
    assert known["calibrated"].mean() > known["max_probability"].mean()  # it was never wrong, so it may be surer
    path = open_set.save_trust(found, folder=tmp_path / "results")
    stem = {"plain": "trust", "layers": "trust_layers"}[model]
    written = {f"{stem}.json", f"{stem}_sounds.csv.gz", f"{stem}_summary.csv", "trust_neighbours.csv"}
    assert {file.name for file in path.parent.iterdir()} == written
    assert path.name == saved.TRUST_FILES[model].name
    recipe, card = RECIPES[model], found.card
    assert card["model"] == model
    assert card["recipe"] == saved.recipe(POOLINGS[model], recipe.settings, recipe.layers)
    assert set(card["made_by"]["feature_sha256"]) == set(recipe.features)
    assert card["made_by"]["command"] == f"python -m esc50 trust{' --model plain' if model == 'plain' else ''}"
    again = open_set.load_trust(model=model, folder=path.parent)
    assert again.card == found.card
    assert len(again.sounds) == len(found.sounds)
    np.testing.assert_allclose(again.sounds["energy"], found.sounds["energy"], rtol=1e-3)


@pytest.fixture
def few(monkeypatch):
    """One group of left-out classes, and no study of neighbours: for tests of something else."""
    monkeypatch.setattr(open_set, "left_out_groups", lambda **_: [np.arange(10)])
    monkeypatch.setattr(open_set, "neighbour_study", lambda **_: pd.DataFrame())


def test_finished_heads_are_kept_until_something_that_decides_them_changes(oracle, few, monkeypatch):
    how = {"model": "plain", "folds": (1, 2), "progress": False}
    open_set.measure(**how)
    open_set.measure(**how)
    assert len(oracle) == 4
    open_set.measure(settings=HeadSettings(epochs=1), **how)
    assert len(oracle) == 8
    monkeypatch.setattr(open_set, "digest", lambda name: "of other features")
    open_set.measure(**how)
    assert len(oracle) == 12


def test_recipes_that_differ_only_in_their_names_have_heads_of_their_own(oracle, few, monkeypatch):
    for name in ("one", "two"):
        monkeypatch.setitem(RECIPES, name, RECIPES["plain"])
        open_set.measure(model=name, folds=(1, 2), progress=False)
    assert len(oracle) == 8


def test_what_is_judged_is_what_the_shipped_model_would_say(model, small_head):
    """The softmax of the logits of a test is what `esc50.evaluation.pool_clips` gives, for clips and foreign sounds."""
    clips, foreign = open_set._read_clips(model), open_set._read_foreign(model)
    some = clips.of(np.arange(0, 2000, 200))
    judge = open_set._Judge(clips.of(np.arange(300)), np.array([], int), POOLINGS[model], k=5)
    vectors, heard = RECIPES[model].read()[::200], RECIPES[model].read_foreign()

    def head(frames):
        return softmax(rejection.head_logits(small_head, frames), axis=1)

    for sounds, frames in ((some, vectors), (foreign[0], heard["vectors"][np.newaxis, : heard["n_frames"][0]])):
        shape = sounds.vectors.shape
        logits = rejection.head_logits(small_head, sounds.vectors.reshape(-1, shape[2])).reshape(*shape[:2], 50)
        table, probabilities = judge(sounds, logits)
        expected = pool_clips(head, frames, audible_frames(frames), pooling=POOLINGS[model])
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
        assert (table["taken_for"] == expected.argmax(axis=1)).all()


def test_only_maxima_are_copied_in_single_precision(monkeypatch, rng):
    vectors = rng.random((2000, 3, 1100)).astype(np.float16)
    monkeypatch.setitem(RECIPES, "layers", replace(RECIPES["plain"], pooling=MAXIMUM_OF_VECTORS, read=lambda: vectors))
    sounds = open_set._read_clips("layers")
    assert sounds.vectors.shape == (2000, 1, 1100)
    assert sounds.vectors.dtype == np.float32
    assert sounds.audible.shape == (2000, 1) and sounds.audible.all()
    assert sounds.embeddings.shape == (2000, 1024)


def test_a_head_is_trained_on_the_rows_given_and_asked_about_the_others(model, monkeypatch, small_head):
    asked = []

    def fit(rows, *, settings, seed):
        asked.append((rows.tolist(), settings, seed))
        return small_head

    monkeypatch.setitem(RECIPES, model, replace(RECIPES[model], fit=fit))
    clips, foreign = open_set._read_clips(model), np.ones((4, 1024), np.float32)
    rows = {"train_rows": np.array([5, 9]), "test_rows": np.array([1, 2, 3])}
    found = open_set.fit_logits(clips.vectors, foreign, model=model, settings="any", seed=3, made_from="", **rows)
    assert asked == [([5, 9], "any", 3)]
    assert found[0].shape == (3, 1 if model == "layers" else 10, 50)
    np.testing.assert_allclose(found[0][1], rejection.head_logits(small_head, clips.vectors[2]), atol=1e-5)
    assert found[1].shape == (4, 50)


@pytest.mark.parametrize(
    ("arguments", "asked", "said"),
    [
        ([], "layers", "updated the card of a head"),
        (["--model", "plain"], "plain", "run `python -m esc50 ship --model plain`"),
    ],
)
def test_the_command_measures_one_model_and_writes_into_its_card(monkeypatch, arguments, asked, said):
    def measure(*, model):
        return open_set.Trust(None, None, None, {"model": model, "rejection": {"meaning": "Such is the rule."}})

    monkeypatch.setattr(open_set, "measure", measure)
    monkeypatch.setattr(open_set, "save_trust", lambda trust: trust.card["model"])
    monkeypatch.setattr(saved, "update_trust", lambda card: "a head" if card["model"] == "layers" else None)
    result = CliRunner().invoke(cli, ["trust", *arguments])
    assert result.exit_code == 0
    assert f"wrote {asked}\n" in result.output and said in result.output and "Such is the rule." in result.output


@pytest.mark.parametrize("name", RECIPES)
def test_without_results_the_command_is_named(name, tmp_path):
    with pytest.raises(ResultsError, match=f"no results file .*python -m esc50 trust{'.*plain' * (name == 'plain')}"):
        open_set.load_trust(model=name, folder=tmp_path)


# --- what is committed


def test_the_committed_tables_agree_with_each_other(measured):
    summary = open_set.summarise(measured.sounds)
    np.testing.assert_allclose(summary["auroc"], measured.summary["auroc"], atol=2e-3)
    np.testing.assert_allclose(summary["false_acceptance"], measured.summary["false_acceptance"], atol=0.02)
    assert open_set.choose_score(measured.sounds) == measured.card["rejection"]["score"]
    assert measured.sounds["fold"].unique().tolist() == list(FOLDS)


def test_the_committed_threshold_keeps_what_it_says(measured):
    rule, sounds = measured.card["rejection"], measured.sounds
    known = sounds[(sounds["left_out"] == 0) & (sounds["kind"] == open_set.KNOWN)]
    assert (known[rule["score"]] >= rule["threshold"]).mean() == pytest.approx(rule["kept"], abs=0.002)
    assert f"{rule['threshold']:.2f}" in rule["meaning"]


@pytest.mark.parametrize("name", RECIPES)
def test_the_shipped_head_has_the_trust_that_was_measured(name):
    """Fails where a head was saved with another recipe: run `python -m esc50 trust`, for plain with `--model plain`."""
    trust, recipe = open_set.load_trust(model=name).card, RECIPES[name]
    made_by = {"layers": [14]} | trust["recipe"]  # which one from before there was a choice of layers lacks
    assert made_by == saved.recipe(recipe.pooling, recipe.settings, recipe.layers)
    card = saved.load_card(saved.MODELS[name])
    assert trust["made_by"]["command"] == command("trust", name)
    assert recipe.never_shown in trust["rejection"]["meaning"]
    assert {key: card[key] for key in saved.TRUST_KEYS} == {key: trust[key] for key in saved.TRUST_KEYS}


def test_neighbours_are_chosen_by_what_was_measured(measured):
    means = measured.neighbours.groupby(["frames", "k"])["auroc"].mean()
    assert means.idxmax() == ("with sound", TrustSettings().neighbours)
    assert set(measured.neighbours["k"]) == set(open_set.NEIGHBOUR_COUNTS)


def test_results_stay_small():
    for name in ("trust_sounds.csv.gz", "trust_layers_sounds.csv.gz"):
        assert (RESULTS_DIR / name).stat().st_size < 500_000


def test_every_score_is_measured(measured):
    assert set(measured.summary["score"]) == set(rejection.SCORES)
