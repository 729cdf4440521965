"""Attacks on the app's server: files of others, requests that are too much, clients that misbehave."""

import io
import json
import os
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from helpers import free_port

from esc50.apps import guard, web
from esc50.apps.commands import AppSettings
from esc50.audio import synthesis
from esc50.config import PROJECT_DIR, Esc50Error

RATE = 16_000
META = {"_type": "gradio.FileData"}
JSON = {"content-type": "application/json"}
SETTINGS = AppSettings(max_file_megabytes=2, max_waiting=400, max_timeline_seconds=60)
LIMITS = replace(web.limits_of(SETTINGS), patience_seconds=20.0, min_bytes_per_second=1e6, min_free_bytes=0)
HASTY = replace(LIMITS, patience_seconds=2.0)
SECRET = "siren"  # what is in the file that nobody uploaded


@pytest.fixture(scope="module")
def app(classifier, tmp_path_factory):
    with running(classifier, tmp_path_factory.mktemp("cache"), LIMITS) as launched:
        yield launched


@pytest.fixture  # not of the module: Gradio's folder is a variable of the whole process
def hasty(classifier, tmp_path):
    """The app with little patience."""
    with running(classifier, tmp_path, HASTY) as launched:
        yield launched


@contextmanager
def running(classifier, cache, limits):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", f"{cache}/../{cache.name}")
        launched = web.launch(classifier, port=free_port(), settings=SETTINGS, limits=limits)
        yield launched
        launched.close(verbose=False)


