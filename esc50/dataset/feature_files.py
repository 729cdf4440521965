"""The feature files: computed from audio once, read everywhere, refused where their parameters are others."""

import dataclasses
import hashlib
import json
import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from esc50 import audio, dataset
from esc50.config import (
    FEATURES_DIR,
    UPPER_LAYERS,
    DatasetError,
    FeatureError,
    ForeignSettings,
    LayerSettings,
    LogMelSettings,
    StatisticsSettings,
    YamnetSettings,
    atomic_write,
)
from esc50.dataset import features, ood_sounds


@dataclasses.dataclass(frozen=True)
class ForeignLayerSettings(ForeignSettings, LayerSettings):
    """The sounds that are not in ESC-50, and YAMNet's layers, which hear them."""


# name -> settings that make it; every file carries them and is refused when they differ
PARAMETERS = {
    "log_mel": LogMelSettings(),
    "yamnet": YamnetSettings(),
    "clip_statistics": StatisticsSettings(),
    "foreign": ForeignSettings(),
    "layers": LayerSettings(),
    "layers_often": LayerSettings(layers=UPPER_LAYERS, patch_hop_seconds=0.16),
    "layers_slow": LayerSettings(speed=0.85),
    "layers_fast": LayerSettings(speed=1.18),
    "foreign_layers": ForeignLayerSettings(),
}
CLIP_FEATURES = ("log_mel", "yamnet", "clip_statistics")  # one row a clip
FOREIGN_FEATURES = ("foreign", "foreign_layers")  # of sounds that are no clips: made by esc50.dataset.ood_sounds
LAYER_FEATURES = ("layers", "layers_often", "layers_slow", "layers_fast")  # 0.2 to 0.6 GB each
UNCOMMITTED_FEATURES = (*LAYER_FEATURES, "foreign_layers")  # too large: computed where they are wanted


def load_features(name, *, folder=FEATURES_DIR):
    """Read one feature file.

    Parameters
    ----------
    name : str
        A key of `PARAMETERS`.
    folder : Path
        Where the files lie.

    Returns
    -------
    dict of str to np.ndarray
        `FOREIGN_FEATURES` hold what `esc50.dataset.ood_sounds.compute_foreign` returns. The others hold ``filename``, ``fold``,
        ``target``, each of shape (n_clips,), and for

        - ``log_mel``: ``log_mel`` (n_clips, 126, 64), decibels, float32;
        - ``yamnet``: ``embeddings`` (n_clips, 10, 1024), float32, and ``mean_scores`` (n_clips, 521), YAMNet's
          AudioSet scores averaged over the clip, float32;
        - ``layers`` and its like: ``activations`` (n_clips, n_frames, size), averages over the patch of every layer
          of the settings, joined, float16, and ``active`` (n_clips, n_frames), False for frames without sound;
        - ``clip_statistics``: one (n_clips,) array for each statistic of `esc50.dataset.features.clip_statistics`, and
          ``envelope`` (n_clips, 250, 2), the lowest and highest sample of each 20 ms in [-1, 1], float32.

    Raises
    ------
    FeatureError
        The file is missing, unreadable or was made with other parameters.
    """
    path = Path(folder) / f"{name}.npz"
    arrays = _read(path, _remedy(name))
    stored = json.loads(str(arrays.pop("parameters", "{}")))
    if stored != (expected := parameters(name)):
        changed = [k for k in {*stored, *expected} if stored.get(k) != expected.get(k)]
        raise FeatureError(
            f"{path} was made with other parameters ({', '.join(sorted(changed))} differ): {_remedy(name)}"
        )
    return {key: _decode(key, values) for key, values in arrays.items()}


def parameters(name):
    """Parameters that a feature file must carry.

    Parameters
    ----------
    name : str
        A key of `PARAMETERS`.

    Returns
    -------
    dict
        The settings' fields, as JSON would give them back.
    """
    return json.loads(json.dumps(dataclasses.asdict(PARAMETERS[name])))


def save_features(name, arrays, clips=None, *, folder=FEATURES_DIR):
    """Write one feature file: beside its place first, then renamed.

    Parameters
    ----------
    name : str
        A key of `PARAMETERS`.
    arrays : dict of str to np.ndarray, each of shape (n_clips, ...)
        What to store.
    clips : pandas.DataFrame, optional
        The clip table, for filename, fold and target; none for sounds that are not clips of ESC-50.
    folder : Path
        Where to write.

    Returns
    -------
    Path
        The file.
    """
    path = Path(folder) / f"{name}.npz"
    columns = {} if clips is None else {key: clips[key].to_numpy() for key in ("fold", "target")}
    if clips is not None:
        columns["filename"] = clips["filename"].to_numpy(dtype=str)
    save = np.savez if name in UNCOMMITTED_FEATURES else np.savez_compressed  # half a GB takes a minute to compress
    with atomic_write(path) as beside:
        save(beside, **arrays, **columns, parameters=json.dumps(parameters(name)))
    return path


def compute_features(names=CLIP_FEATURES, *, clips=None, root=None, progress=True):
    """Compute features of the given clips from their audio.

    Parameters
    ----------
    names : sequence of str
        Some of `CLIP_FEATURES` and `LAYER_FEATURES`.
    clips : pandas.DataFrame, optional
        Rows of the clip table; all by default.
    root : Path, optional
        ESC-50's folder; found as `esc50.dataset.clips.find_dataset` finds it by default.
    progress : bool
        Show progress bars.

    Returns
    -------
    dict of str to dict of str to np.ndarray
        For each name the arrays that `save_features` stores.

    Raises
    ------
    DatasetError
        No ESC-50 audio is found.
    """
    from tqdm.auto import tqdm

    root = dataset.find_dataset(root)
    clips = dataset.load_clips() if clips is None else clips
    files = tqdm(clips["filename"], desc="reading clips", unit="clip", disable=not progress)
    waveforms = [audio.load_sound(dataset.clip_path(name, root)).waveform for name in files]
    return {name: _COMPUTE[name](waveforms, progress) for name in names}


