"""How each shipped model is made: the same recipe trains it, and the heads by which its figures are measured."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from esc50.classifier import model_io
from esc50.classifier.model_io import DEFAULT_MODEL, EMBEDDING, model_file
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS
from esc50.config import RESULTS_DIR, DistillationSettings, HeadSettings
from esc50.dataset.clips import load_clips
from esc50.dataset.feature_files import load_features
from esc50.experiments import study
from esc50.experiments.distillation import distil
from esc50.experiments.kernel_ridge import KernelMachine
from esc50.experiments.networks import with_logarithm
from esc50.experiments.results import summarise
from esc50.reporting import readme
from esc50.yamnet.backend import quiet_tensorflow
from esc50.yamnet.hub_module import load_yamnet
from esc50.yamnet.layers import load_layers

VECTORS = ("embeddings", "activations")  # what feature files call a frame's vectors


@dataclass(frozen=True)
class Recipe:
    """How one shipped model is made.

    Attributes
    ----------
    model : str
        Name in data/results under which its cross-validation is kept.
    pooling : str
        One of `esc50.classifier.pooling.POOLING_NAMES`.
    layers : tuple of int
        Of YAMNet, joined: what a frame's vector holds.
    settings : HeadSettings
        How a head is built and trained.
    features : tuple of str
        The feature files by which heads are trained and tested; the first is of the clips as they are, the last of
        the foreign sounds.
    read : callable
        Gives the vectors (n_clips, n_frames, size) of all clips, as `esc50.classifier.predict.SoundClassifier.embed` gives them.
    read_foreign : callable
        Gives the foreign sounds as `esc50.dataset.ood_sounds.compute_ood_sounds` does, their vectors as ``vectors``.
    fit : callable
        ``fit(rows, settings=, seed=, progress=)`` trains a head, from (batch, size) to (batch, 50), on those rows of
        the clip table.
    stand_in : callable, optional
        ``stand_in(rows, settings=)`` gives, in seconds, a function from vectors (n, size) to logits (n, 50) that
        answers much as a head would: for the 25 heads that are never shown some of the classes.
    never_shown : str
        Who those 25 are.
    """

    model: str
    pooling: str
    layers: tuple
    settings: HeadSettings
    features: tuple
    read: callable
    read_foreign: callable
    fit: callable
    stand_in: callable = None
    never_shown: str = "a head"


def ship(name=DEFAULT_MODEL, *, seed=0, folder=RESULTS_DIR, path=None, progress=True):
    """Train a model on all clips, as its recipe says, and save it where it is shipped.

    Parameters
    ----------
    name : str
        A key of `RECIPES`.
    seed : int
        Of the training.
    folder : Path
        Where the results of the recipe's cross-validation lie.
    path : path-like, optional
        The ``.keras`` file; by default that of the model of this name.
    progress : bool
        Show progress bars.

    Returns
    -------
    Path
        The ``.keras`` file; its card has the trust that was measured with this recipe, if it was.

    Raises
    ------
    ResultsError
        The recipe has no cross-validation yet.
    DatasetError
        It needs the recordings, and they are not here.
    """
    quiet_tensorflow()
    recipe = RECIPES[name]
    figures = readme.headline(summarise([recipe.model], folder=folder).loc[recipe.model])
    rows = np.arange(len(load_clips()))
    head = recipe.fit(rows, settings=recipe.settings, seed=seed, progress=progress)
    about = {"pooling": recipe.pooling, "settings": recipe.settings, "layers": recipe.layers}
    return model_io.save_classifier(head, cross_validated=figures, path=path or model_file(name), **about)


def load_yamnet_of(recipe):
    """Load what makes the vectors of a recipe.

    Parameters
    ----------
    recipe : Recipe
        A value of `RECIPES`.

    Returns
    -------
    esc50.yamnet.hub_module.Yamnet or esc50.yamnet.layers.LayerYamnet
        Its method ``embed`` gives the vectors of a waveform's frames (n_frames, size).
    """
    return load_yamnet() if tuple(recipe.layers) == EMBEDDING else load_layers(recipe.layers)


def _read(name):
    arrays = load_features(name)
    (key,) = set(VECTORS) & set(arrays)
    return arrays | {"vectors": arrays[key]}


def _vectors(name):
    return _read(name)["vectors"]


def _fit_plain(rows, *, settings, seed=0, progress=False):
    arrays = load_features("yamnet")
    options = {"settings": settings, "seed": seed, "progress": progress}
    return study.train_head_on(arrays["embeddings"][rows], arrays["target"][rows], **options)


def _fit_distilled(rows, *, settings, seed=0, progress=False):
    versions, targets = study.inputs_of("distilled"), load_features("clip_statistics")["target"]
    options = {"settings": settings, "seed": seed, "n_taught": len(study.SPEEDS), "progress": progress}
    head, _ = distil([version[rows] for version in versions], targets[rows], **options)
    return with_logarithm(head)


def _teacher(rows, *, settings):
    """Kernel ridge regression, from which the head is distilled."""
    versions, targets = study.inputs_of("distilled")[: len(study.SPEEDS)], load_features("clip_statistics")["target"]
    teacher = KernelMachine([version[rows] for version in versions], targets[rows], settings=settings.kernel)
    return lambda vectors: (settings.kernel.sharpness * teacher.outputs(np.log1p(vectors))).astype(np.float32)


RECIPES = {
    "plain": Recipe(
        model="head_frames",
        pooling=study.FRAME_POOLINGS["head_frames"],
        layers=EMBEDDING,
        settings=HeadSettings(),
        features=("yamnet", "ood_sounds"),
        read=partial(_vectors, "yamnet"),
        read_foreign=partial(_read, "ood_sounds"),
        fit=_fit_plain,
    ),
    "layers": Recipe(
        model="distilled",
        pooling=MAXIMUM_OF_VECTORS,
        layers=study.ALL_LAYERS,
        settings=DistillationSettings(),
        features=(*study.SPEEDS, "ood_sounds_layers"),
        read=partial(_vectors, "layers"),
        read_foreign=partial(_read, "ood_sounds_layers"),
        fit=_fit_distilled,
        stand_in=_teacher,
        never_shown="its teacher, kernel ridge regression,",
    ),
}
