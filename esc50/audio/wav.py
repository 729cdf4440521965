"""What FFmpeg misreads in the headers of WAV, RF64 and Wave64 files."""

import os
import struct

STARTS = (b"RIFF", b"RF64", b"BW64", b"riff")  # the last is Wave64
BIG_ENDIAN = b"RIFX"  # FFmpeg takes its samples for little-endian
HEAD_BYTES = 1 << 14  # searched for the format
FORMAT = struct.Struct("<HHIIHHHHIH")  # tag, channels, rate, bytes per second, block align, bits, -, valid bits, -, tag
EXTENSIBLE, SAMPLE_TAGS = 0xFFFE, (1, 3)  # PCM and float: other tags have no valid bits
BITS_AT, VALID_BITS_AT = 14, 18
MAX_CHUNKS = 1_000


def mend_bits(head: bytes) -> bytes:
    """Return the first bytes of a file; those of a WAV state as valid bits all that a sample takes in the file.

    FFmpeg takes 24 valid bits of 32 for samples of three bytes, and 24 bits in blocks of four bytes, too.
    """
    start = head.find(b"fmt ") + (24 if head.startswith(b"riff") else 8)
    if not head.startswith(STARTS) or b"fmt " not in head or len(head) < start + FORMAT.size:
        return head
    tag, n_channels, _, _, block_bytes, bits, _, _, _, extended_tag = FORMAT.unpack_from(head, start)
    mended = bytearray(head)
    if 16 < bits <= 24 and block_bytes == 4 * n_channels:
        bits = 32
        struct.pack_into("<H", mended, start + BITS_AT, bits)
    if tag == EXTENSIBLE and extended_tag in SAMPLE_TAGS:
        struct.pack_into("<H", mended, start + VALID_BITS_AT, bits)
    return bytes(mended)


def is_empty(file) -> bool:
    """Return whether a RIFF file has a data chunk without bytes, and whole chunks up to its end.

    FFmpeg reads on behind such data, as it should where a recorder was stopped and sound follows.
    """
    n_bytes, place, found = file.seek(0, os.SEEK_END), 12, False
    file.seek(0)
    if file.read(4) != b"RIFF":
        return False
    for _ in range(MAX_CHUNKS):
        file.seek(place)
        name, size = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
        if not name.strip(b" _").isalnum() or (name == b"data" and size):
            break
        found = found or name == b"data"
        place += 8 + size + size % 2
    return found and place - n_bytes in (0, 1)
