import pytest
import soundfile
from distributed import LocalCluster

from esc50.audio import synthesis
from esc50.library.index import index

RATE = 16_000
SOUNDS = {"siren": ("siren", 0), "bells": ("church_bells", 0), "rain": ("rain", 0), "other siren": ("siren", 1)}


@pytest.fixture(scope="session")
def cluster():
    """A Dask cluster within this process."""
    how = {"processes": False, "n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**how) as cluster:
        yield cluster.scheduler_address


def write_sounds(folder, names=SOUNDS):
    folder.mkdir(exist_ok=True)
    for name in names:
        example, seed = SOUNDS[name]
        soundfile.write(folder / f"{name}.wav", synthesis.example(example, seed=seed), RATE)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_sounds(tmp_path / "recordings")


@pytest.fixture(scope="session")
def filled(tmp_path_factory, cluster):
    """The path of a store of four sounds, only to read."""
    place = tmp_path_factory.mktemp("filled")
    index([write_sounds(place / "recordings")], place / "store", scheduler=cluster)
    return place / "store"
