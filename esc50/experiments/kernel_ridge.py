"""Kernel ridge regression on the maxima of clips: what every layer says at its loudest, compared with other clips."""

import time

import numpy as np
from scipy.special import softmax

from esc50.classifier.pooling import maximum_of_vectors
from esc50.config import N_CLASSES, KernelSettings
from esc50.experiments.multilayer import MIN_DEVIATION, average
from esc50.experiments.training import Run


def clip_maxima(clips):
    """Maximum of each activation over the frames that count.

    Parameters
    ----------
    clips : esc50.experiments.multilayer.Heard
        Frames (n_clips, n_frames, size).

    Returns
    -------
    np.ndarray, shape (n_clips, size)
        Float32.
    """
    return maximum_of_vectors(clips.frames, clips.active).astype(np.float32)


def clip_means(clips):
    """Mean of each activation over the frames that count.

    Parameters
    ----------
    clips : esc50.experiments.multilayer.Heard
        Frames (n_clips, n_frames, size).

    Returns
    -------
    np.ndarray, shape (n_clips, size)
        Float32.
    """
    return average(clips.frames.astype(np.float32), clips.active / clips.active.sum(axis=1, keepdims=True))


def partial_maxima(clips, rng):
    """The same over only some of the frames that count: how many is drawn, from one to all, and then which.

    Parameters
    ----------
    clips : esc50.experiments.multilayer.Heard
        Frames (n_clips, n_frames, size).
    rng : np.random.Generator
        The source of both draws.

    Returns
    -------
    np.ndarray, shape (n_clips, size)
        Float32.
    """
    order = np.where(clips.active, rng.random(clips.active.shape), np.inf).argsort(axis=1).argsort(axis=1)
    n_kept = rng.integers(1, clips.active.sum(axis=1) + 1)  # (n_clips,)
    return maximum_of_vectors(clips.frames, order < n_kept[:, np.newaxis]).astype(np.float32)


def fit_kernel(readings, inputs, targets, split, *, settings=KernelSettings(), seed=0, trained_on=(0,), progress=False):
    """Fit kernel ridge regression on one split and score its test clips.

    Parameters
    ----------
    readings : dict of str to tuple of int
        Model name -> versions of the clips over which its scores are averaged.
    inputs : tuple of np.ndarray, each of shape (n_clips, size)
        Versions of the clips, from `clip_maxima`.
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    split : esc50.dataset.splits.Split
        Training and test clips.
    settings : KernelSettings
        Of kernel and ridge.
    seed : int
        Nothing is drawn; the signature is that of the other fits.
    trained_on : tuple of int
        Versions to train on.
    progress : bool
        There is nothing to show.

    Returns
    -------
    esc50.experiments.training.Run
        Scores (n_test_clips, 50) of every reading; there is no history.
    """
    start = time.perf_counter()
    machine = KernelMachine([inputs[v][split.train] for v in trained_on], targets[split.train], settings=settings)
    seconds = time.perf_counter() - start
    outputs = {v: machine.outputs(inputs[v][split.test]) for v in {v for reading in readings.values() for v in reading}}
    means = {name: np.mean([outputs[v] for v in reading], axis=0) for name, reading in readings.items()}
    return Run({name: machine.probabilities(mean) for name, mean in means.items()}, {}, seconds)


class KernelMachine:
    """Kernel ridge regression of the one-hot label, with a radial basis function on standardised vectors.

    Its width is relative to the median squared distance of the training vectors (Garreau et al. 2017, arXiv
    1707.07269). One solution, found without chance.

    Parameters
    ----------
    versions : list of np.ndarray, each of shape (n_clips, size)
        The training clips, and other versions of them.
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    settings : KernelSettings
        Of kernel and ridge.
    """

    def __init__(self, versions, targets, *, settings=KernelSettings()):
        from sklearn.kernel_ridge import KernelRidge

        self.settings = settings
        self.mean = np.mean([version.mean(axis=0) for version in versions], axis=0)
        self.deviation = versions[0].std(axis=0) + MIN_DEVIATION
        self.vectors = self._standardised(np.concatenate(versions))  # (n_training, size)
        products = self.vectors @ self.vectors.T  # (n_training, n_training)
        self.squares = products.diagonal().copy()  # (n_training,)
        self.width = np.median(self._squared_distances(products, self.squares)) / settings.gamma
        kernel = self._kernel(products, self.squares)
        one_hot = np.tile(np.eye(N_CLASSES)[targets], (len(versions), 1))
        self.regression = KernelRidge(kernel="precomputed", alpha=settings.ridge).fit(kernel, one_hot - 1 / N_CLASSES)

    def products_with(self, vectors):
        """Inner products of vectors and training vectors, both standardised.

        Parameters
        ----------
        vectors : np.ndarray, shape (n, size)
            From `clip_maxima`.

        Returns
        -------
        np.ndarray, shape (n, n_training)
            Those of a blend of two vectors are the blend of theirs.
        """
        return self._standardised(vectors) @ self.vectors.T

    def outputs(self, vectors, *, products=None):
        """What the regression gives.

        Parameters
        ----------
        vectors : np.ndarray, shape (n, size)
            From `clip_maxima`.
        products : np.ndarray, shape (n, n_training), optional
            Where they are known already: `products_with` takes most of the time.

        Returns
        -------
        np.ndarray, shape (n, 50)
            About 1 for the class, about 0 for the others.
        """
        products = self.products_with(vectors) if products is None else products
        kernel = self._kernel(products, (self._standardised(vectors) ** 2).sum(axis=1))  # (n, n_training)
        return self.regression.predict(kernel) + 1 / N_CLASSES

    def probabilities(self, outputs):
        """Turn outputs into probabilities.

        Parameters
        ----------
        outputs : np.ndarray, shape (n, 50)
            From `outputs`.

        Returns
        -------
        np.ndarray, shape (n, 50)
            Float32; each row sums to 1.
        """
        return softmax(self.settings.sharpness * outputs, axis=1).astype(np.float32)

    def _standardised(self, vectors):
        return (vectors - self.mean) / self.deviation

    def _kernel(self, products, squares):
        return np.exp(-self._squared_distances(products, squares) / self.width)

    def _squared_distances(self, products, squares):
        return squares[:, np.newaxis] + self.squares - 2 * products
