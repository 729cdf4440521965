"""Label what sounds alike in a store, page by page, and teach a class with it: what widget and app share.

The first page is what is most like a query; from the first yes on, a page is what the class, as far as it is learnt, is
least sure of.
"""

import base64
import html
import io
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import RLock

import numpy as np
import soundfile
from matplotlib.figure import Figure

from esc50.audio.sound import EXAMPLE_PREFIX, load_part
from esc50.audio.synthesis import EXAMPLES
from esc50.classifier.describe import class_label, class_named, count_of, without_place
from esc50.classifier.formats import html_table
from esc50.classifier.own_classes import Example, fit_class, most_uncertain
from esc50.classifier.teaching import Recording, teach
from esc50.config import AudioError, AudioSettings, Esc50Error, TeachingError, YamnetSettings
from esc50.library.find import Hit
from esc50.reporting.plots.style import as_html
from esc50.yamnet.frames import STEP_SAMPLES
from esc50.yamnet.runtime import load_runtime

ANSWERS = {"yes": True, "no": False, "unsure": None}
KEYS = {"y": "yes", "n": "no", "u": "unsure", "b": "back"}
PAGE, BACKGROUND, SEED = 6, 2_000, 0  # hits on a page; windows drawn from the store that stand for all else
LONGEST_SECONDS = 10.0  # of a long hit its middle is shown
CARD_INCHES = (2.2, 1.2)
NEEDS_SCALE = "a store needs the packages of the extra: pip install 'esc50[scale]'"
START = "Give a recording, an example such as example:siren, or a class, and see what in the store is most like it."


def open_store(path, classifier):
    """The store at a path, for a classifier that may have own classes; an `Esc50Error` where it needs packages."""
    try:
        from esc50.library.store import Store
    except ModuleNotFoundError as error:
        raise Esc50Error(f"{NEEDS_SCALE}; {error.name} is missing") from error
    return Store.open(path, classifier=classifier.with_classes(None))


class Labelling:
    """Questions about the places of a store, and the answers."""

    def __init__(self, classifier, store=None, *, opens_paths=True):
        self.classifier, self.store, self.opens_paths, self.query = classifier, store, opens_paths, None
        self.page, self.place = [], 0  # hits that are asked about, and the one which the next answer is for
        self.answers = {}  # hit -> True: it is of the class; False: it is not; None: unsure, nothing is learnt from it
        self.given = {}  # name -> recording of the user's own
        self.files = set()  # of the store, that a fault may name
        self.lock = RLock()  # keys may be pressed before the page has changed

    def open(self, store):
        """Go on with another store; the answers stay."""
        self.store, self.page, self.place = store, [], 0

    def ask(self, query):
        """Begin with what is most like a query, as `Store.find` takes it; another query keeps the answers."""
        if self.store is None:
            raise TeachingError("no store is open: make one with `esc50 index FOLDER --store STORE`, and give its path")
        query = (query.strip() or None) if self.opens_paths else find_query(self.store, query)
        self.files.add(query)
        with self.lock:
            self.page, self.place, self.query = self._alike(query), 0, query  # only once it is known to work

    def add(self, name, source):
        """Take a sound of the user's own as one of the class, if it can be read; the same content counts once."""
        load_part(source)
        if source not in (each.source for each in self.given.values()):
            number = sum(each == name or each.startswith(f"{name} (") for each in self.given)
            name = f"{name} ({number + 1})" if number else name
            self.given[name] = Recording(source, name=name)

    def answer(self, word):
        """Answer the card in focus with a word of `ANSWERS`, or go "back"; after the last one comes the next page."""
        with self.lock:
            if word == "back":
                self.place = max(0, self.place - 1)
            elif self.place < len(self.page):
                hit = self.page[self.place]
                self.answers[hit] = ANSWERS[word]
                self.files.add(hit.file)
                self.place += 1
            if self.page and self.place == len(self.page):
                has_yes = any(answer and len(rows) for rows, answer in self._find_rows())
                self.page, self.place = self._uncertain() if has_yes else self._alike(self.query), 0

    def teach(self, name):
        """Teach the class from all answers that can be; the lesson. The answers are done with then."""
        with self.lock:
            found = [
                Recording(hit.file, answer, start_seconds=hit.start_seconds, end_seconds=hit.end_seconds)
                for hit, answer in self.answers.items()
                if answer is not None
            ]
            lesson = teach(self.classifier, name, [*self.given.values(), *found], skip_unreadable=True)
            self.forget()
            self.classifier = lesson.classifier
            return lesson

    def forget(self):
        """Drop the answers and the sounds given."""
        self.page, self.place, self.answers, self.given = [], 0, {}, {}

    @property
    def progress(self):
        """How many answers there are, in words."""
        counts = [sum(answer is value for answer in self.answers.values()) for value in ANSWERS.values()]
        own = f"{count_of(len(self.given), 'sound')} of yours. " if self.given else ""
        return f"{own}Labelled: {counts[0]} yes, {counts[1]} no, {counts[2]} unsure."

    def strip(self):
        """The page as HTML: a spectrogram and a player for each hit, the one in focus marked."""
        cards = (self._card(hit, is_current=i == self.place) for i, hit in enumerate(self.page))
        return f'<div class="esc50-strip" role="list">{"".join(cards)}</div>'

    def _alike(self, query):
        """The best hits that have no answer yet."""
        return _select(map(_shorten, self.store.find(query, top=PAGE + len(self.answers))), self.answers)

    def odds(self):
        """Log-odds of the class, as far as it is learnt, for every window of the store; and which have an answer."""
        labels, labelled = list(self._find_rows()), np.zeros(len(self.store.rows()), bool)
        examples = [
            Example("", answer, vector)
            for numbers, answer in labels
            if answer is not None
            for vector in self.store.vectors(numbers)
        ]
        labelled[np.concatenate([numbers for numbers, _ in labels])] = True
        rest = np.flatnonzero(~labelled)
        drawn = np.random.default_rng(SEED).choice(rest, min(BACKGROUND, len(rest)), replace=False)
        weights = fit_class("", examples, self.store.vectors(drawn))
        return self.store.project(weights[:-1]) + weights[-1], labelled

    def _find_rows(self):
        """Yield the numbers of the windows whose middle lies within a hit that has an answer, and the answer."""
        rows = self.store.rows()
        middle = (rows["start"] + rows["end"]) / 2
        for hit, answer in self.answers.items():
            is_within = (hit.start_seconds <= middle) & (middle <= hit.end_seconds) & (rows["file"] == hit.file)
            yield np.flatnonzero(is_within), answer

    def _uncertain(self):
        """Windows without an answer of which the class is least sure."""
        log_odds, labelled = self.odds()
        chosen = most_uncertain(log_odds, labelled, PAGE * 10)
        rows, values = self.store.rows()[chosen].tolist(), 1 / (1 + np.exp(-log_odds[chosen]))
        return _select(Hit(*row, float(value)) for row, value in zip(rows, values, strict=True))

    def _card(self, hit, *, is_current):
        place = f"{Path(hit.file).name}, {hit.start_seconds:.1f} to {hit.end_seconds:.1f} s"
        answer = next((word for word, value in ANSWERS.items() if self.answers.get(hit, "") is value), "")
        try:
            media = _media(hit, place)
        except AudioError as error:
            media = f"<p>{html.escape(without_place(str(error), hit.file))}</p>"
        kind = f"card {answer}{' current' if is_current else ''}"
        current = ' aria-current="true"' if is_current else ""
        return (
            f'<div class="{kind}" role="listitem"{current}>{media}<p>{html.escape(place)}<br><b>{answer}</b></p></div>'
        )


