"""Explain a prediction: how much less likely a class becomes when a part of the sound is silenced."""

from dataclasses import dataclass

import numpy as np

from esc50.classifier.pooling import pool_clips, temper
from esc50.config import BackboneSettings, YamnetSettings
from esc50.yamnet.frames import HOP_SAMPLES, PATCH_SAMPLES, active_frames, pad_waveform

CELLS_PER_FRAME = -(-PATCH_SAMPLES // HOP_SAMPLES)  # a cell is one hop long; a frame spans three cells
MIN_PROBABILITY = 1e-9  # keeps odds finite


@dataclass(frozen=True)
class ExplanationSettings:
    """Resolution of the explanation."""

    max_frames: int = 10  # longer sounds are explained around their most probable active frame
    mel_bands: int = 8  # over YAMNet's frequency range
    fade_seconds: float = 0.010  # at both ends of a silenced cell, to avoid clicks


SETTINGS = ExplanationSettings()


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which parts of a sound support a class.

    Attributes
    ----------
    class_name : str
        The explained class.
    relevance : np.ndarray, shape (n_cells, n_bands)
        Drop of the class's log2 odds when this time-frequency cell is silenced: 1 means that the odds halve, 0 no
        change, below 0 that the cell is evidence against the class.
    time_edges_seconds : np.ndarray, shape (n_cells + 1,)
        Borders of the cells. For a sound longer than about five seconds they cover only the part around its most
        probable active frame.
    frequency_edges_hz : np.ndarray, shape (n_bands + 1,)
        Borders of the bands, evenly spaced on the mel scale.
    frame_relevance : np.ndarray, shape (n_frames,)
        Probability of the class in each 0.96 s frame of the whole sound; 0 in silent frames.
    frame_seconds : np.ndarray, shape (n_frames,)
        Start of each frame.
    """

    class_name: str
    relevance: np.ndarray
    time_edges_seconds: np.ndarray
    frequency_edges_hz: np.ndarray
    frame_relevance: np.ndarray
    frame_seconds: np.ndarray


def explain(classifier, prediction, *, label=None, settings=SETTINGS):
    """Explain a prediction by silencing one time-frequency cell after another.

    This is occlusion sensitivity (Zeiler and Fergus 2014, arXiv 1311.2901, section 4.2), applied to the waveform. It
    is deterministic.

    Parameters
    ----------
    classifier : esc50.classifier.predict.SoundClassifier
        The classifier that made the prediction.
    prediction : esc50.classifier.predict.Prediction
        The prediction to explain.
    label : int, optional
        Index of the class in ``prediction.class_names``; the most probable by default.
    settings : ExplanationSettings
        Resolution.

    Returns
    -------
    Explanation
        Relevance of each cell (n_cells, n_bands) and of each frame.
    """
    label = int(prediction.probabilities.argmax()) if label is None else label
    active = active_frames(prediction.vectors)  # (n_frames,)
    frame_relevance = np.where(active, prediction.frame_probabilities[:, label], 0)  # (n_frames,)
    first = first_explained_frame(frame_relevance, max_frames=settings.max_frames)
    part, time_edges = _cut_out(prediction.sound, first, settings)
    frequency_edges, n_cells = mel_edges(settings), len(time_edges) - 1
    bands = split_bands(part, frequency_edges, sample_rate_hz=prediction.sound.sample_rate_hz)
    whole, silenced, active = _embed_all(classifier, part, _silence_cells(part, bands, settings))
    before = _log_odds(classifier, whole, active, label)
    after = _log_odds(classifier, _one_cell_each(whole, silenced, n_cells), active, label)
    return Explanation(
        class_name=prediction.class_names[label],
        relevance=before - after,  # (n_cells, n_bands)
        time_edges_seconds=time_edges,
        frequency_edges_hz=frequency_edges,
        frame_relevance=frame_relevance,
        frame_seconds=prediction.frame_seconds,
    )


def first_explained_frame(frame_relevance, *, max_frames):
    """Return the first frame of a window of `max_frames` that is centred, if possible, on the most probable frame."""
    centred = int(frame_relevance.argmax()) - max_frames // 2
    return max(0, min(centred, len(frame_relevance) - max_frames))


def htk_mel(hz):
    """Mel scale of HTK, which YAMNet uses: 2595 log10(1 + f / 700)."""
    return 2595 * np.log10(1 + np.asarray(hz) / 700)


def mel_edges(settings=SETTINGS):
    """Return the borders of the bands in Hz, (mel_bands + 1,), evenly spaced on the mel scale (HTK, as in YAMNet)."""
    low, high = htk_mel([BackboneSettings.mel_min_hz, BackboneSettings.mel_max_hz])
    return 700 * (10 ** (np.linspace(low, high, settings.mel_bands + 1) / 2595) - 1)


def split_bands(waveform, edges_hz, *, sample_rate_hz):
    """Split a waveform into bands (n_bands, n_samples) that sum to its content between the outer edges."""
    n_samples = len(waveform)
    spectrum = np.fft.rfft(waveform, 2 * n_samples)  # zero-padded against circular wrap-around
    band = np.digitize(np.fft.rfftfreq(2 * n_samples, 1 / sample_rate_hz), edges_hz)  # (n_bins,)
    parts = np.where(band == np.arange(1, len(edges_hz))[:, np.newaxis], spectrum, 0)  # (n_bands, n_bins)
    return np.fft.irfft(parts, 2 * n_samples)[:, :n_samples]


def _cut_out(sound, first, settings):
    """Return the waveform from frame `first` on, padded to whole frames, and the borders of its cells in seconds."""
    start = first * HOP_SAMPLES
    part = sound.waveform[start : start + PATCH_SAMPLES + (settings.max_frames - 1) * HOP_SAMPLES]
    edges = start + np.append(np.arange(0, len(part), HOP_SAMPLES), len(part))  # (n_cells + 1,)
    return pad_waveform(part), edges / sound.sample_rate_hz


def _silence_cells(waveform, bands, settings):
    """Return waveforms (3, n_bands, n_samples) with one band removed from every third cell, by first cell and band.

    No frame spans two cells that are three apart, so each frame is the same as with a single cell silenced.
    """
    n_fade = round(settings.fade_seconds * YamnetSettings.sample_rate_hz)
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(n_fade) / n_fade)
    fade = np.concatenate([rise, np.ones(HOP_SAMPLES - 2 * n_fade), rise[::-1]])  # (HOP_SAMPLES,)
    samples = np.arange(len(waveform))
    cells = samples // HOP_SAMPLES % CELLS_PER_FRAME == np.arange(CELLS_PER_FRAME)[:, np.newaxis]  # (3, n_samples)
    weights = cells * fade[samples % HOP_SAMPLES]  # (3, n_samples)
    rest = waveform - weights[:, np.newaxis] * bands  # (3, n_bands, n_samples)
    return np.clip(rest, -1, 1).astype(np.float32)  # removing a band from a sound at full scale may overshoot


def _embed_all(classifier, waveform, silenced):
    """Return the frame vectors of the whole and of the silenced waveforms, (…, n_frames, size), and active frames."""
    every = np.concatenate([waveform[np.newaxis], silenced.reshape(-1, len(waveform))])
    whole, *rest = classifier.embed_batch(every)  # each (n_frames, size)
    return whole, np.reshape(rest, (*silenced.shape[:2], *whole.shape)), active_frames(whole)


def _one_cell_each(whole, silenced, n_cells):
    """Return the frame vectors with each cell silenced alone, (n_cells, n_bands, n_frames, size)."""
    cells = np.arange(n_cells)
    spans = np.isin(cells[:, np.newaxis] - np.arange(len(whole)), range(CELLS_PER_FRAME))  # (n_cells, n_frames)
    return np.where(spans[:, np.newaxis, :, np.newaxis], silenced[cells % CELLS_PER_FRAME], whole)


def _log_odds(classifier, vectors, active, label):
    """Return the log2 odds of a class, (…) from (…, n_frames, size), pooled as for a prediction."""
    *shape, n_frames, size = vectors.shape
    sounds = vectors.reshape(-1, n_frames, size)
    counts = np.broadcast_to(active, sounds.shape[:2])
    pooled = pool_clips(classifier.apply_head, sounds, counts, pooling=classifier.metadata["pooling"])
    calibrated = temper(pooled.astype(np.float64), classifier.metadata["temperature"])  # (-1, n_classes)
    others = np.delete(calibrated, label, axis=1).sum(axis=1)  # more precise than 1 - p for p near 1
    odds = np.maximum(calibrated[:, label], MIN_PROBABILITY) / np.maximum(others, MIN_PROBABILITY)
    return np.log2(odds).reshape(shape)
