"""The models that come with the project, by name."""

from pathlib import Path

from esc50.config import MODELS_DIR
from esc50.errors import ResultsError

# Each with a card beside it, such as audio-classifier.json: see esc50.saved.
MODELS = {
    "layers": MODELS_DIR / "audio-classifier.keras",  # a head on the activations of many of YAMNet's layers
    "plain": MODELS_DIR / "audio-classifier-plain.keras",  # a head on YAMNet's embedding alone
}
DEFAULT_MODEL = "layers"
ENDING = ".keras"


def command(name, model=DEFAULT_MODEL):
    """The command line that does something with one of the models.

    Parameters
    ----------
    name : str
        Of a command that takes ``--model``.
    model : str
        A key of `MODELS`.

    Returns
    -------
    str
        Such as ``python -m esc50 trust --model plain``; the default model goes without saying.
    """
    return f"python -m esc50 {name}{'' if model == DEFAULT_MODEL else f' --model {model}'}"


def model_file(name_or_path=None):
    """Where a model lies.

    Parameters
    ----------
    name_or_path : str or path-like, optional
        A key of `MODELS`, by default `DEFAULT_MODEL`; or the path of a ``.keras`` file.

    Returns
    -------
    Path
        The ``.keras`` file, which need not exist.

    Raises
    ------
    ResultsError
        It is neither a name nor the path of such a file.
    """
    name = DEFAULT_MODEL if name_or_path is None else name_or_path
    if name in MODELS:
        return MODELS[name]
    if Path(name).suffix != ENDING:
        raise ResultsError(f"no model named {str(name)!r}: choose from {', '.join(MODELS)}, or give a {ENDING} file")
    return Path(name)