@pytest.fixture(scope="module")
def http(app):
    with httpx.Client(base_url=app.local_url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """A sound that the server can read and nobody uploaded."""
    path = tmp_path_factory.mktemp("secret") / "recording.wav"
    soundfile.write(path, synthesis.example(SECRET), RATE)
    return path


@pytest.fixture
def rain(http):
    """Where the app keeps a sound that was uploaded."""
    return upload(http, wav("rain"))


def wav(name):
    buffer = io.BytesIO()
    soundfile.write(buffer, synthesis.example(name), RATE, format="WAV")
    return buffer.getvalue()


def upload(http, content, name="sound.wav"):
    return http.post("gradio_api/upload", files={"files": (name, content)}).raise_for_status().json()[0]


def ask(http, data, *, function="predict"):
    """The answer to a script, as text, or the words of the refusal."""
    asked = http.post(f"gradio_api/call/{function}", content=json.dumps({"data": data}), headers=JSON)
    if asked.status_code != 200:
        return asked.text
    answer = http.get(f"gradio_api/call/{function}/{asked.json()['event_id']}").text
    return answer.replace("event: heartbeat\ndata: null\n\n", "")


def ask_page(http, data, *, function):
    """The same as the page asks: by the number of a function."""
    session = os.urandom(4).hex()
    question = {"data": data, "fn_index": function, "session_hash": session}
    asked = http.post("gradio_api/queue/join", content=json.dumps(question), headers=JSON)
    if asked.status_code != 200:
        return asked.text
    return http.get("gradio_api/queue/data", params={"session_hash": session}).text


def files_in(app):
    return [path for path in app.uploads.folder.rglob("*") if path.is_file() and app.uploads.own_folder != path.parent]


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def assert_discreet(text):
    """No word of the server's own: no traceback, no folder, no source."""
    for word in ("Traceback", "site-packages", str(PROJECT_DIR), str(Path.cwd()), str(Path.home()) + "/", sys.prefix):
        assert word not in text


# --- files


def forged(secret, stored, port):
    """What could make a careless server open a file, fetch an address or trip: name -> what a request says."""
    folder, link = Path(stored).parent, Path(stored).parent / "link.wav"
    if not link.exists():
        link.symlink_to(secret)
    path, address = str(secret), f"http://127.0.0.1:{port}/recording.wav"
    deep = {"path": path, "meta": META}
    for _ in range(150):
        deep = [{"a": deep}]
    strings = {
        "absolute": path,
        "missing": f"{path}.not",
        "upwards": f"{folder}/{os.path.relpath(secret, folder)}",
        "from here": os.path.relpath(secret),
        "link": str(link),
        "folder": str(folder),
        "all uploads": str(folder.parents[1]),
        "neighbour": f"{folder}/../{folder.name}/{Path(stored).name}",
        "slashes": f"/{stored}",
        "blank": f"{stored} ",
        "null": f"{path}\0.wav",
        "null after": f"{stored}\0",
        "file URL": f"file://{path}",
        "http URL": address,
        "ftp URL": "ftp://127.0.0.1/recording.wav",
        "concat": f"concat:{path}|{path}",
        "data URL": "data:audio/wav;base64,UklGRg==",
        "Windows": "C:\\Windows\\Media\\tada.wav",
        "UNC": "\\\\127.0.0.1\\share\\tada.wav",
        "home": "~/.bashrc",
        "device": "/dev/zero",
        "environment": "/proc/self/environ",
        "own memory": "/proc/self/mem",
        "example": "example:siren",
        "empty": "",
        "surrogate": "\ud800",
        "long": "a/" * 3_000,
    }
    files = {name: {"path": text} for name, text in strings.items()}
    return (
        {f"bare {name}": text for name, text in strings.items()}
        | files
        | {f"marked {name}": file | {"meta": META} for name, file in files.items()}
        | {
            "stream": {"path": path, "meta": META, "is_stream": True},
            "only URL": {"url": f"file://{path}", "meta": META},
            "both": {"path": path, "url": f"/gradio_api/file={path}", "meta": META, "orig_name": Path(stored).name},
            "list": [{"path": path, "meta": META}],
            "list in path": {"path": [path], "meta": META},
            "file in path": {"path": {"path": path, "meta": META}, "meta": META},
            "nested": {"audio": {"path": path, "meta": META}},
            "beside one of ours": [{"path": stored}, {"path": path}],
            "wrong mark": {"path": path, "meta": "gradio.FileData"},
            "old form": {"name": path, "is_file": True, "data": None},
            "update": {"__type__": "update", "value": path},
            "state": {"__type__": "state", "path": path, "meta": META},
            "deep": deep,
            "number": 7,
            "huge number": 10**400,
            "true": True,
            "empty object": {},
            "empty list": [],
        }
    )


def test_no_file_but_an_uploaded_one_is_answered_about_and_all_are_refused_alike(app, http, secret, rain):
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.setblocking(False)
        said = forged(secret, rain, elsewhere.getsockname()[1])
        ways = [(ask, name) for name in ("predict", "timeline")]
        ways += [(ask_page, number) for number in page_functions(app)]
        attacks = [(way, function, name) for way, function in ways for name in said]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda a: a[0](http, [said[a[2]], *beside(app, a[1])], function=a[1]), attacks))
        with pytest.raises(BlockingIOError):
            elsewhere.accept()  # nobody came
    for (way, function, name), answer in zip(attacks, answers, strict=True):
        assert words_of(answer) == guard.GONE or (way is ask_page and guard.GONE in answer), (function, name, answer)
        assert SECRET not in answer
        assert_discreet(answer)
    assert "rain" in ask(http, [{"path": rain}])


def page_functions(app):
    """Numbers of those of the page that take a sound: what spoke for it, and the answer."""
    numbers = [f._id for f in app.fns.values() if any(block.get_block_name() == "audio" for block in f.inputs)]
    assert len(numbers) == 2
    return numbers


def beside(app, function):
    """What a function of the page takes behind the sound: the share of known sounds to keep, and a state."""
    return [0.95] * (len(app.fns[function].inputs) - 1) if function in app.fns else []


def words_of(answer):
    """What a person would see of an error."""
    found = re.findall(r'"error": ?("(?:[^"\\]|\\.)*")', answer)
    return json.loads(found[-1]) if found else None


@pytest.mark.parametrize("data", [[], [None], [7, 8, 9]])
def test_too_few_and_too_many_inputs_are_refused_too(http, data):
    assert words_of(ask(http, data)) == guard.GONE


