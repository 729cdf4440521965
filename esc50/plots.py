"""The pictures: each function draws on the axes that it is given and returns them; notebooks save them."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from esc50.config import FIGURES_DIR, PROJECT_DIR, LogMelSettings, StatisticsSettings, YamnetSettings
from esc50.dataset import THEMES
from esc50.files import replacing

THEME_PALETTE = dict(zip(THEMES, sns.color_palette("colorblind", len(THEMES)), strict=True))
TICK_HZ = (125, 500, 2000, 8000)
YAMNET_MEL_HZ = (125, 7500)  # tensorflow/models, research/audioset/yamnet/params.py
PART_PALETTE = sns.color_palette("tab10")


def set_style():
    """Set the look that all figures of the study share."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.9)
    plt.rcParams.update(
        {
            "figure.dpi": 80,
            "savefig.dpi": 150,
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def save_figure(figure, name, *, folder=FIGURES_DIR):
    """Write a figure as PNG beside its place, then rename.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to write.
    name : str
        File name without ending: the notebook's number, then what it shows.
    folder : str or Path
        Where to write; a relative folder counts from the project's.

    Returns
    -------
    Path
        The file.
    """
    path = PROJECT_DIR / folder / f"{name}.png"
    with replacing(path) as beside:
        figure.savefig(beside, metadata={"Software": None})
    return path


def class_label(name):
    """Readable form of a class name.

    Parameters
    ----------
    name : str
        Such as ``door_wood_knock``.

    Returns
    -------
    str
        Such as ``door wood knock``.
    """
    return name.replace("_", " ")


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


def plot_by_class(table, column, *, label, order=None, ax=None):
    """Draw how a clip statistic spreads within each class, coloured by theme.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns category, theme and `column`, one row a clip.
    column : str
        The statistic.
    label : str
        Its name and unit for the axis.
    order : sequence of str, optional
        Classes from top to bottom; by median by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        One box a class.
    """
    ax = ax or plt.gca()
    order = order if order is not None else table.groupby("category")[column].median().sort_values().index
    sns.boxplot(
        table, x=column, y="category", hue="theme", order=order, palette=THEME_PALETTE,
        dodge=False, fliersize=1.5, linewidth=0.7, ax=ax,
    )  # fmt: skip
    ax.set(xlabel=label, ylabel="")
    ax.set_yticks(range(len(order)), [class_label(name) for name in order], fontsize=8)
    ax.legend(title="", fontsize=8)
    return ax


def plot_training_curves(history, *, ax=None):
    """Draw accuracy over epochs: training and held-out, the mean over runs with the band from least to most.

    Parameters
    ----------
    history : pandas.DataFrame
        Columns epoch, accuracy, held_out_accuracy; several runs below each other.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Epochs to the right, accuracy in percent upwards.
    """
    ax = ax or plt.gca()
    names = {"accuracy": "training (augmented, dropout on)", "held_out_accuracy": "held out"}
    long = history.melt("epoch", list(names), var_name="part", value_name="percent")
    long = long.assign(part=long["part"].map(names), percent=100 * long["percent"])
    sns.lineplot(long, x="epoch", y="percent", hue="part", errorbar=("pi", 100), ax=ax)
    ax.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 100))
    ax.legend(title="", loc="lower right")
    return ax


def plot_model_comparison(summary, *, references=None, ax=None):
    """Draw each model's accuracy with its interval, and published figures as vertical lines.

    Parameters
    ----------
    summary : pandas.DataFrame
        Index: model; columns accuracy, accuracy_low, accuracy_high, as shares of 1.
    references : dict of str to float, optional
        Name -> percent.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Percent to the right, one row a model.
    """
    ax = ax or plt.gca()
    percent = 100 * summary[["accuracy", "accuracy_low", "accuracy_high"]]
    error = np.abs(percent[["accuracy_low", "accuracy_high"]].to_numpy().T - percent["accuracy"].to_numpy())
    rows = np.arange(len(percent))
    ax.barh(rows, percent["accuracy"], xerr=error, color=sns.color_palette()[0], alpha=0.85, capsize=3, height=0.65)
    for row, value in zip(rows, percent["accuracy"], strict=True):
        ax.text(1, row, f"{value:.1f} %", va="center", color="white", fontweight="bold", fontsize=9)
    ax.set_yticks(rows, percent.index)
    ax.invert_yaxis()
    ax.set(xlabel="accuracy (%), official 5 folds, with 95 % interval", xlim=(0, 100))
    ax.grid(axis="y", visible=False)
    _reference_lines(ax, references or {})
    return ax


