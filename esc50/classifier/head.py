"""Dense heads: from vectors to class probabilities, by ONNX Runtime."""

from dataclasses import dataclass

import numpy as np

from esc50.classifier.pooling import softmax
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

    def with_unit(self, kernel: np.ndarray, bias: float) -> "ExtendedHead":
        """The head with one class more: a unit on the activations, kernel (n_units,)."""
        return ExtendedHead(self, kernel[:, np.newaxis], np.array([bias]))

    def _run(self, output, vectors):
        vectors = vectors.astype(np.float32, copy=False)
        starts = range(0, len(vectors), VECTORS_PER_CALL)
        inputs = ({"vectors": vectors[i : i + VECTORS_PER_CALL]} for i in starts)
        return np.concatenate([np.asarray(self._session.run([output], each)[0]) for each in inputs])


@dataclass(frozen=True, eq=False)
class ExtendedHead:
    """A head with classes of the user's own behind those that it was trained on."""

    base: Head
    kernel: np.ndarray  # (n_units, n_new)
    bias: np.ndarray  # (n_new,)

    @property
    def n_classes(self) -> int:
        """Of the base, and the new ones."""
        return self.base.n_classes + len(self.bias)

    def __call__(self, vectors):
        """Probabilities, (n, n_classes)."""
        return softmax(self.logits(vectors))

    def logits(self, vectors):
        """Before the softmax, (n, n_classes)."""
        new = (self.activations(vectors) @ self.kernel + self.bias).astype(np.float32)
        return np.concatenate([self.base.logits(vectors), new], axis=1)

    def activations(self, vectors):
        """Of the last hidden layer, (n, n_units)."""
        return self.base.activations(vectors)

    def with_unit(self, kernel, bias):
        """One class more."""
        kernel = np.column_stack([self.kernel, kernel])
        return ExtendedHead(self.base, kernel, np.append(self.bias, bias))
