from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.special import softmax

from esc50.apps.cli import cli
from esc50.classifier import model_io, ood
from esc50.classifier.model_io import command
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS, pool_clips
from esc50.config import FOLDS, RESULTS_DIR, HeadSettings, ResultsError, TrustSettings
from esc50.experiments import run_cache, trust_report
from esc50.experiments.shipping import RECIPES
from esc50.yamnet.frames import active_frames

SCORES = trust_report.SCORES
POOLINGS = {"plain": "geometric_mean_of_sound", "layers": MAXIMUM_OF_VECTORS}


@pytest.fixture(scope="module", params=RECIPES)
def measured(request):
    """What is committed of either model."""
    return trust_report.load_trust(model=request.param)


def made_up(rng, *, shift):
    """Sounds of two folds and one left-out group, whose unknown score lower by `shift` standard deviations."""
    rows = [
        {"left_out": left_out, "fold": fold, "kind": kind, "silent": False, **dict.fromkeys(SCORES, value)}
        for fold in (1, 2)
        for left_out, unknown in ((0, "tone"), (1, trust_report.LEFT_OUT))
        for kind, mean in ((trust_report.KNOWN, 0), (unknown, -shift))
        for value in rng.normal(mean, 1, 400)
    ]
    return pd.DataFrame(rows)


