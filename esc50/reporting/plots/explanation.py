"""What spoke for a class, drawn over the log-mel."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, MaxNLocator

from esc50.config import YamnetSettings
from esc50.reporting.plots.sound import YAMNET_MEL, plot_log_mel
from esc50.reporting.plots.style import SOUND_BLUE, class_label

SOUND_COLORS = LinearSegmentedColormap.from_list("sound", ["#80808000", "#808080"])  # on a light and on a dark page
RELEVANCE_COLORS = "RdBu"  # against, nothing, for: told apart by the colour-blind too
MIN_SCALE = 1.0  # halvings: below this, faint colours say that hardly anything mattered
MAX_OPACITY = 0.75


def plot_explanation(prediction, explanation, *, ax=None):
    """Draw which parts of a sound spoke for a class: the log-mel in grey, relevance over it, frames above it.

    Parameters
    ----------
    prediction : esc50.classifier.predict.Prediction
        What was explained.
    explanation : esc50.classifier.explanation.Explanation
        From `esc50.classifier.explanation.explain`.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Time in seconds to the right, frequency in Hz upwards on the mel scale. Blue: the class is less likely
        without this cell. Red: it is more likely without. The bars above: probability of the class in each frame.
    """
    ax = ax or plt.gca()
    plot_log_mel(prediction.log_mel, axes=YAMNET_MEL, ax=ax)
    ax.images[-1].set_cmap(SOUND_COLORS)
    mesh = _draw_relevance(ax, explanation)
    name = class_label(explanation.class_name)
    label = f"odds of “{name}”\nwithout this patch"
    ax.figure.colorbar(mesh, ax=ax, label=label, ticks=MaxNLocator(7, integer=True), format=FuncFormatter(_say_odds))
    start, end = explanation.time_edges_seconds[[0, -1]]
    ax.set_xlim(start, end)
    _draw_frames(ax.inset_axes([0, 1.06, 1, 0.16], sharex=ax), explanation, label=f"{name} in each frame (%)")
    return ax


def _say_odds(halvings, _):
    """What becomes of the odds: "/ 4" for two halvings, "× 2" for minus one."""
    return f"/ {2**halvings:g}" if halvings > 0 else f"× {2**-halvings:g}" if halvings < 0 else "same"


def _draw_relevance(ax, explanation):
    relevance = explanation.relevance.T  # (n_bands, n_cells)
    scale = max(MIN_SCALE, np.abs(relevance).max())
    edges = explanation.time_edges_seconds, YAMNET_MEL.to_mel(explanation.frequency_edges_hz)
    opacity = MAX_OPACITY * np.sqrt(np.abs(relevance) / scale)  # so that what matters little shows too
    return ax.pcolormesh(*edges, relevance, cmap=RELEVANCE_COLORS, vmin=-scale, vmax=scale, alpha=opacity)


def _draw_frames(ax, explanation, *, label):
    """Each bar stands over the middle hop of its frame, so that bars stand side by side; the label is above them."""
    settings = YamnetSettings()
    middles = explanation.frame_seconds + settings.patch_window_seconds / 2
    ax.bar(middles, 100 * explanation.frame_relevance, 0.9 * settings.patch_hop_seconds, color=SOUND_BLUE)
    ax.set(ylim=(0, 100), yticks=(50, 100))
    ax.set_ylabel(label, rotation="horizontal", ha="left", va="bottom")
    ax.yaxis.set_label_coords(0, 1.1)
    ax.tick_params(labelbottom=False)
    ax.grid(False)
