"""The look of every figure, how it is saved and shown, and what is written on axes."""

import base64
import html
import io
import shutil

import matplotlib.pyplot as plt
import numpy as np

from esc50.classifier.describe import class_label as class_label
from esc50.classifier.describe import say_percent as say_percent
from esc50.config import FIGURES_DIR, PROJECT_DIR, atomic_write

SOUND_BLUE = "#4f8fd9"  # reads on white and on black
BLEND_COLOR = "#7c8593"  # contrast about 4 : 1 with white and 5 : 1 with near-black
THEME_PALETTE = {  # as dataset.THEMES; colours of seaborn's "colorblind", told apart whatever one's colour vision
    "Animals": "#0173b2",
    "Natural soundscapes & water": "#de8f05",
    "Human, non-speech": "#029e73",
    "Interior/domestic": "#d55e00",
    "Exterior/urban": "#cc78bc",
}
SERIES = (*THEME_PALETTE.values(), "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 3)))  # told apart without colour
EMPHASIS, MUTED, PALE = SERIES[3], "0.45", "0.8"
WIDTH_INCHES = 9.0  # of the study's figures
SHOWN_INCH = 100  # pixels: figures are shown 900 pixels wide at most
RETINA = 2  # pixels of the file for each pixel shown
SMALLEST_TEXT = 8  # pixels, where shown
COLORS_OF_FILE = 256  # a third of the bytes, and nothing that the eye misses
SAME = 0.1  # of a colour channel: machines round otherwise
STYLE = {
    "figure.figsize": (WIDTH_INCHES, 4),
    "figure.dpi": SHOWN_INCH,
    "savefig.dpi": RETINA * SHOWN_INCH,
    "savefig.bbox": "tight",
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.titlesize": 10,
    "figure.titleweight": "bold",
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.6",
    "xtick.color": "0.6",
    "ytick.color": "0.6",
    "xtick.labelcolor": "0.15",
    "ytick.labelcolor": "0.15",
    "axes.labelcolor": "0.15",
    "text.color": "0.15",
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "axes.prop_cycle": plt.cycler(color=SERIES),
}


def set_style():
    """Set the look that all figures of the study share."""
    plt.rcParams.update(STYLE)


def line_styles():
    """Colour and dashes for one line after the other, so that they can be told apart in grey too."""
    colors = (*THEME_PALETTE.values(), SERIES[5], "0.35")  # dark enough for a thin line
    return ({"color": color, "linestyle": dashes} for color, dashes in zip(colors, LINES, strict=True))


def smallest_text(figure):
    """Height of the smallest letters in pixels, where a figure is shown 900 pixels wide or less."""
    figure.draw_without_rendering()  # only then do axes have their labels
    texts = [text for text in figure.findobj(plt.Text) if text.get_text().strip() and text.get_visible()]
    inch = min(SHOWN_INCH, SHOWN_INCH * WIDTH_INCHES / figure.get_figwidth())  # pixels
    return min((text.get_fontsize() for text in texts), default=np.inf) / 72 * inch


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
        _reduce_colors(beside)
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


def _reduce_colors(path):
    from PIL import Image

    picture = Image.open(path).convert("RGB").quantize(COLORS_OF_FILE, dither=Image.Dither.NONE)
    picture.save(path, format="PNG", optimize=True)


def as_html(figure, alt, *, dpi):
    """A figure as an HTML image; `alt` says what it shows to who cannot see it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'


def _look_alike(path, other):
    from PIL import Image

    first, second = (np.asarray(Image.open(p).convert("RGB"), dtype=float) / 255 for p in (path, other))
    return first.shape == second.shape and np.abs(first - second).max() < SAME
