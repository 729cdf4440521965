"""How well timelines tell what is in long recordings: measured on stitched clips that the heads never heard.

Two things were not chosen anew for each fold. Heads are made as `esc50.recipes` says, with settings for whose choice
see `esc50.selection`: each reported fold had a part in it. And an earlier grid on these folds held a
``min_event_seconds`` of 1.9 s too, which was taken out for the sake of single clicks.
"""

from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from esc50.audio.sound import load_sound
from esc50.classifier import model_io
from esc50.classifier.model_io import DEFAULT_MODEL, command
from esc50.classifier.timeline import STORED, find_events, window_of, windowed_maxima
from esc50.config import FOLDS, RESULTS_DIR, TimelineSettings
from esc50.dataset.clips import class_names, clip_path, find_dataset, load_clips
from esc50.dataset.feature_files import parameters
from esc50.dataset.soundscapes import SoundscapeSettings, make_soundscape, segment_activity, segment_metrics
from esc50.dataset.splits import official_splits, validation_split
from esc50.experiments import run_cache
from esc50.experiments.results import write_json
from esc50.experiments.shipping import RECIPES, load_yamnet_of
from esc50.experiments.study import EXPERIMENTS
from esc50.yamnet.backend import quiet_tensorflow
from esc50.yamnet.frames import active_frames

TIMELINE_FILE = "timeline.json"
GRID = {
    "window_frames": (1, 3, 5),  # of heads on maxima; for others there is no choice
    "smoothing_frames": (1, 3, 5, 7, 9),
    "min_confidence": (0.2, 0.25, 0.3, 0.35, 0.4, 0.5),
    "max_gap_seconds": (0.5, 1.0, 2.0, 3.0),
    "min_event_seconds": (0.0, 0.9, 1.4),  # a click is in three frames: 1.44 s, and more would drop it
}
MODULES = (*("audio", "layers", "recipes", "stitching", "timeline", "timeline_benchmark", "yamnet"),)


@dataclass(frozen=True, eq=False)
class HeardRecording:
    """A stitched recording as YAMNet hears it.

    Attributes
    ----------
    vectors : np.ndarray, shape (n_frames, size)
        Of all frames, float16.
    reference : np.ndarray of bool, shape (n_segments, 50)
        Which classes truly sound in which segment.
    duration_seconds : float
        Length.
    """

    vectors: np.ndarray
    reference: np.ndarray
    duration_seconds: float


def run_timeline_benchmark(
    *, model=DEFAULT_MODEL, folds=FOLDS, settings=SoundscapeSettings(), seed=0, folder=RESULTS_DIR, progress=True
):
    """Measure timelines on recordings stitched from each fold in turn, and keep the result if it is whole.

    For each fold the settings of the timeline are chosen on a validation fold inside the four training folds, by
    a head trained on the other three; then a head trained on all four hears the reported fold. The settings in
    use (``TimelineSettings``) are those that do best over all the validation folds together. Events are taken as
    `esc50.classifier.timeline.find_events` gives them: the rule for what is none of the classes is no part of these scores.

    Parameters
    ----------
    model : str
        A key of `esc50.experiments.shipping.RECIPES`: how heads are made.
    folds : sequence of int
        Official folds to report; the file is written only for all five.
    settings : SoundscapeSettings
        How recordings are stitched and scored.
    seed : int
        Of the heads; the recordings have the seed of the settings.
    folder : path-like
        Where ``timeline.json`` is written.
    progress : bool
        Show progress bars.

    Returns
    -------
    dict
        ``pooled`` scores over all folds, ``by_fold`` with the settings chosen for each and the scores of its first
        recording alone, ``in_use`` settings, the ``model``, and what made them.

    Raises
    ------
    DatasetError
        The recordings are missing.
    """
    from tqdm.auto import tqdm

    quiet_tensorflow()
    hear = {"model": model, "settings": settings, "progress": progress}
    recordings = {fold: heard_recordings(fold, **hear) for fold in FOLDS}
    by_fold, activities, validation = [], [], []
    for fold in tqdm(folds, desc="folds", unit="fold", disable=not progress):
        chosen, validated = choose_settings(fold, recordings, model=model, seed=seed)
        head = train_head(official_splits(load_clips(), folds=[fold])[0].train, model=model, seed=seed)
        frames = frames_of(head, recordings[fold], n_frames=chosen.window_frames)
        activities.append(activity(frames, chosen))
        scores = rounded(segment_metrics(*activities[-1]))
        first = rounded(segment_metrics(*activity(frames[:1], chosen)))  # a test makes it anew
        by_fold.append({"fold": fold, **scores, "settings": _choice(chosen), "first_recording": first})
        validation.append(validated)
    pooled = segment_metrics(*map(np.concatenate, zip(*activities, strict=True)))
    result = {"pooled": rounded(pooled), "by_fold": by_fold, "in_use": _choice(_best(validation))}
    result |= _about(model, recordings, settings, seed)
    if tuple(folds) == FOLDS:
        write_json(result, Path(folder) / TIMELINE_FILE)
    return result


