"""The results files: one row a run, one probability row a clip, and what made them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from esc50.config import N_CLASSES, RESULTS_DIR, ResultsError, atomic_write
from esc50.experiments import metrics

REMEDY = "restore it with git or run `make reproduce`"
PROBABILITY_COLUMNS = [f"p_{target}" for target in range(N_CLASSES)]


@dataclass(frozen=True)
class Results:
    """What one experiment found; the tables have the columns of the files in data/results."""

    cross_validation: pd.DataFrame  # model, seed, fold, n_clips, accuracy, top3_accuracy, macro_f1, train_seconds
    out_of_fold: dict  # model -> filename, fold, target, p_0 ... p_49 (mean over seeds)
    history: pd.DataFrame  # model, seed, fold, epoch, loss, accuracy, held_out_loss, held_out_accuracy
    manifest: dict  # model -> parameters, seeds, folds, code version, command, machine


def load_cross_validation(*, folder=RESULTS_DIR):
    """Every run of every model.

    Parameters
    ----------
    folder : Path
        Where the results lie.

    Returns
    -------
    pandas.DataFrame
        Columns model, seed, fold, n_clips, accuracy, top3_accuracy, macro_f1, train_seconds.
    """
    return read_csv(Path(folder) / "cross_validation.csv")


def load_out_of_fold(model, *, folder=RESULTS_DIR):
    """Probabilities of each clip from the networks that did not train on its fold.

    Parameters
    ----------
    model : str
        A model name of ``cross_validation.csv``.
    folder : Path
        Where the results lie.

    Returns
    -------
    pandas.DataFrame
        Columns filename, fold, target, p_0 … p_49: the mean over seeds.
    """
    return read_csv(Path(folder) / "out_of_fold" / f"{model}.csv.gz")


def load_history(*, folder=RESULTS_DIR):
    """Training curves of every network.

    Parameters
    ----------
    folder : Path
        Where the results lie.

    Returns
    -------
    pandas.DataFrame
        Columns model, seed, fold, epoch, loss, accuracy, held_out_loss, held_out_accuracy.
    """
    return read_csv(Path(folder) / "history.csv.gz")


def load_manifest(*, folder=RESULTS_DIR):
    """What made the results: parameters, seeds, code version, command and machine of each model.

    Parameters
    ----------
    folder : Path
        Where the results lie.

    Returns
    -------
    dict of str to dict
        One entry a model.
    """
    return read_json(Path(folder) / "manifest.json")


def load_results(models, *, folder=RESULTS_DIR):
    """Read the committed results of some models.

    Parameters
    ----------
    models : sequence of str
        Model names.
    folder : Path
        Where the results lie.

    Returns
    -------
    Results
        Only the rows of these models.

    Raises
    ------
    ResultsError
        A file is missing, or says nothing of one of the models.
    """
    cross_validation, history = load_cross_validation(folder=folder), load_history(folder=folder)
    manifest = load_manifest(folder=folder)
    _refuse_unknown(models, manifest, Path(folder) / "manifest.json")
    _refuse_unknown(models, {*cross_validation["model"]}, Path(folder) / "cross_validation.csv")
    return Results(
        cross_validation[cross_validation["model"].isin(models)].reset_index(drop=True),
        {model: load_out_of_fold(model, folder=folder) for model in models},
        history[history["model"].isin(models)].reset_index(drop=True),
        {model: manifest[model] for model in models},
    )


def summarise(models, *, folder=RESULTS_DIR):
    """Sum up models from their results files.

    Parameters
    ----------
    models : sequence of str
        Model names.
    folder : Path
        Where the results lie.

    Returns
    -------
    pandas.DataFrame
        Index: model. As shares of 1: ``run_accuracy`` and ``run_accuracy_sd``, mean and standard deviation over
        seeds of one network's accuracy on all clips; then, of the scores averaged over seeds, ``accuracy``,
        ``top3_accuracy``, ``macro_f1``, each with ``…_low`` and ``…_high``, its 95 % bootstrap interval over
        recordings; ``n_seeds`` and ``train_seconds``, the sum over all runs.

    Raises
    ------
    ResultsError
        A file is missing, or has no run of one of the models.
    """
    runs = load_cross_validation(folder=folder)
    _refuse_unknown(models, {*runs["model"]}, Path(folder) / "cross_validation.csv")
    rows = {model: _summary(runs[runs["model"] == model], load_out_of_fold(model, folder=folder)) for model in models}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def summarise_out_of_fold(table):
    """Score an out-of-fold table, with intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        From `load_out_of_fold`, or of a run just made.

    Returns
    -------
    dict
        The scores of `esc50.experiments.metrics.scores`, and each one's interval as ``…_low`` and ``…_high``.
    """
    targets, scores = table["target"].to_numpy(), probabilities(table)
    intervals = metrics.bootstrap_intervals(targets, scores, recordings(table))
    ends = {f"{k}_{end}": v for k, pair in intervals.items() for end, v in zip(("low", "high"), pair, strict=True)}
    return metrics.scores(targets, scores) | ends


def save_results(results, *, folder=RESULTS_DIR):
    """Write the results of some models; those of other models stay as they are.

    Each file is written beside its place and then renamed. Files of all models are read, changed and written: two
    such calls at once would lose rows.

    Parameters
    ----------
    results : Results
        From a whole run: every fold.
    folder : Path
        Where to write.

    Raises
    ------
    ResultsError
        A model lacks clips, so the run was partial: it is not to overwrite a whole one.
    """
    folder = Path(folder)
    _refuse_partial(results)
    for model, table in results.out_of_fold.items():
        write_csv(table, folder / "out_of_fold" / f"{model}.csv.gz", float_format="%.6f")
    runs = _merged(results.cross_validation, folder / "cross_validation.csv", ["model", "seed", "fold"])
    write_csv(runs, folder / "cross_validation.csv", float_format="%.6f")
    if len(results.history):
        history = _merged(results.history, folder / "history.csv.gz", ["model", "seed", "fold", "epoch"])
        write_csv(history, folder / "history.csv.gz", float_format="%.5f")
    known = load_manifest(folder=folder) if (folder / "manifest.json").exists() else {}
    write_json({**known, **results.manifest}, folder / "manifest.json")


def read_csv(path):
    """Read a results table.

    Parameters
    ----------
    path : Path
        Ends in .csv or .csv.gz.

    Returns
    -------
    pandas.DataFrame
        As written.

    Raises
    ------
    ResultsError
        There is no such file.
    """
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise ResultsError(f"no results file {path}: {REMEDY}") from None


def read_json(path):
    """Read a results file.

    Parameters
    ----------
    path : Path
        Ends in .json.

    Returns
    -------
    dict
        As written.

    Raises
    ------
    ResultsError
        There is no such file, or it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"no results file {path}: {REMEDY}") from None
    except ValueError as error:  # not JSON, or not text
        raise ResultsError(f"{path} is damaged ({error}): {REMEDY}") from error


