"""How each shipped model is made: by an experiment, on all clips; and the heads by which its figures are measured."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from esc50.audio.loudness import set_level
from esc50.classifier.model_io import DEFAULT_MODEL
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
    """How one shipped model is made; its heads take vectors as `SoundClassifier.embed` gives them."""

    experiment: str  # also the name in data/results under which its cross-validation is kept
    pooling: str  # one of esc50.classifier.pooling.POOLING_NAMES
    layers: tuple  # of YAMNet, joined
    clip_features: str  # feature files with the vectors of all clips
    ood_features: str  # and of the sounds that are not in ESC-50
    finish: Callable = lambda head: head  # makes it of what the experiment trained
    surrogate_fit: Callable | None = None  # (inputs, targets, settings) -> logits_of(vectors), in seconds
    surrogate_name: str = "a head"  # of the surrogate in reports

    @property
    def settings(self):
        """How heads are built and trained: those of the experiment."""
        return find_experiments()[self.experiment].settings

    @cached_property
    def inputs(self):
        """What heads are trained on, read once."""
        return find_experiments()[self.experiment].inputs()

    @property
    def about(self):
        """Pooling, settings and layers, as the metadata have them."""
        return recipe_of(self.pooling, self.settings, self.layers)

    def fit(self, rows, *, settings=None, seed=0, progress=False):
        """Keras head, trained on these rows of the clip table."""
        targets, how = load_clips()["target"].to_numpy()[rows], {"seed": seed, "progress": progress}
        fit = find_experiments()[self.experiment].fit
        return self.finish(fit(take(self.inputs, rows), targets, settings=settings or self.settings, **how).head)

    def head(self, rows, *, settings=None, seed=0):
        """The runtime's head of such a training, with YAMNet's scores where the settings join them."""
        settings = settings or self.settings
        model = self.fit(rows, settings=settings, seed=seed)
        return to_head(model, metadata={"head_settings": asdict(settings)})

    def embed(self, waveform):
        """Vectors (n_frames, size) of a waveform, as the heads take them."""
        levelled = set_level(waveform) if self.is_levelled else waveform
        return load_runtime().embed(levelled, layers=self.layers)

    @property
    def is_levelled(self):
        """Whether its sounds are set to one level."""
        return hasattr(self.settings, "level")


def fit_teacher(inputs, targets, settings):
    """Logits of kernel ridge regression, from which the head is distilled, and YAMNet's scores: much as the head's."""
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
        "its teacher, kernel ridge regression,",
    ),
}


def ship(name=DEFAULT_MODEL, *, seed=0, folder=RESULTS_DIR, path=None, progress=True):
    """Train a model on all clips, as its recipe says, and save it; `esc50 export` then puts it into the package.

    Its cross-validation must lie in `folder`. Gives the path of the ``.keras`` file; the metadata beside it have the
    trust that was measured with this recipe, if it was.
    """
    recipe = RECIPES[name]
    figures = headline(summarise([recipe.experiment], folder=folder).loc[recipe.experiment])
    head = recipe.fit(np.arange(len(load_clips())), seed=seed, progress=progress)
    about = {"pooling": recipe.pooling, "settings": recipe.settings, "layers": recipe.layers}
    return save_classifier(head, cross_validated=figures, path=path, **about)
