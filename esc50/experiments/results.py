"""Read and write results files: metrics per run, probabilities per clip, training curves and provenance."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from esc50.config import N_CLASSES, RESULTS_DIR, ResultsError, atomic_write
from esc50.dataset.clips import load_clips
from esc50.experiments import metrics

REMEDY = "restore it with git or run `make reproduce`"
PROBABILITY_COLUMNS = [f"p_{target}" for target in range(N_CLASSES)]
RUNS, CURVES, MANIFEST = "cross_validation.csv", "history.csv.gz", "manifest.json"


@dataclass(frozen=True)
class Results:
    """Results of one experiment, with the columns of the files in data/results."""

    cross_validation: pd.DataFrame  # model, seed, fold, n_clips, accuracy, top3_accuracy, macro_f1, train_seconds
    out_of_fold: dict  # model -> filename, fold, target, p_0 ... p_49 (mean over seeds)
    history: pd.DataFrame  # model, seed, fold, epoch, loss, accuracy, held_out_loss, held_out_accuracy
    manifest: dict  # model -> experiment, settings, features, seeds, splits, command, provenance


def load_cross_validation(*, folder=RESULTS_DIR):
    """Read all runs: model, seed, fold, n_clips, accuracy, top3_accuracy, macro_f1, train_seconds."""
    return read_csv(Path(folder) / RUNS)


def load_out_of_fold(model, *, folder=RESULTS_DIR):
    """Read the out-of-fold probabilities of each clip, averaged over seeds: filename, fold, target, p_0 … p_49."""
    return read_csv(Path(folder) / "out_of_fold" / f"{model}.csv.gz")


def load_history(*, folder=RESULTS_DIR):
    """Read all training curves: model, seed, fold, epoch, loss, accuracy, held_out_loss, held_out_accuracy."""
    return read_csv(Path(folder) / CURVES)


def load_manifest(*, folder=RESULTS_DIR):
    """Read the provenance of each model's results."""
    return read_json(Path(folder) / MANIFEST)


def load_results(models, *, folder=RESULTS_DIR):
    """Read the results of some models; raise a `ResultsError` if a file or a model is missing."""
    runs, history, manifest = (load(folder=folder) for load in (load_cross_validation, load_history, load_manifest))
    _refuse_unknown(models, manifest, Path(folder) / MANIFEST)
    _refuse_unknown(models, {*runs["model"]}, Path(folder) / RUNS)
    return Results(
        runs[runs["model"].isin(models)].reset_index(drop=True),
        {model: load_out_of_fold(model, folder=folder) for model in models},
        history[history["model"].isin(models)].reset_index(drop=True),
        {model: manifest[model] for model in models},
    )


def save_results(results, *, folder=RESULTS_DIR):
    """Write the results of a complete run and keep those of other models; concurrent calls may lose rows."""
    folder = Path(folder)
    _refuse_partial(results)
    for model, table in results.out_of_fold.items():
        write_csv(table, folder / "out_of_fold" / f"{model}.csv.gz", float_format="%.6f")
    _merge(results.cross_validation, folder / RUNS, ["model", "seed", "fold"], float_format="%.6f")
    _merge(results.history, folder / CURVES, ["model", "seed", "fold", "epoch"], float_format="%.5f")
    known = load_manifest(folder=folder) if (folder / MANIFEST).exists() else {}
    write_json(known | results.manifest, folder / MANIFEST)


