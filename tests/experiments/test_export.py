"""`esc50 export` writes what the package has."""

import io

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from esc50.apps.cli import cli
from esc50.classifier.model_io import MODEL_REGISTRY
from esc50.classifier.ood import REFERENCE_FILE
from esc50.yamnet.runtime import YAMNET_FILE, read_packaged


def weights(content):
    """What a file holds, by name; not the metadata, which name versions of packages."""
    return {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load_from_string(content).graph.initializer}


@pytest.mark.yamnet
@pytest.mark.slow
def test_the_packaged_models_are_those_that_are_exported(tmp_path):
    done = CliRunner().invoke(cli, ["export", "--output", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {YAMNET_FILE, REFERENCE_FILE, *MODEL_REGISTRY.values()}
    reference = np.load(io.BytesIO(read_packaged(REFERENCE_FILE)))
    pairs = [(np.load(tmp_path / REFERENCE_FILE), reference)]
    for name in (YAMNET_FILE, *MODEL_REGISTRY.values()):
        pairs.append((weights((tmp_path / name).read_bytes()), weights(read_packaged(name))))
    for written, packaged in pairs:
        assert {*written} == {*packaged}
        for name in written:
            np.testing.assert_array_equal(written[name], packaged[name])
