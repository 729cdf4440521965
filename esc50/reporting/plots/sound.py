"""One sound or many, drawn: waveform, envelope, log-mel, embeddings."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm

from esc50.classifier.explanation import htk_mel
from esc50.config import BackboneSettings, LogMelSettings, StatisticsSettings

SETTINGS = BackboneSettings()


def slaney_mel(hz):
    """Mel scale of Slaney's Auditory Toolbox, librosa's default: linear below 1 kHz, logarithmic above."""
    hz = np.asarray(hz, dtype=float)
    return np.where(hz < 1000, 3 * hz / 200, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4))


@dataclass(frozen=True)
class MelAxes:
    """What the axes of a log-mel need to know."""

    hop_seconds: float
    range_hz: tuple[float, float]
    tick_hz: tuple[float, ...]
    to_mel: Callable


_log_mel = LogMelSettings()
STUDY_MEL = MelAxes(
    _log_mel.hop_seconds, (_log_mel.mel_min_hz, _log_mel.mel_max_hz), (125, 500, 2000, 8000), slaney_mel
)
SMALL_MEL = replace(STUDY_MEL, tick_hz=(500, 2000, 8000))  # where there is no room for more
YAMNET_MEL = MelAxes(
    SETTINGS.stft_hop_seconds, (SETTINGS.mel_min_hz, SETTINGS.mel_max_hz), (125, 500, 1000, 2000, 4000, 7500), htk_mel
)


def plot_waveform(samples, *, sample_rate_hz=16_000, color=None, ax=None):
    """Draw a waveform over time.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,)
        Samples in [-1, 1].
    sample_rate_hz : float
        Samples per second.
    color : color, optional
        Of the line.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Time in seconds to the right, amplitude upwards.
    """
    ax = ax or plt.gca()
    ax.plot(np.arange(len(samples)) / sample_rate_hz, samples, linewidth=0.5, color=color)
    ax.set(xlim=(0, len(samples) / sample_rate_hz), ylim=(-1.05, 1.05), xlabel="time (s)", ylabel="amplitude")
    ax.grid(False)
    return ax


def plot_envelope(envelope, *, hop_seconds=StatisticsSettings.hop_seconds, color=None, ax=None):
    """Draw a waveform from the lowest and the highest sample of each hop: (n_hops, 2) in [-1, 1]."""
    ax = ax or plt.gca()
    times = np.arange(len(envelope)) * hop_seconds
    ax.fill_between(times, envelope[:, 0], envelope[:, 1], color=color, linewidth=0.3, step="post")
    ax.set(xlim=(0, times[-1] + hop_seconds), ylim=(-1.05, 1.05), xlabel="time (s)", ylabel="amplitude")
    ax.grid(False)
    return ax


def plot_log_mel(log_mel, *, axes=STUDY_MEL, ax=None):
    """Draw a log-mel spectrogram.

    Parameters
    ----------
    log_mel : np.ndarray, shape (n_windows, mel_bands)
        Decibels, or natural logarithms.
    axes : MelAxes
        Hop and mel range: `STUDY_MEL` of the study's own log-mels, `YAMNET_MEL` of those that YAMNet computes.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Time in seconds to the right, frequency in Hz upwards on the mel scale.
    """
    ax = ax or plt.gca()
    extent = (0, len(log_mel) * axes.hop_seconds, *axes.to_mel(axes.range_hz))
    ax.imshow(log_mel.T, origin="lower", aspect="auto", extent=extent, cmap="magma", interpolation="nearest")
    ax.set_yticks(axes.to_mel(axes.tick_hz), [f"{hz:g}" for hz in axes.tick_hz])
    ax.set(xlabel="time (s)", ylabel="frequency (Hz)")
    ax.grid(False)
    return ax


def plot_attention(log_mel, weights, *, ax=None):
    """Draw the attention weights of YAMNet's frames, (n_frames,) that sum to 1, as bars over the clip's log-mel."""
    ax = plot_log_mel(log_mel, ax=ax)
    bars = ax.twinx()
    middles = np.arange(len(weights)) * SETTINGS.patch_hop_seconds + SETTINGS.patch_window_seconds / 2
    style = {"facecolor": "none", "edgecolor": "white", "linewidth": 1.6}
    bars.bar(middles, weights, width=0.85 * SETTINGS.patch_hop_seconds, **style)
    bars.set(ylim=(0, 1), ylabel="attention weight")
    bars.grid(visible=False)
    ax.set_xlim(0, len(log_mel) * STUDY_MEL.hop_seconds)
    return ax


def plot_gallery(envelopes, log_mels, titles, *, colors=None, axes=SMALL_MEL):
    """Draw clips, five a row: envelopes (n_clips, n_hops, 2) above, log-mels (n_clips, n_windows, 64) below.

    `axes` is that of `plot_log_mel`.
    """
    columns = 5
    rows = -(-len(titles) // columns)
    shape = {"figsize": (9, 2.7 * rows), "height_ratios": [1, 1.6] * rows}
    figure, panels = plt.subplots(2 * rows, columns, sharex=True, squeeze=False, **shape)
    for i, title in enumerate(titles):
        row, column = divmod(i, columns)
        upper, lower = panels[2 * row, column], panels[2 * row + 1, column]
        plot_envelope(envelopes[i], color=colors and colors[i], ax=upper).set_title(title, fontsize=9)
        plot_log_mel(log_mels[i], axes=axes, ax=lower)
        upper.set(xlabel="")
        lower.set(xlabel="time (s)" if row == rows - 1 else "")
        for ax in (upper, lower) if column else ():
            ax.set(ylabel="", yticklabels=[])
    return figure


def plot_embeddings(embeddings, frame_seconds, *, ax=None):
    """Draw the embeddings (n_frames, 1024) of one sound: one row a frame; black is zero, small values are lifted."""
    ax = ax or plt.gca()
    image = ax.imshow(embeddings, aspect="auto", cmap="inferno", norm=PowerNorm(0.5))
    ax.set_yticks(range(len(embeddings)), [f"{seconds:.2f}" for seconds in frame_seconds])
    ax.set(xlabel="dimension of the embedding", ylabel="start of the frame (s)")
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label="value", pad=0.01)
    return ax
