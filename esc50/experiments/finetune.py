"""YAMNet trained further, end to end, every kernel at its own rate; goes on after the last whole epoch."""

import dataclasses
import hashlib
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from esc50.config import FOLDS, N_CLASSES, SEEDS, FinetuneSettings
from esc50.dataset.clips import load_clips
from esc50.dataset.feature_files import load_features
from esc50.dataset.splits import Split, official_splits
from esc50.experiments import run_cache, study
from esc50.experiments.distillation import distil
from esc50.experiments.finetune_data import FOLDER, draw_patches, load_log_mels
from esc50.experiments.finetune_network import build_learner, clip_scores, make_step, reseed_dropout
from esc50.experiments.kernel_ridge import KernelMachine
from esc50.experiments.results import write_csv
from esc50.experiments.training import Run, set_seed
from esc50.yamnet import keras_model
from esc50.yamnet.backend import quiet_tensorflow
from esc50.yamnet.frames import active_frames, yamnet_fingerprint
from esc50.yamnet.hub_module import load_yamnet

MODEL = "finetuned"
COMMAND = "python -m esc50 finetune"
SETTINGS = FinetuneSettings()
CODE = (*study.EXPERIMENTS["distilled"].code, "finetune", "finetune_data", "finetune_network", "yamnet")
CHECKPOINT = "checkpoint.npz"
CURVES = ("loss", "accuracy", "held_out_loss", "held_out_accuracy")


logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Task:
    """Clips, and which of them to train and to test on."""

    log_mels: np.ndarray  # (n_clips, n_windows, 64): `esc50.experiments.finetune_data.load_log_mels`
    versions: tuple  # of (n_clips, size) maxima as YAMNet hears them: what the head is distilled from
    targets: np.ndarray  # (n_clips,) labels 0 to 49
    active: np.ndarray  # (n_clips, n_patches) every 0.48 s: with sound? Only those are tested
    split: Split


def run_finetuning(*, folds=FOLDS, seeds=SEEDS, settings=SETTINGS, progress=True):
    """Fine-tune and test YAMNet: a run for each seed and official fold.

    Finished runs are kept in ``build/runs``, unfinished ones after each epoch in ``build/finetune``, both under a
    digest of everything that determines them: an interrupted call goes on where it was.

    Parameters
    ----------
    folds : sequence of int
        Official folds to test, each by a network trained on the other four.
    seeds : sequence of int
        One training of each fold for each.
    settings : FinetuneSettings
        Of network and training.
    progress : bool
        Show progress bars.

    Returns
    -------
    esc50.experiments.results.Results
        Not yet written: see `is_whole` and `esc50.experiments.results.save_results`.

    Raises
    ------
    DatasetError
        No ESC-50 audio is found.
    """
    from tqdm.auto import tqdm

    log_mels, clips, found = load_log_mels(progress=progress), load_clips(), {}
    quiet_tensorflow()
    targets, active = clips["target"].to_numpy(), active_frames(load_features("yamnet")["embeddings"])
    versions = study.inputs_of("distilled")
    record, weights = _record(log_mels, versions, active, settings), load_yamnet().weights()
    todo = [(seed, split) for seed in seeds for split in official_splits(clips, folds=folds)]
    with _logging_to(FOLDER / "finetune.log"):
        for seed, split in tqdm(todo, desc=MODEL, unit="run", disable=not progress):
            task, path = (
                Task(log_mels, versions, targets, active, split),
                run_cache.run_path(MODEL, record, split, seed),
            )
            options = {"folder": FOLDER / path.stem, "settings": settings, "seed": seed, "progress": progress}
            found[seed, split.name] = split, run_cache.resumed(partial(finetune, task, weights, **options), path)
            (FOLDER / path.stem / CHECKPOINT).unlink(missing_ok=True)  # 72 MB, of a run that is kept now
    return run_cache.assemble(found, clips, (MODEL,), record, command=COMMAND)


def is_whole(*, folds, seeds, settings):
    """Tell a whole run, which may replace committed files, from a smaller one.

    Parameters
    ----------
    folds, seeds : sequence of int
        What the run tests and repeats.
    settings : FinetuneSettings
        How it trains.

    Returns
    -------
    bool
        True for every fold, at least the seeds that are the default, and the default settings.
    """
    return set(folds) == set(FOLDS) and set(seeds) >= set(SEEDS) and settings == SETTINGS


def finetune(task, weights, *, folder, settings=SETTINGS, seed=0, progress=False):
    """Fine-tune YAMNet on one split and score its test clips; goes on after the last epoch found in `folder`.

    First the head alone is distilled on YAMNet as it is, which also fixes by what mean and deviation the head
    standardises; then everything from `settings.first_trained_layer` on is trained on blends of two clips, which are
    labelled by the head's teacher and by the clips' own labels. What is drawn in an epoch depends on the seed and the
    epoch's number only, so that a run that was stopped ends with the numbers of one that was not.

    Parameters
    ----------
    task : Task
        Clips and split.
    weights : dict of str to np.ndarray
        Of YAMNet: `esc50.yamnet.hub_module.Yamnet.weights`.
    folder : Path
        For ``checkpoint.npz`` and ``history.csv``, both replaced after each epoch; one folder for each combination
        of the other arguments.
    settings : FinetuneSettings
        Of network and training.
    seed : int
        Seed of weights, order, augmentation and dropout.
    progress : bool
        Show progress bars.

    Returns
    -------
    esc50.experiments.training.Run
        The history has loss and accuracy on test clips after each epoch too: logged, never used.
    """
    quiet_tensorflow()
    set_seed(seed)
    learner = build_learner(weights, n_clips=len(task.split.train), settings=settings)
    checkpoint = Path(folder) / CHECKPOINT
    if checkpoint.exists():
        learner.restore(checkpoint)
    else:
        with _epoch(learner, task, checkpoint, seed) as row:
            row.update(_train_head(learner, task, settings, seed, progress))
    _train_all(learner, task, checkpoint, settings, seed, progress)
    rows = pd.DataFrame(learner.rows)
    history = {name: rows[name].tolist()[1:] for name in CURVES}  # without the head alone
    return Run({MODEL: _test_scores(learner, task)}, history, float(rows["seconds"].sum()))


