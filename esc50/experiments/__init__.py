"""The experiments, one file a family, and how they are run, compared, shipped and measured.

Experiments: classical, cnn, plain, multilayer, kernel_ridge, distilled, robust, finetuned. What they run on: base,
run_cache, training, networks, metrics, results. What is made of them: nested_cv, ablation, shipping with keras_heads,
trust_report with conformal, openset with ood_detectors, timelines, robustness, teaching. How the shipped model does
on recordings of any kind: labels, evaluation, wild.
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
