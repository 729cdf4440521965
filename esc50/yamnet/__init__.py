"""YAMNet, Google's audio classifier trained on AudioSet."""

import os

# From 1.29 on, ONNX Runtime sends telemetry to Microsoft unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from esc50.config import lazy_modules

__getattr__ = lazy_modules(__name__)
