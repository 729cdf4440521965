import subprocess
import sys

import numpy as np
import pytest
import soundfile

from esc50 import dataset
from esc50.config import FOLDS, N_CLASSES, DatasetError, LeakError
from esc50.dataset import clips as clips_module

COLUMNS = ["filename", "fold", "target", "category", "theme", "esc10", "src_file", "take"]
SOURCES_IN_TWO_FOLDS = {131943, 134049, 209698, 234879}


@pytest.fixture
def empty_places(tmp_path, monkeypatch, clips):
    """Two empty folders to look in, no environment variable, and a data set of ten clips."""
    monkeypatch.setattr(clips_module, "load_clips", lambda: clips.iloc[:10])
    folders = (tmp_path / "raw", tmp_path / "mirror")
    monkeypatch.setattr(clips_module, "SEARCH_FOLDERS", folders)
    monkeypatch.delenv(dataset.DATASET_VARIABLE, raising=False)
    return folders


def make_layout(root, clips, suffix=".flac", *, skip=()):
    """The ten clips by name, without sound."""
    (root / "audio").mkdir(parents=True)
    for name in clips["filename"].iloc[:10]:
        if name not in skip:
            (root / "audio" / name).with_suffix(suffix).touch()
    return root


def same(one, other):
    return all(
        np.array_equal(a.train, b.train) and np.array_equal(a.test, b.test) and a.name == b.name
        for a, b in zip(one, other, strict=True)
    )


# --- the clip table


def test_the_table_is_the_official_list_in_its_order(clips):
    assert list(clips.columns) == COLUMNS
    assert len(clips) == 2000
    first = clips.iloc[0]
    assert first.tolist() == ["1-100032-A-0.wav", 1, 0, "dog", "Animals", True, 100032, "A"]
    from_columns = [f"{c.fold}-{c.src_file}-{c.take}-{c.target}.wav" for c in clips.itertuples()]
    assert clips["filename"].tolist() == from_columns
    assert clips["filename"].is_unique
    assert clips["esc10"].sum() == 400


def test_classes_and_folds_are_balanced(clips):
    assert (clips["target"].value_counts() == 40).all()
    assert (clips.groupby(["target", "fold"]).size() == 8).all()
    assert sorted(clips["fold"].unique()) == list(FOLDS)


def test_class_names_come_in_label_order(clips):
    names = dataset.class_names()
    assert len(set(names)) == len(names) == N_CLASSES
    assert (names[0], names[10], names[49]) == ("dog", "rain", "hand_saw")
    assert [names[target] for target in clips["target"]] == clips["category"].tolist()


