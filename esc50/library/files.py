"""Which files of a folder are recordings."""

import os
from pathlib import Path

from esc50.classifier.formats import SOUND_ENDINGS


def walk_sounds(folder):
    """Yield the recordings in a folder and those inside it, by their ending; what is hidden in it is left out."""
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(top, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in SOUND_ENDINGS and path.is_file():
                yield path
