"""The app for the browser: give it a sound, see what it is. A thin shell over `esc50.SoundClassifier`."""

import html
import os
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

import gradio as gr
import httpx
import soundfile
from gradio.utils import get_upload_folder
from matplotlib.figure import Figure

from esc50.apps.commands import AppSettings
from esc50.apps.guard import GONE, GuardedBlocks, GuardSettings, Uploads, server_options
from esc50.apps.panel import SPOKEN, panel, tell, tell_timeline
from esc50.audio import synthesis
from esc50.classifier import formats
from esc50.classifier.describe import (
    class_label,
    group_by_theme,
    say_patches,
    say_percent,
    top_heading,
    without_place,
)
from esc50.classifier.explanation import explain
from esc50.classifier.timeline import detect_events, settings_for
from esc50.config import AudioError, AudioSettings, Esc50Error, TooLongError
from esc50.reporting import plots
from esc50.reporting.plots.events import WIDTH_INCHES

SETTINGS = AppSettings()
TITLE = "What do we hear?"
ABOUT = "Give it a sound, and see which of 50 classes it is: dog, rain, siren, chainsaw and others."
WELCOME = "Upload a sound, record one, or choose an example."
LOOKING = "Looking for what supports it …"
MOST_AT_ONCE = 100  # sounds
SEVERAL = f"Up to {MOST_AT_ONCE} sounds: one line for each, and a table to download."
KEEP = "Share of known sounds to keep"
KEEP_INFO = "Keep fewer: fewer unknown sounds get a class, but more known ones are rejected."
COLORS = {  # of Gradio's theme those that have too little contrast
    "body_text_color_subdued": "*neutral_500",
    "block_label_text_color": "*primary_700",
    "block_title_text_color": "*primary_700",
    "button_primary_background_fill": "*primary_600",
    "button_primary_background_fill_hover": "*primary_700",
    "button_primary_background_fill_hover_dark": "*primary_700",
    "button_secondary_background_fill_hover_dark": "*primary_700",
}
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # nothing from the web
CSS = [Path(__file__).with_name(name) for name in ("panel.css", "web.css", "labelling.css")]
SCRIPTS = "".join(Path(__file__).with_name(name).read_text("utf-8") for name in ("play.js", "web.js"))
PLAYABLE = {".wav", ".mp3", ".m4a", ".mp4", ".ogg", ".opus", ".flac", ".webm"}  # by every browser
DPI = 160
TIMELINE_INCHES = {"wide": WIDTH_INCHES, "narrow": 4.0}  # for screens, and for phones
SPECTROGRAM = "Waveform and log-mel spectrogram"
CONFIDENCE = "Of events with a confidence of 80 %, about 80 % were right in a test on soundscapes."
LABELS = ("CSV", "JSON", "Audacity labels")
TOP = '<li><b>{}</b><span class="track"><span style="width: {:.1f}%"></span></span><i>{}</i></li>'
NEIGHBOUR = (
    '<li><b>{}</b><span>{}</span><span class="track"><span style="width: {:.0f}%"></span></span><i>{:.2f}</i></li>'
)


def launch(
    classifier, *, host=SETTINGS.host, port=SETTINGS.port, share=False, settings=SETTINGS, limits=None, store=None
):
    """Start to serve the app in a thread of its own; ``local_url`` of what it returns is the address.

    Port None is a free one from 7860 on. One that is taken raises `Esc50Error`, as does a host that is not here.
    """
    _check_address(host, port)
    limits = limits or limits_of(settings)
    app = build_app(classifier, settings=settings, limits=limits, store=store)
    app.queue(max_size=settings.max_waiting, api_open=False)
    try:
        app.launch(
            server_name=f"[{host}]" if ":" in host else host, server_port=port, share=share,
            prevent_thread_lock=True, quiet=True, inbrowser=False, max_file_size=limits.max_file_bytes,
            theme=gr.themes.Soft(**FONTS).set(**COLORS), css_paths=CSS,
            head=f"<script type='module'>{SCRIPTS}</script>", footer_links=[], run_history=False,
            enable_monitoring=False, ssr_mode=False, pwa=False, mcp_server=False, num_workers=0,
            app_kwargs=server_options(app.uploads),
        )  # fmt: skip
    except OSError as error:
        raise _no_address(host, port, "another program is there") from error
    httpx.get(f"{app.local_api_url}info", trust_env=False)  # kept for all with the host that the first to ask names
    return app


