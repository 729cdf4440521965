"""The open-set benchmark on ESC-50: how well scores detect clips of held-out classes.

For each official fold and each of five groups of ten classes, a head is trained on the other four folds without the
group's classes. The clips of the fold are then scored: those of the group are unknown, the rest known. RESULTS.md
describes the protocol.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from esc50.classifier.model_io import DEFAULT_MODEL
from esc50.classifier.ood import NEIGHBOURS
from esc50.classifier.pooling import frame_mask
from esc50.config import FOLDS, N_CLASSES, RESULTS_DIR, ResultsError, output_path
from esc50.dataset import class_names
from esc50.dataset.clips import load_clips
from esc50.dataset.splits import official_splits
from esc50.experiments import metrics, run_cache, trust_report
from esc50.experiments.base import find_experiments
from esc50.experiments.ood_detectors import DETECTORS, Part
from esc50.experiments.results import read_csv, recordings, write_csv, write_json
from esc50.experiments.shipping import RECIPES
from esc50.experiments.trust_report import held_out_groups

GROUPS_FILE, SCORES_FILE, SUMMARY_FILE = "openset_groups.csv", "openset_scores.csv.gz", "openset_summary.csv"
RECORD_FILE = "openset.json"
KEYS, REQUIRED = ["fold", "group", "filename"], ["filename", "fold", "group", "score"]
MEAN, POOLED, HEAD = "mean over heads", "pooled", "head"  # kinds of rows in the summary
FIGURES = ("auroc", "fpr_at_95_tpr")
N_RESAMPLES, ENDS, SEED = 1_000, (0.025, 0.975), 0


def protocol():
    """Return the rows to score, one per head and test clip: fold, group, filename, target, known."""
    clips = load_clips()[["fold", "filename", "target"]]
    tables = [
        clips.assign(group=group, known=~clips["target"].isin(held_out))
        for group, held_out in enumerate(held_out_groups(), start=1)
    ]
    rows = pd.concat(tables).sort_values(["fold", "group"], kind="stable", ignore_index=True)
    return rows[[*KEYS, "target", "known"]]


def measure(*, model=DEFAULT_MODEL, folds=FOLDS, progress=True):
    """Return the rows of `protocol` with a column per detector, from 25 heads of a model's recipe or surrogate."""
    from tqdm.auto import tqdm

    clips, tables = trust_report.read_clips(RECIPES[model]), []
    heads = [(fold, *group) for fold in folds for group in enumerate(held_out_groups(), start=1)]
    for fold, group, held_out in tqdm(heads, desc="heads", unit="head", disable=not progress):
        (split,) = official_splits(load_clips(), folds=[fold])
        table = _score_head(RECIPES[model], clips, split, held_out)
        tables.append(table.assign(fold=fold, held_out_group=group))
    scores = pd.concat(tables, ignore_index=True)
    if {*trust_report.COMBINED} <= {*scores}:
        scores["combined"] = trust_report.combine(scores)
    scores["known"] = scores["kind"] == trust_report.KNOWN
    scores = scores.rename(columns={"name": "filename", "held_out_group": "group"})
    return scores[[*KEYS, "target", "known", *(name for name in DETECTORS if name in scores)]]


