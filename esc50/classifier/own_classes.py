"""Classes of your own beside the model's: a logistic regression each, and the examples that it was learnt from."""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from esc50 import __version__
from esc50.classifier.whitening import KnownClips
from esc50.config import N_CLASSES, TeachingError, atomic_write

SUFFIX, VERSION = ".esc50", 1
ARRAYS = {"vectors": "examples", "kernels": "names", "biases": "names", "thresholds": "names"}  # -> as many as of these


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
    """A sound that is of a class, or is not.

    Attributes
    ----------
    class_name : str
        The class.
    is_positive : bool
        Whether the sound is of the class.
    vector : np.ndarray, shape (size,)
        Of unit length, by the model's `esc50.classifier.whitening.Whitening`.
    file : str
        The recording, or a name.
    start_seconds, end_seconds : float or None
        The part of it; None: from its start, to its end.
    """

    class_name: str
    is_positive: bool
    vector: np.ndarray = field(repr=False)
    file: str = ""
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class OwnClasses:
    """Classes that were learnt from examples, on short vectors of one model.

    Attributes
    ----------
    names : tuple of str
        Of the classes.
    kernels, biases : np.ndarray, shape (n_names, size) and (n_names,)
        The logistic regressions.
    thresholds : np.ndarray, shape (n_names,)
        Log-odds from which on a sound is of the class whatever the model itself says.
    examples : tuple of Example
        What they were learnt from.
    model : str
        `Whitening.fingerprint` of the model.
    """

    names: tuple
    kernels: np.ndarray
    biases: np.ndarray
    thresholds: np.ndarray
    examples: tuple
    model: str

    def log_odds(self, vectors: np.ndarray) -> np.ndarray:
        """Log-odds (n, n_names) that short vectors (n, size) are of each class rather than of any of the model's."""
        return vectors @ self.kernels.T + self.biases

    def save(self, path: str | os.PathLike) -> Path:
        """Write a file that `load` reads, whole or not at all: arrays and JSON, nothing that could run.

        Raises
        ------
        TeachingError
            It cannot be written.
        """
        path, about = Path(path), [asdict(each) for each in self.examples]
        for each in about:
            del each["vector"]
        made = {"esc50": __version__, "date": datetime.now(UTC).isoformat(timespec="seconds")}
        about = {"version": VERSION, "model": self.model, "names": self.names, "examples": about, "made": made}
        arrays: dict[str, Any] = {"vectors": np.stack([each.vector for each in self.examples]).astype(np.float16)}
        arrays |= {name: getattr(self, name).astype(np.float32) for name in ("kernels", "biases", "thresholds")}
        try:
            with atomic_write(path) as beside, beside.open("wb") as file:
                np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)
        except OSError as error:
            raise TeachingError(f"{path} cannot be written ({error.strerror}): choose another place") from error
        return path

    @classmethod
    def load(cls, path: str | os.PathLike) -> "OwnClasses":
        """Read a file that `save` wrote.

        Raises
        ------
        TeachingError
            There is none, or it is no such file, damaged, or of another version.
        """
        try:
            if Path(path).is_file() and not zipfile.is_zipfile(path):  # of which numpy says that pickle may read it
                raise ValueError("it is of another kind, or cut off")
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in ("about", *ARRAYS)}
            about = json.loads(str(arrays.pop("about")))
            if about["version"] != VERSION:
                raise TeachingError(f"{path} is of version {about['version']}, not {VERSION}: {_anew(path)}")
            return cls._from(about, arrays)
        except FileNotFoundError:
            raise TeachingError(f"no classes here: {path} is missing; teach some with `esc50 teach`") from None
        except TeachingError:
            raise
        except (OSError, EOFError, zipfile.BadZipFile, LookupError, TypeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise TeachingError(f"{path} holds no classes ({reason}): give a file that `esc50 teach` wrote") from error

    @classmethod
    def _from(cls, about, arrays):
        counts = {each: len(about[each]) for each in ("names", "examples")}
        for name, of in ARRAYS.items():
            array = arrays[name] = arrays[name].astype(np.float32)
            shape = (counts[of], *([arrays["kernels"].shape[1]] if name in ("kernels", "vectors") else []))
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"its {name} are damaged")
        vectors = arrays.pop("vectors")
        examples = tuple(Example(vector=v, **each) for v, each in zip(vectors, about["examples"], strict=True))
        return cls(tuple(about["names"]), **arrays, examples=examples, model=about["model"])


