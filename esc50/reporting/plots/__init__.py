"""Every picture of the study. ``plot_*(data, *, ax=None)`` draws on the axes it is given and returns them."""

from esc50.reporting.plots.events import plot_events
from esc50.reporting.plots.explanation import plot_explanation
from esc50.reporting.plots.maps import plot_guesses, plot_map, plot_map_names, plot_map_part, plot_map_values
from esc50.reporting.plots.prediction import plot_prediction, plot_sound, plot_timeline, plot_top_scores
from esc50.reporting.plots.scores import (
    plot_ablation,
    plot_confusion,
    plot_model_comparison,
    plot_per_class,
    plot_protocols,
    plot_training_curves,
)
from esc50.reporting.plots.sound import (
    TICK_HZ,
    YAMNET_MEL_HZ,
    plot_attention,
    plot_embeddings,
    plot_envelope,
    plot_gallery,
    plot_log_mel,
    plot_waveform,
    plot_yamnet_log_mel,
)
from esc50.reporting.plots.style import (
    BLEND_SHADES,
    PART_PALETTE,
    THEME_PALETTE,
    blend_in,
    class_label,
    save_figure,
    set_style,
)
from esc50.reporting.plots.tables import plot_by_class, plot_histogram, plot_shares, plot_stacked, plot_two_shares
from esc50.reporting.plots.trust import plot_reliability, plot_risk_coverage, plot_score_histogram

__all__ = [
    "BLEND_SHADES",
    "PART_PALETTE",
    "THEME_PALETTE",
    "TICK_HZ",
    "YAMNET_MEL_HZ",
    "blend_in",
    "class_label",
    "plot_ablation",
    "plot_attention",
    "plot_by_class",
    "plot_confusion",
    "plot_embeddings",
    "plot_envelope",
    "plot_events",
    "plot_explanation",
    "plot_gallery",
    "plot_guesses",
    "plot_histogram",
    "plot_log_mel",
    "plot_map",
    "plot_map_names",
    "plot_map_part",
    "plot_map_values",
    "plot_model_comparison",
    "plot_per_class",
    "plot_prediction",
    "plot_protocols",
    "plot_reliability",
    "plot_risk_coverage",
    "plot_score_histogram",
    "plot_shares",
    "plot_sound",
    "plot_stacked",
    "plot_timeline",
    "plot_top_scores",
    "plot_training_curves",
    "plot_two_shares",
    "plot_waveform",
    "plot_yamnet_log_mel",
    "save_figure",
    "set_style",
]
