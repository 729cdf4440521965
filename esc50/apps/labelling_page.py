"""The app's part "My recordings": pages of a store, labelled by key, and a class taught with the answers."""

import re
from functools import partial, reduce
from operator import methodcaller

import gradio as gr

from esc50.apps.labelling import KEYS, Labelling, summarise
from esc50.apps.panel import SPOKEN, panel
from esc50.classifier.describe import without_place
from esc50.classifier.own_classes import SUFFIX
from esc50.config import Esc50Error

START = "Give a class, an example such as example:siren, or a recording of the store, and see what is most like it."
YOURS = "A class that you teach is yours alone, until you reload or close the page: save it to keep it."
FORGOTTEN = "Forgotten: the answers are those of before."


def lay_out_labelling(page, store, **limit):
    """Lay the part out below a page; once a class is taught, the page answers with it to this visitor."""
    private, wide = {"api_visibility": "private", **limit}, {"scale": 4, "min_width": 140}
    with gr.Accordion("My recordings", open=False, elem_id="own"):
        state = gr.State(lambda: Labelling(page.classifier, store, opens_paths=False))
        status = gr.HTML(panel("start", START), elem_classes="bare", js_on_load=SPOKEN)
        with gr.Row(elem_classes="line"):
            query = gr.Textbox(label="Look for a class, or what sounds like a recording", placeholder="dog", **wide)
            find = gr.Button("Find", scale=0, min_width=100)
        strip = gr.HTML(elem_classes="bare")
        with gr.Row(visible=False, elem_id="own-answers") as answering:
            buttons = {
                word: gr.Button(f"{word.title()} ({key})", min_width=100, elem_id=f"own-{key}")
                for key, word in KEYS.items()
            }
        gr.Markdown("## Teach a class", elem_classes="heading")
        with gr.Row(elem_classes="line"):
            name = gr.Textbox(label="Name of the class", placeholder="doorbell", **wide)
            learn = gr.Button("Teach", variant="primary", scale=0, min_width=100)
            save = gr.DownloadButton("Save the class", visible=False, scale=0, min_width=150)
            forget = gr.Button("Forget", visible=False, scale=0, min_width=100)
        gr.Markdown(YOURS, elem_classes="note")
    shown = [state, status, strip, answering]
    changed = [*shown, save, forget, page.taught, page.classes, page.class_list]

    def show(labelling, told):
        row = gr.update(visible=bool(labelling.page))
        return {state: labelling, status: told, strip: labelling.strip(), answering: row}

    def respond(function, labelling, *words):
        try:
            function(labelling, *words)
        except Esc50Error as error:
            return {state: labelling, status: panel("wrong", _say(error, labelling))}
        return show(labelling, panel("start", labelling.progress))

    def teach(labelling, class_name):
        try:
            lesson = labelling.teach(class_name)
        except Esc50Error as error:
            return {state: labelling, status: panel("wrong", _say(error, labelling))}
        file = page.uploads.new_folder() / (re.sub(r"[^-\w]", "_", lesson.class_name) + SUFFIX)
        main, minor, _ = summarise(lesson)
        told = show(labelling, panel("known", *main, minor=[_say(line, labelling) for line in minor]))
        download = gr.update(value=lesson.own.save(file), visible=True)
        return told | {save: download} | take_over(lesson.classifier, is_taught=True)

    def drop(labelling):
        labelling.forget()
        labelling.classifier = page.classifier
        told = show(labelling, panel("start", FORGOTTEN))
        return told | {save: gr.update(visible=False)} | take_over(page.classifier, is_taught=False)

    def take_over(classifier, *, is_taught):
        taught = classifier if is_taught else None
        return {page.taught: taught, forget: gr.update(visible=is_taught)} | page.list_classes(classifier)

    asks = partial(respond, Labelling.ask)
    gr.on([find.click, query.submit], asks, [state, query], shown, trigger_mode="always_last", **private)
    for word, button in buttons.items():
        button.click(partial(respond, methodcaller("answer", word)), [state], shown, **private)
    learn.click(teach, [state, name], changed, **private)
    forget.click(drop, [state], changed, **private)


def _say(fault, labelling):
    """A fault, without places on the server."""
    return reduce(without_place, sorted(labelling.files, key=len, reverse=True), str(fault))
