"""How the app bears many users at once: each a client of its HTTP interface, all asking together."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from time import perf_counter

import numpy as np

from benchmarks.machine import machine_facts
from esc50.config import RESULTS_DIR
from esc50.experiments.results import write_json

APP_LOAD_FILE = "app_load.json"


@dataclass(frozen=True)
class Answer:
    """What one request got.

    Attributes
    ----------
    path : path-like
        The file that was sent.
    found : dict
        The app's answer to ``/predict``, a JSON object.
    seconds : float
        From the start of the upload to the answer.
    """

    path: object
    found: dict
    seconds: float


def run_app_benchmark(url, paths, *, n_clients=20, n_rounds=3, folder=RESULTS_DIR):
    """Time the answers of an app that many clients ask at once, beside those of an app that one client asks.

    Parameters
    ----------
    url : str
        Address of the app.
    paths : sequence of path-like
        Sound files.
    n_clients : int
        How many ask at once.
    n_rounds : int
        Requests of each client.
    folder : path-like
        Where ``app_load.json`` is written.

    Returns
    -------
    dict
        ``alone`` and ``together`` as `summarise` gives them, and `benchmarks.machine.machine_facts`.
    """
    ask_together(url, paths, n_clients=2, n_rounds=2)  # the warm-up
    rounds = {"alone": (1, n_clients), "together": (n_clients, n_rounds)}
    result = {}
    for name, (n, turns) in rounds.items():
        result[name] = summarise(ask_together(url, paths, n_clients=n, n_rounds=turns), n_clients=n)
    result |= machine_facts()
    write_json(result, Path(folder) / APP_LOAD_FILE)
    return result


def ask_together(url, paths, *, n_clients=20, n_rounds=3):
    """Let many clients ask an app at the same time, each about another file than its neighbours.

    Parameters
    ----------
    url : str
        Address of the app.
    paths : sequence of path-like
        Sound files; client number i sends file i first, then i + 1, and so on.
    n_clients : int
        How many, each with a session and a thread of its own; all start together.
    n_rounds : int
        Requests of each client, one after the other.

    Returns
    -------
    list of Answer
        ``n_clients * n_rounds`` answers.

    Raises
    ------
    Exception
        Whatever the first request that failed raised.
    """
    from gradio_client import Client

    barrier = Barrier(n_clients)
    with ThreadPoolExecutor(n_clients) as pool:
        clients = list(pool.map(lambda _: Client(url, verbose=False), range(n_clients)))

        def ask(number):
            barrier.wait()
            turns = range(number, number + n_rounds)
            return [_ask(clients[number], paths[turn % len(paths)]) for turn in turns]

        return [answer for answers in pool.map(ask, range(n_clients)) for answer in answers]


def summarise(answers, *, n_clients):
    """Sum up how long the clients waited.

    Parameters
    ----------
    answers : sequence of Answer
        From `ask_together`.
    n_clients : int
        How many clients asked at the same time.

    Returns
    -------
    dict
        ``n_clients``, ``n_requests``, and of the seconds until an answer ``p50_seconds``, ``p95_seconds``,
        ``longest_seconds``.
    """
    seconds = np.array([answer.seconds for answer in answers])
    p50, p95, longest = np.percentile(seconds, [50, 95, 100]).round(3).tolist()
    return {
        "n_clients": n_clients,
        "n_requests": len(answers),
        "p50_seconds": p50,
        "p95_seconds": p95,
        "longest_seconds": longest,
    }


def _ask(client, path):
    from gradio_client import handle_file

    start = perf_counter()
    found = client.predict(handle_file(path), api_name="/predict")
    return Answer(path, found, perf_counter() - start)
