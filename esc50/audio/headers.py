"""Compare the length that a file header states with the decoded length; repair headers with open sizes."""

from av.error import FFmpegError

from esc50.audio.ffmpeg import MISSING_SECONDS, NamelessFile, length_of, open_container

STATING_LENGTH = ("aiff", "au", "caf", "flac", "w64", "wav")  # containers whose header should state the length
# FFmpeg ignores a stated length that contradicts the file size, and estimates it from the size instead. To read the
# stated length, the size is hidden or, where that does not help, a false size is reported.
SHORTENED = ("asf", "avi")  # containers whose stated length FFmpeg limits by the file size
MAX_CLAIMED_BYTES, UNKNOWN_BYTES = 1 << 40, -1
CLAIMED_BYTES = {"wav": MAX_CLAIMED_BYTES, "mp3": 1}
W64_SIZE_AT = 16  # offset of the file size in a W64 header
UNFINISHED_BYTES = 0x7FFF0000  # programs that write to a pipe state this size or a larger one
PADDING_SECONDS, PADDING_SHARE = 0.25, 0.1  # a lossy codec may add this much, at most this share of the length
OPEN_32, OPEN_64 = b"\x7f\xff\xff\xff", MAX_CLAIMED_BYTES.to_bytes(8, "little")  # make FFmpeg read to the end
# Headers of interrupted recordings that FFmpeg rejects, by their first bytes: chunk, offset of a size in it, new value.
SIZE_FIELDS = {
    b".snd": [(b".snd", 8, b"\xff" * 4)],
    b"FORM": [(b"FORM", 4, OPEN_32), (b"COMM", 10, OPEN_32), (b"SSND", 4, OPEN_32)],
    b"caff": [(b"data", 4, b"\xff" * 8)],
    b"riff": [(b"riff", 16, OPEN_64), (b"data", 16, OPEN_64)],
    b"RF64": [(b"ds64", 8, 3 * OPEN_64)],
}
HEAD_BYTES, MIN_MENDED_BYTES = 1 << 14, 1 << 12  # searched for headers; shorter files contain no sound


def compare_with_header(file, container, track, findings):
    """Record in `findings` whether the header states more sound than was decoded, or no valid length."""
    name, end = container.format.name, findings.seconds + findings.missing_seconds
    is_exact = name in STATING_LENGTH and track.codec_context.name.startswith(("pcm_", "flac"))
    if not (is_exact or name in SHORTENED or _is_longer(findings.expected_seconds, end, is_exact)):
        return
    stated = _stated_seconds(file, name)
    is_open = not stated or stated * findings.bytes_per_second >= UNFINISHED_BYTES
    if is_open or _is_longer(end, stated, is_exact):
        findings.states_no_length = is_exact
    elif _is_longer(stated, end, is_exact) and (findings.missing_seconds or not findings.n_damaged):
        findings.declared_seconds = stated  # unless damage in the middle explains the difference


def compare_with_last_page(findings):
    """Count damage if less was decoded than the last page of an Ogg file states."""
    end = findings.seconds + findings.missing_seconds
    if not findings.n_damaged and _is_longer(findings.expected_seconds, end, is_exact=False):
        findings.n_damaged = 1


def _is_longer(seconds, other, is_exact):
    padding = 0 if is_exact else min(PADDING_SECONDS, PADDING_SHARE * (seconds or 0))
    return (seconds or 0) > other + max(MISSING_SECONDS, padding)


def _stated_seconds(file, name):
    """Return the length that the header of this container format states, or None."""
    try:
        with open_container(NamelessFile(file, claimed_bytes=_claim(file, name))) as container:
            track = container.streams.audio[0]
            if name == "caf":
                return track.frames / track.codec_context.sample_rate
            return length_of(container, track)
    except (FFmpegError, IndexError, ZeroDivisionError):
        return None


def _claim(file, name):
    """Return the file size to report so that FFmpeg returns the length in the header."""
    if name != "w64":
        return CLAIMED_BYTES.get(name, UNKNOWN_BYTES)
    file.seek(W64_SIZE_AT)
    return min(MAX_CLAIMED_BYTES, int.from_bytes(file.read(8), "little"))


def mend_sizes(file):
    """Return the file with open-ended sizes in its header, or None if its header is not in `SIZE_FIELDS`."""
    file.seek(0)
    head = bytearray(file.read(HEAD_BYTES))
    fields = SIZE_FIELDS.get(bytes(head[:4]), ())
    for chunk, offset, size in fields:
        if (place := head.find(chunk)) >= 0:
            head[place + offset : place + offset + len(size)] = size
    return NamelessFile(file, head=bytes(head)) if fields and len(head) > MIN_MENDED_BYTES else None
