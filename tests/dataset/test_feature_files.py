import fnmatch
import hashlib
import json

import numpy as np
import pytest

from esc50.config import (
    FEATURES_DIR,
    PROJECT_DIR,
    AudioError,
    DatasetError,
    FeatureError,
    LayerSettings,
    LogMelSettings,
)
from esc50.dataset import clips as clips_module
from esc50.dataset import feature_files

NAMES = feature_files.CLIP_FEATURES


@pytest.fixture
def small(clips, rng):
    some = clips.iloc[:3]
    return some, {"log_mel": rng.integers(0, 200, size=(3, 126, 64)).astype(np.uint8)}


@pytest.mark.parametrize("name", NAMES)
def test_committed_features_are_in_the_order_of_the_clip_table(name, clips):
    arrays = feature_files.load_features(name)
    assert arrays["filename"].tolist() == clips["filename"].tolist()
    assert np.array_equal(arrays["fold"], clips["fold"])
    assert np.array_equal(arrays["target"], clips["target"])


@pytest.mark.parametrize(
    ("name", "key", "shape"),
    [
        ("yamnet", "embeddings", (2000, 10, 1024)),
        ("yamnet", "mean_scores", (2000, 521)),
        ("log_mel", "log_mel", (2000, 126, 64)),
        ("clip_statistics", "envelope", (2000, 250, 2)),
        ("clip_statistics", "rms_decibel", (2000,)),
    ],
)
def test_committed_features_have_their_shapes(name, key, shape):
    values = feature_files.load_features(name)[key]
    assert values.shape == shape
    assert values.dtype in (np.float32, np.float64)


def test_committed_files_stay_small():
    assert (FEATURES_DIR / "yamnet.npz").stat().st_size < 10e6
    assert (FEATURES_DIR / "log_mel.npz").stat().st_size < 13e6


def test_saving_and_loading_gives_the_same(small, tmp_path):
    clips, arrays = small
    feature_files.save_features("log_mel", arrays, clips, folder=tmp_path)
    loaded = feature_files.load_features("log_mel", folder=tmp_path)
    step = LogMelSettings().decibel_step
    assert np.allclose((loaded["log_mel"] - LogMelSettings().decibel_min) / step, arrays["log_mel"])
    assert loaded["filename"].tolist() == clips["filename"].tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["log_mel.npz"]