def _train_head(learner, task, settings, seed, progress):
    """Distil the head alone; its last epoch's loss and accuracy."""
    rows, options = task.split.train, {"settings": settings.head, "seed": seed, "progress": progress}
    versions = [version[rows] for version in task.versions]
    head, history = distil(versions, task.targets[rows], n_taught=len(study.SPEEDS), **options)
    learner.network.get_layer("head").set_weights(head.get_weights())
    learner.start_average()
    return {name: history[name][-1] for name in ("loss", "accuracy")}


def _train_all(learner, task, checkpoint, settings, seed, progress):
    """Train everything for the epochs that are left."""
    from tqdm.auto import tqdm

    step, done = make_step(learner, settings=settings), len(learner.rows) - 1
    label_blends = _labeller(task, settings)
    options = {"unit": "epoch", "leave": False, "disable": not progress}
    with tqdm(total=settings.epochs, initial=done, desc=f"{task.split.name}, seed {seed}", **options) as bar:
        for epoch in range(done + 1, settings.epochs + 1):
            with _epoch(learner, task, checkpoint, seed) as row:
                rng = np.random.default_rng((seed, epoch))
                row.update(_train_epoch(learner, task, step, label_blends, settings, rng, progress))
            bar.set_postfix(loss=f"{row['loss']:.3f}")
            bar.update()


def _train_epoch(learner, task, step, label_blends, settings, rng, progress):
    """Train everything on each clip once; loss and accuracy over the steps, on blends."""
    from tqdm.auto import tqdm

    reseed_dropout(learner.network, rng)
    order, found = rng.permutation(task.split.train), []
    batches = np.split(order, range(settings.clips_per_batch, len(order), settings.clips_per_batch))
    for rows in tqdm(batches, desc="steps", unit="step", leave=False, disable=not progress):
        patches, partners = draw_patches(task.log_mels[rows], rng, settings=settings), rng.permutation(len(rows))
        blended, share = rng.random(len(rows)) < settings.head.blended, rng.random(len(rows), dtype=np.float32)
        share = np.where(blended, share, np.float32(1))[:, np.newaxis]  # (n_clips, 1)
        batch = patches, partners, share, label_blends(rows, rows[partners], share)
        found.append([float(value) for value in step(*batch)])
    return dict(zip(("loss", "accuracy"), np.mean(found, axis=0).tolist(), strict=True))


def _labeller(task, settings):
    """A function that labels blends of training clips: by the teacher's word of them, and by their own labels."""
    one_hot, vectors = np.eye(N_CLASSES, dtype=np.float32)[task.targets], task.versions[0]
    versions = [version[task.split.train] for version in task.versions[: len(study.SPEEDS)]]
    teacher = KernelMachine(versions, task.targets[task.split.train], settings=settings.head.kernel)

    def label(first, second, share):
        blend = share * vectors[first] + (1 - share) * vectors[second]  # (n_clips, size)
        own = share * one_hot[first] + (1 - share) * one_hot[second]  # (n_clips, 50)
        return settings.taught * teacher.probabilities(teacher.outputs(blend)) + (1 - settings.taught) * own

    return label


@contextmanager
def _epoch(learner, task, checkpoint, seed):
    """Take an epoch's row; then measure the test clips, which nothing uses, keep all, and log it."""
    start, row = time.perf_counter(), {"epoch": len(learner.rows)}
    yield row
    scores, own = _test_scores(learner, task), task.targets[task.split.test]
    row["held_out_loss"] = float(-np.log(np.maximum(scores[np.arange(len(own)), own], 1e-7)).mean())
    row["held_out_accuracy"] = float((scores.argmax(axis=1) == own).mean())
    row["seconds"] = time.perf_counter() - start
    learner.rows.append(row)
    learner.save(checkpoint)
    write_csv(pd.DataFrame(learner.rows), checkpoint.with_name("history.csv"), float_format="%.6f")
    told = ", ".join(f"{name} {row[name]:.4f}" for name in (*CURVES, "seconds"))
    logger.info("%s, seed %d, epoch %d: %s (held-out is never used)", task.split.name, seed, row["epoch"], told)


def _test_scores(learner, task):
    return clip_scores(learner.averaged, task.log_mels[task.split.test], task.active[task.split.test])


def _record(log_mels, versions, active, settings):
    heard = hashlib.sha256(log_mels)
    for array in (*versions, active):
        heard.update(np.ascontiguousarray(array))
    return {
        "experiment": MODEL,
        "settings": dataclasses.asdict(settings),
        "features": "YAMNet's log-mel of the recordings, what its layers make of them, which patches have sound",
        "feature_parameters": dataclasses.asdict(keras_model.SETTINGS),
        "feature_sha256": heard.hexdigest(),
        "yamnet": yamnet_fingerprint(),
        "code_version": run_cache.code_version(CODE),
    }


@contextmanager
def _logging_to(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    handler, level = logging.FileHandler(path, encoding="utf-8"), logger.level
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()
