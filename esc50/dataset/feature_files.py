"""Feature files: computed once from audio, and rejected on reading if their parameters differ."""

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from esc50.audio import load_sound
from esc50.config import (
    FEATURES_DIR,
    PROJECT_DIR,
    UPPER_LAYERS,
    DatasetError,
    FeatureError,
    LayerSettings,
    LevelledLayerSettings,
    LevelSettings,
    LogMelSettings,
    StatisticsSettings,
    ViewSettings,
    YamnetSettings,
    atomic_write,
)
from esc50.dataset import features
from esc50.dataset.clips import clip_path, find_dataset, load_clips
from esc50.dataset.degradation import DegradationSettings, degrade
from esc50.dataset.ood_sounds import OodSoundsSettings, compute_ood_sounds
from esc50.dataset.views import compute_views


@dataclass(frozen=True)
class OodSoundsLayerSettings(OodSoundsSettings, LayerSettings):
    """Sounds that are not in ESC-50, embedded by YAMNet's layers."""


@dataclass(frozen=True)
class OodSoundsLevelledSettings(OodSoundsSettings, LevelledLayerSettings):
    """Sounds that are not in ESC-50, level-normalised, with the AudioSet scores placed first."""


LEVEL_FACTOR = 5.6  # 15 dB
ENVELOPE_STEPS = 127  # to full scale, in int8
VIEWS = {
    "": ViewSettings(),
    "_slow": ViewSettings(speed=0.85),
    "_fast": ViewSettings(speed=1.18),
    "_looped": ViewSettings(looped=True),
    "_quiet": ViewSettings(level=LevelSettings(target_rms=LevelSettings().target_rms / LEVEL_FACTOR)),
    "_loud": ViewSettings(level=LevelSettings(target_rms=LevelSettings().target_rms * LEVEL_FACTOR)),
    **{
        f"_degraded{anew}{name}": ViewSettings(speed=speed, degradation=DegradationSettings(seed=seed))
        for seed, anew in enumerate(("", "_anew"))
        for name, speed in (("", 1.0), ("_slow", 0.85), ("_fast", 1.18))
    },
}
# name -> settings, which are stored in the file and compared on reading
PARAMETERS = {
    "log_mel": LogMelSettings(),
    "yamnet": YamnetSettings(),
    "clip_statistics": StatisticsSettings(),
    "ood_sounds": OodSoundsSettings(),
    "layers": LayerSettings(),
    "layers_often": LayerSettings(layers=UPPER_LAYERS, patch_hop_seconds=0.16),
    "layers_slow": LayerSettings(speed=0.85),
    "layers_fast": LayerSettings(speed=1.18),
    "ood_sounds_layers": OodSoundsLayerSettings(),
    "levelled": LevelledLayerSettings(),
    "degraded": LevelledLayerSettings(degradation=DegradationSettings()),
    "degraded_anew": LevelledLayerSettings(degradation=DegradationSettings(seed=1)),
    "ood_sounds_levelled": OodSoundsLevelledSettings(),
    **{f"view{name}": how for name, how in VIEWS.items()},
}
CLIP_FEATURES = ("log_mel", "yamnet", "clip_statistics")  # committed, one row per clip


def is_committed(name):
    """Return whether a file is in the repository; those of YAMNet's layers (0.2 to 0.6 GB) are not."""
    return not isinstance(PARAMETERS[name], LayerSettings)


