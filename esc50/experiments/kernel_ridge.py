"""Kernel ridge regression on clip maxima: the maximum of each activation over the active frames."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import softmax

from esc50.classifier.pooling import maximum_of_vectors
from esc50.config import N_CLASSES, N_CLIPS
from esc50.experiments import multilayer
from esc50.experiments.base import Experiment, Fitted, Model
from esc50.experiments.multilayer import SPEEDS, average
from esc50.experiments.networks import MIN_DEVIATION

N_TRAINING = N_CLIPS * 4 // 5  # clips of four folds
OVERSAMPLING = 64  # additional directions in the randomised decomposition


@dataclass(frozen=True)
class KernelRidgeSettings:
    """Kernel ridge regression on clip maxima; the defaults are the middle of the grid in notebook 05."""

    gamma: float = 0.35  # of the RBF kernel, relative to the median squared distance of the training clips
    ridge: float = 0.02  # scikit-learn's alpha
    inverse_temperature: float = 10.0  # scales outputs to logits; does not change the order of classes


SETTINGS = KernelRidgeSettings()


def maxima(clips):
    """Return the maxima over active frames of `LayerFeatures`, float32 (n_clips, size)."""
    return maximum_of_vectors(clips.frames, clips.active).astype(np.float32)


def means(clips):
    """Return the means over active frames of `LayerFeatures`, float32 (n_clips, size)."""
    return average(clips.frames.astype(np.float32), clips.active / clips.active.sum(axis=1, keepdims=True))


def partial_maxima(clips, rng):
    """Return the maxima over a random number of randomly chosen active frames, float32 (n_clips, size)."""
    order = np.where(clips.active, rng.random(clips.active.shape), np.inf).argsort(axis=1).argsort(axis=1)
    n_kept = rng.integers(1, clips.active.sum(axis=1) + 1)  # (n_clips,)
    return maximum_of_vectors(clips.frames, order < n_kept[:, np.newaxis]).astype(np.float32)


def prepare(*files, pool=maxima):
    """Return one vector per clip for each speed."""
    return tuple(map(pool, multilayer.prepare(*files, names=SPEEDS[: len(files)])))


class KernelRidge:
    """Kernel ridge regression of one-hot labels, with an RBF kernel on standardised vectors.

    The kernel's width is relative to the median squared distance of the training vectors (Garreau et al. 2017, arXiv
    1707.07269). The solution is deterministic.

    Parameters
    ----------
    views : sequence of np.ndarray, each of shape (n_clips, size)
        Views of the training clips.
    targets : np.ndarray, shape (n_clips,)
        Labels.
    settings : KernelRidgeSettings
        Kernel and regularisation.
    blocks : sequence of int
        Sizes of parts of the vectors. The kernel is then a product over parts, each with its own median.
    """

    def __init__(self, views, targets, *, settings=SETTINGS, blocks=()):
        from sklearn import kernel_ridge

        self.settings, self.n_clips = settings, len(targets)
        self.mean = np.mean([view.mean(axis=0) for view in views], axis=0)
        self.deviation = views[0].std(axis=0) + MIN_DEVIATION
        self.deviation = self.deviation * self._block_widths(views[0], blocks)
        self.vectors = self._standardise(np.concatenate(views))  # (n_training, size)
        products = self.vectors @ self.vectors.T  # (n_training, n_training)
        self.squares = products.diagonal().copy()  # (n_training,)
        self.width = np.median(self._squared_distances(products, self.squares)) / settings.gamma
        labels = np.tile(np.eye(N_CLASSES)[targets], (len(views), 1)) - 1 / N_CLASSES
        regression = kernel_ridge.KernelRidge(kernel="precomputed", alpha=settings.ridge)
        self.regression = regression.fit(self._kernel(products, self.squares), labels)

    def products_with(self, vectors):
        """Return the inner products with the training vectors, (n, n_training); they are linear in `vectors`."""
        return self._standardise(vectors) @ self.vectors.T

    def outputs(self, vectors, *, products=None):
        """Return the regression outputs (n, 50), near 1 for the class and near 0 otherwise.

        `products` from `products_with` save most of the time if they are already known.
        """
        products = self.products_with(vectors) if products is None else products
        kernel = self._kernel(products, (self._standardise(vectors) ** 2).sum(axis=1))  # (n, n_training)
        return self.regression.predict(kernel) + 1 / N_CLASSES

    def directions(self, n, *, seed=0):
        """Return the n directions (size, n) of standardised vectors along which the outputs change most.

        They span the active subspace (Constantine et al. 2014, arXiv 1304.2070): the leading eigenvectors of the mean
        outer product of the outputs' gradients, here at the first view of the training clips, by a randomised
        decomposition (Halko et al. 2011, arXiv 0909.4061).
        """
        rng, first = np.random.default_rng(seed), self.vectors[: self.n_clips]
        kernel = self._kernel(first @ self.vectors.T, self.squares[: self.n_clips]).astype(np.float32)
        sketch = np.zeros((len(self.vectors), n + OVERSAMPLING), np.float32)
        for weights in self._gradients(kernel):
            sketch += weights.T @ rng.standard_normal((self.n_clips, sketch.shape[1]), np.float32)
        basis, _ = np.linalg.qr(self.vectors.T @ sketch)  # (size, n + OVERSAMPLING)
        reduced, moments = self.vectors @ basis, np.zeros((basis.shape[1], basis.shape[1]))
        for weights in self._gradients(kernel):
            gradients = weights @ reduced  # (n_clips, n + OVERSAMPLING)
            moments += gradients.T @ gradients
        _, axes = np.linalg.eigh(moments)
        return basis @ axes[:, : -n - 1 : -1].astype(np.float32)

    def reduce(self, vectors, directions):
        """Return the coordinates of vectors (n, size) along some directions, (n, n_directions)."""
        return self._standardise(vectors) @ directions

    def approximate(self, directions):
        """Return a function to the outputs (n, 50) from coordinates along some directions: see `reduce`.

        It is kernel ridge regression of the outputs at the training vectors.
        """
        from sklearn.base import clone

        reduced, products = self.vectors @ directions, self.vectors @ self.vectors.T
        squares = (reduced**2).sum(axis=1)
        outputs = self.regression.predict(self._kernel(products, self.squares)) + 1 / N_CLASSES

        def kernel(coordinates):
            distances = (coordinates**2).sum(axis=1)[:, np.newaxis] + squares - 2 * coordinates @ reduced.T
            return np.exp(-distances / np.float32(self.width))

        regression = clone(self.regression).fit(kernel(reduced).astype(np.float64), outputs)
        weights = regression.dual_coef_.astype(np.float32)
        return lambda coordinates: kernel(coordinates) @ weights

    def probabilities(self, outputs):
        """Return the softmax of scaled outputs (n, 50), float32."""
        return softmax(self.settings.inverse_temperature * outputs, axis=1).astype(np.float32)

    def _gradients(self, kernel):
        """Yield the weights (n_clips, n_training) of training vectors in each output's gradients, up to a factor."""
        for coefficients in self.regression.dual_coef_.astype(np.float32).T:
            weights = kernel * coefficients
            weights[np.diag_indices(self.n_clips)] -= weights.sum(axis=1)
            yield weights

    def _block_widths(self, vectors, blocks):
        """Return the root of the median squared distance in each block, (size,); 1 without blocks."""
        if not blocks:
            return 1
        parts = np.split(self._standardise(vectors), np.cumsum(blocks)[:-1], axis=1)
        return np.concatenate([np.full(part.shape[1], np.sqrt(_median_distance(part))) for part in parts])

    def _standardise(self, vectors):
        return (vectors - self.mean) / self.deviation

    def _kernel(self, products, squares):
        return np.exp(-self._squared_distances(products, squares) / self.width)

    def _squared_distances(self, products, squares):
        return squares[:, np.newaxis] + self.squares - 2 * products


