"""`esc50.audio.files`: which files of a folder are recordings."""

from esc50.audio.files import walk_sounds


def test_recordings_are_told_by_their_endings_and_hidden_files_are_left_out(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a.wv", "b.APE", "deep/c.mxf", "d.raw", "e.ts", "f.txt", ".g.wav"):
        (tmp_path / name).touch()
    assert sorted(path.name for path in walk_sounds(tmp_path)) == ["a.wv", "b.APE", "c.mxf"]
