"""Evaluate timelines on soundscapes of clips that the heads were not trained on.

Two choices were not repeated for each fold. The settings of the heads (`shipping.RECIPES`, see `nested_cv`) were
chosen with all folds. The grid is the result of trials on validation folds, in which other rules did not help: lower
thresholds for a class next to a stronger one, means over windows of several lengths, windows of 1 and 7 frames, other
gaps. A ``min_event_seconds`` of 1.9 s was removed, because it suppressed single clicks.
"""

from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from esc50.audio.sound import load_sound
from esc50.classifier.model_io import DEFAULT_MODEL, command
from esc50.classifier.timeline import (
    STORED,
    TimelineSettings,
    find_events,
    frame_borders,
    log_odds,
    smooth_probabilities,
    window_of,
    windowed_maxima,
)
from esc50.config import FOLDS, RESULTS_DIR, ResultsError, output_path
from esc50.dataset.clips import class_names, clip_path, find_dataset, load_clips
from esc50.dataset.soundscapes import SoundscapeSettings, make_soundscape, segment_activity, segment_metrics
from esc50.dataset.splits import official_splits, validation_split
from esc50.experiments.results import write_json
from esc50.experiments.run_cache import provenance
from esc50.experiments.shipping import RECIPES
from esc50.yamnet.frames import active_frames

TIMELINE_FILE = "timeline.json"
GRID = {
    "window_frames": (3, 5),  # for heads on maxima only
    "smoothing_frames": (1, 3, 5),
    "on_probability": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "off_probability": (0.02, 0.05, 0.1, 0.2),
    "trim_frames": (0, 1, 2),
}
KINDS = {"one_at_a_time": False, "overlapping": True}  # of soundscapes: whether clips overlap
PSDS = {  # scenarios of DCASE 2021 task 4: 1 stresses localisation in time, 2 classification
    "psds1": {"dtc_threshold": 0.7, "gtc_threshold": 0.7, "alpha_st": 1.0},
    "psds2": {"dtc_threshold": 0.1, "gtc_threshold": 0.1, "cttc_threshold": 0.3, "alpha_ct": 0.5, "alpha_st": 1.0},
}
RIGHT_SHARE = 0.5  # share of an event in which its class must be present to count as correct
N_BINS = 10  # of confidence, with equal width


@dataclass(frozen=True, eq=False)
class Recording:
    """An embedded soundscape."""

    vectors: np.ndarray  # (n_frames, size) float16
    reference: tuple  # of ReferenceEvent
    duration_seconds: float


class Frames(NamedTuple):
    """A head's output for a recording."""

    probabilities: np.ndarray  # (n_frames, 50), of maxima over a window
    active: np.ndarray  # (n_frames,) bool
    recording: Recording


class Events(NamedTuple):
    """Confidence and correctness of the events of several recordings."""

    confidence: np.ndarray  # (n_events,)
    is_right: np.ndarray  # (n_events,) bool


def run_timelines(
    *, model=DEFAULT_MODEL, folds=FOLDS, settings=SoundscapeSettings(), seed=0, folder=None, progress=True
):
    """Evaluate timelines on soundscapes of each fold, and write ``timeline.json`` if all folds are covered.

    For each fold, the timeline settings are chosen and the confidence is calibrated on a validation fold, with a head
    trained on the other three; a head trained on all four training folds is then tested. The settings in use
    (``TimelineSettings``) are the best over all validation folds together. The metrics are those of
    `esc50.classifier.timeline.find_events`, without the rejection rule.

    Parameters
    ----------
    model : str
        A key of `esc50.experiments.shipping.RECIPES`.
    folds : sequence of int
        Folds to test on.
    settings : SoundscapeSettings
        How soundscapes are made.
    seed : int
        Of the heads.
    folder : path-like, optional
        Where to write; by default that of the results.
    progress : bool
        Show progress bars.

    Returns
    -------
    dict
        Content of ``timeline.json``.

    Raises
    ------
    ResultsError
        If sed_scores_eval is not installed.
    DatasetError
        If no ESC-50 audio is found.
    """
    from tqdm.auto import tqdm

    if not find_spec("sed_scores_eval"):  # not a requirement, because it has no wheel and needs a compiler
        raise ResultsError("sed_scores_eval is not installed: run `pip install sed_scores_eval`")
    recordings = {k: embed_soundscapes(k, model=model, settings=settings, progress=progress) for k in FOLDS}
    by_fold, tested, validation = [], {kind: [] for kind in KINDS}, []
    for fold in tqdm(folds, desc="folds", unit="fold", disable=not progress):
        validation.append(validate(fold, recordings, model=model, seed=seed))
        chosen = calibrate(choose([validation[-1]]), [validation[-1]])
        head = RECIPES[model].head(official_splits(load_clips(), folds=[fold])[0].train, seed=seed)
        frames = {kind: frames_of(head, recordings[fold][kind], n_frames=chosen.window_frames) for kind in KINDS}
        row = {"fold": fold, "settings": _choice(chosen)}
        row["first_recording"] = segments(frames["one_at_a_time"][:1], chosen)  # recomputed by a test
        by_fold.append(row | {kind: measure([(parts, chosen)]) for kind, parts in frames.items()})
        for kind, parts in frames.items():
            tested[kind].append((parts, chosen))
    in_use = calibrate(choose(validation), validation)
    result = {"pooled": {kind: measure(parts) for kind, parts in tested.items()}, "by_fold": by_fold}
    every = [each for parts in tested.values() for each in parts]
    result |= {"in_use": _choice(in_use), "calibration": reliability(judge_all(every))}
    result |= _about(model, recordings, settings, seed)
    if tuple(folds) == FOLDS:
        write_json(result, Path(folder or output_path(RESULTS_DIR)) / TIMELINE_FILE)
    return result