def _median_distance(vectors):
    """Return the median squared distance between vectors (n, size)."""
    products = vectors @ vectors.T  # (n, n)
    squares = products.diagonal()
    return np.median(squares[:, np.newaxis] + squares - 2 * products)


def fit(name, views, targets, *, settings, **_):
    """Fit on all views of the training clips; predict by the mean output over the views."""
    ridge = KernelRidge(views, targets, settings=settings)
    return Fitted(lambda test: {name: ridge.probabilities(np.mean([ridge.outputs(view) for view in test], axis=0))})


def _experiment(name, idea, over, *, title="", files=SPEEDS[:1], pool=maxima):
    n_files = len(files)
    model = Model(title, idea, over, n_frames=n_files, n_views=n_files, n_remembered=n_files * N_TRAINING)
    return Experiment(name, files, partial(prepare, pool=pool), partial(fit, name), {name: model}, SETTINGS)


ON_MEANS = "14 layers, kernel ridge regression on clip means"
AT_SPEEDS = "kernel ridge regression on clip maxima, at three speeds"
TITLE = "kernel ridge regression on all layers of YAMNet, three speeds"
EXPERIMENTS = [
    _experiment("kernel_ridge_mean", ON_MEANS, "multilayer_14", pool=means),
    _experiment("kernel_ridge", "14 layers, kernel ridge regression on clip maxima", "kernel_ridge_mean"),
    _experiment("kernel_ridge_speeds", AT_SPEEDS, "kernel_ridge", title=TITLE, files=SPEEDS),
]
