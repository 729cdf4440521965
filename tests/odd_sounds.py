"""Generate valid, damaged and malicious sound files for tests."""

import contextlib
import io
import os
import pickle
import socket
import struct
import sys
import zipfile
from functools import partial

import av
import numpy as np
import soundfile

SEED = 2015
SECONDS = 1.2
QUALITY_SCALE = 118  # FFmpeg's, of variable bit rates
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 6: "5.1", 8: "7.1"}
SECRET = "secret.wav"
SPARSE_BYTES = 3 * 10**9


def sound(rate=16_000, *, channels=1, seconds=SECONDS, amplitude=0.4):
    """A seeded mixture of tones and noise: (n_samples, n_channels)."""
    n_samples = max(1, round(seconds * rate))
    times = np.arange(n_samples) / rate
    mono = np.sin(2 * np.pi * min(440, rate / 4) * times) + np.random.default_rng(SEED).uniform(-1, 1, n_samples)
    return np.repeat((amplitude / 2 * mono)[:, np.newaxis], channels, axis=1)


def write(path, *, form="WAV", subtype=None, rate=16_000, samples=None, **options):
    samples = sound(rate, **options) if samples is None else samples
    target = path if hasattr(path, "write") else os.fsencode(path)
    soundfile.write(target, samples, rate, format=form, subtype=subtype)


def encoded(form="WAV", subtype=None, rate=16_000, **options):
    """The bytes of a sound file."""
    buffer = io.BytesIO()
    write(buffer, form=form, subtype=subtype, rate=rate, **options)
    return buffer.getvalue()


def content(data, path):
    """Write bytes, or what makes them; so that nothing is made before a test asks for it."""
    path.write_bytes(data() if callable(data) else data)


def wav(path, *, tag=1, channels=1, rate=16_000, align=None, bits=16, declared=None, riff=None, samples=None):
    """A WAV file whose header says whatever it is told (McCowan, "WAVE audio file format", field by field)."""
    data = (np.int16(32767 * sound()[:, 0]) if samples is None else samples).tobytes()
    align = channels * bits // 8 if align is None else align
    declared, riff = (len(data) if declared is None else declared), (36 + len(data) if riff is None else riff)
    fields = struct.pack("<HHIIHH", tag, channels & 0xFFFF, rate, rate * align & 0xFFFFFFFF, align, bits)
    path.write_bytes(
        b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + struct.pack("<I", 16) + fields
        + b"data" + struct.pack("<I", declared) + data
    )  # fmt: skip


def patched(path, *, form, at, value, subtype=None):
    """A valid file with some bytes overwritten."""
    data = bytearray(encoded(form, subtype))
    data[at : at + len(value)] = value
    path.write_bytes(data)


def after_marker(path, *, form, marker, offset, value, subtype=None):
    """A valid file whose bytes are overwritten behind a marker such as the name of a chunk."""
    at = encoded(form, subtype).index(marker) + len(marker) + offset
    patched(path, form=form, at=at, value=value, subtype=subtype)


def cut(path, *, keep, **options):
    """A valid file without its end: `keep` is a share of its bytes, or a number of bytes, negative from the end."""
    data = encoded(**options)
    path.write_bytes(data[: round(len(data) * keep) if isinstance(keep, float) else keep])


def fuzzed(path, *, seed, make=encoded, **options):
    """A valid file with seeded damage: bytes overwritten, a piece taken out, a piece doubled."""
    rng, data = np.random.default_rng(seed), bytearray(make(**options))
    for place in rng.integers(0, len(data) if seed % 2 else min(200, len(data)), size=rng.integers(1, 30)):
        data[place] = rng.integers(256)
    if seed % 3 == 0:
        start, length = rng.integers(len(data)), rng.integers(1, 500)
        data[start : start + length] = data[start : start + 2 * length] if seed % 2 else b""
    path.write_bytes(data)


def silence_bomb(path, *, hours, form, rate=8_000, subtype=None):
    """Hours of silence that take next to no bytes."""
    with soundfile.SoundFile(os.fsencode(path), "w", rate, 1, format=form, subtype=subtype) as file:
        minute = np.zeros(60 * rate, np.int16)
        for _ in range(round(60 * hours)):
            file.write(minute)


