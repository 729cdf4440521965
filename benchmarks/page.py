"""How quick and small the page in the browser is, and what a browser's own resampling would cost.

``python -m benchmarks.page`` needs a Chromium and Playwright; it takes the recordings where they are found, else
synthesised sounds.
"""

import base64
import functools
import http.server
import io
import json
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from statistics import median

import click
import numpy as np
import soundfile
import soxr

from esc50.apps.page import build_page
from esc50.audio import synthesis
from esc50.classifier.predict import SoundClassifier
from esc50.dataset.clips import clip_path, dataset_found, find_dataset, load_clips

RATE, SOURCE_RATE = 16_000, 44_100
NOISE = 0.01  # above what YAMNet takes, as recordings have it: what a poor resampler folds back
ANSWER = """async (file) => {
    const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "sound.wav"));
    const input = document.getElementById("file");
    const answer = new Promise((resolve) => {
        document.addEventListener("answer", (event) => resolve(event.detail), { once: true });
    });
    input.files = data.files;
    const start = performance.now();
    input.dispatchEvent(new Event("change"));
    return { answer: await answer, ms: performance.now() - start };
}"""
DECODE = """async (file) => {
    const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
    const own = await new OfflineAudioContext(1, 1, 44100).decodeAudioData(bytes.slice().buffer);
    const context = new OfflineAudioContext(1, Math.round(own.duration * 16000), 16000);
    const source = new AudioBufferSourceNode(context, { buffer: own });
    source.connect(context.destination);
    source.start();
    const decoded = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes.buffer);
    return [decoded, await context.startRendering()].map((buffer) => [...buffer.getChannelData(0)]);
}"""


@click.command()
@click.option("--clips", default=100, show_default=True, help="How many recordings are compared.")
def main(clips):
    """Measure, and print as JSON."""
    from playwright.sync_api import sync_playwright

    classifier, folder = SoundClassifier.load(), Path(tempfile.mkdtemp())
    build_page(folder / "page")
    found = {}
    with serve(folder / "page") as server, sync_playwright() as playwright:
        address = f"http://127.0.0.1:{server.server_port}/"
        with playwright.chromium.launch(executable_path=_find_chromium(), args=["--no-sandbox"]) as browser:
            page = browser.new_page()
            found["one_thread"] = _time(page, address)
            page.evaluate("navigator.serviceWorker.ready.then(() => 0)")
            found["first_load_bytes"] = Handler.n_bytes
            found["threads"] = _time(page, address)
            found["resampled"] = _compare(page, classifier, _waveforms(clips))
        server.shutdown()
    json.dump(found, sys.stdout, indent=1)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files and counts their bytes."""

    n_bytes = 0

    def copyfile(self, source, outputfile):
        """Send a file."""
        content = source.read()
        Handler.n_bytes += len(content)
        outputfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


def serve(folder):
    """Serve a folder on a free port of this machine, in a thread."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _find_chromium():
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _waveforms(n):
    if not dataset_found():
        return [synthesis.example(name) for name in synthesis.EXAMPLES]
    names = load_clips()["filename"][:: 2_000 // n]
    return [soundfile.read(clip_path(name, find_dataset()), dtype="float32")[0] for name in names]


def _time(page, address, *, n=20):
    """Milliseconds from a file of 5 s to its answer, at both rates, once the model is there."""
    page.goto(address)
    page.locator("#classes dt").first.wait_for(state="attached", timeout=120_000)
    siren, times = synthesis.example("siren"), {}
    for rate in (RATE, SOURCE_RATE):
        file = _wav(siren if rate == RATE else soxr.resample(siren, RATE, rate), rate)
        each = [page.evaluate(ANSWER, file)["ms"] for _ in range(n)]
        times[f"{rate} Hz"] = {"median_ms": round(median(each)), "least_ms": round(min(each))}
    return times | {"isolated": page.evaluate("crossOriginIsolated")}


def _compare(page, classifier, waveforms):
    """Sounds at 44.1 kHz with noise above 8 kHz: ours and the browser's resampling beside Python's."""
    rows, rng = [], np.random.default_rng(0)
    for waveform in waveforms:
        file = _wav(soxr.resample(waveform, RATE, SOURCE_RATE) + _treble(rng, len(waveform)), SOURCE_RATE)
        wanted = _probabilities(classifier.predict(base64.b64decode(file)))
        top = page.evaluate(ANSWER, file)["answer"]["top"]
        ours = {each["class_name"]: each["probability"] for each in top}
        arrays = [np.clip(np.float32(each), -1, 1) for each in page.evaluate(DECODE, file)]
        theirs = [_probabilities(classifier.predict(each, sample_rate_hz=RATE)) for each in arrays]
        rows.append([_differ(each, wanted) for each in (ours, *theirs)])
    same, change = np.moveaxis(np.array(rows), 2, 0)  # (n_sounds, 3) each
    names = ("ours", "decodeAudioData at 16 kHz", "AudioBufferSourceNode at 16 kHz")
    figures = zip(names, same.mean(axis=0), change.mean(axis=0), change.max(axis=0), strict=True)
    return {name: {"same_class": s, "mean_change": round(m, 4), "most": round(t, 4)} for name, s, m, t in figures}


def _differ(found, wanted):
    """Whether the class is the same, and by how much the probability of the wanted one differs."""
    best = max(wanted, key=wanted.get)
    return max(found, key=found.get) == best, abs(found.get(best, 0.0) - wanted[best])


def _treble(rng, n_samples):
    noise = rng.standard_normal(round(n_samples * SOURCE_RATE / RATE))
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(len(noise), 1 / SOURCE_RATE) < RATE / 2] = 0
    return NOISE * np.fft.irfft(spectrum, len(noise))


def _probabilities(prediction):
    return dict(zip(prediction.class_names, prediction.probabilities.tolist(), strict=True))


def _wav(samples, rate):
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), rate, format="WAV", subtype="PCM_16")
    return base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    main()
