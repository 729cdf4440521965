"""Which files of a folder are recordings."""

import os
from pathlib import Path

SOUND_ENDINGS = tuple(  # of what `esc50.audio.ffmpeg.CONTAINERS` holds; not ".ts", in which programs are written too
    """
    .3g2 .3gp .aac .ac3 .aif .aifc .aiff .amr .ape .asf .au .avi .avr .bwf .caf .dsf .dss .dts .dtshd .eac3 .f4a .f4v
    .flac .flv .m2ts .m4a .m4b .m4r .m4v .mka .mkv .mlp .mov .mp2 .mp3 .mp4 .mpc .mpeg .mpg .mpga .mts .mxf .nist .nut
    .oga .ogg .ogv .oma .opus .qcp .qoa .ra .rf64 .rm .shn .snd .sph .spx .tak .thd .tta .voc .vob .vqf .w64 .wav .wave
    .weba .webm .wma .wmv .wtv .wv .xwma
    """.split()  # noqa: SIM905
)


def walk_files(folder, *, on_error=None):
    """Yield the files in a folder and those inside it; what is hidden in it is left out.

    Links to folders are followed. `on_error` is given the `OSError` of each folder that cannot be listed.
    """
    seen = set()
    for top, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if (place := os.path.realpath(top)) in seen:
            folders.clear()  # a link leads back
            continue
        seen.add(place)
        paths = (Path(top, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


def is_sound_name(path):
    """Return whether a file is a recording by the ending of its name."""
    return Path(path).suffix.lower() in SOUND_ENDINGS


def walk_sounds(folder, *, on_error=None):
    """Yield the recordings among the files of `walk_files`, by their ending."""
    return filter(is_sound_name, walk_files(folder, on_error=on_error))
