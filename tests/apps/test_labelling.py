import io
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from esc50.apps.labelling import PAGE, Labelling, open_store, summarise
from esc50.apps.labelling_panel import LabellingPanel
from esc50.audio import synthesis
from esc50.config import AudioError, Esc50Error, StoreError, TeachingError
from esc50.library.find import Hit

RATE, WINDOW = 16_000, 2.0


class FakeStore:
    """Two recordings, of whistles and of hums, in windows of two seconds; vectors are (whistle, hum, noise)."""

    def __init__(self, folder, n=12):
        rng = np.random.default_rng(0)
        whistles = [synthesis.chirp(start_hz=400 + 20 * i, end_hz=1_500, seconds=WINDOW) for i in range(n)]
        hums = [synthesis.sine(frequency_hz=100 + 5 * i, seconds=WINDOW) for i in range(n)]
        self.files = [str(folder / f"<{name}>.wav") for name in ("whistles", "hums")]
        for file, parts in zip(self.files, (whistles, hums), strict=True):
            soundfile.write(file, np.concatenate(parts), RATE)
        places = [(file, WINDOW * i, WINDOW * (i + 1)) for file in self.files for i in range(n)]
        self.settings = {"class_names": ["dog", "door_wood_knock"]}
        self._rows = np.array(places, [("file", object), ("start", float), ("end", float)])
        vectors = np.repeat(np.eye(3)[:2], n, axis=0) + rng.normal(0, 0.3, (2 * n, 3))
        self._vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def rows(self):
        return self._rows

    def vectors(self, numbers=slice(None)):
        return self._vectors[numbers]

    def project(self, direction):
        return self._vectors @ direction

    def find(self, query, *, top=20):
        similarity = self._vectors[:, 0]
        return [Hit(*self._rows[i].tolist(), float(similarity[i])) for i in np.argsort(-similarity)[:top]]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return FakeStore(tmp_path_factory.mktemp("store"))


@pytest.fixture
def labelling(classifier, store):
    state = Labelling(classifier, store)
    state.ask(" whistle ")
    return state


def answer_page(state):
    for hit in list(state.page):
        state.answer("yes" if "whistles" in hit.file else "no")


def test_the_first_page_is_what_is_most_alike_and_the_next_what_is_least_sure(labelling, store):
    first = list(labelling.page)
    assert first == store.find("whistle", top=PAGE)
    answer_page(labelling)
    assert len(labelling.page) == PAGE and not set(labelling.page) & set(first)
    answer_page(labelling)
    assert len(labelling.answers) == 2 * PAGE
    assert {"whistles", "hums"} <= {hit.file.split("<")[1][:-5] for hit in labelling.answers}
    while labelling.page:
        answer_page(labelling)
    assert len(labelling.answers) == len(store.rows())


def test_without_a_yes_the_next_page_is_what_is_next_alike(labelling, store):
    for _ in range(PAGE):
        labelling.answer("unsure")
    assert labelling.page == store.find("whistle", top=2 * PAGE)[PAGE:]
    assert labelling.progress == f"Labelled: 0 yes, 0 no, {PAGE} unsure."


def test_an_answer_can_be_changed(labelling):
    labelling.answer("back")
    labelling.answer("no")
    labelling.answer("back")
    labelling.answer("yes")
    assert list(labelling.answers.values()) == [True] and labelling.place == 1


def test_the_strip_has_a_picture_and_a_player_for_each_and_marks_where_one_is(labelling):
    labelling.answer("yes")
    strip = labelling.strip()
    assert strip.count("<img") == strip.count("<audio controls") == PAGE
    assert strip.count('aria-current="true"') == 1 and strip.count("<b>yes</b>") == 1
    assert "&lt;whistles&gt;.wav" in strip and "<whistles>" not in strip


def test_a_recording_that_is_gone_is_said_on_its_card(labelling):
    labelling.page[0] = Hit("/some/where/gone.wav", 0.0, 2.0, 0.5)
    strip = labelling.strip()
    assert "gone.wav" in strip and "/some" not in strip and strip.count("<img") == PAGE - 1


def test_a_recording_that_is_back_is_shown(labelling, store, tmp_path):
    labelling.page = [Hit(str(tmp_path / "back.wav"), 0.0, 2.0, 0.5)]
    assert "<img" not in labelling.strip()
    (tmp_path / "back.wav").write_bytes(Path(store.files[0]).read_bytes())
    assert "<img" in labelling.strip()


