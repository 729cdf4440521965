"""Dense heads on YAMNet's embedding, of single frames or of the clip's mean (and maximum)."""

from functools import partial

import numpy as np

from esc50.classifier.pooling import POOLINGS
from esc50.config import N_CLASSES, SEEDS
from esc50.experiments.base import Experiment, Fitted, Model
from esc50.experiments.networks import HeadSettings, build_head
from esc50.experiments.training import set_seed, train
from esc50.yamnet.frames import active_frames

FRAME_POOLINGS = {  # model -> key of esc50.classifier.pooling.POOLINGS; the first was chosen
    "head_frames": "geometric_mean_of_sound",
    "head_frames_mean_of_sound": "mean_of_sound",
    "head_frames_geometric": "geometric_mean",
    "head_frames_mean": "mean",
    "head_frames_max": "max",
}
# Chosen by nested validation, as are the defaults of HeadSettings; a test compares with nested_cv_heads.csv.
CLIP_HEAD = HeadSettings(epochs=40, batch_size=64, weight_decay=0.01)
FRAME_HEADS = {"fold 1": HeadSettings(epochs=40, weight_decay=0.01), "fold 3": HeadSettings(epochs=40)}


def frames(yamnet):
    """Return the embeddings of all frames, (n_clips, 10, 1024)."""
    return yamnet["embeddings"]


def mean(yamnet):
    """Return the mean embedding, (n_clips, 1, 1024)."""
    return yamnet["embeddings"].mean(axis=1, keepdims=True)


def mean_and_maximum(yamnet):
    """Return the mean and maximum embedding, concatenated, (n_clips, 1, 2048)."""
    return np.concatenate([mean(yamnet), yamnet["embeddings"].max(axis=1, keepdims=True)], axis=2)


def fit(poolings, inputs, targets, *, settings, seed=0, held_out=None, progress=False):
    """Train on vectors (n_clips, n_vectors, size) with their clip's label; pool the predictions of each clip."""
    set_seed(seed)
    head, (x, y) = build_head(input_size=inputs.shape[2], settings=settings), _vectors(inputs, targets)
    head.get_layer("standardise").adapt(x)
    history = train(head, x, y, settings=settings, held_out=held_out and _vectors(*held_out), progress=progress)

    def predict(test):
        scores = head.predict(test.reshape(-1, test.shape[2]), batch_size=2048, verbose=0)
        scores, active = scores.reshape(len(test), -1, N_CLASSES), active_frames(test)
        return {model: POOLINGS[pooling](scores, active) for model, pooling in poolings.items()}

    return Fitted(predict, history, head)


def _vectors(inputs, targets):
    return inputs.reshape(-1, inputs.shape[2]), np.repeat(targets, inputs.shape[1])


def _on_clips(name, prepare, model):
    return Experiment(name, ("yamnet",), prepare, partial(fit, {name: "mean"}), {name: model}, CLIP_HEAD, SEEDS)


ON_CLIPS = "dense head on the clip's mean embedding, all frames"
CLIP_MEAN = Model(ON_CLIPS, "last layer, mean of all frames", "", (14,), n_frames=1)
MEAN_AND_MAXIMUM = Model("dense head on the clip's mean and maximum, all frames")
FRAMES = "dense head on frames, geometric mean over active frames (`plain`)"
FRAME_MODELS = {
    "head_frames": Model(FRAMES, "last layer, single frames", "head_clip_mean", (14,)),
    "head_frames_mean_of_sound": Model("dense head on frames, mean over active frames"),
    "head_frames_geometric": Model("dense head on frames, geometric mean over frames"),
    "head_frames_mean": Model("dense head on frames, mean over frames"),
    "head_frames_max": Model("dense head on frames, maximum over frames"),
}
FIT_FRAMES = partial(fit, FRAME_POOLINGS)
EXPERIMENTS = [
    _on_clips("head_clip_mean", mean, CLIP_MEAN),
    _on_clips("head_clip_mean_max", mean_and_maximum, MEAN_AND_MAXIMUM),
    Experiment("head_frames", ("yamnet",), frames, FIT_FRAMES, FRAME_MODELS, HeadSettings(), SEEDS, FRAME_HEADS),
]
