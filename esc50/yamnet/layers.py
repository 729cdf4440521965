"""The activations of every layer of YAMNet, averaged over each patch."""

import functools
import threading

import numpy as np

from esc50.audio.effects import change_speed
from esc50.config import LayerSettings, YamnetError
from esc50.yamnet import keras_model
from esc50.yamnet.backend import quiet_tensorflow
from esc50.yamnet.frames import (
    FRAMES_PER_CALL,
    GOLDEN_TOLERANCE,
    active_frames,
    check_waveform,
    chirp,
    equally_long,
    golden_embeddings,
    n_patches,
    overlapping_parts,
    pad_waveform,
)
from esc50.yamnet.hub_module import load_yamnet, on_cpu

CLIPS_PER_CALL = 10
_LOCK = threading.Lock()


class LayerYamnet:
    """Our copy of YAMNet ready to hear with some of its layers, on the CPU; safe to call from several threads.

    Parameters
    ----------
    settings : LayerSettings
        Layers and hop; the speed is not looked at.
    yamnet : esc50.yamnet.hub_module.Yamnet, optional
        Whose weights to use; loaded by default.

    Attributes
    ----------
    settings : LayerSettings
        As given.
    """

    def __init__(self, *, settings=LayerSettings(), yamnet=None):
        self.settings = settings
        with on_cpu():
            self._hear = layer_function(settings=settings, yamnet=yamnet)

    def embed(self, waveform):
        """Activations of one waveform of any length.

        A waveform under 0.975 s is padded with zeros, as YAMNet does. A long one is heard three minutes at a time,
        cut where patches start, so that the result is the same and memory stays bounded.

        Parameters
        ----------
        waveform : np.ndarray, shape (n_samples,)
            Mono float32 in [-1, 1] at 16 kHz.

        Returns
        -------
        np.ndarray, shape (n_frames, size)
            Float32, layer after layer; 10 frames for a clip of 5 s.

        Raises
        ------
        AudioError
            If the waveform is not 1-D float32, or is empty, not finite or outside [-1, 1].
        """
        check_waveform(waveform)
        return self._embed_parts(waveform[np.newaxis])[0]

    def embed_batch(self, waveforms):
        """Activations of many equally long clips.

        Parameters
        ----------
        waveforms : np.ndarray, shape (n_clips, n_samples), or iterable of np.ndarray, shape (n_samples,)
            Mono float32 in [-1, 1] at 16 kHz.

        Returns
        -------
        np.ndarray, shape (n_clips, n_frames, size)
            Float32, layer after layer.

        Raises
        ------
        AudioError
            If there is no clip, or one that `embed` would refuse, or one of another length than the first.
        """
        clips = np.stack(list(equally_long(waveforms)))  # (n_clips, n_samples)
        step = max(1, FRAMES_PER_CALL // n_patches(clips.shape[1]))
        return np.concatenate([self._embed_parts(clips[i : i + step]) for i in range(0, len(clips), step)])

    def _embed_parts(self, waveforms):
        with on_cpu():
            return np.concatenate([self._hear(part) for part in overlapping_parts(waveforms)], axis=1)


def load_layers(layers):
    """Load our copy of YAMNet, once in a process for each choice of layers, and check that it hears what YAMNet hears.

    Parameters
    ----------
    layers : sequence of int
        Layers, 1 to 14, of which the last must be 14: a frame then ends in YAMNet's embedding.

    Returns
    -------
    LayerYamnet
        The same object for the same layers.

    Raises
    ------
    YamnetError
        YAMNet cannot be loaded, or the copy gives another embedding of a chirp than the committed one.
    """
    with _LOCK:
        return _load_once(tuple(layers))


@functools.cache
def _load_once(layers):
    heard = LayerYamnet(settings=LayerSettings(layers=layers))
    golden = golden_embeddings()
    difference = np.abs(heard.embed(chirp())[:, -golden.shape[1] :] - golden).max()
    if not difference <= GOLDEN_TOLERANCE:  # written so that NaN fails
        raise YamnetError(
            f"our copy of YAMNet is off by {difference:.2g} in the embedding of a chirp, allowed is "
            f'{GOLDEN_TOLERANCE}: install the versions of constraints.txt, or choose the model "plain"'
        )
    return heard


def compute_layers(waveforms, *, settings=LayerSettings(), progress=False):
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
    active : np.ndarray of bool, shape (n_clips, n_frames)
        False for frames without sound: `esc50.yamnet.frames.active_frames` of layer 14.
    """
    from tqdm.auto import tqdm

    hear = layer_function(settings=settings)
    bar = tqdm(total=len(waveforms), desc="YAMNet's layers", unit="clip", disable=not progress)
    activations, active = [], []
    with bar:
        for first in range(0, len(waveforms), CLIPS_PER_CALL):
            batch = np.stack([change_speed(w, settings.speed) for w in waveforms[first : first + CLIPS_PER_CALL]])
            heard = hear(batch)  # (batch, n_frames, size)
            activations.append(heard.astype(np.float16))
            active.append(active_frames(heard))
            bar.update(len(batch))
    return np.concatenate(activations), np.concatenate(active)


def layer_function(*, settings=LayerSettings(), yamnet=None):
    """A function that hears waveforms with YAMNet's layers.

    Parameters
    ----------
    settings : LayerSettings
        Layers and hop.
    yamnet : esc50.yamnet.hub_module.Yamnet, optional
        Whose weights to use; loaded by default.

    Returns
    -------
    callable
        From waveforms (n_clips, n_samples) to activations (n_clips, n_frames, size), float32.
    """
    quiet_tensorflow()
    import tensorflow as tf

    model = keras_model.build_backbone(layers=settings.layers)
    keras_model.set_weights(model, (yamnet or load_yamnet()).weights())

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])  # traced once, for all lengths
    def hear(padded):
        patches = keras_model.cut_patches(keras_model.log_mel(padded), hop_seconds=settings.patch_hop_seconds)
        n_clips, n_frames, *_ = tf.unstack(tf.shape(patches))
        activations = model(tf.reshape(patches, [-1, *patches.shape[2:]]))  # (n_clips * n_frames, size)
        return tf.reshape(activations, [n_clips, n_frames, activations.shape[-1]])

    return lambda waveforms: hear(pad_waveform(waveforms)).numpy()


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
    ends = np.cumsum(keras_model.layer_sizes(settings.layers))
    starts = dict(zip(settings.layers, ends - keras_model.layer_sizes(settings.layers), strict=True))
    sizes = dict(zip(settings.layers, keras_model.layer_sizes(settings.layers), strict=True))
    return np.concatenate([starts[n] + np.arange(sizes[n]) for n in layers])
