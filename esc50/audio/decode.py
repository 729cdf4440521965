"""Decode sound files block by block."""

import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from esc50.audio.streams import BLOCK_SAMPLES, SoundStream, check_sample_rate, mix_to_mono, scale_integers
from esc50.config import AudioError

UNKNOWN_LENGTH = (1 << 63) - 1  # libsndfile's count for a stream whose header states none
# libsndfile's own words on a WAV, AIFF or AU file that ends before its header says (`SoundFile.extra_info`).
CUT_OFF = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
OPEN_END_BYTES = 0x7FFF0000  # programs that write into a pipe declare this and more: they cannot know the length
NOT_SOUND = "{name} is not sound, or damaged: give wav, flac, ogg, mp3 or aiff (m4a and webm need ffmpeg)"


@contextmanager
def on_disk(source):
    """Yield the path of a sound file, made for the moment where bytes were given, and its name for messages."""
    if isinstance(source, str | os.PathLike):
        _check_file(Path(source))
        yield str(source), _printable(source)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording"
        path.write_bytes(_read_bytes(source))
        yield str(path), "the given recording"


def _read_bytes(source):
    data = source.read() if hasattr(source, "read") else source
    if isinstance(data, str):
        raise AudioError("the file was opened as text: open it in binary mode, open(path, 'rb')")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise AudioError(f"no sound in a {type(data).__name__}: give a path, the bytes of a file or a numpy array")
    return data


def _printable(path):
    """On one line, whatever characters a name is made of."""
    return str(path) if str(path).isprintable() else repr(str(path))


def _check_file(path):
    name = _printable(path)
    try:
        is_other = path.exists() and not path.is_file()
        if not is_other:
            path.open("rb").close()
    except FileNotFoundError as error:
        raise AudioError(f"no such file: {name}; check its name and folder (now in {Path.cwd()})") from error
    except PermissionError as error:
        raise AudioError(f"{name} may not be read by this user: change its permissions") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error  # an OSError's text would repeat the path
        raise AudioError(f"{str(path)!r} cannot be opened ({reason}): check the path") from error
    if is_other:
        raise AudioError(f"{name} is a folder or a device: give a sound file")


class _StraightThrough(soundfile.SoundFile):
    """Read without the seek after each block that soundfile makes, which fails in a FLAC of unknown length."""

    def seekable(self):
        return False


@contextmanager
def open_file(path, name):
    """Yield a `SoundStream` of a file, by soundfile or what else can read it; `name` stands in messages."""
    if Path(path).stat().st_size == 0:
        raise AudioError(f"{name} is empty (0 bytes): record or copy it again")
    if path.lower().endswith(".raw"):
        raise AudioError(f"{name} has no header: read it with numpy.fromfile and give the array and its rate")
    file: Any = os.fsencode(path) if os.name == "posix" else path  # no name need be UTF-8
    try:
        sound = _StraightThrough(file)
    except soundfile.LibsndfileError:
        with _open_with_audioread(path, name) as stream:
            yield stream
        return
    with sound:
        if sound.format == "RAW":  # libsndfile took the ending of the name for a headerless format
            raise AudioError(NOT_SOUND.format(name=name))
        rate = check_sample_rate(sound.samplerate, name)
        expected = sound.frames / rate if sound.frames < UNKNOWN_LENGTH else None
        declared = _declared_seconds(sound)
        yield SoundStream(rate, sound.channels, _soundfile_blocks(sound, name), expected, declared, name)


def _declared_seconds(sound):
    """Length that the header states, where libsndfile found the file to end before it; else None."""
    found = CUT_OFF.search(sound.extra_info)
    declared_bytes, present_bytes = map(int, found.groups()) if found else (0, 0)
    if not present_bytes < declared_bytes < OPEN_END_BYTES:
        return None
    return sound.frames / sound.samplerate * declared_bytes / max(1, present_bytes)


def _soundfile_blocks(sound, name):
    """Read block by block, so that a header that declares too much cannot claim the memory for it."""
    n_samples = 0
    try:
        while len(block := sound.read(BLOCK_SAMPLES // sound.channels, dtype="float32", always_2d=True)):
            yield mix_to_mono(block, name)  # (n_samples, n_channels) -> (n_samples,)
            n_samples += len(block)
    except soundfile.LibsndfileError as error:
        raise AudioError(_describe_damage(name, n_samples, sound)) from error
    if n_samples < sound.frames < UNKNOWN_LENGTH:
        raise AudioError(_describe_damage(name, n_samples, sound))


def _describe_damage(name, n_samples, sound):
    seconds, declared = n_samples / sound.samplerate, sound.frames / sound.samplerate
    return f"{name} is damaged or cut off after {seconds:.2f} of {declared:.2f} s: copy or export it again"


@contextmanager
def _open_with_audioread(path, name):
    """Open what soundfile cannot, by the back ends that know other formats."""
    import audioread
    from audioread.rawread import RawAudioFile  # wav, aiff and au only: soundfile has refused those by now

    backends = [backend for backend in audioread.available_backends() if backend is not RawAudioFile]
    try:
        with audioread.audio_open(path, backends) as sound:
            if not sound.samplerate or not sound.channels:  # what ffmpeg says of bytes that only begin like sound
                raise AudioError(NOT_SOUND.format(name=name))
            rate = check_sample_rate(sound.samplerate, name)
            yield SoundStream(rate, sound.channels, _audioread_blocks(sound, name), name=name)
    except audioread.DecodeError as error:
        raise AudioError(NOT_SOUND.format(name=name)) from error


def _audioread_blocks(sound, name):
    """Whole sample frames of 16 bits, wherever the back end cuts its buffers."""
    rest, frame_bytes = b"", 2 * sound.channels
    for buffer in sound:
        data = rest + buffer
        whole = len(data) - len(data) % frame_bytes
        rest = data[whole:]
        samples = np.frombuffer(data[:whole], "<i2").reshape(-1, sound.channels)
        yield mix_to_mono(scale_integers(samples), name)
