"""How well timelines tell what is in long recordings: measured on soundscapes of clips that the heads never saw.

Two things were not chosen anew for each fold. Heads are made as `shipping.RECIPES` say, with settings for whose choice
see `nested_cv`: each reported fold had a part in it. And an earlier grid on these folds held a ``min_event_seconds`` of
1.9 s too, which was taken out for the sake of single clicks.
"""

from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from esc50.audio.loudness import set_level
from esc50.audio.sound import load_sound
from esc50.classifier.model_io import DEFAULT_MODEL, command
from esc50.classifier.timeline import STORED, TimelineSettings, find_events, window_of, windowed_maxima
from esc50.config import ALL_LAYERS, FOLDS, RESULTS_DIR, output_path
from esc50.dataset.clips import class_names, clip_path, find_dataset, load_clips
from esc50.dataset.soundscapes import SoundscapeSettings, make_soundscape, segment_activity, segment_metrics
from esc50.dataset.splits import official_splits, validation_split
from esc50.experiments.results import write_json
from esc50.experiments.run_cache import provenance
from esc50.experiments.shipping import RECIPES
from esc50.yamnet.architecture import SCORES, columns_of
from esc50.yamnet.frames import active_frames
from esc50.yamnet.runtime import load_runtime

TIMELINE_FILE = "timeline.json"
GRID = {
    "window_frames": (1, 3, 5),  # of heads on maxima; for others there is no choice
    "smoothing_frames": (1, 3, 5, 7, 9),
    "min_confidence": (0.2, 0.25, 0.3, 0.35, 0.4, 0.5),
    "max_gap_seconds": (0.5, 1.0, 2.0, 3.0),
    "min_event_seconds": (0.0, 0.9, 1.4),  # a click is in three frames: 1.44 s, and more would drop it
}


@dataclass(frozen=True, eq=False)
class Recording:
    """A soundscape as heads take it."""

    vectors: np.ndarray  # (n_frames, size) float16
    reference: np.ndarray  # (n_segments, 50) which classes truly sound in which segment
    duration_seconds: float


def run_timelines(
    *, model=DEFAULT_MODEL, folds=FOLDS, settings=SoundscapeSettings(), seed=0, folder=None, progress=True
):
    """Measure timelines on soundscapes of each fold in turn, and write ``timeline.json`` where all folds are measured.

    For each fold the settings of the timeline are chosen on a validation fold inside the four training folds, by a head
    trained on the other three; then a head trained on all four is tested. The settings in use (``TimelineSettings``)
    are those that do best over all the validation folds together. Events are taken as
    `esc50.classifier.timeline.find_events` gives them: the rule for "none of these" is no part of these metrics.
    """
    from tqdm.auto import tqdm

    recordings = {k: embed_soundscapes(k, model=model, settings=settings, progress=progress) for k in FOLDS}
    by_fold, activities, validation = [], [], []
    for fold in tqdm(folds, desc="folds", unit="fold", disable=not progress):
        chosen, validated = choose_settings(fold, recordings, model=model, seed=seed)
        head = RECIPES[model].head(official_splits(load_clips(), folds=[fold])[0].train, seed=seed)
        frames = frames_of(head, recordings[fold], n_frames=chosen.window_frames)
        activities.append(activity(frames, chosen))
        first = activity(frames[:1], chosen)  # a test makes it anew
        about = {"fold": fold, "settings": _choice(chosen), "first_recording": measure(first)}
        by_fold.append(about | measure(activities[-1]))
        validation.append(validated)
    pooled = measure(map(np.concatenate, zip(*activities, strict=True)))
    result = {"pooled": pooled, "by_fold": by_fold, "in_use": _choice(_best(validation))}
    result |= _about(model, recordings, settings, seed)
    if tuple(folds) == FOLDS:
        write_json(result, Path(folder or output_path(RESULTS_DIR)) / TIMELINE_FILE)
    return result