def load_features(name, *, folder=FEATURES_DIR, progress=True):
    """Read a feature file; one that is not committed is computed first if it is missing.

    Only the parameters are compared: after a change to the code, run ``esc50 features NAME``.

    Parameters
    ----------
    name : str
        A key of `PARAMETERS`.
    folder : Path
        Folder of the files.
    progress : bool
        Show progress bars while computing, which takes half a minute for ten frames per clip.

    Returns
    -------
    dict of str to np.ndarray
        ``ood_sounds`` and ``ood_sounds_layers`` hold what `esc50.dataset.ood_sounds.compute_ood_sounds` returns. The
        others hold ``filename``, ``fold``, ``target``, each of shape (n_clips,), and for

        - ``log_mel``: ``log_mel`` (n_clips, 126, 64), decibels, float32;
        - ``yamnet``: ``embeddings`` (n_clips, 10, 1024), float32, and ``mean_scores`` (n_clips, 521), YAMNet's
          AudioSet scores averaged over the clip, float32;
        - ``layers``, ``levelled``, ``degraded`` ...: ``activations`` (n_clips, n_frames, size), concatenated means over
          the patch of the layers in the settings, float16, and ``active`` (n_clips, n_frames), False for silent frames;
        - ``view`` ...: ``activations`` (n_clips, size), float16, from `esc50.dataset.views.compute_views`;
        - ``clip_statistics``: one (n_clips,) array for each statistic of `esc50.dataset.features.clip_statistics`, and
          ``envelope`` (n_clips, 250, 2), the lowest and highest sample of each 20 ms in [-1, 1], float32.

    Raises
    ------
    FeatureError
        If the file is missing, unreadable or was made with other parameters.
    DatasetError, AudioError
        If it must be computed but cannot be: see `compute_and_save`.
    """
    ensure_features(name, folder=folder, progress=progress)
    path = _find(name, folder)
    arrays = _read(path, _remedy(name))
    stored, expected = json.loads(str(arrays.pop("parameters", "{}"))), parameters(name)
    if stored != expected:
        changed = sorted(key for key in {*stored, *expected} if stored.get(key) != expected.get(key))
        raise FeatureError(f"{path} was made with other parameters ({', '.join(changed)} differ): {_remedy(name)}")
    return {key: _decode(key, values) for key, values in arrays.items()}


def parameters(name):
    """Return the parameters that a feature file must contain, after a round trip through JSON."""
    return json.loads(json.dumps(asdict(PARAMETERS[name])))


def save_features(name, arrays, clips=None, *, folder=FEATURES_DIR):
    """Write a feature file, with columns of the clip table if its rows are clips; return its path."""
    path = Path(folder) / f"{name}.npz"
    columns = {} if clips is None else {key: clips[key].to_numpy() for key in ("fold", "target")}
    if clips is not None:
        columns["filename"] = clips["filename"].to_numpy(dtype=str)
    save = np.savez_compressed if is_committed(name) else np.savez  # half a GB takes a minute to compress
    with atomic_write(path) as beside:
        save(beside, **arrays, **columns, parameters=json.dumps(parameters(name)))
    return path


def compute_features(names=CLIP_FEATURES, *, clips=None, root=None, progress=True):
    """Compute features of clips from their audio.

    Parameters
    ----------
    names : sequence of str
        Keys of `PARAMETERS` whose rows are clips.
    clips : pandas.DataFrame, optional
        Rows of the clip table; all by default.
    root : Path, optional
        ESC-50's folder; by default from `esc50.dataset.clips.find_dataset`.
    progress : bool
        Show progress bars.

    Returns
    -------
    dict of str to dict of str to np.ndarray
        Arrays for `save_features`, by name.

    Raises
    ------
    DatasetError
        If no ESC-50 audio is found.
    """
    root, clips = find_dataset(root), load_clips() if clips is None else clips
    files = _bar(clips["filename"], "reading clips", progress)
    waveforms = [load_sound(clip_path(name, root)).waveform for name in files]
    return {name: _COMPUTE[type(PARAMETERS[name])](waveforms, PARAMETERS[name], progress) for name in names}