def plot_protocols(table, *, claim, printed, ax=None):
    """Draw what each way of splitting claims, beside a claim and a printed range from elsewhere.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns protocol, accuracy (share of 1), one row a part.
    claim : float
        Percent, drawn as a line.
    printed : tuple of float
        Percent, lowest and highest, drawn as a band.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Percent to the right, one row a protocol.
    """
    ax = ax or plt.gca()
    table = table.assign(percent=100 * table["accuracy"])
    sns.barplot(table, x="percent", y="protocol", errorbar=None, color=sns.color_palette()[0], alpha=0.75, ax=ax)
    sns.stripplot(table, x="percent", y="protocol", color="0.2", size=4, ax=ax)
    ax.axvspan(*printed, color="0.6", alpha=0.4, label="printed in the old notebooks")
    ax.axvline(claim, color="0.2", linestyle="--", label="claimed in the old README")
    ax.set(xlim=(70, 101), xlabel="accuracy (%), axis from 70", ylabel="")
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.4, 1.16), ncols=2)
    return ax


def plot_confusion(counts, names, *, unit="percent", ax=None):
    """Draw confusion as the share of each true class, in percent.

    Parameters
    ----------
    counts : np.ndarray, shape (n, n)
        Row: the true class; column: the predicted one.
    names : sequence of str
        n names.
    unit : {"percent", "clips"}
        What is written into the cells that are not zero.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        True classes downwards, predicted ones to the right.
    """
    ax = ax or plt.gca()
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    written = {"percent": share, "clips": counts}[unit]
    text = np.array([[f"{value:.0f}" if value >= 0.5 else "" for value in row] for row in written])
    size = 6.5 if len(names) > 10 else 11
    sns.heatmap(
        share, annot=text, fmt="", cmap="Blues", vmin=0, vmax=100, square=True, ax=ax,
        xticklabels=names, yticklabels=names, linewidths=0.3, linecolor="0.92", annot_kws={"size": size},
        cbar_kws={"label": "share of the true class (%)", "shrink": 0.6},
    )  # fmt: skip
    ax.set(xlabel="predicted", ylabel="true")
    ax.tick_params(labelsize=size + 1.5)
    ax.set_xticks(
        ax.get_xticks(), names, rotation=90 if len(names) > 10 else 30, ha="center" if len(names) > 10 else "right"
    )
    return ax


def plot_per_class(values, names, themes, *, label, ax=None):
    """Draw one bar a class, coloured by theme, best on top.

    Parameters
    ----------
    values : np.ndarray, shape (n_classes,)
        Such as the F1 of each class.
    names, themes : sequence of str
        Name and theme of each class.
    label : str
        What the values are, for the axis.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        One bar a class.
    """
    ax = ax or plt.gca()
    order = np.argsort(values, kind="stable")
    colors = [THEME_PALETTE[themes[i]] for i in order]
    ax.barh(np.arange(len(order)), np.asarray(values)[order], color=colors, height=0.75)
    ax.set_yticks(np.arange(len(order)), [class_label(names[i]) for i in order], fontsize=8)
    ax.set(xlabel=label, ylim=(-0.6, len(order) - 0.4))
    ax.grid(axis="y", visible=False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=color) for color in THEME_PALETTE.values()]
    ax.legend(handles, THEME_PALETTE, fontsize=8, loc="lower right")
    return ax


def plot_map(points, labels, *, palette=None, names=None, ax=None):
    """Draw a two-dimensional map of clips.

    Parameters
    ----------
    points : np.ndarray, shape (n_clips, 2)
        Such as from t-SNE.
    labels : sequence of str
        The theme or class of each clip, for the colour.
    palette : dict or str, optional
        As in seaborn.
    names : sequence of str, optional
        Labels to write at the median of their clips.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Without ticks: neither axis has a unit.
    """
    ax = ax or plt.gca()
    labels = np.asarray(labels)
    legend = "brief" if names is None else False
    sns.scatterplot(
        x=points[:, 0], y=points[:, 1], hue=labels, palette=palette, s=12, linewidth=0, alpha=0.8, legend=legend, ax=ax
    )
    for name in names if names is not None else ():
        x, y = np.median(points[labels == name], axis=0)
        ax.text(x, y, class_label(name), ha="center", va="center", fontsize=7.5, bbox=_LABEL_BOX)
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="", aspect="equal")
    return ax


