"""Define, find and run experiments, and assemble their results."""

import importlib
import os
import pkgutil
import time
from dataclasses import asdict, dataclass, field
from functools import cache, partial

import numpy as np
import pandas as pd

from esc50 import experiments
from esc50.config import ALL_LAYERS, FOLDS, RESULTS_DIR, ResultsError, output_path, read_count
from esc50.dataset.clips import load_clips
from esc50.dataset.feature_files import digest, ensure_features, load_features
from esc50.dataset.splits import duplicated_clip_splits, grouped_random_splits, leaky_random_splits, official_splits
from esc50.experiments import run_cache
from esc50.experiments.metrics import classification_metrics
from esc50.experiments.results import PROBABILITY_COLUMNS, Results, load_results, read_csv, save_results, write_csv

PROCESSES_VARIABLE = "ESC50_PROCESSES"  # number of parallel runs; by default one per core, up to MAX_PROCESSES
MAX_PROCESSES = 4  # each may need several GB
FRAMES = 10  # per clip: patches every 0.48 s
PROTOCOLS = {
    "official folds": lambda clips, seed: official_splits(clips),
    "random, recordings kept together": lambda clips, seed: grouped_random_splits(clips, seed=seed),
    "random clips": lambda clips, seed: leaky_random_splits(clips, seed=seed),
    "duplicated clips, then random": lambda clips, seed: duplicated_clip_splits(clips, seed=seed),
}


@dataclass(frozen=True)
class Model:
    """A model in the results, and its rows in the tables."""

    title: str = ""  # in RESULTS.md's table of models; empty for no row
    idea: str = ""  # in RESULTS.md's ablation table; empty for no row
    over: str = ""  # the model that it is compared with in the ablation
    layers: tuple = ALL_LAYERS  # YAMNet layers, concatenated
    n_frames: int = FRAMES  # vectors per clip in training and testing
    n_views: int = 1  # runs of YAMNet per clip in testing
    n_remembered: int = 0  # training vectors that a kernel method keeps
    units: tuple = (256, 128)  # of the head's hidden layers
    needs_log_mel: bool = False  # of every clip, if YAMNet itself is trained


@dataclass(frozen=True)
class Fitted:
    """Result of a training run."""

    predict: callable  # inputs of some clips -> {model: (n_clips, 50) probabilities}
    history: dict = field(default_factory=dict)  # loss, accuracy … -> one value per epoch
    head: object = None  # the Keras model, if there is one


@dataclass(frozen=True)
class Experiment:
    """A training procedure and the models that it produces. See CONTRIBUTING.md for an example."""

    name: str
    features: tuple  # names of feature files
    prepare: callable  # arrays of each file -> inputs: (n_clips, ...), or a tuple of such
    fit: callable  # fit(inputs, targets, *, settings, seed, held_out, progress) -> Fitted; held_out: for curves only
    models: dict  # name in data/results -> Model; the first also names the curves
    settings: object = None  # a frozen dataclass
    seeds: tuple = (0,)
    settings_by_split: dict = field(default_factory=dict)  # settings that nested validation chose for a split
    version: int = 1  # raise it when the code gives other numbers, to repeat every run

    def inputs(self):
        """Return the prepared inputs of all clips."""
        return self.prepare(*map(load_features, self.features))

    def settings_for(self, split, settings=None):
        """Return the given settings if they differ from the experiment's own, else those chosen for this split."""
        is_own = settings in (None, self.settings)
        return self.settings_by_split.get(split.name, self.settings) if is_own else settings

    def record(self, settings):
        """Return everything that determines the results, apart from seeds and splits."""
        for name in self.features:
            ensure_features(name)
        return {
            "experiment": self.name,
            "version": self.version,
            "settings": asdict(settings) if settings else {},
            "features": list(self.features),
            "feature_sha256": {name: digest(name) for name in self.features},
        }

    def key(self, split, seed, settings=None, *, record=None):
        """Return the cache key of a run; `record` may replace the method of this name, which reads whole files."""
        made_by = (record or self.record)(self.settings_for(split, settings))
        return made_by | {"seed": seed, "rows": run_cache.rows_key(split)}


