"""Buttons for notebooks that give a sound to Python: from the browser's microphone, or files of any size."""

from pathlib import Path

import anywidget
import traitlets
from ipywidgets.widgets.trait_types import CByteMemoryView


class Recorder(anywidget.AnyWidget):
    """A button; pressed again, or after `max_seconds`, it hands over what was recorded."""

    _esm = Path(__file__).with_name("recorder.js")
    _css = "".join(Path(__file__).with_name(name).read_text("utf-8") for name in ("widget.css", "labelling.css"))
    recording = CByteMemoryView(b"").tag(sync=True)  # a WAV file, mono, 16 bit, at the browser's rate
    fault = traitlets.Unicode().tag(sync=True)  # why the browser could not record, in a sentence
    max_seconds = traitlets.Int(60).tag(sync=True)  # a minute at 48 kHz is 6 MB, which every front end lets through
    disabled = traitlets.Bool(False).tag(sync=True)


class Uploader(anywidget.AnyWidget):
    """A button that uploads files in parts; `value` holds name, size and content of each, once all are there."""

    _esm = Path(__file__).with_name("uploader.js")
    description = traitlets.Unicode("Upload").tag(sync=True)
    accept = traitlets.Unicode("audio/*").tag(sync=True)
    multiple = traitlets.Bool(False).tag(sync=True)
    max_bytes = traitlets.Int(2**28).tag(sync=True)  # of a larger file no content comes
    value = traitlets.Tuple()

    def __init__(self, **options):
        self.files = []
        super().__init__(**options)
        self.on_msg(self._take)

    def _take(self, _, message, parts):
        """Add a part of a file; the browser waits for the answer."""
        if message["start"] == 0:
            about = {"name": message["name"], "size": message["size"], "content": bytearray()}
            self.files = [*self.files[: message["number"]], about]
        self.files[-1]["content"] += parts[0]
        self.send("next")
        if message["is_whole"] and len(self.files) == message["n_files"]:
            self.value = tuple(file | {"content": bytes(file["content"])} for file in self.files)
            self.files = []
