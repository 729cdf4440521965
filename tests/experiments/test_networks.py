import numpy as np
import pytest

from esc50.experiments import networks
from esc50.experiments.networks import HeadSettings

pytestmark = pytest.mark.slow


def test_the_head_is_256_128_50():
    head = networks.build_head()
    dense = [layer for layer in head.layers if layer.__class__.__name__ == "Dense"]
    assert [layer.units for layer in dense] == [256, 128, 50]
    assert [layer.activation.__name__ for layer in dense] == ["relu", "relu", "softmax"]
    rates = [layer.rate for layer in head.layers if layer.__class__.__name__ == "Dropout"]
    assert rates == [HeadSettings.input_dropout, HeadSettings.dropout, HeadSettings.dropout]


def test_a_network_standardises_by_what_it_is_given(rng):
    head, vectors = networks.build_head(input_size=6), rng.normal(3, 5, (9, 6)).astype(np.float32)
    networks.standardise(head, vectors.mean(axis=0), vectors.std(axis=0))
    found = np.asarray(head.get_layer("standardise")(vectors))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=1e-4)


def test_the_logarithm_is_in_the_head_that_is_saved(tmp_path, rng):
    import keras

    head, vectors = networks.build_head(input_size=20), 9 * rng.random((5, 20), dtype=np.float32)
    head.get_layer("standardise").adapt(np.log1p(vectors))
    expected = head.predict(np.log1p(vectors), verbose=0)
    whole = networks.with_logarithm(head)
    np.testing.assert_allclose(whole.predict(vectors, verbose=0), expected, atol=1e-6)
    np.testing.assert_array_equal(head.predict(np.log1p(vectors), verbose=0), expected)  # as it was
    whole.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras", compile=False)
    np.testing.assert_allclose(loaded.predict(vectors, verbose=0), expected, atol=1e-6)
