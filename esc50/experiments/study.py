"""The experiments of the study: which model on which features, over which folds and seeds; resumable."""

import dataclasses
import functools
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from esc50.classifier import pooling
from esc50.config import (
    ALL_LAYERS,
    FOLDS,
    RESULTS_DIR,
    SEEDS,
    UPPER_LAYERS,
    CnnSettings,
    DistillationSettings,
    FusionSettings,
    HeadSettings,
    KernelSettings,
)
from esc50.dataset import features
from esc50.dataset.clips import load_clips
from esc50.dataset.feature_files import PARAMETERS, digest, load_features, parameters
from esc50.dataset.splits import duplicated_clip_splits, grouped_random_splits, leaky_random_splits, official_splits
from esc50.experiments import run_cache
from esc50.experiments.distillation import fit_distilled
from esc50.experiments.kernel_ridge import clip_maxima, clip_means, fit_kernel, partial_maxima
from esc50.experiments.multilayer import fit_fusion, heard
from esc50.experiments.networks import build_head
from esc50.experiments.results import load_results, read_csv, save_results, write_csv
from esc50.experiments.training import fit_classical, fit_cnn, fit_head, set_seed, train
from esc50.yamnet.backend import quiet_tensorflow
from esc50.yamnet.frames import active_frames
from esc50.yamnet.layers import columns_of


@dataclass(frozen=True)
class Experiment:
    """One training recipe and the model names under which its results are kept."""

    features: str | tuple  # a name of esc50.dataset.feature_files.PARAMETERS, or several
    prepare: callable  # feature arrays (or a list of them) -> (n_clips, ...) inputs
    fit: callable  # fit(inputs, targets, split, settings=, seed=, progress=) -> Run
    models: tuple
    settings: object = None
    seeds: tuple = (0,)
    by_split: dict = field(default_factory=dict)  # split -> settings, where nested validation chose others for it
    code: tuple = ()  # modules that decide the result beside those of esc50.experiments.run_cache.CODE


def _mfcc(arrays):
    return features.mfcc_statistics(arrays["log_mel"])  # (n_clips, 80)


def _clip_mean(arrays):
    return arrays["embeddings"].mean(axis=1)  # (n_clips, 1024)


def _clip_mean_max(arrays):
    embeddings = arrays["embeddings"]
    return np.concatenate([embeddings.mean(axis=1), embeddings.max(axis=1)], axis=1)  # (n_clips, 2048)


FRAME_POOLINGS = {  # model -> a name of esc50.classifier.pooling.POOLINGS; the first is the chosen one
    "head_frames": "geometric_mean_of_sound",
    "head_frames_mean_of_sound": "mean_of_sound",
    "head_frames_geometric": "geometric_mean",
    "head_frames_mean": "mean",
    "head_frames_max": "max",
}


# Chosen by nested validation, as is HeadSettings itself: a test holds them to data/results/selection.csv.
CLIP_HEAD = HeadSettings(epochs=40, batch_size=64, weight_decay=0.01)
FRAME_HEADS = {"fold 1": HeadSettings(epochs=40, weight_decay=0.01), "fold 3": HeadSettings(epochs=40)}
EXPERIMENTS = {
    **{
        name: Experiment("log_mel", _mfcc, partial(fit_classical, name), (name,))
        for name in ("mfcc_knn", "mfcc_svm", "mfcc_random_forest")
    },
    **{
        name: Experiment("log_mel", lambda a: a["log_mel"], partial(fit_cnn, name), (name,), CnnSettings())
        for name in ("cnn_separable", "cnn_vgg")
    },
    "yamnet_logistic": Experiment(
        "yamnet", _clip_mean, partial(fit_classical, "yamnet_logistic"), ("yamnet_logistic",)
    ),
    **{
        name: Experiment(
            "yamnet",
            lambda a, pool=pool: pool(a)[:, None],  # (n_clips, 1, size)
            partial(fit_head, {name: pooling.POOLINGS["mean"]}),
            (name,),
            CLIP_HEAD,
            SEEDS,
        )
        for name, pool in {"head_clip_mean": _clip_mean, "head_clip_mean_max": _clip_mean_max}.items()
    },
    "head_frames": Experiment(
        "yamnet",
        lambda a: a["embeddings"],
        partial(
            fit_head,
            {model: pooling.POOLINGS[kind] for model, kind in FRAME_POOLINGS.items()},
            active=active_frames,
        ),
        tuple(FRAME_POOLINGS),
        HeadSettings(),
        SEEDS,
        FRAME_HEADS,
    ),
}


