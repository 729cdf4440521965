"""Read labelled recordings from a table with the columns filename and category, or a folder of class folders."""

import csv
import difflib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from esc50.audio.files import is_sound_name, walk_files
from esc50.classifier.describe import plain_name
from esc50.config import LabelsError

NONE = "none"  # category of a sound of no class
REQUIRED = ("filename", "category")
COLUMNS = (*REQUIRED, "source", "recording")
SEPARATORS = ",;\t"  # spreadsheets write semicolons in locales with decimal commas
CLOSE = 0.5  # difflib's similarity from which a name is suggested
HELP = f'run `esc50 classes` to list the classes, or use "{NONE}" for a sound of no class'


@dataclass(frozen=True, eq=False)
class Labels:
    """Labelled recordings."""

    table: pd.DataFrame  # filename, category and any other columns, all text
    paths: tuple  # of each recording
    notes: tuple = ()  # sentences about skipped files and lines


def read_labels(source, class_names, *, audio=None):
    """Read labels from a CSV file or a folder of class folders.

    Parameters
    ----------
    source : path-like
        The file or folder.
    class_names : sequence of str
        Valid categories, besides "none".
    audio : path-like, optional
        Folder that the file names in a CSV file are relative to; by default that of the file.

    Returns
    -------
    Labels
        Each file once.

    Raises
    ------
    LabelsError
        If the labels are invalid, or none of the recordings exists.
    """
    source = Path(source)
    if source.is_dir():
        if audio is not None:
            raise LabelsError(f"{source} is a folder of recordings: leave out --audio")
        root, (rows, notes) = source, _rows_of_folder(source)
    else:
        root, rows, notes = Path(source.parent if audio is None else audio), _rows_of_csv(source), []
    if not rows:
        raise LabelsError(
            f"{source} lists no recordings: add a line per file, or give a folder with a folder per class"
        )
    _name_categories(rows, class_names, source)
    rows, repeated = _drop_repeated(rows, source)
    table = pd.DataFrame([row for _, row in rows])
    paths = tuple(root / name for name in table["filename"])
    _refuse_if_elsewhere(paths, root / "audio" / table["filename"][0], root, source)
    return Labels(table, paths, (*notes, *repeated))


def _rows_of_csv(path):
    """Return each line that is not empty as its place in the file and a dict."""
    text = _read_text(path)
    if not text.strip():
        raise LabelsError(f"{path} is empty: give a CSV file with the columns {', '.join(REQUIRED)}")
    separator = max(SEPARATORS, key=text.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text), delimiter=separator, skipinitialspace=True, restval="")
    reader.fieldnames = [_column_name(name) for name in reader.fieldnames or ()]
    if missing := [name for name in REQUIRED if name not in reader.fieldnames]:
        found = ", ".join(reader.fieldnames) or "nothing"
        raise LabelsError(f"{path} has no column {' and no '.join(missing)}: add it to the first line, now {found}")
    try:
        rows = [(f"line {reader.line_num}", row) for row in reader if any(filter(str.strip, map(str, row.values())))]
    except csv.Error as error:
        raise LabelsError(f"{path}, line {reader.line_num}: {error}; save the table as CSV again") from error
    for place, row in rows:
        if None in row:
            raise LabelsError(f'{path}, {place}: more cells than columns; put values with commas in "quotes"')
        if empty := [name for name in REQUIRED if not row[name].strip()]:
            raise LabelsError(f"{path}, {place}: {empty[0]} is empty; fill it in, or delete the line")
    return rows


def _read_text(path):
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise LabelsError(f"no such file: {path}; give a CSV file with the columns {', '.join(REQUIRED)}") from error
    except UnicodeDecodeError as error:
        raise LabelsError(f'{path} is not UTF-8 text: save it as "CSV UTF-8", or give a CSV file') from error
    except OSError as error:
        raise LabelsError(f"{path} cannot be read ({error.strerror}): check its permissions") from error


def _column_name(name):
    plain = name.strip()
    return plain.lower() if plain.lower() in COLUMNS else plain


def _rows_of_folder(folder):
    """Return the recordings in class folders, at any depth, and notes about other files and folders."""
    unlisted = []
    files = [path.relative_to(folder) for path in sorted(walk_files(folder, on_error=unlisted.append))]
    taken = [path for path in files if len(path.parts) > 1 and is_sound_name(path)]
    rows = [(f"folder {path.parts[0]}", {"filename": path.as_posix(), "category": path.parts[0]}) for path in taken]
    n_others = len(files) - len(taken)
    what = "1 file is" if n_others == 1 else f"{n_others} files are"
    notes = [f"{what} not a sound in a class folder: skipped"] if n_others else []
    return rows, [*notes, *(f"{error.filename} cannot be listed ({error.strerror}): skipped" for error in unlisted)]


def _name_categories(rows, class_names, source):
    """Normalise each category to the model's spelling; raise an error for unknown ones."""
    known, unknown = {plain_name(name): name for name in (*class_names, NONE)}, {}
    for place, row in rows:
        found = known.get(plain_name(row["category"]))
        if found is None:
            unknown.setdefault(row["category"].strip(), place)
        row["category"] = found
    if unknown:
        name, place = next(iter(unknown.items()))
        alike = {_sort_words(each): each for each in known.values()}
        close = difflib.get_close_matches(_sort_words(name), alike, n=1, cutoff=CLOSE)
        hint = f" (did you mean {alike[close[0]]}?)" if close else ""
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise LabelsError(f"{source}, {place}: unknown class {name!r}{hint}{more}; {HELP}")


def _sort_words(category):
    return " ".join(sorted(plain_name(category).split("_")))


def _drop_repeated(rows, source):
    """Drop repeated files, and return a note about them; raise an error if a file has two categories."""
    first = {}
    for place, row in rows:
        row["filename"] = row["filename"].strip()
        earlier = first.setdefault(os.path.normpath(row["filename"]), (place, row))
        if earlier[1]["category"] != row["category"]:
            both = f"{earlier[1]['category']} in {earlier[0]} and {row['category']} in {place}"
            raise LabelsError(f"{source}: {row['filename']} is {both}; give each file one category")
    n_repeated = len(rows) - len(first)
    what = "1 line repeats a file" if n_repeated == 1 else f"{n_repeated} lines repeat files"
    return list(first.values()), [f"{what}: ignored"] if n_repeated else []


def _refuse_if_elsewhere(paths, inside, root, source):
    """Raise one error for all files if none exists; suggest the folder ``audio`` if the first is at `inside`."""
    if any(map(os.path.exists, paths)):
        return
    seen = f" (try {root / 'audio'})" if inside.exists() else ""
    what = "the recording" if len(paths) == 1 else f"any of the {len(paths)} recordings"
    raise LabelsError(f"{root} does not contain {what} in {source}: give their folder with --audio{seen}")
