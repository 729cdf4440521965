"""The app for the browser: give it a sound, see what it is. A thin shell over `esc50.SoundClassifier`."""

import base64
import html
import io
import os
import signal
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import gradio as gr
import soundfile
from gradio.components.plot import PlotData
from matplotlib.figure import Figure

from esc50.apps.commands import AppSettings
from esc50.audio import synthesis
from esc50.classifier import formats
from esc50.classifier.describe import class_label, describe_sound, event_label
from esc50.classifier.explanation import explain
from esc50.classifier.predict import SoundClassifier, warm_up
from esc50.classifier.timeline import Timeline, detect_events, settings_for, timeline_of
from esc50.config import AudioError, AudioSettings, Esc50Error, TooLongError
from esc50.reporting import plots

SETTINGS = AppSettings()
TITLE = "What do we hear?"
ABOUT = "Give it a sound, and see which of 50 classes it is: dog, rain, siren, chainsaw and others."
WELCOME = "Upload a sound, record one, or choose an example."
NO_SOUND = "There is no sound yet: upload a file, record one with the microphone, or choose an example."
LONG = "A long recording: here is which sounds occur when."
TOP, FORCED = "Most probable of the 50 classes", "If it had to be one of the 50 classes"
GONE = "The sound has been deleted from the app meanwhile: give it again."
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # nothing from the web
CSS = Path(__file__).with_name("web.css")
DPI = 160
COLUMNS = ("from", "to", "class", "confidence")
CONFIDENCE = "Confidence is not calibrated, unlike the probabilities of a whole sound."
EXPORTS = {"csv": Timeline.to_csv, "json": Timeline.to_json, "txt": Timeline.to_audacity}  # ending -> how it is written
LABELS = ("CSV", "JSON", "Audacity labels")
NEIGHBOUR = (
    '<li><b>{}</b><span>{}</span><span class="track"><span style="width: {:.0f}%"></span></span><i>{:.2f}</i></li>'
)


@dataclass(frozen=True)
class Page:
    """The sound, the button that asks why, and the parts of the page that an answer fills."""

    sound: gr.Audio
    ask_why: gr.Button
    verdict: gr.HTML  # the answer in words, facts and warnings; or what is wrong with the sound
    details: gr.Column  # all up to `nearest`; hidden where there is no answer to the whole sound
    heading: gr.Markdown
    top: gr.Label
    picture: gr.Plot
    why: gr.Plot  # hidden until asked for
    nearest: gr.HTML
    timeline: gr.Column  # all of the rest; hidden where the sound is short
    events: gr.Plot
    table: gr.HTML
    downloads: list  # of gradio.DownloadButton, in the order of `EXPORTS`

    @property
    def outputs(self):
        """Every part that an answer fills."""
        parts = list(vars(self).values())
        return [*parts[2:-1], *self.downloads]


def serve(*, model=None, host=SETTINGS.host, port=SETTINGS.port, share=False):
    """Load the classifier and serve the app until it is stopped; then delete whatever was uploaded to it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop, as Ctrl-C
    with tempfile.TemporaryDirectory(prefix="esc50-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        app = launch(warm_up(SoundClassifier.load(model)), host=host, port=port, share=share)
        print(f"The app runs at {app.share_url or app.local_url} (stop it with Ctrl-C).", flush=True)
        app.block_thread()


def launch(classifier, *, host=SETTINGS.host, port=SETTINGS.port, share=False, settings=SETTINGS):
    """Start to serve the app in a thread of its own; ``local_url`` of what it returns is the address.

    Port None is a free one from 7860 on. One that is taken raises `Esc50Error`.
    """
    app = build_app(classifier, settings=settings).queue(max_size=settings.max_waiting)
    try:
        app.launch(
            server_name=host, server_port=port, share=share, prevent_thread_lock=True, quiet=True, inbrowser=False,
            max_file_size=f"{settings.max_file_megabytes}mb", theme=gr.themes.Soft(**FONTS), css_paths=CSS,
            footer_links=[], run_history=False, enable_monitoring=False, ssr_mode=False, pwa=False, mcp_server=False,
        )  # fmt: skip
    except OSError as error:
        raise Esc50Error(f"the app cannot listen at port {port} of {host}: choose another with --port") from error
    return app


def build_app(classifier, *, settings=SETTINGS):
    """Lay the page out and connect it with a classifier.

    Scripts send a file to ``/predict`` or ``/timeline`` and get what the command line gives as JSON; the first adds
    ``probabilities``, of all classes by name.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")  # else a table is made at each request
    cache = (settings.sweep_seconds, settings.keep_files_seconds)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=cache) as app:
        page, button = _lay_out(settings, classifier.description)
        limit = {"concurrency_limit": settings.predictions_at_once, "concurrency_id": "classifier"}
        explanation = partial(_or_refuse, partial(_draw_why, classifier))
        why = page.ask_why.click(explanation, page.sound, page.why, api_visibility="private", **limit)
        private = {"api_visibility": "private", "show_progress_on": page.verdict}
        for event, none in ((page.sound.change, WELCOME), (button.click, NO_SOUND)):
            respond = partial(_respond, page, classifier, settings, none)
            event(respond, page.sound, page.outputs, cancels=why, **private, **limit)  # else it could come after this

        def predict(sound: gr.FileData) -> dict:
            return _or_refuse(partial(_record, classifier, settings), sound["path"])

        def timeline(sound: gr.FileData) -> dict:
            return _or_refuse(partial(_timeline_record, classifier, settings), sound["path"])

        gr.api(predict, api_name="predict", api_description="Classify one sound file.", **limit)
        gr.api(timeline, api_name="timeline", api_description="Say which sounds occur when in a file.", **limit)
    return app