def build_app(classifier, *, settings=SETTINGS, limits=None, store=None):
    """Lay the page out and connect it with a classifier.

    Scripts send a file to ``/predict`` or ``/timeline`` and get what the command line gives as JSON; the first adds
    ``probabilities``, of all classes by name. With a `store` there is a part "My recordings".
    """
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")  # else a table is made at each request
    uploads = Uploads(get_upload_folder(), limits or limits_of(settings))
    with GuardedBlocks(uploads, title=TITLE, analytics_enabled=False) as app:
        page = Page(classifier, uploads, settings)
        limit = {"concurrency_limit": settings.predictions_at_once, "concurrency_id": "classifier"}
        private = {"api_visibility": "private"}
        why = page.ask_why.click(page.wait_for_why, None, page.why, show_progress="hidden", queue=False, **private)
        why = why.then(page.draw_why, [page.sound, page.taught], page.why, show_progress="hidden", **private, **limit)
        how = {"cancels": why, "show_progress_on": page.verdict, "trigger_mode": "always_last", **private, **limit}
        changes = [page.sound.change, page.keep.change, page.taught.change]
        gr.on(changes, page.respond, [page.sound, page.keep, page.taught], page.outputs, **how)  # a late reason is off
        many = [page.answers, page.answers_file]
        how = {"show_progress_on": page.answers, "trigger_mode": "always_last", **private, **limit}
        page.sounds.upload(page.respond_to_many, [page.sounds, page.keep, page.taught], many, **how)

        if store is not None:
            from esc50.apps.labelling_page import lay_out_labelling

            lay_out_labelling(page, store, **limit)

        def predict(sound: gr.FileData) -> dict:
            return page.answer_script(page.record, sound)

        def timeline(sound: gr.FileData) -> dict:
            return page.answer_script(page.timeline_record, sound)

        gr.api(predict, api_name="predict", api_description="Classify one sound file.", **limit)
        gr.api(timeline, api_name="timeline", api_description="Say which sounds occur when in a file.", **limit)
    return app


def limits_of(settings):
    """What the server takes, by the app's settings."""
    return GuardSettings(settings.max_file_megabytes * 2**20, settings.keep_files_seconds, settings.sweep_seconds)


