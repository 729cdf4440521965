"""Which files of a folder are recordings."""

import os
from pathlib import Path

from esc50.classifier.formats import SOUND_ENDINGS


def walk_sounds(folder, *, on_error=None):
    """Yield the recordings in a folder and those inside it, by their ending; what is hidden in it is left out.

    Links to folders are followed. `on_error` is given the `OSError` of each folder that cannot be listed.
    """
    seen = set()
    for top, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if (place := os.path.realpath(top)) in seen:
            folders.clear()  # a link leads back
            continue
        seen.add(place)
        for path in (Path(top, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in SOUND_ENDINGS and path.is_file():
                yield path
