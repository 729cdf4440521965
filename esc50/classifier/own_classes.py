"""Classes of your own beside the model's: a logistic regression each, and the examples that it was learnt from."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from esc50 import __version__
from esc50.classifier.describe import class_label, class_named
from esc50.classifier.whitening import KnownClips
from esc50.config import N_CLASSES, TeachingError, atomic_write

SUFFIX, VERSION = ".esc50", 1
DAMAGED = "is damaged, or holds no classes: give a file that `esc50 teach` wrote, or teach them again in another file"


@dataclass(frozen=True)
class TeachingSettings:
    """How a class is learnt; from trials on fold 1, which is left out of what `esc50 teaching` reports."""

    decay: float = 1e-4  # of the weights, beside the mean loss
    class_weight: float = 3.0  # of a class's examples together, and of what is not of it: so many known classes
    known_passing: float = 0.01  # share of the known clips, not learnt from, that reach a class's threshold
    max_steps: int = 50


SETTINGS = TeachingSettings()


@dataclass(frozen=True, eq=False)
class Example:
    """A sound that is of a class, or is not."""

    class_name: str
    is_positive: bool
    vector: np.ndarray = field(repr=False)  # (size,) of unit length, by the model's `Whitening`
    file: str = ""  # path of the recording; empty where it is kept in no file
    name: str = ""  # of the recording
    start_seconds: float | None = None  # of the part of it; None: from its start
    end_seconds: float | None = None  # None: to its end


@dataclass(frozen=True, eq=False)
class OwnClasses:
    """Classes that were learnt from examples, on short vectors of one model: a logistic regression each."""

    names: tuple
    kernels: np.ndarray  # (n_names, size)
    biases: np.ndarray  # (n_names,)
    thresholds: np.ndarray  # (n_names,) log-odds from which on a sound is of the class whatever the model itself says
    examples: tuple
    model: str  # `Whitening.fingerprint`

    def log_odds(self, vectors: np.ndarray) -> np.ndarray:
        """Log-odds (n, n_names) that short vectors (n, size) are of each class rather than of any of the model's."""
        return vectors @ self.kernels.T + self.biases

    def without(self, name: str) -> "OwnClasses":
        """Forget one class; the others are as they were."""
        if (found := class_named(name, self.names)) is None:
            raise TeachingError(f"no class “{name}” here, only {', '.join(map(class_label, self.names))}")
        if len(self.names) == 1:
            raise TeachingError(f"“{class_label(found)}” is the only class here: delete the file")
        kept = np.array(self.names) != found  # (n_names,)
        rows = {part: getattr(self, part)[kept] for part in ("kernels", "biases", "thresholds")}
        examples = tuple(each for each in self.examples if each.class_name != found)
        return replace(self, names=tuple(each for each in self.names if each != found), examples=examples, **rows)

    def save(self, path: str | os.PathLike) -> Path:
        """Write a file that `load` reads, whole or not at all: the checksum of a line of JSON, and that line."""
        path, examples = Path(path), [vars(each) | {"vector": _pack(each.vector, "<f2")} for each in self.examples]
        units = _pack(np.column_stack([self.kernels, self.biases, self.thresholds]), "<f4")
        made = {"esc50": __version__, "date": datetime.now(UTC).isoformat(timespec="seconds")}
        content = {"version": VERSION, "model": self.model, "names": self.names, "units": units, "examples": examples}
        text = json.dumps(content | {"made": made}).encode()
        try:
            with atomic_write(path) as beside:
                beside.write_bytes(_checksum(text) + b"\n" + text)
        except OSError as error:
            raise TeachingError(f"{path} cannot be written ({error.strerror}): choose another place") from error
        return path

    @classmethod
    def load(cls, path: str | os.PathLike) -> "OwnClasses":
        """Read a file that `save` wrote; a `TeachingError` where there is none, or it is damaged or of other make."""
        try:
            checksum, _, text = Path(path).read_bytes().partition(b"\n")
        except FileNotFoundError:
            raise TeachingError(f"no classes here: {path} is missing; teach some with `esc50 teach`") from None
        except OSError as error:
            raise TeachingError(f"{path} cannot be read ({error.strerror}): give a file of classes") from error
        if checksum != _checksum(text):
            raise TeachingError(f"{path} {DAMAGED}")
        try:
            content = json.loads(text)
            if (version := content["version"]) == VERSION:
                names, units = tuple(content["names"]), _unpack(content["units"], "<f4")
                kernels, biases, thresholds = np.split(units.reshape(len(names), -1), [-2, -1], axis=1)
                unpacked = (each | {"vector": _unpack(each["vector"], "<f2")} for each in content["examples"])
                examples = tuple(Example(**each) for each in unpacked)
                return cls(names, kernels, biases[:, 0], thresholds[:, 0], examples, content["model"])
        except (ValueError, LookupError, TypeError) as error:  # another program wrote it
            raise TeachingError(f"{path} {DAMAGED}") from error
        raise TeachingError(f"{path} is of version {version}, not {VERSION}: update esc50")