def summarise(models, *, folder=RESULTS_DIR):
    """Summarise models.

    Parameters
    ----------
    models : iterable of str
        Names in data/results.
    folder : Path
        Folder of the results.

    Returns
    -------
    pandas.DataFrame, index model
        Shares of 1: ``run_accuracy`` and ``run_accuracy_sd``, mean and standard deviation over seeds of a single
        network's accuracy; ``accuracy``, ``top3_accuracy`` and ``macro_f1`` of probabilities averaged over seeds, each
        with ``…_low`` and ``…_high``, its 95 % bootstrap interval over recordings. Also ``n_seeds`` and the total
        ``train_seconds``.

    Raises
    ------
    ResultsError
        If a file or a model is missing.
    """
    runs = load_cross_validation(folder=folder)
    _refuse_unknown(models, {*runs["model"]}, Path(folder) / RUNS)
    rows = {model: _summary(runs[runs["model"] == model], load_out_of_fold(model, folder=folder)) for model in models}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def summarise_out_of_fold(table):
    """Compute the metrics of an out-of-fold table, each with its interval as ``…_low`` and ``…_high``."""
    targets, found = table["target"].to_numpy(), probabilities(table)
    intervals = metrics.bootstrap_intervals(targets, found, recordings(table))
    ends = {f"{k}_{end}": v for k, pair in intervals.items() for end, v in zip(("low", "high"), pair, strict=True)}
    return metrics.classification_metrics(targets, found) | ends


def headline(summary):
    """Return a row of `summarise`, rounded to four decimals, with its protocol, for a model's metadata."""
    keys = [f"{name}{end}" for name in ("accuracy", "top3_accuracy", "macro_f1") for end in ("", "_low", "_high")]
    figures = {key: round(float(summary[key]), 4) for key in ("run_accuracy", *keys)}
    n_seeds = int(summary["n_seeds"])
    protocol = f"official 5 folds, each clip tested once, {n_seeds} seeds averaged, 95 % intervals"
    return {"protocol": protocol, **figures}


def probabilities(table):
    """Return the probabilities (n_clips, 50) of an out-of-fold table."""
    return table[PROBABILITY_COLUMNS].to_numpy(dtype=np.float64)


def recordings(table):
    """Return the recording (n_clips,) of each clip in an out-of-fold table."""
    return table["filename"].str.split("-").str[1].to_numpy()  # fold-recording-take-target


def read_csv(path):
    """Read a results table; raise a `ResultsError` if it is missing."""
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise ResultsError(f"no results file {path}: {REMEDY}") from None


def read_json(path):
    """Read a results file; raise a `ResultsError` if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"no results file {path}: {REMEDY}") from None
    except ValueError as error:  # not JSON, or not text
        raise ResultsError(f"{path} is damaged ({error}): {REMEDY}") from error


def write_csv(table, path, *, float_format=None):
    """Write a table without its index; compression (``.gz``) is reproducible."""
    compression = {"method": "gzip", "mtime": 0} if path.suffix == ".gz" else None
    with atomic_write(path) as beside:
        table.to_csv(beside, index=False, float_format=float_format, compression=compression)


def write_json(content, path):
    """Write JSON with sorted keys."""
    with atomic_write(path) as beside:
        beside.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _summary(runs, table):
    by_seed = runs.groupby("seed")["accuracy"].mean()  # folds have equal size, so this is the accuracy on all clips
    return {
        "run_accuracy": by_seed.mean(),
        "run_accuracy_sd": by_seed.std(),
        **summarise_out_of_fold(table),
        "n_seeds": len(by_seed),
        "train_seconds": runs["train_seconds"].sum(),
    }


def _merge(new, path, order, *, float_format):
    """Replace the rows of the same models in a table."""
    if new.empty and path.exists():
        return
    if path.exists():
        old = pd.read_csv(path)
        new = pd.concat([old[~old["model"].isin(new["model"].unique())], new])
    write_csv(new if new.empty else new.sort_values(order), path, float_format=float_format)


def _refuse_unknown(models, known, path):
    if missing := [model for model in models if model not in known]:
        raise ResultsError(f"{path} has no results of {', '.join(missing)}: {REMEDY}")


def _refuse_partial(results):
    expected = set(load_clips()["filename"])
    for model, table in results.out_of_fold.items():
        if len(table) != len(expected) or set(table["filename"]) != expected:
            raise ResultsError(
                f"{model}: {len(table)} of {len(expected)} clips were tested, so the run is not saved: test all folds"
            )
