"""The app for the browser: give it a sound, see what it is taken for. A thin shell over `esc50.predict`."""

import html
import os
import signal
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gradio as gr
import soundfile

from esc50 import plots, synthesis
from esc50.config import AppSettings, AudioSettings
from esc50.errors import AudioError, Esc50Error
from esc50.predict import SoundClassifier

SETTINGS = AppSettings()
TITLE = "What do we hear?"
ABOUT = "Give it a sound, and see which of 50 classes it is taken for: dog, rain, siren, chainsaw and others."
WELCOME = "Upload a sound, record one, or choose an example."
NO_SOUND = "There is no sound yet: upload a file, record one with the microphone, or choose an example."
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # nothing from the web
CSS = """
.gradio-container {max-width: 1180px !important; margin: auto}
#title h1 {font-size: 2rem; margin-bottom: 0}
#title p, #limits p, .card .facts, .heading h3 {color: var(--body-text-color-subdued)}
#title p {margin-top: .3rem}
#limits p {font-size: .85rem}
.heading h3 {font-size: .95rem; font-weight: 600; margin: .4rem 0 -.5rem}
.card {border: 1px solid var(--border-color-primary); border-left: 5px solid var(--color-accent); border-radius: 10px;
       background: var(--block-background-fill); padding: 14px 18px}
.card p {margin: 0; overflow-wrap: anywhere}
.card .sentence {font-size: 1.35rem; font-weight: 600; line-height: 1.35}
.card .facts {margin-top: 4px}
.card ul {margin: 8px 0 0; padding-left: 1.1rem; list-style: disc}
.card.start, .card.wrong {border-left-color: var(--border-color-primary)}
.card.start .sentence, .card.wrong .sentence {font-size: 1.1rem; font-weight: 500}
.card.unknown {border-left-color: #d99a2b}
.card.wrong {border-left-color: #d9534f}
#scores * {font-family: var(--font)}
#verdict {padding: 0; margin: 0}
"""


@dataclass(frozen=True)
class Page:
    """The parts of the page that an answer fills.

    Attributes
    ----------
    sound : gradio.Audio
        What was given: the path of a file with its original bytes.
    verdict : gradio.HTML
        The answer in words, what is known of the sound, warnings; or what is wrong with it.
    details : gradio.Column
        All of the following; hidden where there is no answer.
    scores : gradio.Label
        The most probable classes as bars.
    picture : gradio.Plot
        Waveform and log-mel.
    """

    sound: gr.Audio
    verdict: gr.HTML
    details: gr.Column
    scores: gr.Label
    picture: gr.Plot

    @property
    def outputs(self) -> list:
        """Every part but the sound."""
        return [self.verdict, self.details, self.scores, self.picture]