def embed_soundscapes(fold, *, model=DEFAULT_MODEL, settings=SoundscapeSettings(), n_recordings=None, progress=False):
    """Make and embed soundscapes of each kind from a fold's clips in random order, each used once per kind."""
    from tqdm.auto import tqdm

    clips, root = load_clips(), find_dataset()
    clips = clips[clips["fold"] == fold].sample(frac=1, random_state=settings.seed + fold)
    starts, found = range(0, len(clips), settings.clips_per_recording)[:n_recordings], {kind: [] for kind in KINDS}
    for number, start in enumerate(tqdm(starts, desc=f"soundscapes of fold {fold}", disable=not progress)):
        part = clips.iloc[start : start + settings.clips_per_recording]
        waveforms = [load_sound(clip_path(name, root)).waveform for name in part["filename"]]
        seed = 1000 * settings.seed + 100 * fold + number
        for kind, overlapping in KINDS.items():
            how = {"seed": seed, "overlapping": overlapping, "settings": settings}
            found[kind].append(_embed(make_soundscape(waveforms, part["category"], **how), RECIPES[model]))
    return found


def validate(fold, recordings, *, model=DEFAULT_MODEL, seed=0):
    """Return the F1 of every choice on the validation fold of a reported fold, and the frames by window length.

    The F1 is the mean over both kinds of soundscapes.
    """
    clips = load_clips()
    split = validation_split(clips, official_splits(clips, folds=[fold])[0])
    (validation_fold,) = set(clips["fold"].to_numpy()[split.test])
    head, choices, frames = RECIPES[model].head(split.train, seed=seed), grid(model=model), {}
    for n in {choice.window_frames for choice in choices}:
        frames[n] = {kind: frames_of(head, recordings[validation_fold][kind], n_frames=n) for kind in KINDS}
    f1 = {
        choice: np.mean([segments(parts, choice)["f1"] for parts in frames[choice.window_frames].values()])
        for choice in choices
    }
    return f1, frames


def choose(validation):
    """Return the settings with the highest mean F1 over validation folds; the first of equals."""
    return max(validation[0][0], key=lambda choice: np.mean([f1[choice] for f1, _ in validation]))