def heard_recordings(fold, *, model=DEFAULT_MODEL, settings=SoundscapeSettings(), n_recordings=None, progress=False):
    """Stitch the clips of one fold, in a drawn order, and let YAMNet hear the recordings.

    Parameters
    ----------
    fold : int
        Official fold.
    model : str
        A key of `esc50.experiments.shipping.RECIPES`: with which layers YAMNet hears.
    settings : SoundscapeSettings
        Clips in a recording, gaps, levels, seed.
    n_recordings : int, optional
        Only the first so many; all by default.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of HeardRecording
        Every clip of the fold is in one of them.
    """
    from tqdm.auto import tqdm

    clips, root, yamnet = load_clips(), find_dataset(), load_yamnet_of(RECIPES[model])
    clips = clips[clips["fold"] == fold].sample(frac=1, random_state=settings.seed + fold)
    starts = range(0, len(clips), settings.clips_per_recording)[:n_recordings]
    heard = []
    for number, start in enumerate(tqdm(starts, desc=f"stitching fold {fold}", disable=not progress)):
        part = clips.iloc[start : start + settings.clips_per_recording]
        waveforms = [load_sound(clip_path(name, root)).waveform for name in part["filename"]]
        seed = 1000 * settings.seed + 100 * fold + number
        whole = make_soundscape(waveforms, part["category"], seed=seed, settings=settings)
        seconds = whole.duration_seconds
        truth = segment_activity(
            whole.reference, class_names(), duration_seconds=seconds, segment_seconds=settings.segment_seconds
        )
        heard.append(HeardRecording(yamnet.embed(whole.waveform).astype(STORED), truth, seconds))
    return heard


def train_head(rows, *, model=DEFAULT_MODEL, seed=0):
    """Train a head on some clips, as its recipe says.

    Parameters
    ----------
    rows : np.ndarray, shape (n_clips,)
        Rows of the clip table.
    model : str
        A key of `esc50.experiments.shipping.RECIPES`.
    seed : int
        Of weights and order.

    Returns
    -------
    keras.Model
        From (batch, size) to (batch, 50).
    """
    return RECIPES[model].fit(rows, settings=RECIPES[model].settings, seed=seed)


def choose_settings(fold, recordings, *, model=DEFAULT_MODEL, seed=0):
    """Choose the timeline's settings for one reported fold, inside its training folds.

    Parameters
    ----------
    fold : int
        The fold that is reported: neither its clips nor its recordings are used.
    recordings : dict of int to list of HeardRecording
        By fold.
    model : str
        A key of `esc50.experiments.shipping.RECIPES`.
    seed : int
        Of the head.

    Returns
    -------
    TimelineSettings
        With the highest F1 on the validation fold.
    dict of TimelineSettings to float
        That F1 for every choice of the grid.
    """
    clips = load_clips()
    split = validation_split(clips, official_splits(clips, folds=[fold])[0])
    (validation_fold,) = set(clips["fold"].to_numpy()[split.test])
    head, choices = train_head(split.train, model=model, seed=seed), grid(model=model)
    windows = {choice.window_frames for choice in choices}
    frames = {n: frames_of(head, recordings[validation_fold], n_frames=n) for n in windows}
    validated = {choice: segment_metrics(*activity(frames[choice.window_frames], choice))["f1"] for choice in choices}
    return _best([validated]), validated


def grid(*, model=DEFAULT_MODEL):
    """Every combination of the settings that are chosen by measurement.

    Parameters
    ----------
    model : str
        A key of `esc50.experiments.shipping.RECIPES`.

    Returns
    -------
    list of TimelineSettings
        In the order of `GRID`.
    """
    values = _grid(model)
    return [replace(TimelineSettings(), **dict(zip(values, each, strict=True))) for each in product(*values.values())]


def frames_of(head, recordings, *, n_frames=1):
    """What a head makes of recordings, frame by frame.

    Parameters
    ----------
    head : keras.Model
        From `train_head`.
    recordings : list of HeardRecording
        To be heard.
    n_frames : int
        Width of the window over which it takes maxima: see `esc50.classifier.timeline.windowed_maxima`.

    Returns
    -------
    list of tuple
        Of each recording the probabilities (n_frames, 50), the active frames (n_frames,) and the recording.
    """
    frames = []
    for recording in recordings:
        vectors = recording.vectors.astype(np.float32)  # (n_frames, size)
        active = active_frames(vectors)
        maxima = windowed_maxima(vectors, active, n_frames=n_frames)
        frames.append((head.predict(maxima, batch_size=2048, verbose=0), active, recording))
    return frames


def activity(frames, settings, *, segment_seconds=SoundscapeSettings.segment_seconds):
    """What truly sounds and what timelines say, segment by segment.

    Parameters
    ----------
    frames : list of tuple
        From `frames_of`.
    settings : TimelineSettings
        How events are made.
    segment_seconds : float
        Length of a segment.

    Returns
    -------
    tuple of np.ndarray of bool, shape (n_segments, 50)
        The reference and what was found, of all recordings one after the other.
    """
    names, found = class_names(), []
    for probabilities, active, recording in frames:
        seconds = recording.duration_seconds
        events = find_events(probabilities, active, class_names=names, duration_seconds=seconds, settings=settings)
        found.append(segment_activity(events, names, duration_seconds=seconds, segment_seconds=segment_seconds))
    return np.concatenate([recording.reference for *_, recording in frames]), np.concatenate(found)


def rounded(scores):
    """Scores to four places, as the file has them.

    Parameters
    ----------
    scores : dict of str to float
        From `esc50.dataset.soundscapes.segment_metrics`.

    Returns
    -------
    dict of str to float
        The same, rounded.
    """
    return {name: round(value, 4) for name, value in scores.items()}


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
    recipe = RECIPES[model]
    every = [recording for fold in recordings.values() for recording in fold]
    return {
        "model": model,
        "recipe": model_io.recipe(recipe.pooling, recipe.settings, recipe.layers),
        "stitching": asdict(settings),
        "grid": {name: list(values) for name, values in _grid(model).items()},
        "feature_parameters": parameters(recipe.features[0]),
        "seed": seed,
        "n_recordings": len(every),
        "hours": round(sum(recording.duration_seconds for recording in every) / 3600, 3),
        "code_version": run_cache.code_version((*EXPERIMENTS[recipe.model].code, *MODULES)),
        "command": command("timeline-benchmark", model),
    }
