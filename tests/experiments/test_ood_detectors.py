"""Each detector against an independent implementation of its formula, clip by clip."""

import numpy as np
import pytest
from scipy.spatial import distance
from scipy.special import logsumexp, softmax
from scipy.stats import entropy
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from esc50.classifier.ood import OOD_SCORES
from esc50.experiments import ood_detectors
from esc50.experiments.ood_detectors import DETECTORS, Part

SIZE, N_CLASSES, PRINCIPAL = 12, 4, 5


@pytest.fixture
def parts(rng, monkeypatch):
    """Clips of four classes to learn from, and others to score."""
    monkeypatch.setattr(ood_detectors, "PRINCIPAL", PRINCIPAL)
    centres = rng.normal(size=(N_CLASSES, SIZE))
    return [make_part(rng, centres, n_clips) for n_clips in (80, 7)]


def make_part(rng, centres, n_clips):
    targets = rng.permutation(np.arange(n_clips) % N_CLASSES)
    vectors = centres[targets] + rng.normal(size=(n_clips, SIZE))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Part(vectors, 3 * np.eye(N_CLASSES)[targets] + rng.normal(size=(n_clips, N_CLASSES)), targets)


def class_means(train):
    return np.array([train.vectors[train.targets == label].mean(axis=0) for label in range(N_CLASSES)])


def squared_distances(train, test):
    """From the nearest class mean, and from the mean of all."""
    means, mean = class_means(train), train.vectors.mean(axis=0)
    within = LedoitWolf(assume_centered=True).fit(train.vectors - means[train.targets]).get_precision()
    overall = LedoitWolf().fit(train.vectors).get_precision()
    nearest = [min(distance.mahalanobis(x, m, within) ** 2 for m in means) for x in test.vectors]
    return np.array(nearest), np.array([distance.mahalanobis(x, mean, overall) ** 2 for x in test.vectors])


def residual_lengths(train, part):
    pca = PCA(PRINCIPAL).fit(train.vectors)
    return np.linalg.norm(part.vectors - pca.inverse_transform(pca.transform(part.vectors)), axis=1)


def kl_from_nearest(train, test):
    found = softmax(train.logits, axis=1)
    templates = [found[train.targets == label].mean(axis=0) for label in range(N_CLASSES)]
    return np.array([min(entropy(p, d) for d in templates) for p in softmax(test.logits, axis=1)])


def generalised_entropy(test):
    return np.array([sum(p**0.1 * (1 - p) ** 0.1 for p in row) for row in softmax(test.logits, axis=1)])


def kth_distance(train, test):
    distances, _ = NearestNeighbors(n_neighbors=5).fit(train.vectors).kneighbors(test.vectors)
    return distances[:, 4]


def virtual_logit(train, test):
    scale = train.logits.max(axis=1).mean() / residual_lengths(train, train).mean()
    return scale * residual_lengths(train, test)


ORACLES = {
    "max_logit": lambda train, test: [max(row) for row in test.logits],
    "entropy": lambda train, test: -entropy(softmax(test.logits, axis=1), axis=1),
    "generalised_entropy": lambda train, test: -generalised_entropy(test),
    "kl_matching": lambda train, test: -kl_from_nearest(train, test),
    "knn": lambda train, test: 1 - kth_distance(train, test) ** 2 / 2,  # cosine of vectors of unit length
    "mahalanobis": lambda train, test: -squared_distances(train, test)[0],
    "relative_mahalanobis": lambda train, test: np.subtract(*squared_distances(train, test)[::-1]),
    "residual": lambda train, test: -residual_lengths(train, test),
    "vim": lambda train, test: logsumexp(test.logits, axis=1) - virtual_logit(train, test),
}


@pytest.mark.parametrize("name", [name for name, each in DETECTORS.items() if each.score])
def test_a_detector_is_its_formula(name, parts):
    np.testing.assert_allclose(DETECTORS[name].score(*parts), ORACLES[name](*parts), rtol=1e-6)


def test_a_probability_of_zero_is_no_error(parts):
    train, test = parts
    sure = Part(test.vectors, 2_000 * test.logits, test.targets)
    for name in ("entropy", "generalised_entropy", "kl_matching"):
        assert np.isfinite(DETECTORS[name].score(train, sure)).all()


def test_what_has_no_function_is_a_score_of_the_package():
    assert {name for name, each in DETECTORS.items() if not each.score} == {*OOD_SCORES}