class Page:
    """The parts of the page, and what an answer fills them with; made inside of `gradio.Blocks`."""

    def __init__(self, classifier, uploads, settings=SETTINGS):
        self.classifier, self.uploads, self.settings = classifier, uploads, settings
        self.taught = gr.State()  # the classifier of a visitor who has taught it a class
        gr.Markdown(f"# {TITLE}\n{ABOUT}", elem_id="title")
        with gr.Row(elem_id="parts"):
            with gr.Column(scale=2, min_width=300, elem_id="give"):
                self.sound = gr.Audio(
                    type="filepath", sources=["upload", "microphone"], label="sound", buttons=[], elem_id="sound"
                )
                self.player = gr.HTML(visible=False, elem_classes="bare")
                self._offer_examples()
                self.keep = _keep_slider(self.classifier.metadata["rejection"])
            with gr.Column(scale=3, min_width=300, elem_id="answer"):
                self.verdict = gr.HTML(panel("start", WELCOME), elem_classes="bare", js_on_load=SPOKEN)
                self._lay_out_timeline()
                with gr.Row(visible=False) as self.save:
                    self.downloads = [gr.DownloadButton(label, size="sm", min_width=100) for label in LABELS]
                self._lay_out_answer()
        self._lay_out_many()
        with gr.Accordion(_count_classes(self.classifier), open=False) as self.classes:
            self.class_list = gr.Markdown(_list_classes(self.classifier.metadata))
        gr.Markdown(f"{_limits(settings)} {classifier.description}", elem_id="limits")

    def answer(self, function, path):
        """What a function says of a file that was given to the app; of any other, and where it fails, `AudioError`."""
        if path in self.uploads:
            try:
                return function(path)
            except AudioError as error:
                if Path(path).is_file():  # still
                    raise AudioError(without_place(str(error), path)) from error
        raise AudioError(GONE)

    def answer_script(self, function, file):
        """The same for what a script sends as a file; the error is one for Gradio."""
        try:
            return self.answer(function, file.get("path") if isinstance(file, dict) else file)
        except AudioError as error:
            raise gr.Error(str(error), print_exception=False) from error

    @property
    def outputs(self):
        """Every part that an answer fills."""
        answer = [self.verdict, self.details, self.second, self.heading, self.top, self.picture, self.ask_why, self.why]
        answer += [self.nearest, self.player, self.timeline, self.events, self.table]
        return [*answer, self.save, *self.downloads]

    def respond(self, path, keep=None, taught=None):
        """What each part shows for a file, or where there is none. `keep` of the known sounds are kept."""
        if not path:
            return self._without_answer(panel("start", WELCOME))
        try:
            prediction, timeline = self.answer(partial(self.predict, keep=keep, taught=taught), path)
        except Esc50Error as error:
            return self._without_answer(panel("wrong", str(error)))
        played, name = self._find_played(path, prediction), Path(path).name
        shown = self._show_timeline(timeline, is_playable=played is not None) | self._show_player(played)
        return shown | self._show_answer(prediction, timeline, name) | self._save(prediction, timeline, name)

    def respond_to_many(self, paths, keep=None, taught=None):
        """A table of answers, line by line, and once it is complete the file to download."""
        paths, records = (paths or [])[:MOST_AT_ONCE], []
        for path in paths:
            try:
                prediction, timeline = self.answer(partial(self.predict, keep=keep, taught=taught), path)
                records.append(self._record(prediction, timeline, Path(path).name))
            except Esc50Error as error:
                records.append(formats.error_record(Path(path).name, error))
            yield _list_answers(records), gr.update(visible=False)
        file = None
        if records:
            file = _write(self.uploads.new_folder() / "answers.csv", formats.as_answers(records))
        yield _list_answers(records), gr.update(value=file, visible=bool(file))

    def predict(self, path, keep=None, taught=None):
        """The prediction, None where the sound is too long for one; and the timeline, None where it is short."""
        classifier = taught or self.classifier
        classifier = classifier if keep is None else classifier.keeping(keep)
        try:
            prediction = classifier.predict(path)
        except TooLongError:
            return None, self._detect(path, classifier)
        return prediction, prediction.timeline

    def wait_for_why(self):
        """Say that the reason is coming."""
        return gr.update(value=f'<p class="busy" role="status">{LOOKING}</p>', visible=True)

    def draw_why(self, path, taught=None):
        """What in the sound supports the answer."""
        try:
            return self.answer(partial(self._draw_why, taught or self.classifier), path)
        except AudioError as error:
            return panel("wrong", str(error))

    def record(self, path):
        """The answer to a script, in plain types."""
        try:
            prediction = self.classifier.predict(path)
        except TooLongError as error:
            minutes = AudioSettings().max_loaded_seconds / 60
            raise AudioError(f"{path} lasts longer than {minutes:g} minutes: ask for its timeline instead") from error
        every = dict(zip(prediction.class_names, prediction.probabilities.tolist(), strict=True))
        return self._record(prediction, None, Path(path).name) | {"probabilities": every}

    def timeline_record(self, path):
        """The timeline for a script, in plain types."""
        return formats.timeline_record(Path(path).name, self._detect(path, self.classifier))

    def list_classes(self, classifier):
        """The parts that list the classes, for another classifier."""
        return {
            self.classes: gr.update(label=_count_classes(classifier)),
            self.class_list: _list_classes(classifier.metadata),
        }

    def _offer_examples(self):
        files = write_examples(self.uploads.own_folder)
        self.uploads.own.update(map(str, files.values()))
        paths, labels, about = [[str(path)] for path in files.values()], list(files), "examples, made by code"
        gr.Examples(paths, self.sound, example_labels=labels, label=about, elem_id="examples", api_visibility="private")

    def _lay_out_many(self):
        with gr.Accordion("Several sounds at once", open=False):
            gr.Markdown(SEVERAL, elem_classes="note")
            self.sounds = gr.UploadButton("Choose sounds", file_count="multiple", size="sm", elem_id="sounds")
            self.answers = gr.HTML(elem_classes="bare")
            self.answers_file = gr.DownloadButton("Table as CSV", size="sm", visible=False)

    def _lay_out_answer(self):
        with gr.Column(visible=False) as self.details:  # hidden where there is no answer to the whole sound
            self.second = gr.HTML(visible=False, elem_classes="bare")  # of a long sound as one
            self.heading = _heading("")
            self.top = gr.HTML(elem_id="probabilities", elem_classes="bare")
            _heading(SPECTROGRAM)
            self.picture = gr.HTML(elem_id="picture", elem_classes="bare")
            self.ask_why = gr.Button("Why this answer?", size="sm")
            self.why = gr.HTML(visible=False, elem_id="why", elem_classes="bare")
            _heading("Most similar training clips")
            self.nearest = gr.HTML(elem_classes="bare")

    def _lay_out_timeline(self):
        with gr.Column(visible=False) as self.timeline:  # hidden where the sound is short
            _heading("Timeline: which sounds occur when")
            self.events = gr.HTML(elem_id="events", elem_classes="bare")
            self.table = gr.HTML(elem_classes="bare")

    def _draw_why(self, classifier, path):
        prediction, figure = classifier.predict(path), _figure(3.2)
        explanation = explain(classifier, prediction)
        plots.plot_explanation(prediction, explanation, ax=figure.subplots())
        span = explanation.time_edges_seconds[[0, -1]]
        caption = say_patches(explanation.class_name, span, seconds=prediction.sound.duration_seconds)
        return plots.as_html(plots.blend_in(figure), caption, dpi=DPI) + f"<p class='note'>{caption}</p>"

    def _detect(self, path, classifier):
        own = settings_for(classifier.metadata["pooling"])
        return detect_events(classifier, path, settings=replace(own, max_seconds=self.settings.max_timeline_seconds))

    def _show_answer(self, prediction, timeline, name):
        if prediction is None:
            return {self.verdict: tell_timeline(timeline, name), self.details: gr.update(visible=False)}
        answer, has_sound = tell(prediction, name), not prediction.sound.is_silent
        heading = top_heading(len(prediction.class_names), is_known=prediction.is_known)
        return {
            self.verdict: tell_timeline(timeline, name) if timeline else answer,
            self.details: gr.update(visible=True),
            self.second: gr.update(value=answer, visible=timeline is not None and has_sound),
            self.heading: gr.update(value=f"## {heading}", visible=has_sound),
            self.top: gr.update(value=_list_top(prediction.top(self.settings.top)), visible=has_sound),
            self.ask_why: gr.update(visible=has_sound),
            self.picture: plots.as_html(plots.plot_sound(prediction), SPECTROGRAM, dpi=DPI),
            self.why: gr.update(visible=False),
            self.nearest: _list_neighbours(prediction.nearest),
        }

    def _show_timeline(self, timeline, *, is_playable):
        if timeline is None or timeline.facts.is_silent:
            return {self.timeline: gr.update(visible=False)}
        return {
            self.timeline: gr.update(visible=True),
            self.events: "".join(_draw_timeline(timeline, kind, width) for kind, width in TIMELINE_INCHES.items()),
            self.table: _list_events(timeline.events, playable=is_playable),
        }

    def _find_played(self, path, prediction):
        """The file itself, or one that browsers can play; None of a long one."""
        if Path(path).suffix.lower() in PLAYABLE:
            return path
        if prediction is None:
            return None
        place, sound = self.uploads.new_folder() / "sound.wav", prediction.sound
        soundfile.write(place, sound.waveform, sound.sample_rate_hz, subtype="PCM_16")
        return str(place)

    def _show_player(self, path):
        if path is None:
            return {self.player: gr.update(visible=False)}
        source = html.escape(f"gradio_api/file={quote(path)}")
        about = 'class="esc50" controls preload="metadata" aria-label="the sound"'
        return {self.player: gr.update(value=f'<audio {about} src="{source}"></audio>', visible=True)}

    def _record(self, prediction, timeline, name):
        """The answer in plain types; that of a sound that is too long for one is its timeline."""
        if prediction is None:
            return formats.timeline_record(name, timeline)
        return formats.prediction_record(name, prediction, top=self.settings.top)

    def _save(self, prediction, timeline, name):
        """The answer as files, as `esc50 predict` writes them; of a long sound with ``--timeline``."""
        records = [self._record(None if timeline else prediction, timeline, name)]
        kind, columns = ("timeline", formats.EVENT_COLUMNS) if timeline else ("answer", formats.TOP_COLUMNS)
        texts = {"csv": formats.as_csv(records, columns=columns), "json": formats.as_json(records)}
        texts |= {"txt": formats.as_audacity(records)} if timeline else {}
        place = self.uploads.new_folder() / f"{Path(name).stem}_{kind}"
        files = [_write(Path(f"{place}.{ending}"), text) for ending, text in texts.items()]
        files = [*files, None][: len(self.downloads)]
        buttons = [gr.update(value=file, visible=file is not None) for file in files]
        return {self.save: gr.update(visible=True), **dict(zip(self.downloads, buttons, strict=True))}

    def _without_answer(self, said):
        hidden = dict.fromkeys((self.details, self.timeline, self.save, self.player), gr.update(visible=False))
        return {self.verdict: said} | hidden


