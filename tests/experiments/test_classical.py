import numpy as np
import pytest

from esc50.experiments import classical

NAMES = [each.name for each in classical.EXPERIMENTS]


@pytest.mark.parametrize("name", NAMES)
def test_classical_models_learn_an_easy_task_and_return_probabilities(name, rng):
    targets = np.arange(200) % 50
    inputs = np.eye(50)[targets] * 3 + rng.normal(scale=0.1, size=(200, 50))
    found = classical.fit(name, inputs[:150], targets[:150], seed=0).predict(inputs[150:])[name]
    assert found.shape == (50, 50) and found.dtype == np.float32
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == targets[150:]).mean() > 0.9