def _hear(files, *, layers, logarithm=True):
    """Versions of the clips, all with the same layers."""
    settings = [PARAMETERS[name] for name in files]
    columns = [columns_of(layers, settings=each) for each in settings]
    return lambda arrays: tuple(heard(a, c, logarithm=logarithm) for a, c in zip(arrays, columns, strict=True))


SPEEDS = ("layers", "layers_slow", "layers_fast")
PARTS_OF_EACH = 2  # other versions of a clip at each speed: maxima over some of its frames


def _maxima(arrays, *, parts=0):
    """Maxima of the clips at each speed, then over some of their frames."""
    clips, rng = _hear(SPEEDS[: len(arrays)], layers=ALL_LAYERS)(arrays), np.random.default_rng(0)
    some = [partial_maxima(each, rng) for _ in range(parts) for each in clips]
    return *map(clip_maxima, clips), *some


def _means(arrays):
    return tuple(map(clip_means, _hear(SPEEDS[: len(arrays)], layers=ALL_LAYERS)(arrays)))


def _fusion(readings, *, files=("layers",), layers=ALL_LAYERS, logarithm=True, settings=FusionSettings(), **options):
    fit, prepare = partial(fit_fusion, readings, **options), _hear(files, layers=layers, logarithm=logarithm)
    return Experiment(files, prepare, fit, tuple(readings), settings, SEEDS, code=FUSION_CODE)


def _kernel(readings, *, files=("layers",), prepare=_maxima, **options):
    fit = partial(fit_kernel, readings, **options)
    return Experiment(files, prepare, fit, tuple(readings), KernelSettings(), code=(*FUSION_CODE, "kernel"))


def _distilled(readings, **options):
    fit, code = partial(fit_distilled, readings, n_taught=len(SPEEDS), **options), (*FUSION_CODE, "kernel", "distil")
    prepare = partial(_maxima, parts=PARTS_OF_EACH)
    return Experiment(SPEEDS, prepare, fit, tuple(readings), DistillationSettings(), SEEDS, code=code)


FUSION_CODE = ("fusion", "layers", "backbone")


_WHOLE, _THREE_SPEEDS = (0,), (0, 1, 2)  # the clips as they are; and slower, and faster


EXPERIMENTS |= {
    "fusion_1": _fusion({"fusion_1": _WHOLE}, layers=(14,)),
    "fusion_3": _fusion({"fusion_3": _WHOLE}, layers=(12, 13, 14)),
    "fusion_8": _fusion(
        {"fusion_8": _WHOLE, "fusion_8_shifts": (1,), "fusion_8_speeds": (0, 2, 3)},
        files=("layers", "layers_often", "layers_slow", "layers_fast"),
        layers=UPPER_LAYERS,
    ),
    "fusion_14": _fusion({"fusion_14": _WHOLE}),
    "fusion_8_linear": _fusion({"fusion_8_linear": _WHOLE}, layers=UPPER_LAYERS, logarithm=False),
    "fusion_14_mixup": _fusion({"fusion_14_mixup": _WHOLE}, settings=FusionSettings(mixup_alpha=0.3)),
    "fusion_14_attention": _fusion(
        {"fusion_14_attention": _WHOLE}, settings=FusionSettings(attention_units=64, epochs=40)
    ),
    "fusion_14_speeds": _fusion({"fusion_14_speeds": _WHOLE}, files=SPEEDS, trained_on=_THREE_SPEEDS),
    "kernel_mean": _kernel({"kernel_mean": _WHOLE}, prepare=_means),
    "kernel": _kernel({"kernel": _WHOLE}),
    "kernel_speeds": _kernel({"kernel_speeds": _THREE_SPEEDS}, files=SPEEDS, trained_on=_THREE_SPEEDS),
    "blended": _distilled({"blended": _WHOLE}, is_taught=False),
    "distilled": _distilled({"distilled": _WHOLE, "distilled_speeds": _THREE_SPEEDS}),
}
PROTOCOLS = {
    "official folds": lambda clips, seed: official_splits(clips),
    "random, recordings kept together": lambda clips, seed: grouped_random_splits(clips, seed=seed),
    "random clips": lambda clips, seed: leaky_random_splits(clips, seed=seed),
    "duplicated clips, then random": lambda clips, seed: duplicated_clip_splits(clips, seed=seed),
}