@cache
def find_experiments():
    """Return every experiment by its name, from the EXPERIMENTS lists of this package's modules."""
    modules = [
        importlib.import_module(f"{experiments.__name__}.{m.name}") for m in pkgutil.iter_modules(experiments.__path__)
    ]
    return {each.name: each for module in modules for each in getattr(module, "EXPERIMENTS", ())}


def models():
    """Return every model of every experiment by its name."""
    return {name: model for each in find_experiments().values() for name, model in each.models.items()}


def take(inputs, rows):
    """Return an experiment's inputs for some clips."""
    return tuple(part[rows] for part in inputs) if isinstance(inputs, tuple) else inputs[rows]


def run_splits(name, splits, *, seeds, settings=None, progress=True):
    """Run an experiment; return (seed, split name) -> (split, result). Finished runs come from the cache."""
    experiment, record = find_experiments()[name], cache(find_experiments()[name].record)
    todo = [(seed, split) for seed in seeds for split in splits]
    keys = [experiment.key(split, seed, settings, record=record) for seed, split in todo]
    missing = [(place, key) for place, key in zip(todo, keys, strict=True) if not run_cache.is_kept(key)]
    if missing:
        _make_runs(experiment, missing, settings, progress)
    runs = {}
    for (seed, split), key in zip(todo, keys, strict=True):
        made, origin = run_cache.cached(key, None)
        runs[seed, split.name] = split, made | {"provenance": origin}
    return runs


def run_experiment(name, *, folds=FOLDS, seeds=None, settings=None, splits=None, progress=True):
    """Train and test an experiment for each seed and split, without writing results.

    Parameters
    ----------
    name : str
        Name of the experiment.
    folds : sequence of int
        Official folds to test on.
    seeds : sequence of int, optional
        By default those of the experiment.
    settings : dataclass, optional
        By default those of the experiment.
    splits : sequence of Split, optional
        Used in place of the official folds.
    progress : bool
        Show a progress bar.

    Returns
    -------
    esc50.experiments.results.Results
        For `esc50.experiments.results.save_results`; finished runs come from the cache.
    """
    experiment, clips = find_experiments()[name], load_clips()
    splits, seeds = splits or official_splits(clips, folds=folds), seeds or experiment.seeds
    runs = run_splits(name, splits, seeds=seeds, settings=settings, progress=progress)
    record = experiment.record(settings or experiment.settings)
    if settings in (None, experiment.settings) and experiment.settings_by_split:
        record["settings_by_split"] = {split: asdict(own) for split, own in experiment.settings_by_split.items()}
    return _assemble(runs, clips, record)


def results_of(name, *, retrain=False, folds=FOLDS, seeds=None, settings=None, folder=None, progress=True):
    """Return the results of an experiment, committed ones or new ones.

    New results of a complete run (every fold, the experiment's own seeds and settings) are written to `folder` or
    `config.output_path`; those of a partial run are only returned. Other parameters are those of `run_experiment`.

    Parameters
    ----------
    name : str
        Name of the experiment.
    retrain : bool
        Run the experiment instead of reading committed results.

    Returns
    -------
    esc50.experiments.results.Results
        Of all models of the experiment.

    Raises
    ------
    ResultsError
        If committed results are missing, or those of a partial run are asked for without `retrain`.
    """
    experiment = find_experiments()[name]
    how = {"folds": folds, "seeds": tuple(seeds or experiment.seeds), "settings": settings or experiment.settings}
    if not retrain and not is_whole(name, **how):
        raise ResultsError(f"results of {name} are committed for all folds, seeds and its settings: add retrain=True")
    if not retrain:
        return load_results(experiment.models, folder=folder or RESULTS_DIR)
    found = run_experiment(name, **how, progress=progress)
    if not is_whole(name, **how):
        return found
    folder = folder or output_path(RESULTS_DIR)
    save_results(found, folder=folder)
    return load_results(experiment.models, folder=folder)  # rounded as in the files


