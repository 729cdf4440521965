"""One level for every sound: what YAMNet adds before its logarithm makes quiet sounds look like silence."""

from collections.abc import Iterable, Iterator

import numpy as np

from esc50.config import LevelSettings

LEVEL = LevelSettings()


def set_level(waveform: np.ndarray, *, settings: LevelSettings = LEVEL) -> np.ndarray:
    """Bring a waveform to one level: its loudest second reaches the target, what is faint beside it stays faint.

    The gain follows the loudest 0.96 s within five seconds before and after, and is interpolated between the borders
    of hops; so a sound of up to five seconds gets one gain, and a stream the same gains as the whole.

    Parameters
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Mono at 16 kHz.
    settings : LevelSettings
        Target, largest gain, and how far the gain looks.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32; single samples may exceed 1.
    """
    return np.concatenate([*level_blocks([waveform], settings=settings)])


def level_blocks(blocks: Iterable[np.ndarray], *, settings: LevelSettings = LEVEL) -> Iterator[np.ndarray]:
    """Take `set_level` of a stream of blocks (n_samples,), of any length each; holds back about five seconds."""
    hop, reach = settings.hop_samples, settings.reach_hops
    waiting, energies, n_done = np.zeros(0, np.float32), np.zeros(0), 0  # done: hops before the first that waits
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        n_whole = len(waiting) // hop  # hops from the first that waits
        energies = _append_energies(energies, waiting[: n_whole * hop], n_done, hop)
        n_ready = max(0, n_whole - reach - 1)
        if n_ready:
            yield _apply(waiting[: n_ready * hop], _gains(energies, n_done, n_ready, settings), hop)
            past = max(0, n_done + n_ready - reach)  # no gain looks back so far
            waiting, energies, n_done = waiting[n_ready * hop :], energies[past:], n_done + n_ready - past
    n_left = -(-len(waiting) // hop)
    padded = np.pad(waiting, (0, n_left * hop - len(waiting)))
    energies = _append_energies(energies, padded, n_done, hop)
    yield _apply(padded, _gains(energies, n_done, n_left, settings), hop)[: len(waiting)]


def _append_energies(energies, samples, n_done, hop):
    """Energies of hops, (n_hops,), `n_done` of them before the samples (a multiple of the hop), with the new ones."""
    new = samples[(len(energies) - n_done) * hop :].reshape(-1, hop)
    return np.concatenate([energies, np.einsum("ij,ij->i", new, new, dtype=np.float64)])


def _gains(energies, first, n_hops, settings):
    """Gains (n_hops + 1,) at the borders of some hops."""
    pairs = energies + np.append(energies[1:], 0.0)  # of the 0.96 s from each hop on
    reach = settings.reach_hops
    padded = np.pad(np.sqrt(pairs / (2 * settings.hop_samples)), reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach)  # those around the border before each hop
    loudest = windows[first : first + n_hops + 1].max(axis=1)
    return settings.target_rms / np.maximum(loudest, settings.target_rms / settings.max_gain)


def _apply(samples, gains, hop):
    steps = np.arange(hop) / hop
    curve = gains[:-1, np.newaxis] + np.diff(gains)[:, np.newaxis] * steps  # (n_hops, hop)
    return (samples * curve.reshape(-1)).astype(np.float32)