def test_groups_take_two_classes_of_each_theme_and_each_class_once():
    groups = trust_report.left_out_groups()
    assert sorted(np.concatenate(groups)) == list(range(50))
    for group in groups:
        assert np.bincount(group // 10).tolist() == [2] * 5
    other = trust_report.left_out_groups(settings=replace(TrustSettings(), seed=1))
    assert not np.array_equal(groups[0], other[0])


def test_what_cannot_be_told_apart_is_accepted_as_often_as_the_known(rng):
    summary = trust_report.summarise(made_up(rng, shift=0), kept=0.95)
    assert summary["unknown"].unique().tolist() == ["left out", "foreign", "tone"]
    assert np.allclose(summary["auroc"], 0.5, atol=0.03)
    assert np.allclose(summary["false_acceptance"], 0.95, atol=0.02)
    assert np.allclose(summary["kept"], 0.95, atol=0.02)


def test_what_is_far_off_is_refused(rng):
    summary = trust_report.summarise(made_up(rng, shift=9), kept=0.95)
    assert (summary["auroc"] == 1).all()
    assert (summary["false_acceptance"] == 0).all()


def test_sounds_with_nothing_to_hear_need_no_score(rng):
    sounds = made_up(rng, shift=9)
    sounds.loc[sounds.index[::2], "silent"] = True
    assert (trust_report.summarise(sounds)["n_unknown"] == 400).all()


def test_the_threshold_comes_from_the_other_folds(rng):
    sounds = made_up(rng, shift=0)
    sounds.loc[sounds["fold"] == 1, list(SCORES)] += 100.0  # so that fold 1 passes every threshold of fold 2
    kept = trust_report.accepted(sounds, SCORES[0], kept=0.95).groupby(sounds["fold"]).mean()
    assert kept[1] == 1
    assert kept[2] == 0


def test_the_score_is_chosen_by_left_out_classes_and_foreign_sounds_together(rng):
    sounds = made_up(rng, shift=1)
    left_out, tones = sounds["kind"] == trust_report.LEFT_OUT, sounds["kind"] == "tone"
    sounds.loc[tones, "energy"] -= 50.0
    sounds.loc[left_out, "neighbours"] -= 1.0
    assert trust_report.choose_score(sounds) == "energy"  # AUROCs of about 0.76 and 1.00, against 0.92 and 0.76
    sounds.loc[left_out, "energy"] += 3.0
    assert trust_report.choose_score(sounds) == "neighbours"


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

    calls, targets = [], trust_report.load_clips()["target"].to_numpy()
    monkeypatch.setattr(trust_report, "fit_logits", fit_logits)
    monkeypatch.setattr(run_cache, "RUNS_DIR", tmp_path)
    return calls


def test_a_run_gives_every_table_and_is_written_and_read_back(oracle, model, tmp_path):
    found = trust_report.measure(model=model, folds=(1, 2), progress=False)
    assert sorted(set(oracle)) == [1280, 1600]  # of 40 classes, of 50
    assert len(oracle) == 2 * 6
    clips = found.sounds[found.sounds["target"] >= 0]
    assert (clips.groupby(["left_out", "fold"]).size() == 400).all()
    known = clips[clips["kind"] == trust_report.KNOWN]
    assert (known["taken_for"] == known["target"]).all()
    unknown = clips[clips["kind"] == trust_report.LEFT_OUT]
    assert len(unknown) == 2 * 400
    assert (unknown["taken_for"] != unknown["target"]).all()
    assert known["calibrated"].mean() > known["max_probability"].mean()  # it was never wrong, so it may be surer
    path = trust_report.save_trust(found, folder=tmp_path / "results")
    stem = {"plain": "trust", "layers": "trust_layers"}[model]
    written = {f"{stem}.json", f"{stem}_sounds.csv.gz", f"{stem}_summary.csv", "trust_neighbours.csv"}
    assert {file.name for file in path.parent.iterdir()} == written
    assert path.name == model_io.TRUST_FILES[model].name
    recipe, card = RECIPES[model], found.card
    assert card["model"] == model
    assert card["recipe"] == model_io.recipe(POOLINGS[model], recipe.settings, recipe.layers)
    assert set(card["made_by"]["feature_sha256"]) == set(recipe.features)
    assert card["made_by"]["command"] == f"python -m esc50 trust{' --model plain' if model == 'plain' else ''}"
    again = trust_report.load_trust(model=model, folder=path.parent)
    assert again.card == found.card
    assert len(again.sounds) == len(found.sounds)
    np.testing.assert_allclose(again.sounds["energy"], found.sounds["energy"], rtol=1e-3)


@pytest.fixture
def few(monkeypatch):
    """One group of left-out classes, and no study of neighbours: for tests of something else."""
    monkeypatch.setattr(trust_report, "left_out_groups", lambda **_: [np.arange(10)])
    monkeypatch.setattr(trust_report, "neighbour_study", lambda **_: pd.DataFrame())


def test_finished_heads_are_kept_until_something_that_decides_them_changes(oracle, few, monkeypatch):
    how = {"model": "plain", "folds": (1, 2), "progress": False}
    trust_report.measure(**how)
    trust_report.measure(**how)
    assert len(oracle) == 4
    trust_report.measure(settings=HeadSettings(epochs=1), **how)
    assert len(oracle) == 8
    monkeypatch.setattr(trust_report, "digest", lambda name: "of other features")
    trust_report.measure(**how)
    assert len(oracle) == 12


def test_recipes_that_differ_only_in_their_names_have_heads_of_their_own(oracle, few, monkeypatch):
    for name in ("one", "two"):
        monkeypatch.setitem(RECIPES, name, RECIPES["plain"])
        trust_report.measure(model=name, folds=(1, 2), progress=False)
    assert len(oracle) == 8


def test_what_is_judged_is_what_the_shipped_model_would_say(model, small_head):
    """The softmax of the logits of a test is what `esc50.classifier.pooling.pool_clips` gives, for clips and foreign sounds."""
    clips, foreign = trust_report._read_clips(model), trust_report._read_foreign(model)
    some = clips.of(np.arange(0, 2000, 200))
    judge = trust_report._Judge(clips.of(np.arange(300)), np.array([], int), POOLINGS[model], k=5)
    vectors, heard = RECIPES[model].read()[::200], RECIPES[model].read_foreign()

    def head(frames):
        return softmax(ood.head_logits(small_head, frames), axis=1)

    for sounds, frames in ((some, vectors), (foreign[0], heard["vectors"][np.newaxis, : heard["n_frames"][0]])):
        shape = sounds.vectors.shape
        logits = ood.head_logits(small_head, sounds.vectors.reshape(-1, shape[2])).reshape(*shape[:2], 50)
        table, probabilities = judge(sounds, logits)
        expected = pool_clips(head, frames, active_frames(frames), pooling=POOLINGS[model])
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
        assert (table["taken_for"] == expected.argmax(axis=1)).all()


def test_only_maxima_are_copied_in_single_precision(monkeypatch, rng):
    vectors = rng.random((2000, 3, 1100)).astype(np.float16)
    monkeypatch.setitem(RECIPES, "layers", replace(RECIPES["plain"], pooling=MAXIMUM_OF_VECTORS, read=lambda: vectors))
    sounds = trust_report._read_clips("layers")
    assert sounds.vectors.shape == (2000, 1, 1100)
    assert sounds.vectors.dtype == np.float32
    assert sounds.active.shape == (2000, 1) and sounds.active.all()
    assert sounds.embeddings.shape == (2000, 1024)


def test_a_head_is_trained_on_the_rows_given_and_asked_about_the_others(model, monkeypatch, small_head):
    asked = []

    def fit(rows, *, settings, seed):
        asked.append((rows.tolist(), settings, seed))
        return small_head

    monkeypatch.setitem(RECIPES, model, replace(RECIPES[model], fit=fit))
    clips, foreign = trust_report._read_clips(model), np.ones((4, 1024), np.float32)
    rows = {"train_rows": np.array([5, 9]), "test_rows": np.array([1, 2, 3])}
    found = trust_report.fit_logits(clips.vectors, foreign, model=model, settings="any", seed=3, made_from="", **rows)
    assert asked == [([5, 9], "any", 3)]
    assert found[0].shape == (3, 1 if model == "layers" else 10, 50)
    np.testing.assert_allclose(found[0][1], ood.head_logits(small_head, clips.vectors[2]), atol=1e-5)
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
        return trust_report.Trust(None, None, None, {"model": model, "rejection": {"meaning": "Such is the rule."}})

    monkeypatch.setattr(trust_report, "measure", measure)
    monkeypatch.setattr(trust_report, "save_trust", lambda trust: trust.card["model"])
    monkeypatch.setattr(model_io, "update_trust", lambda card: "a head" if card["model"] == "layers" else None)
    result = CliRunner().invoke(cli, ["trust", *arguments])
    assert result.exit_code == 0
    assert f"wrote {asked}\n" in result.output and said in result.output and "Such is the rule." in result.output


@pytest.mark.parametrize("name", RECIPES)
def test_without_results_the_command_is_named(name, tmp_path):
    with pytest.raises(ResultsError, match=f"no results file .*python -m esc50 trust{'.*plain' * (name == 'plain')}"):
        trust_report.load_trust(model=name, folder=tmp_path)


# --- what is committed


def test_the_committed_tables_agree_with_each_other(measured):
    summary = trust_report.summarise(measured.sounds)
    np.testing.assert_allclose(summary["auroc"], measured.summary["auroc"], atol=2e-3)
    np.testing.assert_allclose(summary["false_acceptance"], measured.summary["false_acceptance"], atol=0.02)
    assert trust_report.choose_score(measured.sounds) == measured.card["rejection"]["score"]
    assert measured.sounds["fold"].unique().tolist() == list(FOLDS)


def test_the_committed_threshold_keeps_what_it_says(measured):
    rule, sounds = measured.card["rejection"], measured.sounds
    known = sounds[(sounds["left_out"] == 0) & (sounds["kind"] == trust_report.KNOWN)]
    assert (known[rule["score"]] >= rule["threshold"]).mean() == pytest.approx(rule["kept"], abs=0.002)
    assert f"{rule['threshold']:.2f}" in rule["meaning"]


@pytest.mark.parametrize("name", RECIPES)
def test_the_shipped_head_has_the_trust_that_was_measured(name):
    """Fails where a head was saved with another recipe: run `python -m esc50 trust`, for plain with `--model plain`."""
    trust, recipe = trust_report.load_trust(model=name).card, RECIPES[name]
    made_by = {"layers": [14]} | trust["recipe"]  # which one from before there was a choice of layers lacks
    assert made_by == model_io.recipe(recipe.pooling, recipe.settings, recipe.layers)
    card = model_io.load_metadata(model_io.MODELS[name])
    assert trust["made_by"]["command"] == command("trust", name)
    assert recipe.never_shown in trust["rejection"]["meaning"]
    assert {key: card[key] for key in model_io.TRUST_KEYS} == {key: trust[key] for key in model_io.TRUST_KEYS}


def test_neighbours_are_chosen_by_what_was_measured(measured):
    means = measured.neighbours.groupby(["frames", "k"])["auroc"].mean()
    assert means.idxmax() == ("with sound", TrustSettings().neighbours)
    assert set(measured.neighbours["k"]) == set(trust_report.NEIGHBOUR_COUNTS)


def test_results_stay_small():
    for name in ("trust_sounds.csv.gz", "trust_layers_sounds.csv.gz"):
        assert (RESULTS_DIR / name).stat().st_size < 500_000


def test_every_score_is_measured(measured):
    assert set(measured.summary["score"]) == set(ood.SCORES)
