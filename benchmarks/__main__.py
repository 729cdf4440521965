"""How light and quick this version is beside 0.1.0, measured in one run; ``make bench`` writes benchmark.json.

Version 0.1.0 is checked out into build/baseline and installed there once (Python 3.11.5 or later of 3.11, 3.3 GB).
"""

import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
import numpy as np
import soundfile

from benchmarks.load import ask_together
from benchmarks.usage import usage_of
from esc50.audio import synthesis
from esc50.config import BUILD_DIR, PROJECT_DIR, RESULTS_DIR
from esc50.experiments.results import write_json
from esc50.reporting.readme import bench_table

BASELINE_COMMIT = "812aaaa"  # version 0.1.0
BASELINE = BUILD_DIR / "baseline"
RATE = 16_000
HOUR_RATE, HOUR_SECONDS = 44_100, 3600
N_CLIPS, N_CLIENTS = 200, 20
PROBE = Path(__file__).with_name("probe.py")


@click.command()
@click.option("--baseline", type=click.Path(path_type=Path), default=BASELINE, help="Checkout of 0.1.0 with its .venv.")
@click.option("--repeats", default=5, show_default=True, help="Runs of each short command; medians are kept.")
def main(baseline, repeats):
    """Measure both versions in turn and print the table."""
    if not (baseline / ".venv").exists():
        _install_baseline(baseline)
    versions = {"0.1.0": _python(baseline), "now": Path(sys.executable)}
    folder = BUILD_DIR / "bench"
    files = _write_sounds(folder)
    measured = {}
    for name, measure in MEASUREMENTS.items():
        click.echo(f"{name} ...", err=True)
        measured[name] = measure(versions, files, repeats)
    measured["machine"] = _machine_facts()
    write_json(measured, RESULTS_DIR / "benchmark.json")
    click.echo(bench_table())


def measure_cold_start(versions, files, repeats):
    """`esc50 predict clip.flac` as a new process: user and system CPU seconds, peak memory."""
    commands = {name: [python, "-m", "esc50", "predict", files["clip"]] for name, python in versions.items()}
    return _alternate(commands, repeats)


def measure_answers(versions, files, repeats):
    """One answer to 5 s in a warm process."""
    return {name: _probe(python, "answers", files["clip"]) for name, python in versions.items()}


def measure_embedding(versions, files, repeats):
    """Many clips embedded, beside the plain loop over the hub module in the same process."""
    found = {name: _probe(python, "embedding", files["clips"]) for name, python in versions.items()}
    return {name: each | {"ratio": round(each["hub_loop_ms"] / each["batch_ms"], 2)} for name, each in found.items()}


def measure_hour(versions, files, repeats):
    """An hour of 44.1 kHz stereo as a timeline: peak memory, and how many times faster than real time."""
    command = ["-m", "esc50", "predict", "--timeline", "--format", "json", files["hour"]]
    found = _alternate({name: [python, *command] for name, python in versions.items()}, 1)
    return {name: each | {"times_real_time": round(HOUR_SECONDS / each["seconds"], 1)} for name, each in found.items()}


def measure_app(versions, files, repeats):
    """Twenty clients at once, and the memory of the app once it has started."""
    return {name: _measure_app(python, files) for name, python in versions.items()}


def measure_environment(versions, files, repeats):
    """Megabytes on disk of what must be installed to answer."""
    runtime = BUILD_DIR / "bench" / "runtime"
    shutil.rmtree(runtime, ignore_errors=True)
    _run([sys.executable, "-m", "venv", runtime])
    _run([_bin(runtime, "python"), "-m", "pip", "install", "--quiet", PROJECT_DIR])
    return {"0.1.0": {"mb": _megabytes(versions["0.1.0"].parents[1])}, "now": {"mb": _megabytes(runtime)}}


MEASUREMENTS = {
    "cold_start": measure_cold_start,
    "answer": measure_answers,
    "embedding": measure_embedding,
    "hour": measure_hour,
    "app": measure_app,
    "environment": measure_environment,
}


