"""What notebooks put on their pages: figures, tables, sounds and text that read well everywhere."""

import base64
import io

import matplotlib.pyplot as plt
import pandas as pd
import soundfile
from IPython.display import HTML, Image, Markdown, display

from esc50.config import FIGURES_DIR, AudioSettings
from esc50.reporting.plots.style import (
    RETINA,
    SHOWN_INCH,
    SMALLEST_TEXT,
    WIDTH_INCHES,
    save_figure,
    smallest_text,
)


def figure(figure, name, *, alt, folder=FIGURES_DIR):
    """Save a figure, and show what was saved, with a text for readers who cannot see it.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to show; it is closed.
    name : str
        File name without ending: the notebook's number, then what it shows.
    alt : str
        What there is to see, in one sentence.
    folder : str or Path
        Where to write; a relative folder counts from the project's.
    """
    if smallest_text(figure) < SMALLEST_TEXT:
        raise ValueError(f"{name}: text of {smallest_text(figure):.1f} pixels; make it larger, or the figure narrower")
    path = save_figure(figure, name, folder=folder)
    plt.close(figure)
    width = min(plt.imread(path).shape[1] // RETINA, round(WIDTH_INCHES * SHOWN_INCH))
    display(Image(filename=path, width=width, alt=alt))


def table(frame, *, first=10, title=""):
    """Show a table's first rows, every cell in full and without mere row numbers; the others unfold under `title`."""
    if first:
        display(HTML(_as_html(frame.head(first))))
    if len(frame) > first:
        rest = frame.iloc[first:]
        title = title or f"the other {len(rest)} rows"
        display(HTML(f"<details><summary>{title}</summary>{_as_html(rest)}</details>"))


def sound(waveform, title, *, sample_rate_hz=AudioSettings.sample_rate_hz):
    """Show a player of a sound: mono samples in [-1, 1]."""
    file = io.BytesIO()
    soundfile.write(file, waveform, sample_rate_hz, format="MP3")
    source = f"data:audio/mpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    display(HTML(f'{title}<br><audio controls preload="none" aria-label="{title}" src="{source}"></audio>'))


def text(markdown):
    """Show Markdown."""
    display(Markdown(markdown))


def _as_html(frame):
    has_only_numbers = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
    with pd.option_context("display.max_colwidth", None):
        return frame.to_html(border=0, na_rep="–", index=not has_only_numbers)
