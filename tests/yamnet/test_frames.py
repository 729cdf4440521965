"""`esc50.yamnet.frames`: padding, parts of long waveforms, invalid waveforms, golden values."""

import hashlib

import numpy as np
import pytest

from esc50.config import AudioError, YamnetError
from esc50.yamnet import frames
from esc50.yamnet.frames import HOP_SAMPLES, PATCH_SAMPLES, n_patches, overlapping_parts, pad_waveform


@pytest.mark.parametrize(
    "n_samples", [0, 1, 800, 15_599, 15_600, 15_601, 16_000, 23_279, 23_280, 23_281, 79_999, 80_000, 80_001]
)
def test_padding_follows_yamnet(n_samples):
    whole_lengths = range(15_600, 200_000, 7_680)  # 0.975 s, then hops of 0.48 s
    expected = next(length for length in whole_lengths if length >= n_samples)
    waveform = np.random.default_rng(0).uniform(-1, 1, n_samples).astype(np.float32)
    padded = pad_waveform(waveform)
    assert padded.dtype == np.float32
    assert len(padded) == expected
    assert n_patches(n_samples) == whole_lengths.index(expected) + 1
    np.testing.assert_array_equal(padded[:n_samples], waveform)
    assert not padded[n_samples:].any()


def test_a_clip_of_5_seconds_gives_10_patches():
    assert n_patches(80_000) == 10


def test_padding_is_exact_where_float32_counts_no_longer_are():
    n_samples = 15_600 + 7_680 * 1_000_000 + 1
    assert n_patches(n_samples) == 1_000_002


def test_padding_twice_changes_nothing_and_a_batch_is_padded_alike():
    padded = pad_waveform(np.ones(20_000, np.float32))
    np.testing.assert_array_equal(pad_waveform(padded), padded)
    np.testing.assert_array_equal(pad_waveform(np.ones((3, 20_000), np.float32)), [padded] * 3)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_parts_hold_the_patches_of_the_whole(rng, extra):
    waveform = rng.uniform(-1, 1, PATCH_SAMPLES + 11 * HOP_SAMPLES + extra).astype(np.float32)

    def patches(samples):
        return np.lib.stride_tricks.sliding_window_view(pad_waveform(samples), PATCH_SAMPLES)[::HOP_SAMPLES]

    parts = [patches(part) for part in overlapping_parts(waveform, n_frames=4)]
    assert [len(part) for part in parts] == ([4, 4, 4] if extra <= 0 else [4, 4, 4, 1])
    np.testing.assert_array_equal(np.concatenate(parts), patches(waveform))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(0, np.float32), r"the waveform has shape \(0,\)"),
        (np.zeros((2, 16_000), np.float32), r"shape \(2, 16000\)"),
        (np.zeros(16_000), "float64"),
        (np.zeros(16_000, np.int16), "int16"),
        ([0.0, 0.1], "list"),
        (np.full(16_000, np.nan, np.float32), "peak nan"),
        (np.full(16_000, -np.inf, np.float32), "peak inf"),
        (np.full(16_000, 1.5, np.float32), "peak 1.5"),
    ],
)
def test_bad_waveforms_are_refused(bad, message):
    with pytest.raises(AudioError, match=message):
        frames.check_waveform(bad)
    with pytest.raises(AudioError, match="clip 0"):
        list(frames.equally_long([bad]))


def test_clips_of_unequal_lengths_and_none_are_refused():
    with pytest.raises(AudioError, match="clip 1 has 8 samples, but the first has 9: pad them"):
        list(frames.equally_long([np.zeros(9, np.float32), np.zeros(8, np.float32)]))
    with pytest.raises(AudioError, match="no clips to embed"):
        list(frames.equally_long([]))


def test_golden_file(monkeypatch, tmp_path):
    golden = frames.golden_embeddings()
    assert golden.shape == (6, 1024)
    assert golden.dtype == np.float32
    assert frames.yamnet_fingerprint() == hashlib.sha256(golden.tobytes()).hexdigest()[:16]
    monkeypatch.setattr(frames, "GOLDEN_FILE", tmp_path / "none.npz")
    with pytest.raises(YamnetError, match=r"none\.npz: restore it with git"):
        frames.yamnet_fingerprint()


def test_golden_values_are_read_once_and_stay_as_they_are(monkeypatch, tmp_path):
    file = tmp_path / "golden.npz"
    file.write_bytes(frames.GOLDEN_FILE.read_bytes())
    monkeypatch.setattr(frames, "GOLDEN_FILE", file)
    frames.golden_embeddings()[:] = 0
    file.unlink()
    assert frames.golden_embeddings().any()


def test_silent_frames_are_not_active():
    vectors = frames.golden_embeddings()
    assert frames.active_frames(vectors).all()
    with np.load(frames.GOLDEN_FILE) as golden:
        vectors[1] = golden["silence"]
    assert frames.active_frames(vectors).tolist() == [True, False, True, True, True, True]
    longer = np.concatenate([np.ones((6, 3)), vectors], axis=1).astype(np.float16)  # layers before the last
    assert frames.active_frames(longer).tolist() == [True, False, True, True, True, True]