def serve(*, host=SETTINGS.host, port=SETTINGS.port, share=False):
    """Load the classifier and serve the app until it is stopped; then delete whatever was uploaded to it.

    Parameters
    ----------
    host : str
        Address to listen at; ``0.0.0.0`` lets other machines in.
    port : int
        Port to listen at.
    share : bool
        Whether to ask Gradio for a public address, by a tunnel through its servers.

    Raises
    ------
    Esc50Error
        The classifier cannot be loaded, or the port is taken.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop, as Ctrl-C
    with tempfile.TemporaryDirectory(prefix="esc50-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        app = launch(SoundClassifier.load(), host=host, port=port, share=share)
        print(f"The app runs at {app.share_url or app.local_url} (stop it with Ctrl-C).", flush=True)
        app.block_thread()


def launch(classifier, *, host=SETTINGS.host, port=SETTINGS.port, share=False, settings=SETTINGS):
    """Start to serve the app, in a thread of its own.

    Parameters
    ----------
    classifier : esc50.predict.SoundClassifier
        What answers, loaded once for all users.
    host : str
        Address to listen at.
    port : int
        Port to listen at.
    share : bool
        Whether to ask Gradio for a public address.
    settings : AppSettings
        Limits, and how long files are kept.

    Returns
    -------
    gradio.Blocks
        The app; ``local_url`` is its address, ``close()`` stops it.

    Raises
    ------
    Esc50Error
        The port is taken.
    """
    app = build_app(classifier, settings=settings).queue(max_size=settings.max_waiting)
    try:
        app.launch(
            server_name=host, server_port=port, share=share, prevent_thread_lock=True, quiet=True, inbrowser=False,
            max_file_size=f"{settings.max_file_megabytes}mb", theme=gr.themes.Soft(**FONTS), css=CSS, footer_links=[],
            run_history=False, enable_monitoring=False, ssr_mode=False, pwa=False, mcp_server=False,
        )  # fmt: skip
    except OSError as error:
        raise Esc50Error(f"the app cannot listen at port {port} of {host}: choose another with --port") from error
    return app


def build_app(classifier, *, settings=SETTINGS):
    """Lay the page out and connect it with a classifier.

    Parameters
    ----------
    classifier : esc50.predict.SoundClassifier
        What answers, loaded once for all users.
    settings : AppSettings
        Limits, and how long files are kept.

    Returns
    -------
    gradio.Blocks
        The app, not yet serving. Scripts use its endpoint ``/predict``: a file in, `describe` out.
    """
    cache = (settings.sweep_seconds, settings.keep_files_seconds)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=cache) as app:
        page, button = _lay_out(settings)
        limit = {"concurrency_limit": settings.predictions_at_once, "concurrency_id": "classifier"}
        for event, none in ((page.sound.change, WELCOME), (button.click, NO_SOUND)):
            respond = partial(_respond, page, classifier, settings, none)
            event(respond, page.sound, page.outputs, api_visibility="private", show_progress_on=page.verdict, **limit)

        def predict(sound: gr.FileData) -> dict:
            return _describe_or_refuse(classifier, sound["path"], settings)

        gr.api(predict, api_name="predict", api_description="Classify one sound file.", **limit)
    return app


def describe(prediction, *, top=SETTINGS.top):
    """Say in plain types what a prediction says, for scripts.

    Parameters
    ----------
    prediction : esc50.predict.Prediction
        From `esc50.predict.SoundClassifier.predict`.
    top : int
        How many classes under ``top``.

    Returns
    -------
    dict
        ``top``, a list of class and probability; ``probabilities``, of all classes by name; ``duration_seconds``;
        ``warnings``.
    """
    every = zip(prediction.class_names, prediction.probabilities.tolist(), strict=True)
    return {
        "top": [{"class": name, "probability": probability} for name, probability in prediction.top(top)],
        "probabilities": dict(every),
        "duration_seconds": prediction.sound.duration_seconds,
        "warnings": list(prediction.warnings),
    }


def write_examples(folder):
    """Write the synthesised examples as sound files.

    Parameters
    ----------
    folder : path-like
        Where; it must exist.

    Returns
    -------
    dict of str to Path
        Readable class name -> file.
    """
    files = {}
    for name in synthesis.EXAMPLES:
        path = files[plots.class_label(name)] = Path(folder) / f"{name}.wav"
        soundfile.write(path, synthesis.example(name), AudioSettings().sample_rate_hz)
    return files


def _lay_out(settings):
    gr.Markdown(f"# {TITLE}\n{ABOUT}", elem_id="title")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            sound = gr.Audio(type="filepath", sources=["upload", "microphone"], label="sound", buttons=[])
            button = gr.Button("What is it?", variant="primary")
            _offer_examples(sound)
            gr.Markdown(_limits(settings), elem_id="limits")
        with gr.Column(scale=3, min_width=300):
            verdict = gr.HTML(_card("start", WELCOME), elem_id="verdict")
            with gr.Column(visible=False) as details:
                _heading("Most probable classes")
                scores = gr.Label(show_label=False, show_heading=False, elem_id="scores")
                _heading("Waveform and log-mel spectrogram")
                picture = gr.Plot(show_label=False)
    return Page(sound, verdict, details, scores, picture), button


def _heading(text):
    gr.Markdown(f"### {text}", elem_classes="heading")


def _offer_examples(sound):
    with tempfile.TemporaryDirectory() as folder:
        files = write_examples(folder)
        gr.Examples(
            [[str(path)] for path in files.values()],
            sound,
            example_labels=list(files),
            label="examples, made by code",
            api_visibility="private",
        )


def _limits(settings):
    minutes = AudioSettings().max_loaded_seconds / 60
    return (
        f"Up to {settings.max_file_megabytes} MB and {minutes:g} minutes. Your sound is classified where this app "
        f"runs, and deleted after {settings.keep_files_seconds / 60:g} minutes."
    )


def _classify(classifier, path):
    """Predict; an error names the file as its owner does, not by its place on the server."""
    if not path:
        raise AudioError(NO_SOUND)
    try:
        return classifier.predict(path)
    except Esc50Error as error:
        raise AudioError(str(error).replace(str(path), Path(path).name)) from error


def _describe_or_refuse(classifier, path, settings):
    try:
        return describe(_classify(classifier, path), top=settings.top)
    except AudioError as error:
        raise gr.Error(str(error), print_exception=False) from error


def _respond(page, classifier, settings, none, path):
    if not path:
        return _without_answer(page, _card("start" if none == WELCOME else "wrong", none))
    try:
        prediction = _classify(classifier, path)
    except AudioError as error:
        return _without_answer(page, _card("wrong", str(error)))
    top = {plots.class_label(name): probability for name, probability in prediction.top(settings.top)}
    return {
        page.verdict: _answer(prediction),
        page.details: gr.Column(visible=True),
        page.scores: top,
        page.picture: plots.plot_sound(prediction),
    }


def _without_answer(page, card):
    return {page.verdict: card, page.details: gr.Column(visible=False), page.scores: None, page.picture: None}


def _answer(prediction):
    ((best, probability),) = prediction.top(1)
    sentence = f"This is taken for: {plots.class_label(best)} ({100 * probability:.0f} %)."
    return _card("known", sentence, facts=_facts(prediction.sound), warnings=prediction.warnings)


def _facts(sound):
    channels = f"{sound.source_channels} channel{'s' if sound.source_channels > 1 else ''}"
    return f"{sound.duration_seconds:.2f} s, {channels}, {sound.source_sample_rate_hz:g} Hz"


def _card(kind, sentence, *, facts="", warnings=()):
    lines = [f'<p class="sentence">{html.escape(sentence)}</p>']
    lines += [f'<p class="facts">{html.escape(facts)}</p>'] if facts else []
    items = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
    lines += [f"<ul>{items}</ul>"] if items else []
    return f'<div class="card {kind}" role="status">{"".join(lines)}</div>'
