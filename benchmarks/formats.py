"""What each format of the weights costs: accuracy on the official folds, size, milliseconds and memory.

``python -m benchmarks.formats`` trains the distilled head of each fold (seed 0), exports it and YAMNet in every format,
lets them classify the fold's clips from the recordings, and writes data/results/formats.csv.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from tqdm import tqdm

from esc50 import dataset
from esc50.audio import load_sound
from esc50.classifier.head import Head
from esc50.classifier.model_io import load_model
from esc50.classifier.pooling import maximum_of_vectors, temper
from esc50.config import RESULTS_DIR
from esc50.experiments.base import find_experiments, take
from esc50.experiments.keras_heads import to_onnx
from esc50.experiments.networks import with_logarithm
from esc50.experiments.results import write_csv
from esc50.yamnet.export import WEIGHT_FORMATS, yamnet_model
from esc50.yamnet.frames import active_frames
from esc50.yamnet.hub_module import load_yamnet
from esc50.yamnet.runtime import YamnetRuntime

EXPERIMENT, SEED = "distilled", 0
MEMORY = """
import re, sys
from pathlib import Path
import numpy as np
from esc50.yamnet.runtime import YamnetRuntime
runtime = YamnetRuntime(Path(sys.argv[1]).read_bytes())
runtime.embed(np.zeros(80_000, np.float32))
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def main():
    """Measure, write the table and print it."""
    clips, root = dataset.load_clips(), dataset.find_dataset()
    waveforms = [load_sound(dataset.clip_path(name, root)).waveform for name in tqdm(clips["filename"], desc="reading")]
    heads = list(_train_heads(clips))
    exact, rows = None, []
    for weights in WEIGHT_FORMATS:
        content = yamnet_model(load_yamnet().weights(), weights=weights, metadata={"esc50": '{"audioset_classes": []}'})
        content = content.SerializeToString()
        maxima, milliseconds = _embed(YamnetRuntime(content), waveforms, weights)
        found, head_bytes = _classify(heads, maxima, weights)  # (n_clips, 50)
        exact = found if exact is None else exact
        rows.append({
            "weights": weights,
            "accuracy": (found.argmax(axis=1) == clips["target"]).mean(),
            "same_class": (found.argmax(axis=1) == exact.argmax(axis=1)).mean(),
            "largest_difference": np.abs(found - exact).max(),
            "mb": (len(content) + head_bytes) / 1e6,
            "ms": milliseconds,
            "memory_mb": _memory(content),
        })  # fmt: skip
    table = pd.DataFrame(rows)
    write_csv(table, RESULTS_DIR / "formats.csv", float_format="%.6g")
    print(table.to_string(index=False))


def _train_heads(clips):
    """Of each official fold the test rows and a Keras head that was trained on the other four."""
    experiment = find_experiments()[EXPERIMENT]
    views, targets = experiment.inputs(), clips["target"].to_numpy()
    for split in tqdm(dataset.official_splits(clips), desc="training heads"):
        how = {"settings": experiment.settings, "seed": SEED}
        yield split.test, with_logarithm(experiment.fit(take(views, split.train), targets[split.train], **how).head)


def _embed(runtime, waveforms, weights):
    """The maxima of all clips, (n_clips, 5984), and the median milliseconds of a clip."""
    maxima, seconds = [], []
    for waveform in tqdm(waveforms, desc=weights):
        start = time.perf_counter()
        vectors = runtime.embed(waveform)[np.newaxis]
        seconds.append(time.perf_counter() - start)
        maxima.append(maximum_of_vectors(vectors, active_frames(vectors))[0])
    return np.array(maxima), 1000 * median(seconds)


def _classify(heads, maxima, weights):
    """Calibrated probabilities of all clips, and the size of a head."""
    _, metadata = load_model()
    found = np.empty((len(maxima), 50))
    for rows, head in heads:
        content = to_onnx(head, weights=weights).SerializeToString()
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
