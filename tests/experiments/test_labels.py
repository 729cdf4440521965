"""Labels in various formats, and one-line errors for invalid ones."""

import pytest
from helpers import refuse_to_list

from esc50.config import LabelsError
from esc50.experiments.labels import read_labels

NAMES = ("dog", "crying_baby", "rain")


@pytest.fixture
def folder(tmp_path):
    """Three empty files in place of recordings, one in a subfolder."""
    (tmp_path / "more").mkdir()
    for name in ("a.wav", "b.mp3", "more/c.ogg"):
        (tmp_path / name).touch()
    return tmp_path


def read(folder, text, *, encoding="utf-8", **options):
    (folder / "labels.csv").write_bytes(text.encode(encoding))
    return read_labels(folder / "labels.csv", NAMES, **options)


def test_filenames_count_from_the_folder_of_the_file_and_all_columns_are_kept(folder):
    found = read(folder, "filename,category,source,licence\na.wav,dog,me,CC0\nmore/c.ogg,none,,\n")
    assert found.table.to_dict("records") == [
        {"filename": "a.wav", "category": "dog", "source": "me", "licence": "CC0"},
        {"filename": "more/c.ogg", "category": "none", "source": "", "licence": ""},
    ]
    assert found.paths == (folder / "a.wav", folder / "more" / "c.ogg")
    assert found.notes == ()


def test_filenames_may_count_from_another_folder_and_may_be_whole_paths(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    found = read(elsewhere, f"filename,category\na.wav,dog\n{folder / 'b.mp3'},rain\n", audio=folder)
    assert found.paths == (folder / "a.wav", folder / "b.mp3")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_from_spreadsheets_is_read(folder, encoding, separator, end):
    lines = ["Category,Filename ,note", 'Crying Baby, a.wav,"one@ two"', ",,", "None,b.mp3,", "", "DOG,more/c.ogg"]
    text = end.join(lines).replace(",", separator).replace("@", ",")
    found = read(folder, text, encoding=encoding)
    assert [*found.table["category"]] == ["crying_baby", "none", "dog"]
    assert [*found.table["filename"]] == ["a.wav", "b.mp3", "more/c.ogg"]
    assert [*found.table["note"]] == ["one, two", "", ""]


def test_a_file_named_twice_counts_once(folder):
    found = read(folder, "filename,category\na.wav,dog\n./a.wav,dog\nmore/../a.wav,dog\nb.mp3,rain\n")
    assert [path.name for path in found.paths] == ["a.wav", "b.mp3"]
    assert found.notes == ("2 lines repeat files: ignored",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("filename,category\n", "lists no recordings"),
        ("filename,category\n,\n", "lists no recordings"),
        ("file,category\na.wav,dog\n", "has no column filename: add it to the first line, now file, category"),
        ("a.wav,dog\nb.mp3,rain\n", "has no column filename and no category"),
        ("filename,category\na.wav,dogs\n", "line 2: unknown class 'dogs' (did you mean dog?)"),
        ("filename,category\na.wav,baby cry\n", "(did you mean crying_baby?)"),
        ("filename,category\na.wav,dog bark\n", "(did you mean dog?)"),
        ("filename,category\na.wav,xyz\nb.mp3,yz\n", "unknown class 'xyz' and 1 more"),
        ("filename,category\na.wav,xyz\n", "run `esc50 classes` to list the classes"),
        ("filename,category\na.wav,\n", "line 2: category is empty"),
        ("filename,category\n\n ,dog\n", "line 3: filename is empty"),
        ("filename,category\na, b.wav,dog\n", 'line 2: more cells than columns; put values with commas in "quotes"'),
        ("filename,category\na.wav,dog\na.wav,rain\n", "a.wav is dog in line 2 and rain in line 3"),
        ('filename,category\n"a.wav,dog\n', "line"),
        ("filename,category\nz.wav,dog\n", "does not contain the recording in"),
        ("filename,category\nz.wav,dog\ny.wav,dog\n", "does not contain any of the 2 recordings"),
    ],
)
def test_one_line_says_what_is_wrong(folder, text, message):
    with pytest.raises(LabelsError) as caught:
        read(folder, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "labels.csv" in str(caught.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_reported(folder, encoding):
    with pytest.raises(LabelsError, match='is not UTF-8 text: save it as "CSV UTF-8"'):
        read(folder, "filename,category\nBär.wav,dog\n", encoding=encoding)


def test_the_folder_where_they_seem_to_be_is_named(folder):
    (folder / "audio").mkdir()
    (folder / "audio" / "z.wav").touch()
    with pytest.raises(LabelsError, match=rf"give their folder with --audio \(try {folder / 'audio'}\)"):
        read(folder, "filename,category\nz.wav,dog\n")


def test_no_such_labels(folder):
    with pytest.raises(LabelsError, match="no such file"):
        read_labels(folder / "nothing.csv", NAMES)


@pytest.fixture
def classes(tmp_path):
    """A folder with a folder for each class, and other things in it."""
    root = tmp_path / "classes"
    for name in ("dog/a.wav", "Crying baby/deep/b.MP3", "none/c.m4a", "none/notes.txt", "d.wav", ".hidden/e.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_a_folder_with_a_folder_for_each_class(classes):
    found = read_labels(classes, NAMES)
    assert dict(zip(found.table["filename"], found.table["category"], strict=True)) == {
        "dog/a.wav": "dog",
        "Crying baby/deep/b.MP3": "crying_baby",
        "none/c.m4a": "none",
    }
    assert all(path.exists() for path in found.paths)
    assert found.notes == ("2 files are not a sound in a class folder: skipped",)


def test_a_folder_that_cannot_be_listed_is_noted(classes, monkeypatch):
    refuse_to_list(monkeypatch, classes / "dog")
    found = read_labels(classes, NAMES)
    assert "dog" not in {*found.table["category"]}
    assert found.notes[-1] == f"{classes / 'dog'} cannot be listed (Permission denied): skipped"


def test_a_folder_of_no_class_is_named(classes):
    (classes / "dogs").mkdir()
    (classes / "dogs" / "f.wav").touch()
    with pytest.raises(LabelsError, match=r"folder dogs: unknown class 'dogs' \(did you mean dog\?\)"):
        read_labels(classes, NAMES)


def test_a_folder_needs_no_other_folder_and_some_recordings(classes, tmp_path):
    with pytest.raises(LabelsError, match="leave out --audio"):
        read_labels(classes, NAMES, audio=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelsError, match="lists no recordings"):
        read_labels(tmp_path / "empty", NAMES)