@pytest.mark.parametrize(("share", "kept"), [(7, "0.99"), (-1, "0.5"), (None, "0.95")])
def test_a_share_out_of_range_counts_as_the_nearest(app, http, rain, monkeypatch, share, kept):
    asked = []
    monkeypatch.setattr(web.Page, "predict", lambda self, path, keep, taught: asked.append(str(keep)))
    answer = ask_page(http, [{"path": rain, "meta": META}, share, None], function=page_functions(app)[1])
    assert asked == [kept] and guard.GONE not in answer


def test_an_example_that_is_not_there_is_refused(app, http):
    [number] = [f._id for f in app.fns.values() if f.api_name == "load_example"]
    for index in (99, -99, "x", None, {"path": "/etc/passwd"}, [0]):
        answer = ask_page(http, [index], function=number)
        assert "process_completed" in answer
        assert_discreet(answer)
    assert str(app.uploads.own_folder) in ask_page(http, [0], function=number)


def test_what_a_request_says_beside_the_path_is_dropped(app, rain):
    said = {"path": rain, "url": "http://example.org/", "orig_name": "/etc/passwd", "is_stream": True, "size": -1}
    assert app.uploads.only_ours(said) == {"path": rain, "orig_name": "sound.wav", "meta": META}


def test_the_place_of_an_upload_cannot_be_guessed_even_with_the_same_file(app, http):
    first, second = upload(http, wav("rain")), upload(http, wav("rain"))
    assert Path(first).parents[1] != Path(second).parents[1]
    for folder in (app.uploads.folder, Path(first).parents[1]):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd.wav", "passwd.wav"),
        ("..\\..\\x.wav", "....x.wav"),
        ("<img src=x onerror=alert(1)>.wav", "img src=x onerror=alert(1).wav"),
        ("-rf.wav", "-rf.wav"),
        ("a\u200b'b.wav", "a\u200b'b.wav"),
        ("é" * 300 + ".wav", None),
    ],
)
def test_names_stay_in_their_folder_and_errors_tell_no_place(app, http, name, kept):
    stored = upload(http, b"not a sound", name)
    assert Path(stored).parents[2] == app.uploads.folder
    assert Path(stored).name == (kept or Path(stored).name)
    answer = words_of(ask(http, [{"path": stored}]))
    assert answer.startswith(Path(stored).name) and "not sound" in answer
    assert str(app.uploads.folder) not in answer
    assert_discreet(answer)


# --- requests


