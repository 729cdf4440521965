"""Environmental sound classification on ESC-50 with transfer learning from YAMNet."""

__version__ = "0.1.0"
