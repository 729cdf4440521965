"""Every file format is read completely, regardless of headers, names and tags, and opens no other file."""

import io
import itertools
import math
import os
import socket
import struct
import sys
import threading
from functools import partial

import numpy as np
import odd_sounds
import pytest
import soundfile
from odd_sounds import MP3_RATES, MUXED, PLAYLISTS, TAGS, bare_mp3, encoded, half, muxed, sound, with_fields, with_hole

from esc50.audio import headers, load_sound, streams
from esc50.audio.ffmpeg import decode_pipe
from esc50.audio.sound import open_sound
from esc50.classifier.describe import list_faults
from esc50.config import AudioError

SECONDS = 3.0
PADDING = 0.2  # what an encoder may add at 8 kHz, the frames of which are long


def load(data):
    """Load bytes, and check that a stream gives the same."""
    whole = load_sound(data)
    with open_sound(data) as stream:
        np.testing.assert_array_equal(np.concatenate(list(stream)), whole.waveform)
    assert vars(stream.facts).items() <= vars(whole).items()
    return whole


def notes(sound):
    return [note for note in list_faults(sound) if "Nothing above" not in note]


def stereo(rate, seconds=SECONDS):
    return sound(rate, channels=2, seconds=seconds)


# Every codec and container


@pytest.mark.parametrize("name", MUXED)
def test_every_format_is_read_completely_without_warnings(name):
    decoded = load(MUXED[name]())
    assert odd_sounds.SECONDS - 0.05 < decoded.duration_seconds < odd_sounds.SECONDS + PADDING
    assert len(decoded.waveform) == pytest.approx(16_000 * decoded.duration_seconds, abs=1)
    assert notes(decoded) == []
    assert np.std(decoded.waveform) > 0.05


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("form", ["wav", "flac", "caf"])
def test_every_number_of_channels_keeps_its_values(form, n_channels):
    samples = np.random.default_rng(0).integers(-30_000, 30_000, (20_000, n_channels)).astype(np.int16)
    decoded = load(encoded(form.upper(), "PCM_16", samples=samples))
    assert decoded.source_channels == n_channels
    np.testing.assert_array_equal(decoded.waveform, load_sound(samples, sample_rate_hz=16_000).waveform)


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "CAF", "W64", "RF64", "FLAC", "MAT5", "AVR", "NIST", "PAF"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_lossless_formats_agree_with_libsndfile(tmp_path, form, subtype):
    if not soundfile.check_format(form, subtype):
        pytest.skip(f"no {subtype} in {form}")
    path = tmp_path / "noise"
    soundfile.write(path, sound(16_000, channels=1), 16_000, format=form, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(load(path.read_bytes()).waveform, expected)


@pytest.mark.parametrize("codec", ["pcm_f64le", "pcm_s64le", "pcm_s32le", "pcm_f32le"])
def test_deep_samples_keep_the_precision_of_float32(codec):
    samples = sound(16_000)
    waveform = load(muxed("wav", codec, rate=16_000, samples=samples)).waveform
    np.testing.assert_allclose(waveform, samples[:, 0], atol=2**-24)


VALID_BITS, BITS = 18 + 8, 14 + 8  # offsets in the chunk "fmt " of WAV
PARTLY_VALID = {  # form, bits that a sample takes, valid bits; where the header states them
    "24 in 32": ("WAVEX", 32, 24, VALID_BITS),
    "20 in 32": ("WAVEX", 32, 20, VALID_BITS),
    "16 in 32": ("WAVEX", 32, 16, VALID_BITS),
    "12 in 32": ("WAVEX", 32, 12, VALID_BITS),
    "16 in 24": ("WAVEX", 24, 16, VALID_BITS),
    "8 in 16": ("WAVEX", 16, 8, VALID_BITS),
    "20 in 24": ("WAVEX", 24, 20, VALID_BITS),
    "24 in 32.rf64": ("RF64", 32, 24, VALID_BITS),
    "8 in 16.rf64": ("RF64", 16, 8, VALID_BITS),
    "24 in blocks of 4": ("WAV", 32, 24, BITS),
    "24 in blocks of 4.w64": ("W64", 32, 24, BITS + 16),
}


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("name", PARTLY_VALID)
def test_wav_samples_may_take_more_bits_than_are_valid(name, n_channels):
    form, bits, n_valid, place = PARTLY_VALID[name]
    samples = np.round(sound(channels=n_channels) * 2 ** (n_valid - 1)).astype(np.int32) << (32 - n_valid)
    whole = encoded(form, f"PCM_{bits}", samples=samples)
    data = with_fields(whole, (b"fmt ", place, struct.pack("<H", n_valid)))
    assert data != whole
    expected = samples[:, 0] / np.float32(2**31)
    np.testing.assert_array_equal(load(data).waveform, expected)
    parts = [streams.to_float32(part, "pipe") for _, part in decode_pipe(io.BytesIO(data))]
    np.testing.assert_array_equal(np.concatenate(parts)[:, 0], expected)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_big_endian_wav(subtype):
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(), 16_000, format="WAV", subtype=subtype, endian="BIG")
    expected, _ = soundfile.read(io.BytesIO(buffer.getvalue()), dtype="float32")
    assert buffer.getvalue().startswith(b"RIFX")
    np.testing.assert_array_equal(load(buffer.getvalue()).waveform, expected)
    with pytest.raises(AudioError, match="pipe a WAV that begins with RIFF"):
        list(decode_pipe(io.BytesIO(buffer.getvalue())))