def plot_top_scores(scores, names, *, top=5, ax=None):
    """Draw the most probable classes as bars.

    Parameters
    ----------
    scores : np.ndarray, shape (n_classes,)
        Probabilities.
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
    best = np.argsort(-scores, kind="stable")[:top]
    percent = 100 * scores[best]
    rows = np.arange(len(best))
    ax.barh(rows, percent, color=sns.color_palette()[0], height=0.65)
    for row, value in zip(rows, percent, strict=True):
        ax.text(value + 1, row, f"{value:.1f} %", va="center")
    ax.set_yticks(rows, [class_label(names[i]) for i in best])
    ax.invert_yaxis()
    ax.set(xlim=(0, 115), xticks=range(0, 101, 25), xlabel="probability (%)")
    ax.grid(axis="y", visible=False)
    return ax


def plot_timeline(frame_scores, frame_seconds, names, *, top=5, labels=None, frame_length_seconds=0.96, ax=None):
    """Draw how probable the leading classes are in each frame.

    Parameters
    ----------
    frame_scores : np.ndarray, shape (n_frames, n_classes)
        Probabilities.
    frame_seconds : np.ndarray, shape (n_frames,)
        Start of each frame in seconds.
    names : sequence of str
        Class names in label order.
    top : int
        How many classes, by their mean over the frames.
    labels : sequence of int, optional
        Which classes instead, from top to bottom.
    frame_length_seconds : float
        Length of one frame.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Time in seconds to the right, one row a class, darker is more probable.
    """
    ax = ax or plt.gca()
    best = np.argsort(-frame_scores.mean(axis=0), kind="stable")[:top] if labels is None else np.asarray(labels)
    hop = frame_seconds[1] - frame_seconds[0] if len(frame_seconds) > 1 else frame_length_seconds
    edges = np.append(frame_seconds, frame_seconds[-1] + hop)
    mesh = ax.pcolormesh(edges, np.arange(len(best) + 1), 100 * frame_scores[:, best].T, cmap="Blues", vmin=0, vmax=100)
    ax.set_yticks(np.arange(len(best)) + 0.5, [class_label(names[i]) for i in best])
    ax.invert_yaxis()
    ax.set(xlabel="start of the 0.96 s frame (s)")
    ax.grid(False)
    ax.figure.colorbar(mesh, ax=ax, label="probability (%)")
    return ax


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


def plot_guesses(counts, names, guess_names, *, most=30, ax=None):
    """Draw how often each class gets each of the most frequent guesses of another classifier.

    Parameters
    ----------
    counts : np.ndarray, shape (n_classes, n_guesses)
        Clips of a class that got a guess.
    names : sequence of str
        n_classes names.
    guess_names : sequence of str
        n_guesses names.
    most : int
        How many guesses, the most frequent on the left.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Classes downwards, guesses to the right; in each cell the number of clips.
    """
    ax = ax or plt.gca()
    best = np.argsort(-counts.sum(axis=0), kind="stable")[:most]
    shown = counts[:, best].astype(int)
    sns.heatmap(
        shown, annot=np.where(shown > 0, shown.astype(str), ""), fmt="", cmap="Blues", vmin=0, ax=ax, linewidths=0.3,
        linecolor="0.92", annot_kws={"size": 7}, cbar_kws={"label": "clips", "shrink": 0.4, "pad": 0.01},
        xticklabels=[f"{_shortened(guess_names[i])} ({counts[:, i].sum():.0f})" for i in best],
        yticklabels=[class_label(name) for name in names],
    )  # fmt: skip
    ax.tick_params(labelsize=8)
    ax.set_xticks(ax.get_xticks(), ax.get_xticklabels(), rotation=60, ha="right", rotation_mode="anchor")
    return ax


def plot_map_part(points, labels, chosen, *, ax=None):
    """Draw some clips of a two-dimensional map in colour, one colour a label, and the others in grey.

    Parameters
    ----------
    points : np.ndarray, shape (n_clips, 2)
        Such as from t-SNE.
    labels : np.ndarray of str, shape (n_clips,)
        Such as the class of each clip; at most ten labels among the chosen.
    chosen : np.ndarray of bool, shape (n_clips,)
        Which clips are in colour.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Without ticks; each label beside its most central clip.
    """
    ax = ax or plt.gca()
    labels, chosen = np.asarray(labels), np.asarray(chosen)
    ax.scatter(*points[~chosen].T, s=4, color="0.85", linewidth=0)
    palette = dict(zip(dict.fromkeys(labels[chosen]), PART_PALETTE, strict=False))
    plot_map(points[chosen], labels[chosen], palette=palette, names=(), ax=ax)
    return plot_map_names(points[chosen], labels[chosen], ax=ax)


def plot_map_names(points, labels, *, size=8, ax=None):
    """Write each label of a two-dimensional map at its most central clip, moved so that no two overlap.

    Parameters
    ----------
    points : np.ndarray, shape (n_clips, 2)
        Such as from t-SNE.
    labels : np.ndarray of str, shape (n_clips,)
        Such as the class of each clip.
    size : float
        Of the letters, in points.
    ax : matplotlib.axes.Axes, optional
        Where to write.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    ax = ax or plt.gca()
    labels = np.asarray(labels)
    style = {"ha": "center", "va": "center", "fontsize": size, "bbox": _LABEL_BOX}
    texts = [ax.text(*_medoid(points[labels == name]), class_label(name), **style) for name in dict.fromkeys(labels)]
    ax.figure.draw_without_rendering()  # only now is it known how large the letters are
    boxes = np.array([text.get_window_extent().extents for text in texts])  # (n_labels, 4) pixels: x0, y0, x1, y1
    for text, shift in zip(texts, _vertical_shifts(boxes), strict=True):
        pixels = ax.transData.transform(text.get_position()) + np.array([0, shift])
        text.set_position(ax.transData.inverted().transform(pixels))
    return ax


