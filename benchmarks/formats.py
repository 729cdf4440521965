"""What each format of the weights costs: accuracy on the official folds, size, milliseconds and memory.

``python -m benchmarks.formats`` trains the shipped head on each fold (seed 0), exports it and YAMNet in every format,
lets them classify the fold's clips from the recordings, and writes data/results/formats.csv.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

import click
import numpy as np
import pandas as pd
from tqdm import tqdm

from esc50 import dataset
from esc50.audio import load_sound, synthesis
from esc50.audio.loudness import set_level
from esc50.classifier.head import Head
from esc50.classifier.model_io import DEFAULT_MODEL, load_model
from esc50.classifier.pooling import maximum_of_vectors, temper
from esc50.config import RESULTS_DIR
from esc50.experiments.keras_heads import to_onnx
from esc50.experiments.results import read_csv, write_csv
from esc50.experiments.shipping import RECIPES
from esc50.yamnet.export import WEIGHT_FORMATS, yamnet_model
from esc50.yamnet.frames import active_frames
from esc50.yamnet.hub_module import load_yamnet
from esc50.yamnet.runtime import YamnetRuntime

RECIPE, SEED = RECIPES[DEFAULT_MODEL], 0
FILE = RESULTS_DIR / "formats.csv"
MEMORY = """
import re, sys
from pathlib import Path
import numpy as np
from esc50.yamnet.runtime import YamnetRuntime
runtime = YamnetRuntime(Path(sys.argv[1]).read_bytes())
runtime.embed(np.zeros(80_000, np.float32))
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


N_TIMED = 60


@click.command()
@click.option("--timing-only", is_flag=True, help="Measure milliseconds and memory anew; accuracy stays as it was.")
def main(timing_only):
    """Measure, write the table and print it."""
    contents = {weights: _export(weights) for weights in WEIGHT_FORMATS}
    table = read_csv(FILE) if timing_only else _measure_accuracy(contents)
    table["ms"], table["memory_mb"] = _time(contents), list(map(_memory, contents.values()))
    write_csv(table, FILE, float_format="%.6g")
    click.echo(table.to_string(index=False))


def _export(weights):
    hub_weights, metadata = load_yamnet().weights(), {"esc50": '{"audioset_classes": []}'}
    return yamnet_model(hub_weights, weights=weights, metadata=metadata).SerializeToString()


def _measure_accuracy(contents):
    clips, root = dataset.load_clips(), dataset.find_dataset()
    waveforms = [load_sound(dataset.clip_path(name, root)).waveform for name in tqdm(clips["filename"], desc="reading")]
    heads, exact, rows = list(_train_heads(clips)), None, []
    for weights, content in contents.items():
        maxima = _embed(YamnetRuntime(content), tqdm(waveforms, desc=weights))
        found, head_bytes = _classify(heads, maxima, weights)  # (n_clips, 50)
        exact = found if exact is None else exact
        rows.append({
            "weights": weights,
            "accuracy": (found.argmax(axis=1) == clips["target"]).mean(),
            "same_class": (found.argmax(axis=1) == exact.argmax(axis=1)).mean(),
            "largest_difference": np.abs(found - exact).max(),
            "mb": (len(content) + head_bytes) / 1e6,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _time(contents):
    """Median milliseconds of one clip by each format; they take turns."""
    runtimes, seconds = [YamnetRuntime(content) for content in contents.values()], [[] for _ in contents]
    waveform = synthesis.example("rain")
    for _ in range(N_TIMED):
        for runtime, of in zip(runtimes, seconds, strict=True):
            start = time.perf_counter()
            runtime.embed(waveform, layers=RECIPE.layers)
            of.append(time.perf_counter() - start)
    return [1000 * median(of[5:]) for of in seconds]


def _train_heads(clips):
    """Of each official fold the test rows and a Keras head that was trained on the other four."""
    for split in tqdm(dataset.official_splits(clips), desc="training heads"):
        yield split.test, RECIPE.fit(split.train, seed=SEED)


def _embed(runtime, waveforms):
    """The maxima of clips, (n_clips, size)."""
    vectors = (runtime.embed(set_level(waveform), layers=RECIPE.layers)[np.newaxis] for waveform in waveforms)
    return np.array([maximum_of_vectors(each, active_frames(each))[0] for each in vectors])


def _classify(heads, maxima, weights):
    """Calibrated probabilities of all clips, and the size of a head."""
    _, metadata = load_model()
    about = {"head_settings": asdict(RECIPE.settings)}
    found = np.empty((len(maxima), 50))
    for rows, head in heads:
        content = to_onnx(head, weights=weights, metadata=about).SerializeToString()
        found[rows] = temper(Head(content)(maxima[rows]), metadata["temperature"])
    return found, len(content)


def _memory(content):
    """Peak megabytes of a new process that embeds one clip."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(content)
        done = subprocess.run([sys.executable, "-c", MEMORY, path], capture_output=True, text=True, check=True)
    return round(1024 * int(done.stdout) / 1e6)


if __name__ == "__main__":
    main()
