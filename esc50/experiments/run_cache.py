"""Runs kept as they finish, and put together to the results of an experiment."""

import hashlib
import json
import os
import platform
from pathlib import Path

import numpy as np
import pandas as pd

from esc50 import __version__
from esc50.config import BUILD_DIR, atomic_write
from esc50.experiments import metrics
from esc50.experiments.results import PROBABILITY_COLUMNS, Results
from esc50.experiments.training import Run

RUNS_DIR = BUILD_DIR / "runs"
CODE = ("augmentation", "evaluation", "features", "models", "study", "training")  # what every training uses


def code_version(extra=()):
    """Version of the package and a digest of the modules that decide what a training gives.

    Parameters
    ----------
    extra : sequence of str
        Modules beside those of `CODE`.

    Returns
    -------
    str
        Such as ``0.1.0+3f2a9c01d4b7``.
    """
    modules = [Path(__file__).with_name(f"{module}.py") for module in (*CODE, *extra)]
    return f"{__version__}+{hashlib.sha256(b''.join(m.read_bytes() for m in modules)).hexdigest()[:12]}"


def run_path(name, record, split, seed):
    """Where a run is kept.

    Parameters
    ----------
    name : str
        Of the experiment.
    record : dict
        What determines the run beside split and seed: settings, features, code.
    split : esc50.dataset.splits.Split
        What it trains and tests on.
    seed : int
        Of the training.

    Returns
    -------
    Path
        An ``.npz`` file, which need not exist; its name holds a digest of all that.
    """
    content = [json.dumps(record, sort_keys=True).encode(), split.train.tobytes(), split.test.tobytes()]
    digest = hashlib.sha256(b"".join(content)).hexdigest()[:12]
    return RUNS_DIR / name / f"{split.name}_seed{seed}_{digest}.npz".replace(" ", "-")


def resumed(fit, path):
    """Read a run that was kept, or make and keep it.

    Parameters
    ----------
    fit : callable
        Without arguments; gives the run.
    path : Path
        From `run_path`.

    Returns
    -------
    esc50.experiments.training.Run
        The same in both cases.
    """
    if path.exists():
        with np.load(path, allow_pickle=False) as file:
            scores = {key.removeprefix("scores."): file[key] for key in file if key.startswith("scores.")}
            return Run(scores, json.loads(str(file["history"])), float(file["train_seconds"]))
    run = fit()
    arrays = {f"scores.{model}": values for model, values in run.scores.items()}
    with atomic_write(path) as beside:
        np.savez_compressed(beside, **arrays, history=json.dumps(run.history), train_seconds=run.train_seconds)
    return run


def assemble(runs, clips, models, record, *, command):
    """Put the runs of one experiment together.

    Parameters
    ----------
    runs : dict of (int, str) to (esc50.dataset.splits.Split, esc50.experiments.training.Run)
        By seed and name of the split.
    clips : pandas.DataFrame
        The clip table.
    models : sequence of str
        Names under which the runs have scores; curves of training are kept under the first.
    record : dict
        What made them, for the manifest.
    command : str
        The command line that makes them again.

    Returns
    -------
    esc50.experiments.results.Results
        Not yet written.
    """
    seeds = sorted({seed for seed, _ in runs})
    splits = {split.name: split for split, _ in runs.values()}
    made_by = {
        **record,
        "seeds": seeds,
        "splits": list(splits),
        "train_seconds": round(sum(run.train_seconds for _, run in runs.values()), 1),
        "command": command,
        "machine": _machine(),
    }
    return Results(
        pd.DataFrame([_score_row(m, key, *runs[key], clips) for m in models for key in runs]),
        {m: _out_of_fold(m, runs, splits, seeds, clips) for m in models},
        pd.concat([_history(models[0], key, run) for key, (_, run) in runs.items()]),
        {m: made_by for m in models},
    )


def _score_row(model, key, split, run, clips):
    seed, name = key
    scores = metrics.scores(clips["target"].to_numpy()[split.test], run.scores[model])
    fold = int(name.rsplit(maxsplit=1)[-1])
    return {"model": model, "seed": seed, "fold": fold, **scores, "train_seconds": run.train_seconds}


def _out_of_fold(model, runs, splits, seeds, clips):
    parts = []
    for name, split in splits.items():
        mean = np.mean([runs[seed, name][1].scores[model] for seed in seeds], axis=0)  # (n_test_clips, 50)
        part = clips.iloc[split.test][["filename", "fold", "target"]].reset_index(drop=True)
        parts.append(part.join(pd.DataFrame(mean, columns=PROBABILITY_COLUMNS)))
    return pd.concat(parts, ignore_index=True)


def _history(model, key, run):
    seed, name = key
    curves = {f"held_out_{k[4:]}" if k.startswith("val_") else k: v for k, v in run.history.items()}
    table = pd.DataFrame(curves)
    place = {"model": model, "seed": seed, "fold": int(name.rsplit(maxsplit=1)[-1])}
    return table.assign(**place, epoch=np.arange(1, len(table) + 1)) if curves else pd.DataFrame()


def _machine():
    from importlib.metadata import version

    libraries = ("keras", "librosa", "numpy", "scikit-learn", "tensorflow")
    return {
        "cores": os.cpu_count(),
        "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "libraries": {library: version(library) for library in libraries},
    }