def write_csv(table, path, *, float_format=None):
    """Write a table beside its place, then rename; a name in .gz gives the same bytes at every call.

    Parameters
    ----------
    table : pandas.DataFrame
        Written without its index.
    path : Path
        Ends in .csv or .csv.gz.
    float_format : str, optional
        As in `pandas.DataFrame.to_csv`.
    """
    compression = {"method": "gzip", "mtime": 0} if path.suffix == ".gz" else None
    with atomic_write(path) as beside:
        table.to_csv(beside, index=False, float_format=float_format, compression=compression)


def write_json(content, path):
    """Write JSON beside its place, then rename.

    Parameters
    ----------
    content : dict
        Anything that JSON can hold.
    path : Path
        The file.
    """
    with atomic_write(path) as beside:
        beside.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def probabilities(table):
    """Probability columns of an out-of-fold table.

    Parameters
    ----------
    table : pandas.DataFrame
        From `load_out_of_fold`.

    Returns
    -------
    np.ndarray, shape (n_clips, 50)
        In label order.
    """
    return table[PROBABILITY_COLUMNS].to_numpy(dtype=np.float64)


def recordings(table):
    """Recordings that the clips of an out-of-fold table were cut from.

    Parameters
    ----------
    table : pandas.DataFrame
        From `load_out_of_fold`.

    Returns
    -------
    np.ndarray of str, shape (n_clips,)
        Clips of one recording are not independent.
    """
    return table["filename"].str.split("-").str[1].to_numpy()  # fold-recording-take-target


def _summary(runs, table):
    by_seed = runs.groupby("seed")["accuracy"].mean()  # folds are of one size, so this is the accuracy on all clips
    return {
        "run_accuracy": by_seed.mean(),
        "run_accuracy_sd": by_seed.std(ddof=1) if len(by_seed) > 1 else np.nan,
        **summarise_out_of_fold(table),
        "n_seeds": len(by_seed),
        "train_seconds": runs["train_seconds"].sum(),
    }


def _refuse_unknown(models, known, path):
    if missing := [model for model in models if model not in known]:
        raise ResultsError(f"{path} has nothing of {', '.join(missing)}: {REMEDY}")


def _merged(new, path, order):
    if path.exists():
        old = pd.read_csv(path)
        new = pd.concat([old[~old["model"].isin(new["model"].unique())], new])
    return new.sort_values(order).reset_index(drop=True)


def _refuse_partial(results):
    from esc50.dataset.clips import load_clips

    expected = set(load_clips()["filename"])
    for model, table in results.out_of_fold.items():
        if len(table) != len(expected) or set(table["filename"]) != expected:
            raise ResultsError(
                f"{model}: {len(table)} of {len(expected)} clips were tested; a partial run is shown, not saved"
            )