def test_answers_at_the_same_time_are_one_after_the_other(labelling, monkeypatch):
    alike = labelling._alike
    monkeypatch.setattr(labelling, "_alike", lambda query: time.sleep(0.1) or alike(query))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(labelling.answer, ["unsure"] * (PAGE + 2)))
    assert len(labelling.answers) == PAGE + 2 and labelling.place == 2


def test_a_long_hit_is_shown_by_its_middle(labelling, monkeypatch):
    monkeypatch.setattr(labelling.store, "find", lambda query, top: [Hit("rain.wav", 100.0, 400.0, 0.9)], raising=False)
    labelling.ask("rain")
    assert labelling.page == [Hit("rain.wav", 245.0, 255.0, 0.9)]


def test_the_answers_become_a_class(labelling, classifier):
    answer_page(labelling)
    answer_page(labelling)
    n_yes = sum(answer is True for answer in labelling.answers.values())
    lesson = labelling.teach("slide whistle")
    assert len(lesson.recognised) == n_yes and labelling.classifier is lesson.classifier
    examples = lesson.own.examples
    assert len(examples) == 2 * PAGE and examples[0].end_seconds - examples[0].start_seconds == WINDOW
    assert not labelling.answers and not labelling.page
    main, minor, table = summarise(lesson)
    assert "“slide whistle”" in main[0] and f"{len(classifier.class_names) + 1} classes" in minor[-1]
    assert table.startswith("<table>") or not lesson.costs()


def test_without_a_store_or_a_yes_it_says_what_to_do(classifier, labelling):
    with pytest.raises(TeachingError, match="make one with `esc50 index"):
        Labelling(classifier).ask("dog")
    labelling.answer("no")
    with pytest.raises(TeachingError, match="no sound of “bell” was given"):
        labelling.teach("bell")
    assert labelling.answers  # stay


def test_in_another_store_it_goes_on_with_what_is_alike_and_the_answers_count(labelling, tmp_path):
    labelling.answer("yes")
    other = FakeStore(tmp_path)
    labelling.open(other)
    assert not labelling.page
    labelling.ask("whistle")
    for _ in range(PAGE):
        labelling.answer("unsure")
    assert labelling.page == other.find("whistle", top=2 * PAGE)[PAGE:]
    assert labelling.progress == f"Labelled: 1 yes, 0 no, {PAGE} unsure."
    answer_page(labelling)
    assert len(labelling.page) == PAGE and labelling.teach("whistle").recognised


def test_a_refused_question_leaves_the_page_before_and_what_follows_it(labelling, store, monkeypatch):
    def find(query, top):
        if query == "nonsense":
            raise StoreError("nonsense is neither a recording nor a class")
        return FakeStore.find(store, query, top=top)

    monkeypatch.setattr(store, "find", find, raising=False)
    before = list(labelling.page)
    with pytest.raises(StoreError):
        labelling.ask("nonsense")
    assert labelling.page == before
    for _ in range(PAGE):
        labelling.answer("unsure")
    assert labelling.page == store.find("whistle", top=2 * PAGE)[PAGE:] and labelling.place == 0


def test_a_sound_that_cannot_be_read_is_not_taken(classifier):
    state = Labelling(classifier)
    with pytest.raises(AudioError, match="not sound"):
        state.add("notes.wav", b"not sound at all")
    assert not state.given


def test_a_recording_that_is_gone_and_a_silent_one_are_left_out_and_named(classifier, tmp_path):
    state = Labelling(classifier, FakeStore(tmp_path))
    state.ask("whistle")
    labelled = state.page[0].file
    state.answer("yes")
    Path(labelled).unlink()
    still, glide = (io.BytesIO() for _ in range(2))
    for file, waveform in ((still, synthesis.silence()), (glide, synthesis.chirp(start_hz=400, end_hz=1_500))):
        soundfile.write(file, waveform, RATE, format="WAV")
    state.add("still.wav", still.getvalue())
    with pytest.raises(TeachingError, match=r"no sound of “whistle”.*; still\.wav: it is silent.*; no such file"):
        state.teach("whistle")
    assert state.answers and state.given
    state.add("glide.wav", glide.getvalue())
    lesson = state.teach("whistle")
    assert lesson.recognised == (("glide.wav", None),) and not state.given
    silent, gone = summarise(lesson)[1][:2]
    assert silent.startswith("Learnt without: still.wav: it is silent") and labelled in gone


@pytest.fixture
def panel(classifier):
    return LabellingPanel(classifier, lambda taught: None)


