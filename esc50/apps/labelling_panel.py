"""The widget's panel that teaches a class: sounds of one's own, and pages of a store to be labelled by key."""

import os
from contextlib import contextmanager
from pathlib import Path

import anywidget
import ipywidgets
import traitlets

from esc50.apps.labelling import KEYS, START, Labelling, open_store, summarise
from esc50.apps.panel import panel
from esc50.apps.recorder import Recorder, Status, Uploader, explain_loss
from esc50.config import AudioError, Esc50Error

TEACHING = "Give the class a name, and some recordings of it; or label what is found in a store."


class Keys(anywidget.AnyWidget):
    """Hands over the keys that are pressed in the panel."""

    _esm = Path(__file__).with_name("keys.js")
    words = traitlets.Dict(KEYS).tag(sync=True)


class LabellingPanel(ipywidgets.VBox):
    """A thin shell over `Labelling`.

    `take_over` is called with the classifier that has learnt, and with the first one when all is forgotten.
    """

    def __init__(self, classifier, take_over):
        self.state, self.untaught, self.take_over = Labelling(classifier), classifier, take_over
        self.name = _text("Class name", "such as doorbell")
        self.upload = Uploader(description="Add recordings", multiple=True)
        self.recorder = Recorder(max_seconds=10)
        self.store = _text("Store", "its path", continuous_update=False)
        self.query = _text("Look for", "a recording or a class", continuous_update=False)
        self.strip = ipywidgets.HTML()
        self.buttons = {word: ipywidgets.Button(description=f"{word.title()} ({key})") for key, word in KEYS.items()}
        self.learn = ipywidgets.Button(description="Teach", button_style="primary")
        self.forget = ipywidgets.Button(description="Forget")
        self.path = _text("Save as", "my-sounds.esc50")
        self.save = ipywidgets.Button(description="Save the class", disabled=True)
        self.status = Status(value=panel("start", TEACHING))
        self.answering = _row(*self.buttons.values(), Keys(), display="none")
        own, found = _row(self.name, self.upload, self.recorder), _row(self.store, self.query)
        last = _row(self.learn, self.forget, self.path, self.save)
        super().__init__([own, found, self.strip, self.answering, last, self.status])
        self.add_class("esc50-labelling")
        self._connect()

    def _connect(self):
        self.upload.observe(self._on_upload, "value")
        self.recorder.observe(self._on_recording, ["recording", "fault"])
        self.store.observe(self._on_store, "value")
        self.query.observe(self._on_query, "value")
        for word, button in self.buttons.items():
            button.on_click(lambda _, word=word: self.answer(word))
        self.answering.children[-1].on_msg(lambda _, content, buffers: self.answer(content["word"]))
        self.learn.on_click(self._on_learn)
        self.forget.on_click(self._on_forget)
        self.save.on_click(self._on_save)

    def answer(self, word):
        """Answer the card in focus, as its button does."""
        with self._telling("Not answered"):
            self.state.answer(word)
            self._show()

    def _on_upload(self, change):
        if files := change["new"]:
            faults = [explain_loss(each) or self._add(each["name"], each["content"]) for each in files]
            faults = [fault for fault in faults if fault]
            self.status.value = panel("wrong" if faults else "start", *faults, self.state.progress)
            self.upload.value = ()

    def _on_recording(self, change):
        if change["new"]:
            is_fault = change["name"] == "fault"
            fault = change["new"] if is_fault else self._add("recording", change["new"])
            self.status.value = panel("wrong" if fault else "start", fault or self.state.progress)
            self.recorder.fault = ""  # so that the same fault is told again

    def _add(self, name, content):
        """Take a sound; say what is wrong with it."""
        try:
            self.state.add(name, bytes(content))
        except AudioError as error:
            return f"{name}: {error}"
        return ""

    def _on_store(self, change):
        with self._telling("Not opened"):
            if text := change["new"].strip():
                place = os.path.expanduser(text)  # noqa: PTH111 - it may be an address
                self.state.open(open_store(place, self.untaught))
                self._show()
                self.status.value = panel("start", START)

    def _on_query(self, change):
        with self._telling("Not found"):
            if change["new"].strip():
                self.state.ask(change["new"])
                self._show()

    def _on_learn(self, button):
        button.disabled = True
        try:
            with self._telling("Not taught"):
                self.status.value = panel("busy", "Learning …", minor=["This takes a few seconds."])
                lesson = self.state.teach(self.name.value)
                self.take_over(lesson.classifier)
                self.save.disabled, self.name.value = False, ""
                self._show()
                main, minor, table = summarise(lesson)
                self.status.value = panel("known", *main, minor=minor, table=table)
        finally:
            button.disabled = False

    def _on_forget(self, button):
        self.state.forget()
        self.state.classifier, self.save.disabled, self.name.value = self.untaught, True, ""
        self.take_over(self.untaught)
        self._show()
        self.status.value = panel("start", f"All forgotten. {TEACHING}")

    def _on_save(self, button):
        with self._telling("Not saved"):
            path = self.state.classifier.own.save(self.path.value.strip() or self.path.placeholder)
            self.status.value = panel("known", f"Saved: esc50 predict --classes {path} knows it too.")

    def _show(self):
        self.strip.value = self.state.strip()
        self.answering.layout.display = None if self.state.page else "none"
        self.status.value = panel("start", self.state.progress)

    @contextmanager
    def _telling(self, what):
        try:
            yield
        except Esc50Error as error:
            self.status.value = panel("wrong", f"{what}: {error}.", minor=[self.state.progress])


def _text(name, placeholder, **options):
    look = {"layout": ipywidgets.Layout(width="22em"), "style": {"description_width": "initial"}}
    return ipywidgets.Text(description=name, placeholder=placeholder, **look, **options)


def _row(*parts, **layout):
    return ipywidgets.HBox(parts, layout=ipywidgets.Layout(flex_flow="wrap", **layout))
