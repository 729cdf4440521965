"""The app for the browser: give it a sound, see what it is taken for. A thin shell over `esc50.predict`."""

import html
import os
import signal
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import gradio as gr
import soundfile
from matplotlib.figure import Figure

from esc50.audio import synthesis
from esc50.classifier import formats
from esc50.classifier.describe import describe_sound, event_label
from esc50.classifier.explanation import explain
from esc50.classifier.predict import SoundClassifier
from esc50.classifier.timeline import Timeline, detect_events, settings_for, timeline_of
from esc50.config import AppSettings, AudioError, AudioSettings, Esc50Error, TooLongError
from esc50.reporting import plots

SETTINGS = AppSettings()
TITLE = "What do we hear?"
ABOUT = "Give it a sound, and see which of 50 classes it is taken for: dog, rain, siren, chainsaw and others."
WELCOME = "Upload a sound, record one, or choose an example."
NO_SOUND = "There is no sound yet: upload a file, record one with the microphone, or choose an example."
LONG = "A long recording: here is what is heard when."


TOP, FORCED = "Most probable of the 50 classes", "If it had to be one of the 50 classes"


GONE = "The sound has been deleted from the app meanwhile: give it again."
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # nothing from the web
COLUMNS = ("from", "to", "class", "frame score")
SCORES = "Frame scores are not calibrated, unlike the probabilities of one answer to a whole sound."
EXPORTS = {"csv": Timeline.to_csv, "json": Timeline.to_json, "txt": Timeline.to_audacity}  # ending -> how it is written
LABELS = ("CSV", "JSON", "Audacity labels")
CSS = """
.gradio-container {max-width: min(1180px, 100%) !important; margin: auto}
#title h1 {font-size: 2rem; margin-bottom: 0}
#title p, #limits p, .note p, .card .facts, .heading h3 {color: var(--body-text-color-subdued)}
#title p {margin-top: .3rem}
#limits p, .note p {font-size: .85rem}
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
.nearest {list-style: none; margin: 0; padding: 0}
.nearest li {display: grid; grid-template-columns: minmax(5rem, 1fr) 9rem minmax(2rem, 1fr) 2.5rem;
             gap: .6rem; align-items: center; margin: 0; padding: .3rem 0}
.nearest li > span:nth-child(2), .nearest i {color: var(--body-text-color-subdued); font-style: normal}
.nearest .track {background: var(--border-color-primary); border-radius: 3px; height: 6px}
.nearest .track span {background: var(--color-accent); border-radius: 3px; display: block; height: 6px}
.events {max-height: 300px; overflow-y: auto}
.events table, .events tr, .events thead, .events tbody {border: none !important}
.events table {width: 100%; border-collapse: collapse; margin: 0}
.events th, .events td {border-width: 0 0 1px !important; border-color: var(--border-color-primary) !important;
                        padding: .3rem 0; text-align: left}
.events th {color: var(--body-text-color-subdued); font-weight: 500}
#scores * {font-family: var(--font)}
.bare .html-container {padding: 0 !important}
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
        All of the following up to the nearest clips; hidden where there is no answer to the whole sound.
    heading : gradio.Markdown
        What the next means.
    scores : gradio.Label
        The most probable classes as bars.
    picture : gradio.Plot
        Waveform and log-mel.
    ask_why : gradio.Button
        Asks for the next.
    why : gradio.Plot
        What in the sound spoke for the answer; hidden until asked for.
    nearest : gradio.HTML
        The most similar training clips.
    timeline : gradio.Column
        All of the following; hidden where the sound is short.
    events : gradio.Plot
        What is heard, and when.
    table : gradio.HTML
        The same as a table.
    downloads : list of gradio.DownloadButton
        The same as files, in the order of `EXPORTS`.
    """

    sound: gr.Audio
    verdict: gr.HTML
    details: gr.Column
    heading: gr.Markdown
    scores: gr.Label
    picture: gr.Plot
    ask_why: gr.Button
    why: gr.Plot
    nearest: gr.HTML
    timeline: gr.Column
    events: gr.Plot
    table: gr.HTML
    downloads: list

    @property
    def outputs(self) -> list:
        """Every part that an answer fills."""
        answer = [self.verdict, self.details, self.heading, self.scores, self.picture, self.why, self.nearest]
        return [*answer, self.timeline, self.events, self.table, *self.downloads]