def is_whole(name, *, folds, seeds, settings):
    """Return whether a run covers every fold with the experiment's own seeds and settings."""
    experiment = find_experiments()[name]
    return (tuple(folds), tuple(seeds), settings) == (FOLDS, experiment.seeds, experiment.settings)


def protocols_of(name="head_frames", *, retrain=False, settings=None, folder=None):
    """Return an experiment's metrics under each of `PROTOCOLS`; columns protocol and those of runs."""
    if not retrain:
        return read_csv((folder or RESULTS_DIR) / "protocols.csv")
    clips, experiment, tables = load_clips(), find_experiments()[name], []
    model, seed = next(iter(experiment.models)), experiment.seeds[0]
    for protocol, make_splits in PROTOCOLS.items():
        found = run_experiment(name, splits=make_splits(clips, seed), seeds=(seed,), settings=settings)
        rows = found.cross_validation
        tables.append(rows[rows["model"] == model].assign(protocol=protocol))
    table = pd.concat(tables, ignore_index=True)
    if settings in (None, experiment.settings):
        write_csv(table, (folder or output_path(RESULTS_DIR)) / "protocols.csv", float_format="%.6f")
    return table


def _make_runs(experiment, missing, settings, progress):
    """Make runs in parallel processes; each is cached as soon as it is finished."""
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    n_cores = min(os.cpu_count() or 1, MAX_PROCESSES)
    n_jobs = min(read_count(PROCESSES_VARIABLE, n_cores), len(missing))
    train = partial(_fit_and_test, experiment, experiment.inputs(), load_clips()["target"].to_numpy())
    jobs = []
    for (seed, split), key in missing:
        how = {"settings": experiment.settings_for(split, settings), "seed": seed, "progress": progress and n_jobs == 1}
        jobs.append(delayed(run_cache.cached)(key, partial(train, split, **how), folder=run_cache.CACHE_DIR))
    finished = Parallel(n_jobs, return_as="generator_unordered")(jobs)
    for _ in tqdm(finished, desc=experiment.name, total=len(missing), unit="run", disable=not progress):
        pass


def _fit_and_test(experiment, inputs, targets, split, **how):
    train, test = (take(inputs, rows) for rows in (split.train, split.test))
    start = time.perf_counter()
    fitted = experiment.fit(train, targets[split.train], held_out=(test, targets[split.test]), **how)
    seconds = time.perf_counter() - start
    return {"probabilities": fitted.predict(test), "history": fitted.history, "train_seconds": seconds}


def _assemble(runs, clips, record):
    """Assemble `Results` from runs, {(seed, split name): (split, run)}."""
    rows, tables, curves = [], {}, []
    for (seed, name), (split, run) in runs.items():
        place = {"seed": seed, "fold": int(name.rsplit(maxsplit=1)[-1])}
        part = clips.iloc[split.test][["filename", "fold", "target"]].reset_index(drop=True)
        for model, found in run["probabilities"].items():
            figures = classification_metrics(part["target"].to_numpy(), found)
            rows.append({"model": model, **place, **figures, "train_seconds": run["train_seconds"]})
            tables.setdefault(model, []).append(part.join(pd.DataFrame(found, columns=PROBABILITY_COLUMNS)))
        curve = pd.DataFrame({key.replace("val_", "held_out_"): values for key, values in run["history"].items()})
        curves.append(curve.assign(model=next(iter(tables)), **place, epoch=np.arange(1, len(curve) + 1)))
    keys = ["filename", "fold", "target"]
    means = {model: pd.concat(parts).groupby(keys, sort=False).mean().reset_index() for model, parts in tables.items()}
    made_by = record | {
        "seeds": sorted({seed for seed, _ in runs}),
        "splits": list(dict.fromkeys(name for _, name in runs)),
        "train_seconds": round(sum(run["train_seconds"] for _, run in runs.values()), 1),
        "command": f"esc50 train {record['experiment']}",
        "provenance": run_cache.distinct([run["provenance"] for _, run in runs.values()]),
    }
    return Results(pd.DataFrame(rows), means, pd.concat(curves), dict.fromkeys(means, made_by))