def write_examples(folder):
    """Write the synthesised examples as sound files; returns readable class name -> file."""
    files = {}
    for name in synthesis.EXAMPLES:
        path = files[class_label(name)] = Path(folder) / f"{name}.wav"
        soundfile.write(path, synthesis.example(name), AudioSettings().sample_rate_hz)
    return files


def _check_address(host, port):
    """Raise where the app could not listen: Gradio would take seconds to find out, and not say why."""
    try:
        for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            socket.create_server(address[:2], family=family).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no such name"
        raise _no_address(host, port, reason.partition(" (")[0]) from error  # Python adds the address


def _no_address(host, port, reason):
    return Esc50Error(f"the app cannot listen at port {port} of {host} ({reason}): choose another --port or --host")


def _write(path, texts):
    path.write_text("".join(texts), encoding="utf-8", newline="")
    return path


def _heading(text):
    return gr.Markdown(f"## {text}", elem_classes="heading")


def _keep_slider(rule):
    """Ask how many of the known sounds are to be kept."""
    low, *_, high = rule["by_share"]["share"]
    slider = gr.Slider(low, high, rule["kept"], step=0.01, label=KEEP, info=KEEP_INFO, elem_id="keep")
    slider.preprocess = lambda payload: rule["kept"] if payload is None else min(max(payload, low), high)  # else raises
    return slider