def test_each_theme_holds_ten_classes_as_in_the_readme(clips):
    assert clips.groupby("theme")["target"].nunique().to_dict() == dict.fromkeys(dataset.THEMES, 10)
    assert [dataset.THEMES[target // 10] for target in clips["target"]] == clips["theme"].tolist()
    theme_of = clips.drop_duplicates("category").set_index("category")["theme"]
    examples = ["crow", "thunderstorm", "drinking_sipping", "glass_breaking", "hand_saw"]
    assert theme_of[examples].tolist() == list(dataset.THEMES)


@pytest.mark.parametrize("content", [None, b"", b"filename,fold\n", "windows"])
def test_a_missing_or_altered_list_is_refused_with_advice(tmp_path, monkeypatch, content):
    path = tmp_path / "esc50.csv"
    if content == "windows":
        content = clips_module.CLIP_LIST.read_bytes().replace(b"\n", b"\r\n")
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(clips_module, "CLIP_LIST", path)
    with pytest.raises(DatasetError, match=r"clip list .*esc50\.csv.*: restore it with `git checkout data/meta`"):
        dataset.load_clips()


def test_import_is_light():
    heavy = {"tensorflow", "sklearn", "pooch", "soundfile", "librosa", "requests"}
    program = f"import sys, esc50.dataset.clips, esc50.apps.cli; print(*{heavy} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""


# --- where the recordings lie


def test_an_explicit_path_comes_first(empty_places, tmp_path, monkeypatch, clips):
    raw, mirror = (make_layout(folder, clips) for folder in empty_places)
    variable = make_layout(tmp_path / "variable", clips)
    explicit = make_layout(tmp_path / "explicit", clips, ".wav")
    assert dataset.find_dataset() == raw
    monkeypatch.setenv(dataset.DATASET_VARIABLE, str(variable))
    assert dataset.find_dataset() == variable
    assert dataset.find_dataset(explicit) == dataset.find_dataset(str(explicit)) == explicit
    monkeypatch.delenv(dataset.DATASET_VARIABLE)
    (raw / "audio").rename(tmp_path / "gone")
    assert dataset.find_dataset() == mirror
    assert dataset.dataset_found()


@pytest.mark.parametrize("inner", ["ESC-50", "ESC-50-master", "ESC-50-33c8ce9"])
def test_the_archive_s_own_folder_is_looked_into(empty_places, clips, inner):
    root = make_layout(empty_places[0] / inner, clips)
    assert dataset.find_dataset() == root
    assert dataset.find_dataset(empty_places[0]) == root


def test_a_missing_data_set_gives_the_searched_folders_and_advice(empty_places, monkeypatch):
    monkeypatch.setenv(dataset.DATASET_VARIABLE, "")  # empty counts as unset
    assert not dataset.dataset_found()
    with pytest.raises(DatasetError, match=r"no ESC-50 audio in .*raw or .*mirror: run `make data`"):
        dataset.find_dataset()


def test_a_wrong_variable_or_path_is_an_error_though_a_data_set_lies_elsewhere(
    empty_places, tmp_path, monkeypatch, clips
):
    make_layout(empty_places[0], clips)
    with pytest.raises(DatasetError, match=r"no ESC-50 audio in .*nowhere \(the path given\)"):
        dataset.find_dataset(tmp_path / "nowhere")
    monkeypatch.setenv(dataset.DATASET_VARIABLE, str(tmp_path / "typo"))
    for search in (dataset.find_dataset, dataset.dataset_found):
        with pytest.raises(DatasetError, match=r"no ESC-50 audio in .*typo \(ESC50_DATA\)"):
            search()


def test_an_incomplete_data_set_is_an_error_that_names_the_missing_clips(empty_places, clips):
    gone = clips["filename"].iloc[[3, 7]].tolist()
    make_layout(empty_places[0], clips, skip=gone)
    with pytest.raises(DatasetError, match=f"2 of 10 clips are missing from .*{gone[0]}, {gone[1]}.*make data"):
        dataset.find_dataset()


@pytest.mark.parametrize(("suffix", "rate"), [(".wav", 44_100), (".flac", 16_000)])
def test_both_layouts_are_read_by_stem(tmp_path, rng, suffix, rate):
    (tmp_path / "audio").mkdir()
    path = tmp_path / "audio" / f"1-100032-A-0{suffix}"
    soundfile.write(path, rng.uniform(-1, 1, 100), rate)
    assert dataset.clip_path("1-100032-A-0.wav", tmp_path) == path
    assert soundfile.info(dataset.clip_path("1-100032-A-0.wav", str(tmp_path))).samplerate == rate


def test_an_absent_clip_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"no clip 1-100032-A-0 \(\.wav or \.flac\) in .*make data"):
        dataset.clip_path("1-100032-A-0.wav", tmp_path)


@pytest.mark.audio
def test_the_real_recordings_are_whole(dataset_root, clips):
    dataset.verify_dataset(dataset_root, decode=False)
    samples, rate = soundfile.read(dataset.clip_path(clips["filename"].iloc[0], dataset_root))
    assert len(samples) == 5 * rate
    licence = (dataset_root / "LICENSE").read_text(encoding="utf-8")
    assert "Attribution-NonCommercial" in licence


# --- splits


def test_official_splits_test_every_clip_once_on_its_fold(clips):
    splits = dataset.official_splits(clips)
    assert [split.name for split in splits] == [f"fold {k}" for k in FOLDS]
    for fold, split in zip(FOLDS, splits, strict=True):
        assert (clips["fold"].iloc[split.test] == fold).all()
        assert (len(split.train), len(split.test)) == (1600, 400)
        assert (clips["target"].iloc[split.test].value_counts() == 8).all()
    assert np.array_equal(np.sort(np.concatenate([split.test for split in splits])), np.arange(2000))


def test_fewer_folds_still_train_on_the_four_others(clips):
    (split,) = dataset.official_splits(clips, folds=(3,))
    assert sorted(clips["fold"].iloc[split.train].unique()) == [1, 2, 4, 5]
    with pytest.raises(ValueError, match=r"no fold 7: choose from \[1, 2, 3, 4, 5\]"):
        dataset.official_splits(clips, folds=(1, 7))


def test_the_official_list_s_trap(clips):
    """``src_file`` alone crosses folds, the pair (src_file, target) does not."""
    folds_of_source = clips.groupby("src_file")["fold"].nunique()
    assert set(folds_of_source.index[folds_of_source > 1]) == SOURCES_IN_TWO_FOLDS
    ids = dataset.recording_ids(clips)
    assert clips.groupby(ids)["fold"].nunique().max() == 1
    pairs = clips[["src_file", "target"]].drop_duplicates()
    assert len(np.unique(ids)) == len(pairs) > clips["src_file"].nunique()


def test_a_recording_moved_across_folds_is_refused(clips):
    row = clips.index[clips["filename"] == "1-100210-B-36.wav"][0]  # its sibling A stays in fold 1
    moved = clips.copy()
    moved.loc[row, "fold"] = 2
    with pytest.raises(LeakError, match=r"1 test clips share a recording.*src_file 100210 of class 36"):
        dataset.official_splits(moved, folds=(2,))


def test_a_clip_on_both_sides_is_refused(clips):
    train, test = np.arange(1000), np.arange(999, 2000)
    with pytest.raises(LeakError, match=f"1 clips .* first {clips['filename'].iloc[999]}"):
        dataset.assert_no_leak(clips, train, test)


def test_the_guard_counts_rows_not_index_labels(clips):
    shuffled = clips.sample(frac=1, random_state=2015)
    for split in dataset.official_splits(shuffled):
        assert shuffled["fold"].iloc[split.test].nunique() == 1


@pytest.mark.parametrize(("fold", "expected"), [(1, 2), (4, 5), (5, 1)])
def test_validation_is_the_next_fold_and_lies_inside_training(clips, fold, expected):
    (split,) = dataset.official_splits(clips, folds=(fold,))
    inner = dataset.validation_split(clips, split)
    assert inner.name == f"fold {fold}, validation fold {expected}"
    assert (clips["fold"].iloc[inner.test] == expected).all()
    assert np.array_equal(np.sort(np.concatenate([inner.train, inner.test])), split.train)
    assert not np.isin(split.test, np.concatenate([inner.train, inner.test])).any()


def test_validation_on_the_test_fold_is_refused(clips):
    (split,) = dataset.official_splits(clips, folds=(2,))
    assert len(dataset.validation_split(clips, split, validation_fold=5).test) == 400
    with pytest.raises(ValueError, match=r"no fold 2: choose from \[1, 3, 4, 5\]"):
        dataset.validation_split(clips, split, validation_fold=2)


@pytest.mark.slow  # scikit-learn takes its time
def test_grouped_random_splits_keep_recordings_together(clips):
    splits = dataset.grouped_random_splits(clips, seed=1)
    assert np.array_equal(np.sort(np.concatenate([split.test for split in splits])), np.arange(2000))
    for split in splits:
        assert clips["fold"].iloc[split.test].nunique() == 5  # random indeed
        assert clips["target"].iloc[split.test].value_counts().between(4, 12).all()
        inner = dataset.validation_split(clips, split)
        assert not np.isin(inner.test, split.test).any()
    report = dataset.leakage_report(clips, splits)
    assert (report["n_sibling"] == 0).all()


@pytest.mark.parametrize("make", [dataset.leaky_random_splits, dataset.duplicated_clip_splits])
def test_the_guard_refuses_every_leaky_split(clips, make):
    for split in make(clips, seed=1):
        with pytest.raises(LeakError):
            dataset.assert_no_leak(clips, split.train, split.test)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [dataset.grouped_random_splits, dataset.leaky_random_splits, dataset.duplicated_clip_splits]
)
def test_the_same_seed_gives_the_same_split(clips, make):
    assert same(make(clips, seed=7), make(clips, seed=7))
    assert not same(make(clips, seed=7), make(clips, seed=8))


