"""What every layer of YAMNet makes of the clips: its activations, averaged over each patch."""

import numpy as np

from esc50 import backbone
from esc50.audio import pad_waveform
from esc50.backend import quiet_tensorflow
from esc50.config import LayerSettings
from esc50.yamnet import audible_frames, load_yamnet

CLIPS_PER_CALL = 10


def hear_layers(waveforms, *, settings=LayerSettings(), progress=False):
    """Activations of the chosen layers for each patch of many equally long clips.

    Parameters
    ----------
    waveforms : sequence of np.ndarray, each of shape (n_samples,)
        Mono float32 in [-1, 1] at 16 kHz.
    settings : LayerSettings
        Layers, of which the last must be 14, hop from patch to patch, and speed.
    progress : bool
        Show a progress bar.

    Returns
    -------
    activations : np.ndarray, shape (n_clips, n_frames, size)
        Averages over time and frequency of the patch, layer after layer; float16.
    audible : np.ndarray of bool, shape (n_clips, n_frames)
        False for frames without sound: `esc50.yamnet.audible_frames` of layer 14.
    """
    from tqdm.auto import tqdm

    hear = layer_function(settings=settings)
    bar = tqdm(total=len(waveforms), desc="YAMNet's layers", unit="clip", disable=not progress)
    activations, audible = [], []
    with bar:
        for first in range(0, len(waveforms), CLIPS_PER_CALL):
            batch = np.stack([change_speed(w, settings.speed) for w in waveforms[first : first + CLIPS_PER_CALL]])
            heard = hear(batch)  # (batch, n_frames, size)
            activations.append(heard.astype(np.float16))
            audible.append(audible_frames(heard[..., -settings.embedding_size :]))
            bar.update(len(batch))
    return np.concatenate(activations), np.concatenate(audible)


def layer_function(*, settings=LayerSettings(), yamnet=None):
    """A function that hears waveforms with YAMNet's layers.

    Parameters
    ----------
    settings : LayerSettings
        Layers and hop.
    yamnet : esc50.yamnet.Yamnet, optional
        Whose weights to use; loaded by default.

    Returns
    -------
    callable
        From waveforms (n_clips, n_samples) to activations (n_clips, n_frames, size), float32.
    """
    quiet_tensorflow()
    import tensorflow as tf

    model = backbone.build_backbone(layers=settings.layers)
    backbone.set_weights(model, (yamnet or load_yamnet()).weights())

    @tf.function(reduce_retracing=True)
    def hear(padded):
        patches = backbone.cut_patches(backbone.log_mel(padded), hop_seconds=settings.patch_hop_seconds)
        n_clips, n_frames, *size = tf.unstack(tf.shape(patches))
        activations = model(tf.reshape(patches, [n_clips * n_frames, *size]))
        return tf.reshape(activations, [n_clips, n_frames, -1])

    return lambda waveforms: hear(pad_waveform(waveforms)).numpy()


def change_speed(waveform, speed):
    """Play a waveform faster and higher, or slower and lower, as a tape would; of the same length as before.

    Parameters
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Mono float32 in [-1, 1].
    speed : float
        Above 1 is faster.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        The end is cut off, or zeros are put behind it.
    """
    import librosa

    if speed == 1:
        return waveform
    changed = librosa.resample(waveform, orig_sr=speed, target_sr=1, res_type="soxr_hq")
    return np.clip(librosa.util.fix_length(changed, size=len(waveform)), -1, 1)


def columns_of(layers, *, settings=LayerSettings()):
    """Where some layers' activations stand among those of a feature file.

    Parameters
    ----------
    layers : sequence of int
        Layers wanted.
    settings : LayerSettings
        Of the file.

    Returns
    -------
    np.ndarray of int
        Columns, layer after layer.
    """
    ends = np.cumsum(backbone.layer_sizes(settings.layers))
    starts = dict(zip(settings.layers, ends - backbone.layer_sizes(settings.layers), strict=True))
    sizes = dict(zip(settings.layers, backbone.layer_sizes(settings.layers), strict=True))
    return np.concatenate([starts[n] + np.arange(sizes[n]) for n in layers])