def _count_classes(classifier):
    return f"The {len(classifier.class_names)} classes"


def _list_classes(metadata):
    themes = group_by_theme(metadata).items()
    return "\n\n".join(f"**{theme or 'Taught'}:** {', '.join(map(class_label, names))}" for theme, names in themes)


def _limits(settings):
    minutes, longest = AudioSettings().max_loaded_seconds / 60, settings.max_timeline_seconds / 60
    return (
        f"Up to {settings.max_file_megabytes} MB and {longest:g} minutes; over {minutes:g} minutes there is only a "
        f"timeline. Your sound is classified where this app runs, and deleted after "
        f"{settings.keep_files_seconds / 60:g} minutes."
    )


def _figure(height):
    return Figure(figsize=(5, height), layout="constrained")


def _draw_timeline(timeline, kind, width_inches):
    """A picture of it, of which the page shows the one that its text can be read on: `kind` is "wide" or "narrow"."""
    figure = plots.blend_in(plots.plot_timeline(timeline, width_inches=width_inches))
    return f'<div class="{kind}">{plots.as_html(figure, timeline.verdict, dpi=DPI)}</div>'


def _list_top(classes):
    """The most probable classes, one a row; the bar is as long as they are probable."""
    rows = (TOP.format(class_label(name), 100 * share, say_percent(share)) for name, share in classes)
    return f'<ol class="top">{"".join(rows)}</ol>'


def _list_events(events, *, playable=True):
    """A table of events, and what their confidence means."""
    return formats.events_table(events, playable=playable) + f'<p class="note">{CONFIDENCE}</p>' if events else ""


def _list_answers(records):
    """A table of sounds and what is said of each."""
    rows = [map(html.escape, (record["file"], record.get("verdict") or record["error"])) for record in records]
    return f'<div class="events answers">{formats.html_table(("sound", "answer"), rows)}</div>' if rows else ""


def _list_neighbours(clips):
    """The nearest training clips, one a row; the bar is as long as they are similar."""
    rows = [
        NEIGHBOUR.format(class_label(n.category), html.escape(n.filename), 100 * n.similarity, n.similarity)
        for n in clips
    ]
    return f'<ol class="nearest">{"".join(rows)}</ol>' if rows else "<p>Nothing is near to silence.</p>"
