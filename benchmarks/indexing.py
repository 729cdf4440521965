"""What ``esc50 index`` costs: against a plain loop, by one and two processes, and its memory on long recordings.

``python -m benchmarks.indexing`` writes data/results/indexing.csv. Every line is a process of its own, with its
children, on few recordings and on many: ``start_seconds`` and ``start_cpu_seconds`` are what the line through both says
of no recording at all. ``cpu_seconds`` are those of all processors, ``mb`` is the peak of the largest process, ``load``
says how much else ran.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import click
import pandas as pd
import soundfile

from benchmarks.usage import usage_of
from esc50 import dataset
from esc50.audio import synthesis
from esc50.config import PROJECT_DIR, RESULTS_DIR, AudioSettings
from esc50.experiments.results import write_csv

FILE = RESULTS_DIR / "indexing.csv"
FEW_CLIPS = 64  # enough for two processes
FEW_HOURS, HOURS = 0.1, 0.5  # of one recording
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
INDEX = ["-m", "esc50", "index", "--store", "store", "--processes"]
PROJECT = {"PYTHONPATH": str(PROJECT_DIR)}
ONE_THREAD = {"ESC50_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@click.command()
@click.option("--clips", "n_clips", default=500)
def main(n_clips):
    """Measure and write the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = [copy_clips(folder / f"{n} clips", n) for n in (FEW_CLIPS, n_clips)]
        long = [long_recording(folder / f"{hours} h", hours) for hours in (FEW_HOURS, HOURS)]
        clip_hours = [n * AudioSettings.clip_seconds / 3600 for n in (FEW_CLIPS, n_clips)]
        usage_of_python([*INDEX, "2", clips[0]], scratch=folder)  # from here on, what Python imports is compiled
        rows = [
            measure("clips, plain loop", clips, clip_hours, ["-c", PLAIN], folder),
            measure("clips, 1 process", clips, clip_hours, [*INDEX, "1"], folder),
            measure("clips, 2 processes", clips, clip_hours, [*INDEX, "2"], folder),
            measure("one recording, plain loop", long, [FEW_HOURS, HOURS], ["-c", PLAIN], folder),
            measure("one recording, 1 process", long, [FEW_HOURS, HOURS], [*INDEX, "1"], folder),
        ]
    table = pd.DataFrame(rows)
    write_csv(table, FILE, float_format="%.4g")
    click.echo(table.to_string(index=False))


def measure(name, folders, hours, command, scratch):
    """A line of the table: of the larger of two folders, and what the two say of the start."""
    few, many = (usage_of_python([*command, folder], scratch=scratch) for folder in folders)
    per_hour = {key: (many[key] - few[key]) / (hours[1] - hours[0]) for key in ("seconds", "cpu_seconds")}
    return {
        "what": name,
        "hours": hours[1],
        **many,
        **{f"start_{key}": many[key] - hours[1] * each for key, each in per_hour.items()},
        **{f"{key}_per_hour": each for key, each in per_hour.items()},
        "store_mb_per_hour": megabytes(scratch / "store") / hours[1],
        "load": os.getloadavg()[0],
    }


def usage_of_python(arguments, *, scratch):
    """Usage of a Python process and its children, with a new store."""
    shutil.rmtree(scratch / "store", ignore_errors=True)
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(scratch / "compiled")}
    return usage_of([sys.executable, *arguments], cwd=scratch, env=os.environ | ONE_THREAD | PROJECT | compiled)


def megabytes(folder):
    """Size of all files in a folder; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*")) / 1e6


def copy_clips(folder, n_clips):
    """The first clips of ESC-50 in a folder of their own."""
    folder.mkdir()
    for name in dataset.load_clips()["filename"][:n_clips]:
        path = dataset.clip_path(name, dataset.find_dataset())
        shutil.copy(path, folder)
    return folder


def long_recording(folder, hours):
    """A recording of synthesised sounds, none of them twice, in a folder of its own."""
    names = sorted(synthesis.EXAMPLES)
    folder.mkdir()
    with soundfile.SoundFile(folder / "long.flac", "w", RATE, 1) as file:
        for number in range(round(3600 * hours / AudioSettings.clip_seconds)):
            file.write(synthesis.example(names[number % len(names)], seed=number))
    return folder


if __name__ == "__main__":
    main()
