import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import MICROPHONE_EXAMPLE, free_port, skip_or_fail

from esc50.audio import synthesis
from esc50.classifier.model_io import DEFAULT_MODEL, MODEL_REGISTRY
from esc50.config import BUILD_DIR, N_CLASSES, DatasetError
from esc50.dataset.clips import DATASET_VARIABLE, dataset_found, find_dataset, load_clips

EACH_MODEL = [
    DEFAULT_MODEL,
    *(pytest.param(name, marks=pytest.mark.slow) for name in MODEL_REGISTRY if name != DEFAULT_MODEL),
]
SLOW_FIXTURES = {"small_head", "small_wide_head", "client", "http", "served"}  # of Keras, and of the app
NO_RECORDINGS = f"the ESC-50 recordings are not here: run `make data` or set {DATASET_VARIABLE}"

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_BROWSER = "no Chromium is here: run `make browser`, or install one"
SCREENSHOTS_DIR = BUILD_DIR / "screenshots"

os.environ["ESC50_PROCESSES"] = "1"  # tests replace what other processes would not know of


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by markers
def pytest_collection_modifyitems(items):
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker("browser")
        if SLOW_FIXTURES & {*item.fixturenames}:
            item.add_marker("slow")
    try:
        found = dataset_found()
    except DatasetError as error:  # a wrong ESC50_DATA must not pass as "not found"
        raise pytest.UsageError(str(error)) from error
    for item in items:
        if not found and item.get_closest_marker("audio"):
            item.add_marker(pytest.mark.skip(reason=NO_RECORDINGS))


@pytest.fixture(scope="session")
def dataset_root():
    if not dataset_found():
        pytest.skip(NO_RECORDINGS)
    return find_dataset()


@pytest.fixture(scope="session")
def clips():
    return load_clips()


@pytest.fixture(scope="session")
def small_head():
    """A small head with random weights that has an optimizer and its state, as after a training."""
    return trained_head(1024)


@pytest.fixture(scope="session")
def small_wide_head():
    """The same on the log activations of all layers of YAMNet."""
    return trained_head(5984)


def trained_head(size):
    import keras

    from esc50.experiments.networks import HeadSettings, build_head

    keras.utils.set_random_seed(2015)
    model = build_head(input_size=size, settings=HeadSettings(units=(8,)))
    vectors = np.random.default_rng(2015).random((64, size), dtype=np.float32)
    model.get_layer("standardise").adapt(vectors)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(vectors, np.arange(64) % N_CLASSES, verbose=0)
    return model


@pytest.fixture(scope="session")
def trust():
    """For the metadata of a head made for tests: probabilities as they are, every sound known but silence."""
    rule = {"score": "class_neighbours", "neighbours": 5, "threshold": -1.0, "kept": 1.0, "meaning": "All are known."}
    rule["by_share"] = {"share": [0.5, 1.0], "scores": {"class_neighbours": [-1.0, -1.0]}, "accepted": [1.0, 1.0]}
    return {"temperature": 1.0, "rejection": rule}


@pytest.fixture(scope="session", params=EACH_MODEL)
def small_classifier(request, trust):
    """A classifier of either kind with a small random head: on YAMNet's embedding alone, and on all its layers."""
    from esc50.classifier.model_io import load_model
    from esc50.classifier.ood import load_reference
    from esc50.classifier.predict import SoundClassifier
    from esc50.yamnet.runtime import load_runtime

    _, metadata = load_model(request.param)
    metadata = metadata | {"pooling": "mean", **trust}
    return SoundClassifier(random_head(is_plain=request.param == "plain"), load_runtime(), metadata, load_reference())


def random_head(*, is_plain):
    """A head with random weights, the same at every call."""
    from esc50.classifier.audioset import audioset_prior
    from esc50.classifier.head import Head
    from esc50.dataset import class_names
    from esc50.yamnet.export import head_model
    from esc50.yamnet.runtime import load_runtime

    rng, size = np.random.default_rng(2015), 1024 if is_plain else 5984
    layers = [
        (rng.normal(0, 0.1, shape).astype(np.float32), np.zeros(shape[1], np.float32))
        for shape in ((size, 8), (8, N_CLASSES))
    ]
    mean, deviation = rng.random(size), 0.1 + rng.random(size)
    prior = () if is_plain else audioset_prior(class_names(), load_runtime().class_names)
    return Head(head_model(mean, deviation, layers, logarithm=not is_plain, prior=prior).SerializeToString())


@pytest.fixture(scope="session")
def classifier():
    """The classifier that comes with the project, loaded once for all tests: they must not change it."""
    from esc50.classifier.predict import SoundClassifier

    return SoundClassifier.load()


@pytest.fixture(scope="session")
def plain():
    """The plain one that comes with the project beside it."""
    from esc50.classifier.predict import SoundClassifier

    return SoundClassifier.load("plain")


@pytest.fixture(scope="session", params=EACH_MODEL)
def shipped(request):
    """Each of the two that come with the project."""
    from esc50.classifier.predict import SoundClassifier

    return SoundClassifier.load(request.param)


@pytest.fixture
def loaded(classifier, monkeypatch):
    """Let what asks for the shipped classifier have the one that is loaded already."""
    from esc50.classifier.predict import SoundClassifier

    monkeypatch.setattr(SoundClassifier, "load", classmethod(lambda *_, **__: classifier))


@pytest.fixture(scope="module")
def contacted():
    """Every address that this process connects to while the app runs."""
    addresses, watching = set(), True

    def note(event, arguments):
        if watching and event == "socket.connect" and isinstance(arguments[1], tuple):
            addresses.add(arguments[1][0])

    sys.addaudithook(note)  # cannot be taken away again
    yield addresses
    watching = False


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where the app that is served keeps what is uploaded."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def served(classifier, contacted, cache):
    """The app."""
    from esc50.apps import web

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        running = web.launch(classifier, port=free_port())
        yield running
        running.close(verbose=False)


@pytest.fixture(scope="module")
def client(served):
    from gradio_client import Client

    return Client(served.local_url, verbose=False)


@pytest.fixture
def rng():
    return np.random.default_rng(2015)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium with a fake microphone; for one module, since its event loop would disturb others."""
    from playwright.sync_api import sync_playwright

    recording = tmp_path_factory.mktemp("microphone") / "recording.wav"
    sound = synthesis.example(MICROPHONE_EXAMPLE)
    soundfile.write(recording, np.stack([0 * sound, sound], axis=1), 16_000)  # as from a device with one dead channel
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    fake.append(f"--use-file-for-fake-audio-capture={recording}")
    with sync_playwright() as playwright:
        path = find_browser(playwright)
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *fake])
        yield opened
        opened.close()


def find_browser(playwright):
    """The system's Chromium, or Playwright's own."""
    own = playwright.chromium.executable_path
    if not (found := next(filter(None, map(shutil.which, BROWSERS)), None) or (Path(own).exists() and own)):
        skip_or_fail(NO_BROWSER)
    return found


@pytest.fixture(scope="session")
def screenshots():
    """Where browser tests leave their pictures; git ignores it."""
    SCREENSHOTS_DIR.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS_DIR
