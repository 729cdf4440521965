"""YAMNet, Google's sound classifier trained on AudioSet."""

import os

# ONNX Runtime from 1.29 on reports each use to Microsoft, with an identifier that it keeps in the user's cache, and
# leaves a file in the temporary folder, unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from esc50.config import lazy_modules

__getattr__ = lazy_modules(__name__)