CLOSED = [
    ("GET", "gradio_api/proxy=http://127.0.0.1:{port}/"),
    ("GET", "gradio_api/file=http://127.0.0.1:{port}/"),
    ("GET", "gradio_api/file=https://127.0.0.1:{port}/"),
    ("GET", "gradio_api/file=HTTP://127.0.0.1:{port}/"),
    ("GET", "gradio_api/file=file://{secret}"),
    ("GET", "gradio_api/file={secret}"),
    ("GET", "gradio_api/file={secret}.not"),
    ("GET", "gradio_api/file={stored}/../../../../../..{secret}"),
    ("GET", "gradio_api/file={folder}"),
    ("GET", "gradio_api/file={secret}%00.wav"),
    ("GET", "gradio_api/file=/proc/self/environ"),
    ("GET", "gradio_api/file/{secret}"),
    ("GET", "static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{secret}"),
    ("GET", "assets/..%2f..%2f..%2f..%2f..%2f..{secret}"),
    ("GET", "gradio_api/custom_component/x/client/component/..%2f..{secret}"),
    ("GET", "gradio_api/deep_link?session_hash=x"),
    ("GET", "gradio_api/vibe-code"),
    ("GET", "gradio_api/runs"),
    ("GET", "gradio_api/openapi.json"),
    ("GET", "gradio_api/dev/reload"),
    ("GET", "gradio_api/stream/x/0/1/playlist.m3u8"),
    ("GET", "monitoring"),
    ("GET", "monitoring/summary"),
    ("POST", "gradio_api/run/predict"),
    ("POST", "gradio_api/api/predict"),
    ("POST", "gradio_api/stream/x"),
    ("POST", "gradio_api/component_server"),
    ("POST", "gradio_api/process_recording"),
    ("POST", "gradio_api/vibe-edit"),
    ("POST", "login"),
    ("DELETE", "gradio_api/file={stored}"),
    ("PUT", "gradio_api/upload"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_other_routes_are_closed(app, http, secret, rain, method, path):
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.setblocking(False)
        port = elsewhere.getsockname()[1]
        path = path.format(port=port, secret=secret, stored=rain, folder=Path(rain).parent)
        answer = http.request(method, path, json={"data": [{"path": str(secret)}]})
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert answer.status_code in (403, 404, 405)
    assert b"RIFF" not in answer.content
    assert_discreet(answer.text)


def test_a_video_to_be_edited_is_not_given_to_ffmpeg(http, secret):
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    answer = http.post("gradio_api/process_recording", files={"video": ("x.mp4", playlist)})
    assert answer.status_code == 404


def test_the_page_tells_no_place_of_the_server(app, http):
    for path in ("", "config", "gradio_api/info", "gradio_api/info?all_endpoints=True"):
        text = http.get(path).raise_for_status().text
        assert_discreet(text)
        assert str(app.uploads.folder) not in text


def test_what_one_visitor_says_of_the_host_is_told_to_no_other(http):
    for path in ("", "config", "gradio_api/info"):
        http.get(path, headers={"host": "evil.example", "x-forwarded-host": "evil.example"})
        assert "evil.example" not in http.get(path).text


@pytest.mark.parametrize("path", ["gradio_api/call/predict", "gradio_api/queue/join", "gradio_api/call/v2/predict"])
@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        '{"data": 7}',
        '{"data": {"path": "/etc/passwd"}}',
        '{"data": [NaN], "fn_index": "x"}',
        '{"data": [null], "fn_index": 99, "session_hash": "x"}',
        '{"data": [null], "fn_index": -1, "session_hash": ["x"]}',
        '{"data": [1], "trigger_id": {}, "session_hash": "y", "fn_index": 6, "event_data": []}',
        '{"sound": "/etc/passwd"}',
        '{"data": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"data": ' + "[" * 400 + "]" * 400 + "}",
        '{"data": ' + '{"a": ' * 900 + "1" + "}" * 901,
        b"\xff\xfe\x00",
    ],
)
def test_malformed_questions_end_in_one_line(http, path, body):
    answer = http.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 404, 422)
    assert_discreet(answer.text)
    if answer.status_code == 200:  # a question after all
        function = path.removeprefix("gradio_api/")
        answer = http.get(f"gradio_api/call/predict/{answer.json()['event_id']}")
        assert words_of(answer.text) == guard.GONE or "queue" in function


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "multipart/form-data"}, b"x"),
        ({"content-type": "multipart/form-data; boundary=x"}, b""),
        (
            {"content-type": "multipart/form-data; boundary=x"},
            b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--",
        ),
        ({"content-type": "multipart/form-data; boundary=x; charset=none"}, b"--x\r\n" + b"A" * 20_000),
        ({"content-type": "application/json"}, b"{}"),
        ({}, b""),
        (
            {"content-type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\ntext\r\n--x--\r\n',
        ),
        (  # cut off in its file
            {"content-type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\nRIFF',
        ),
    ],
)
@pytest.mark.parametrize("query", ["", "?upload_id=1"])
def test_malformed_uploads_leave_nothing(app, http, headers, body, query):
    before = len(files_in(app))
    answer = http.post(f"gradio_api/upload{query}", content=body, headers=headers)
    assert answer.status_code in (400, 413, 422) or answer.json() == []
    assert_discreet(answer.text)
    assert len(files_in(app)) == before


# --- too much