def embed_soundscapes(fold, *, model=DEFAULT_MODEL, settings=SoundscapeSettings(), n_recordings=None, progress=False):
    """Recordings of the clips of one fold, each clip in one of them, in a drawn order; all or the first few."""
    from tqdm.auto import tqdm

    clips, root, columns = load_clips(), find_dataset(), columns_of(RECIPES[model].layers, among=(SCORES, *ALL_LAYERS))
    clips = clips[clips["fold"] == fold].sample(frac=1, random_state=settings.seed + fold)
    starts = range(0, len(clips), settings.clips_per_recording)[:n_recordings]
    recordings = []
    for number, start in enumerate(tqdm(starts, desc=f"soundscapes of fold {fold}", disable=not progress)):
        part = clips.iloc[start : start + settings.clips_per_recording]
        waveforms = [load_sound(clip_path(name, root)).waveform for name in part["filename"]]
        seed = 1000 * settings.seed + 100 * fold + number
        whole = make_soundscape(waveforms, part["category"], seed=seed, settings=settings)
        how = {"duration_seconds": whole.duration_seconds, "segment_seconds": settings.segment_seconds}
        reference = segment_activity(whole.reference, class_names(), **how)
        waveform = set_level(whole.waveform) if RECIPES[model].is_levelled else whole.waveform
        vectors = load_runtime().embed(waveform, with_scores=True)[:, columns].astype(STORED)
        recordings.append(Recording(vectors, reference, whole.duration_seconds))
    return recordings


def choose_settings(fold, recordings, *, model=DEFAULT_MODEL, seed=0):
    """Settings for one reported fold, chosen inside its training folds, and the validation F1 of every choice."""
    clips = load_clips()
    split = validation_split(clips, official_splits(clips, folds=[fold])[0])
    (validation_fold,) = set(clips["fold"].to_numpy()[split.test])
    head, choices = RECIPES[model].head(split.train, seed=seed), grid(model=model)
    windows = {choice.window_frames for choice in choices}
    frames = {n: frames_of(head, recordings[validation_fold], n_frames=n) for n in windows}
    validated = {each: segment_metrics(*activity(frames[each.window_frames], each))["f1"] for each in choices}
    return _best([validated]), validated


def grid(*, model=DEFAULT_MODEL):
    """Every combination of the settings that are chosen by measurement."""
    values = _grid(model)
    return [replace(TimelineSettings(), **dict(zip(values, each, strict=True))) for each in product(*values.values())]


def frames_of(head, recordings, *, n_frames=1):
    """Of each recording the frames' probabilities, of maxima over `n_frames`, which are active, and itself."""
    frames = []
    for recording in recordings:
        vectors = recording.vectors.astype(np.float32)  # (n_frames, size)
        active = active_frames(vectors)
        maxima = windowed_maxima(vectors, active, n_frames=n_frames)
        frames.append((head(maxima), active, recording))
    return frames


def activity(frames, settings, *, segment_seconds=SoundscapeSettings.segment_seconds):
    """What truly sounds and what timelines say, (n_segments, 50) each, of all recordings one after the other."""
    names, found = class_names(), []
    for probabilities, active, recording in frames:
        seconds = recording.duration_seconds
        events = find_events(probabilities, active, class_names=names, duration_seconds=seconds, settings=settings)
        found.append(segment_activity(events, names, duration_seconds=seconds, segment_seconds=segment_seconds))
    return np.concatenate([recording.reference for *_, recording in frames]), np.concatenate(found)


def measure(activities):
    """Segment metrics of an `activity`, to four places, as the file has them."""
    return {name: round(value, 4) for name, value in segment_metrics(*activities).items()}


def _best(validations):
    """Settings with the highest mean over validation folds; the first of equals."""
    return max(validations[0], key=lambda choice: np.mean([validated[choice] for validated in validations]))


def _choice(settings):
    return {name: getattr(settings, name) for name in GRID}


def _grid(model):
    windows = [replace(TimelineSettings(), window_frames=n) for n in GRID["window_frames"]]
    possible = {window_of(RECIPES[model].pooling, each) for each in windows}
    return GRID | {"window_frames": tuple(sorted(possible))}


def _about(model, recordings, settings, seed):
    every = [recording for fold in recordings.values() for recording in fold]
    return {
        "model": model,
        "recipe": RECIPES[model].about,
        "soundscapes": asdict(settings),
        "grid": {name: list(values) for name, values in _grid(model).items()},
        "seed": seed,
        "n_recordings": len(every),
        "hours": round(sum(recording.duration_seconds for recording in every) / 3600, 3),
        "command": command("timelines", model),
        "provenance": [provenance()],
    }
