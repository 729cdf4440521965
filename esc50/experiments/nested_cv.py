"""Nested cross-validation: choose settings for each official fold by training and validating without it."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pandas as pd

from esc50.config import FOLDS, RESULTS_DIR, output_path
from esc50.dataset.clips import load_clips
from esc50.dataset.splits import held_out_split
from esc50.experiments.base import find_experiments, run_splits
from esc50.experiments.kernel_ridge import KernelRidgeSettings
from esc50.experiments.metrics import classification_metrics
from esc50.experiments.networks import HeadSettings
from esc50.experiments.plain import CLIP_HEAD
from esc50.experiments.results import load_cross_validation, load_out_of_fold, read_csv, write_csv

LAYERS = ("multilayer_1", "multilayer_3", "multilayer_8", "multilayer_14", "multilayer_8_linear")
KERNEL_RIDGES = ("kernel_ridge_mean", "kernel_ridge", "kernel_ridge_speeds")
KERNEL_RIDGE_GRID = (KernelRidgeSettings(0.2, 0.01), KernelRidgeSettings(), KernelRidgeSettings(0.5, 0.05))
POOLED_GRID = (KernelRidgeSettings(0.1, 0.005), KernelRidgeSettings(0.2, 0.005), KernelRidgeSettings(0.35, 0.02))
FRAME_GRID = ((20, 0.01), (30, 0.01), (40, 0.01), (30, 0.1), (40, 0.1))  # epochs, weight decay


def kernel_ridge_label(name, settings):
    """Return the name of a candidate, such as ``kernel_ridge, gamma 0.35, ridge 0.02``."""
    return f"{name}, gamma {settings.gamma:g}, ridge {settings.ridge:g}"


def _candidates():
    """Return the candidates of each kind: choice, label, experiment, and settings or None for the experiment's own."""
    heads = [
        (
            "head_frames",
            f"{epochs} epochs, weight decay {decay}",
            "head_frames",
            HeadSettings(epochs=epochs, weight_decay=decay),
        )
        for epochs, decay in FRAME_GRID
    ]
    for name in ("head_clip_mean", "head_clip_mean_max"):
        heads += [(name, f"{epochs} epochs", name, replace(CLIP_HEAD, epochs=epochs)) for epochs in (20, 40)]
    kernel_ridge = [
        ("kernel_ridge", kernel_ridge_label(name, settings), name, settings)
        for name in KERNEL_RIDGES
        for settings in KERNEL_RIDGE_GRID
    ]
    pooled = [
        ("pooled", kernel_ridge_label(name, settings), name, settings)
        for name in ("pooled", "pooled_views")
        for settings in POOLED_GRID
    ]
    return {
        "heads": heads,
        "layers": [("layers", name, name, None) for name in LAYERS],
        "kernel_ridge": [*kernel_ridge, ("distilled", "distilled", "distilled", None)],
        "pooled": pooled,
        "pooled_head": [("pooled_head", "pooled_head", "pooled_head", None)],
    }


CANDIDATES = _candidates()
KINDS = tuple(CANDIDATES)


def path_of(kind, folder=RESULTS_DIR):
    """Return the results file of one kind of candidates."""
    return Path(folder) / f"nested_cv_{kind}.csv"


def load_validation(kind="heads", *, folder=RESULTS_DIR):
    """Read the validation metrics: experiment, candidate, model, test_fold (held out), validation_fold, metrics."""
    return read_csv(path_of(kind, folder))


def validate(kind="heads", *, folder=None, progress=True):
    """Validate every candidate of a kind, and write the file.

    Each run leaves out two folds: one serves as the validation fold in the choice for the other, and vice versa. Ten
    runs per candidate thus serve all five choices; the four runs for a choice never use its test fold.
    """
    folder, clips = folder or output_path(RESULTS_DIR), load_clips()
    splits = [held_out_split(clips, pair) for pair in combinations(FOLDS, 2)]
    rows = []
    for choice, label, name, settings in CANDIDATES[kind]:
        runs = run_splits(name, splits, seeds=[0], settings=settings, progress=progress)
        is_choice = choice in (name, "pooled")
        models = find_experiments()[name].models if is_choice else [name]
        place = {"experiment": choice, "candidate": label}
        rows += [place | row for split, run in runs.values() for row in _rows(clips.iloc[split.test], run, models)]
    write_csv(pd.DataFrame(rows), path_of(kind, folder), float_format="%.6f")
    return load_validation(kind, folder=folder)


def choices(table):
    """Return the best candidate of each experiment for each test fold, by mean validation accuracy."""
    keys = ["experiment", "test_fold", "candidate", "model"]
    means = table.groupby(keys, sort=False)["accuracy"].mean().reset_index()
    best = means.groupby(["experiment", "test_fold"], sort=False)["accuracy"].idxmax()
    return means.loc[best].sort_values(["experiment", "test_fold"]).reset_index(drop=True)


def network_choices(*, folder=RESULTS_DIR):
    """Return `choices` among single networks (`LAYERS` and distilled ones); candidates are names in data/results."""
    table = pd.concat([load_validation(kind, folder=folder) for kind in ("layers", "kernel_ridge", "pooled_head")])
    table = table[table["experiment"] != "kernel_ridge"].assign(candidate=lambda rows: rows["model"])
    return choices(table.assign(experiment="network"))


def runs_of_chosen(chosen, *, folder=RESULTS_DIR):
    """Return the runs of the model chosen for each fold, as `results.load_cross_validation`."""
    runs = load_cross_validation(folder=folder)
    return runs.merge(
        chosen[["candidate", "test_fold"]], left_on=["model", "fold"], right_on=["candidate", "test_fold"]
    )


def out_of_fold_of_chosen(chosen, *, folder=RESULTS_DIR):
    """Return the out-of-fold probabilities of the model chosen for each fold, as `results.load_out_of_fold`."""
    parts = [load_out_of_fold(c.candidate, folder=folder).query(f"fold == {c.test_fold}") for c in chosen.itertuples()]
    return pd.concat(parts, ignore_index=True)


def _rows(clips, run, models):
    folds = sorted(clips["fold"].unique())
    for model in models:
        for fold, other in (folds, folds[::-1]):
            rows, place = (clips["fold"] == fold).to_numpy(), {"test_fold": other, "validation_fold": fold}
            found = classification_metrics(clips["target"].to_numpy()[rows], run["probabilities"][model][rows])
            yield {"model": model, **place, **found}
