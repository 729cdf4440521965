"""A record button for notebooks: the browser's microphone, given to Python as the bytes of a WAV file."""

from pathlib import Path

import anywidget
import traitlets
from ipywidgets.widgets.trait_types import CByteMemoryView

STYLE = """
.esc50-record::before {content: "●"; color: #d9534f; margin-right: .45em}
.esc50-record[data-state="recording"]::before {content: "■"}
"""


class Recorder(anywidget.AnyWidget):
    """A button; pressed again, or after `max_seconds`, it hands over what was heard.

    Attributes
    ----------
    recording : memoryview
        A WAV file, mono, 16 bit, at the browser's rate; empty until something was recorded.
    fault : str
        Why the browser could not record, in a sentence; empty where all is well.
    max_seconds : int
        Longest recording. A minute at 48 kHz is 6 MB, which every front end lets through.
    disabled : bool
        Whether the button can be pressed.
    """

    _esm = Path(__file__).with_name("recorder.js")
    _css = STYLE
    recording = CByteMemoryView(b"").tag(sync=True)
    fault = traitlets.Unicode().tag(sync=True)
    max_seconds = traitlets.Int(60).tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)