def compute_and_save(name, *, folder=FEATURES_DIR, progress=True):
    """Compute one feature file from audio: that of the clips, or of sounds that are not in ESC-50.

    Parameters
    ----------
    name : str
        A key of `PARAMETERS`.
    folder : Path
        Where to write.
    progress : bool
        Show progress bars.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DatasetError
        No ESC-50 audio is found.
    AudioError
        espeak-ng or the sound theme is missing, which some of the foreign sounds need.
    """
    if name in FOREIGN_FEATURES:
        arrays = ood_sounds.compute_foreign(layers=getattr(PARAMETERS[name], "layers", None), progress=progress)
        return save_features(name, arrays, folder=folder)
    arrays = compute_features([name], progress=progress)[name]
    return save_features(name, arrays, dataset.load_clips(), folder=folder)


def layer_features(name, *, folder=FEATURES_DIR, progress=True):
    """Read the layers' activations, computing them from audio first where they are not there yet.

    Parameters
    ----------
    name : str
        One of `UNCOMMITTED_FEATURES`.
    folder : Path
        Where the files lie.
    progress : bool
        Show progress bars: half a minute for ten frames a clip.

    Returns
    -------
    dict of str to np.ndarray
        As `load_features`.

    Raises
    ------
    DatasetError
        They are not there and no ESC-50 audio is found.
    AudioError
        They are not there and cannot be made, as `compute_and_save` says.
    """
    ensure_features(name, folder=folder, progress=progress)
    return load_features(name, folder=folder)


def ensure_features(name, *, folder=FEATURES_DIR, progress=True):
    """Compute a feature file that is not committed where it is not there yet; a committed one is left alone.

    A file that is there is not compared with the code that made it: after a change to that code, run
    ``python -m esc50 features`` with its name.

    Parameters
    ----------
    name : str
        A key of `PARAMETERS`.
    folder : Path
        Where the files lie.
    progress : bool
        Show progress bars.

    Raises
    ------
    DatasetError, AudioError
        As `compute_and_save`.
    """
    if name in UNCOMMITTED_FEATURES and not (Path(folder) / f"{name}.npz").is_file():
        compute_and_save(name, folder=folder, progress=progress)


def digest(name, *, folder=FEATURES_DIR):
    """Fingerprint of a feature file's content.

    Parameters
    ----------
    name : str
        A key of `PARAMETERS`.
    folder : Path
        Where the files lie.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.

    Raises
    ------
    FeatureError
        There is no such file.
    """
    path = Path(folder) / f"{name}.npz"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise FeatureError(f"no feature file {path}: {_remedy(name)}") from None


def describe_source():
    """Say in one line where the notebooks' features come from.

    Returns
    -------
    str
        Names the folder of the audio, or says that none was found and the committed files are used.
    """
    try:
        return (
            f"ESC-50 audio found ({_short(dataset.find_dataset())}); features: data/features, made by `make features`"
        )
    except DatasetError:
        return "no ESC-50 audio found: using the committed features in data/features (get it with `make data`)"


def _short(folder):
    from esc50.config import PROJECT_DIR

    return folder.relative_to(PROJECT_DIR) if folder.is_relative_to(PROJECT_DIR) else folder.name


def _remedy(name):
    return (
        f"run `python -m esc50 features {name}`"
        if name in UNCOMMITTED_FEATURES
        else "restore it with git or run `make features`"
    )


def _read(path, remedy):
    try:
        with np.load(path) as file:
            return dict(file)
    except FileNotFoundError:
        raise FeatureError(f"no feature file {path}: {remedy}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FeatureError(f"{path} cannot be read ({error}): {remedy}") from error


def _decode(key, values):
    if key == "log_mel":
        return features.dequantise(values)
    if key == "activations":
        return values  # float32 would fill the memory
    if key == "envelope":
        return values.astype(np.float32) / 127
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _log_mel(waveforms, progress):
    from tqdm.auto import tqdm

    bar = tqdm(waveforms, desc="log-mel", unit="clip", disable=not progress)
    return {"log_mel": np.stack([features.quantise(features.log_mel(w)) for w in bar])}


def _clip_statistics(waveforms, progress):
    from tqdm.auto import tqdm

    bar = tqdm(waveforms, desc="clip statistics", unit="clip", disable=not progress)
    rows = [features.clip_statistics(w) | {"envelope": features.envelope(w)} for w in bar]
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def _yamnet(waveforms, progress):
    from esc50.yamnet.hub_module import load_yamnet

    embeddings, scores = load_yamnet().embed_batch(np.stack(waveforms), progress=progress)
    return {
        "embeddings": embeddings.astype(np.float16),  # (n_clips, 10, 1024)
        "mean_scores": scores.mean(axis=1).astype(np.float16),  # (n_clips, 521)
    }


def _layers(waveforms, progress, *, settings):
    from esc50.yamnet.layers import compute_layers

    activations, active = compute_layers(waveforms, settings=settings, progress=progress)
    return {"activations": activations, "active": active}


_COMPUTE = {"log_mel": _log_mel, "yamnet": _yamnet, "clip_statistics": _clip_statistics} | {
    name: partial(_layers, settings=PARAMETERS[name]) for name in LAYER_FEATURES
}
