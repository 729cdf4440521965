"""Heads on several YAMNet layers, trained on random averages of frames or with attention over frames."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from esc50.classifier.pooling import frame_mask, geometric_mean_pool
from esc50.config import ALL_LAYERS, N_CLASSES, RESULTS_DIR, SEEDS, UPPER_LAYERS, output_path
from esc50.dataset.clips import load_clips
from esc50.dataset.feature_files import PARAMETERS
from esc50.dataset.splits import official_splits
from esc50.experiments.base import FRAMES, Experiment, Fitted, Model, take
from esc50.experiments.networks import MIN_DEVIATION, HeadSettings, build_head, standardise
from esc50.experiments.results import read_csv, write_csv
from esc50.experiments.training import blend, compile_model, fit_in_batches, one_hot, set_seed, train_drawn
from esc50.yamnet.architecture import columns_of

KEPT = 0.5  # probability of a frame to be in a random average
ORIGINAL = 0.5  # probability of the unmodified view, if there are others
N_FRAMES = {"layers": FRAMES, "layers_often": 28, "layers_slow": FRAMES, "layers_fast": FRAMES}  # per clip
SPEEDS = ("layers", "layers_slow", "layers_fast")  # original, slower, faster
ATTENTION_FILE = "attention.csv.gz"


@dataclass(frozen=True)
class MultilayerSettings(HeadSettings):
    """The head on several YAMNet layers and its training: see notebook 05."""

    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_epochs: int = 3
    weight_decay: float = 0.05
    mixup_alpha: float = 0.0  # Zhang et al. 2018, arXiv 1710.09412; 0 for none
    attention_units: int = 0  # of gated attention over frames, Ilse et al. 2018, arXiv 1802.04712; 0 for none


SETTINGS = MultilayerSettings()


@dataclass(frozen=True, eq=False)
class LayerFeatures:
    """Activations of YAMNet's layers; indexing selects clips."""

    frames: np.ndarray  # (n_clips, n_frames, size) float16: log activations
    active: np.ndarray  # (n_clips, n_frames) active frames, or all frames of a silent clip

    def __getitem__(self, rows):
        """Return some of the clips."""
        return LayerFeatures(self.frames[rows], self.active[rows])


def prepare(*files, names=("layers",), layers=ALL_LAYERS, logarithm=True):
    """Return the chosen layers of each feature file, as views of the clips."""
    views = []
    for name, arrays in zip(names, files, strict=True):
        activations = arrays["activations"][..., columns_of(layers, among=PARAMETERS[name].layers)]
        views.append(LayerFeatures(np.log1p(activations) if logarithm else activations, frame_mask(arrays["active"])))
    return tuple(views)


def fit(tta_views, views, targets, *, settings, seed=0, trained_on=(0,), progress=False, **_):
    """Train on vectors that are drawn again in each epoch; average predictions over the views in `tta_views`."""
    set_seed(seed)
    rng, labels = np.random.default_rng(seed), one_hot(targets)
    views = [LayerFeatures(views[v].frames.astype(np.float32), views[v].active) for v in trained_on]
    model = build_attention_head(views[0].frames.shape[2], settings) if settings.attention_units else None
    model = model or build_head(input_size=views[0].frames.shape[2], settings=settings)
    active = views[0].frames[views[0].active]  # (n_active_frames, size)
    standardise(model, active.mean(axis=0), active.std(axis=0) + MIN_DEVIATION)
    del active
    draw = partial(draw_masks if settings.attention_units else draw_averages, views, labels, rng)
    draw()  # keeps the random state of the committed results
    compile_model(model, settings, n_examples=len(labels))
    fit_epoch = fit_in_batches(model, settings.batch_size, rng)
    history = train_drawn(
        model, lambda: _mix(*draw(), settings.mixup_alpha, rng), settings=settings, fit=fit_epoch, progress=progress
    )
    return Fitted(partial(predict_views, tta_views, partial(clip_probabilities, model)), history, model)