def run_experiment(name, *, folds=FOLDS, seeds=None, settings=None, splits=None, progress=True):
    """Train and test one experiment: a run for each seed and split.

    Finished runs are kept in ``build/runs`` under a digest of everything that determines them, so an
    interrupted call goes on where it was.

    Parameters
    ----------
    name : str
        A key of `EXPERIMENTS`.
    folds : sequence of int
        Official folds to test, each by a model trained on the other four.
    seeds : sequence of int, optional
        The experiment's own by default.
    settings : dataclass, optional
        The experiment's own by default, which are those chosen for each split.
    splits : sequence of esc50.dataset.splits.Split, optional
        In place of the official folds, to measure what another protocol would claim.
    progress : bool
        Show progress bars.

    Returns
    -------
    esc50.experiments.results.Results
        Not yet written: see `esc50.experiments.results.save_results`.
    """
    from tqdm.auto import tqdm

    quiet_tensorflow()
    experiment, clips = EXPERIMENTS[name], load_clips()
    splits = splits or official_splits(clips, folds=folds)
    inputs, targets = inputs_of(name), clips["target"].to_numpy()
    found = {}
    todo = [(seed, split) for seed in seeds or experiment.seeds for split in splits]
    for seed, split in tqdm(todo, desc=name, unit="run", disable=not progress):
        chosen = settings_for(experiment, split, settings=settings)
        fit = partial(experiment.fit, inputs, targets, split, settings=chosen, seed=seed, progress=progress)
        found[seed, split.name] = (
            split,
            run_cache.resumed(fit, run_cache.run_path(name, _record(name, chosen), split, seed)),
        )
    record = _record(name, settings or experiment.settings)
    if len({settings_for(experiment, split, settings=settings) for split in splits}) > 1:
        record |= {"settings_by_split": {s: dataclasses.asdict(x) for s, x in experiment.by_split.items()}}
    return run_cache.assemble(found, clips, experiment.models, record, command=f"python -m esc50 train {name}")


@functools.lru_cache(maxsize=1)
def inputs_of(name):
    """What an experiment trains and tests on; kept for the next call, since reading layers takes as long as a training.

    Parameters
    ----------
    name : str
        A key of `EXPERIMENTS`.

    Returns
    -------
    np.ndarray or tuple
        (n_clips, ...) inputs; on several layers a version of the clips for each feature file, or more.

    Raises
    ------
    FeatureError
        A committed feature file is missing.
    DatasetError
        The layers' activations are not there and no ESC-50 audio is found.
    """
    experiment = EXPERIMENTS[name]
    if isinstance(experiment.features, str):
        return experiment.prepare(load_features(experiment.features))
    return experiment.prepare([load_features(file) for file in experiment.features])


def settings_for(experiment, split, *, settings=None):
    """Settings with which an experiment trains on one split.

    Parameters
    ----------
    experiment : Experiment
        A value of `EXPERIMENTS`.
    split : esc50.dataset.splits.Split
        What it trains and tests on.
    settings : dataclass, optional
        In place of the experiment's own.

    Returns
    -------
    dataclass or None
        The experiment's own are those that nested validation chose for this split: see `esc50.experiments.nested_cv`.
    """
    is_own = settings is None or settings == experiment.settings
    return experiment.by_split.get(split.name, experiment.settings) if is_own else settings


