import numpy as np
import pytest
from scipy.special import softmax

from esc50.classifier import ood
from esc50.config import HeadSettings
from esc50.experiments import networks


@pytest.mark.parametrize("name", networks.CNN_LAYERS)
def test_cnns_give_50_probabilities_for_any_length(name):
    network = networks.build_cnn(name)
    for n_frames in (126, 60):
        scores = network.predict(np.zeros((2, n_frames, 64), np.float32), verbose=0)
        assert scores.shape == (2, 50)
        assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", networks.CNN_LAYERS)
def test_cnns_have_a_layer_for_each_row_of_the_table(name):
    kinds = [kind for kind, *_ in networks.CNN_LAYERS[name]]
    made = [layer.__class__.__name__ for layer in networks.build_cnn(name).layers]
    assert made.count("Conv2D") == kinds.count("conv") + kinds.count("separable")
    assert made.count("DepthwiseConv2D") == kinds.count("separable")
    assert made.count("AveragePooling2D") == kinds.count("pool")


def test_the_head_is_256_128_50():
    head = networks.build_head()
    dense = [layer for layer in head.layers if layer.__class__.__name__ == "Dense"]
    assert [layer.units for layer in dense] == [256, 128, 50]
    assert [layer.activation.__name__ for layer in dense] == ["relu", "relu", "softmax"]
    trainable = sum(int(np.prod(weights.shape)) for weights in head.trainable_weights)
    assert trainable == 1024 * 256 + 256 + 256 * 128 + 128 + 128 * 50 + 50


def test_the_logarithm_is_in_the_head_that_is_saved(tmp_path, rng):
    import keras

    head, vectors = networks.build_head(input_size=20), 9 * rng.random((5, 20), dtype=np.float32)
    head.get_layer("standardise").adapt(np.log1p(vectors))
    expected = head.predict(np.log1p(vectors), verbose=0)
    whole = networks.with_logarithm(head)
    np.testing.assert_allclose(whole.predict(vectors, verbose=0), expected, atol=1e-6)
    np.testing.assert_array_equal(head.predict(np.log1p(vectors), verbose=0), expected)  # as it was
    assert head.layers[-1].input is not whole.layers[-1].input
    whole.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras", compile=False)
    for model in (whole, loaded):
        np.testing.assert_allclose(model.predict(vectors, verbose=0), expected, atol=1e-6)
        activations, logits = ood.head_activations(model, vectors)
        assert activations.shape == (5, HeadSettings().units[-1])
        np.testing.assert_allclose(softmax(logits, axis=1), expected, atol=1e-6)


def test_the_head_drops_out_after_each_hidden_layer():
    rates = [layer.rate for layer in networks.build_head().layers if layer.__class__.__name__ == "Dropout"]
    settings = HeadSettings()
    assert rates == [settings.input_dropout, settings.dropout, settings.dropout]


@pytest.mark.parametrize("name", ["mfcc_knn", "mfcc_svm", "mfcc_random_forest", "yamnet_logistic"])
def test_classical_models_learn_what_is_easy(name, rng):
    targets = np.arange(200) % 4
    inputs = 3 * np.eye(4)[targets] + rng.normal(scale=0.1, size=(200, 4))
    assert networks.build_classical(name).fit(inputs[:150], targets[:150]).score(inputs[150:], targets[150:]) > 0.95