def test_other_parameters_are_refused(small, tmp_path, monkeypatch):
    clips, arrays = small
    feature_files.save_features("log_mel", arrays, clips, folder=tmp_path)
    monkeypatch.setitem(feature_files.PARAMETERS, "log_mel", LogMelSettings(mel_bands=40))
    with pytest.raises(FeatureError, match=r"mel_bands differ.*make features"):
        feature_files.load_features("log_mel", folder=tmp_path)


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(FeatureError, match="make features"):
        feature_files.load_features("yamnet", folder=tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_refused(content, tmp_path):
    (tmp_path / "yamnet.npz").write_bytes(content)
    with pytest.raises(FeatureError, match="make features"):
        feature_files.load_features("yamnet", folder=tmp_path)


def test_a_file_without_parameters_is_refused(tmp_path):
    np.savez(tmp_path / "yamnet.npz", embeddings=np.zeros(3))
    with pytest.raises(FeatureError, match="make features"):
        feature_files.load_features("yamnet", folder=tmp_path)


def test_a_failed_save_leaves_the_old_file(small, tmp_path, monkeypatch):
    clips, arrays = small
    feature_files.save_features("log_mel", arrays, clips, folder=tmp_path)
    before = (tmp_path / "log_mel.npz").read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        feature_files.save_features("log_mel", arrays, clips, folder=tmp_path)
    assert (tmp_path / "log_mel.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["log_mel.npz"]


COMMITTED = [name for name in feature_files.PARAMETERS if feature_files.is_committed(name)]


@pytest.mark.parametrize("name", COMMITTED)
def test_every_committed_file_carries_its_parameters(name):
    with np.load(FEATURES_DIR / f"{name}.npz") as file:
        assert json.loads(str(file["parameters"])) == feature_files.parameters(name)


def test_git_ignores_what_is_computed_where_it_is_wanted():
    ignored = (PROJECT_DIR / ".gitignore").read_text().splitlines()
    for name in feature_files.PARAMETERS:
        is_ignored = any(fnmatch.fnmatch(f"data/features/{name}.npz", pattern) for pattern in ignored)
        assert is_ignored != feature_files.is_committed(name), name


# Files that are not committed


@pytest.fixture
def computed(rng, monkeypatch):
    """A fast fake computation that records its calls."""
    calls, size = [], {"activations": rng.random((3, 2, 5)).astype(np.float16), "active": np.array([[True, False]] * 3)}

    def compute_features(names, *, progress):
        calls.append((list(names), progress))
        return {name: size for name in names}

    monkeypatch.setattr(feature_files, "compute_features", compute_features)
    return calls


def test_layers_are_computed_once_and_read_back(tmp_path, computed, clips):
    for _ in range(2):
        found = feature_files.load_features("layers_slow", folder=tmp_path, progress=False)
        assert found["activations"].dtype == np.float16
        assert found["active"].tolist() == [[True, False]] * 3
        assert found["filename"].tolist() == clips["filename"].tolist()
    assert computed == [(["layers_slow"], False)]
    assert [path.name for path in tmp_path.iterdir()] == ["layers_slow.npz"]


def test_layers_made_with_other_parameters_are_refused(tmp_path, computed, monkeypatch):
    feature_files.load_features("layers_fast", folder=tmp_path, progress=False)
    monkeypatch.setitem(feature_files.PARAMETERS, "layers_fast", LayerSettings(speed=1.3))
    with pytest.raises(FeatureError, match=r"speed differ.*: run `esc50 features layers_fast`"):
        feature_files.load_features("layers_fast", folder=tmp_path, progress=False)
    assert len(computed) == 1


def test_without_recordings_absent_layers_say_so(tmp_path, monkeypatch):
    def find_dataset(*_):
        raise DatasetError("no ESC-50 here")

    monkeypatch.setattr(feature_files, "find_dataset", find_dataset)
    with pytest.raises(DatasetError, match="no ESC-50 here"):
        feature_files.load_features("layers", folder=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def made_sounds(monkeypatch):
    """Sounds outside ESC-50 that take no time to make; notes the layers that were asked for."""
    asked = []

    def compute_ood_sounds(*, settings, progress):
        asked.append(getattr(settings, "layers", (14,)))
        key = "embeddings" if len(asked[-1]) == 1 else "activations"
        arrays = {"name": np.array(["a", "b"]), "n_frames": np.array([1, 2])}
        return arrays | {key: np.ones((3, 5), np.float16)}

    monkeypatch.setattr(feature_files, "compute_ood_sounds", compute_ood_sounds)
    return asked


def test_ood_sounds_of_the_layers_are_computed_once(made_sounds, tmp_path):
    for _ in range(2):
        arrays = feature_files.load_features("ood_sounds_layers", folder=tmp_path, progress=False)
        assert set(arrays) == {"name", "n_frames", "activations"}  # and not the columns of the clip table
        assert arrays["activations"].dtype == np.float16
    assert made_sounds == [LayerSettings().layers]
    assert feature_files.parameters("ood_sounds_layers").items() >= feature_files.parameters("ood_sounds").items()


def test_the_committed_ood_sounds_are_embedded_by_the_last_layer(made_sounds, tmp_path):
    path = feature_files.compute_and_save("ood_sounds", folder=tmp_path, progress=False)
    assert made_sounds == [(14,)]
    assert feature_files.load_features("ood_sounds", folder=path.parent)["embeddings"].dtype == np.float32


def test_ood_sounds_that_cannot_be_made_leave_no_file(tmp_path, monkeypatch):
    def compute_ood_sounds(**_):
        raise AudioError("install the package espeak-ng")

    monkeypatch.setattr(feature_files, "compute_ood_sounds", compute_ood_sounds)
    with pytest.raises(AudioError, match="espeak-ng"):
        feature_files.load_features("ood_sounds_layers", folder=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_committed_file_is_never_made_anew(made_sounds, tmp_path):
    with pytest.raises(FeatureError, match="restore it with git"):
        feature_files.load_features("ood_sounds", folder=tmp_path)
    assert not made_sounds and not list(tmp_path.iterdir())


def test_a_digest_is_that_of_the_file(tmp_path):
    (tmp_path / "yamnet.npz").write_bytes(b"anything")
    assert feature_files.digest("yamnet", folder=tmp_path) == hashlib.sha256(b"anything").hexdigest()
    with pytest.raises(FeatureError, match="run `esc50 features ood_sounds_layers`"):
        feature_files.digest("ood_sounds_layers", folder=tmp_path)


@pytest.mark.audio
def test_the_feature_source_is_described_in_one_line():
    assert "ESC-50 audio found" in feature_files.describe_source() and "\n" not in feature_files.describe_source()


def test_without_audio_the_line_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(clips_module, "SEARCH_FOLDERS", (tmp_path,))
    monkeypatch.delenv(clips_module.DATASET_VARIABLE, raising=False)
    assert "make data" in feature_files.describe_source()


@pytest.mark.audio
@pytest.mark.yamnet
@pytest.mark.slow
def test_committed_features_agree_with_some_clips_computed_now(clips, rng, dataset_root):
    """Tolerances: the 44.1 kHz originals, resampled here, and the 16 kHz copies differ a little near 8 kHz."""
    rows = np.sort(rng.choice(len(clips), size=40, replace=False))
    now = feature_files.compute_features(clips=clips.iloc[rows], root=dataset_root, progress=False)
    stored = {name: feature_files.load_features(name) for name in NAMES}

    decibel = LogMelSettings().decibel_step * now["log_mel"]["log_mel"].astype(np.float32)
    decibel += LogMelSettings().decibel_min
    assert np.abs(decibel - stored["log_mel"]["log_mel"][rows]).mean() < 0.5
    rms = now["clip_statistics"]["rms_decibel"]
    assert np.abs(rms - stored["clip_statistics"]["rms_decibel"][rows]).max() < 0.5
    ours, theirs = now["yamnet"]["embeddings"].astype(np.float32), stored["yamnet"]["embeddings"][rows]
    assert np.abs(ours - theirs).mean() < 0.01
    assert np.median(np.abs(ours - theirs)) < 1e-3