def _install_baseline(folder):
    _run(["git", "-C", PROJECT_DIR, "worktree", "add", "--force", "--detach", folder, BASELINE_COMMIT])
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "VENV", "PYTHON")}
    subprocess.run(["make", "-C", str(folder), "env"], check=True, env=environment)


def _write_sounds(folder):
    """A clip, the clips to embed, the files that clients send, and an hour of stereo; all made by code."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    names = list(synthesis.EXAMPLES)
    for number in range(N_CLIPS):
        path = folder / "clips" / f"{number:03d}.flac"
        if not path.exists():
            soundfile.write(path, synthesis.example(names[number % len(names)], seed=number), RATE)
    hour = folder / "hour.wav"
    if not hour.exists():
        minute = np.concatenate([synthesis.example(name, seconds=6.0) for name in names])  # at another rate: no matter
        minute = np.tile(minute, 3)[: 60 * HOUR_RATE]
        stereo = np.stack([minute, 0.5 * minute], axis=1)
        with soundfile.SoundFile(hour, "w", HOUR_RATE, 2) as file:
            for _ in range(HOUR_SECONDS * HOUR_RATE // len(minute)):
                file.write(stereo)
    clips = sorted((folder / "clips").glob("*.flac"))
    return {"clip": clips[0], "clips": folder / "clips", "sent": clips[:10], "hour": hour}


def _alternate(commands, repeats):
    """Medians over runs of each command in turn, after one that is not counted where there are several."""
    runs = {name: [] for name in commands}
    for number in range(repeats + (repeats > 1)):
        for name, command in commands.items():
            usage = usage_of(command, cwd=_home(command[0]))
            if number or repeats == 1:
                runs[name].append(usage)
    return {name: {key: round(median(run[key] for run in of), 3) for key in of[0]} for name, of in runs.items()}


def _probe(python, *arguments):
    command = [python, PROBE, *arguments]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=True, cwd=_home(python),
        env=os.environ | {"PYTHONPATH": str(_home(python))},
    )  # fmt: skip
    return {key: round(value, 2) for key, value in json.loads(done.stdout.splitlines()[-1]).items()}


def _measure_app(python, files):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = subprocess.Popen(
        [str(python), "-m", "esc50", "app", "--port", str(port)], stdout=subprocess.PIPE, text=True, cwd=_home(python)
    )
    try:
        for line in app.stdout:
            if "runs at" in line:
                break
        memory, url = _resident_megabytes(app.pid), f"http://127.0.0.1:{port}"
        ask_together(url, files["sent"], n_clients=2, n_rounds=2)  # the warm-up
        alone = [answer.seconds for answer in ask_together(url, files["sent"], n_clients=1, n_rounds=10)]
        together = [answer.seconds for answer in ask_together(url, files["sent"], n_clients=N_CLIENTS)]
    finally:
        app.send_signal(signal.SIGINT)
        app.wait(30)
    p50, p95 = np.percentile(together, [50, 95]).round(3).tolist()
    return {"mb_after_start": memory, "alone_p50": round(median(alone), 3), "p50": p50, "p95": p95}


def _resident_megabytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return round(1024 * int(re.search(r"VmRSS:\s*(\d+) kB", status)[1]) / 1e6)


def _megabytes(folder):
    return round(sum(path.lstat().st_size for path in Path(folder).rglob("*") if not path.is_dir()) / 1e6)


def _machine_facts():
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.is_file() else []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    about = {"cpu": names[0] if names else platform.machine(), "cores": cores, "python": platform.python_version()}
    return about | {"date": f"{datetime.now(UTC):%Y-%m-%d}"}


def _python(checkout):
    return _bin(checkout / ".venv", "python")


def _home(python):
    """The checkout that a Python belongs to."""
    return PROJECT_DIR if Path(python) == Path(sys.executable) else Path(python).parents[2]


def _bin(environment, name):
    return environment / ("Scripts" if os.name == "nt" else "bin") / name


def _run(command):
    subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    main()
