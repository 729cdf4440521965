import numpy as np
import pytest

from esc50.config import POOLED_LAYERS
from esc50.experiments import nested_cv, pooled
from esc50.experiments.base import find_experiments
from esc50.experiments.kernel_ridge import KernelRidge, KernelRidgeSettings
from esc50.yamnet.architecture import layer_sizes

SIZE = sum(layer_sizes(POOLED_LAYERS))


@pytest.fixture
def views(rng):
    """Two classes that differ in a few activations, seen six times with noise."""
    targets = np.repeat([0, 1], 12)
    clean = rng.random((24, SIZE)) + 3 * (targets[:, np.newaxis] == 1) * (np.arange(SIZE) < 200)
    noisy = (clean + 0.1 * rng.random(clean.shape) for _ in pooled.FILES)
    return targets, tuple(each.astype(np.float32) for each in noisy)


def test_each_block_counts_as_much_as_the_other(rng):
    x = rng.normal(size=(40, 30)).astype(np.float32)
    wide = np.concatenate([x[:, :10], 100 * x[:, 10:]], axis=1)
    targets = np.arange(40) % 2
    plain, scaled = (KernelRidge([each], targets, blocks=(10, 20)) for each in (x, wide))
    for block in (slice(0, 10), slice(10, 30)):
        z = plain.vectors[:, block]
        distances = ((z[:, np.newaxis] - z) ** 2).sum(axis=2)
        assert np.median(distances) == pytest.approx(1, rel=1e-3)
    np.testing.assert_allclose(scaled.outputs(wide), plain.outputs(x), atol=0.05)  # but for the least deviation


def test_one_fit_answers_for_each_way_to_test(views):
    targets, inputs = views
    settings = KernelRidgeSettings(0.2, 0.005)
    train, test = (tuple(view[rows] for view in inputs) for rows in (slice(0, None, 2), slice(1, None, 2)))
    fitted = pooled.fit({"one": 1, "all": 6}, train, targets[::2], settings=settings)
    found = fitted.predict(test)
    assert found.keys() == {"one", "all"}
    for probabilities in found.values():
        np.testing.assert_array_equal(probabilities.argmax(axis=1), targets[1::2])
    assert np.abs(found["one"] - found["all"]).max() > 0


def test_experiments_read_the_views_that_they_average():
    experiments = find_experiments()
    for name in ("pooled", "pooled_views", "pooled_head"):
        assert experiments[name].features == pooled.FILES[: len(experiments[name].features)]
        assert max(model.n_views for model in experiments[name].models.values()) <= len(experiments[name].features)


@pytest.mark.results
def test_the_settings_of_each_fold_are_those_that_were_chosen_without_it():
    experiment = find_experiments()["pooled_views"]
    for choice in nested_cv.choices(nested_cv.load_validation("pooled")).itertuples():
        own = experiment.settings_by_split.get(f"fold {choice.test_fold}", experiment.settings)
        assert choice.candidate == nested_cv.kernel_ridge_label("pooled_views", own)
        assert choice.model == "pooled_views_all"
