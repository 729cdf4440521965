"""Changes to log-mels that leave the class alone, drawn anew for every epoch."""

import numpy as np

from esc50.config import CnnSettings, LogMelSettings


def augment_log_mel(inputs, one_hot, rng, *, settings=CnnSettings(), log_mel_settings=LogMelSettings()):
    """Time roll, gain, SpecAugment masks, then mixup, drawn anew for every clip.

    Parameters
    ----------
    inputs : np.ndarray, shape (n, n_frames, mel_bands)
        Log-mels in decibels.
    one_hot : np.ndarray, shape (n, 50)
        Class probabilities.
    rng : np.random.Generator
        The source of every draw.
    settings : CnnSettings
        Strengths.
    log_mel_settings : LogMelSettings
        Hop, and the floor below which no gain may push; masks take the clip's mean.

    Returns
    -------
    tuple of np.ndarray
        The augmented pair, same shapes; the inputs given are left as they were.
    """
    n, n_frames, mel_bands = inputs.shape
    shifts = rng.integers(n_frames, size=n)
    x = np.stack([np.roll(clip, shift, axis=0) for clip, shift in zip(inputs, shifts, strict=True)])
    gain = rng.uniform(-settings.gain_decibel, settings.gain_decibel, size=(n, 1, 1)).astype(np.float32)
    x = np.maximum(x + gain, log_mel_settings.decibel_min)
    fill = x.mean(axis=(1, 2), keepdims=True)  # (n, 1, 1)
    widest_time = round(settings.time_mask_seconds / log_mel_settings.hop_seconds)
    for _ in range(settings.masks):
        x = np.where(_mask(n, n_frames, widest_time, rng)[:, :, None], fill, x)
        x = np.where(_mask(n, mel_bands, settings.band_mask_bands, rng)[:, None, :], fill, x)
    return mixup(x, one_hot, rng, alpha=settings.mixup_alpha)


def mixup(inputs, one_hot, rng, *, alpha):
    """Blend each example with another one by a Beta(alpha, alpha) share (arXiv 1710.09412).

    Parameters
    ----------
    inputs : np.ndarray, shape (n, ...)
        Examples.
    one_hot : np.ndarray, shape (n, 50)
        Class probabilities.
    rng : np.random.Generator
        Source of the shares and of the partners.
    alpha : float
        Both parameters of the Beta distribution; larger blends more.

    Returns
    -------
    tuple of np.ndarray
        Blended inputs and class probabilities, same shapes, float32.
    """
    partner = rng.permutation(len(inputs))
    share = rng.beta(alpha, alpha, size=len(inputs)).astype(np.float32)
    wide = share.reshape(-1, *[1] * (inputs.ndim - 1))  # (n, 1, ...)
    blended = wide * inputs + (1 - wide) * inputs[partner]
    return blended, share[:, None] * one_hot + (1 - share[:, None]) * one_hot[partner]


def _mask(n, length, widest, rng):
    width = rng.integers(0, widest + 1, size=(n, 1))
    start = rng.integers(0, length - width + 1)
    position = np.arange(length)
    return (position >= start) & (position < start + width)  # (n, length)