def write_examples(folder):
    """Write the synthesised examples as sound files; returns readable class name -> file."""
    files = {}
    for name in synthesis.EXAMPLES:
        path = files[class_label(name)] = Path(folder) / f"{name}.wav"
        soundfile.write(path, synthesis.example(name), AudioSettings().sample_rate_hz)
    return files


def _lay_out(settings, description):
    gr.Markdown(f"# {TITLE}\n{ABOUT}", elem_id="title")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            sound = gr.Audio(type="filepath", sources=["upload", "microphone"], label="sound", buttons=[])
            button = gr.Button("What is it?", variant="primary")
            _offer_examples(sound)
        with gr.Column(scale=3, min_width=300):
            verdict = gr.HTML(_panel("start", WELCOME), elem_classes="bare")
            with gr.Column(visible=False) as details:
                heading = _heading(TOP)
                top = gr.Label(show_label=False, show_heading=False, elem_id="probabilities")
                _heading("Waveform and log-mel spectrogram")
                picture = gr.Plot(show_label=False, elem_id="picture")
                ask_why = gr.Button("Why? Show what in the sound spoke for it", size="sm")
                why = gr.Plot(show_label=False, visible=False, elem_id="why")
                _heading("Most similar training clips")
                nearest = gr.HTML(elem_classes="bare")
            timeline = _lay_out_timeline()
    gr.Markdown(f"{_limits(settings)} {description}", elem_id="limits")
    return Page(sound, ask_why, verdict, details, heading, top, picture, why, nearest, *timeline), button


def _lay_out_timeline():
    with gr.Column(visible=False) as timeline:
        _heading("Timeline: which sounds occur when")
        events = gr.Plot(show_label=False)
        table = gr.HTML(elem_classes="bare")
        gr.Markdown(CONFIDENCE, elem_classes="note")
        with gr.Row():
            downloads = [gr.DownloadButton(label, size="sm", min_width=100) for label in LABELS]
    return timeline, events, table, downloads


def _heading(text):
    return gr.Markdown(f"### {text}", elem_classes="heading")


def _offer_examples(sound):
    folder = Path(sound.GRADIO_CACHE) / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    gr.set_static_paths([folder])  # else they would be swept as what users upload is
    files = write_examples(folder)
    paths = [[str(path)] for path in files.values()]
    gr.Examples(paths, sound, example_labels=list(files), label="examples, made by code", api_visibility="private")


def _limits(settings):
    minutes, longest = AudioSettings().max_loaded_seconds / 60, settings.max_timeline_seconds / 60
    return (
        f"Up to {settings.max_file_megabytes} MB and {longest:g} minutes; over {minutes:g} minutes there is only a "
        f"timeline. Your sound is classified where this app runs, and deleted after "
        f"{settings.keep_files_seconds / 60:g} minutes."
    )


def _name_file(answer, path):
    """Answer to a file; an error names it as its owner does, not by its place on the server."""
    if not Path(path).exists():
        raise AudioError(GONE)
    try:
        return answer(path)
    except AudioError as error:
        raise AudioError(str(error).replace(str(path), Path(path).name)) from error


def _or_refuse(answer, path):
    try:
        return _name_file(answer, path)
    except AudioError as error:
        raise gr.Error(str(error), print_exception=False) from error


def _record(classifier, settings, path):
    try:
        prediction = classifier.predict(path)
    except TooLongError as error:
        minutes = AudioSettings().max_loaded_seconds / 60
        raise AudioError(f"{path} lasts longer than {minutes:g} minutes: ask for its timeline instead") from error
    every = dict(zip(prediction.class_names, prediction.probabilities.tolist(), strict=True))
    return formats.prediction_record(Path(path).name, prediction, top=settings.top) | {"probabilities": every}


def _timeline_record(classifier, settings, path):
    return formats.timeline_record(Path(path).name, _detect(classifier, settings, path))


