"""Measure accuracy on degraded ESC-50 clips, by heads that were not trained on their fold."""

import io
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from esc50.audio.sound import load_sound
from esc50.classifier.model_io import DEFAULT_MODEL
from esc50.classifier.pooling import pool_clips
from esc50.config import FOLDS, RESULTS_DIR, output_path
from esc50.dataset import degradation
from esc50.dataset.clips import clip_path, find_dataset, load_clips
from esc50.dataset.degradation import RATE_HZ
from esc50.dataset.splits import official_splits
from esc50.experiments import run_cache
from esc50.experiments.base import find_experiments
from esc50.experiments.results import read_csv, write_csv
from esc50.experiments.shipping import RECIPES
from esc50.yamnet.frames import active_frames

ROBUSTNESS_FILE, SEED, VERSION = "robustness.csv", 0, 1
N_CLIPS = 200  # per fold, the first in the clip table
SHIPPED = RECIPES[DEFAULT_MODEL]


@dataclass(frozen=True)
class Condition:
    """A kind of degradation and its amount."""

    kind: str
    amount: float
    unit: str


def _conditions():
    amounts = {
        ("level", "dB"): (0, -10, -20, -30, -40),
        ("white noise", "dB signal to noise"): (30, 20, 10, 0),
        ("reverberation", "s until 60 dB down"): (0.3, 0.6, 1.0),
        ("telephone band", "300 to 3,400 Hz"): (1,),
        ("clipping", "dB over full scale"): (10, 20),
        ("MP3", "compression level"): (0.9,),
        ("Opus", "compression level"): (0.9,),
    }
    return tuple(Condition(kind, amount, unit) for (kind, unit), of in amounts.items() for amount in of)


CONDITIONS = _conditions()


def worsen(waveform, condition, *, seed):
    """Return a degraded copy of a clip (n_samples,), quantised to 16 bits."""
    rng, amount = np.random.default_rng(seed), condition.amount
    changed = {
        "level": lambda: waveform * 10 ** (amount / 20),
        "white noise": lambda: degradation.add_noise(waveform, decibel=amount, rng=rng),
        "reverberation": lambda: degradation.reverberate(waveform, seconds=amount, direct_decibel=0.0, rng=rng),
        "telephone band": lambda: degradation.limit_band(waveform, low_hz=300.0, high_hz=3_400.0),
        "clipping": lambda: waveform / max(np.abs(waveform).max(), 1e-6) * 10 ** (amount / 20),
        "MP3": lambda: _coded(waveform, amount, format="MP3", subtype="MPEG_LAYER_III"),
        "Opus": lambda: _coded(waveform, amount, format="OGG", subtype="OPUS"),
    }[condition.kind]()
    if condition.kind not in ("level", "clipping"):  # avoid unintended clipping
        changed = changed / max(1.0, np.abs(changed).max())
    return (np.clip(np.round(changed * 32_768), -32_768, 32_767) / 32_768).astype(np.float32)


def _coded(waveform, compression, **form):
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, waveform, RATE_HZ, compression_level=compression, **form)
    return soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0][: len(waveform)]


def measure(*, folds=FOLDS, conditions=CONDITIONS, n_clips=N_CLIPS, progress=True):
    """Measure the accuracy of one head per fold on degraded clips of that fold.

    Parameters
    ----------
    folds : sequence of int
        Official folds; finished ones come from the cache.
    conditions : sequence of Condition
        Degradations.
    n_clips : int
        Clips per fold.
    progress : bool
        Show progress bars.

    Returns
    -------
    pandas.DataFrame
        ``kind``, ``amount``, ``unit``, ``fold``, ``n_clips`` and ``accuracy``, one row per condition and fold.
    """
    from tqdm.auto import tqdm

    recipe, tables = SHIPPED, []
    for fold in tqdm(folds, desc="robustness", unit="head", disable=not progress):
        key = {"robustness": VERSION, "conditions": [asdict(each) for each in conditions], "n_clips": n_clips}
        key |= find_experiments()[recipe.experiment].record(recipe.settings) | {"fold": fold, "seed": SEED}
        rows, _ = run_cache.cached(key, partial(_test_fold, recipe, fold, conditions, n_clips, progress))
        tables.append(pd.DataFrame(rows).assign(fold=fold))
    return pd.concat(tables, ignore_index=True)[["kind", "amount", "unit", "fold", "n_clips", "accuracy"]]


def run_robustness(**how):
    """Measure all folds, write ``robustness.csv``, and return its path."""
    path = output_path(RESULTS_DIR) / ROBUSTNESS_FILE
    write_csv(measure(**how), path, float_format="%.6g")
    return path


def load_robustness(*, folder=RESULTS_DIR):
    """Read the accuracy under each condition, averaged over folds, and what it loses.

    The columns are those of the file, without fold; ``lost``, the accuracy as the clips are minus that under the
    condition; and ``lost_low`` and ``lost_high``, its 95 % interval by Student's t over the folds.
    """
    table = read_csv(folder / ROBUSTNESS_FILE)
    clean = table[(table["kind"] == "level") & (table["amount"] == 0)].set_index("fold")["accuracy"]
    table["lost"] = table["fold"].map(clean) - table["accuracy"]
    groups = table.groupby(["kind", "amount", "unit"], sort=False)
    means = groups.agg(n_clips=("n_clips", "sum"), accuracy=("accuracy", "mean"), lost=("lost", "mean"))
    margin = stats.t.ppf(0.975, len(clean) - 1) * groups["lost"].sem()
    return means.assign(lost_low=means["lost"] - margin, lost_high=means["lost"] + margin).reset_index()


def _test_fold(recipe, fold, conditions, n_clips, progress):
    from tqdm.auto import tqdm

    [split] = official_splits(load_clips(), folds=[fold])
    head, clips = recipe.head(split.train, seed=SEED), load_clips().iloc[split.test[:n_clips]]
    root, rows = find_dataset(), []
    waveforms = [load_sound(clip_path(name, root)).waveform for name in clips["filename"]]
    for condition in tqdm(conditions, desc=f"fold {fold}", leave=False, disable=not progress):
        worse = (worsen(wave, condition, seed=i) for i, wave in zip(clips.index, waveforms, strict=True))
        right = [_answer(head, recipe, wave) for wave in worse] == clips["target"].to_numpy()
        rows.append(asdict(condition) | {"n_clips": len(clips), "accuracy": right.mean()})
    return rows


def _answer(head, recipe, waveform):
    vectors = recipe.embed(waveform)
    pooled = pool_clips(head, vectors[np.newaxis], active_frames(vectors)[np.newaxis], pooling=recipe.pooling)
    return pooled[0].argmax()
