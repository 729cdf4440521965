"""Recipes of the shipped models: train them on all clips, and train the heads for their evaluation."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from esc50.audio.loudness import set_level
from esc50.classifier.model_io import DEFAULT_MODEL
from esc50.classifier.ood import SAME_HEAD
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS
from esc50.config import LAYERS_AND_SCORES, RESULTS_DIR
from esc50.dataset.clips import load_clips
from esc50.experiments import plain, robust
from esc50.experiments.base import find_experiments, take
from esc50.experiments.keras_heads import EMBEDDING, recipe_of, save_classifier, to_head
from esc50.experiments.kernel_ridge import KernelRidge
from esc50.experiments.networks import with_logarithm
from esc50.experiments.results import headline, summarise
from esc50.yamnet.architecture import N_AUDIOSET_CLASSES
from esc50.yamnet.runtime import load_runtime


@dataclass(frozen=True)
class Recipe:
    """Recipe of a shipped model, whose heads use vectors from `SoundClassifier.embed`."""

    experiment: str  # also the name of its cross-validation in data/results
    pooling: str  # one of esc50.classifier.pooling.POOLING_NAMES
    layers: tuple  # YAMNet layers, concatenated
    clip_features: str  # feature file with the vectors of all clips
    ood_features: str  # feature file with those of sounds outside ESC-50
    finish: Callable = lambda head: head  # converts the trained head to the shipped one
    surrogate_fit: Callable | None = None  # fast substitute: (inputs, targets, settings) -> logits_of(vectors)
    surrogate_name: str = SAME_HEAD  # name of the surrogate in reports

    @property
    def settings(self):
        """Settings of the experiment."""
        return find_experiments()[self.experiment].settings

    @cached_property
    def inputs(self):
        """Training inputs of all clips, read once."""
        return find_experiments()[self.experiment].inputs()

    @property
    def about(self):
        """Pooling, settings and layers as in the metadata."""
        return recipe_of(self.pooling, self.settings, self.layers)

    def fit(self, rows, *, settings=None, seed=0, progress=False):
        """Train a Keras head on these rows of the clip table."""
        targets, how = load_clips()["target"].to_numpy()[rows], {"seed": seed, "progress": progress}
        fit = find_experiments()[self.experiment].fit
        return self.finish(fit(take(self.inputs, rows), targets, settings=settings or self.settings, **how).head)

    def head(self, rows, *, settings=None, seed=0):
        """Train a head on these rows, and convert it to the runtime, with the prior if the settings have one."""
        settings = settings or self.settings
        model = self.fit(rows, settings=settings, seed=seed)
        return to_head(model, metadata={"head_settings": asdict(settings)})

    def embed(self, waveform):
        """Return the heads' input vectors (n_frames, size) for a waveform."""
        levelled = set_level(waveform) if self.is_levelled else waveform
        return load_runtime().embed(levelled, layers=self.layers)

    @property
    def is_levelled(self):
        """Whether sounds are level-normalised."""
        return hasattr(self.settings, "level")


def fit_teacher(inputs, targets, settings):
    """Fit the teacher of the distilled head; return a function to logits that approximate the head's."""
    *views, _ = inputs
    teacher = KernelRidge(views[: robust.N_TAUGHT], targets, settings=settings.teacher)
    matrix, bias, weight = robust.prior(settings.audioset)

    def logits_of(vectors):
        scores, layers = np.split(vectors, [N_AUDIOSET_CLASSES], axis=-1)
        outputs = settings.teacher.inverse_temperature * teacher.outputs(np.log1p(layers))
        return (outputs + weight * np.log(scores @ matrix + bias)).astype(np.float32)

    return logits_of


RECIPES = {
    "plain": Recipe("head_frames", plain.FRAME_POOLINGS["head_frames"], EMBEDDING, "yamnet", "ood_sounds"),
    "multilayer": Recipe(
        "robust",
        MAXIMUM_OF_VECTORS,
        LAYERS_AND_SCORES,
        "levelled",
        "ood_sounds_levelled",
        with_logarithm,
        fit_teacher,
        "its teacher (kernel ridge regression)",
    ),
}


def ship(name=DEFAULT_MODEL, *, seed=0, folder=RESULTS_DIR, path=None, progress=True):
    """Train a model on all clips by its recipe, and save it for `esc50 export`.

    Parameters
    ----------
    name : str
        A key of `RECIPES`.
    seed : int
        Of the training.
    folder : Path
        Folder of the results, with the cross-validation of the recipe.
    path : path-like, optional
        As for `esc50.experiments.keras_heads.save_classifier`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        The ``.keras`` file; its metadata include the trust report of this recipe if there is one.

    Raises
    ------
    ResultsError
        If there is no cross-validation of the recipe.
    """
    recipe = RECIPES[name]
    figures = headline(summarise([recipe.experiment], folder=folder).loc[recipe.experiment])
    head = recipe.fit(np.arange(len(load_clips())), seed=seed, progress=progress)
    about = {"pooling": recipe.pooling, "settings": recipe.settings, "layers": recipe.layers}
    return save_classifier(head, cross_validated=figures, path=path, **about)
