"""Open and decode sound files with FFmpeg's libraries, which PyAV brings along."""

import os
from contextlib import suppress
from typing import Any

import av
import numpy as np
from av.audio.plane import AudioPlane
from av.codec.context import Flags2
from av.error import ArgumentError, FFmpegError
from av.stream import Discard

# FFmpeg's names of the containers that may be opened. Not among them: what names other files or addresses (hls, dash,
# concat, sdp ...), what is a picture or a text, and what has no header (s16le, alaw, gsm ...).
CONTAINERS = """
    aac ac3 aiff amr ape asf au avi avr caf dsf dss dts dtshd eac3 epaf flac flv hcom iff ircam loas matroska mlp
    mov mp3 mpc mpc8 mpeg mpegts mxf nistsphere nut ogg oma pvf qcp qoa rm shn sox tak truehd tta voc vqf w64 wav
    wsd wtv wv wve xwma
""".split()  # noqa: SIM905  (a list would be one name a line)
NOT_AMONG_THEM = ArgumentError  # FFmpeg's answer to content of another kind that it knows
MISSING_SECONDS = 0.1  # a shorter gap, or a shorter end that is missing, is not worth a word
MAX_BAD_START = 1_000  # packets in vain before the first that decodes
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"Xing", b"Info")  # between MP3s that were joined: no sound, and no damage either
LOSSLESS_FLOATS = ("pcm_", "wavpack")  # codecs whose samples may have any scale
LOSSY_PEAK = 1.5  # of the others: a sound at full scale overshoots less
OGG_START = b"OggS\0\2"  # of the first page of a link (RFC 3533)
PIPE_BYTES = 2_048  # that are read at once: 0.06 s of 16 kHz
PIPE_OPTIONS = {"probesize": "4096", "analyzeduration": "0", "ignore_length": "1"}  # to begin at once, and not to end
SAMPLE_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


class NamelessFile:
    """A binary file without its name, which decoders take for a hint, and with what is claimed of it."""

    def __init__(self, file, *, start=0, claimed_bytes=None, head=b""):
        self.file, self.start, self.head = file, start, head
        self.n_bytes = file.seek(0, os.SEEK_END) - start
        self.claimed_bytes = self.n_bytes if claimed_bytes is None else claimed_bytes
        file.seek(start)

    def read(self, n_bytes):
        """The next bytes, with `head` in place of the first of the file."""
        place = self.tell()
        data = self.file.read(n_bytes)
        head = self.head[place : place + len(data)]
        return head + data[len(head) :] if head else data

    def tell(self):
        """Where the next byte is."""
        return self.file.tell() - self.start

    def seek(self, offset, whence=os.SEEK_SET):
        """Go to a byte, counted from the start or the claimed end; a negative answer says that this is unknown."""
        place = offset + (0, self.tell(), self.claimed_bytes)[whence]
        self.file.seek(self.start + min(max(0, place), self.n_bytes))
        return place


def open_container(file, *, names=CONTAINERS):
    """Open a `NamelessFile` as one of some containers; FFmpeg opens no other file and no address."""
    options = {"format_whitelist": ",".join(names), "protocol_whitelist": "none", "max_probe_packets": "1"}
    return av.open(file, metadata_errors="replace", container_options=options)


def is_container(file, name):
    """Whether a file that FFmpeg cannot open is a container of that name all the same."""
    try:
        open_container(NamelessFile(file), names=[other for other in CONTAINERS if other != name]).close()
    except NOT_AMONG_THEM:
        return True
    except FFmpegError:
        pass
    return False


def length_of(container, track):
    """Seconds of a track that its container states, or FFmpeg's estimate; None where there is neither."""
    if track.duration is not None:
        return float(track.duration * track.time_base)
    is_alone = sum(stream.type in ("audio", "video") for stream in container.streams) == 1
    if container.duration is None or not is_alone:
        return None
    return (container.duration - max(0, container.start_time or 0)) / av.time_base


def decode_track(container, track, findings, *, start=0):
    """Yield (sample rate, samples of (n_samples, n_channels)), packet by packet, to where the packets end.

    What does not decode is skipped and counted, and so is a gap in time.
    """
    if container.format.name == "caf":  # the last frame knows its length: FFmpeg takes the padding off once more
        track.codec_context.flags2 |= Flags2.skip_manual
    n_failed, end, before = 0, None, b""  # packets since the last that decoded, when it ended, bytes of the one before
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
    findings.ends_in_damage = n_failed > 1  # a single one was cut off
    with suppress(FFmpegError):
        yield from _read_frames(track.codec_context.decode(None), track, findings)  # what the decoder has kept


