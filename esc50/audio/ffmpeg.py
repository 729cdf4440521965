"""Open and decode sound files with FFmpeg's libraries, as bundled in PyAV."""

import os
from collections import deque
from contextlib import suppress
from typing import Any

import av
import numpy as np
from av.audio.plane import AudioPlane
from av.codec.context import Flags2
from av.error import ArgumentError, FFmpegError
from av.stream import Discard

from esc50.audio.wav import BIG_ENDIAN, mend_bits
from esc50.config import AudioError

# Formats that FFmpeg may open. Excluded: formats that reference other files or URLs (hls, dash, concat, sdp ...),
# images, text, and formats without a header (s16le, alaw, gsm ...).
CONTAINERS = """
    aac ac3 aiff amr ape asf au avi avr caf dsf dss dts dtshd eac3 epaf flac flv hcom iff ircam loas matroska mlp
    mov mp3 mpc mpc8 mpeg mpegts mxf nistsphere nut ogg oma pvf qcp qoa rm shn sox tak truehd tta voc vqf w64 wav
    wsd wtv wv wve xwma
""".split()  # noqa: SIM905  (a list would be one name a line)
MOST_PROBED = 100  # packets, for MPEG-TS that does not name its codecs
NOT_AMONG_THEM = ArgumentError  # raised for a format that FFmpeg knows but `CONTAINERS` excludes
MISSING_SECONDS = 0.1  # shorter gaps and shorter missing ends are not reported
MAX_BAD_START = 1_000  # packets that may fail before the first that decodes
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"Xing", b"Info")  # tags between concatenated MP3s: neither sound nor damage
LOSSLESS_FLOATS = ("pcm_", "wavpack")  # codecs whose float samples may have any scale
LOSSY_PEAK = 1.5  # limit for other codecs: sound at full scale overshoots less
OGG_START = b"OggS\0\2"  # first page of a logical bitstream (RFC 3533)
FLAC_START = b"fLaC\0\0\0\x22"  # and its first metadata block, of 34 bytes (RFC 9639)
LINK_STARTS = {"ogg": OGG_START, "flac": FLAC_START}
HEADERS = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd")  # raw samples do not begin so
PIPE_BYTES = 2_048  # read at once: 0.06 s at 16 kHz
RECENT_READS = 512  # kept: 1 MB, more than the headers of a link of chained Ogg
PIPE_OPTIONS = {"probesize": "4096", "analyzeduration": "0", "ignore_length": "1"}  # start at once, read to the end
SAMPLE_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


class NamelessFile:
    """A binary file without its name, which decoders use as a hint; start, end, size and first bytes can be set."""

    def __init__(self, file, *, start=0, end=None, claimed_bytes=None, head=b""):
        self.file, self.start, self.head = file, start, head
        self.n_bytes = (file.seek(0, os.SEEK_END) if end is None else end) - start
        self.claimed_bytes = self.n_bytes if claimed_bytes is None else claimed_bytes
        file.seek(start)

    def read(self, n_bytes):
        """Read the next bytes; `head` replaces the first bytes of the file."""
        place = self.tell()
        data = self.file.read(min(n_bytes, self.n_bytes - place))
        head = self.head[place : place + len(data)]
        return head + data[len(head) :] if head else data

    def tell(self):
        """Return the position of the next byte."""
        return self.file.tell() - self.start

    def seek(self, offset, whence=os.SEEK_SET):
        """Move to a byte relative to the start, the position or the claimed end; a negative result means unknown."""
        place = offset + (0, self.tell(), self.claimed_bytes)[whence]
        self.file.seek(self.start + min(max(0, place), self.n_bytes))
        return place


def open_container(file, *, names=CONTAINERS, n_probed=1):
    """Open a `NamelessFile` in one of the given formats; FFmpeg may open no other file and no URL.

    `n_probed` packets are searched for the codec of a track; more where no audio track is found so.
    """
    options = {"format_whitelist": ",".join(names), "protocol_whitelist": "none", "max_probe_packets": str(n_probed)}
    container = av.open(file, metadata_errors="replace", container_options=options)
    if container.streams.audio or n_probed == MOST_PROBED:
        return container
    container.close()
    file.seek(0)
    return open_container(file, names=names, n_probed=MOST_PROBED)


def id3_bytes(data):
    """Return the length of the ID3v2 tag that data begin with, in bytes; 0 if there is none."""
    if len(data) < 10 or not data.startswith(b"ID3"):
        return 0
    return 10 + sum(byte << 7 * power for power, byte in enumerate(data[9:5:-1]))


