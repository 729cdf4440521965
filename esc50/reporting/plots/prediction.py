"""One prediction, drawn: the sound, the most probable classes and how they change over time."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from esc50.classifier.describe import describe_sound, say_second, top_heading
from esc50.config import YamnetSettings
from esc50.reporting.plots.sound import YAMNET_MEL, plot_envelope, plot_log_mel, plot_waveform
from esc50.reporting.plots.style import SERIES, SOUND_BLUE, blend_in, class_label
from esc50.yamnet.frames import active_frames

ENVELOPE_HOPS = 1_000  # about one for each pixel
UNCALIBRATED = "probability (%),\nnot calibrated"
VERDICT_COLORS = {True: "0.15", False: "#b03a2e"}  # known; none of the classes


def plot_top_classes(probabilities, names, *, top=5, ax=None):
    """Draw the most probable classes as bars.

    Parameters
    ----------
    probabilities : np.ndarray, shape (n_classes,)
        Of each class.
    names : sequence of str
        Class names in label order.
    top : int
        How many.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Probability in percent to the right, the best class on top.
    """
    ax = ax or plt.gca()
    best = np.argsort(-probabilities, kind="stable")[:top]
    percent = 100 * probabilities[best]
    rows = np.arange(len(best))
    ax.barh(rows, percent, color=SERIES[0], height=0.65)
    for row, value in zip(rows, percent, strict=True):
        ax.text(value + 1, row, f"{value:.0f} %" if value >= 0.5 else "< 1 %", va="center")
    ax.set_yticks(rows, [class_label(names[i]) for i in best])
    ax.invert_yaxis()
    ax.set(xlim=(0, 125), xticks=range(0, 101, 25), xlabel="probability (%)")
    ax.grid(axis="y", visible=False)
    return ax


def plot_frame_probabilities(
    frame_probabilities, frame_seconds, names, *, top=5, labels=None, value_label=UNCALIBRATED, ax=None
):
    """Draw how probable the leading classes are in each frame.

    Parameters
    ----------
    frame_probabilities : np.ndarray, shape (n_frames, n_classes)
        As the head gives them: not calibrated.
    frame_seconds : np.ndarray, shape (n_frames,)
        Start of each frame in seconds.
    names : sequence of str
        Class names in label order.
    top : int
        How many classes, by their mean over the frames.
    labels : sequence of int, optional
        Which classes instead, from top to bottom.
    value_label : str
        What the colours show, in percent.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Time in seconds to the right, one row a class, darker is more probable.
    """
    ax = ax or plt.gca()
    mean = frame_probabilities.mean(axis=0)  # (n_classes,)
    best = np.argsort(-mean, kind="stable")[:top] if labels is None else np.asarray(labels)
    hop = YamnetSettings.patch_hop_seconds if len(frame_seconds) > 1 else YamnetSettings.patch_window_seconds
    edges = np.append(frame_seconds, frame_seconds[-1] + hop)
    percent = 100 * frame_probabilities[:, best].T  # (top, n_frames)
    mesh = ax.pcolormesh(edges, np.arange(len(best) + 1), percent, cmap="Blues", vmin=0, vmax=100)
    ax.set_yticks(np.arange(len(best)) + 0.5, [class_label(names[i]) for i in best])
    ax.invert_yaxis()
    ax.set(xlabel="time (s); a frame is drawn at its start")
    ax.grid(False)
    ax.figure.colorbar(mesh, ax=ax, label=value_label)
    return ax


def plot_prediction(prediction, *, top=5):
    """Draw the answer to a whole sound: what it is, waveform, log-mel and frames on the left, classes on the right.

    Parameters
    ----------
    prediction : esc50.classifier.predict.Prediction
        From `esc50.SoundClassifier.predict`.
    top : int
        How many classes.

    Returns
    -------
    matplotlib.figure.Figure
        One time axis for the three panels on the left. It is not pyplot's: nothing is kept after it is let go.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    sentence = say_second(prediction.as_one_sound) if prediction.timeline else prediction.verdict
    figure.suptitle(textwrap.fill(sentence, 85), color=VERDICT_COLORS[prediction.is_known], weight="bold")
    left, right = figure.subfigures(1, 2, width_ratios=[1.7, 1])
    _draw_over_time(left.subplots(3, height_ratios=[1, 1.6, 1.3]), prediction, top)
    bars, facts = right.subplots(2, height_ratios=[3, 1.1])
    title = top_heading(len(prediction.class_names), is_known=prediction.is_known)
    plot_top_classes(prediction.probabilities, prediction.class_names, top=top, ax=bars)
    bars.set_title(title, fontsize="medium", loc="right")  # in the middle it would run out of the picture
    _write_facts(facts, prediction)
    return figure


def plot_sound(prediction):
    """Draw a sound of any length: waveform above log-mel, on a light or a dark page.

    Parameters
    ----------
    prediction : esc50.classifier.predict.Prediction
        From `esc50.SoundClassifier.predict`.

    Returns
    -------
    matplotlib.figure.Figure
        One time axis for both panels. It is not pyplot's: nothing is kept after it is let go.
    """
    figure = Figure(figsize=(5, 3.4), layout="constrained", dpi=200)
    wave, mel = figure.subplots(2, height_ratios=[1, 1.8])
    sound = prediction.sound
    hop = -(-len(sound.waveform) // ENVELOPE_HOPS)  # samples
    plot_envelope(_envelope(sound.waveform, hop), hop_seconds=hop / sound.sample_rate_hz, color=SOUND_BLUE, ax=wave)
    plot_log_mel(prediction.log_mel, axes=YAMNET_MEL, ax=mel).set(xlim=(0, sound.duration_seconds))
    wave.set(xlabel="", xlim=mel.get_xlim(), yticks=(-1, 0, 1))
    wave.tick_params(labelbottom=False)
    return blend_in(figure)


def _envelope(waveform, hop):
    starts = np.arange(0, len(waveform), hop)
    return np.stack([f.reduceat(waveform, starts) for f in (np.minimum, np.maximum)], axis=1)  # (n_hops, 2)


def _draw_over_time(axes, prediction, top):
    wave, mel, frames = axes
    sound, best = prediction.sound, np.argsort(-prediction.probabilities, kind="stable")[:top]
    plot_waveform(sound.waveform, sample_rate_hz=sound.sample_rate_hz, ax=wave).set(title="The sound", xlabel="")
    plot_log_mel(prediction.log_mel, axes=YAMNET_MEL, ax=mel).set(xlabel="")
    is_active = active_frames(prediction.vectors)[:, np.newaxis]  # silent frames have no class
    shown = np.where(is_active, prediction.frame_probabilities, np.nan)
    about = shown, prediction.frame_seconds, prediction.class_names
    plot_frame_probabilities(*about, labels=best, ax=frames)
    end = max(ax.get_xlim()[1] for ax in axes)
    for ax in axes:
        ax.set_xlim(0, end)
        ax.tick_params(labelbottom=ax is frames)


def _write_facts(ax, prediction):
    transform = blended_transform_factory(ax.figure.transSubfigure, ax.transAxes)
    lines = (describe_sound(prediction.sound), *prediction.warnings)
    text = "\n".join(textwrap.fill(line, 48) for line in lines)
    box = ax.text(0.03, 1, text, transform=transform, va="top", fontsize=9, linespacing=1.4)
    box.set_in_layout(False)  # else the words would push the bars aside
    ax.set_axis_off()
