"""YAMNet's hub module: outputs, search order and rejected models."""

import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from esc50.audio.sound import load_sound
from esc50.config import AudioError, YamnetError
from esc50.dataset.clips import clip_path
from esc50.yamnet import fetch, frames, hub_module
from esc50.yamnet.frames import HOP_SAMPLES, PATCH_SAMPLES, n_patches
from esc50.yamnet.hub_module import Yamnet, load_yamnet

pytestmark = pytest.mark.yamnet

CLIP_SAMPLES = 80_000
TOLERANCE = 1e-4


@pytest.fixture
def waveform(rng):
    return rng.uniform(-0.3, 0.3, CLIP_SAMPLES).astype(np.float32)


def hub_output(yamnet, waveform):
    scores, embeddings, log_mel = (output.numpy() for output in yamnet.module(waveform))
    return embeddings, scores, log_mel


def assert_same_as_hub(yamnet, waveform):
    analysis = yamnet.analyse(waveform)
    assert len(analysis.embeddings) == len(analysis.scores) == n_patches(len(waveform))
    parts = (analysis.embeddings, analysis.scores, analysis.log_mel)
    for ours, theirs in zip(parts, hub_output(yamnet, waveform), strict=True):
        np.testing.assert_allclose(ours, theirs[: len(ours)], atol=TOLERANCE)


# What it gives


def top_class(yamnet, waveform):
    return yamnet.class_names[yamnet.analyse(waveform).scores.mean(axis=0).argmax()]


def test_known_sounds(yamnet, rng):
    noise = rng.uniform(-0.1, 0.1, CLIP_SAMPLES).astype(np.float32)
    assert top_class(yamnet, frames.silence()) == "Silence"
    assert top_class(yamnet, frames.sine()) == "Sine wave"
    assert top_class(yamnet, noise) == "White noise"


def test_an_impulse_shows_only_where_it_is(yamnet):
    impulse = np.zeros(CLIP_SAMPLES, np.float32)
    impulse[-1] = 1
    difference = np.abs(yamnet.embed(impulse) - yamnet.embed(np.zeros_like(impulse))).max(axis=1)
    assert difference[-1] > 0.01
    assert not difference[:8].any()


def test_chirp_moves_up_the_mel_bands(yamnet):
    bands = yamnet.analyse(frames.chirp()).log_mel.argmax(axis=1)
    heard = bands[: round(frames.GOLDEN_SECONDS * 100) - 3]
    assert heard[-1] > heard[0] + 40
    assert np.diff(heard).min() >= -1


def test_class_names(yamnet):
    assert len(yamnet.class_names) == 521
    assert yamnet.class_names[0] == "Speech"
    assert yamnet.class_names[494] == "Silence"


# Shapes and lengths


def test_five_seconds_give_ten_frames(yamnet, waveform):
    analysis = yamnet.analyse(waveform)
    assert analysis.embeddings.shape == (10, 1024)
    assert analysis.scores.shape == (10, 521)
    assert analysis.log_mel.shape == (528, 64)
    assert analysis.frame_seconds == pytest.approx(0.48 * np.arange(10))
    assert {part.dtype for part in (analysis.embeddings, analysis.scores, analysis.log_mel)} == {np.dtype("float32")}
    assert 0 <= analysis.scores.min() <= analysis.scores.max() <= 1


@pytest.mark.parametrize(
    "n_samples", [1, PATCH_SAMPLES - 1, PATCH_SAMPLES, PATCH_SAMPLES + 1, PATCH_SAMPLES + HOP_SAMPLES, CLIP_SAMPLES]
)
def test_same_as_hub_at_any_length(yamnet, rng, n_samples):
    waveform = rng.uniform(-0.3, 0.3, n_samples).astype(np.float32)
    assert_same_as_hub(yamnet, waveform)


def test_short_waveform_is_padded_with_silence(yamnet, waveform):
    short = waveform[:5_000]
    padded = np.pad(short, (0, PATCH_SAMPLES - len(short)))
    np.testing.assert_allclose(yamnet.embed(short), yamnet.embed(padded), atol=TOLERANCE)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_long_waveform_in_parts_is_the_same(yamnet, rng, monkeypatch, extra):
    monkeypatch.setattr(hub_module, "FRAMES_PER_CALL", 4)
    waveform = rng.uniform(-0.3, 0.3, PATCH_SAMPLES + 11 * HOP_SAMPLES + extra).astype(np.float32)
    assert_same_as_hub(yamnet, waveform)