def test_wav_behind_a_tag():
    np.testing.assert_array_equal(load(id3_v2(bytes(20_000)) + encoded()).waveform, load(encoded()).waveform)


@pytest.mark.parametrize("n_pictures", [0, 5])
def test_mpeg_ts_that_does_not_name_its_codec(n_pictures):
    make = partial(muxed, "mpegts", "mp2", n_pictures=n_pictures)
    np.testing.assert_array_equal(load(make(mpegts_m2ts_mode="1")).waveform, load(make()).waveform)


def test_avi_with_false_times_is_not_damaged():
    decoded = load(muxed("avi", "g722", rate=16_000, samples=sound()))
    assert (decoded.duration_seconds, notes(decoded)) == (odd_sounds.SECONDS, [])


# MP3 without a header of its own, and joined files


def id3_v2(content):
    """An ID3v2.3 tag (id3.org) of one private frame."""
    frame = b"PRIV" + struct.pack(">IH", len(content), 0) + content
    return b"ID3\3\0\0" + bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0)) + frame


@pytest.mark.slow
@pytest.mark.parametrize("rate", MP3_RATES)
@pytest.mark.parametrize("quality", [None, 0, 9])
@pytest.mark.parametrize("form", ["mp3", "wav", "matroska", "avi"])
def test_mp3_is_read_completely_at_every_rate_in_every_container(rate, quality, form):
    samples = stereo(rate) * np.linspace(0.001, 1, round(rate * SECONDS))[:, np.newaxis]  # frames that grow
    options = odd_sounds.BARE_MP3 if form == "mp3" else {}
    decoded = load(muxed(form, "libmp3lame", rate=rate, samples=samples, quality=quality, **options))
    assert SECONDS <= decoded.duration_seconds < SECONDS + PADDING + 0.1
    assert (decoded.source_sample_rate_hz, decoded.source_channels) == (rate, 2)
    assert notes(decoded) == []


@pytest.mark.parametrize(
    "make",
    [bare_mp3, partial(muxed, "mp3", "libmp3lame"), partial(muxed, "mp3", "libmp3lame", tags=TAGS)],
    ids=["bare", "with header", "with tags"],
)
@pytest.mark.parametrize("between", [b"", odd_sounds.ID3_V1], ids=["", "ID3v1"])
def test_concatenated_mp3_files_are_read_completely_and_are_not_damaged(make, between):
    part = make(samples=stereo(44_100))
    decoded = load(part + between + part + between + part)
    assert decoded.duration_seconds == pytest.approx(3 * load_sound(part).duration_seconds, abs=0.1)
    assert notes(decoded) == []


