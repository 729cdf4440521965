"""Dense heads: from vectors to class probabilities, by ONNX Runtime."""

from dataclasses import dataclass

import numpy as np

from esc50.classifier.own_classes import OwnClasses
from esc50.classifier.pooling import softmax
from esc50.classifier.whitening import Whitening
from esc50.config import ResultsError
from esc50.yamnet.runtime import open_session, read_metadata

VECTORS_PER_CALL = 256  # what a head computes on the way is as large as the vectors that it takes


class Head:
    """A head from an ONNX file that `esc50 export` wrote.

    Parameters
    ----------
    content : bytes
        The file.

    Attributes
    ----------
    metadata : dict
        What the file says of itself.
    input_size, n_classes : int
        Lengths of a vector and of what comes of it.
    """

    def __init__(self, content: bytes):
        self._session = open_session(content)
        self.metadata = read_metadata(self._session)
        sizes = {each.name: each.shape[-1] for each in (*self._session.get_inputs(), *self._session.get_outputs())}
        if not {"vectors", "logits"} <= set(sizes):
            raise ResultsError("this ONNX model is no head: give one that `esc50 export` wrote, or a name of a model")
        self.input_size, self.n_classes = sizes["vectors"], sizes["logits"]

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Probabilities of vectors (n, input_size), float32 (n, n_classes)."""
        return softmax(self.logits(vectors))

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """What the head computes before its softmax, (n, n_classes)."""
        return self._run("logits", vectors)

    def activations(self, vectors: np.ndarray) -> np.ndarray:
        """What its last hidden layer makes of vectors, (n, n_units)."""
        return self._run("activations", vectors)

    def _run(self, output, vectors):
        vectors = vectors.astype(np.float32, copy=False)
        starts = range(0, len(vectors), VECTORS_PER_CALL)
        inputs = ({"vectors": vectors[i : i + VECTORS_PER_CALL]} for i in starts)
        return np.concatenate([np.asarray(self._session.run([output], each)[0]) for each in inputs])


@dataclass(frozen=True, eq=False)
class ExtendedHead:
    """A head with classes of the user's own behind those that it was trained on, whose odds stay as they are."""

    base: Head
    whitening: Whitening
    own: OwnClasses

    def __call__(self, vectors):
        """Probabilities, (n, n_classes)."""
        return softmax(self.logits(vectors))

    def logits(self, vectors):
        """Before the softmax, (n, n_classes): an own class's odds are those to all of the base together."""
        base = self.base.logits(vectors)
        together = np.logaddexp.reduce(base, axis=1, keepdims=True)  # (n, 1)
        return np.concatenate([base, together + self.log_odds(vectors)], axis=1).astype(np.float32)

    def log_odds(self, vectors):
        """Of each own class, (n, n_own)."""
        return self.own.log_odds(self.whitening(vectors))
