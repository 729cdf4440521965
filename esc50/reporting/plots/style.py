"""The look of every figure, how it is saved, and what is written on axes."""

import base64
import html
import io
import shutil

import matplotlib.pyplot as plt
import numpy as np

from esc50.classifier.describe import class_label as class_label
from esc50.config import FIGURES_DIR, PROJECT_DIR, atomic_write

SOUND_BLUE = "#4f8fd9"  # reads on white and on black
BLEND_COLOR = "#7c8593"  # contrast about 4 : 1 with white and 5 : 1 with near-black
THEME_PALETTE = {  # as dataset.THEMES; seaborn's "colorblind", which the app does without
    "Animals": "#0173b2",
    "Natural soundscapes & water": "#de8f05",
    "Human, non-speech": "#029e73",
    "Interior/domestic": "#d55e00",
    "Exterior/urban": "#cc78bc",
}
SAME = 0.02  # of a colour channel: machines round otherwise
STYLE = {
    "figure.dpi": 80,
    "savefig.dpi": 150,
    "savefig.bbox": "tight",
    "figure.constrained_layout.use": True,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def set_style():
    """Set the look that all figures of the study share."""
    import seaborn as sns

    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.9)
    plt.rcParams.update(STYLE)


def save_figure(figure, name, *, folder=FIGURES_DIR):
    """Write a figure as PNG; a file that already shows the same picture keeps its bytes.

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
    with atomic_write(path) as beside:
        figure.savefig(beside, metadata={"Software": None})
        if path.exists() and _look_alike(path, beside):
            shutil.copy(path, beside)
    return path


def blend_in(figure, *, color=BLEND_COLOR):
    """Make a figure readable on a light and on a dark page: no background, one middle grey for all words and lines.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Changed in place.
    color : color
        Of the axes, their ticks and labels.

    Returns
    -------
    matplotlib.figure.Figure
        The same figure.
    """
    figure.set_facecolor("none")
    insets = [inset for ax in figure.axes for inset in ax.child_axes]
    for ax in [*figure.axes, *insets]:
        ax.set_facecolor("none")
        ax.tick_params(color=color, labelcolor=color)
        key = [ax.get_legend().get_title(), *ax.get_legend().get_texts()] if ax.get_legend() else []
        for text in (ax.xaxis.label, ax.yaxis.label, ax.title, *ax.texts, *key):
            text.set_color(color)
        for name, spine in ax.spines.items():
            spine.set(color=color, visible=name in ("left", "bottom"))
    return figure


def as_html(figure, alt, *, dpi):
    """A figure as an HTML image; `alt` says what it shows to who cannot see it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'


def _look_alike(path, other):
    first, second = plt.imread(path), plt.imread(other)  # (height, width, 4) from 0 to 1
    return first.shape == second.shape and np.abs(first - second).max() < SAME