def test_the_panel_names_an_upload_that_is_no_sound_and_takes_the_others(panel):
    sound = io.BytesIO()
    soundfile.write(sound, synthesis.chirp(start_hz=400, end_hz=1_500), RATE, format="WAV")
    contents = {"a": b"x", "b": sound.getvalue()}
    panel._on_upload({"new": [{"name": n, "size": len(c), "content": memoryview(c)} for n, c in contents.items()]})
    assert 'wrong"><p class="main">a: ' in panel.status.value and "0 unsure.</p></div>" in panel.status.value
    assert [*panel.state.given] == ["b"]
    panel._on_recording({"new": b"x", "name": "recording"})
    assert 'wrong"><p class="main">recording: ' in panel.status.value and [*panel.state.given] == ["b"]


def test_the_panel_can_teach_again_after_a_refusal_and_a_fault(plain, panel, monkeypatch):
    panel.state.classifier, panel.name.value = plain, "bell"
    panel.learn.click()
    assert "Not taught: this model learns no classes" in panel.status.value and not panel.learn.disabled
    monkeypatch.setattr(panel.state, "teach", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        panel._on_learn(panel.learn)
    assert not panel.learn.disabled


def test_the_panel_clears_the_page_of_the_store_before(panel, store, monkeypatch):
    monkeypatch.setattr("esc50.apps.labelling_panel.open_store", lambda path, classifier: store)
    panel.store.value, panel.query.value = "first", "whistle"
    assert panel.state.page
    panel.store.value = "second"
    assert not panel.state.page and "<img" not in panel.strip.value
    assert 'start"><p class="main">Give a' in panel.status.value


def test_the_panel_finds_a_store_from_home_and_leaves_it_open_where_the_place_is_cleared(panel, store, monkeypatch):
    opened = []
    monkeypatch.setattr("esc50.apps.labelling_panel.open_store", lambda path, _: opened.append(path) or store)
    panel.store.value = "~/store"
    panel.store.value = " "
    assert opened == [str(Path("~/store").expanduser())] and panel.state.store is store


def test_without_the_packages_a_store_says_what_it_needs(classifier, monkeypatch):
    monkeypatch.setitem(sys.modules, "esc50.library.store", None)
    with pytest.raises(Esc50Error, match=r"pip install 'esc50\[scale\]'"):
        open_store("my-store", classifier)


def test_without_paths_no_file_but_the_stores_own_is_looked_for(classifier, store, tmp_path, monkeypatch):
    asked, secret = [], tmp_path / "secret.wav"
    secret.write_bytes(Path(store.files[0]).read_bytes())
    (tmp_path / "dog").mkdir()
    monkeypatch.setattr(store, "find", lambda query, top: asked.append(query) or [], raising=False)
    state, upwards = Labelling(classifier, store, opens_paths=False), f"{tmp_path}/x/../secret.wav"
    for query in (
        *("/etc/passwd", str(secret), upwards, "secret.wav", "missing.wav", "example:nothing", "s3://x/y.wav"),
        *(".", "~", "", str(Path(store.files[0]).parent), f"file://{store.files[0]}", f"{store.files[0]}\0", "whistle"),
    ):
        with pytest.raises(TeachingError) as refusal:
            state.ask(query)
        said = f"“{query}” is none of the classes and no recording of the store: try “dog”"
        assert str(refusal.value) == said and not asked
    for query in ("dog", "Door wood knock", "example:siren", store.files[1], "<whistles>.wav "):
        state.ask(query)
    assert asked == ["dog", "door_wood_knock", "example:siren", store.files[1], store.files[0]]
    monkeypatch.chdir(tmp_path)  # where a folder is called as a class
    state.ask("dog")
    assert asked[-1] == "dog"


def test_without_paths_a_name_of_several_recordings_and_an_empty_store_are_said_so(classifier, store, monkeypatch):
    state, rows = Labelling(classifier, store, opens_paths=False), store.rows().copy()
    rows["file"][:2] = "/first/bell.wav", "/second/bell.wav"
    monkeypatch.setattr(store, "_rows", rows)
    with pytest.raises(TeachingError, match=r"2 recordings of the store are called “bell\.wav”: give the whole path"):
        state.ask("bell.wav")
    monkeypatch.setattr(store, "_rows", rows[:0])
    with pytest.raises(TeachingError, match="the store holds no sound yet"):
        state.ask("dog")


@pytest.mark.slow
def test_a_real_store_is_labelled(classifier, store, tmp_path):
    library = pytest.importorskip("esc50.library.index")
    library.index([Path(store.files[0]).parent], tmp_path / "store", processes=1)
    state = Labelling(classifier, open_store(tmp_path / "store", classifier))
    state.ask(store.files[1])
    assert state.page and "<hums>" in state.page[0].file
    for _ in range(2):
        answer_page(state)
    assert state.teach("whistle").own.names == ("whistle",)
