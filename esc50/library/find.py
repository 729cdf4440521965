"""Parts of a search by example: what to look for, the most similar vectors, and places made of their windows."""

import difflib
import os
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from esc50.audio.sound import load_part, open_sound
from esc50.classifier.describe import class_named
from esc50.config import AudioError, AudioSettings, StoreError
from esc50.library.vectors import embed_windows, normalise

NEGATIVE_WEIGHT = 0.5  # of counter-examples against examples
JOINED_SHARE = 0.5  # of a hit's similarity that its other windows must reach: else it grows into what is beside it


@dataclass(frozen=True)
class Hit:
    """A place in a recording that is like what was looked for.

    Attributes
    ----------
    file : str
        The recording's path.
    start_seconds, end_seconds : float
        From the start of the recording.
    similarity : float
        Cosine to the query, in [-1, 1]; of a class its probability, in [0, 1].
    """

    file: str
    start_seconds: float
    end_seconds: float
    similarity: float


def combine(positives, negatives=()):
    """One vector for examples and counter-examples, by Rocchio's formula (1971)."""
    if not positives:
        raise StoreError("nothing to look for: give a recording, a class or positives")
    whole = normalise(np.mean(positives, axis=0))
    return normalise(whole - NEGATIVE_WEIGHT * normalise(np.mean(negatives, axis=0))) if len(negatives) else whole


def search(vectors, codes, vector, *, n):
    """Rows of the most similar among vectors (n_rows, size), and their cosines, the highest first.

    Candidates, at least `n`, are chosen by the Hamming distance of their signs, which is quick, then compared in full.
    """
    distances = np.zeros(len(vectors), np.uint16)
    for column, part in zip(codes, sign_codes(vector[np.newaxis]), strict=True):
        distances += np.bitwise_count(column ^ part)
    within = np.bincount(distances).cumsum()  # rows up to each distance
    rows = np.flatnonzero(distances <= np.searchsorted(within, min(n, len(vectors))))
    values = vectors[rows].astype(np.float32) @ vector
    order = np.argsort(-values, kind="stable")[:n]
    return rows[order], values[order]


def sign_codes(vectors):
    """Signs of vectors (n, size), 64 in a number: (size / 64, n)."""
    return np.ascontiguousarray(np.packbits(vectors > 0, axis=1).view(np.uint64).T)


def merge_windows(places, values, *, top):
    """Hits of windows, (n,) with file, start and end, in falling order of their values (n,).

    Overlapping windows of one recording are one hit, without those that are much less similar than its best.
    """
    found = {}  # of each file start, end and value of its hits, in order of time
    for (file, start, end), value in zip(places.tolist(), values.tolist(), strict=True):
        known = found.setdefault(file, [])
        first, last = bisect_left(known, start, key=itemgetter(1)), bisect_right(known, end, key=itemgetter(0))
        touching = known[first:last]
        if all(value >= JOINED_SHARE * best for *_, best in touching):
            starts, ends, bests = zip((start, end, value), *touching, strict=True)
            known[first:last] = [(min(starts), max(ends), max(bests))]
    hits = (Hit(file, *hit) for file, known in found.items() for hit in known)
    return sorted(hits, key=lambda hit: -hit.similarity)[:top]


def find_class(query, names):
    """The class that a query names, with spaces and in any case; None where it is a recording."""
    if isinstance(query, str) and (name := class_named(query, names)):
        return name  # a file named so is ./dog
    if not _is_word(query):
        return None
    close = difflib.get_close_matches(query.lower(), names, n=1)
    remedy = f"did you mean {close[0]}?" if close else "`esc50 classes` lists those"
    raise StoreError(f"{query} is neither a recording nor a class: {remedy}")


def _is_word(query):
    if not isinstance(query, str) or ":" in query or Path(query).suffix:
        return False
    return not os.path.isfile(query)  # noqa: PTH113 - where a name is too long, Path raises


def embed_example(classifier, example, start=None, end=None):
    """The mean of an example's windows, as a vector of unit length."""
    if isinstance(example, np.ndarray):
        return normalise(example)
    if isinstance(example, Hit):
        example, start, end = example.file, example.start_seconds, example.end_seconds
    if _is_word(example):
        raise StoreError(f"{example} is no recording: further examples and counter-examples must be recordings")
    part = load_part(example, start or 0.0, end)
    with open_sound(part, sample_rate_hz=AudioSettings.sample_rate_hz) as stream:
        found = [windows.vectors for windows in embed_windows(classifier, stream)]
    if not found:
        raise AudioError(f"nothing can be heard in {example}: choose another, or another part of it")
    return normalise(np.concatenate(found).mean(axis=0))
