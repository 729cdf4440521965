"""Environmental sound classification on ESC-50 with transfer learning from YAMNet.

>>> from esc50 import SoundClassifier
>>> SoundClassifier.load().predict("example:siren").verdict
'This sounds like a siren (100 %).'
"""

from importlib import import_module

__version__ = "0.2.0"

# public name -> module or package that defines it; imported on first access
_PUBLIC = {
    "Prediction": "esc50.classifier.predict",
    "Recording": "esc50.classifier.teaching",
    "SoundClassifier": "esc50.classifier.predict",
    "Timeline": "esc50.classifier.timeline",
    "audio": "esc50",
    "dataset": "esc50",
    "detect_events": "esc50.classifier.timeline",
    "evaluate": "esc50.experiments.evaluation",
    "experiments": "esc50",
    "explain": "esc50.classifier.explanation",
    "literature": "esc50.reporting",
    "load_clips": "esc50.dataset",
    "load_sound": "esc50.audio",
    "plots": "esc50.reporting",
    "show": "esc50.reporting",
    "tables": "esc50.reporting",
    "teach": "esc50.classifier.teaching",
    "yamnet": "esc50",
}
_MODULES = ("audio", "dataset", "experiments", "literature", "plots", "show", "tables", "yamnet")
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'esc50' has no attribute {name!r}")
    home = _PUBLIC[name]
    if name in _MODULES:
        return import_module(f"{home}.{name}")
    return getattr(import_module(home), name)


def __dir__():
    return sorted(__all__)