def is_container(file, name):
    """Return whether a file that FFmpeg cannot open nevertheless has this container format."""
    try:
        open_container(NamelessFile(file), names=[other for other in CONTAINERS if other != name]).close()
    except NOT_AMONG_THEM:
        return True
    except FFmpegError:
        pass
    return False


def length_of(container, track):
    """Return the length of a track in seconds, stated or estimated by FFmpeg; None if there is neither."""
    if track.duration is not None:
        return float(track.duration * track.time_base)
    is_alone = sum(stream.type in ("audio", "video") for stream in container.streams) == 1
    if container.duration is None or not is_alone:
        return None
    return (container.duration - max(0, container.start_time or 0)) / av.time_base


def decode_track(container, track, findings, *, start=0):
    """Decode a track packet by packet; yield the sample rate and samples (n_samples, n_channels).

    Packets that fail to decode and gaps in time are skipped and counted in `findings`.
    """
    if container.format.name == "caf":  # the last frame already has its true length: FFmpeg would trim it twice
        track.codec_context.flags2 |= Flags2.skip_manual
    has_times = container.format.name != "avi"  # its times are computed, for some codecs falsely
    n_failed, end = 0, None  # failures in a row, end time of the last frame
    before, tag_end = b"", 0  # bytes of the last packet, position where the last tag ends
    for packet in _demux(container, track):
        frames = _decode_packet(packet, track)
        if frames is None and packet is not None:
            tag_end = max(tag_end, _find_tag_end(before, packet))
            if (packet.pos or 0) < tag_end:
                frames, end = [], None
        before = bytes(packet or b"")
        if packet is not None and packet.pos is not None:
            findings.position = start + packet.pos
        n_failed += frames is None
        if n_failed > MAX_BAD_START and not findings.seconds:
            return
        if frames:
            begin = end if frames[0].time is None else frames[0].time
            _count_damage(n_failed, begin - end if has_times and end is not None else 0.0, findings)
            n_failed, end = 0, None if begin is None else begin + sum(map(_seconds, frames))
            yield from _read_frames(frames, track, findings)
    findings.ends_in_damage = n_failed > 1  # a single failure is a truncated packet
    with suppress(FFmpegError):
        yield from _read_frames(track.codec_context.decode(None), track, findings)  # flush the decoder


def _count_damage(n_failed, gap_seconds, findings):
    gap_seconds = gap_seconds if gap_seconds > MISSING_SECONDS else 0.0
    findings.missing_seconds += gap_seconds
    n_allowed = 0 if findings.seconds else 1  # the first packet may depend on a missing one
    findings.n_damaged += gap_seconds > 0 or n_failed > n_allowed


def _demux(container, track):
    """Yield the packets of a track, and None for each place where the container is damaged."""
    for other in container.streams:
        other.discard = Discard.default if other is track else Discard.all
    is_going_on = True
    while is_going_on:
        is_going_on = False
        try:
            for packet in container.demux():
                if packet.stream is track and packet.size:  # the empty last packet would close the decoder
                    is_going_on = True
                    yield packet
            return
        except (FFmpegError, IndexError):  # PyAV raises IndexError for a stream that starts late
            if is_going_on:
                yield None


def _decode_packet(packet, track):
    """Return the frames of a packet, or None if it is damaged."""
    if packet is None:
        return None
    try:
        return track.codec_context.decode(packet)
    except FFmpegError:
        return None


def _find_tag_end(before, packet):
    """Return the position in the file where a tag ends that begins in a packet or the one before; 0 if none does."""
    data, position = before + bytes(packet), packet.pos or 0
    if not any(tag in data for tag in TAGS):
        return 0
    place = max(0, data.find(b"ID3"))  # it may hold a picture, many packets long
    return max(position + 1, position - len(before) + place + id3_bytes(data[place:]))


def _read_frames(frames, track, findings):
    has_scale = track.codec_context.name.startswith(LOSSLESS_FLOATS)
    for frame in frames:
        findings.seconds += _seconds(frame)
        findings.bytes_per_second = frame.sample_rate * frame.layout.nb_channels * frame.format.bytes
        samples = _samples(frame)
        yield frame.sample_rate, samples if has_scale or samples.dtype.kind != "f" else _limit(samples)


def _limit(samples):
    """Limit the extreme values that a lossy codec decodes from damaged data."""
    if np.abs(samples).max(initial=0) <= LOSSY_PEAK:  # False for NaN
        return samples
    return np.clip(np.nan_to_num(samples), -LOSSY_PEAK, LOSSY_PEAK)


