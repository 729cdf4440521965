"""How much faster YAMNet embeds clips in batches than in the plain loop over clips."""

from itertools import islice
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from benchmarks.machine import machine_facts
from esc50 import config
from esc50.audio.sound import load_sound
from esc50.dataset.clips import clip_path, dataset_found, find_dataset, load_clips
from esc50.experiments.results import write_json
from esc50.yamnet.hub_module import load_yamnet

BENCHMARK_FILE = "benchmark_embedding.json"


CLIPS_PER_TURN = 32


NOISE_PEAK = 0.5


AUDIO = config.AudioSettings()


def run_benchmark(n_clips=config.N_CLIPS, *, folder=None, progress=True):
    """Time the embedding of ESC-50's clips both ways and keep the result.

    Parameters
    ----------
    n_clips : int, optional
        How many clips of the list, from its start. Without recordings the clips are seeded noise, which YAMNet
        embeds in the same time; the result says which.
    folder : path-like, optional
        Where ``benchmark_embedding.json`` is written; by default ``data/results``, if all clips were embedded.
    progress : bool, optional
        Whether to show a progress bar.

    Returns
    -------
    dict
        As `benchmark_embedding`, and ``sound``, ``cpu``, ``cores``, ``python``, ``libraries`` and ``date``.
    """
    sound, waveforms = _clips(n_clips)
    result = {"sound": sound, **benchmark_embedding(waveforms, progress=progress, n_clips=n_clips), **machine_facts()}
    if folder or n_clips == config.N_CLIPS:
        write_json(result, Path(folder or config.RESULTS_DIR) / BENCHMARK_FILE)
    return result


def benchmark_embedding(waveforms, *, n_clips=None, batch_size=32, progress=False):
    """Time the plain clip-by-clip loop over the hub module against `Yamnet.embed_batch`, on the same clips.

    The two take turns, 32 clips each, so that neither gets the quiet minutes of a busy machine. Reading the
    clips is not timed, and each side runs once before the clock starts.

    Parameters
    ----------
    waveforms : iterable of np.ndarray, shape (n_samples,)
        Equally long clips, mono float32 in [-1, 1] at 16 kHz; a generator is read turn by turn.
    n_clips : int, optional
        Their number, for the progress bar.
    batch_size : int, optional
        As in `Yamnet.embed_batch`.
    progress : bool, optional
        Whether to show a progress bar.

    Returns
    -------
    dict
        ``n_clips``, ``batch_size``; in wall time ``hub_loop_ms_per_clip``, ``batch_ms_per_clip`` and their
        ``ratio``; the same in processor time (``hub_loop_cpu_ms_per_clip``, ``batch_cpu_ms_per_clip``,
        ``cpu_ratio``), which shows whether the machine was busy with other things; and ``largest_difference``
        between the embeddings of the two.

    Raises
    ------
    ValueError
        If there is no clip.
    """
    from tqdm.auto import tqdm

    yamnet, turns = load_yamnet(), []
    with tqdm(total=n_clips, unit="clip", desc="benchmark", disable=not progress) as bar:
        for clips in _turns(waveforms):
            if not turns:
                _time_turn(yamnet, clips, batch_size)  # the warm-up
            turns.append(_time_turn(yamnet, clips, batch_size))
            bar.update(len(clips))
    return _summarise(turns, batch_size)


def _turns(waveforms):
    waveforms = iter(waveforms)
    while clips := list(islice(waveforms, CLIPS_PER_TURN)):
        yield clips


def _time_turn(yamnet, clips, batch_size):
    """One turn of each side: number of clips, clocks of the loop and of the batch, largest difference."""
    start = _clocks()
    looped = np.stack([yamnet.module(waveform)[1].numpy() for waveform in clips])  # (n_clips, n_frames, 1024)
    middle = _clocks()
    batched = yamnet.embed_batch(clips, batch_size=batch_size).embeddings
    end = _clocks()
    return len(clips), middle - start, end - middle, np.abs(looped - batched).max()


def _clocks():
    """Wall seconds, and processor seconds over all cores, which a busy machine stretches less."""
    return np.array([perf_counter(), process_time()])


def _summarise(turns, batch_size):
    if not turns:
        raise ValueError("no clips to time: give at least one waveform")
    counts, loops, batches, differences = zip(*turns, strict=True)
    n_clips = sum(counts)
    (loop_ms, loop_cpu_ms), (batch_ms, batch_cpu_ms) = (1000 * sum(side) / n_clips for side in (loops, batches))
    return {
        "n_clips": n_clips,
        "batch_size": batch_size,
        "hub_loop_ms_per_clip": round(float(loop_ms), 2),
        "batch_ms_per_clip": round(float(batch_ms), 2),
        "ratio": round(float(loop_ms / batch_ms), 2),
        "hub_loop_cpu_ms_per_clip": round(float(loop_cpu_ms), 2),
        "batch_cpu_ms_per_clip": round(float(batch_cpu_ms), 2),
        "cpu_ratio": round(float(loop_cpu_ms / batch_cpu_ms), 2),
        "largest_difference": float(max(differences)),
    }


def _clips(n_clips):
    """What the clips are, and a generator of them."""
    if not dataset_found():
        return "seeded noise", (_noise(seed) for seed in range(n_clips))
    root = find_dataset()
    paths = [clip_path(name, root) for name in load_clips()["filename"].iloc[:n_clips]]
    return "ESC-50", (load_sound(path).waveform for path in paths)


def _noise(seed):
    n_samples = round(AUDIO.clip_seconds * AUDIO.sample_rate_hz)
    return np.random.default_rng(seed).uniform(-NOISE_PEAK, NOISE_PEAK, n_samples).astype(np.float32)