def _count_damage(n_failed, gap_seconds, findings):
    gap_seconds = gap_seconds if gap_seconds > MISSING_SECONDS else 0.0
    findings.missing_seconds += gap_seconds
    n_allowed = 0 if findings.seconds else 1  # the first packet may need one that went before
    findings.n_damaged += gap_seconds > 0 or n_failed > n_allowed


def _demux(container, track):
    """Yield the packets of a track, and None where the container itself is damaged, as long as it goes on."""
    for other in container.streams:
        other.discard = Discard.default if other is track else Discard.all
    is_going_on = True
    while is_going_on:
        is_going_on = False
        try:
            for packet in container.demux():
                if packet.stream is track and packet.size:  # the last has nothing in it, and would close the decoder
                    is_going_on = True
                    yield packet
            return
        except (FFmpegError, IndexError):  # PyAV's own, where a stream comes in late
            if is_going_on:
                yield None


def _decode_packet(packet, track, before):
    """Frames of a packet; None where it is damaged."""
    if packet is None:
        return None
    try:
        return track.codec_context.decode(packet)
    except FFmpegError:
        is_tag = any(tag in before + bytes(packet) for tag in TAGS)  # the parser may have cut it
        return [] if is_tag else None


def _read_frames(frames, track, findings):
    has_scale = track.codec_context.name.startswith(LOSSLESS_FLOATS)
    for frame in frames:
        findings.seconds += _seconds(frame)
        findings.bytes_per_second = frame.sample_rate * frame.layout.nb_channels * frame.format.bytes
        samples = _samples(frame)
        yield frame.sample_rate, samples if has_scale or samples.dtype.kind != "f" else _limit(samples)


def _limit(samples):
    """Keep what a lossy codec makes of damaged data from drowning everything else; sound overshoots less."""
    if np.abs(samples).max(initial=0) <= LOSSY_PEAK:  # False for NaN
        return samples
    return np.clip(np.nan_to_num(samples), -LOSSY_PEAK, LOSSY_PEAK)


def _seconds(frame):
    return frame.samples / max(1, frame.sample_rate)


def _samples(frame):
    """Samples of a frame, (n_samples, n_channels), in its own numbers."""
    n_channels, dtype = frame.layout.nb_channels, SAMPLE_TYPES[frame.format.name.removesuffix("p")]
    n_planes, n_values = (n_channels, frame.samples) if frame.format.is_planar else (1, n_channels * frame.samples)
    planes = [
        _plane(frame, index, dtype, n_values) for index in range(n_planes)
    ]  # `frame.planes` may run past the last
    samples = np.stack(planes, axis=1) if n_planes > 1 else planes[0].reshape(-1, n_channels)
    return (samples >> 32).astype(np.int32) if dtype == "i8" else samples


def _plane(frame, index, dtype, n_values) -> Any:
    return np.frombuffer(memoryview(AudioPlane(frame, index)), dtype, n_values)


def decode_links(file, findings):
    """Yield, as `decode_track`, the links of chained Ogg at which FFmpeg stops: of another rate, layout or codec."""
    while (start := _find(file, OGG_START, findings.position + 1)) is not None:
        try:
            with open_container(NamelessFile(file, start=start)) as link:
                findings.position = start
                yield from decode_track(link, link.streams.audio[0], findings, start=start)
        except (FFmpegError, IndexError):
            findings.n_damaged += 1
            return


def _find(file, pattern, start):
    """Place of a pattern in a file, from `start` on; None where it is not there."""
    file.seek(start)
    tail = b""
    while block := file.read(1 << 20):
        if (place := (tail + block).find(pattern)) >= 0:
            return start - len(tail) + place
        start, tail = start + len(block), block[1 - len(pattern) :]
    return None


def decode_pipe(file, *, raw_sample_rate_hz=None, raw_channels=1):
    """Yield (sample rate, samples of (n_samples, n_channels)) of sound that comes in through a pipe, as it comes.

    With a header, which may state any length, in any of the containers that can be read from front to back; or, where a
    rate is given, samples alone: 16 bit, little-endian.
    """
    form, options = None, {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "none"} | PIPE_OPTIONS
    if raw_sample_rate_hz:
        form = "s16le"
        options = {"sample_rate": f"{raw_sample_rate_hz:g}", "ch_layout": f"{raw_channels} channels"}
    with av.open(_Pipe(file), mode="r", format=form, container_options=options, buffer_size=PIPE_BYTES) as container:
        for packet in container.demux(audio=0):
            for frame in _decode_packet(packet, packet.stream, b"") or ():
                yield frame.sample_rate, _samples(frame)


class _Pipe:
    """A file of which only what has come in is read, instead of waiting for as much as FFmpeg asks for."""

    def __init__(self, file: Any):
        self.read = getattr(file, "raw", file).read  # whose lock no thread holds when Python ends
