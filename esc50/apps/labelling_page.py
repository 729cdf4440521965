"""The app's part "My recordings": pages of a store, labelled by key, and a class taught with the answers."""

import re
from functools import partial

import gradio as gr

from esc50.apps.labelling import KEYS, START, Labelling, summarise
from esc50.classifier.own_classes import SUFFIX
from esc50.config import Esc50Error

ON_KEYS = """() => document.addEventListener("keydown", (event) => {
  const part = document.getElementById("own");
  const isTyping = event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey;
  if (!isTyping && part?.contains(event.target)) document.getElementById(`own-${event.key}`)?.click();
})"""


def lay_out_labelling(page, store, panel, **limit):
    """Lay the part out below a page; its class is known to the page, and to all who use it, once it is taught."""
    private = {"api_visibility": "private", **limit}
    with gr.Accordion("My recordings", open=False, elem_id="own"):
        state = gr.State(lambda: Labelling(page.classifier, store))
        status = gr.HTML(panel("start", START), elem_classes="bare")
        with gr.Row():
            query = gr.Textbox(label="Look for a class, or what sounds like a recording", placeholder="dog")
            find = gr.Button("Find", min_width=100)
        strip = gr.HTML(elem_classes="bare")
        with gr.Row(visible=False) as answering:
            buttons = {
                word: gr.Button(f"{word.title()} ({key})", min_width=100, elem_id=f"own-{key}")
                for key, word in KEYS.items()
            }
        with gr.Row():
            name = gr.Textbox(label="Name of the class", placeholder="doorbell")
            learn = gr.Button("Teach", variant="primary", min_width=100)
            save = gr.DownloadButton("Save the class", visible=False, min_width=100)
    shown = [state, status, strip, answering]

    def respond(function, labelling, *words):
        try:
            function(labelling, *words)
        except Esc50Error as error:
            return labelling, panel("wrong", str(error)), gr.skip(), gr.skip()
        row = gr.Row(visible=bool(labelling.page))
        return labelling, panel("start", labelling.progress), labelling.strip(), row

    def teach(labelling, class_name):
        try:
            lesson = labelling.teach(class_name)
        except Esc50Error as error:
            return labelling, panel("wrong", str(error)), gr.skip(), gr.skip(), gr.skip()
        page.classifier = lesson.classifier
        file = page.uploads.new_folder() / (re.sub(r"[^-\w]", "_", lesson.class_name) + SUFFIX)
        main, minor, _ = summarise(lesson)
        told = panel("known", main[0], warnings=[*main[1:], *minor])
        download = gr.DownloadButton(value=lesson.own.save(file), visible=True)
        return labelling, told, "", gr.Row(visible=False), download

    gr.on([find.click, query.submit], partial(respond, Labelling.ask), [state, query], shown, **private)
    for word, button in buttons.items():
        button.click(partial(respond, partial(_answer, word)), [state], shown, **private)
    learn.click(teach, [state, name], [*shown, save], **private)
    return ON_KEYS


def _answer(word, labelling):
    labelling.answer(word)