def summarise(scores, *, n_resamples=N_RESAMPLES):
    """Compute the metrics of each detector: mean over heads, all heads pooled, and each head.

    Parameters
    ----------
    scores : pandas.DataFrame
        From `measure`.
    n_resamples : int
        Of the bootstrap, with the same draws for all detectors.

    Returns
    -------
    pandas.DataFrame
        Columns detector, over, fold, group; ``auroc`` and ``fpr_at_95_tpr``, each with ``…_low`` and ``…_high``,
        its 95 % percentile bootstrap interval over recordings (Efron 1979). The FPR is at the highest threshold that
        95 % of the known clips reach, per head or, if pooled, over all heads.
    """
    times, known = _draw(recordings(scores), n_resamples), scores["known"].to_numpy()  # (1 + n_resamples, n_rows)
    heads, tables = scores.groupby(["fold", "group"]).indices, []
    for name in scores.columns[len(KEYS) + 2 :]:
        values = scores[name].to_numpy()
        found = {(HEAD, *head): metrics.separation(known[i], values[i], times[:, i]) for head, i in heads.items()}
        means = {figure: np.mean([each[figure] for each in found.values()], axis=0) for figure in FIGURES}
        found = {(MEAN, "", ""): means, (POOLED, "", ""): metrics.separation(known, values, times), **found}
        rows = [dict(zip(("over", "fold", "group"), key, strict=True)) | _ends(each) for key, each in found.items()]
        tables.append(pd.DataFrame(rows).assign(detector=name))
    table = pd.concat(tables, ignore_index=True)
    return table[["detector", *table.columns.drop("detector")]]


def score_detector(scores, *, name="yours", source="the table"):
    """Evaluate a detector by the benchmark's protocol.

    Parameters
    ----------
    scores : pandas.DataFrame
        Columns ``filename``, ``fold``, ``group`` and ``score`` (higher for known classes), one row for each row of
        `protocol`, in any order.
    name : str
        Name of the detector in the result.
    source : str
        Name of the table in messages.

    Returns
    -------
    pandas.DataFrame
        The detector's rows of `summarise`.

    Raises
    ------
    ResultsError
        If a column, row or number is missing, or a row is repeated or not in the benchmark.
    """
    if missing := [column for column in REQUIRED if column not in scores]:
        raise ResultsError(f"{source} has no column {missing[0]}: its columns must be {', '.join(REQUIRED)}")
    numbers = scores[["fold", "group", "score"]].apply(pd.to_numeric, errors="coerce")
    given = pd.MultiIndex.from_frame(numbers[["fold", "group"]].assign(filename=scores["filename"]))
    rows = protocol()
    expected = pd.MultiIndex.from_frame(rows[KEYS])
    of_benchmark = f"the benchmark has {len(rows)} rows, the heads and clips of data/results/{SCORES_FILE}"
    _refuse(given[~given.isin(expected)], source, "not of the benchmark", of_benchmark)
    _refuse(given[given.duplicated()], source, "there twice", "give one score for each head and clip")
    _refuse(given[numbers["score"].isna()], source, "without a number", "fill in the score")
    _refuse(expected[~expected.isin(given)], source, "missing", of_benchmark)
    rows["score"] = pd.Series(numbers["score"].to_numpy(), given)[expected].to_numpy()
    return summarise(rows).assign(detector=name)


def compare_detector(path):
    """Return the committed summary with the rows of a detector from a CSV file: see `score_detector`."""
    try:
        scores = pd.read_csv(path)
    except (OSError, EOFError, ValueError) as error:
        message = " ".join(str(error).split())
        raise ResultsError(f"{path} is not a CSV file ({message}): give the columns {', '.join(REQUIRED)}") from error
    name = Path(path).name.partition(".")[0]
    return pd.concat([score_detector(scores, name=name, source=str(path)), load_summary()], ignore_index=True)


def run_benchmark(*, model=DEFAULT_MODEL, folder=None, progress=True):
    """Evaluate all detectors, write the four files of the benchmark, and return the summary."""
    folder, recipe = folder or output_path(RESULTS_DIR), RECIPES[model]
    record = find_experiments()[recipe.experiment].record(recipe.settings)
    about = {"model": model, "command": "esc50 openset", "surrogate": recipe.surrogate_name.strip(",")}
    write_csv(measure(model=model, progress=progress), folder / SCORES_FILE, float_format="%.7g")
    write_csv(groups_table(), folder / GROUPS_FILE)
    write_csv(summarise(load_scores(folder=folder)), folder / SUMMARY_FILE, float_format="%.4f")
    write_json(record | about | {"provenance": [run_cache.provenance()]}, folder / RECORD_FILE)
    return load_summary(folder=folder)


