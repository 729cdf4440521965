"""What the header of a sound file says of its length, and what to do where it is wrong."""

from av.error import FFmpegError

from esc50.audio.ffmpeg import MISSING_SECONDS, NamelessFile, length_of, open_container

STATING_LENGTH = ("aiff", "au", "caf", "flac", "w64", "wav")  # containers whose header should hold it
# FFmpeg takes a length from a header only where it suits the size of the file, and else estimates it from that size.
# To learn what the header says, the size is hidden or, where that does not help, a false one is claimed.
SHORTENED = ("asf", "avi")  # those whose length FFmpeg cuts down to what the size of the file allows
MAX_CLAIMED_BYTES, UNKNOWN_BYTES = 1 << 40, -1
CLAIMED_BYTES = {"wav": MAX_CLAIMED_BYTES, "mp3": 1}
W64_SIZE_AT = 16  # its header states the size of the whole file here
UNFINISHED_BYTES = 0x7FFF0000  # so much and more is written by programs that cannot know, into a pipe for one
PADDING_SECONDS, PADDING_SHARE = 0.25, 0.1  # what a lossy codec may add to the length, and up to which share of it
OPEN_32, OPEN_64 = b"\x7f\xff\xff\xff", MAX_CLAIMED_BYTES.to_bytes(8, "little")  # sizes that FFmpeg reads up to the end
# Of headers of stopped recorders that FFmpeg gives up on, by their first bytes: a chunk, the place of a size in it, and
# what to read there.
SIZE_FIELDS = {
    b".snd": [(b".snd", 8, b"\xff" * 4)],
    b"FORM": [(b"FORM", 4, OPEN_32), (b"COMM", 10, OPEN_32), (b"SSND", 4, OPEN_32)],
    b"caff": [(b"data", 4, b"\xff" * 8)],
    b"riff": [(b"riff", 16, OPEN_64), (b"data", 16, OPEN_64)],
    b"RF64": [(b"ds64", 8, 3 * OPEN_64)],
}
HEAD_BYTES, MIN_MENDED_BYTES = 1 << 14, 1 << 12  # as far as a header reaches; a shorter file has no sound


def compare_with_header(file, container, track, findings):
    """Note where a header states a longer sound than was found, or no true length."""
    name, end = container.format.name, findings.seconds + findings.missing_seconds
    is_exact = name in STATING_LENGTH and track.codec_context.name.startswith(("pcm_", "flac"))
    if not (is_exact or name in SHORTENED or _is_longer(findings.expected_seconds, end, is_exact)):
        return
    stated = _stated_seconds(file, name)
    is_open = not stated or stated * findings.bytes_per_second >= UNFINISHED_BYTES
    if is_open or _is_longer(end, stated, is_exact):
        findings.states_no_length = is_exact
    elif _is_longer(stated, end, is_exact) and (findings.missing_seconds or not findings.n_damaged):
        findings.declared_seconds = stated  # and not, as far as can be known, for damage in the middle


def compare_with_last_page(findings):
    """Note where less was found than the last page of an Ogg file says: something is missing before it."""
    end = findings.seconds + findings.missing_seconds
    if not findings.n_damaged and _is_longer(findings.expected_seconds, end, is_exact=False):
        findings.n_damaged = 1


def _is_longer(seconds, other, is_exact):
    padding = 0 if is_exact else min(PADDING_SECONDS, PADDING_SHARE * (seconds or 0))
    return (seconds or 0) > other + max(MISSING_SECONDS, padding)


def _stated_seconds(file, name):
    """Length that the header of a container of that name states; None where it states none."""
    try:
        with open_container(NamelessFile(file, claimed_bytes=_claim(file, name))) as container:
            track = container.streams.audio[0]
            if name == "caf":
                return track.frames / track.codec_context.sample_rate
            return length_of(container, track)
    except (FFmpegError, IndexError, ZeroDivisionError):
        return None


def _claim(file, name):
    """Size to claim of a file so that FFmpeg says what its header states."""
    if name != "w64":
        return CLAIMED_BYTES.get(name, UNKNOWN_BYTES)
    file.seek(W64_SIZE_AT)
    return min(MAX_CLAIMED_BYTES, int.from_bytes(file.read(8), "little"))


def mend_sizes(file):
    """Give a file whose header has open sizes instead of those in it; None where it has none of the known headers."""
    file.seek(0)
    head = bytearray(file.read(HEAD_BYTES))
    fields = SIZE_FIELDS.get(bytes(head[:4]), ())
    for chunk, offset, size in fields:
        if (place := head.find(chunk)) >= 0:
            head[place + offset : place + offset + len(size)] = size
    return NamelessFile(file, head=bytes(head)) if fields and len(head) > MIN_MENDED_BYTES else None