def learn(examples: Sequence[Example], known: KnownClips, *, settings: TeachingSettings = SETTINGS):
    """Learn classes from examples, beside the known clips: a second for each class.

    Parameters
    ----------
    examples : sequence of Example
        Of one class or several.
    known : esc50.classifier.whitening.KnownClips
        Of the model.
    settings : TeachingSettings
        How to learn.

    Returns
    -------
    own : OwnClasses
        In the order in which the examples name them.
    odds : dict of str to tuple of np.ndarray
        `held_out_odds` of each.
    """
    names = tuple(dict.fromkeys(each.class_name for each in examples))
    units = np.stack([fit_class(name, examples, known.vectors, settings=settings) for name in names])
    odds = {
        name: held_out_odds(name, examples, known, settings=settings, start=unit)
        for name, unit in zip(names, units, strict=True)
    }
    thresholds = np.quantile([of_known for of_known, _ in odds.values()], 1 - settings.known_passing, axis=1)
    own = OwnClasses(names, units[:, :-1], units[:, -1], thresholds, tuple(examples), known.whitening.fingerprint)
    return own, odds


def held_out_odds(name, examples, known, *, settings=SETTINGS, start=None):
    """Log-odds of one class by lessons without the fold of a clip: of the known clips, and of the class's examples."""
    own = [each for each in examples if each.class_name == name and each.is_positive]
    others = [each for each in examples if each not in own]
    of_known, of_own = np.empty(len(known.vectors)), np.empty(len(own))
    folds = np.unique(known.folds)
    fold_of_own = folds[np.arange(len(own)) % len(folds)]
    for fold in folds:
        rest = [each for each, its_fold in zip(own, fold_of_own, strict=True) if its_fold != fold]
        lesson = [*(rest or own), *others], known.vectors[known.folds != fold]
        unit = fit_class(name, *lesson, settings=settings, start=start)
        of_known[known.folds == fold] = known.vectors[known.folds == fold] @ unit[:-1] + unit[-1]
        for i in np.flatnonzero(fold_of_own == fold):
            of_own[i] = own[i].vector @ unit[:-1] + unit[-1] if rest else -np.inf
    return of_known, of_own


def fit_class(name, examples, known_vectors, *, settings=SETTINGS, start=None):
    """Kernel and bias (size + 1,) of the regression that tells the class's examples from all else.

    A class's examples count as much as `class_weight` of the known classes, and so do the sounds that are not of it.
    """
    vectors = np.concatenate([np.stack([each.vector for each in examples]), known_vectors])
    labels = np.full(len(vectors), -1.0)
    labels[: len(examples)] = [1 if each.class_name == name and each.is_positive else -1 for each in examples]
    weights, of_class = np.ones(len(vectors)), settings.class_weight * max(1, len(known_vectors)) / N_CLASSES
    for label in (1, -1):
        chosen = np.flatnonzero(labels[: len(examples)] == label)
        weights[chosen] = of_class / max(1, len(chosen))
    how = {"decay": settings.decay, "max_steps": settings.max_steps, "start": start}
    return fit_logistic(vectors, labels, weights, **how)


def fit_logistic(vectors, labels, weights, *, decay, max_steps=SETTINGS.max_steps, start=None):
    """Weighted logistic regression by Newton's method with halved steps; labels are 1 or -1, the bias is free."""
    inputs = np.column_stack([vectors, np.ones(len(vectors))]).astype(np.float64)  # (n, size + 1)
    rough = inputs.astype(np.float32)  # good enough for the curvature, and twice as quick
    penalty, weights = decay * np.append(np.ones(vectors.shape[1]), 0), weights / weights.sum()

    def loss(unit):
        return weights @ np.logaddexp(0, -labels * (inputs @ unit)) + penalty @ unit**2 / 2

    unit = np.zeros(inputs.shape[1]) if start is None else start
    for _ in range(max_steps):
        wrong = 1 / (1 + np.exp(np.clip(labels * (inputs @ unit), -50, 50)))  # probability of the other label
        slope = inputs.T @ (-labels * weights * wrong) + penalty * unit
        curvature = (rough.T * (weights * wrong * (1 - wrong)).astype(np.float32)) @ rough + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, slope)
        size = next((s for s in 0.5 ** np.arange(20) if loss(unit - s * step) <= loss(unit)), 0.0)
        unit = unit - size * step
        if size == 0 or slope @ step < 1e-9:
            break
    return unit


def most_uncertain(log_odds, labelled, n):
    """Margin sampling: the n sounds that are not labelled whose log-odds (n_sounds,) are nearest to zero."""
    margins = np.where(labelled, np.inf, np.abs(log_odds))
    return np.argsort(margins, kind="stable")[: min(n, int((~labelled).sum()))]


def _anew(path):
    return f"make it anew with `esc50 teach --anew --classes {path}`"