def test_concatenated_mp3_files_with_pictures_are_not_damaged():
    picture = np.random.default_rng(0).bytes(300_000)  # with many false starts of frames
    part = bare_mp3(samples=stereo(44_100))
    decoded = load(part + id3_v2(picture) + part)
    assert decoded.n_damaged == 0
    assert decoded.duration_seconds == pytest.approx(2 * load_sound(part).duration_seconds, abs=0.3)
    assert load(part + picture + part).n_damaged > 0


def aac(rate):
    return partial(muxed, "adts", "aac", rate=rate, samples=stereo(rate, 2))


def mp3(rate, channels):
    return partial(bare_mp3, rate=rate, samples=sound(rate, channels=channels, seconds=2))


def ogg(subtype, rate, channels):
    return partial(encoded, "OGG", subtype, rate=rate, channels=channels, seconds=2)


def flac(rate, channels):
    return partial(encoded, "FLAC", rate=rate, channels=channels, seconds=2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (mp3(22_050, 1), mp3(44_100, 2)),
        (mp3(44_100, 2), mp3(8_000, 1)),
        (aac(44_100), aac(16_000)),
        (ogg("VORBIS", 16_000, 1), ogg("VORBIS", 16_000, 1)),
        (ogg("VORBIS", 44_100, 2), ogg("VORBIS", 8_000, 1)),
        (ogg("VORBIS", 8_000, 1), ogg("OPUS", 16_000, 2)),
        (ogg("OPUS", 48_000, 1), ogg("OPUS", 48_000, 2)),
        (flac(16_000, 1), flac(16_000, 1)),
        (flac(44_100, 2), flac(48_000, 1)),
    ],
)
def test_concatenated_files_may_differ_in_rate_and_channels(first, second):
    one, two = load_sound(first()), load_sound(second())
    decoded = load(first() + second())
    assert decoded.duration_seconds == pytest.approx(one.duration_seconds + two.duration_seconds, abs=0.1)
    assert len(decoded.waveform) == pytest.approx(16_000 * decoded.duration_seconds, abs=3)
    assert (decoded.source_sample_rate_hz, decoded.source_channels) == (one.source_sample_rate_hz, one.source_channels)
    assert notes(decoded) == []
    middle = decoded.waveform[-24_000:-8_000]
    assert np.std(middle) == pytest.approx(np.std(two.waveform[-24_000:-8_000]), rel=0.1)


def test_chained_ogg_with_ten_links_of_three_kinds():
    links = [encoded("OGG"), encoded("OGG", rate=44_100), encoded("OGG", "OPUS")]
    expected = sum(load_sound(link).duration_seconds for link in links)
    decoded = load(b"".join(3 * links))
    assert decoded.duration_seconds == pytest.approx(3 * expected, abs=0.01)
    assert notes(decoded) == []


def test_links_of_chained_ogg_in_a_pipe_may_differ():
    links = [encoded("OGG"), encoded("OGG", rate=44_100, channels=2), encoded("OGG", "OPUS", rate=48_000)]
    pieces = list(decode_pipe(io.BytesIO(b"".join(2 * links))))
    rates = [16_000, 44_100, 48_000]
    assert [rate for rate, _ in itertools.groupby(rate for rate, _ in pieces)] == 2 * rates
    for rate in rates:
        seconds = sum(len(samples) for piece_rate, samples in pieces if piece_rate == rate) / rate
        assert seconds == pytest.approx(2 * odd_sounds.SECONDS, abs=0.01)


# Names and tags


@pytest.mark.skipif(os.name == "nt", reason="Windows refuses such names")
@pytest.mark.parametrize(
    "name", ["12:30.m4a", "http:x.m4a", "-i.m4a", "%03d.m4a", "concat:a.m4a|b.m4a", "Audio: 48000 Hz.m4a"]
)
def test_names_are_not_interpreted_as_url_pattern_or_option(tmp_path, monkeypatch, name):
    data = MUXED["aac.m4a"]()
    expected = load_sound(data)
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "No such file or directory", tmp_path / "Duration: 00:00:01"):
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        np.testing.assert_array_equal(load_sound(folder / name).waveform, expected.waveform)
    np.testing.assert_array_equal(load_sound(name).waveform, expected.waveform)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode here")