def find_query(store, query):
    """A query that opens no file from outside the store: a class, a built-in sound or a recording of the store."""
    query, files = query.strip(), set(store.rows()["file"])
    if not files:
        raise TeachingError("the store holds no sound yet")
    if name := class_named(query, store.settings["class_names"]):
        return name
    if query in {*files, *(f"{EXAMPLE_PREFIX}{name}" for name in EXAMPLES)}:
        return query
    found = [file for file in files if query and Path(file).name == query]
    if len(found) > 1:
        raise TeachingError(f"{len(found)} recordings of the store are called “{query}”: give the whole path of one")
    if not found:
        raise TeachingError(f"“{query}” is none of the classes and no recording of the store: try “dog”")
    return found[0]


def summarise(lesson):
    """A lesson as lines for people: the main ones, those to be shown smaller, and a table of what changed."""
    missed = [Path(name).name for name, is_recognised in lesson.recognised if is_recognised is False]
    minor = [f"Learnt without: {fault}." for fault in lesson.left_out]
    minor += [f"Held out, not recognised: {', '.join(missed)}."] if missed else []
    minor.append(f"It now answers with {len(lesson.classifier.class_names)} classes.")
    heads = ("class", "clips", "right before", "right after", f"taken for {class_label(lesson.class_name)}")
    rows = [[html.escape(class_label(name)), *counts] for name, *counts in lesson.costs()]
    return lesson.sentences, minor, html_table(map(html.escape, heads), rows) if rows else ""


def _shorten(hit):
    """The middle of a long hit."""
    cut = max(0.0, hit.end_seconds - hit.start_seconds - LONGEST_SECONDS) / 2
    return replace(hit, start_seconds=hit.start_seconds + cut, end_seconds=hit.end_seconds - cut)


def _overlap(first, second):
    apart = first.end_seconds <= second.start_seconds or first.start_seconds >= second.end_seconds
    return first.file == second.file and not apart


def _select(hits, answered=()):
    """A page of the first hits that overlap none with an answer and not each other."""
    page = []
    for hit in hits:
        if len(page) < PAGE and not any(_overlap(hit, other) for other in (*answered, *page)):
            page.append(hit)
    return page


@lru_cache(maxsize=64)
def _media(hit, place):
    """Picture and player of a hit."""
    waveform, buffer = load_part(hit.file, hit.start_seconds, hit.end_seconds), io.BytesIO()
    soundfile.write(buffer, waveform, AudioSettings.sample_rate_hz, format="WAV", subtype="PCM_16")
    source = f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    player = f'<audio controls preload="none" aria-label="{html.escape(place)}" src="{source}"></audio>'
    return as_html(_picture(waveform), f"spectrogram of {place}", dpi=100) + player


def _picture(waveform):
    """Log-mel spectrogram as a figure."""
    needed = int(YamnetSettings().min_waveform_seconds * AudioSettings.sample_rate_hz)
    _, log_mel = load_runtime().embed_with_log_mel(np.pad(waveform, (0, max(0, needed - len(waveform)))))
    figure = Figure(figsize=CARD_INCHES, layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.imshow(log_mel[: max(1, len(waveform) // STEP_SAMPLES)].T, origin="lower", aspect="auto", cmap="magma")
    ax.set_axis_off()
    return figure
