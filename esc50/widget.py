"""The notebook's own little app: pick or upload a sound, hear it, see what it is taken for."""

import html
import io

import ipywidgets
import soundfile

from esc50 import dataset, plots
from esc50.errors import AudioError
from esc50.predict import EXAMPLE_PREFIX
from esc50.synthesis import EXAMPLES

ACCEPT = "audio/*,.wav,.flac,.ogg,.oga,.mp3,.aiff,.aif,.au,.m4a,.webm"
CHOOSE = "choose a sound …"
LISTENING = "listening …"
UPLOAD_MEGABYTES = 10  # what Jupyter's server lets through unless told otherwise; it drops more without a word
PICTURE_DPI = 100


class PredictionWidget(ipywidgets.VBox):
    """A thin shell over a classifier; what it shows is in its parts, which tests can drive without a browser.

    Parameters
    ----------
    classifier : esc50.predict.SoundClassifier
        What answers.
    examples : dict of str to str
        Label -> what ``classifier.predict`` takes.

    Attributes
    ----------
    choice : ipywidgets.Dropdown
        The examples, and an empty string at the top. Setting its value predicts.
    upload : ipywidgets.FileUpload
        Takes one file, which is predicted at once; then it is empty again and ready for the next.
    status : ipywidgets.HTML
        The answer in words with its warnings, or what is wrong with the sound.
    player : ipywidgets.Audio
        The sound as it was heard: mono at 16 kHz. Hidden where there is none.
    picture : ipywidgets.Image
        `esc50.plots.plot_prediction` as PNG. Hidden where there is none.
    prediction : esc50.predict.Prediction or None
        What is shown.
    """

    def __init__(self, classifier, examples):
        self.classifier = classifier
        self.prediction = None
        wide = ipywidgets.Layout(width="28em")
        auto = ipywidgets.Layout(width="auto")
        options = [(CHOOSE, ""), *examples.items()]
        self.choice = ipywidgets.Dropdown(options=options, description="Example", layout=wide)
        label = f"Upload (up to {UPLOAD_MEGABYTES} MB)"
        self.upload = ipywidgets.FileUpload(accept=ACCEPT, multiple=False, description=label, layout=auto)
        self.status = ipywidgets.HTML()
        self.player = ipywidgets.Audio(format="wav", autoplay=False, loop=False)
        self.picture = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%"))
        super().__init__([ipywidgets.HBox([self.choice, self.upload]), self.status, self.player, self.picture])
        self._clear(CHOOSE)
        self.choice.observe(self._on_choice, "value")
        self.upload.observe(self._on_upload, "value")

    def _on_choice(self, change):
        if change["new"]:
            self._show(change["new"], self.choice.label)

    def _on_upload(self, change):
        if not change["new"]:
            return
        (file,) = change["new"]
        self.choice.value = ""  # so that any example can be chosen again
        if len(file["content"]) < file["size"]:
            self._clear(_lost(file), wrong=True)
        else:
            self._show(file["content"], file["name"])
        self.upload.value = ()  # so that the same file can be uploaded again

    def _show(self, source, name):
        self._clear(LISTENING)
        try:
            self.prediction = self.classifier.predict(source)
        except AudioError as error:
            self._clear(f"{name}: {error}", wrong=True)
            return
        self.player.value = _wav(self.prediction.sound)
        self.picture.value = _png(self.prediction)
        self.player.layout.display = self.picture.layout.display = None
        self.status.value = _answer(self.prediction, name)

    def _clear(self, message, *, wrong=False):
        self.prediction, self.player.value, self.picture.value = None, b"", b""
        self.player.layout.display = self.picture.layout.display = "none"
        self.status.value = _paragraph(message, color="firebrick" if wrong else "gray")


def prediction_widget(classifier, *, examples=None, root=None):
    """Make the widget and let it show its first example.

    Parameters
    ----------
    classifier : esc50.predict.SoundClassifier
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
    """Sounds to choose from: the synthesised ones and, where ESC-50 is present, its first clip of each class.

    Parameters
    ----------
    root : path-like, optional
        ESC-50's folder; found as `esc50.dataset.find_dataset` finds it by default.

    Returns
    -------
    dict of str to str
        Label -> what `esc50.predict.load_source` takes. The labels say which sounds the head was trained on.
    """
    examples = {f"{plots.class_label(name)} (synthesised)": f"{EXAMPLE_PREFIX}{name}" for name in EXAMPLES}
    if root is None and not dataset.dataset_found():
        return examples
    root = dataset.find_dataset(root)
    clips = dataset.load_clips().drop_duplicates("category").sort_values("category")
    labels = clips["category"].map(plots.class_label) + " (ESC-50, trained on)"
    files = (str(dataset.clip_path(name, root)) for name in clips["filename"])
    return examples | dict(zip(labels, files, strict=True))


def _lost(file):
    megabytes = file["size"] / 1e6
    return (
        f"{file['name']} ({megabytes:.1f} MB) did not arrive whole: some notebook front ends lose uploads above "
        f"about {UPLOAD_MEGABYTES} MB. Copy it to where the notebook runs and call classifier.predict with its path."
    )


def _answer(prediction, name):
    ((best, probability),) = prediction.top(1)
    answer = f"{html.escape(name)} is taken for <b>{plots.class_label(best)}</b> ({100 * probability:.1f} %)"
    return "".join([f"<p>{answer}</p>", *(_paragraph(warning, color="darkorange") for warning in prediction.warnings)])


def _paragraph(text, *, color):
    return f'<p style="color: {color}">{html.escape(text)}</p>'


def _wav(sound):
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.waveform, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _png(prediction):
    buffer = io.BytesIO()
    plots.plot_prediction(prediction).savefig(buffer, format="png", dpi=PICTURE_DPI)
    return buffer.getvalue()