def _seconds(frame):
    return frame.samples / max(1, frame.sample_rate)


def _samples(frame):
    """Return the samples of a frame, (n_samples, n_channels), in their own type; int64 becomes int32."""
    n_channels, dtype = frame.layout.nb_channels, SAMPLE_TYPES[frame.format.name.removesuffix("p")]
    n_planes, n_values = (n_channels, frame.samples) if frame.format.is_planar else (1, n_channels * frame.samples)
    planes = [_plane(frame, index, dtype, n_values) for index in range(n_planes)]  # `frame.planes` may be too long
    samples = np.stack(planes, axis=1) if n_planes > 1 else planes[0].reshape(-1, n_channels)
    return (samples >> 32).astype(np.int32) if dtype == "i8" else samples


def _plane(frame, index, dtype, n_values) -> Any:
    return np.frombuffer(memoryview(AudioPlane(frame, index)), dtype, n_values)


def decode_links(file, findings, *, name):
    """Decode, like `decode_track`, the links of chained Ogg that FFmpeg skips (another rate or codec), and of FLAC."""
    whole = NamelessFile(file.file, start=file.start)
    while (start := find_bytes(whole, LINK_STARTS[name], findings.position + 1)) is not None:
        end = find_bytes(whole, FLAC_START, start + 1) if name == "flac" else None
        try:
            with open_container(NamelessFile(whole, start=start, end=end)) as link:
                findings.position = start
                yield from decode_track(link, link.streams.audio[0], findings, start=start)
        except (FFmpegError, IndexError):
            findings.n_damaged += 1
            return


def find_bytes(file, pattern, start):
    """Return the position of a pattern in a file at or after `start`, or None."""
    file.seek(start)
    tail = b""
    while block := file.read(1 << 20):
        if (place := (tail + block).find(pattern)) >= 0:
            return start - len(tail) + place
        start, tail = start + len(block), block[1 - len(pattern) :]
    return None


def decode_pipe(file, *, raw_sample_rate_hz=None, raw_channels=1):
    """Decode sound from a pipe as it arrives; yield the sample rate and samples (n_samples, n_channels).

    Without `raw_sample_rate_hz` the pipe carries one of `CONTAINERS` that can be read sequentially; its stated length
    is ignored. With it the pipe carries raw 16-bit little-endian samples.
    """
    form, options = None, {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "none"} | PIPE_OPTIONS
    if raw_sample_rate_hz:
        form = "s16le"
        options = {"sample_rate": f"{raw_sample_rate_hz:g}", "ch_layout": f"{raw_channels} channels"}
    pipe = _Pipe(file)
    while True:
        try:
            yield from _decode_link(pipe, form, options)
            return
        except FFmpegError:
            if not pipe.first:
                return
            if not pipe.return_to(OGG_START):  # FFmpeg refuses links of chained Ogg that differ
                raise


def _decode_link(pipe: "_Pipe", form: str | None, options: dict[str, str]):
    container = av.open(pipe, mode="r", format=form, container_options=options, buffer_size=PIPE_BYTES)
    with container:
        for packet in container.demux(audio=0):
            if form and pipe.first.startswith(HEADERS):
                raise AudioError("standard input has a header, so it is not raw: leave out --rate and --channels")
            if pipe.first.startswith(BIG_ENDIAN):
                raise AudioError("standard input is a big-endian WAV (RIFX): pipe a WAV that begins with RIFF")
            for frame in _decode_packet(packet, packet.stream) or ():
                yield frame.sample_rate, _samples(frame)


class _Pipe:
    """A file whose `read` returns the bytes that have arrived; it waits for the full request only the first time."""

    def __init__(self, file: Any):
        self._read = getattr(file, "raw", file).read  # unbuffered: holds no lock when Python exits
        self.first = b""
        self._recent, self._again = deque(maxlen=RECENT_READS), b""

    def read(self, size):
        """Read at most `size` bytes."""
        found, self._again = self._again[:size], self._again[size:]
        found = found or self._read(size)
        if not self.first:
            while len(found) < size and (more := self._read(size - len(found))):
                found += more
            self.first = found = mend_bits(found)
        self._recent.append(found)
        return found

    def return_to(self, pattern):
        """Let `read` begin at the last place of a pattern; return whether that is another one than before."""
        recent = b"".join(self._recent)
        place = recent.rfind(pattern)
        if place > 0:
            self._again = recent[place:] + self._again
            self._recent.clear()
        return place > 0