def sparse_wav(path, *, channels=2, rate=48_000):
    """Three gigabytes of silence that take no room on the disk."""
    wav(path, channels=channels, rate=rate, declared=SPARSE_BYTES, riff=SPARSE_BYTES + 36)
    with path.open("ab") as file:
        file.truncate(SPARSE_BYTES)


def archive(path, *, bomb=False):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("sound.wav", bytes(50_000_000) if bomb else encoded())


def picture(path):
    from matplotlib.figure import Figure

    Figure(figsize=(1, 1)).savefig(path, format="png")


def muxed(form, codec, *, rate=44_100, samples=None, quality=None, bit_rate=None, n_pictures=0, tags=None, **options):
    """Bytes of a file by FFmpeg's encoders, without sound where there is no codec; `options` are the container's."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form, container_options=options) as container:
        container.metadata.update(tags or {})
        film = container.add_stream("mpeg4", rate=25, width=32, height=32, pix_fmt="yuv420p") if n_pictures else None
        samples = sound(rate, channels=2) if samples is None else samples
        track = container.add_stream(codec, rate=rate, layout=LAYOUTS[samples.shape[1]]) if codec else None
        if quality is not None:
            track.codec_context.qscale, track.codec_context.global_quality = True, quality * QUALITY_SCALE
        if bit_rate:
            track.codec_context.bit_rate = bit_rate
        _mux(container, film, [av.VideoFrame(32, 32, "yuv420p") for _ in range(n_pictures)])
        _mux(container, track, [_frame(samples, rate)])
    return buffer.getvalue()


def _frame(samples, rate):
    packed = np.float32(samples).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, "flt", LAYOUTS[samples.shape[1]])
    frame.sample_rate = rate
    return frame


def _mux(container, stream, frames):
    for frame in [*frames, None] if stream else []:
        container.mux(stream.encode(frame))


def half(make):
    """Half of the bytes that something makes."""
    data = make()
    return data[: len(data) // 2]


def with_hole(data, n_bytes):
    """Bytes without some in the middle."""
    middle = len(data) // 2
    return data[:middle] + data[middle + n_bytes :]


def with_fields(data, *fields):
    """A sound file with modified header bytes: chunk name, offset from its start, new bytes."""
    data = bytearray(data)
    for chunk, offset, value in fields:
        place = data.index(chunk) + offset
        data[place : place + len(value)] = value
    return bytes(data)


def playlist(text, path):
    """A playlist that names an existing file, with the suffix of a sound file."""
    secret = path.with_name(SECRET)
    write(secret)
    path.write_text(text.format(secret=secret))


def link_to(target, path):
    path.symlink_to(target)


def unix_socket(path):
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)  # the path of a socket may have about 100 characters


FORMATS = {  # ending: what soundfile.write is given
    "wav": {},
    "flac": {"form": "FLAC"},
    "ogg": {"form": "OGG", "subtype": "VORBIS"},
    "opus": {"form": "OGG", "subtype": "OPUS"},
    "mp3": {"form": "MP3", "rate": 44_100},
    "aiff": {"form": "AIFF"},
    "au": {"form": "AU"},
    "caf": {"form": "CAF"},
    "w64": {"form": "W64"},
    "rf64": {"form": "RF64"},
}
OTHER_FORMS = {
    "voc": {"form": "VOC"},
    "nist": {"form": "NIST"},
    "ircam": {"form": "IRCAM"},
    "paf": {"form": "PAF"},
    "svx": {"form": "SVX"},
    "avr": {"form": "AVR"},
    "mat": {"form": "MAT5"},
    "sds": {"form": "SDS", "subtype": "PCM_16"},
    "htk": {"form": "HTK"},
    "pvf": {"form": "PVF"},
    "lossless apple.caf": {"form": "CAF", "subtype": "ALAC_24"},
    "compressed.aifc": {"form": "AIFF", "subtype": "IMA_ADPCM"},
    "extensible.wav": {"form": "WAVEX", "subtype": "PCM_24", "channels": 6},
}
DEPTHS = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM")
RATES = (1_000, 4_000, 8_000, 11_025, 22_050, 44_100, 96_000, 192_000, 384_000)
CHANNELS = (2, 3, 6, 8, 32, 255)
BARE_MP3 = {"write_xing": "0", "id3v2_version": "0"}  # as it comes through a pipe
bare_mp3 = partial(muxed, "mp3", "libmp3lame", **BARE_MP3)
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MUXED = {
    "aac.m4a": partial(muxed, "ipod", "aac"),
    "aac.mp4": partial(muxed, "mp4", "aac"),
    "aac.aac": partial(muxed, "adts", "aac"),
    "aac.3gp": partial(muxed, "3gp", "aac", rate=16_000),
    "aac.flv": partial(muxed, "flv", "aac"),
    "aac.ts": partial(muxed, "mpegts", "aac"),
    "in fragments.mp4": partial(muxed, "mp4", "aac", movflags="frag_every_frame+empty_moov"),
    "lossless.m4a": partial(muxed, "ipod", "alac"),
    "opus.webm": partial(muxed, "webm", "libopus", rate=48_000),
    "by a browser.webm": partial(muxed, "webm", "libopus", rate=48_000, live="1"),
    "opus.mka": partial(muxed, "matroska", "libopus", rate=48_000),
    "wma.wma": partial(muxed, "asf", "wmav2", bit_rate=64_000),
    "dolby.ac3": partial(muxed, "ac3", "ac3"),
    "dolby.eac3": partial(muxed, "eac3", "eac3"),
    "layer two.mp2": partial(muxed, "mp2", "mp2"),
    "layer two.mpg": partial(muxed, "mpeg", "mp2"),
    "telephone.amr": partial(muxed, "amr", "libopencore_amrnb", rate=8_000, samples=sound(8_000)),
    "real.rm": partial(muxed, "rm", "real_144", rate=8_000, samples=sound(8_000)),
    "wavpack.wv": partial(muxed, "wv", "wavpack"),
    "true audio.tta": partial(muxed, "tta", "tta"),
    "lossless.caf": partial(muxed, "caf", "alac"),
    "64 bit.wav": partial(muxed, "wav", "pcm_f64le"),
    "64 bit integers.wav": partial(muxed, "wav", "pcm_s64le"),
    **{f"mp3 in.{form}": partial(muxed, form, "libmp3lame") for form in ("wav", "matroska", "avi", "mov", "nut")},
    **{f"{n} channels.m4a": partial(muxed, "ipod", "aac", samples=sound(44_100, channels=n)) for n in (1, 3, 4, 6, 8)},
    "8 channels.opus": partial(muxed, "ogg", "libopus", rate=48_000, samples=sound(48_000, channels=8)),
    "film.mp4": partial(muxed, "mp4", "aac", n_pictures=5),
    "film.mkv": partial(muxed, "matroska", "libmp3lame", n_pictures=5),
    **{f"bare {rate} Hz.mp3": partial(bare_mp3, rate=rate) for rate in MP3_RATES},
    **{f"bare, quality {quality}.mp3": partial(bare_mp3, quality=quality) for quality in (0, 4, 9)},
    "bare, 8 kbit.mp3": partial(bare_mp3, rate=8_000, bit_rate=8_000),
    "bare, 32 kbit.mp3": partial(bare_mp3, bit_rate=32_000),
    "bare, 320 kbit.mp3": partial(bare_mp3, rate=48_000, bit_rate=320_000),
}
CUT_ANYWHERE = ("wav", "flac", "mp3", "aiff", "au", "caf", "w64", "rf64")  # any half has some sound
HEADERLESS = ("raw", "pcm", "al", "ul", "ub", "sb", "uw", "sw", "s16", "f32", "sln", "gsm", "vox", "g722")
TAGS = {"title": "Audio: 48000 Hz, 4 channels", "artist": "Duration: N/A", "comment": "No such file or directory"}
ID3_V1 = b"TAG" + bytes(range(65, 90)) * 5
LONG_NAME = "ä" * 120 + ".wav"  # 244 bytes: a file's name may have 255
NAMES = {
    "space and (brackets) [1] {2}.wav",
    "-starts with a dash.wav",
    "two\nlines.wav",
    "tab\tand bell\a.wav",
    "quotes ' \" `.wav",
    "<b>bold & so.wav",
    "percent %s %n {0}.wav",
    "emoji 🐕 and 漢字 and ‮right to left.wav",
    "no ending",
    ".hidden.wav",
    "many.dots...wav",
    "UPPER.WAV",
    "12:30.wav",
    "http:example.wav",
    "file:example.wav",
    "concat:a.wav|b.wav",
    "%03d.wav",
    "Audio: 48000 Hz, 4 channels.wav",
    "No such file or directory.wav",
    "Invalid data found when processing input",
    "example:none.wav",
    "$(touch pwned);.wav",
    LONG_NAME,
}
BYTE_NAME = b"not utf-8 \xff\xfe.wav".decode("utf-8", "surrogateescape")
HTML = b"<!DOCTYPE html><html><head><title>404</title></head><body>Not found</body></html>"
PCM = np.int16(32767 * sound()[:, 0])
TEXT = b"alarm clock, bread, milk, eggs\n" * 200
PLAYLISTS = {  # each names other files, or a place in the network
    "hls.wav": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n",
    "m3u.mp3": "#EXTM3U\n#EXTINF:2,secret\n{secret}\n",
    "pls.mp3": "[playlist]\nFile1={secret}\nNumberOfEntries=1\n",
    "concat.wav": "ffconcat version 1.0\nfile '{secret}'\n",
    "concat without a header.mp3": "file '{secret}'\n",
    "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    'mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{secret}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "session.wav": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "asx.wma": '<ASX version="3.0"><Entry><Ref href="{secret}"/></Entry></ASX>',
    "real.rm": "{secret}\n",
    "metadata.mp3": ";FFMETADATA1\ntitle={secret}\n",
    "subtitles.mp3": "1\n00:00:01,000 --> 00:00:02,000\n{secret}\n",
    "lyrics.mp3": "[00:12.00]{secret}\n",
    "drawing.wav": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{secret}"/></svg>',
}
AS_FLOAT = {"tag": 3, "bits": 32, "align": 4}


def with_values(*values):
    samples = np.float32(sound()[:, 0])
    samples[1_000 : 1_000 + len(values)] = values
    return samples


ACCEPTED = {
    **{f"plain.{ending}": partial(write, **options) for ending, options in FORMATS.items()},
    **{f"other.{ending}": partial(write, **options) for ending, options in OTHER_FORMS.items()},
    **{f"{subtype.lower()}.wav": partial(write, subtype=subtype) for subtype in DEPTHS},
    **{f"{rate} Hz.wav": partial(write, rate=rate) for rate in RATES},
    **{f"{channels} channels.wav": partial(write, channels=channels) for channels in CHANNELS},
    **{name: write for name in sorted(NAMES)},
    "24 bit 96 kHz 6 channels.flac": partial(write, form="FLAC", subtype="PCM_24", rate=96_000, channels=6),
    "gsm.wav": partial(write, subtype="GSM610", rate=8_000),
    "one sample.wav": partial(write, samples=np.array([0.5])),
    "a click of 0.1 s.wav": partial(write, seconds=0.1),
    "silence.wav": partial(write, samples=np.zeros(20_000)),
    "silence at 384 kHz.flac": partial(write, form="FLAC", rate=384_000, samples=np.zeros(400_000)),
    "constant.wav": partial(write, samples=np.full(20_000, 0.9)),
    "clipped.wav": partial(write, samples=np.sign(sound())),
    "overshoot.wav": partial(write, subtype="FLOAT", amplitude=1.6),
    "denormal floats.wav": partial(wav, **AS_FLOAT, samples=np.full(20_000, 1e-42, np.float32)),
    "flac named.wav": partial(write, form="FLAC"),
    "wav named.mp3": write,
    "wav named.txt": write,
    "ogg named.flac": partial(write, form="OGG"),
    "declares 2 GB.wav": partial(wav, declared=0x7FFFFFFF),
    "written into a pipe.wav": partial(wav, declared=0xFFFFFFFF, riff=0xFFFFFFFF),
    "declares half.wav": partial(wav, declared=len(PCM)),
    "riff size zero.wav": partial(wav, riff=0),
    "garbage behind.wav": partial(content, lambda: encoded() + bytes(range(256)) * 40),
    "garbage before.mp3": partial(content, lambda: bytes(1_000) + encoded("MP3", rate=44_100)),
    "a tag of 100 kB.mp3": partial(
        content, lambda: b"ID3\x03\x00\x00" + bytes([0, 6, 13, 32]) + bytes(100_000) + encoded("MP3", rate=44_100)
    ),
    "odd chunk first.wav": partial(
        content, lambda: (data := encoded())[:12] + b"odd " + struct.pack("<I", 3) + b"abc\0" + data[12:]
    ),
    "two sounds.ogg": partial(content, lambda: 2 * encoded("OGG")),
    "two rates.ogg": partial(content, lambda: encoded("OGG", rate=44_100, channels=2) + encoded("OGG", rate=22_050)),
    "vorbis and opus.ogg": partial(content, lambda: encoded("OGG") + encoded("OGG", "OPUS")),
    "two sounds.mp3": partial(content, lambda: 2 * muxed("mp3", "libmp3lame", tags=TAGS)),
    "two bare sounds.mp3": partial(content, lambda: 2 * bare_mp3()),
    "two rates.mp3": partial(content, lambda: bare_mp3(rate=22_050) + muxed("mp3", "libmp3lame")),
    "two sounds.aac": partial(content, lambda: 2 * muxed("adts", "aac")),
    "two sounds.flac": partial(content, lambda: 2 * encoded("FLAC")),
    **{f"muxed {name}": partial(content, make) for name, make in MUXED.items()},
    "tagged.m4a": partial(content, lambda: muxed("ipod", "aac", tags=TAGS)),
    "tagged.mp3": partial(content, lambda: muxed("mp3", "libmp3lame", tags=TAGS) + ID3_V1),
    "tags of unknown letters.mp3": partial(
        content, lambda: muxed("mp3", "libmp3lame", tags={"title": "ab"}).replace(b"ab", b"\xff\xfe")
    ),
    "tags of unknown letters.wav": partial(
        content, lambda: muxed("wav", "pcm_s16le", tags={"title": "abab"}).replace(b"abab", b"\xff\xfe\xf0\x80")
    ),
    "12:30.m4a": partial(content, lambda: muxed("ipod", "aac")),
    "half in fragments.mp4": partial(content, partial(half, MUXED["in fragments.mp4"])),
    "half.wma": partial(content, partial(half, MUXED["wma.wma"])),
    "half.aac": partial(content, partial(half, MUXED["aac.aac"])),
    "half.ts": partial(content, partial(half, MUXED["aac.ts"])),
    "half of 4 s.webm": partial(
        content, partial(half, partial(muxed, "webm", "libopus", rate=48_000, samples=sound(48_000, seconds=4)))
    ),
    "half of 4 s.ogg": partial(cut, keep=0.5, form="OGG", seconds=4),
    "half of 4 s.opus": partial(cut, keep=0.5, form="OGG", subtype="OPUS", seconds=4),
    "hole.mp3": partial(content, lambda: with_hole(encoded("MP3", rate=44_100, seconds=3), 4_000)),
    "hole.flac": partial(content, lambda: with_hole(encoded("FLAC", seconds=3), 9_000)),
    "hole.ogg": partial(content, lambda: with_hole(encoded("OGG", seconds=6), 9_000)),
    "hole.aac": partial(content, lambda: with_hole(MUXED["aac.aac"](), 2_000)),
    "states nothing.wav": partial(wav, declared=0, riff=0),
    "states nothing.aiff": partial(
        content,
        lambda: with_fields(
            encoded("AIFF"), (b"FORM", 4, bytes(4)), (b"COMM", 10, bytes(4)), (b"SSND", 4, bytes(3) + b"\x08")
        ),
    ),
    "states nothing.au": partial(content, lambda: with_fields(encoded("AU"), (b".snd", 8, bytes(4)))),
    "states nothing.caf": partial(content, lambda: with_fields(encoded("CAF"), (b"data", 4, b"\xff" * 8))),
    "states nothing.w64": partial(
        content, lambda: with_fields(encoded("W64"), (b"riff", 16, bytes(8)), (b"data", 16, bytes(8)))
    ),
    "states nothing.rf64": partial(content, lambda: with_fields(encoded("RF64"), (b"ds64", 8, bytes(24)))),
    "states nothing.flac": partial(content, lambda: encoded("FLAC")[:22] + bytes(4) + encoded("FLAC")[26:]),
    "states the unknown.au": partial(content, lambda: with_fields(encoded("AU"), (b".snd", 8, b"\xff" * 4))),
    "opposite phase.wav": partial(write, samples=sound() * [1, -1]),
    "opposite phase.mp3": partial(content, lambda: bare_mp3(samples=sound(44_100) * [1, -1])),
    "beyond full scale.wav": partial(write, subtype="FLOAT", amplitude=8),
    "scale of 16 bits.wav": partial(wav, **AS_FLOAT, samples=np.float32(32767 * sound()[:, 0])),
    "wav named.raw": write,
    "mp3 named.sln": partial(content, lambda: muxed("mp3", "libmp3lame")),
    "ogg named.al": partial(write, form="OGG"),
}
ACCEPTED |= {f"half.{ending}": partial(cut, keep=0.5, **FORMATS[ending]) for ending in CUT_ANYWHERE}
ACCEPTED |= {f"one byte less.{ending}": partial(cut, keep=-1, **FORMATS[ending]) for ending in CUT_ANYWHERE}

REFUSED = {
    "empty.wav": partial(content, b""),
    "empty.mp3": partial(content, b""),
    "no samples.wav": partial(write, samples=np.zeros(0)),
    "no samples.flac": partial(write, form="FLAC", samples=np.zeros(0)),
    "one sample at 384 kHz.wav": partial(write, rate=384_000, samples=np.array([0.5])),
    "one byte.wav": partial(content, b"R"),
    "text.wav": partial(content, b"milk, eggs, bread\n"),
    "two\nlines of text.wav": partial(content, b"milk\neggs\n"),
    "page.mp3": partial(content, HTML),
    "page.ogg": partial(content, HTML),
    "table.flac": partial(content, b"file,class\na.wav,dog\n"),
    "json.wav": partial(content, b'{"RIFF": "WAVE"}'),
    "zeros.wav": partial(content, bytes(100_000)),
    "ones.mp3": partial(content, b"\xff" * 5_000),
    "pickle.wav": partial(content, lambda: pickle.dumps({"RIFF": [1, 2, 3]})),
    "numpy.wav": partial(content, lambda: b"\x93NUMPY\x01\x00" + bytes(1_000)),
    "document.aiff": partial(content, b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
    "program.wav": partial(content, b"\x7fELF\x02\x01\x01" + bytes(500)),
    "picture.wav": picture,
    "archive.wav": archive,
    "zip bomb.mp3": partial(archive, bomb=True),
    **{f"headerless.{ending}": partial(content, PCM.tobytes()) for ending in HEADERLESS},
    **{f"notes.{ending}": partial(content, TEXT) for ending in HEADERLESS},
    **{f"playlist {name}": partial(playlist, text) for name, text in PLAYLISTS.items()},
    "video without sound.mp4": partial(content, lambda: muxed("mp4", None, n_pictures=5)),
    "video without sound.m4a": partial(content, lambda: muxed("ipod", None, n_pictures=5)),
    "video without sound.webm": partial(content, lambda: muxed("matroska", None, n_pictures=5)),
    "not finished.m4a": partial(content, partial(half, MUXED["aac.m4a"])),
    "random.mp3": partial(content, lambda: np.random.default_rng(SEED).bytes(100_000)),
    "riff without wave.wav": partial(content, b"RIFF\x24\x00\x00\x00AVI " + bytes(40)),
    "no format chunk.wav": partial(content, lambda: (data := encoded())[:12] + data[36:]),
    "no data chunk.wav": partial(content, lambda: encoded()[:36]),
    "format tag unknown.wav": partial(wav, tag=0x7777),
    "zero channels.wav": partial(wav, channels=0, align=2),
    "65535 channels.wav": partial(wav, channels=0xFFFF, align=0xFFFE),
    "sample rate zero.wav": partial(wav, rate=0),
    "sample rate of 4 Hz.wav": partial(wav, rate=4),
    "sample rate of 4 GHz.wav": partial(wav, rate=0xFFFFFFFF),
    "sample rate of 2 GHz.wav": partial(wav, rate=0x7FFFFFFF),
    "nan.wav": partial(wav, **AS_FLOAT, samples=with_values(np.nan)),
    "infinity.wav": partial(wav, **AS_FLOAT, samples=with_values(np.inf)),
    "all nan.wav": partial(wav, **AS_FLOAT, samples=np.full(20_000, np.nan, np.float32)),
    "giant values.wav": partial(wav, **AS_FLOAT, samples=with_values(3e38, -3e38)),
    "giant doubles.wav": partial(wav, tag=3, bits=64, align=8, samples=np.full(9_000, 1e300)),
    "three hours of silence.flac": partial(silence_bomb, hours=3, form="FLAC"),
    "twelve minutes of silence.ogg": partial(silence_bomb, hours=0.2, form="OGG", rate=8_000),
}

EITHER = {  # damage that some sound may survive
    "block align zero.wav": partial(wav, align=0),
    "block align wrong.wav": partial(wav, align=7),
    "bits zero.wav": partial(wav, bits=0, align=2),
    "bits 17.wav": partial(wav, bits=17, align=3),
    "bits 999.wav": partial(wav, bits=999, align=2),
    "wrong channels.wav": partial(wav, channels=7),
    "1024 channels.wav": partial(wav, channels=1_024),
    "declares nothing.wav": partial(wav, declared=0),
    "riff size negative.wav": partial(wav, riff=0x80000000),
    "format chunk of 4 GB.wav": partial(patched, form="WAV", at=16, value=b"\xff" * 4),
    "declares 2 to the 36.flac": partial(patched, form="FLAC", at=21, value=b"\xff" * 5),
    "rate zero.flac": partial(patched, form="FLAC", at=18, value=b"\0\0"),
    "declares 4 billion.aiff": partial(after_marker, form="AIFF", marker=b"COMM", offset=6, value=b"\xff" * 4),
    "sound chunk of 4 GB.aiff": partial(after_marker, form="AIFF", marker=b"SSND", offset=0, value=b"\xff" * 4),
    "rate not a number.aiff": partial(after_marker, form="AIFF", marker=b"COMM", offset=12, value=b"\xff" * 10),
    "declares 4 GB.au": partial(patched, form="AU", at=8, value=b"\xff\xff\xff\xfe"),
    "data before the header.au": partial(patched, form="AU", at=4, value=b"\xff" * 4),
    "declares minus 2.caf": partial(after_marker, form="CAF", marker=b"data", offset=0, value=b"\xff" * 7 + b"\xfe"),
    "rate infinite.caf": partial(after_marker, form="CAF", marker=b"desc", offset=8, value=struct.pack(">d", np.inf)),
    "negative size.w64": partial(patched, form="W64", at=16, value=b"\xff" * 8),
    "declares 2 to the 63.rf64": partial(after_marker, form="RF64", marker=b"ds64", offset=12, value=b"\xff" * 8),
    "last page missing.ogg": partial(cut, keep=0.9, form="OGG"),
    **{f"header only.{ending}": partial(cut, keep=60, **options) for ending, options in FORMATS.items()},
    **{f"half.{ending}": partial(cut, keep=0.5, **FORMATS[ending]) for ending in ("ogg", "opus")},
    **{f"one byte less.{ending}": partial(cut, keep=-1, **FORMATS[ending]) for ending in ("ogg", "opus")},
    **{
        f"fuzzed {seed}.{ending}": partial(fuzzed, seed=seed, **FORMATS[ending])
        for seed, ending in enumerate(3 * ["wav", "flac", "ogg", "opus", "mp3", "aiff", "caf", "w64"])
    },
    **{f"fuzzed {name}": partial(fuzzed, seed=seed, make=make) for seed, (name, make) in enumerate(MUXED.items())},
}

NO_FILES = {  # what is no regular file, or too large to be sent: not for the app
    "folder.wav": lambda path: path.mkdir(),
    "missing.wav": lambda path: None,
    "a name that is too long " + 300 * "x" + ".wav": lambda path: None,
    "broken link.wav": partial(link_to, "nowhere.wav"),
    "loop.wav": lambda path: path.symlink_to(path.name),
    "endless device.wav": partial(link_to, "/dev/zero"),
    "empty device.wav": partial(link_to, "/dev/null"),
    "3 GB of silence.wav": sparse_wav,
}
if sys.platform == "linux":  # other systems refuse them
    ACCEPTED[BYTE_NAME] = write
    NO_FILES |= {"pipe.wav": os.mkfifo, "socket.wav": unix_socket}

FILES = {**ACCEPTED, **REFUSED, **EITHER}
EVERY = {**FILES, **NO_FILES}


def make_all(folder):
    """Make every file: name -> path."""
    paths = {name: folder / name for name in EVERY}
    for name, make in EVERY.items():
        make(paths[name])
    return paths
