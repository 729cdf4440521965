"""Compute the activations of YAMNet's layers, averaged over each patch, for the feature files."""

import numpy as np

from esc50.audio.effects import change_speed
from esc50.audio.loudness import set_level
from esc50.config import LayerSettings
from esc50.yamnet import keras_model
from esc50.yamnet.backend import import_tensorflow, on_cpu
from esc50.yamnet.frames import active_frames, pad_waveform
from esc50.yamnet.hub_module import load_yamnet

CLIPS_PER_CALL = 10


def compute_layers(waveforms, *, settings=LayerSettings(), progress=False):
    """Compute the activations of the chosen layers for each patch of many clips of equal length.

    Parameters
    ----------
    waveforms : sequence of np.ndarray, each of shape (n_samples,)
        Mono float32 in [-1, 1] at 16 kHz.
    settings : LayerSettings
        Layers, the last of which must be 14, patch hop and speed.
    progress : bool
        Show a progress bar.

    Returns
    -------
    activations : np.ndarray, shape (n_clips, n_frames, size)
        Float16 means over the patch, layer after layer.
    active : np.ndarray of bool, shape (n_clips, n_frames)
        False for silent frames: see `esc50.yamnet.frames.active_frames`.
    """
    from tqdm.auto import tqdm

    embed, activations, active = layer_function(settings=settings), [], []
    with tqdm(total=len(waveforms), desc="YAMNet's layers", unit="clip", disable=not progress) as bar:
        for first in range(0, len(waveforms), CLIPS_PER_CALL):
            batch = np.stack([prepare(w, settings) for w in waveforms[first : first + CLIPS_PER_CALL]])
            found = embed(batch)  # (batch, n_frames, size)
            activations.append(found.astype(np.float16))
            active.append(active_frames(found))
            bar.update(len(batch))
    return np.concatenate(activations), np.concatenate(active)


def prepare(waveform, settings):
    """Change a waveform to the speed and the level of the settings."""
    played = change_speed(waveform, getattr(settings, "speed", 1.0))
    return set_level(played, settings=settings.level) if hasattr(settings, "level") else played


def layer_function(*, settings=LayerSettings()):
    """Return a function from waveforms (n_clips, n_samples) to float32 activations (n_clips, n_frames, size)."""
    tf = import_tensorflow()

    with on_cpu():
        model = keras_model.set_weights(keras_model.build_backbone(layers=settings.layers), load_yamnet().weights())

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])  # traced once, for all lengths
    def embed(padded):
        patches = keras_model.cut_patches(keras_model.log_mel(padded), hop_seconds=settings.patch_hop_seconds)
        n_clips, n_frames, *_ = tf.unstack(tf.shape(patches))
        activations = model(tf.reshape(patches, [-1, *patches.shape[2:]]))  # (n_clips * n_frames, size)
        return tf.reshape(activations, [n_clips, n_frames, activations.shape[-1]])

    def embed_on_cpu(waveforms):
        with on_cpu():
            return embed(pad_waveform(waveforms)).numpy()

    return embed_on_cpu
