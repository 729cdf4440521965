"""Every picture of the study: ``plot_*(data, *, ax=None)`` draws on the axes it is given and returns them.

A module is imported when one of its names is first asked for: the app draws no tables, so it needs no pandas.
"""

from importlib import import_module

_NAMES = {
    "audits": "plot_pareto plot_shortcuts",
    "events": "plot_events plot_timeline",
    "evaluation": "plot_evaluation",
    "explanation": "plot_explanation",
    "maps": "plot_map plot_map_names plot_map_part plot_map_values",
    "metrics": (
        "plot_ablation plot_confused_classes plot_confusion plot_model_comparison plot_per_class plot_protocols "
        "plot_training_curves"
    ),
    "prediction": "plot_frame_probabilities plot_prediction plot_sound plot_top_classes",
    "robustness": "plot_robustness",
    "sound": "YAMNET_MEL plot_attention plot_embeddings plot_envelope plot_gallery plot_log_mel plot_waveform",
    "style": "THEME_PALETTE as_html blend_in class_label line_styles save_figure say_percent set_style smallest_text",
    "tables": "plot_histogram plot_quartiles plot_shares plot_stacked plot_top_labels plot_two_shares",
    "teaching": "plot_teaching",
    "trust": "plot_reliability plot_risk_coverage plot_score_histogram plot_score_histograms plot_set_coverage",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_MODULES)


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