def compute_and_save(name, *, folder=FEATURES_DIR, progress=True):
    """Compute and write a feature file.

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
        If no ESC-50 audio is found.
    AudioError
        If espeak-ng or the sound theme is missing, which some sounds outside ESC-50 need.
    """
    if isinstance(PARAMETERS[name], OodSoundsSettings):
        arrays = compute_ood_sounds(settings=PARAMETERS[name], progress=progress)
        return save_features(name, arrays, folder=folder)
    arrays = compute_features([name], progress=progress)[name]
    return save_features(name, arrays, load_clips(), folder=folder)


def ensure_features(name, *, folder=FEATURES_DIR, progress=True):
    """Compute a feature file that is missing and not committed."""
    if not is_committed(name) and not (Path(folder) / f"{name}.npz").is_file():
        compute_and_save(name, folder=folder, progress=progress)


def digest(name, *, folder=FEATURES_DIR):
    """Return the SHA-256 of a feature file as hex digits."""
    with _find(name, folder).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_source():
    """Return one line that says where the notebooks' features come from."""
    try:
        found = find_dataset()
    except DatasetError:
        return "no ESC-50 audio found: using the committed features in data/features (get it with `make data`)"
    short = found.relative_to(PROJECT_DIR) if found.is_relative_to(PROJECT_DIR) else found.name
    return f"ESC-50 audio found ({short}); features: data/features, made by `make features`"


def _remedy(name):
    return "restore it with git or run `make features`" if is_committed(name) else f"run `esc50 features {name}`"


def _find(name, folder):
    if not (path := Path(folder) / f"{name}.npz").is_file():
        raise FeatureError(f"no feature file {path}: {_remedy(name)}")
    return path


def _read(path, remedy):
    try:
        with np.load(path) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FeatureError(f"{path} cannot be read ({error}): {remedy}") from error


def _decode(key, values):
    if key == "log_mel":
        return features.dequantise(values)
    if key == "envelope":
        return values.astype(np.float32) / ENVELOPE_STEPS
    is_small = values.dtype == np.float16 and key != "activations"  # too large for memory as float32
    return values.astype(np.float32) if is_small else values


def _bar(items, what, progress):
    from tqdm.auto import tqdm

    return tqdm(items, desc=what, unit="clip", disable=not progress)


def _log_mel(waveforms, settings, progress):
    bar = _bar(waveforms, "log-mel", progress)
    return {"log_mel": np.stack([features.quantise(features.log_mel(w, settings=settings)) for w in bar])}


def _clip_statistics(waveforms, settings, progress):
    bar = _bar(waveforms, "clip statistics", progress)
    rows = [features.clip_statistics(w, settings=settings) | {"envelope": _small_envelope(w)} for w in bar]
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def _small_envelope(waveform):
    return np.rint(ENVELOPE_STEPS * features.envelope(waveform)).astype(np.int8)


def _yamnet(waveforms, settings, progress):
    from esc50.yamnet.hub_module import load_yamnet

    embeddings, scores = load_yamnet().embed_batch(np.stack(waveforms), progress=progress)
    return {
        "embeddings": embeddings.astype(np.float16),  # (n_clips, 10, 1024)
        "mean_scores": scores.mean(axis=1).astype(np.float16),  # (n_clips, 521)
    }


def _layers(waveforms, settings, progress):
    from esc50.yamnet.layers import compute_layers

    activations, active = compute_layers(_degrade(waveforms, settings), settings=settings, progress=progress)
    return {"activations": activations, "active": active}


def _views(waveforms, settings, progress):
    return {"activations": compute_views(_degrade(waveforms, settings), settings=settings, progress=progress)}


def _degrade(waveforms, settings):
    if not (how := getattr(settings, "degradation", None)):
        return waveforms
    return [degrade(waveform, seed=[how.seed, number], settings=how) for number, waveform in enumerate(waveforms)]


_COMPUTE = {
    LogMelSettings: _log_mel,
    YamnetSettings: _yamnet,
    StatisticsSettings: _clip_statistics,
    LayerSettings: _layers,
    LevelledLayerSettings: _layers,
    ViewSettings: _views,
}
