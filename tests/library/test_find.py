"""Finding by example: files, parts, classes, counter-examples; overlapping windows are one place."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from helpers import whistle

from esc50.apps.cli import cli
from esc50.apps.labelling import Labelling
from esc50.audio import synthesis
from esc50.config import PROJECT_DIR, AudioError, StoreError
from esc50.library.find import combine, merge_windows, search, sign_codes
from esc50.library.index import index
from esc50.library.store import Hit, Store
from esc50.library.vectors import normalise

RATE = 16_000


@pytest.fixture(scope="module")
def store(filled, classifier):
    return Store.open(filled, classifier=classifier)


def names(hits):
    return [Path(hit.file).stem for hit in hits]


def test_the_same_sound_and_its_like_come_first(store):
    hits = store.find("example:siren", top=4)
    assert names(hits)[0] == "siren"
    assert hits[0].similarity > 0.9
    assert {*names(hits)[:2]} == {"siren", "other siren"}
    assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)


def test_a_class_is_found_by_its_probability(store):
    [best] = store.find("church_bells", top=1)
    assert names([best]) == ["bells"]
    assert best.similarity > 0.5


def test_a_part_of_a_recording(store, tmp_path):
    soundfile.write(tmp_path / "both.wav", np.concatenate([synthesis.example(n) for n in ("rain", "siren")]), RATE)
    assert names(store.find(tmp_path / "both.wav", start=0.5, end=4.5, top=1)) == ["rain"]
    assert names(store.find(tmp_path / "both.wav", start=5.5, top=1)) == ["siren"]


def test_hits_vectors_and_counter_examples_are_examples_too(store):
    rain = store.vectors()[[file.endswith("rain.wav") for file in store.rows()["file"]]]
    siren = store.find("siren", top=1)[0]
    assert names(store.find(rain[0], top=1)) == ["rain"]
    assert "siren" in names(store.find(siren, top=1))[0]
    hits = store.find("example:siren", positives=["example:rain"], negatives=[siren], top=4)
    assert names(hits)[0] == "rain"


@pytest.mark.parametrize(
    ("query", "where", "fault"),
    [
        ("nothing.wav", {}, "no such file: nothing.wav"),
        ("example:siren", {"start": 7.0}, r"ends at 5.0 s, before 7 s"),
        ("example:siren", {"start": 3.0, "end": 2.0}, "the range 3 to 2 s is empty"),
    ],
)
def test_an_example_that_cannot_be_used(store, query, where, fault):
    with pytest.raises(AudioError, match=fault):
        store.find(query, **where)


def test_what_is_neither_a_recording_nor_a_class(store):
    with pytest.raises(StoreError, match="whistling is neither a recording nor a class: `esc50 classes` lists those"):
        store.find("whistling")
    with pytest.raises(StoreError, match=r"dgo is neither a recording nor a class: did you mean dog\?"):
        store.find("dgo")


@pytest.mark.parametrize("name", ["church bells", "Church-Bells", " CHURCH_BELLS "])
def test_a_class_is_found_as_people_write_it(store, name):
    assert store.find(name, top=1) == store.find("church_bells", top=1)


@pytest.mark.parametrize(
    "more", [{"positives": ["example:rain"]}, {"negatives": ["example:rain"]}, {"start": 0.0}, {"end": 2.0}]
)
def test_a_class_is_looked_for_alone(store, more):
    with pytest.raises(StoreError, match="dog is a class, which is looked for alone: leave out --also, --unlike, --fr"):
        store.find("dog", **more)


@pytest.mark.parametrize("more", ["positives", "negatives"])
def test_further_examples_are_recordings(store, more):
    with pytest.raises(StoreError, match="cat is no recording: further examples and counter-examples must be recordi"):
        store.find("example:siren", **{more: ["cat"]})


def test_silence_and_nothing_cannot_be_looked_for(store, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    with pytest.raises(AudioError, match="nothing can be heard in"):
        store.find(tmp_path / "silence.wav")
    with pytest.raises(StoreError, match="nothing to look for"):
        store.find(None)
    with pytest.raises(StoreError, match="nothing to look for"):
        Labelling(store.classifier, store).ask("  ")


def test_an_empty_store(tmp_path, classifier):
    with pytest.raises(StoreError, match="holds no sound: fill it with `esc50 index"):
        Store.create(tmp_path / "store", classifier=classifier).find("siren")


def test_codes_choose_what_exact_comparison_finds():
    rng = np.random.default_rng(0)
    vectors = normalise(rng.standard_normal((20_000, 256))).astype(np.float16)
    query = normalise(vectors[7].astype(np.float32) + 0.05 * rng.standard_normal(256, dtype=np.float32))
    exact = np.argsort(-(vectors.astype(np.float32) @ query))[:10]
    rows, values = search(vectors, sign_codes(vectors), query, n=2_000)
    assert len({*exact} & {*rows[:10]}) >= 9
    assert (np.diff(values) <= 0).all()


def test_counter_examples_push_away():
    assert combine([np.array([1.0, 0])], [np.array([0, 1.0])]) == pytest.approx(normalise(np.array([1, -0.5])))


def test_overlapping_windows_are_one_place(tmp_path, cluster, classifier):
    soundfile.write(tmp_path / "long.wav", np.tile(synthesis.example("siren"), 4), RATE)
    index([tmp_path], tmp_path / "store", scheduler=cluster)
    store = Store.open(tmp_path / "store", classifier=classifier)
    n = len(store.rows())
    places, values = store.rows()[[0, n - 1, 1]], np.array([0.9, 0.8, 0.7])
    assert merge_windows(places, values, top=9) == [
        Hit(str(tmp_path / "long.wav"), 0.0, store.rows()["end"][1], 0.9),
        Hit(str(tmp_path / "long.wav"), store.rows()["start"][-1], 20.0, 0.8),
    ]
    assert merge_windows(places, values, top=1) == merge_windows(places, values, top=9)[:1]


def test_a_folder_or_file_named_as_a_class_is_not_asked_for(store, tmp_path, monkeypatch):
    (tmp_path / "siren").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rain").touch()
    assert names(store.find("siren", top=1)) == ["siren"] and names(store.find("Rain", top=1)) == ["rain"]
    with pytest.raises(StoreError, match="neither a recording nor a class"):
        store.find("x" * 300)


@pytest.mark.parametrize(("start", "end"), [(float("nan"), None), (0, float("nan")), (float("inf"), None), (-1, None)])
def test_a_range_that_is_none_is_refused(store, filled, start, end):
    with pytest.raises(AudioError, match="s is empty: start at 0 s or later"):
        store.find("example:siren", start=start, end=end)
    assert store.find("example:siren", end=float("inf"), top=1)


def test_a_hit_does_not_grow_into_the_sound_beside_it(classifier, tmp_path):
    parts = [np.random.default_rng(n).normal(0, 0.1, 20 * RATE).astype(np.float32) for n in (0, 1)]
    siren = synthesis.example("siren")
    soundfile.write(tmp_path / "long.wav", np.concatenate([parts[0], siren, parts[1]]), RATE)
    index([tmp_path], tmp_path / "store", processes=1)
    best, *others = Store.open(tmp_path / "store", classifier=classifier).find("example:siren", top=99)
    assert 18 < best.start_seconds < best.end_seconds < 27
    assert all(hit.similarity < best.similarity / 2 for hit in others)


def test_examples_and_counter_examples_of_the_command(filled, tmp_path):
    both, siren = tmp_path / "both.wav", filled.parent / "recordings/siren.wav"
    soundfile.write(both, np.concatenate([synthesis.example(name) for name in ("rain", "siren")]), RATE)
    for arguments, expected in (
        ([both, "--from", "5.5"], "siren"),
        ([both, "--to", "4.5"], "rain"),
        (["example:siren", "--also", "example:rain", "--unlike", siren], "rain"),
    ):
        result = CliRunner().invoke(cli, ["find", *map(str, arguments), "--store", str(filled), "--top", "1"])
        assert result.stdout.endswith(f"/{expected}.wav\n"), result.output


@pytest.mark.parametrize("page", ["commands", "own_sounds", "index_and_find"])
def test_the_programs_in_the_docs_run(page, filled, loaded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-store").symlink_to(filled)
    for name in ("dog.wav", "garden.flac", "kitchen.wav"):
        soundfile.write(name, synthesis.example("rain"), RATE)
    for number in (1, 2, 3):
        soundfile.write(f"kettle{number}.wav", whistle(number), RATE)
    text = (PROJECT_DIR / f"docs/{page}.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", text, re.S)
    assert programs
    for program in programs:
        exec(program, {})


def test_formats_of_the_command(filled, tmp_path):
    def run(form, *more):
        result = CliRunner().invoke(cli, ["find", "example:siren", "--store", str(filled), "--format", form, *more])
        assert result.exit_code == 0, result.output
        return result.stdout

    [first, *_] = json.loads(run("json"))
    assert Path(first["file"]).name == "siren.wav"
    rows = list(csv.DictReader(run("csv", "--top", "1").splitlines()))
    assert rows == [{name: str(value) for name, value in first.items()}]
    assert run("table", "--top", "1").endswith("siren.wav\n")
    run("audacity", "--top", "1", "--output", str(tmp_path / "labels.txt"))
    before = (tmp_path / "labels.txt").read_text()
    assert before.startswith("0.000000\t")
    more = ["--format", "audacity", "--output", str(tmp_path / "labels.txt")]
    result = CliRunner().invoke(cli, ["find", "rain", "--store", str(filled), *more])
    assert (result.exit_code, (tmp_path / "labels.txt").read_text()) == (2, before)
    assert "a label track belongs to one recording, and these hits are from several" in result.stderr
    part = next(filled.glob("*.parquet"))
    result = CliRunner().invoke(cli, ["find", "rain", "--store", str(filled), "--output", str(part)])
    assert result.exit_code == 1 and "is one of the files to read, and would be overwritten" in result.stderr
