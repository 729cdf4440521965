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


def test_directions_hold_what_the_outputs_depend_on(rng):
    x = rng.normal(size=(60, 40)).astype(np.float32)
    teacher = KernelRidge([x], np.arange(60) % 3)
    few, all_ = teacher.directions(3), teacher.directions(40)
    np.testing.assert_allclose(few.T @ few, np.eye(3), atol=1e-4)
    new = x[:30] + 0.3 * rng.normal(size=(30, 40)).astype(np.float32)
    errors = [
        np.abs(teacher.approximate(axes)(teacher.reduce(new, axes)) - teacher.outputs(new)).mean()
        for axes in (few, all_, rng.permutation(all_, axis=1)[:, :3])
    ]
    assert errors[1] < errors[0] < errors[2]


def test_averages_stay_within_a_family(rng):
    views = np.eye(5, dtype=np.float32)[:, np.newaxis].repeat(400, axis=1)  # (n_views, n_clips, 5)
    weights = pooled.average_views(views, (3, 2), rng)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    first, second = weights[:, :3].any(axis=1), weights[:, 3:].any(axis=1)
    assert (first != second).all() and 0.4 < first.mean() < 0.6
    assert {*np.unique((weights > 0).sum(axis=1))} == {1, 2, 3}


@pytest.mark.parametrize("families", [(6,), (4, 2)])
def test_a_head_learns_what_its_teacher_knows(views, families):
    targets, inputs = views
    settings = pooled.PooledHeadSettings(families=families, n_directions=4, units=(16,), epochs=100, batch_size=4)
    fitted = pooled.fit_head({"one": 1, "three": 3}, inputs, targets, settings=settings)
    for probabilities in fitted.predict(inputs).values():
        np.testing.assert_array_equal(probabilities.argmax(axis=1), targets)
    assert fitted.history["loss"][-1] < fitted.history["loss"][0]


def test_experiments_read_the_views_that_they_average():
    experiments = find_experiments()
    for name in ("pooled", "pooled_views", "pooled_head", "pooled_robust"):
        features = experiments[name].features
        assert features == (*pooled.FILES, *pooled.DEGRADED)[: len(features)]
        assert sum(getattr(experiments[name].settings, "families", (len(features),))) == len(features)
        assert max(model.n_views for model in experiments[name].models.values()) <= len(experiments[name].features)


@pytest.mark.results
def test_the_settings_of_each_fold_are_those_that_were_chosen_without_it():
    experiment = find_experiments()["pooled_views"]
    for choice in nested_cv.choices(nested_cv.load_validation("pooled")).itertuples():
        own = experiment.settings_by_split.get(f"fold {choice.test_fold}", experiment.settings)
        assert choice.candidate == nested_cv.kernel_ridge_label("pooled_views", own)
        assert choice.model == "pooled_views_all"
