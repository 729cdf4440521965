"""The open-set benchmark: protocol, metrics by hand, external scores, and committed results."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score, roc_curve

from esc50.apps.cli import cli
from esc50.classifier.ood import COMBINED
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS
from esc50.config import RESULTS_DIR, ResultsError
from esc50.dataset.clips import load_clips
from esc50.experiments import openset, trust_report
from esc50.experiments.ood_detectors import DETECTORS
from esc50.experiments.openset import KEYS, MEAN, POOLED
from esc50.experiments.shipping import RECIPES


@pytest.fixture(scope="module")
def rows():
    return openset.protocol()


@pytest.fixture
def scores(rows, rng):
    """Scores of a detector that is better than chance."""
    given = rows[KEYS].assign(score=rows["known"] + rng.normal(size=len(rows)))
    return given.sample(frac=1, random_state=0)


def test_each_clip_is_unknown_to_one_head_of_its_fold(rows, clips):
    assert len(rows) == 10_000
    assert (rows.groupby(["fold", "group"])["known"].sum() == 320).all()
    assert (rows.groupby("filename")["known"].sum() == 4).all()
    assert rows.merge(clips, on="filename").eval("fold_x == fold_y and target_x == target_y").all()


def test_the_groups_say_what_the_rows_say(rows):
    groups = openset.groups_table().set_index("target")["group"]
    assert ((groups[rows["target"]].to_numpy() != rows["group"]) == rows["known"]).all()


def test_figures_are_those_of_scikit_learn(scores, rows):
    found = openset.score_detector(scores).set_index(["over", "fold", "group"])
    merged = rows.merge(scores)
    assert len(found) == 27
    fpr, tpr, _ = roc_curve(merged["known"], merged["score"], drop_intermediate=False)
    pooled = found.loc[POOLED].iloc[0]
    assert pooled["auroc"] == pytest.approx(roc_auc_score(merged["known"], merged["score"]))
    assert pooled["fpr_at_95_tpr"] == pytest.approx(fpr[tpr >= 0.95][0])
    heads = [roc_auc_score(part["known"], part["score"]) for _, part in merged.groupby(["fold", "group"])]
    assert found.loc[MEAN].iloc[0]["auroc"] == pytest.approx(np.mean(heads))
    np.testing.assert_allclose(found.loc["head"]["auroc"], heads)


def test_intervals_hold_the_figure_and_are_wider_for_one_head(scores):
    found = openset.score_detector(scores)
    for figure in openset.FIGURES:
        low, value, high = (found[f"{figure}{end}"] for end in ("_low", "", "_high"))
        assert ((low <= value) & (value <= high)).all()
    width = (found["auroc_high"] - found["auroc_low"]).groupby(found["over"]).mean()
    assert width["head"] > 2 * width[POOLED]


def test_intervals_draw_whole_recordings():
    times = openset._draw(np.array(["a", "a", "b", "c"]), 50)
    assert times.shape == (51, 4) and (times[0] == 1).all()
    assert (times[:, 0] == times[:, 1]).all()
    assert (times[1:, [0, 2, 3]].sum(axis=1) == 3).all()


def drop_first(scores):
    return scores.iloc[1:]


def repeat_first(scores):
    return pd.concat([scores, scores.iloc[:1]])


def lose_number(scores):
    return scores.assign(score=scores["score"].mask(np.arange(len(scores)) == 3))


def write_word(scores):
    return scores.assign(score=scores["score"].astype(object).mask(np.arange(len(scores)) == 3, "high"))


def rename_clip(scores):
    return scores.assign(filename=scores["filename"].replace("1-100032-A-0.wav", "dog.wav"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda scores: scores.drop(columns="group"), "no column group: its columns must be filename, fold, group"),
        (drop_first, r"mine.csv: 1 row is missing, first fold \d, group \d, .*\.wav.: the benchmark has 10000 rows"),
        (repeat_first, "1 row is there twice, first fold .* give one score for each"),
        (lose_number, "1 row is without a number, first fold .* fill in the score"),
        (write_word, "1 row is without a number"),
        (rename_clip, "5 rows are not of the benchmark, first fold 1, group [1-5], .dog.wav"),
        (lambda scores: scores.assign(fold=6 - scores["fold"]), "8000 rows are not of the benchmark"),
        (lambda scores: scores.assign(fold="first"), "10000 rows are not of the benchmark"),
    ],
)
def test_what_is_wrong_with_scores_is_said_in_one_line(spoil, message, scores):
    with pytest.raises(ResultsError, match=message) as caught:
        openset.score_detector(spoil(scores), source="mine.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe", b"a\nb\nc,d\n"])
def test_what_is_no_csv_file_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    result = CliRunner().invoke(cli, ["openset", "--scores", str(path)])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert (
        "mine.csv is not a CSV file" in result.stderr
        and "give the columns filename, fold, group, score" in result.stderr
    )


def test_the_command_shows_a_detector_beside_the_committed_ones(scores, tmp_path):
    path = tmp_path / "energy.csv.gz"  # called like another one
    scores.to_csv(path, index=False)
    result = CliRunner().invoke(cli, ["openset", "--scores", str(path)])
    assert result.exit_code == 0, result.output
    names = [line.split()[0] for line in result.stdout.splitlines()[2:]]
    assert sorted(names) == sorted(["energy", *openset.load_summary()["detector"].unique()])
    figures = openset.format_summary(openset.score_detector(scores))
    assert all(value in result.stdout for value in figures.iloc[0])


# --- a run from the start, with a head that fits at once


def nearest_mean(inputs, targets, settings):
    """Cosines to the class means, tenfold; a class without clips gets none."""
    embeddings = np.asarray(inputs).reshape(len(targets), -1, 1024).max(axis=1)
    means = np.stack([embeddings[targets == label].sum(axis=0) for label in range(50)])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    return lambda vectors: 10 * vectors @ means.T / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def recipe(monkeypatch):
    """A recipe of maxima of the committed embeddings."""
    recipe = replace(RECIPES["plain"], pooling=MAXIMUM_OF_VECTORS, surrogate_fit=nearest_mean)
    monkeypatch.setitem(RECIPES, "multilayer", recipe)
    monkeypatch.setattr(openset, "held_out_groups", lambda: trust_report.held_out_groups()[:1])
    return recipe


@pytest.mark.slow
def test_a_run_scores_what_the_protocol_says(recipe, rows):
    found = openset.measure(folds=(2,), progress=False)
    expected = rows[(rows["fold"] == 2) & (rows["group"] == 1)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_dtype=False)
    assert [*found.columns[5:]] == [name for name in DETECTORS if name in found]
    assert {name for name, each in DETECTORS.items() if each.score} < {*found.columns}
    summary = openset.summarise(found, n_resamples=20)
    assert (summary["auroc"] > 0.6).all()


@pytest.mark.slow
def test_unknown_clips_have_no_part_in_training(recipe, monkeypatch):
    seen = []

    def fit_logits(recipe, train, tested, settings, seed):
        seen.append((train, *(sounds.about for sounds in tested)))
        return [np.ones((len(sounds.about), 1, 50)) for sounds in tested]

    monkeypatch.setattr(trust_report, "fit_logits", fit_logits)
    openset.measure(folds=(1, 4), progress=False)
    held_out = {*trust_report.held_out_groups()[0]}
    for fold, (train, trained_on, tested) in zip((1, 4), seen, strict=True):
        assert len(train) == len(trained_on) == 1_280 and len(tested) == 400
        assert not held_out & {*trained_on["target"]} and held_out < {*tested["target"]}
        assert (
            not trained_on["name"].str.startswith(f"{fold}-").any() and tested["name"].str.startswith(f"{fold}-").all()
        )


def test_where_there_are_yamnets_scores_they_are_combined(monkeypatch, rng):
    """The regressions exclude the fold's own clips, so a fold with meaningless scores gains nothing."""

    def score_head(recipe, clips, split, held_out):
        table = load_clips().iloc[split.test][["filename", "target"]].rename(columns={"filename": "name"})
        known = ~table["target"].isin(held_out)
        is_first = table["name"].str.startswith("1-")
        values = {score.__name__: np.where(is_first, 0, known) + rng.normal(size=len(table)) for score in COMBINED}
        kind = known.map({True: trust_report.KNOWN, False: trust_report.HELD_OUT})
        return table.assign(kind=kind, silent=False, **values)

    monkeypatch.setattr(trust_report, "read_clips", lambda recipe: None)
    monkeypatch.setattr(openset, "_score_head", score_head)
    found = openset.summarise(openset.measure(folds=(1, 2, 3), progress=False), n_resamples=2)
    auroc = found[found["over"] == "head"].groupby(["detector", "fold"])["auroc"].mean()
    assert auroc["combined", 1] == pytest.approx(0.5, abs=0.05)
    assert auroc["combined", 2] > auroc["energy", 2] + 0.1


