"""Dense heads in ONNX Runtime: from vectors to class probabilities."""

from dataclasses import dataclass

import numpy as np

from esc50.classifier.own_classes import OwnClasses
from esc50.classifier.pooling import softmax
from esc50.classifier.whitening import Whitening
from esc50.config import ResultsError
from esc50.yamnet.runtime import open_session, read_metadata

VECTORS_PER_CALL = 256  # bounds the memory of intermediate results, which are as large as the input


class Head:
    """A head from an ONNX file written by `esc50 export`.

    Parameters
    ----------
    content : bytes
        Content of the file.

    Attributes
    ----------
    metadata : dict
        Metadata stored in the file; empty if there are none.
    input_size, n_classes : int
        Size of an input vector, and number of classes.

    Raises
    ------
    ResultsError
        If the content is not an ONNX model with the input ``vectors`` and the output ``logits``.
    """

    def __init__(self, content: bytes):
        self._session = open_session(content)
        self.metadata = read_metadata(self._session)
        sizes = {each.name: each.shape[-1] for each in (*self._session.get_inputs(), *self._session.get_outputs())}
        if not {"vectors", "logits"} <= set(sizes):
            raise ResultsError("this ONNX model is not a head: give a file written by `esc50 export`, or a model name")
        self.input_size, self.n_classes = sizes["vectors"], sizes["logits"]

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Return probabilities, float32 (n, n_classes), of vectors (n, input_size)."""
        return softmax(self.logits(vectors))

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """Return the logits (n, n_classes) of vectors (n, input_size)."""
        return self._run("logits", vectors)

    def activations(self, vectors: np.ndarray) -> np.ndarray:
        """Return the activations of the last hidden layer, (n, n_units), for vectors (n, input_size)."""
        return self._run("activations", vectors)

    def _run(self, output, vectors):
        vectors = vectors.astype(np.float32, copy=False)
        starts = range(0, len(vectors), VECTORS_PER_CALL)
        inputs = ({"vectors": vectors[i : i + VECTORS_PER_CALL]} for i in starts)
        return np.concatenate([np.asarray(self._session.run([output], each)[0]) for each in inputs])


@dataclass(frozen=True, eq=False)
class ExtendedHead:
    """A head with user-defined classes appended; the odds among the trained classes do not change."""

    base: Head
    whitening: Whitening
    own: OwnClasses

    def __call__(self, vectors):
        """Return probabilities, (n, n_classes)."""
        return softmax(self.logits(vectors))

    def logits(self, vectors):
        """Return the logits (n, n_classes); the odds of a user-defined class are against all trained classes."""
        base = self.base.logits(vectors)
        together = np.logaddexp.reduce(base, axis=1, keepdims=True)  # (n, 1)
        return np.concatenate([base, together + self.log_odds(vectors)], axis=1).astype(np.float32)

    def log_odds(self, vectors):
        """Return the log-odds of each user-defined class, (n, n_own)."""
        return self.own.log_odds(self.whitening(vectors))