def test_surplus_patch_of_exact_waveform_is_dropped(yamnet):
    waveform = np.zeros(PATCH_SAMPLES + 11 * HOP_SAMPLES, np.float32)
    analysis = yamnet.analyse(waveform)
    assert len(hub_output(yamnet, waveform)[0]) == 13  # the rounding that `Yamnet._call` mends
    assert len(analysis.embeddings) == n_patches(len(waveform)) == 12
    assert len(analysis.log_mel) == 13 * frames.MEL_FRAMES_PER_HOP


def test_bad_waveforms_are_refused(yamnet):
    with pytest.raises(AudioError, match="the waveform has the peak nan"):
        yamnet.analyse(np.full(16_000, np.nan, np.float32))


# Batches


@pytest.mark.parametrize("n_samples", [PATCH_SAMPLES - 1, PATCH_SAMPLES, CLIP_SAMPLES, CLIP_SAMPLES + 4_721])
def test_batch_equals_hub(yamnet, rng, n_samples):
    waveforms = rng.uniform(-0.3, 0.3, (5, n_samples)).astype(np.float32)
    embeddings, scores = yamnet.embed_batch(waveforms, batch_size=2)
    assert embeddings.shape == (5, n_patches(n_samples), 1024)
    assert scores.shape == (5, n_patches(n_samples), 521)
    for index, waveform in enumerate(waveforms):
        single = hub_output(yamnet, waveform)
        np.testing.assert_allclose(embeddings[index], single[0], atol=TOLERANCE)
        np.testing.assert_allclose(scores[index], single[1], atol=TOLERANCE)


@pytest.mark.audio
def test_batch_equals_hub_on_recordings(yamnet, dataset_root, clips):
    paths = [clip_path(name, dataset_root) for name in clips["filename"].sample(6, random_state=0)]
    waveforms = [load_sound(path).waveform for path in paths]
    batch = yamnet.embed_batch(waveforms)
    for index, waveform in enumerate(waveforms):
        np.testing.assert_allclose(batch.embeddings[index], hub_output(yamnet, waveform)[0], atol=TOLERANCE)


def test_batch_reads_a_generator_and_shows_progress(yamnet, waveform, capsys):
    from_list = yamnet.embed_batch([waveform, -waveform], progress=True)
    assert "2/2" in capsys.readouterr().err
    from_generator = yamnet.embed_batch(sign * waveform for sign in np.float32([1, -1]))
    np.testing.assert_allclose(from_list.embeddings, from_generator.embeddings, atol=TOLERANCE)
    assert capsys.readouterr().err == ""


def test_batch_refuses_unequal_lengths_bad_clips_and_none(yamnet, waveform):
    with pytest.raises(AudioError, match="clip 1 has 79999 samples, but the first has 80000"):
        yamnet.embed_batch([waveform, waveform[1:]])
    with pytest.raises(AudioError, match="clip 1 has the peak nan"):
        yamnet.embed_batch([waveform, waveform * np.float32(np.nan)])
    with pytest.raises(AudioError, match="no clips"):
        yamnet.embed_batch([])


# Loading


def test_loaded_once_in_a_process(yamnet, folder, monkeypatch):
    monkeypatch.setattr(hub_module, "open_yamnet", None)  # any second load would fail
    with ThreadPoolExecutor(4) as pool:
        assert all(loaded is yamnet for loaded in pool.map(lambda _: load_yamnet(), range(8)))
    assert load_yamnet(folder) is yamnet


def test_threads_that_meet_load_once(monkeypatch, models_dir, tmp_path):
    opened = []

    def open_slowly(folder, remedy):
        time.sleep(0.05)
        opened.append(folder)
        return object()

    monkeypatch.setattr(hub_module, "open_yamnet", open_slowly)
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(load_yamnet, [tmp_path / "somewhere"] * 4))
    assert len(opened) == 1
    assert len(set(loaded)) == 1