def _detect(classifier, settings, path):
    own = settings_for(classifier.metadata["pooling"])
    return detect_events(classifier, path, settings=replace(own, max_seconds=settings.max_timeline_seconds))


def _predict(classifier, settings, path):
    """The prediction, None where the sound is too long for one; and the timeline, None where it is short."""
    try:
        prediction = classifier.predict(path)
    except TooLongError:
        return None, _detect(classifier, settings, path)
    is_short = prediction.sound.duration_seconds <= settings.timeline_from_seconds
    return prediction, None if is_short else timeline_of(prediction, classifier=classifier)


def _respond(page, classifier, settings, none, path):
    if not path:
        return _without_answer(page, _panel("start" if none == WELCOME else "wrong", none))
    try:
        prediction, timeline = _name_file(partial(_predict, classifier, settings), path)
    except AudioError as error:
        return _without_answer(page, _panel("wrong", str(error)))
    shown = _show_timeline(page, timeline, path)
    return shown | (_show_answer(page, classifier, settings, prediction) if prediction else _show_long(page, timeline))


def _show_answer(page, classifier, settings, prediction):
    return {
        page.verdict: _answer(prediction, classifier.metadata["rejection"]["meaning"]),
        page.details: gr.Column(visible=True),
        page.heading: f"### {TOP if prediction.is_known else FORCED}",
        page.top: {class_label(name): probability for name, probability in prediction.top(settings.top)},
        page.picture: _encode(plots.plot_sound(prediction)),
        page.why: gr.Plot(visible=False),
        page.nearest: _neighbours(prediction),
    }


def _show_long(page, timeline):
    panel = _panel("known", LONG, facts=describe_sound(timeline.facts), warnings=timeline.warnings)
    return {page.verdict: panel, page.details: gr.Column(visible=False)}


def _without_answer(page, panel):
    return {page.verdict: panel, page.details: gr.Column(visible=False), page.timeline: gr.Column(visible=False)}


def _show_timeline(page, timeline, path):
    if timeline is None:
        return {page.timeline: gr.Column(visible=False)}
    files = _export(timeline, page.sound.GRADIO_CACHE, Path(path).stem)
    figure = _figure(2.8)
    plots.plot_events(timeline, cmap=plots.BLEND_SHADES, ax=figure.subplots())
    return {
        page.timeline: gr.Column(visible=True),
        page.events: _encode(plots.blend_in(figure)),
        page.table: _table(timeline.events),
        **dict(zip(page.downloads, files, strict=True)),
    }


def _draw_why(classifier, path):
    prediction, figure = classifier.predict(path), _figure(3.2)
    plots.plot_explanation(prediction, explain(classifier, prediction), ax=figure.subplots())
    return gr.Plot(_encode(plots.blend_in(figure)), visible=True)


def _figure(height):
    return Figure(figsize=(6.6, height), layout="constrained")


def _encode(figure):
    """As Gradio would, but quicker."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, pil_kwargs={"compress_level": 1})
    return PlotData(type="matplotlib", plot=f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}")


def _table(events):
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(event))}</tr>" for event in events)
    return f'<div class="events"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cells(event):
    times = (formats.clock(seconds) for seconds in (event.start_seconds, event.end_seconds))
    name = class_label(event_label(event.class_name, is_known=event.is_known))
    return [*times, name, f"{100 * event.confidence:.0f} %"]


def _export(timeline, cache, stem):
    """Write the files to download into a folder of their own in Gradio's cache, which is swept."""
    Path(cache).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=cache))
    return [write(timeline, folder / f"{stem}_timeline.{ending}") for ending, write in EXPORTS.items()]


def _answer(prediction, meaning):
    sound = prediction.sound
    about = {"facts": describe_sound(sound), "warnings": prediction.warnings}
    about["meaning"] = "" if prediction.is_known or sound.is_silent else meaning
    return _panel("known" if prediction.is_known else "unknown", prediction.verdict, **about)


def _neighbours(prediction):
    """The nearest training clips, one a row; the bar is as long as they are similar."""
    rows = [
        NEIGHBOUR.format(class_label(n.category), html.escape(n.filename), 100 * n.similarity, n.similarity)
        for n in prediction.nearest
    ]
    return f'<ol class="nearest">{"".join(rows)}</ol>' if rows else "<p>Nothing is near to silence.</p>"


def _panel(kind, sentence, *, facts="", meaning="", warnings=()):
    lines = [f'<p class="sentence">{html.escape(sentence)}</p>']
    lines += [f'<p class="facts">{html.escape(quiet)}</p>' for quiet in (facts, meaning) if quiet]
    items = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
    lines += [f"<ul>{items}</ul>"] if items else []
    return f'<div class="esc50-panel {kind}" role="status">{"".join(lines)}</div>'
