"""The notebook's own little app: give it a sound, play it, see what it is and why, teach it a new class."""

import html
import io
import re
from contextlib import contextmanager
from pathlib import Path

import ipywidgets
import soundfile
from matplotlib.figure import Figure

from esc50.apps.labelling_panel import LabellingPanel
from esc50.apps.panel import panel, tell, tell_timeline
from esc50.apps.recorder import Recorder, Status, Uploader, explain_loss
from esc50.audio.sound import EXAMPLE_PREFIX
from esc50.audio.synthesis import EXAMPLES
from esc50.classifier.describe import class_label, say_patches
from esc50.classifier.explanation import explain
from esc50.classifier.formats import events_table
from esc50.classifier.timeline import detect_events
from esc50.config import AudioError, TooLongError
from esc50.reporting import plots

CHOOSE = "choose an example …"
START = "Choose an example, upload a file, record a sound, or give the path of a file."
CLASSIFYING = "Classifying …"
WHY = "Show which parts of the sound support it"
PICTURE_DPI = 200  # twice the dots of the page, which shows pictures as wide as the widget
TIMELINE_INCHES = 10.8  # as wide as the widget
NARROW_INCHES, NARROW_DPI = 4.0, 160  # for phones
NARROW = "(max-width: 480px)"
BARS_TO_PERCENT = 140  # so that "100 %" has room beside its bar


class PredictionWidget(ipywidgets.VBox):
    """A thin shell over a classifier; its parts can be driven without a browser.

    Parameters
    ----------
    classifier : esc50.SoundClassifier
        What answers, until a class is taught.
    examples : dict of str to str
        Label -> what ``classifier.predict`` takes.

    Attributes
    ----------
    choice, upload, recorder, path
        Give a sound: an example, a file, the browser's microphone, or a file where the notebook runs; it is
        classified at once.
    hint, status
        Which head answers; the verdict, or what is wrong with the sound.
    timeline, events : ipywidgets.HTML
        Of more than ten seconds, which sounds occur when, as a picture and as a table whose events can be played.
    player, picture, why, reasons
        The sound as mono at 16 kHz, its picture, the button that asks why and the picture that answers.
    teacher : LabellingPanel
        "Teach a class", folded in at first.
    prediction : esc50.classifier.predict.Prediction or None
        What is shown.
    """

    def __init__(self, classifier, examples):
        self.classifier, self.prediction = classifier, None
        options = [(CHOOSE, ""), *examples.items()]
        self.choice = ipywidgets.Dropdown(description="Example", options=options, layout=_width("26em"))
        self.upload = Uploader()
        self.recorder = Recorder()
        about = {"description": "or a path", "placeholder": "of a file where this notebook runs"}
        self.path = ipywidgets.Text(**about, continuous_update=False, layout=_width("auto"))
        self.status = Status()
        self.player = ipywidgets.Audio(format="wav", autoplay=False, loop=False)
        self.timeline, self.picture, self.reasons, self.events = (ipywidgets.HTML() for _ in range(4))
        self.why = ipywidgets.Button(description="Why this answer?", tooltip=WHY)
        self.teacher = LabellingPanel(classifier, self._take_over)
        self.hint = ipywidgets.HTML(_hint(classifier))
        super().__init__(self._lay_out(), layout=ipywidgets.Layout(max_width="1080px"))
        self.add_class("esc50-widget")
        self._clear(panel("start", START))
        self.choice.observe(self._on_choice, "value")
        self.upload.observe(self._on_upload, "value")
        self.recorder.observe(self._on_recording, ["recording", "fault"])
        self.path.observe(self._on_path, "value")
        self.why.on_click(self._on_why)

    def _lay_out(self):
        inputs = _row(self.choice, self.upload, self.recorder)
        answer = _row(self.player, self.why, align_items="center")
        folded = ipywidgets.Accordion([self.teacher], titles=["Teach a class"], selected_index=None)
        told = [self.status, self.timeline, self.events, answer, self.picture, self.reasons]
        return [inputs, self.path, self.hint, *told, folded]

    def _on_choice(self, change):
        if change["new"]:
            self._show(change["new"], self.choice.label)

    def _on_upload(self, change):
        for file in change["new"]:
            self._take(file["content"], file["name"], fault=explain_loss(file))
            self.upload.value = ()  # so that the same file can be uploaded again

    def _on_recording(self, change):
        if change["new"]:
            self._take(change["new"], "your recording", fault=change["new"] if change["name"] == "fault" else "")
            self.recorder.fault = ""  # so that the same fault is told again

    def _on_path(self, change):
        if path := change["new"].strip().strip("\"'"):
            file, fault = Path(path), ""
            try:
                file = file.expanduser()
            except RuntimeError:  # ~ and a name that is no user's
                fault = f"{path}: there is no such user here; give the whole path."
            self._take(file, file.name, fault=fault)

    def _on_why(self, button):
        if self.prediction is not None:
            with _busy(button):
                wide, narrow = (Figure(figsize=size, layout="constrained") for size in ((12, 4), (NARROW_INCHES, 3)))
                explanation = explain(self.classifier, self.prediction)
                for figure in (wide, narrow):
                    plots.plot_explanation(self.prediction, explanation, ax=figure.subplots())
                span, seconds = explanation.time_edges_seconds[[0, -1]], self.prediction.sound.duration_seconds
                caption = say_patches(explanation.class_name, span, seconds=seconds)
                _show_figure(self.reasons, wide, caption, narrow=narrow, below=f"<p>{caption}</p>")

    def _take(self, source, name, *, fault):
        self.choice.value = ""  # so that any example can be chosen again
        if fault:
            self._clear(panel("wrong", fault))
        else:
            self._show(source, name)

    def _show(self, source, name):
        self._clear(panel("busy", CLASSIFYING))
        try:
            self._predict(source, name)
        except AudioError as error:
            self._clear(panel("wrong", str(error).replace("the given recording", name)))

    def _predict(self, source, name):
        try:
            self.prediction = self.classifier.predict(source)
        except TooLongError:
            timeline = detect_events(self.classifier, source)
            self._show_timeline(timeline, playable=False)
            self.status.value = tell_timeline(timeline, name)
            return
        if self.prediction.timeline:
            self._show_timeline(self.prediction.timeline, playable=True)
        self.player.value = _wav(self.prediction.sound)
        self.player.layout.display = None
        if not self.prediction.sound.is_silent:
            self.why.layout.display = None
            alt = f"Waveform, log-mel, frames and classes. {self.prediction.as_one_sound}"
            _show_figure(self.picture, _draw_wide(self.prediction), alt, narrow=_draw_narrow(self.prediction))
        self.status.value = _answer(self.prediction, name)

    def _show_timeline(self, timeline, *, playable):
        if timeline.facts.is_silent:
            return
        wide, narrow = (plots.plot_timeline(timeline, width_inches=width) for width in (TIMELINE_INCHES, NARROW_INCHES))
        _show_figure(self.timeline, wide, f"Timeline. {timeline.verdict}", narrow=narrow)
        self.events.value, self.events.layout.display = events_table(timeline.events, playable=playable), None

    def _clear(self, said):
        self.prediction, self.player.value = None, b""
        for part in (self.timeline, self.picture, self.reasons):
            part.value = ""
        for part in (self.player, self.timeline, self.events, self.picture, self.reasons, self.why):
            part.layout.display = "none"
        self.status.value = said

    def _take_over(self, classifier):
        self.classifier = classifier
        self.hint.value = _hint(classifier)
        self.choice.value = ""
        self._clear(panel("start", START))