def test_a_name_of_any_bytes(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\xfe: \x01.m4a")
    path.write_bytes(MUXED["aac.m4a"]())
    assert notes(load_sound(path)) == []


@pytest.mark.parametrize(
    ("form", "codec"), [("ipod", "aac"), ("mp3", "libmp3lame"), ("matroska", "libopus"), ("wav", "pcm_s16le")]
)
def test_no_tag_changes_anything(form, codec):
    plain, tagged = (load(muxed(form, codec, rate=48_000, tags=tags)) for tags in ({}, TAGS))
    np.testing.assert_array_equal(plain.waveform, tagged.waveform)
    unknown = muxed(form, codec, rate=48_000, tags={"title": "abcd"}).replace(b"abcd", b"\xff\xfe\xf0\x80")
    np.testing.assert_array_equal(load_sound(unknown).waveform, plain.waveform)


# Files that end before their header says, or whose header says nothing true


@pytest.mark.parametrize("ending", odd_sounds.CUT_ANYWHERE)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.85])
def test_a_truncated_recording_is_read_and_reports_what_is_missing(ending, share):
    data = encoded(**odd_sounds.FORMATS[ending], seconds=5)
    whole = load(data)
    assert notes(whole) == []
    cut = load(data[: round(share * len(data))])
    assert cut.duration_seconds == pytest.approx(5 * share, abs=0.5)
    assert cut.declared_seconds == pytest.approx(5, abs=0.01)
    assert notes(cut) == [
        f"The recording is cut off: it ends after {cut.duration_seconds:.2f} s where its header says "
        f"{cut.declared_seconds:.2f} s."
    ]
    np.testing.assert_array_equal(cut.waveform[:10_000], whole.waveform[:10_000])


@pytest.mark.parametrize(
    "make",
    [
        partial(muxed, "webm", "libopus", rate=48_000, samples=stereo(48_000, 5)),
        partial(muxed, "matroska", "aac", samples=stereo(44_100, 5)),
        partial(muxed, "asf", "wmav2", bit_rate=64_000, samples=stereo(44_100, 5)),
        partial(muxed, "avi", "libmp3lame", samples=stereo(44_100, 5)),
        partial(muxed, "wav", "adpcm_ms", samples=stereo(44_100, 5)),
        partial(muxed, "wv", "wavpack", samples=stereo(44_100, 5)),
    ],
    ids=lambda make: " ".join(make.args),
)
def test_a_truncated_container_reports_it(make):
    cut = load(half(make))
    assert 1 < cut.duration_seconds < 3.5
    assert cut.declared_seconds == pytest.approx(5, abs=0.2)
    assert len(notes(cut)) == 1


@pytest.mark.parametrize("name", ["aac.aac", "dolby.ac3", "layer two.mp2", "aac.ts", "bare 44100 Hz.mp3"])
@pytest.mark.parametrize("n_bytes", [1, 50, 700])
def test_a_file_without_a_stated_length_is_not_reported_as_truncated(name, n_bytes):
    decoded = load(MUXED[name]()[:-n_bytes])
    assert (decoded.declared_seconds, decoded.states_no_length, decoded.n_damaged) == (None, False, 0)


