import numpy as np
import pytest

from esc50.dataset import DATASET_VARIABLE, dataset_found, find_dataset, load_clips
from esc50.errors import DatasetError

NO_RECORDINGS = f"the ESC-50 recordings are not here: run `make data` or set {DATASET_VARIABLE}"


def pytest_collection_modifyitems(items):
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


@pytest.fixture
def rng():
    return np.random.default_rng(2015)
