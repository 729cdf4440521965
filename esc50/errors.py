"""The errors that this package raises on purpose: each says what was wrong and what to do next."""


class Esc50Error(Exception):
    """Base of every error that a user can mend; shells show its message without a traceback."""


class DatasetError(Esc50Error):
    """ESC-50 is missing, incomplete or altered."""


class AudioError(Esc50Error, ValueError):
    """A file or an array is not sound that can be classified."""


class TooLongError(AudioError):
    """A sound is longer than what is taken; a timeline takes longer ones."""


class LeakError(Esc50Error, ValueError):
    """A split would put takes of one recording on both sides."""


class FeatureError(Esc50Error):
    """A feature file is missing or was made with other parameters."""


class YamnetError(Esc50Error):
    """YAMNet cannot be loaded, or what was loaded is not YAMNet."""


class ResultsError(Esc50Error):
    """A results file or a saved model is missing, partial or made with other parameters."""


class NotebookError(Esc50Error):
    """No notebook, or more than one, has the name that was given."""


class TeachingError(Esc50Error, ValueError):
    """A new class cannot be taught from what was given."""