def _pack(numbers, dtype):
    return base64.b64encode(numbers.astype(dtype).tobytes()).decode()


def _unpack(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype).astype(np.float32)


def _checksum(text):
    return hashlib.sha256(text).hexdigest().encode()


def learn(examples: Sequence[Example], known: KnownClips, *, settings: TeachingSettings = SETTINGS):
    """Learn classes beside the known clips, a second for each: `OwnClasses`, and `held_out_log_odds` by their names."""
    names = tuple(dict.fromkeys(each.class_name for each in examples))
    weights = np.stack([fit_class(name, examples, known.vectors, settings=settings) for name in names])
    log_odds = {
        name: held_out_log_odds(name, examples, known, settings=settings, start=start)
        for name, start in zip(names, weights, strict=True)
    }
    thresholds = np.quantile([of_known for of_known, _ in log_odds.values()], 1 - settings.known_passing, axis=1)
    whole = tuple(examples), known.whitening.fingerprint
    return OwnClasses(names, weights[:, :-1], weights[:, -1], thresholds, *whole), log_odds


def held_out_log_odds(name, examples, known, *, settings=SETTINGS, start=None):
    """Cross-validated log-odds of one class: of the known clips, and of its examples, -inf where there is no other.

    Examples from one recording are held out together.
    """
    own = [each for each in examples if each.class_name == name and each.is_positive]
    others = [each for each in examples if each not in own]
    of_known, of_own = np.empty(len(known.vectors)), np.empty(len(own))
    folds, recordings = np.unique(known.folds), [each.file or each.name or id(each) for each in own]
    numbers = {recording: number for number, recording in enumerate(dict.fromkeys(recordings))}
    fold_of_own = folds[[numbers[recording] % len(folds) for recording in recordings]]
    for fold in folds:
        rest = [each for each, its_fold in zip(own, fold_of_own, strict=True) if its_fold != fold]
        training = [*(rest or own), *others], known.vectors[known.folds != fold]
        weights = fit_class(name, *training, settings=settings, start=start)
        of_known[known.folds == fold] = known.vectors[known.folds == fold] @ weights[:-1] + weights[-1]
        for i in np.flatnonzero(fold_of_own == fold):
            of_own[i] = own[i].vector @ weights[:-1] + weights[-1] if rest else -np.inf
    return of_known, of_own


def fit_class(name, examples, known_vectors, *, settings=SETTINGS, start=None):
    """Weights and bias (size + 1,) of the regression that tells the class's examples from all else.

    A class's examples count as much as `class_weight` of the known classes, and so do the sounds that are not of it.
    """
    vectors = np.concatenate([np.stack([each.vector for each in examples]), known_vectors])
    labels = np.full(len(vectors), -1.0)
    labels[: len(examples)] = [1 if each.class_name == name and each.is_positive else -1 for each in examples]
    importances, of_class = np.ones(len(vectors)), settings.class_weight * max(1, len(known_vectors)) / N_CLASSES
    for label in (1, -1):
        chosen = np.flatnonzero(labels[: len(examples)] == label)
        importances[chosen] = of_class / max(1, len(chosen))
    return fit_logistic(vectors, labels, importances, decay=settings.decay, max_steps=settings.max_steps, start=start)


def fit_logistic(vectors, labels, importances, *, decay, max_steps=SETTINGS.max_steps, start=None):
    """Weighted logistic regression by Newton's method with halved steps; labels are 1 or -1, the bias is free."""
    inputs = np.column_stack([vectors, np.ones(len(vectors))]).astype(np.float64)  # (n, size + 1)
    rough = inputs.astype(np.float32)  # good enough for the curvature, and twice as quick
    penalty, importances = decay * np.append(np.ones(vectors.shape[1]), 0), importances / importances.sum()

    def loss(weights):
        return importances @ np.logaddexp(0, -labels * (inputs @ weights)) + penalty @ weights**2 / 2

    weights = np.zeros(inputs.shape[1]) if start is None else start
    for _ in range(max_steps):
        wrong = 1 / (1 + np.exp(np.clip(labels * (inputs @ weights), -50, 50)))  # probability of the other label
        slope = inputs.T @ (-labels * importances * wrong) + penalty * weights
        curvature = (rough.T * (importances * wrong * (1 - wrong)).astype(np.float32)) @ rough
        step = np.linalg.solve(curvature + np.diag(penalty + 1e-9), slope)
        size = next((s for s in 0.5 ** np.arange(20) if loss(weights - s * step) <= loss(weights)), 0.0)
        weights = weights - size * step
        if size == 0 or slope @ step < 1e-9:
            break
    return weights


def most_uncertain(log_odds, labelled, n):
    """Margin sampling: the n sounds that are not labelled whose log-odds (n_sounds,) are nearest to zero."""
    margins = np.where(labelled, np.inf, np.abs(log_odds))
    return np.argsort(margins, kind="stable")[: min(n, int((~labelled).sum()))]