# --- what is committed


@pytest.fixture(scope="module")
def committed():
    return openset.load_scores()


@pytest.mark.results
def test_the_committed_scores_are_those_of_the_protocol(committed, rows):
    pd.testing.assert_frame_equal(committed[rows.columns], rows, check_dtype=False)
    names = [*committed.columns[5:]]
    assert len(names) >= 8 and {*names} <= {*DETECTORS}
    assert np.isfinite(committed[names].to_numpy()).all()


@pytest.mark.results
def test_the_committed_summary_is_that_of_the_committed_scores(committed):
    found, summary = openset.summarise(committed), openset.load_summary()
    assert found["detector"].tolist() == summary["detector"].tolist()
    assert found["over"].tolist() == summary["over"].tolist()
    figures = summary.columns[4:]
    np.testing.assert_allclose(found[figures].astype(float), summary[figures], atol=6e-5)


@pytest.mark.results
def test_the_heads_are_those_of_the_trust_report(committed):
    """Its scores of the same clips are the same: fails where only one of `esc50 openset` and `esc50 trust` was run."""
    names = {"name": "filename", "held_out_group": "group"}
    both = committed.merge(trust_report.load_trust().sounds.rename(columns=names), on=KEYS, suffixes=("", "_of_trust"))
    assert len(both) == len(committed)
    names = [name for name in committed.columns[5:] if f"{name}_of_trust" in both and name != "combined"]
    for name in names:  # the trust report's combination is fitted on sounds outside ESC-50 too
        np.testing.assert_allclose(both[name], both[f"{name}_of_trust"], atol=1e-3)


@pytest.mark.results
def test_the_committed_groups_are_those_of_the_code():
    pd.testing.assert_frame_equal(pd.read_csv(RESULTS_DIR / openset.GROUPS_FILE), openset.groups_table())


@pytest.mark.results
def test_the_combined_score_saw_neither_the_fold_nor_the_group(committed):
    """Fitted anew from the committed columns; only where the recipe has YAMNet's scores."""
    if "combined" not in committed:
        pytest.skip("the model that ships does not use YAMNet's scores")
    kind = committed["known"].map({True: trust_report.KNOWN, False: trust_report.HELD_OUT})
    sounds = committed.rename(columns={"group": "held_out_group"}).assign(kind=kind, silent=False)
    found = trust_report.combine(sounds[["held_out_group", "fold", "kind", "silent", *(s.__name__ for s in COMBINED)]])
    np.testing.assert_allclose(found, committed["combined"], atol=1e-3)


@pytest.mark.results
def test_the_committed_scores_stay_small():
    assert (RESULTS_DIR / openset.SCORES_FILE).stat().st_size < 3_000_000
