"""What fine-tuning hears: YAMNet's log-mels of all clips, made from the recordings once, and patches drawn of them."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from esc50 import audio
from esc50.config import BUILD_DIR, FinetuneSettings, atomic_write
from esc50.dataset.clips import clip_path, find_dataset, load_clips
from esc50.yamnet import keras_model
from esc50.yamnet.backend import quiet_tensorflow

SETTINGS = FinetuneSettings()
FOLDER = BUILD_DIR / "finetune"
CLIPS_AT_ONCE = 50


def load_log_mels(*, root=None, folder=FOLDER, progress=True):
    """YAMNet's log-mels of all clips, in the order of the clip table.

    Parameters
    ----------
    root : Path, optional
        ESC-50's folder; found as `esc50.dataset.clips.find_dataset` finds it by default.
    folder : Path
        Where they are kept once they are made.
    progress : bool
        Show a progress bar.

    Returns
    -------
    np.ndarray, shape (2000, 528, 64)
        Float32.

    Raises
    ------
    DatasetError
        No ESC-50 audio is found: unlike the heads, fine-tuning needs the recordings.
    """
    root = find_dataset(root)
    paths = [clip_path(name, root) for name in load_clips()["filename"]]
    return log_mels_of(paths, folder=folder, progress=progress)


def log_mels_of(paths, *, folder=FOLDER, progress=True):
    """YAMNet's log-mels of some equally long recordings, read back where they were made before.

    Parameters
    ----------
    paths : sequence of Path
        Recordings.
    folder : Path
        Where the log-mels are kept, under a digest of the recordings' names and sizes and of the code that hears them.
    progress : bool
        Show a progress bar.

    Returns
    -------
    np.ndarray, shape (n_clips, n_windows, 64)
        Float32: `esc50.yamnet.keras_model.log_mel` of the padded waveforms.
    """
    path = Path(folder) / f"log_mels_{_digest(paths)}.npy"
    if not path.exists():
        with atomic_write(path) as beside:
            np.save(beside, _compute(paths, progress))
    return np.load(path)


def draw_patches(log_mels, rng, *, settings=SETTINGS):
    """Patches to train on: each clip from a random start, and on from its beginning where it ends.

    Parameters
    ----------
    log_mels : np.ndarray, shape (n_clips, n_windows, 64)
        Of the clips of one batch.
    rng : np.random.Generator
        The source of every draw.
    settings : FinetuneSettings
        Patches of each clip.

    Returns
    -------
    np.ndarray, shape (n_clips, patches_per_clip, 96, 64)
        Without overlap.
    """
    n_clips, n_windows, mel_bands = log_mels.shape
    starts = rng.integers(n_windows, size=(n_clips, 1))
    windows = (starts + np.arange(settings.patches_per_clip * keras_model.PATCH_WINDOWS)) % n_windows
    x = log_mels[np.arange(n_clips)[:, None], windows]  # (n_clips, patches_per_clip * 96, 64)
    return x.reshape(n_clips, settings.patches_per_clip, keras_model.PATCH_WINDOWS, mel_bands)


def _digest(paths):
    files = [(path.name, path.stat().st_size) for path in paths]
    code = b"".join(Path(module.__file__).read_bytes() for module in (audio, keras_model))
    made_by = json.dumps([files, dataclasses.asdict(keras_model.SETTINGS)]).encode()
    return hashlib.sha256(made_by + code).hexdigest()[:12]


def _compute(paths, progress):
    from tqdm.auto import tqdm

    quiet_tensorflow()
    parts = []
    with tqdm(total=len(paths), desc="YAMNet's log-mel", unit="clip", disable=not progress) as bar:
        for first in range(0, len(paths), CLIPS_AT_ONCE):
            batch = paths[first : first + CLIPS_AT_ONCE]
            waveforms = np.stack([audio.load_sound(path).waveform for path in batch])  # (n, n_samples)
            parts.append(keras_model.log_mel(audio.pad_waveform(waveforms)).numpy())  # (n, n_windows, 64)
            bar.update(len(batch))
    return np.concatenate(parts)