FULL_32, FULL_64, EMPTY_W64 = b"\xff" * 4, b"\xff" * 8, b"\x18" + bytes(7)
OPEN_ENDS = {  # what stands in the header of a file: form, and the sizes
    "zero.wav": ("WAV", (b"RIFF", 4, bytes(4)), (b"data", 4, bytes(4))),
    "unknown.wav": ("WAV", (b"data", 4, FULL_32)),
    "2 GB.wav": ("WAV", (b"data", 4, b"\xff\xff\xff\x7f")),
    "nearly 2 GB.wav": ("WAV", (b"data", 4, b"\0\xf0\xff\x7f")),
    "nearly 4 GB.wav": ("WAV", (b"data", 4, b"\xd0\xff\xff\xff")),
    "zero.aiff": ("AIFF", (b"FORM", 4, bytes(4)), (b"COMM", 10, bytes(4)), (b"SSND", 4, bytes(4))),
    "eight.aiff": ("AIFF", (b"COMM", 10, bytes(4)), (b"SSND", 4, b"\0\0\0\x08")),
    "4 GB.aiff": ("AIFF", (b"COMM", 10, FULL_32), (b"SSND", 4, FULL_32)),
    "zero.au": ("AU", (b".snd", 8, bytes(4))),
    "unknown.au": ("AU", (b".snd", 8, FULL_32)),
    "nearly 4 GB.au": ("AU", (b".snd", 8, b"\xf0\0\0\0")),
    "zero.caf": ("CAF", (b"data", 4, bytes(8))),
    "unknown.caf": ("CAF", (b"data", 4, FULL_64)),
    "absurd.caf": ("CAF", (b"data", 4, b"\x7f" + b"\xff" * 7)),
    "zero.w64": ("W64", (b"riff", 16, bytes(8)), (b"data", 16, bytes(8))),
    "empty.w64": ("W64", (b"riff", 16, EMPTY_W64), (b"data", 16, EMPTY_W64)),
    "absurd.w64": ("W64", (b"riff", 16, FULL_64), (b"data", 16, FULL_64)),
    "zero.rf64": ("RF64", (b"ds64", 8, bytes(24))),
    "absurd.rf64": ("RF64", (b"ds64", 8, FULL_64 * 3)),
    "unknown.flac": ("FLAC", (b"fLaC", 22, bytes(4))),
    "absurd.flac": ("FLAC", (b"fLaC", 22, FULL_32)),
}


@pytest.mark.parametrize("name", OPEN_ENDS)
def test_an_unfinished_recording_is_read_and_its_true_length_reported(name):
    form, *fields = OPEN_ENDS[name]
    decoded = load(with_fields(encoded(form), *fields))
    assert decoded.duration_seconds == pytest.approx(odd_sounds.SECONDS, abs=0.02)
    (note,) = notes(decoded)
    assert note == "The header states no true length, as when a recorder is stopped by force: 1.20 s were found."


@pytest.mark.parametrize("form", ["AIFF", "AU", "CAF", "W64", "RF64", "WAV"])
def test_an_empty_recording_stays_empty(form):
    with pytest.raises(AudioError, match=r"holds no samples \(0 s\)|is not sound, or damaged"):
        load_sound(encoded(form, samples=np.zeros((0, 1))))


@pytest.mark.parametrize("content", [b"", b"INFOISFT\x0e\0\0\0Lavf58.45.100\0", b"<?xml?>" * 2_000])
def test_what_stands_behind_the_data_of_a_wav_is_not_heard(content):
    chunk = b"iXML" + struct.pack("<I", len(content)) + content
    for form, n_samples in (("WAV", 0), ("WAVEX", 0), ("WAV", 800)):
        data = encoded(form, samples=sound()[:n_samples]) + chunk
        data = with_fields(data, (b"RIFF", 4, struct.pack("<I", len(data) - 8)))
        if n_samples:
            assert load(data).duration_seconds == 0.05
            continue
        with pytest.raises(AudioError, match=r"holds no samples \(0 s\)"):
            load_sound(data)


def test_a_file_may_be_larger_than_the_sizes_that_are_claimed_of_it(monkeypatch):
    data = encoded(seconds=5)
    monkeypatch.setattr(headers, "UNFINISHED_BYTES", 200_000)
    assert load(data[:100_000]).declared_seconds == pytest.approx(5)


# Damage in the middle