def test_duplicated_splits_hold_every_copy_once(clips):
    splits = dataset.duplicated_clip_splits(clips, copies=3, n_splits=4, seed=1)
    assert len(splits) == 4
    for split in splits:
        copies = np.bincount(np.concatenate([split.train, split.test]), minlength=2000)
        assert (copies == 3).all()


def test_the_leakage_report_counts_siblings(clips):
    few = clips[clips["src_file"].isin([100210, 100032, 100038])]  # A and B of 100210 are rows 2 and 3
    split = dataset.Split("by hand", np.array([0, 2]), np.array([1, 3, 0]))
    report = dataset.leakage_report(few, [split])
    assert report.iloc[0].tolist() == ["by hand", 3, 2, pytest.approx(2 / 3), 1]


def test_a_third_of_the_test_clips_leak_when_split_at_random(clips):
    official = dataset.leakage_report(clips, dataset.official_splits(clips))
    random = dataset.leakage_report(clips, dataset.leaky_random_splits(clips, seed=1))
    duplicated = dataset.leakage_report(clips, dataset.duplicated_clip_splits(clips, seed=1))
    assert (official["n_sibling"] == 0).all()
    assert random["sibling_share"].between(0.25, 0.45).all()
    assert (random["n_same_clip"] == 0).all()
    assert (duplicated["n_same_clip"] / duplicated["n_test"] > 0.7).all()
