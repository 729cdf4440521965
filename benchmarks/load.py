"""Many clients that ask the app at once: each a user of its HTTP interface."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import perf_counter
from typing import NamedTuple


class Answer(NamedTuple):
    """What one request got: the file that was sent, the app's JSON object, seconds from upload to answer."""

    path: object
    found: dict
    seconds: float


def ask_together(url, paths, *, n_clients=20, n_rounds=3):
    """Let many clients, each with a session and a thread of its own, ask at the same time about different files.

    Client number i sends file i first, then i + 1, and so on. Whatever the first request that failed raised is raised.
    """
    from gradio_client import Client, handle_file

    barrier = Barrier(n_clients)

    def ask(number):
        barrier.wait()
        return [ask_once(clients[number], paths[turn % len(paths)]) for turn in range(number, number + n_rounds)]

    def ask_once(client, path):
        start = perf_counter()
        found = client.predict(handle_file(path), api_name="/predict")
        return Answer(path, found, perf_counter() - start)

    with ThreadPoolExecutor(n_clients) as pool:
        clients = list(pool.map(lambda _: Client(url, verbose=False), range(n_clients)))
        return [answer for answers in pool.map(ask, range(n_clients)) for answer in answers]
