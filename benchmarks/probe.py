"""What one version of the package does, timed inside its own process; runs under 0.1.0 and under this version.

``python probe.py WHAT ARGUMENTS`` prints one JSON object.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median


def load_classifier():
    """The default classifier."""
    try:
        from esc50.classifier.predict import SoundClassifier
    except ImportError:
        from esc50.predict import SoundClassifier
    return SoundClassifier.load()


def time_answers(path, n_answers=40):
    """Milliseconds of one answer in a warm process."""
    classifier, found = load_classifier(), []
    for _ in range(n_answers):
        start = time.perf_counter()
        classifier.predict(path)
        found.append(1000 * (time.perf_counter() - start))
    return {"ms": median(found[5:])}


def time_embedding(folder):
    """Milliseconds a clip to embed the clips of a folder: this version's way, and the plain loop over the hub module.

    The two take turns, 20 clips each, so that neither gets the quiet minutes of a busy machine.
    """
    import soundfile

    waveforms = [soundfile.read(path, dtype="float32")[0] for path in sorted(Path(folder).glob("*.flac"))]
    module, embed_batch = open_hub_module(), open_batch()
    turns = [waveforms[i : i + 20] for i in range(0, len(waveforms), 20)]
    seconds = {"hub_loop": [], "batch": []}
    for part in [turns[0], *turns]:
        start = time.perf_counter()
        for waveform in part:
            module(waveform)[1].numpy()
        middle = time.perf_counter()
        embed_batch(part)
        seconds["hub_loop"].append(middle - start)
        seconds["batch"].append(time.perf_counter() - middle)
    return {f"{name}_ms": 1000 * sum(of[1:]) / len(waveforms) for name, of in seconds.items()}


def open_hub_module():
    """YAMNet as TensorFlow Hub gives it: called on one waveform after the other, it is the plain loop."""
    try:
        from esc50.yamnet.hub_module import load_yamnet
    except ImportError:
        from esc50.yamnet import load_yamnet
    return load_yamnet().module


def open_batch():
    """The version's function from many waveforms to their embeddings."""
    try:
        from esc50.yamnet.runtime import load_runtime
    except ImportError:
        from esc50.yamnet import load_yamnet

        return load_yamnet().embed_batch
    return load_runtime().embed_batch


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print(json.dumps({"answers": time_answers, "embedding": time_embedding}[what](*arguments)))