def prediction_widget(classifier, *, examples=None, root=None):
    """Make the widget and let it show its first example.

    Parameters
    ----------
    classifier : esc50.SoundClassifier
        What answers.
    examples : dict of str to str, optional
        Label -> what ``classifier.predict`` takes; `default_examples` by default.
    root : path-like, optional
        ESC-50's folder, for the default examples.

    Returns
    -------
    PredictionWidget
        An `ipywidgets.VBox` to display.
    """
    examples = default_examples(root=root) if examples is None else examples
    widget = PredictionWidget(classifier, examples)
    widget.choice.value = next(iter(examples.values()), "")
    return widget


def default_examples(*, root=None):
    """Label -> source of the synthesised sounds and, where ESC-50 is present, of its first clip of each class.

    The labels say which sounds the head was trained on.
    """
    examples = {f"{class_label(name)} (synthesised)": f"{EXAMPLE_PREFIX}{name}" for name in EXAMPLES}
    try:
        from esc50 import dataset
    except ModuleNotFoundError:  # the study's packages
        return examples
    if root is None and not dataset.dataset_found():
        return examples
    root = dataset.find_dataset(root)
    clips = dataset.load_clips().drop_duplicates("category").sort_values("category")
    labels = clips["category"].map(class_label) + " (ESC-50, trained on)"
    files = (str(dataset.clip_path(name, root)) for name in clips["filename"])
    return examples | dict(zip(labels, files, strict=True))


def _width(width):
    return ipywidgets.Layout(width=width, max_width="calc(100% - 4px)")  # without its margins


def _row(*parts, **layout):
    return ipywidgets.HBox(parts, layout=ipywidgets.Layout(flex_flow="wrap", **layout))


def _hint(classifier):
    return f'<small class="esc50-hint">{html.escape(classifier.description)}</small>'


@contextmanager
def _busy(button):
    words, button.description, button.disabled = button.description, "…", True
    try:
        yield
    finally:
        button.description, button.disabled = words, False


def _answer(prediction, name):
    nearest = ", ".join(f"{n.filename} ({class_label(n.category)})" for n in prediction.nearest)
    timeline = tell_timeline(prediction.timeline, name) if prediction.timeline else ""
    if timeline and prediction.sound.is_silent:
        return timeline
    return timeline + tell(prediction, name, *([f"Most similar training clips: {nearest}"] if nearest else []))


def _wav(sound):
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.waveform, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _draw_wide(prediction):
    figure = plots.plot_prediction(prediction)
    figure.subfigs[1].axes[0].set(xlim=(0, BARS_TO_PERCENT))
    return figure


def _draw_narrow(prediction):
    """The classes above the sound, in letters that can be read on a phone."""
    figure, sound = Figure(figsize=(NARROW_INCHES, 5.5), layout="constrained"), prediction.sound
    bars, wave, mel = figure.subplots(3, height_ratios=[1.6, 1, 1.6])
    plots.plot_top_classes(prediction.probabilities, prediction.class_names, ax=bars).set(xlim=(0, BARS_TO_PERCENT))
    plots.plot_waveform(sound.waveform, sample_rate_hz=sound.sample_rate_hz, ax=wave).set(xlabel="")
    plots.plot_log_mel(prediction.log_mel, axes=plots.YAMNET_MEL, ax=mel).set(xlim=wave.get_xlim())
    return figure


def _show_figure(part, figure, alt, *, narrow, below=""):
    [source] = re.findall('src="(.+?)"', plots.as_html(narrow, alt, dpi=NARROW_DPI))
    image = f'<source media="{NARROW}" srcset="{source}">{plots.as_html(figure, alt, dpi=PICTURE_DPI)}'
    part.value, part.layout.display = f"<picture>{image}</picture>{below}", None
