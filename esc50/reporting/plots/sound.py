"""One sound or many, drawn: waveform, envelope, log-mel, YAMNet's view."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm

from esc50.config import LogMelSettings, StatisticsSettings, YamnetSettings

TICK_HZ = (125, 500, 2000, 8000)
YAMNET_MEL_HZ = (125, 7500)  # tensorflow/models, research/audioset/yamnet/params.py


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


def plot_envelope(envelope, *, settings=StatisticsSettings(), color=None, ax=None):
    """Draw a waveform from its stored envelope, with no audio at hand.

    Parameters
    ----------
    envelope : np.ndarray, shape (n_hops, 2)
        Lowest and highest sample of each hop, in [-1, 1].
    settings : StatisticsSettings
        The hop in seconds.
    color : color, optional
        Of the area.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Time in seconds to the right, amplitude upwards.
    """
    ax = ax or plt.gca()
    times = np.arange(len(envelope)) * settings.hop_seconds
    ax.fill_between(times, envelope[:, 0], envelope[:, 1], color=color, linewidth=0.3, step="post")
    ax.set(xlim=(0, times[-1] + settings.hop_seconds), ylim=(-1.05, 1.05), xlabel="time (s)", ylabel="amplitude")
    ax.grid(False)
    return ax


def plot_log_mel(decibel, *, settings=LogMelSettings(), ax=None):
    """Draw a log-mel spectrogram.

    Parameters
    ----------
    decibel : np.ndarray, shape (n_frames, mel_bands)
        Decibels.
    settings : LogMelSettings
        Hop in seconds and mel range in Hz, for the axes.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Time in seconds to the right, frequency in Hz upwards on the mel scale.
    """
    import librosa

    ax = ax or plt.gca()
    mel = librosa.hz_to_mel([settings.mel_min_hz, settings.mel_max_hz])
    extent = (0, len(decibel) * settings.hop_seconds, *mel)
    ax.imshow(decibel.T, origin="lower", aspect="auto", extent=extent, cmap="magma", interpolation="nearest")
    ax.set_yticks(librosa.hz_to_mel(np.array(TICK_HZ)), [f"{hz:g}" for hz in TICK_HZ])
    ax.set(xlabel="time (s)", ylabel="frequency (Hz)")
    ax.grid(False)
    return ax


def plot_attention(decibel, weights, *, settings=LogMelSettings(), ax=None):
    """Draw how much each frame counts as bars over the log-mel spectrogram.

    Parameters
    ----------
    decibel : np.ndarray, shape (n_windows, mel_bands)
        From `esc50.dataset.features.log_mel`.
    weights : np.ndarray, shape (n_frames,)
        Of YAMNet's frames of 0.96 s, every 0.48 s; they sum to 1.
    settings : LogMelSettings
        Hop and bands of the log-mel.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        The log-mel's; the bars stand on an axis of their own, to the right.
    """
    ax = plot_log_mel(decibel, settings=settings, ax=ax)
    bars, yamnet = ax.twinx(), YamnetSettings()
    middles = np.arange(len(weights)) * yamnet.patch_hop_seconds + yamnet.patch_window_seconds / 2
    bars.bar(
        middles, weights, width=0.85 * yamnet.patch_hop_seconds, facecolor="none", edgecolor="white", linewidth=1.6
    )
    bars.set(ylim=(0, 1), ylabel="attention")
    bars.grid(visible=False)
    ax.set_xlim(0, len(decibel) * settings.hop_seconds)
    return ax


def plot_gallery(envelopes, log_mels, titles, *, colors=None):
    """Draw a grid of clips: waveform above, log-mel below, one column a clip.

    Parameters
    ----------
    envelopes : np.ndarray, shape (n_clips, n_hops, 2)
        Lowest and highest sample of each hop.
    log_mels : np.ndarray, shape (n_clips, n_frames, mel_bands)
        Decibels.
    titles : sequence of str
        One a clip.
    colors : sequence of color, optional
        One a clip.

    Returns
    -------
    matplotlib.figure.Figure
        Five clips a row.
    """
    columns = 5
    rows = -(-len(titles) // columns)
    figure, axes = plt.subplots(
        2 * rows, columns, figsize=(13, 2.9 * rows), sharex=True, squeeze=False, height_ratios=[1, 1.6] * rows
    )
    for i, title in enumerate(titles):
        row, column = divmod(i, columns)
        upper, lower = axes[2 * row, column], axes[2 * row + 1, column]
        plot_envelope(envelopes[i], color=colors and colors[i], ax=upper).set_title(title, fontsize=10)
        plot_log_mel(log_mels[i], ax=lower)
        upper.set(xlabel="")
        lower.set(xlabel="time (s)" if row == rows - 1 else "")
        if column:
            upper.set(ylabel="", yticklabels=[])
            lower.set(ylabel="", yticklabels=[])
    return figure


def plot_yamnet_log_mel(log_mel, *, settings=YamnetSettings(), ax=None):
    """Draw the log-mel spectrogram that YAMNet itself computes.

    Parameters
    ----------
    log_mel : np.ndarray, shape (n_windows, 64)
        Natural logarithm of the mel spectrum plus 0.001.
    settings : YamnetSettings
        Hop in seconds.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Time in seconds to the right, frequency in Hz upwards on the mel scale.
    """
    import librosa

    ax = ax or plt.gca()
    extent = (0, len(log_mel) * settings.stft_hop_seconds, *librosa.hz_to_mel(YAMNET_MEL_HZ, htk=True))
    image = ax.imshow(log_mel.T, origin="lower", aspect="auto", extent=extent, cmap="magma", interpolation="nearest")
    ticks = (YAMNET_MEL_HZ[0], 500, 1000, 2000, 4000, YAMNET_MEL_HZ[1])
    ax.set_yticks(librosa.hz_to_mel(ticks, htk=True), [f"{hz:g}" for hz in ticks])
    ax.set(xlabel="time (s)", ylabel="frequency (Hz)")
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label="ln(mel + 0.001)")
    return ax


def plot_embeddings(embeddings, frame_seconds, *, ax=None):
    """Draw the embeddings of one sound: one row a frame, one thin column a number.

    Parameters
    ----------
    embeddings : np.ndarray, shape (n_frames, 1024)
        Zero or more.
    frame_seconds : np.ndarray, shape (n_frames,)
        Start of each frame in seconds.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        The numbers of an embedding to the right, time downwards; black is zero, and small values are lifted
        (square root).
    """
    ax = ax or plt.gca()
    image = ax.imshow(embeddings, aspect="auto", cmap="inferno", norm=PowerNorm(0.5))
    ax.set_yticks(range(len(embeddings)), [f"{seconds:.2f}" for seconds in frame_seconds])
    ax.set(xlabel=f"number 0 to {embeddings.shape[1] - 1} of the embedding", ylabel="start of the frame (s)")
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label="value", pad=0.01)
    return ax
