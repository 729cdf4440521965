"""A record button for notebooks: the browser's microphone, given to Python as the bytes of a WAV file."""

from pathlib import Path

import anywidget
import traitlets
from ipywidgets.widgets.trait_types import CByteMemoryView


class Recorder(anywidget.AnyWidget):
    """A button; pressed again, or after `max_seconds`, it hands over what was recorded."""

    _esm = Path(__file__).with_name("recorder.js")
    _css = Path(__file__).with_name("widget.css")
    recording = CByteMemoryView(b"").tag(sync=True)  # a WAV file, mono, 16 bit, at the browser's rate
    fault = traitlets.Unicode().tag(sync=True)  # why the browser could not record, in a sentence
    max_seconds = traitlets.Int(60).tag(sync=True)  # a minute at 48 kHz is 6 MB, which every front end lets through
    disabled = traitlets.Bool(False).tag(sync=True)
