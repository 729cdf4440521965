"""Bring several channels to one, so that none of the sound is lost."""

from functools import reduce

import numpy as np

CANCELLING = 0.1  # power of the mean over that of unrelated channels of the same power: 10 dB are lost
AUDIBLE_POWER = 1e-8  # -80 dB of full scale
FADE_SAMPLES = 512  # from one way of mixing to another, so that nothing clicks


class Mixer:
    """Mix blocks of a sound (n_samples, n_channels) to mono (n_samples,), one after the other.

    The mean of the channels or, in a block where they cancel, the loudest of them.

    Attributes
    ----------
    has_cancelled : bool
        Whether there was such a block.
    """

    def __init__(self):
        self.has_cancelled = False
        self._channel = None  # that was taken last; None for the mean
        self._has_begun = False

    def mix(self, block: np.ndarray) -> np.ndarray:
        """Mix the next block of float32."""
        if block.shape[1] == 1:
            return block[:, 0]
        mean = reduce(np.add, block.T) / np.float32(block.shape[1])  # `mean` along so short an axis is slow
        before, self._channel = self._channel, self._choose(block, mean)
        mono = mean if self._channel is None else block[:, self._channel].copy()
        if self._has_begun and before != self._channel:
            past = (mean if before is None else block[:, before])[:FADE_SAMPLES]
            mono[:FADE_SAMPLES] += (past - mono[:FADE_SAMPLES]) * np.linspace(1, 0, len(past), dtype=np.float32)
        self._has_begun = True
        return mono

    def _choose(self, block, mean):
        """Index of the channel to take, or None for the mean."""
        power = np.array([np.var(channel, dtype=np.float64) for channel in block.T])  # (n_channels,)
        is_cancelling = np.var(mean, dtype=np.float64) * len(power) ** 2 < CANCELLING * power.sum()
        if not is_cancelling or power.max() < AUDIBLE_POWER:
            return None
        self.has_cancelled = True
        if self._channel is not None and power[self._channel] > power.max() / 2:
            return self._channel  # of opposite channels one is as loud as the other: stay with it
        return int(np.argmax(power))
