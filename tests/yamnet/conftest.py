"""Fixtures for tests of the hub module, its download and its Keras copy."""

import pytest

from esc50 import config
from esc50.yamnet import fetch, hub_module


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What loads the hub module is slow: TensorFlow alone takes ten seconds of processor time."""
    for item in items:
        if "yamnet" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def yamnet():
    """YAMNet as TensorFlow Hub has it."""
    return hub_module.load_yamnet()


@pytest.fixture(scope="session")
def folder(yamnet):
    """Where it lies."""
    return hub_module.find_yamnet()[0]


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
    for module in (hub_module, fetch):
        monkeypatch.setattr(module, "open_yamnet", lambda folder, remedy: folder)


@pytest.fixture
def pretend_folder():
    """Create a folder that looks like a SavedModel."""

    def make(folder):
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"not a protocol buffer")
        return folder

    return make


@pytest.fixture
def doubler():
    """A model that is not YAMNet: it doubles its input."""
    import tensorflow as tf

    class Doubler(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None])])
        def __call__(self, waveform):
            return 2 * waveform

    return Doubler()