def plot_map_values(points, values, *, label, ax=None):
    """Draw a two-dimensional map of clips, coloured by a number.

    Parameters
    ----------
    points : np.ndarray, shape (n_clips, 2)
        Such as from t-SNE.
    values : np.ndarray, shape (n_clips,)
        The number of each clip; the highest are drawn last.
    label : str
        Name and unit of the numbers, for the colour bar.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Without ticks: neither axis has a unit.
    """
    ax = ax or plt.gca()
    order = np.argsort(values, kind="stable")
    dots = ax.scatter(*points[order].T, c=values[order], s=12, linewidth=0, cmap="flare", alpha=0.8)
    ax.figure.colorbar(dots, ax=ax, label=label, shrink=0.8, pad=0.01)
    ax.set(xticks=[], yticks=[])
    return ax


def plot_two_shares(first, second, names, *, ax=None):
    """Draw two shares of each class as two dots joined by a line.

    Parameters
    ----------
    first, second : pandas.Series, length n_classes
        Percent; the series' names go into the legend.
    names : sequence of str
        Class names, from the bottom up.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Percent to the right, one row a class.
    """
    ax = ax or plt.gca()
    rows = np.arange(len(names))
    ax.hlines(rows, first, second, color="0.75", linewidth=1.5, zorder=1)
    for shares, color in ((first, "0.45"), (second, sns.color_palette()[0])):
        ax.scatter(shares, rows, s=30, color=color, label=shares.name, zorder=2)
    ax.set_yticks(rows, [class_label(name) for name in names], fontsize=8)
    ax.set(xlim=(-2, 102), ylim=(-0.7, len(names) - 0.3), xlabel="%")
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    return ax


def plot_histogram(table, column, *, hue, label, bins, ax=None):
    """Draw how many clips have which value, stacked by group.

    Parameters
    ----------
    table : pandas.DataFrame
        One row a clip.
    column, hue : str
        The values, and the groups that give the colour.
    label : str
        Name and unit of the values, for the axis.
    bins : np.ndarray, shape (n_bins + 1,)
        Edges of the bins.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Values to the right, number of clips upwards.
    """
    ax = ax or plt.gca()
    sns.histplot(table, x=column, hue=hue, multiple="stack", bins=bins, alpha=0.85, linewidth=0.3, ax=ax)
    ax.get_legend().set_title("")
    ax.set(xlabel=label, ylabel="clips", xlim=(bins[0], bins[-1]))
    ax.grid(axis="x", visible=False)
    return ax