def results_of(name, *, retrain=False, folds=FOLDS, seeds=None, settings=None, progress=True):
    """Results of one experiment: the committed ones, or made anew.

    New results replace the committed ones when the run was whole (every fold, the experiment's own seeds and
    settings); those of a smaller run are only returned.

    Parameters
    ----------
    name : str
        A key of `EXPERIMENTS`.
    retrain : bool
        Train, instead of reading data/results.
    folds, seeds, settings, progress
        As in `run_experiment`; used only with `retrain`.

    Returns
    -------
    esc50.experiments.results.Results
        Of every model name that the experiment gives.
    """
    experiment = EXPERIMENTS[name]
    if not retrain:
        return load_results(experiment.models)
    settings, seeds = settings or experiment.settings, tuple(seeds or experiment.seeds)
    found = run_experiment(name, folds=folds, seeds=seeds, settings=settings, progress=progress)
    if is_whole(name, folds=folds, seeds=seeds, settings=settings):
        save_results(found)
        return load_results(experiment.models)  # as everyone will read them: rounded as the files are
    return found


def is_whole(name, *, folds, seeds, settings):
    """Tell a whole run of an experiment, which may replace committed files, from a smaller one.

    Parameters
    ----------
    name : str
        A key of `EXPERIMENTS`.
    folds, seeds : sequence of int
        What the run tests and repeats.
    settings : dataclass
        How it trains.

    Returns
    -------
    bool
        True for every fold and the experiment's own seeds and settings.
    """
    experiment = EXPERIMENTS[name]
    return (tuple(folds), tuple(seeds), settings) == (FOLDS, experiment.seeds, experiment.settings)


def protocols_of(name, *, retrain=False, settings=None):
    """What other ways to split the clips would claim for one experiment, beside the official folds.

    Parameters
    ----------
    name : str
        A key of `EXPERIMENTS`.
    retrain : bool
        Train, instead of reading ``data/results/protocols.csv``; with the experiment's own settings the file is
        written too.
    settings : dataclass, optional
        The experiment's own by default. Splits and training have the first of its seeds.

    Returns
    -------
    pandas.DataFrame
        Columns protocol, and those of ``cross_validation.csv``; ``fold`` counts the parts of each protocol.
    """
    path = RESULTS_DIR / "protocols.csv"
    if not retrain:
        return read_csv(path)
    clips, model, seed = load_clips(), EXPERIMENTS[name].models[0], EXPERIMENTS[name].seeds[0]
    tables = []
    for protocol, make_splits in PROTOCOLS.items():
        splits = make_splits(clips, seed)
        found = run_experiment(name, splits=splits, seeds=(seed,), settings=settings)
        rows = found.cross_validation
        tables.append(rows[rows["model"] == model].assign(protocol=protocol))
    table = pd.concat(tables, ignore_index=True)
    if settings in (None, EXPERIMENTS[name].settings):
        write_csv(table, path, float_format="%.6f")
        return read_csv(path)
    return table


def train_head_on(embeddings, targets, *, settings=HeadSettings(), seed=0, progress=False):
    """Train the dense head on the frames of some clips, each of which has the label of its clip.

    Parameters
    ----------
    embeddings : np.ndarray, shape (n_clips, n_frames, 1024)
        Of the clips to train on.
    targets : np.ndarray, shape (n_clips,)
        Their labels, 0 to 49.
    settings : HeadSettings
        Of the head and its training.
    seed : int
        Seed of weights and order.
    progress : bool
        Show a progress bar.

    Returns
    -------
    keras.Model
        From (batch, 1024) to (batch, 50).
    """
    quiet_tensorflow()
    set_seed(seed)
    n_frames, size = embeddings.shape[1:]
    model = build_head(input_size=size, settings=settings)
    frames, labels = embeddings.reshape(-1, size), np.repeat(targets, n_frames)
    return train(model, frames, labels, settings=settings, seed=seed, progress=progress).model


def _record(name, settings):
    experiment = EXPERIMENTS[name]
    return {
        "experiment": name,
        "settings": dataclasses.asdict(settings) if settings else {},
        **_feature_record(experiment.features),
        "code_version": run_cache.code_version(experiment.code),
    }


@functools.cache
def _feature_record(names):
    if isinstance(names, tuple):
        records = [_feature_record(name) for name in names]
        return {key: [record[key] for record in records] for key in records[0]}
    return {"features": names, "feature_parameters": parameters(names), "feature_sha256": digest(names)}
