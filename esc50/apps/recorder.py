"""What a notebook's own widgets lack: a microphone, uploads of any size, and lines that are read out."""

from pathlib import Path

import anywidget
import traitlets
from ipywidgets.widgets.trait_types import CByteMemoryView

ACCEPT = "audio/*,video/*,.wav,.flac,.ogg,.oga,.mp3,.aiff,.aif,.au,.m4a,.webm,.mp4,.mkv,.mov,.avi"


def _read(*names):
    return "".join(Path(__file__).with_name(name).read_text("utf-8") for name in names)


class Recorder(anywidget.AnyWidget):
    """A button; pressed again, or after `max_seconds`, it hands over what was recorded."""

    _esm = _read("play.js", "recorder.js")
    _css = _read("panel.css", "widget.css", "labelling.css")
    recording = CByteMemoryView(b"").tag(sync=True)  # a WAV file, mono, 16 bit, at the browser's rate
    fault = traitlets.Unicode().tag(sync=True)  # why the browser could not record, in a sentence
    max_seconds = traitlets.Int(60).tag(sync=True)  # a minute at 48 kHz is 6 MB, which every front end lets through
    disabled = traitlets.Bool(False).tag(sync=True)


class Uploader(anywidget.AnyWidget):
    """A button that uploads files in parts; `value` holds name, size and content of each, once all are there."""

    _esm = Path(__file__).with_name("uploader.js")
    description = traitlets.Unicode("Upload").tag(sync=True)
    accept = traitlets.Unicode(ACCEPT).tag(sync=True)
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


def explain_loss(file):
    """Say why an upload is not whole; nothing where it is."""
    if len(file["content"]) == file["size"]:
        return ""
    return (
        f"{file['name']} ({file['size'] / 1e6:.1f} MB) did not arrive whole: it is too large, or the connection broke "
        "off. Copy it to where the notebook runs and give its path instead."
    )


class Status(anywidget.AnyWidget):
    """Lines of HTML that screen readers read out when they change."""

    _esm = """export default { render({ model, el }) {
      el.role = "status"; // of what lasts: a new element is not read out
      const show = () => (el.innerHTML = model.get("value"));
      model.on("change:value", show);
      show();
    } }"""
    value = traitlets.Unicode().tag(sync=True)