def plot_stacked(table, *, label, colors=None, ax=None):
    """Draw one bar a row, made of the row's parts.

    Parameters
    ----------
    table : pandas.DataFrame
        Index: names of the rows, the first on top; one column a part.
    label : str
        Name and unit of the parts, for the axis.
    colors : sequence of color, optional
        One a part.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Parts to the right, rows downwards.
    """
    ax = ax or plt.gca()
    start = np.zeros(len(table))  # (n_rows,)
    rows = np.arange(len(table))
    for part, color in zip(table, colors or sns.color_palette(n_colors=table.shape[1]), strict=True):
        ax.barh(rows, table[part], left=start, height=0.8, color=color, linewidth=0, label=part)
        start += table[part].to_numpy()
    ax.set_yticks(rows, [class_label(name) for name in table.index], fontsize=8)
    ax.set(xlabel=label, xlim=(0, start.max()), ylim=(len(table) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=table.shape[1], fontsize=9, frameon=False)
    return ax


def plot_shares(shares, *, label, colors=None, ax=None):
    """Draw shares as bars with their percentages.

    Parameters
    ----------
    shares : pandas.Series
        Index: names, the first on top; values from 0 to 1.
    label : str
        What they are shares of, for the axis.
    colors : sequence of color, optional
        One a bar.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Percent to the right, one bar a name.
    """
    ax = ax or plt.gca()
    percent = 100 * shares.to_numpy()
    rows = np.arange(len(percent))
    ax.barh(rows, percent, color=colors, height=0.65)
    for row, value in zip(rows, percent, strict=True):
        ax.text(value + 1.5, row, f"{value:.1f} %", va="center", fontweight="bold")
    ax.set_yticks(rows, shares.index)
    ax.set(xlabel=label, xlim=(0, 118), xticks=range(0, 101, 25), ylim=(len(percent) - 0.5, -0.5))
    ax.grid(False)
    return ax


def plot_prediction(prediction, *, top=5):
    """Draw what was heard and what was made of it: waveform, log-mel and timeline below each other, bars beside.

    Parameters
    ----------
    prediction : esc50.predict.Prediction
        From `esc50.predict.SoundClassifier.predict`.
    top : int
        How many classes.

    Returns
    -------
    matplotlib.figure.Figure
        One time axis for the three panels on the left. It is not pyplot's, so any number of threads may draw.
    """
    figure = Figure(figsize=(12, 6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.7, 1])
    wave, mel, timeline = left.subplots(3, height_ratios=[1, 1.6, 1.3])
    bars, facts = right.subplots(2, height_ratios=[3, 1.1])
    scores, sound = prediction.probabilities, prediction.sound
    plot_waveform(sound.waveform, sample_rate_hz=sound.sample_rate_hz, ax=wave).set(title="what was heard", xlabel="")
    plot_log_mel(prediction.log_mel, ax=mel).set(xlabel="")
    best = np.argsort(-scores, kind="stable")[:top]
    frames, names = prediction.frame_probabilities, prediction.class_names
    plot_timeline(frames, prediction.frame_seconds, names, labels=best, ax=timeline)
    _share_time([wave, mel, timeline])
    plot_top_scores(scores, names, top=top, ax=bars).set_title("what it is taken for")
    _write_facts(facts, prediction)
    return figure


_LABEL_BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}


def _reference_lines(ax, references):
    for name, percent in references.items():
        ax.axvline(percent, color="0.25", linestyle="--", linewidth=1)
        ax.text(percent, -0.65, f"{name} {percent:.1f}", rotation=35, fontsize=8, ha="left", va="bottom")


def _shortened(name):
    """First part of an AudioSet name, which may list several: ``Vehicle horn, car horn, honking``."""
    return name.split(", ")[0]


def _share_time(axes):
    end = max(ax.get_xlim()[1] for ax in axes)
    for ax in axes:
        ax.set_xlim(0, end)
        ax.tick_params(labelbottom=ax is axes[-1])


def _write_facts(ax, prediction):
    sound, transform = prediction.sound, blended_transform_factory(ax.figure.transSubfigure, ax.transAxes)
    channels = f"{sound.source_channels} channel{'s' if sound.source_channels > 1 else ''}"
    facts = f"{sound.duration_seconds:.2f} s, {channels}, {sound.source_sample_rate_hz:g} Hz"
    text = "\n".join(textwrap.fill(line, 58) for line in (facts, *prediction.warnings))
    box = ax.text(0.03, 1, text, transform=transform, va="top", fontsize=10, linespacing=1.4)
    box.set_in_layout(False)  # else the words would push the bars aside
    ax.set_axis_off()


def _medoid(points):
    """The point (2,) whose summed distance to the others is least: unlike their mean, it is one of them."""
    distances = np.linalg.norm(points[:, None] - points, axis=2)  # (n_points, n_points)
    return points[distances.sum(axis=1).argmin()]


def _vertical_shifts(boxes, *, most_rounds=300):
    """How far up to move each box (x0, y0, x1, y1) until none overlap; shape (n_boxes,)."""
    shifts = np.zeros(len(boxes))
    for _ in range(most_rounds):
        low, high = boxes[:, 1] + shifts, boxes[:, 3] + shifts
        aside = (boxes[:, None, 2] > boxes[:, 0]) & (boxes[:, None, 0] < boxes[:, 2])  # (n_boxes, n_boxes)
        overlap = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
        pairs = np.argwhere(np.triu(aside & (overlap > 0), k=1))
        if not len(pairs):
            break
        for a, b in pairs:
            upper, lower = (a, b) if low[a] >= low[b] else (b, a)
            shifts[upper] += overlap[a, b] / 2 + 0.5
            shifts[lower] -= overlap[a, b] / 2 + 0.5
    return shifts