def calibrate(settings, validation):
    """Return the settings with Platt scaling of the confidence fitted on validation folds (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression

    raw = replace(settings, confidence_slope=1.0, confidence_offset=0.0)
    parts = [part for _, frames in validation for part in frames[settings.window_frames].values()]
    events = judge_all([(part, raw) for part in parts])
    if len(set(events.is_right.tolist())) < 2:
        return raw
    fitted = LogisticRegression(C=np.inf).fit(log_odds(events.confidence)[:, np.newaxis], events.is_right)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return replace(settings, confidence_slope=round(slope, 3), confidence_offset=round(offset, 3))


def grid(*, model=DEFAULT_MODEL):
    """Return every combination of settings in `GRID`."""
    values = _grid(model)
    return [replace(TimelineSettings(), **dict(zip(values, each, strict=True))) for each in product(*values.values())]


def frames_of(head, recordings, *, n_frames=1):
    """Apply a head to the moving maxima over `n_frames` of each recording."""
    frames = []
    for recording in recordings:
        vectors = recording.vectors.astype(np.float32)  # (n_frames, size)
        active = active_frames(vectors)
        maxima = windowed_maxima(vectors, active, n_frames=n_frames)
        frames.append(Frames(head(maxima), active, recording))
    return frames


def events_of(frames, settings):
    """Return the events found in a recording."""
    about = {"class_names": class_names(), "duration_seconds": frames.recording.duration_seconds}
    return find_events(frames.probabilities, frames.active, settings=settings, **about)


def measure(tested):
    """Compute segment metrics and PSDS over pairs of (frames of some recordings, settings)."""
    scores = psds([(part, settings) for parts, settings in tested for part in parts])
    return (
        _round(segment_metrics(*map(np.concatenate, zip(*(activity(*each) for each in tested), strict=True)))) | scores
    )


def segments(frames, settings):
    """Compute segment metrics, rounded to four decimals."""
    return _round(segment_metrics(*activity(frames, settings)))


def activity(frames, settings):
    """Return the true and the predicted activity of all recordings, concatenated, (n_segments, 50) each."""
    reference, found = [], []
    for part in frames:
        about = {"names": class_names(), "duration_seconds": part.recording.duration_seconds}
        reference.append(segment_activity(part.recording.reference, **about))
        found.append(segment_activity(events_of(part, settings), **about))
    return np.concatenate(reference), np.concatenate(found)


def psds(tested):
    """Compute polyphonic sound detection scores over pairs of (frames of one recording, settings), for both `PSDS`.

    They use the smoothed probabilities at every threshold (Ebbers et al., ICASSP 2022), not the events.
    """
    from sed_scores_eval import intersection_based
    from sed_scores_eval.base_modules.scores import create_score_dataframe

    scores, truth, seconds = {}, {}, {}
    present = {event.class_name for part, _ in tested for event in part.recording.reference}
    columns = [label for label, name in enumerate(class_names()) if name in present]
    names = [class_names()[label] for label in columns]
    for number, ((probabilities, active, recording), settings) in enumerate(tested):
        name = f"{number:03d}"
        smooth = smooth_probabilities(probabilities, active, n_frames=settings.smoothing_frames)
        borders = np.array(frame_borders(len(smooth), recording.duration_seconds))
        frame = create_score_dataframe(smooth[:, columns], borders, names)
        scores[name] = frame.astype({names[0]: np.float32})  # mixed types make pandas 3 return a writable copy
        truth[name], seconds[name] = _union(recording.reference), recording.duration_seconds
    found = {name: intersection_based.psds(scores, truth, seconds, **how)[0] for name, how in PSDS.items()}
    return _round(found)


def judge_all(tested):
    """Return the `Events` of pairs of (frames of some recordings, settings)."""
    found = [(each, part.recording) for parts, how in tested for part in parts for each in events_of(part, how)]
    confidence = np.array([event.confidence for event, _ in found])
    return Events(confidence, np.array([is_right(event, recording.reference) for event, recording in found], bool))


def is_right(event, reference):
    """Return whether an event's class is present in at least half of the event."""
    spans = [(first, last) for first, last, name in _union(reference) if name == event.class_name]
    common = sum(max(0.0, min(event.end_seconds, last) - max(event.start_seconds, first)) for first, last in spans)
    return common >= RIGHT_SHARE * (event.end_seconds - event.start_seconds)


def reliability(events):
    """Return the share of correct events by confidence, and the expected calibration error (Guo et al. 2017)."""
    bins = np.minimum((N_BINS * events.confidence).astype(int), N_BINS - 1)
    rows = []
    for number in np.unique(bins):
        confidence, is_right = events.confidence[bins == number], events.is_right[bins == number]
        row = {"from": number / N_BINS, "to": (number + 1) / N_BINS, "n_events": len(confidence)}
        rows.append(row | _round({"confidence": confidence.mean(), "right": is_right.mean()}))
    gaps = [row["n_events"] * abs(row["confidence"] - row["right"]) for row in rows]
    n_events, n_right = len(events.is_right), events.is_right.sum()
    shares = _round({"right": n_right / max(1, n_events), "ece": sum(gaps) / max(1, n_events)})
    return {"n_events": n_events, **shares, "bins": rows}


def _embed(soundscape, recipe):
    return Recording(
        recipe.embed(soundscape.waveform).astype(STORED), soundscape.reference, soundscape.duration_seconds
    )


def _union(reference):
    """Return the events as (start, end, class), with overlapping events of one class merged."""
    joined = []
    for event in sorted(reference, key=lambda event: (event.class_name, event.start_seconds)):
        if joined and joined[-1][2] == event.class_name and event.start_seconds <= joined[-1][1]:
            start, end, _ = joined.pop()
            event = event._replace(start_seconds=start, end_seconds=max(end, event.end_seconds))
        joined.append(tuple(event))
    return joined


def _round(metrics):
    return {name: round(float(value), 4) for name, value in metrics.items()}


def _choice(settings):
    return {name: getattr(settings, name) for name in (*GRID, "confidence_slope", "confidence_offset")}


def _grid(model):
    windows = [replace(TimelineSettings(), window_frames=n) for n in GRID["window_frames"]]
    possible = {window_of(RECIPES[model].pooling, each) for each in windows}
    return GRID | {"window_frames": tuple(sorted(possible))}


def _about(model, recordings, settings, seed):
    every = {kind: [each for fold in recordings.values() for each in fold[kind]] for kind in KINDS}
    hours = {kind: sum(each.duration_seconds for each in parts) / 3600 for kind, parts in every.items()}
    return {
        "model": model,
        "recipe": RECIPES[model].about,
        "soundscapes": asdict(settings),
        "grid": {name: list(values) for name, values in _grid(model).items()},
        "n_choices": len(grid(model=model)),
        "seed": seed,
        "n_recordings": {kind: len(parts) for kind, parts in every.items()},
        "hours": {kind: round(each, 3) for kind, each in hours.items()},
        "command": command("timelines", model),
        "provenance": [provenance()],
    }
