"""Decode sound files with FFmpeg (through PyAV), and formats that it lacks with libsndfile."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import IO, Any

from esc50.audio.ffmpeg import (
    FLAC_START,
    LINK_STARTS,
    NOT_AMONG_THEM,
    FFmpegError,
    NamelessFile,
    decode_links,
    decode_track,
    find_bytes,
    id3_bytes,
    is_container,
    length_of,
    open_container,
)
from esc50.audio.headers import compare_with_header, compare_with_last_page, mend_sizes
from esc50.audio.streams import BLOCK_SAMPLES, Findings, SoundStream, check_sample_rate
from esc50.audio.wav import BIG_ENDIAN, HEAD_BYTES, STARTS, is_empty, mend_bits
from esc50.config import AudioError

HEADERLESS = (  # file name endings
    *(".raw", ".pcm", ".al", ".alaw", ".la", ".ul", ".ulaw", ".mulaw", ".lu", ".sb", ".s8", ".ub", ".u8", ".sw"),
    *(".s16", ".s16le", ".s16be", ".uw", ".u16", ".s24", ".s24le", ".u24", ".sl", ".s32", ".s32le", ".u32", ".f32"),
    *(".f32le", ".f64", ".f64le", ".sln", ".gsm", ".vox", ".lpc", ".cvs", ".vms", ".g722", ".g723", ".g726", ".g729"),
)
MPEG_STARTS = (b"\xff", b"ID3")  # not given to libsndfile, which prints errors to the terminal
KNOWN = "give wav, flac, ogg, mp3, m4a, webm or aiff"
NOT_SOUND = "{name} is not sound, or damaged: " + KNOWN
OTHER_CONTENT = "{name} is not a sound file (perhaps a playlist, picture or text), or damaged: " + KNOWN
NO_HEADER = "{name} has no header: read it with numpy.fromfile, and give the array and its sample rate"
NO_INDEX = "{name} has no index, so it was not finished or not fully copied: record or copy it again"
NO_TRACK = "{name} has no audio track ({kind} with {content}): give a file with sound"
NO_DECODER = "{name} uses a codec that cannot be decoded: export it as wav, flac or mp3"
DAMAGED = "{name} is damaged and nothing in it can be decoded: copy or export it again"
NO_SAMPLES = "{name} holds no samples (0 s), or is cut off: record or copy it again"


@contextmanager
def open_source(source: Any) -> Iterator[tuple[IO[bytes], str]]:
    """Yield a binary file for a path or bytes, and its name for messages."""
    if not isinstance(source, str | os.PathLike):
        yield BytesIO(_read_bytes(source)), "the given recording"
        return
    if "://" in os.fspath(source) and not Path(source).exists():
        raise AudioError(f"{printable(source)} is an address: download the file, and give its name")
    _check_file(Path(source))
    with Path(source).open("rb") as file:
        yield file, printable(source)


def _read_bytes(source):
    data = source.read() if hasattr(source, "read") else source
    if isinstance(data, str):
        raise AudioError("the file was opened as text: open it in binary mode, open(path, 'rb')")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise AudioError(f"cannot read sound from {type(data).__name__}: give a path, a file's bytes or a numpy array")
    return data


def printable(path):
    """Return a path as one printable line."""
    return str(path) if str(path).isprintable() else repr(str(path))


def _check_file(path):
    name = printable(path)
    try:
        is_other = path.exists() and not path.is_file()
        if path.is_dir():
            os.scandir(path).close()  # fails where it cannot be listed
        elif not is_other:
            path.open("rb").close()
    except FileNotFoundError as error:
        raise AudioError(f"no such file: {name}; check its name and folder (now in {Path.cwd()})") from error
    except PermissionError as error:
        raise AudioError(f"no permission to read {name}: change its permissions") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error  # an OSError's text would repeat the path
        raise AudioError(f"{str(path)!r} cannot be opened ({reason}): check the path") from error
    if is_other:
        raise AudioError(f"{name} is {'a folder' if path.is_dir() else 'a device'}: give a sound file")


@contextmanager
def open_file(file: IO[bytes], name: str) -> Iterator[SoundStream]:
    """Yield a `SoundStream` of a binary file; messages call it `name`."""
    if not file.seek(0, os.SEEK_END):
        raise AudioError(f"{name} is empty (0 bytes): record or copy it again")
    findings = Findings()
    with closing(_decode(file, name, findings)) as chunks:
        rate, samples = first = next(chunks)
        rate = check_sample_rate(rate, name)
        yield SoundStream(rate, samples.shape[1], chain([first], chunks), findings=findings, name=name)


def _decode(file, name, findings):
    """Yield the sample rate and samples (n_samples, n_channels), part by part."""
    file = _prepare(file)
    refusal = yield from _decode_by_ffmpeg(file, name, findings)
    if not findings.seconds and (mended := mend_sizes(file)):
        yield from _decode_by_ffmpeg(mended, name, findings)
        findings.states_no_length = findings.seconds > 0
    if not findings.seconds:
        yield from _decode_by_soundfile(NamelessFile(file), findings)
    if not findings.seconds:
        raise AudioError(refusal.format(name=name))


def _prepare(file):
    """Return the file as FFmpeg reads it rightly: a WAV without a tag before it, FLAC up to the next link."""
    file.seek(0)
    tag_bytes = id3_bytes(file.read(10))
    file.seek(tag_bytes)
    head = file.read(HEAD_BYTES)
    if head.startswith(FLAC_START):
        return NamelessFile(file, end=find_bytes(file, FLAC_START, tag_bytes + 1))
    return NamelessFile(file, start=tag_bytes, head=mend_bits(head)) if head.startswith(STARTS) else NamelessFile(file)


def _decode_by_ffmpeg(file, name, findings):
    """Yield what FFmpeg decodes; return the message to raise if that is nothing."""
    if file.read(4) == BIG_ENDIAN:
        return NOT_SOUND
    if is_empty(file):
        return NO_SAMPLES
    file.seek(0)
    try:
        container = open_container(file)
    except FFmpegError as error:
        return _explain(error, file, name)
    with container:
        track = _choose_track(container, name)
        if track.codec_context is None:
            return NO_DECODER
        findings.expected_seconds = length_of(container, track)
        yield from decode_track(container, track, findings)
        yield from _finish(file, container, track, findings)
    return DAMAGED if findings.n_damaged else NO_SAMPLES


def _finish(file, container, track, findings):
    """Compare the decoded length with the stated one, and yield the remaining links of chained Ogg or FLAC."""
    seconds, form = findings.seconds, container.format.name
    if seconds and form != "ogg":
        compare_with_header(file, container, track, findings)
    if form in LINK_STARTS:
        yield from decode_links(file, findings, name=form)
    if form == "ogg" and findings.seconds == seconds:
        compare_with_last_page(findings)
    findings.n_damaged += findings.ends_in_damage and findings.declared_seconds is None


def _explain(error, file, name):
    """Return the message for a file that FFmpeg cannot open."""
    if Path(name.rstrip("'")).suffix.lower() in HEADERLESS:
        return NO_HEADER
    if isinstance(error, NOT_AMONG_THEM):
        return OTHER_CONTENT
    return NO_INDEX if is_container(file, "mov") else NOT_SOUND


def _choose_track(container, name):
    """Return the first audio track that can be decoded."""
    tracks = [stream for stream in container.streams if stream.type == "audio"]
    if not tracks:
        kinds = Counter(stream.type for stream in container.streams)
        content = ", ".join(f"{n} {kind} track{'s' if n > 1 else ''}" for kind, n in kinds.items()) or "nothing in it"
        kind = container.format.long_name.replace(" / ", " or ")
        raise AudioError(NO_TRACK.format(name=name, kind=kind, content=content))
    return next((track for track in tracks if track.codec_context is not None), tracks[0])


def _decode_by_soundfile(file, findings):
    """Yield what libsndfile decodes, for formats that FFmpeg lacks (MATLAB, HTK, SDS ...)."""
    import soundfile

    is_mpeg = file.read(3).startswith(MPEG_STARTS)
    file.seek(0)
    if is_mpeg:
        return
    try:
        sound = soundfile.SoundFile(file)
    except soundfile.LibsndfileError:
        return
    with sound, suppress(soundfile.LibsndfileError):
        findings.expected_seconds = sound.frames / max(1, sound.samplerate)
        while len(block := sound.read(BLOCK_SAMPLES // sound.channels, dtype="float32", always_2d=True)):
            findings.seconds += len(block) / sound.samplerate
            yield sound.samplerate, block
