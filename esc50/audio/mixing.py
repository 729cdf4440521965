"""Mix several channels to mono without cancellation."""

from functools import reduce

import numpy as np

CANCELLING = 0.1  # power of the mean relative to uncorrelated channels below which they cancel: a loss of 10 dB
MIN_POWER = 1e-8  # -80 dBFS
FADE_SAMPLES = 512  # crossfade between two ways of mixing, to avoid clicks


class Mixer:
    """Mix consecutive blocks of a sound (n_samples, n_channels) to mono (n_samples,).

    Each block becomes the mean of its channels or, if they cancel in the mean, the loudest channel.

    Attributes
    ----------
    has_cancelled : bool
        Whether the channels have cancelled in any block.
    """

    def __init__(self):
        self.has_cancelled = False
        self._channel = None  # channel used for the last block; None for the mean
        self._has_begun = False

    def mix(self, block: np.ndarray) -> np.ndarray:
        """Mix the next block of float32."""
        if block.shape[1] == 1:
            return block[:, 0]
        mean = reduce(np.add, block.T) / np.float32(block.shape[1])  # np.mean is slow along a short axis
        before, self._channel = self._channel, self._choose(block, mean)
        mono = mean if self._channel is None else block[:, self._channel].copy()
        if self._has_begun and before != self._channel:
            past = (mean if before is None else block[:, before])[:FADE_SAMPLES]
            mono[:FADE_SAMPLES] += (past - mono[:FADE_SAMPLES]) * np.linspace(1, 0, len(past), dtype=np.float32)
        self._has_begun = True
        return mono

    def _choose(self, block, mean):
        """Return the index of the channel to use, or None for the mean."""
        power = np.array([np.var(channel, dtype=np.float64) for channel in block.T])  # (n_channels,)
        is_cancelling = np.var(mean, dtype=np.float64) * len(power) ** 2 < CANCELLING * power.sum()
        if not is_cancelling or power.max() < MIN_POWER:
            return None
        self.has_cancelled = True
        if self._channel is not None and power[self._channel] > power.max() / 2:
            return self._channel  # channels in opposite phase are about equally loud: avoid switching
        return int(np.argmax(power))
