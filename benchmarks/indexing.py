"""What ``esc50 index`` costs: against a plain loop, by one and two processes, and its memory on long recordings.

``python -m benchmarks.indexing`` writes data/results/indexing.csv. Every line is a process of its own, with its
children: ``cpu_seconds`` are those of all processors, ``mb`` is the peak of the largest process.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pandas as pd
import soundfile

from esc50 import dataset
from esc50.audio import synthesis
from esc50.config import RESULTS_DIR, AudioSettings
from esc50.experiments.results import write_csv

FILE = RESULTS_DIR / "indexing.csv"
HOURS = (0.25, 1.0)
RATE = AudioSettings.sample_rate_hz
PLAIN = """
import sys
from pathlib import Path
from esc50 import SoundClassifier
from esc50.audio.sound import open_sound
from esc50.library.vectors import embed_windows
classifier = SoundClassifier.load()
for path in sorted(Path(sys.argv[1]).iterdir()):
    with open_sound(path) as stream:
        list(embed_windows(classifier, stream))
"""
ONE_THREAD = {"ESC50_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@click.command()
@click.option("--clips", "n_clips", default=1_000)
def main(n_clips):
    """Measure and write the table."""
    with tempfile.TemporaryDirectory() as name:
        folder, rows = Path(name), []
        clips = copy_clips(folder / "clips", n_clips)
        hours = n_clips * AudioSettings.clip_seconds / 3600
        rows.append(row("plain loop, one thread", hours, usage_of(["-c", PLAIN, clips])))
        for number in (1, 2):
            command = ["-m", "esc50", "index", clips, "--store", folder / f"store {number}", "--processes", number]
            rows.append(row(f"esc50 index, {number} process{'es' * (number > 1)}", hours, usage_of(command)))
        rows[-1]["store_mb_per_hour"] = megabytes(folder / "store 2") / hours
        for hours in HOURS:
            store = folder / f"{hours} h"
            usage = usage_of(["-m", "esc50", "index", long_recording(folder, hours), "--store", store])
            rows.append(row(f"one recording of {hours:g} h", hours, usage))
            rows[-1]["store_mb_per_hour"] = megabytes(store) / hours
    table = pd.DataFrame(rows)
    write_csv(table, FILE, float_format="%.4g")
    click.echo(table.to_string(index=False))


def row(name, hours, usage):
    """A line of the table."""
    return {"what": name, "hours": hours, **usage, "cpu_seconds_per_hour": usage["cpu_seconds"] / hours}


def usage_of(arguments):
    """Wall and CPU seconds, and peak megabytes, of a Python process and its children."""
    start, command = time.perf_counter(), [sys.executable, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | ONE_THREAD)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"{command} ended with {status}")
    seconds = {"seconds": time.perf_counter() - start, "cpu_seconds": usage.ru_utime + usage.ru_stime}
    return seconds | {"mb": usage.ru_maxrss * 1024 / 1e6}


def megabytes(folder):
    """Size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def copy_clips(folder, n_clips):
    """The first clips of ESC-50 in a folder of their own."""
    folder.mkdir()
    for name in dataset.load_clips()["filename"][:n_clips]:
        path = dataset.clip_path(name, dataset.find_dataset())
        shutil.copy(path, folder)
    return folder


def long_recording(folder, hours):
    """A recording of synthesised sounds, in a folder of its own."""
    sounds = np.concatenate([synthesis.example(name) for name in sorted(synthesis.EXAMPLES)])
    (folder / f"long {hours}").mkdir()
    with soundfile.SoundFile(folder / f"long {hours}" / "long.flac", "w", RATE, 1) as file:
        for _ in range(round(3600 * hours * RATE / len(sounds))):
            file.write(sounds)
    return folder / f"long {hours}"


if __name__ == "__main__":
    main()
