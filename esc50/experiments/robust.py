"""The distilled head for real-world recordings: level normalisation, degraded copies, and YAMNet's own scores."""

from dataclasses import dataclass

import numpy as np

from esc50.audio.loudness import LEVEL
from esc50.classifier.audioset import AUDIOSET, AudioSetSettings, audioset_prior
from esc50.classifier.pooling import maximum_of_vectors
from esc50.config import LAYERS_AND_SCORES, SEEDS, LevelSettings
from esc50.dataset import class_names
from esc50.experiments import distilled, multilayer
from esc50.experiments.base import Experiment, Fitted, Model
from esc50.experiments.distilled import PARTS, DistillationSettings
from esc50.experiments.kernel_ridge import maxima, partial_maxima
from esc50.yamnet.architecture import N_AUDIOSET_CLASSES
from esc50.yamnet.runtime import load_runtime

FILES = ("levelled", "degraded", "degraded_anew")
N_TAUGHT = len(FILES)  # views on which the teacher is fitted


@dataclass(frozen=True)
class RobustSettings(DistillationSettings):
    """The distilled head, its level normalisation, and the prior from YAMNet's scores."""

    level: LevelSettings = LEVEL
    audioset: AudioSetSettings = AUDIOSET


def prepare(*files):
    """Return views of the clips, each (n_clips, size), and last the maximum AudioSet scores, (n_clips, 521)."""
    copies, rng = multilayer.prepare(*files, names=FILES), np.random.default_rng(0)
    scores = files[0]["activations"][..., :N_AUDIOSET_CLASSES]
    views = *map(maxima, copies), *(partial_maxima(each, rng) for _ in range(PARTS) for each in copies)
    return *views, maximum_of_vectors(scores, files[0]["active"]).astype(np.float32)


def fit(inputs, targets, *, settings, **how):
    """Distil as `distilled.fit` does; the scores are used in prediction only."""
    *views, _ = inputs
    fitted = distilled.fit({"robust_without_scores": (0,)}, views, targets, settings=settings, n_taught=N_TAUGHT, **how)

    def predict(test):
        *views, scores = test
        found = fitted.predict(views)
        return {"robust": add_scores(found["robust_without_scores"], scores, settings.audioset), **found}

    return Fitted(predict, fitted.history, fitted.head)


def add_scores(probabilities, scores, settings):
    """Combine probabilities (n, 50) with the prior from YAMNet's scores (n, 521)."""
    matrix, bias, weight = prior(settings)
    joined = probabilities * (scores @ matrix + bias) ** weight
    return (joined / joined.sum(axis=1, keepdims=True)).astype(np.float32)


def prior(settings):
    """Return the prior for the logits: see `esc50.classifier.audioset.audioset_prior`."""
    return audioset_prior(class_names(), load_runtime().class_names, settings)


SETTINGS = RobustSettings()
TITLE = "**the level-normalised distilled head, with degraded copies and YAMNet's scores** (the shipped model)"
ALONE = "level-normalised distilled head, degraded copies"
IDEA = f"{ALONE}, YAMNet's scores"
N_VIEWS = len(FILES) * (1 + PARTS)
MODELS = {
    "robust": Model(TITLE, IDEA, "robust_without_scores", LAYERS_AND_SCORES, N_VIEWS),
    "robust_without_scores": Model("", ALONE, "distilled", n_frames=N_VIEWS),
}
EXPERIMENTS = [Experiment("robust", FILES, prepare, fit, MODELS, SETTINGS, SEEDS)]
