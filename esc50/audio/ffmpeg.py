"""Open and decode sound files with FFmpeg's libraries, as bundled in PyAV."""

import os
from contextlib import suppress
from typing import Any

import av
import numpy as np
from av.audio.plane import AudioPlane
from av.codec.context import Flags2
from av.error import ArgumentError, FFmpegError
from av.stream import Discard

from esc50.config import AudioError

# Formats that FFmpeg may open. Excluded: formats that reference other files or URLs (hls, dash, concat, sdp ...),
# images, text, and formats without a header (s16le, alaw, gsm ...).
CONTAINERS = """
    aac ac3 aiff amr ape asf au avi avr caf dsf dss dts dtshd eac3 epaf flac flv hcom iff ircam loas matroska mlp
    mov mp3 mpc mpc8 mpeg mpegts mxf nistsphere nut ogg oma pvf qcp qoa rm shn sox tak truehd tta voc vqf w64 wav
    wsd wtv wv wve xwma
""".split()  # noqa: SIM905  (a list would be one name a line)
NOT_AMONG_THEM = ArgumentError  # raised for a format that FFmpeg knows but `CONTAINERS` excludes
MISSING_SECONDS = 0.1  # shorter gaps and shorter missing ends are not reported
MAX_BAD_START = 1_000  # packets that may fail before the first that decodes
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"Xing", b"Info")  # tags between concatenated MP3s: neither sound nor damage
LOSSLESS_FLOATS = ("pcm_", "wavpack")  # codecs whose float samples may have any scale
LOSSY_PEAK = 1.5  # limit for other codecs: sound at full scale overshoots less
OGG_START = b"OggS\0\2"  # first page of a logical bitstream (RFC 3533)
HEADERS = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd")  # raw samples do not begin so
PIPE_BYTES = 2_048  # read at once: 0.06 s at 16 kHz
PIPE_OPTIONS = {"probesize": "4096", "analyzeduration": "0", "ignore_length": "1"}  # start at once, read to the end
SAMPLE_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


class NamelessFile:
    """A binary file without its name, which decoders use as a hint; its size and first bytes can be overridden."""

    def __init__(self, file, *, start=0, claimed_bytes=None, head=b""):
        self.file, self.start, self.head = file, start, head
        self.n_bytes = file.seek(0, os.SEEK_END) - start
        self.claimed_bytes = self.n_bytes if claimed_bytes is None else claimed_bytes
        file.seek(start)

    def read(self, n_bytes):
        """Read the next bytes; `head` replaces the first bytes of the file."""
        place = self.tell()
        data = self.file.read(n_bytes)
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


def open_container(file, *, names=CONTAINERS):
    """Open a `NamelessFile` in one of the given formats; FFmpeg may open no other file and no URL."""
    options = {"format_whitelist": ",".join(names), "protocol_whitelist": "none", "max_probe_packets": "1"}
    return av.open(file, metadata_errors="replace", container_options=options)


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
    n_failed, end, before = 0, None, b""  # failures in a row, end time of the last frame, bytes of the last packet
    for packet in _demux(container, track):
        frames = _decode_packet(packet, track, before)
        before = bytes(packet or b"")
        if packet is not None and packet.pos is not None:
            findings.position = start + packet.pos
        n_failed += frames is None
        if n_failed > MAX_BAD_START and not findings.seconds:
            return
        if frames:
            begin = end if frames[0].time is None else frames[0].time
            _count_damage(n_failed, 0.0 if end is None else begin - end, findings)
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


def _decode_packet(packet, track, before):
    """Return the frames of a packet, or None if it is damaged."""
    if packet is None:
        return None
    try:
        return track.codec_context.decode(packet)
    except FFmpegError:
        is_tag = any(tag in before + bytes(packet) for tag in TAGS)  # a tag may span two packets
        return [] if is_tag else None


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


def decode_links(file, findings):
    """Decode, like `decode_track`, the links of chained Ogg that FFmpeg skips: those with another rate or codec."""
    while (start := _find(file, OGG_START, findings.position + 1)) is not None:
        try:
            with open_container(NamelessFile(file, start=start)) as link:
                findings.position = start
                yield from decode_track(link, link.streams.audio[0], findings, start=start)
        except (FFmpegError, IndexError):
            findings.n_damaged += 1
            return


def _find(file, pattern, start):
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
    try:
        container = av.open(pipe, mode="r", format=form, container_options=options, buffer_size=PIPE_BYTES)
    except FFmpegError:
        if not pipe.first:
            return
        raise
    with container:
        for packet in container.demux(audio=0):
            if raw_sample_rate_hz and pipe.first.startswith(HEADERS):
                raise AudioError("standard input has a header, so it is not raw: leave out --rate and --channels")
            for frame in _decode_packet(packet, packet.stream, b"") or ():
                yield frame.sample_rate, _samples(frame)


class _Pipe:
    """A file whose `read` returns the bytes that have arrived, without waiting for the full request."""

    def __init__(self, file: Any):
        self._read = getattr(file, "raw", file).read  # unbuffered: holds no lock when Python exits
        self.first = b""

    def read(self, size):
        """Read at most `size` bytes."""
        found = self._read(size)
        self.first = self.first or found
        return found