@pytest.mark.parametrize(
    "make",
    [
        partial(muxed, "mp3", "libmp3lame", samples=stereo(44_100, 6)),
        partial(bare_mp3, samples=stereo(44_100, 6)),
        partial(muxed, "adts", "aac", samples=stereo(44_100, 6)),
        partial(muxed, "mpegts", "aac", samples=stereo(44_100, 6)),
        partial(muxed, "ac3", "ac3", samples=stereo(44_100, 6)),
        partial(muxed, "ogg", "libopus", rate=48_000, samples=stereo(48_000, 6)),
        partial(encoded, "OGG", seconds=9),
        partial(encoded, "FLAC", seconds=6),
    ],
    ids=["mp3", "bare mp3", "aac", "aac in ts", "ac3", "opus", "vorbis", "flac"],
)
def test_damage_in_the_middle_is_skipped_and_reported(make):
    data = make()
    damaged = load(with_hole(data, len(data) // 6))
    assert 0.5 < damaged.duration_seconds / load_sound(data).duration_seconds < 0.95
    assert damaged.n_damaged >= 1 and damaged.declared_seconds is None
    assert any("damaged at" in note for note in notes(damaged))


def test_damaged_places_are_counted():
    data = bytearray(muxed("mp3", "libmp3lame", samples=stereo(44_100, 9)))
    for place in (0.2, 0.5, 0.8):
        start = round(place * len(data))
        data[start : start + 3_000] = np.random.default_rng(0).bytes(3_000)
    damaged = load(bytes(data))
    assert damaged.n_damaged == 3
    assert notes(damaged)[0] == "The recording is damaged at 3 places: what cannot be decoded is left out."
    assert damaged.peak < 3


def test_a_part_of_an_absurd_rate_is_damage():
    samples = np.full((4_000, 1), 0.5, np.float32)
    stream = streams.SoundStream(16_000, 1, [(16_000, samples), (1, samples), (16_000, samples)])
    assert sum(map(len, stream)) == 8_000
    assert stream.facts.n_damaged == 1


# What is no sound


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (partial(muxed, "ipod", None, n_pictures=3), r"has no audio track \(QuickTime or MOV with 1 video track"),
        (partial(muxed, "matroska", None, n_pictures=3), r"has no audio track \(Matroska or WebM with 1"),
        (partial(half, MUXED["aac.m4a"]), r"has no index, so it was not finished .*: record or copy it again"),
        (lambda: odd_sounds.TEXT, r"is not sound, or damaged: give wav, flac, ogg, mp3, m4a, webm or aiff"),
        (lambda: b"\x89PNG\r\n\x1a\n" + bytes(200), r"is not a sound file \(perhaps a playlist, picture or text\)"),
    ],
)  # fmt: skip
def test_refusals_say_what_is_wrong_and_what_to_do(data, message):
    with pytest.raises(AudioError, match=f"the given recording {message}"):
        load_sound(data())


@pytest.mark.parametrize("ending", [*odd_sounds.HEADERLESS, "RAW"])
def test_headerless_formats_are_refused(tmp_path, ending):
    path = tmp_path / f"notes.{ending}"
    for data in (odd_sounds.TEXT, odd_sounds.PCM.tobytes(), bytes(5_000)):
        path.write_bytes(data)
        with pytest.raises(AudioError, match=r"has no header: read it with numpy.fromfile, and give the array and its"):
            load_sound(path)
    path.write_bytes(encoded())
    assert notes(load_sound(path)) == []


@pytest.fixture
def visits():
    """A local port, and the list of connections made to it."""
    made, server = [], socket.create_server(("127.0.0.1", 0))

    def count():
        while True:
            try:
                made.append(server.accept())
            except OSError:
                return

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    yield server.getsockname()[1], made
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("form", ["path", "file URL", "http"])
def test_no_list_of_files_is_followed(tmp_path, monkeypatch, visits, name, form):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encoded())
    port, connections = visits
    target = {"path": str(secret), "file URL": secret.as_uri(), "http": f"http://127.0.0.1:{port}/secret.wav"}[form]
    text = PLAYLISTS[name].format(secret=target)
    (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    for source in (tmp_path / name, name, text.encode()):
        with pytest.raises(AudioError, match="give wav, flac"):
            load_sound(source)
    assert connections == []


def test_the_sound_of_a_video_is_read():
    film, sound_alone = MUXED["film.mp4"](), MUXED["aac.mp4"]()
    np.testing.assert_array_equal(load(film).waveform, load_sound(sound_alone).waveform)


@pytest.mark.parametrize("rate", [11_025, 44_100])
def test_a_click_at_the_end_of_a_long_file_keeps_its_place(rate):
    seconds = 600
    samples = np.zeros(rate * seconds, np.int16)
    samples[-rate] = 30_000
    decoded = load_sound(encoded("FLAC", rate=rate, samples=samples), max_seconds=math.inf)
    assert len(decoded.waveform) == 16_000 * seconds
    assert np.argmax(np.abs(decoded.waveform)) == 16_000 * (seconds - 1)