def test_what_is_too_large_is_refused_and_leaves_nothing(app, http):
    before = len(files_in(app))
    most = SETTINGS.max_file_megabytes * 2**20
    for files in (
        [("files", ("big.wav", bytes(most + 1)))],
        [("files", (f"{n}.wav", bytes(most // 4))) for n in range(8)],
        [("other", (f"{n}.wav", bytes(most // 4))) for n in range(8)],
    ):
        answer = http.post("gradio_api/upload", files=files)
        assert answer.status_code == 413
        assert_discreet(answer.text)
    assert len(files_in(app)) == before
    assert upload(http, bytes(most))


def test_a_body_without_end_is_cut_off(http):
    def without_end():
        yield b'{"data": ["'
        while True:
            yield bytes(2**16)

    headers = {"content-type": "application/json"}
    try:
        answer = http.post("gradio_api/call/predict", content=without_end(), headers=headers)
    except (httpx.WriteError, httpx.ReadError):  # the server has hung up
        return
    assert answer.status_code == 413


def test_a_compressed_request_is_not_unpacked(http):
    answer = http.post("gradio_api/call/predict", content=b"\x1f\x8b" + bytes(99), headers={"content-encoding": "gzip"})
    assert answer.status_code in (400, 422)


def test_bombs_are_not_sound(http):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.wav", bytes(50_000_000))
    for name in ("bomb.wav", "bomb.flac", "bomb.mp3", "bomb.ogg"):
        answer = words_of(ask(http, [{"path": upload(http, bomb.getvalue(), name)}]))
        assert "not sound" in answer
        assert_discreet(answer)


@pytest.mark.slow
def test_hours_of_silence_in_a_small_file_are_refused(http, tmp_path):
    with soundfile.SoundFile(tmp_path / "hours.flac", "w", 8_000, 1, "PCM_16") as file:
        for _ in range(70):
            file.write(np.zeros(60 * 8_000))
    stored = upload(http, (tmp_path / "hours.flac").read_bytes(), "hours.flac")
    for function in ("predict", "timeline"):
        assert words_of(ask(http, [{"path": stored}], function=function)).startswith("hours.flac lasts longer than")


def test_a_full_disk_is_said_in_a_line(app, http, monkeypatch):
    monkeypatch.setattr(app.uploads, "settings", replace(LIMITS, min_free_bytes=2**62))
    answer = http.post("gradio_api/upload", files={"files": wav("rain")})
    assert (answer.status_code, answer.text) == (503, guard.NO_ROOM)
    monkeypatch.undo()
    monkeypatch.setattr(guard, "upload_fn", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    before = len(list(app.uploads.folder.iterdir()))
    answer = http.post("gradio_api/upload", files={"files": wav("rain")})
    assert (answer.status_code, answer.text) == (503, guard.NO_ROOM)
    assert len(list(app.uploads.folder.iterdir())) == before


# --- playlists and other files that name files


def playlists(secret, port):
    """Files that ask a decoder to open others: name -> content."""
    address = f"http://127.0.0.1:{port}/recording.wav"
    hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5.0,\n{}\n#EXT-X-ENDLIST\n"
    mpd = '<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{}</BaseURL></Representation>'
    sdp = "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio {} RTP/AVP 0\n"
    return {
        "hls absolute": hls.format(secret),
        "hls file": hls.format(f"file://{secret}"),
        "hls http": hls.format(address),
        "hls concat": hls.format(f"concat:{secret}|{secret}"),
        "hls subfile": hls.format(f"subfile,,start,0,end,99999,,:{secret}"),
        "concat": f"ffconcat version 1.0\nfile '{secret}'\n",
        "concat file": f"ffconcat version 1.0\nfile 'file:{secret}'\n",
        "m3u": f"{secret}\n",
        "pls": f"[playlist]\nFile1={secret}\nNumberOfEntries=1\n",
        "mpd": mpd.format(secret),
        "sdp": sdp.format(port),
        "cue": f'FILE "{secret}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
        "rtsp": f"RTSPtextRTSP://127.0.0.1:{port}/x",
        "edl": f"mplayer EDL file, version 2\n{secret},0,5\n",
    }


@pytest.mark.parametrize("ending", ["wav", "mp3", "m3u8", "m4a"])
def test_a_file_that_names_another_is_not_followed(http, secret, ending):
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.setblocking(False)
        for name, content in playlists(secret, elsewhere.getsockname()[1]).items():
            stored = upload(http, content.encode(), f"list.{ending}")
            for function in ("predict", "timeline"):
                answer = ask(http, [{"path": stored}], function=function)
                assert words_of(answer), (name, answer)
                assert SECRET not in answer
                assert str(secret) not in answer
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


# --- clients


def half_an_upload(app, *, body=b"RIFF" * 1000):
    """A connection that has announced a file and sent the first of it."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="half.wav"\r\n\r\n'
    client = socket.create_connection(("127.0.0.1", app.server_port))
    client.sendall(
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + head + body
    )
    return client


def test_a_client_that_leaves_in_the_middle_of_an_upload_leaves_nothing(app, http):
    before = sorted(app.uploads.folder.iterdir())
    clients = [half_an_upload(app) for _ in range(20)]
    wait_until(lambda: len(files_in(app)) >= 20)
    for client in clients:
        client.close()
    wait_until(lambda: sorted(app.uploads.folder.iterdir()) == before)
    assert "rain" in ask(http, [{"path": upload(http, wav("rain"))}])


def test_slow_clients_hold_nobody_up(app, http):
    clients = [half_an_upload(app) for _ in range(50)]
    assert "rain" in ask(http, [{"path": upload(http, wav("rain"))}])
    assert select.select(clients, [], [], 0)[0] == []  # none was sent away for it
    for client in clients:
        client.close()


def test_slow_clients_are_sent_away(hasty):
    clients = [half_an_upload(hasty) for _ in range(50)]
    for client in clients:
        client.settimeout(60)
        assert client.recv(1000).startswith(b"HTTP/1.1 408")
        client.close()
    wait_until(lambda: not [file for file in files_in(hasty) if file.name.startswith("tmp")])


def test_a_client_that_drips_is_sent_away(hasty):
    with half_an_upload(hasty) as client, pytest.raises(OSError):
        for _ in range(1_000):
            client.sendall(b"R")
            time.sleep(0.05)


def test_a_client_that_leaves_the_queue_stops_nobody(app, http, rain):
    function = page_functions(app)[1]
    file = {"path": rain, "meta": META}
    for _ in range(10):
        session = os.urandom(4).hex()
        http.post(
            "gradio_api/queue/join",
            json={"data": [file, *beside(app, function)], "fn_index": function, "session_hash": session},
        )
        with http.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as stream:
            next(stream.iter_bytes())
        http.post("gradio_api/call/predict", json={"data": [file]})  # and never asks for the answer
    assert "rain" in ask(http, [file])


def test_an_answer_may_take_longer_than_a_request(hasty, classifier, monkeypatch):
    predict = type(classifier).predict

    def late(self, path):
        time.sleep(HASTY.patience_seconds + 1)
        return predict(self, path)

    monkeypatch.setattr(type(classifier), "predict", late)
    with httpx.Client(base_url=hasty.local_url, timeout=60, trust_env=False) as client:
        assert "rain" in ask(client, [{"path": upload(client, wav("rain"))}])


@pytest.mark.slow
def test_two_hundred_uploads_at_once_get_their_own_answers(classifier, tmp_path):
    sounds = {f"{name}.wav": wav(name) for name in synthesis.EXAMPLES}
    with running(classifier, tmp_path, replace(LIMITS, patience_seconds=60)) as app:

        def upload_and_ask(name):
            with httpx.Client(base_url=app.local_url, timeout=120, trust_env=False) as client:
                return ask(client, [{"path": upload(client, sounds[name], name)}])

        expected, names = {name: upload_and_ask(name) for name in sounds}, [*sounds] * 40
        with ThreadPoolExecutor(200) as pool:
            answers = list(pool.map(upload_and_ask, names[:200]))
    assert not [answer for name, answer in zip(names, answers, strict=False) if answer != expected[name]]


def test_more_than_the_queue_holds_are_told_so(app, http, rain, monkeypatch):
    monkeypatch.setattr(app._queue, "max_size", 0)
    assert "Queue is full" in ask(http, [{"path": rain}])


# --- the end


def test_what_was_stored_longer_ago_is_swept_and_refused_as_if_it_had_never_been(app, http):
    stored = upload(http, wav("rain"))
    app.uploads.sweep(keep_seconds=60)
    assert "rain" in ask(http, [{"path": stored}])
    app.uploads.sweep(keep_seconds=-1)
    assert files_in(app) == [] and app.uploads.files == set()
    assert words_of(ask(http, [{"path": stored}])) == guard.GONE
    example = next(iter(sorted(app.uploads.own)))
    assert "verdict" in ask(http, [{"path": example}])


def test_what_is_uploaded_is_deleted_after_a_while(classifier, tmp_path):
    with (
        running(classifier, tmp_path, replace(LIMITS, sweep_seconds=0.05, keep_files_seconds=0.2)) as app,
        httpx.Client(base_url=app.local_url, timeout=60, trust_env=False) as client,
    ):
        assert Path(upload(client, wav("rain"))).is_relative_to(app.uploads.folder)
        wait_until(lambda: not files_in(app))


def test_a_file_that_goes_away_while_it_is_read_is_gone(app, http, classifier, rain, monkeypatch):
    predict = type(classifier).predict

    def lose(self, path):
        Path(path).unlink()
        return predict(self, path)

    monkeypatch.setattr(type(classifier), "predict", lose)
    assert words_of(ask(http, [{"path": rain}])) == guard.GONE


def test_uploads_go_on_where_something_has_cleared_the_disk(app, http):
    shutil.rmtree(app.uploads.folder)
    assert "rain" in ask(http, [{"path": upload(http, wav("rain"))}])
    app.uploads.own_folder.mkdir()
    web.write_examples(app.uploads.own_folder)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("203.0.113.1", "assign requested address"),
        ("no-such-host.invalid", "not known|no address|resolution"),
        ("a" * 70 + ".org", "no such name"),
    ],
)
def test_a_host_that_is_not_here_is_said_in_a_line(classifier, host, reason):
    with pytest.raises(Esc50Error, match=rf"cannot listen at port 7860 of {host} \(.*({reason}).*\): choose another"):
        web.launch(classifier, host=host)


@pytest.mark.slow
def test_it_listens_at_an_ipv6_address_too(classifier, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    try:
        app = web.launch(classifier, host="::1", port=free_port())
    except Esc50Error:
        pytest.skip("no IPv6 here")
    try:
        assert httpx.get(f"{app.local_url}config", trust_env=False).status_code == 200
    finally:
        app.close(verbose=False)
    assert not list(tmp_path.iterdir())  # the uploads went with the server


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="of signals and modes")
def test_with_proxies_set_the_app_starts_in_a_folder_of_its_own_and_leaves_nothing(tmp_path):
    proxy = f"127.0.0.1:{free_port()}"  # nobody listens
    proxies = {"http_proxy": f"http://{proxy}", "HTTPS_PROXY": proxy, "ALL_PROXY": f"socks5h://{proxy}"}
    environment = os.environ | proxies | {"TMPDIR": str(tmp_path), "no_proxy": "example.org"}
    command = [sys.executable, PROJECT_DIR / "main.py", f"--port={free_port()}"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as app:
        line = app.stdout.readline()
        if line:
            with httpx.Client(base_url=line.split()[4], timeout=60, trust_env=False) as client:
                stored = Path(upload(client, wav("rain")))
            [folder] = tmp_path.glob("esc50-app-*")
            assert stored.is_relative_to(folder)
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        app.send_signal(signal.SIGTERM)
        errors = app.stderr.read()
    assert line.startswith("The app runs at http://127.0.0.1"), errors
    assert not list(tmp_path.glob("esc50-app-*"))
    assert "Traceback" not in errors