def serve(*, model=None, host=SETTINGS.host, port=SETTINGS.port, share=False):
    """Load the classifier and serve the app until it is stopped; then delete whatever was uploaded to it.

    Parameters
    ----------
    model : str or path-like, optional
        What `esc50.classifier.predict.SoundClassifier.load` takes.
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
        app = launch(SoundClassifier.load(model), host=host, port=port, share=share)
        print(f"The app runs at {app.share_url or app.local_url} (stop it with Ctrl-C).", flush=True)
        app.block_thread()


def launch(classifier, *, host=SETTINGS.host, port=SETTINGS.port, share=False, settings=SETTINGS):
    """Start to serve the app, in a thread of its own.

    Parameters
    ----------
    classifier : esc50.classifier.predict.SoundClassifier
        What formats, loaded once for all users.
    host : str
        Address to listen at.
    port : int or None
        Port to listen at; None for a free one from 7860 on.
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
    classifier : esc50.classifier.predict.SoundClassifier
        What formats, loaded once for all users.
    settings : AppSettings
        Limits, and how long files are kept.

    Returns
    -------
    gradio.Blocks
        The app, not yet serving. Scripts send a file to ``/predict`` or ``/timeline`` and get what the command
        line gives as JSON; the first adds ``probabilities``, of all classes by name.
    """
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
        gr.api(timeline, api_name="timeline", api_description="Say what is heard when in a sound file.", **limit)
    return app


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


def _lay_out(settings, description):
    gr.Markdown(f"# {TITLE}\n{ABOUT}", elem_id="title")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            sound = gr.Audio(type="filepath", sources=["upload", "microphone"], label="sound", buttons=[])
            button = gr.Button("What is it?", variant="primary")
            _offer_examples(sound)
        with gr.Column(scale=3, min_width=300):
            verdict = gr.HTML(_card("start", WELCOME), elem_classes="bare")
            with gr.Column(visible=False) as details:
                heading = _heading(TOP)
                scores = gr.Label(show_label=False, show_heading=False, elem_id="scores")
                _heading("Waveform and log-mel spectrogram")
                picture = gr.Plot(show_label=False, elem_id="picture")
                ask_why = gr.Button("Why? Show what in the sound spoke for it", size="sm")
                why = gr.Plot(show_label=False, visible=False, elem_id="why")
                _heading("Most similar training clips")
                nearest = gr.HTML(elem_classes="bare")
            timeline = _lay_out_timeline()
    gr.Markdown(f"{_limits(settings)} {description}", elem_id="limits")
    return Page(sound, verdict, details, heading, scores, picture, ask_why, why, nearest, *timeline), button


def _lay_out_timeline():
    with gr.Column(visible=False) as timeline:
        _heading("Timeline: what is heard, and when")
        events = gr.Plot(show_label=False)
        table = gr.HTML(elem_classes="bare")
        gr.Markdown(SCORES, elem_classes="note")
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


def _named(hear, path):
    """Hear a file; an error names it as its owner does, not by its place on the server."""
    if not Path(path).exists():
        raise AudioError(GONE)
    try:
        return hear(path)
    except AudioError as error:
        raise AudioError(str(error).replace(str(path), Path(path).name)) from error


def _or_refuse(hear, path):
    try:
        return _named(hear, path)
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
    return formats.timeline_record(Path(path).name, _listen(classifier, settings, path))


def _listen(classifier, settings, path):
    own = settings_for(classifier.metadata["pooling"])
    return detect_events(classifier, path, settings=replace(own, max_seconds=settings.max_timeline_seconds))


def _hear(classifier, settings, path):
    """The prediction, None where the sound is too long for one; and the timeline, None where it is short."""
    try:
        prediction = classifier.predict(path)
    except TooLongError:
        return None, _listen(classifier, settings, path)
    is_short = prediction.sound.duration_seconds <= settings.timeline_from_seconds
    return prediction, None if is_short else timeline_of(prediction, classifier=classifier)


def _respond(page, classifier, settings, none, path):
    if not path:
        return _without_answer(page, _card("start" if none == WELCOME else "wrong", none))
    try:
        prediction, timeline = _named(partial(_hear, classifier, settings), path)
    except AudioError as error:
        return _without_answer(page, _card("wrong", str(error)))
    told = _show_timeline(page, timeline, path)
    return told | (_show_answer(page, classifier, settings, prediction) if prediction else _show_long(page, timeline))


def _show_answer(page, classifier, settings, prediction):
    top = {plots.class_label(name): probability for name, probability in prediction.top(settings.top)}
    return {
        page.verdict: _answer(prediction, classifier.metadata["rejection"]["meaning"]),
        page.details: gr.Column(visible=True),
        page.heading: f"### {TOP if prediction.is_known else FORCED}",
        page.scores: top,
        page.picture: plots.plot_sound(prediction),
        page.why: gr.Plot(visible=False),
        page.nearest: _neighbours(prediction),
    }


def _show_long(page, timeline):
    card = _card("known", LONG, facts=describe_sound(timeline.facts), warnings=timeline.warnings)
    return {page.verdict: card, page.details: gr.Column(visible=False)}


def _without_answer(page, card):
    return {page.verdict: card, page.details: gr.Column(visible=False), page.timeline: gr.Column(visible=False)}


def _show_timeline(page, timeline, path):
    if timeline is None:
        return {page.timeline: gr.Column(visible=False)}
    files = _export(timeline, page.sound.GRADIO_CACHE, Path(path).stem)
    return {
        page.timeline: gr.Column(visible=True),
        page.events: _draw_events(timeline),
        page.table: _table(timeline.events),
        **dict(zip(page.downloads, files, strict=True)),
    }


def _draw_why(classifier, path):
    prediction = classifier.predict(path)
    figure = Figure(figsize=(6.6, 3.2), layout="constrained", dpi=200)
    plots.plot_explanation(prediction, explain(classifier, prediction), ax=figure.subplots())
    return gr.Plot(plots.blend_in(figure), visible=True)


def _table(events):
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(event))}</tr>" for event in events)
    return f'<div class="events"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cells(event):
    times = (formats.clock(seconds) for seconds in (event.start_seconds, event.end_seconds))
    name = plots.class_label(event_label(event.class_name, is_known=event.is_known))
    return [*times, name, f"{100 * event.confidence:.0f} %"]


def _draw_events(timeline):
    figure = Figure(figsize=(6.6, 2.8), layout="constrained", dpi=200)
    plots.plot_events(timeline, cmap=plots.BLEND_SHADES, ax=figure.subplots())
    return plots.blend_in(figure)


def _export(timeline, cache, stem):
    """Write the files to download into a folder of their own in Gradio's cache, which is swept."""
    Path(cache).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=cache))
    return [write(timeline, folder / f"{stem}_timeline.{ending}") for ending, write in EXPORTS.items()]