def groups_table():
    """Return the group of each class: target, category, group."""
    groups = {label: group for group, held_out in enumerate(held_out_groups(), start=1) for label in held_out}
    rows = [(target, category, groups[target]) for target, category in enumerate(class_names())]
    return pd.DataFrame(rows, columns=["target", "category", "group"])


def load_scores(*, folder=RESULTS_DIR):
    """Read the scores of all clips and heads: the columns of `protocol`, then one per detector."""
    return read_csv(Path(folder) / SCORES_FILE)


def load_summary(*, folder=RESULTS_DIR):
    """Read the committed result of `summarise`."""
    return read_csv(Path(folder) / SUMMARY_FILE)


def format_summary(summary):
    """Return the metrics over all heads as text, indexed by detector, the highest mean AUROC first."""
    parts = {over: summary[summary["over"] == over].set_index("detector") for over in (MEAN, POOLED)}
    columns = {}
    for before, rows in zip(("", "pooled "), parts.values(), strict=True):
        columns[f"{before}AUROC (95 %)"] = _format(rows, "auroc", "{0:.3f} ({1:.3f} to {2:.3f})", 1)
        columns[f"{before}FPR at 95 % TPR"] = _format(rows, "fpr_at_95_tpr", "{0:.1f} % ({1:.1f} to {2:.1f})", 100)
    return pd.DataFrame(columns, index=parts[MEAN].index).iloc[np.argsort(-parts[MEAN]["auroc"], kind="stable")]


def _score_head(recipe, clips, split, held_out):
    known = np.setdiff1d(np.arange(N_CLASSES), held_out)
    train = split.train[np.isin(clips.about["target"].iloc[split.train], known)]
    sounds = clips[train], clips[split.test]
    logits = trust_report.fit_logits(recipe, train, sounds, recipe.settings, trust_report.SEED)
    table, _ = trust_report.judge_sounds(sounds[0], held_out, recipe.pooling, NEIGHBOURS, sounds[1], logits[1])
    parts = [_make_part(*each, known) for each in zip(sounds, logits, strict=True)]
    return table.assign(**{name: each.score(*parts) for name, each in DETECTORS.items() if each.score})


def _make_part(sounds, logits, known):
    mask = frame_mask(sounds.active)[..., np.newaxis]  # (n_sounds, n_vectors, 1)
    means = (logits[..., known] * mask).sum(axis=1) / mask.sum(axis=1)  # (n_sounds, n_known)
    return Part(sounds.embeddings, means.astype(np.float64), np.searchsorted(known, sounds.about["target"]))


def _draw(names, n_resamples):
    """Return the weight of each row, (1 + n_resamples, n_rows): 1, then its count in each bootstrap draw."""
    group, found = pd.factorize(names)
    draws = np.random.default_rng(SEED).integers(len(found), size=(n_resamples, len(found)))
    counts = np.stack([np.bincount(draw, minlength=len(found)) for draw in draws])
    return np.concatenate([np.ones((1, len(group)), int), counts[:, group]])


def _ends(found):
    row = {}
    for figure, (value, *draws) in found.items():
        row |= dict(zip((figure, f"{figure}_low", f"{figure}_high"), (value, *np.quantile(draws, ENDS)), strict=True))
    return row


def _refuse(rows, source, what, remedy):
    if len(rows):
        fold, group, filename = rows[0]
        are = "1 row is" if len(rows) == 1 else f"{len(rows)} rows are"
        raise ResultsError(f"{source}: {are} {what}, first fold {fold}, group {group}, {filename!r}: {remedy}")


def _format(rows, figure, form, scale):
    values = scale * rows[[figure, f"{figure}_low", f"{figure}_high"]]
    return [form.format(*row) for row in values.to_numpy()]
