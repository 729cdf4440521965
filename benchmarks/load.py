"""Many clients that ask the app at once: each a user of its HTTP interface.

Plain HTTP instead of gradio_client, which needs more CPU time for a request than the app itself.
"""

import http.client
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from time import perf_counter
from typing import NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    """What one request got: the file that was sent, the app's JSON object, seconds from upload to answer."""

    path: object
    found: dict
    seconds: float


def ask_together(url, paths, *, n_clients=20, n_rounds=3):
    """Let many clients, each with a session and a thread of its own, ask at the same time about different files.

    Client number i sends file i first, then i + 1, and so on. Whatever the first request that failed raised is raised.
    """
    barrier = Barrier(n_clients)

    def ask(number):
        session = uuid.uuid4().hex
        barrier.wait(60)
        return [_ask_once(url, paths[turn % len(paths)], session) for turn in range(number, number + n_rounds)]

    with ThreadPoolExecutor(n_clients) as pool:
        return [answer for answers in pool.map(ask, range(n_clients)) for answer in answers]


def _ask_once(url, path, session):
    start = perf_counter()
    (uploaded,) = json.loads(_request(url, "POST", "upload", *_form(path)))
    asked = {"session_hash": session, "data": [{"path": uploaded, "meta": {"_type": "gradio.FileData"}}]}
    event = json.loads(_request(url, "POST", "call/predict", json.dumps(asked), "application/json"))["event_id"]
    stream = _request(url, "GET", f"call/predict/{event}").decode()
    if "event: complete" not in stream:
        raise RuntimeError(f"{path}: {stream}")
    found = json.loads(stream.rpartition("data: ")[2])[0]
    return Answer(path, found, perf_counter() - start)


def _form(path):
    mark, content = uuid.uuid4().hex, Path(path).read_bytes()
    head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{Path(path).name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


def _request(url, method, name, body=None, kind=""):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    connection.request(method, f"/gradio_api/{name}", body, {"Content-Type": kind} if kind else {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{name}: {response.status} {content[:200]}")
    return content