def _answer(prediction, meaning):
    facts, warnings = describe_sound(prediction.sound), prediction.warnings
    if prediction.is_known or prediction.sound.is_silent:
        return _card("known" if prediction.is_known else "unknown", prediction.verdict, facts=facts, warnings=warnings)
    return _card("unknown", prediction.verdict, facts=facts, meaning=meaning, warnings=warnings)


def _neighbours(prediction):
    """The nearest training clips, one a row; the bar is as long as they are similar."""
    row = (
        '<li><b>{}</b><span>{}</span><span class="track"><span style="width: {:.0f}%"></span></span><i>{:.2f}</i></li>'
    )
    rows = [
        row.format(plots.class_label(clip.category), html.escape(clip.filename), 100 * clip.similarity, clip.similarity)
        for clip in prediction.nearest
    ]
    return f'<ol class="nearest">{"".join(rows)}</ol>' if rows else "<p>Nothing is near to silence.</p>"


def _card(kind, sentence, *, facts="", meaning="", warnings=()):
    lines = [f'<p class="sentence">{html.escape(sentence)}</p>']
    lines += [f'<p class="facts">{html.escape(quiet)}</p>' for quiet in (facts, meaning) if quiet]
    items = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
    lines += [f"<ul>{items}</ul>"] if items else []
    return f'<div class="card {kind}" role="status">{"".join(lines)}</div>'
