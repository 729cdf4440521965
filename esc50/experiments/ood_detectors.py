"""Out-of-distribution detectors: scores that are higher for known classes.

Settings follow the papers, except k (notebook 07); none was tuned on the benchmark.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from esc50.classifier.ood import NEIGHBOURS

PRINCIPAL = 512  # dimensions of ViM's principal space, its authors' value for fewer than 1,500 features
GAMMA = 0.1  # of the generalised entropy, its authors' value


@dataclass(frozen=True, eq=False)
class Part:
    """The training or test clips of one head."""

    vectors: np.ndarray  # (n_clips, 1024) mean embedding of the active frames, at unit length
    logits: np.ndarray  # (n_clips, n_known) of the known classes
    targets: np.ndarray  # (n_clips,) index among the known classes; for training clips only


def max_logit(train, test):
    """Return the largest logit."""
    return test.logits.max(axis=1)


def entropy(train, test):
    """Return minus the entropy of the probabilities."""
    probabilities = _softmax(test)
    return (probabilities * np.log(probabilities)).sum(axis=1)


def generalised_entropy(train, test):
    """Return minus the sum of (p (1 - p))^gamma over the classes."""
    probabilities = _softmax(test)
    return -((probabilities * (1 - probabilities)) ** GAMMA).sum(axis=1)


def kl_matching(train, test):
    """Return minus the KL divergence from the nearest class's mean probabilities."""
    templates = _class_means(_softmax(train), train.targets)  # (n_known, n_known)
    return (_softmax(test) @ np.log(templates).T).max(axis=1) - entropy(train, test)


def knn(train, test):
    """Return the cosine to the k-th nearest training clip."""
    return np.sort(test.vectors @ train.vectors.T, axis=1)[:, -NEIGHBOURS]


def mahalanobis(train, test):
    """Return minus the squared Mahalanobis distance to the nearest class mean, by the within-class covariance."""
    return -_class_distances(train, test).min(axis=1)


def relative_mahalanobis(train, test):
    """Return the squared Mahalanobis distance to the overall mean minus that to the nearest class mean."""
    mean = train.vectors.mean(axis=0, keepdims=True)
    return _distances(test.vectors, mean, train.vectors - mean)[:, 0] - _class_distances(train, test).min(axis=1)


def residual(train, test):
    """Return minus the norm of the component outside the principal space of the training clips."""
    return -_residuals(train, test)


def vim(train, test):
    """Return the energy minus the residual, scaled to the logits; the origin is the mean of the training clips."""
    scale = train.logits.max(axis=1).mean() / _residuals(train, train).mean()
    return np.logaddexp.reduce(test.logits, axis=1) - scale * _residuals(train, test)


def _softmax(part):
    from scipy.special import softmax

    return np.maximum(softmax(part.logits, axis=1), np.finfo(float).tiny)


def _class_means(values, targets):
    return np.stack([values[targets == label].mean(axis=0) for label in np.unique(targets)])


@lru_cache(maxsize=1)
def _class_distances(train, test):
    means = _class_means(train.vectors, train.targets)
    return _distances(test.vectors, means, train.vectors - means[train.targets])


def _distances(vectors, means, deviations):
    """Return squared Mahalanobis distances (n, n_means), with a shrunk covariance (Ledoit and Wolf 2004)."""
    from scipy.spatial.distance import cdist
    from sklearn.covariance import LedoitWolf

    root = np.linalg.cholesky(LedoitWolf(assume_centered=True).fit(deviations).precision_)
    return cdist(vectors @ root, means @ root, "sqeuclidean")


def _residuals(train, test):
    return np.linalg.norm((test.vectors - train.vectors.mean(axis=0)) @ _minor_axes(train), axis=1)


@lru_cache(maxsize=1)
def _minor_axes(train):
    _, axes = np.linalg.eigh(np.cov(train.vectors, rowvar=False))  # in ascending order of eigenvalues
    return axes[:, :-PRINCIPAL]


@dataclass(frozen=True)
class Detector:
    """A detector: title in tables, source, and function.

    Detectors without a function are scores of `esc50.classifier.ood`, which `trust_report` computes.
    """

    title: str
    source: str
    score: Callable | None = None  # (train, test), each a `Part` -> (n_test,)


OURS = "this project"
DETECTORS = {
    "max_probability": Detector("maximum softmax probability", "Hendrycks and Gimpel 2017, arXiv 1610.02136"),
    "max_logit": Detector("maximum logit", "Hendrycks et al. 2022, arXiv 1911.11132", max_logit),
    "energy": Detector("energy", "Liu et al. 2020, arXiv 2010.03759"),
    "entropy": Detector("entropy", "Macêdo et al. 2021, arXiv 1908.05569", entropy),
    "generalised_entropy": Detector(
        "generalised entropy (GEN)", "Liu et al. 2023, openreview.net/forum?id=Sie7oeTABS", generalised_entropy
    ),
    "kl_matching": Detector("KL matching", "Hendrycks et al. 2022, arXiv 1911.11132", kl_matching),
    "knn": Detector(f"cosine to the {NEIGHBOURS}th nearest clip", "Sun et al. 2022, arXiv 2204.06507", knn),
    "mahalanobis": Detector("Mahalanobis distance", "Lee et al. 2018, arXiv 1807.03888", mahalanobis),
    "relative_mahalanobis": Detector(
        "relative Mahalanobis distance", "Ren et al. 2021, arXiv 2106.09022", relative_mahalanobis
    ),
    "residual": Detector("residual", "Wang et al. 2022, arXiv 2203.10807", residual),
    "vim": Detector("ViM", "Wang et al. 2022, arXiv 2203.10807", vim),
    "neighbours": Detector(f"mean cosine to the {NEIGHBOURS} nearest clips", OURS),
    "class_neighbours": Detector(f"mean cosine to the {NEIGHBOURS} nearest clips of the predicted class", OURS),
    "class_score": Detector("YAMNet's own score of the predicted class", OURS),
    "other_score": Detector("YAMNet's largest score of any other sound", OURS),
    "combined": Detector("combination of neighbours, energy and YAMNet's scores", OURS),
}