def predict_views(tta_views, probabilities_of, views):
    """Return the probabilities of each model, the geometric mean over its views."""
    found = {v: probabilities_of(views[v]) for v in sorted({v for used in tta_views.values() for v in used})}
    return {model: geometric_mean_pool(np.stack([found[v] for v in used], 1)) for model, used in tta_views.items()}


def clip_probabilities(model, clips):
    """Return probabilities (n_clips, 50), pooled by attention or by the geometric mean over active frames."""
    if len(model.inputs) > 1:
        return model.predict([clips.frames.astype(np.float32), clips.active], batch_size=64, verbose=0)
    n_clips, n_frames, size = clips.frames.shape
    found = model.predict(clips.frames.reshape(-1, size).astype(np.float32), batch_size=2048, verbose=0)
    return geometric_mean_pool(found.reshape(n_clips, n_frames, -1), clips.active)


def draw_averages(views, labels, rng):
    """Draw one vector per clip, a randomly weighted average of some frames of a random view, and the labels."""
    if len(views) == 1:
        return average(views[0].frames, _random_weights(views[0].active, rng)), labels
    chosen = choose_views(len(views), len(labels), rng)
    averages = np.empty((len(labels), views[0].frames.shape[2]), np.float32)
    for number, view in enumerate(views):
        rows = np.flatnonzero(chosen == number)
        averages[rows] = average(view.frames[rows], _random_weights(view.active[rows], rng))
    return averages, labels


def average(frames, weights):
    """Return the weighted sum of each clip's frames (n_clips, n_frames, size); faster than einsum."""
    return np.matmul(weights.astype(frames.dtype)[:, np.newaxis], frames)[:, 0]  # (n_clips, size)


def choose_views(n_views, n_clips, rng):
    """Draw the number of a view for each clip, (n_clips,); half of them are 0, the original."""
    return np.where(rng.random(n_clips) < ORIGINAL, 0, rng.integers(1, n_views, n_clips))


def draw_masks(views, labels, rng):
    """Return all frames of the original clips with a random mask, and the labels."""
    return [views[0].frames, _random_weights(views[0].active, rng) > 0], labels


def build_attention_head(size, settings):
    """Build a head with gated attention over frames (Ilse et al. 2018, arXiv 1802.04712, equation 9).

    It maps frames (batch, n_frames, size) and a mask (batch, n_frames) to probabilities (batch, 50).
    """
    from keras import Input, Model, layers, ops

    frames, mask = Input((None, size), name="frames"), Input((None,), dtype="bool", name="counted")
    x = layers.Normalization(name="standardise")(frames)
    x = layers.Dropout(settings.input_dropout)(x)
    x = layers.Dense(settings.units[0], activation="relu")(x)  # (batch, n_frames, units)
    x = layers.Dropout(settings.dropout)(x)
    tanh, gate = (layers.Dense(settings.attention_units, activation=kind)(x) for kind in ("tanh", "sigmoid"))
    logits = layers.Dense(1)(tanh * gate)  # (batch, n_frames, 1)
    logits = ops.where(ops.expand_dims(mask, -1), logits, -1e9)
    attention = layers.Softmax(axis=1, name="attention")(logits)
    x = ops.sum(attention * x, axis=1)  # (batch, units)
    for units in settings.units[1:]:
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(settings.dropout)(x)
    return Model([frames, mask], layers.Dense(N_CLASSES, activation="softmax")(x), name="attention_head")


def attention_weights(model, clips):
    """Return the attention weights of each clip's frames, (n_clips, n_frames), which sum to 1."""
    from keras import Model

    part = Model(model.inputs, model.get_layer("attention").output)
    return part.predict([clips.frames.astype(np.float32), clips.active], batch_size=64, verbose=0)[..., 0]


