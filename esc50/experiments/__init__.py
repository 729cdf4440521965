"""The experiments, one file per family, and the code that runs, compares, ships and evaluates them.

- Experiments: classical, cnn, plain, multilayer, kernel_ridge, distilled, robust, pooled, finetuned.
- Infrastructure: base, run_cache, training, networks, metrics, results.
- Studies: nested_cv, ablation, protocol_audit, label_audit, trust_report with conformal, openset with ood_detectors,
  timelines, robustness, teaching, retrieval.
- Shipped models: shipping with keras_heads, export.
- Evaluation on any labelled recordings: labels, evaluation, wild.
"""

from esc50.config import lazy_modules
from esc50.experiments.base import (
    Experiment,
    Fitted,
    Model,
    find_experiments,
    is_whole,
    models,
    protocols_of,
    results_of,
    run_experiment,
)

__getattr__ = lazy_modules(__name__)
