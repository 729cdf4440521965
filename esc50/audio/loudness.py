"""Level normalisation: YAMNet's log offset of 0.001 makes quiet sounds look like silence."""

from collections.abc import Iterable, Iterator

import numpy as np

from esc50.config import LevelSettings

LEVEL = LevelSettings()


def set_level(waveform: np.ndarray, *, settings: LevelSettings = LEVEL) -> np.ndarray:
    """Normalise the level of a waveform: its loudest second reaches the target RMS.

    The gain at each hop border is the target over the RMS of the loudest 0.96 s within 5.28 s before and after. Between
    borders it is interpolated linearly. A sound of up to five seconds therefore gets one constant gain.

    Parameters
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Mono at 16 kHz.
    settings : LevelSettings
        Target RMS, maximum gain and window.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32; single samples may exceed 1.
    """
    return np.concatenate([*level_blocks([waveform], settings=settings)])


def level_blocks(blocks: Iterable[np.ndarray], *, settings: LevelSettings = LEVEL) -> Iterator[np.ndarray]:
    """Apply `set_level` to a stream of blocks (n_samples,), with the same result; delays it by about five seconds."""
    hop, reach = settings.hop_samples, settings.reach_hops
    waiting, energies, n_done = np.zeros(0, np.float32), np.zeros(0), 0  # n_done: hops before `waiting`
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        n_whole = len(waiting) // hop
        energies = _append_energies(energies, waiting[: n_whole * hop], n_done, hop)
        n_ready = max(0, n_whole - reach - 1)
        if n_ready:
            yield _apply(waiting[: n_ready * hop], _gains(energies, n_done, n_ready, settings), hop)
            past = max(0, n_done + n_ready - reach)  # hops that no later gain depends on
            waiting, energies, n_done = waiting[n_ready * hop :], energies[past:], n_done + n_ready - past
    n_left = -(-len(waiting) // hop)
    padded = np.pad(waiting, (0, n_left * hop - len(waiting)))
    energies = _append_energies(energies, padded, n_done, hop)
    yield _apply(padded, _gains(energies, n_done, n_left, settings), hop)[: len(waiting)]


def _append_energies(energies, samples, n_done, hop):
    """Append the energies of new hops to `energies` (n_hops,), of which `n_done` precede `samples`."""
    new = samples[(len(energies) - n_done) * hop :].reshape(-1, hop)
    return np.concatenate([energies, np.einsum("ij,ij->i", new, new, dtype=np.float64)])


def _gains(energies, first, n_hops, settings):
    """Return the gains at the borders of hops, (n_hops + 1,)."""
    pairs = energies + np.append(energies[1:], 0.0)  # of the 0.96 s from the start of each hop
    reach = settings.reach_hops
    padded = np.pad(np.sqrt(pairs / (2 * settings.hop_samples)), reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach)  # around the border before each hop
    loudest = windows[first : first + n_hops + 1].max(axis=1)
    return settings.target_rms / np.maximum(loudest, settings.target_rms / settings.max_gain)


def _apply(samples, gains, hop):
    steps = np.arange(hop) / hop
    curve = gains[:-1, np.newaxis] + np.diff(gains)[:, np.newaxis] * steps  # (n_hops, hop)
    return (samples * curve.reshape(-1)).astype(np.float32)