def attention_table(*, retrain=False, folder=None, progress=True):
    """Return the attention weights frame_0 … frame_9 of the clips of fold 1, held out in training, by filename."""
    if retrain:
        clips, experiment = load_clips(), next(e for e in EXPERIMENTS if e.settings.attention_units)
        (split,), inputs = official_splits(clips, folds=[1]), experiment.inputs()
        how = {"settings": experiment.settings, "progress": progress}
        model = experiment.fit(take(inputs, split.train), clips["target"].to_numpy()[split.train], **how).head
        weights = pd.DataFrame(attention_weights(model, inputs[0][split.test])).add_prefix("frame_")
        weights.insert(0, "filename", clips["filename"].iloc[split.test].to_numpy())
        write_csv(weights, (folder or output_path(RESULTS_DIR)) / ATTENTION_FILE, float_format="%.4f")
        return weights.set_index("filename")
    return read_csv((folder or RESULTS_DIR) / ATTENTION_FILE).set_index("filename")


def _random_weights(active, rng):
    weights = rng.exponential(size=active.shape) * (rng.random(active.shape) < KEPT) * active
    none = ~weights.any(axis=1)
    weights[none] = active[none]
    return weights / weights.sum(axis=1, keepdims=True)  # (n_clips, n_frames)


def _mix(x, y, alpha, rng):
    """Apply mixup; each vector keeps the larger share."""
    if not alpha:
        return x, y
    share = rng.beta(alpha, alpha, size=(len(x), 1)).astype(np.float32)
    pairs = np.arange(len(x)), rng.permutation(len(x)), np.maximum(share, 1 - share)
    return blend(x, *pairs), blend(y, *pairs)


def _experiment(
    name,
    idea,
    over="multilayer_14",
    layers=ALL_LAYERS,
    *,
    files=("layers",),
    settings=SETTINGS,
    tta=(),
    trained_on=(0,),
    **how,
):
    """Make an experiment; `tta` adds models with the same heads tested on other views, name -> (idea, views)."""
    models = {name: Model("", idea, over, layers, n_frames=FRAMES * len(trained_on))}
    views = {name: (0,)} | {model: used for model, (_, used) in dict(tta).items()}
    for model, (title, used) in dict(tta).items():
        n_frames = sum(N_FRAMES[files[v]] for v in used)
        models[model] = Model("", title, name, layers, n_frames=n_frames, n_views=round(n_frames / FRAMES))
    fitted = partial(fit, views, trained_on=trained_on)
    return Experiment(name, files, partial(prepare, names=files, layers=layers, **how), fitted, models, settings, SEEDS)


EXPERIMENTS = [
    _experiment("multilayer_1", "last layer, random averages of log activations", "head_frames", (14,)),
    _experiment("multilayer_3", "last 3 layers, random averages of log activations", "multilayer_1", (12, 13, 14)),
    _experiment(
        "multilayer_8",
        "last 8 layers, random averages of log activations",
        "multilayer_3",
        UPPER_LAYERS,
        files=("layers", "layers_often", "layers_slow", "layers_fast"),
        tta={
            "multilayer_8_shifts": ("8 layers, tested on patches every 0.16 s", (1,)),
            "multilayer_8_speeds": ("8 layers, tested at three speeds", (0, 2, 3)),
        },
    ),
    _experiment(
        "multilayer_8_linear", "8 layers, without the logarithm", "multilayer_8", UPPER_LAYERS, logarithm=False
    ),
    _experiment("multilayer_14", "all 14 layers", "multilayer_8"),
    _experiment("multilayer_14_mixup", "14 layers, trained with mixup", settings=MultilayerSettings(mixup_alpha=0.3)),
    _experiment("multilayer_14_speeds", "14 layers, trained at three speeds", files=SPEEDS, trained_on=(0, 1, 2)),
    _experiment(
        "multilayer_14_attention",
        "14 layers, gated attention over frames",
        settings=MultilayerSettings(attention_units=64, epochs=40),
    ),
]