def test_source_order(monkeypatch, models_dir, tmp_path):
    fetched, mirror, cache = tmp_path / "fetched", tmp_path / "shared" / "yamnet", models_dir / "yamnet"
    monkeypatch.setattr(fetch, "fetch_yamnet", lambda: fetched)
    assert hub_module.find_yamnet()[0] == fetched
    mirror.mkdir(parents=True)
    assert hub_module.find_yamnet()[0] == mirror
    cache.mkdir(parents=True)
    assert hub_module.find_yamnet()[0] == cache
    monkeypatch.setenv(hub_module.YAMNET_VARIABLE, str(tmp_path / "variable"))
    assert hub_module.find_yamnet()[0] == tmp_path / "variable"
    assert hub_module.find_yamnet(tmp_path / "path")[0] == tmp_path / "path"


def test_wrong_path_and_variable_are_errors(monkeypatch, tmp_path):
    with pytest.raises(YamnetError, match=r"no SavedModel .*nowhere: give a folder"):
        load_yamnet(tmp_path / "nowhere")
    monkeypatch.setenv(hub_module.YAMNET_VARIABLE, str(tmp_path / "elsewhere"))
    with pytest.raises(YamnetError, match=r"elsewhere: correct ESC50_YAMNET or unset it"):
        load_yamnet()


@pytest.mark.slow  # TensorFlow
def test_damaged_cache_names_the_folder_to_delete(models_dir, pretend_folder):
    cache = pretend_folder(models_dir / "yamnet")
    with pytest.raises(YamnetError, match=f"the model in {cache} is not YAMNet .*: delete that folder"):
        load_yamnet()


@pytest.mark.slow  # TensorFlow
def test_another_model_is_refused(doubler, tmp_path):
    import tensorflow as tf

    tf.saved_model.save(doubler, str(tmp_path))
    with pytest.raises(YamnetError, match=r"is not YAMNet .*class_map_path"):
        load_yamnet(tmp_path)


def test_source_in_use_is_logged(monkeypatch, any_model_passes, caplog, tmp_path):
    with caplog.at_level(logging.INFO, logger="esc50.yamnet.hub_module"):
        load_yamnet(tmp_path / "logged")
    assert f"YAMNet loaded from {tmp_path / 'logged'}" in caplog.messages


# The golden check


class Tampered:
    """YAMNet with modified scores and embeddings."""

    def __init__(self, module, tamper):
        self.module, self.tamper = module, tamper

    def class_map_path(self):
        return self.module.class_map_path()

    def __call__(self, waveform):
        import tensorflow as tf

        scores, embeddings, log_mel = self.module(waveform)
        scores, embeddings = self.tamper(scores.numpy(), embeddings.numpy())
        return tf.constant(scores), tf.constant(embeddings), log_mel


TAMPERS = {
    "'Speech', but YAMNet's is 'Silence'": lambda scores, embeddings: (np.eye(521)[[0] * 6], embeddings),
    "'Silence', but YAMNet's is 'Sine wave'": lambda scores, embeddings: (np.eye(521)[[494] * 6], embeddings),
    "differs by 0.001": lambda scores, embeddings: (scores, embeddings + 1e-3),
    "differs by nan": lambda scores, embeddings: (scores, embeddings * np.nan),
    "differs by inf": lambda scores, embeddings: (scores, embeddings[:, :512]),
}


@pytest.mark.parametrize("message", TAMPERS)
def test_tampered_yamnet_fails_the_golden_check(yamnet, message):
    with pytest.raises(YamnetError, match=message):
        hub_module.check_yamnet(Yamnet(Tampered(yamnet.module, TAMPERS[message])))


def test_untouched_yamnet_passes_the_golden_check(yamnet):
    hub_module.check_yamnet(Yamnet(Tampered(yamnet.module, lambda scores, embeddings: (scores, embeddings))))


def test_short_class_list_fails_the_golden_check(yamnet):
    short = Yamnet(yamnet.module)
    short.class_names = short.class_names[:520]
    with pytest.raises(YamnetError, match="520 classes, but YAMNet has 521"):
        hub_module.check_yamnet(short)


def test_import_without_tensorflow():
    code = "import sys, esc50.yamnet.hub_module, esc50.yamnet.layers; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=os.sep).returncode == 0
