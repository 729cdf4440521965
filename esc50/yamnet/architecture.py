"""YAMNet's layers as a table. Source: tensorflow/models, research/audioset/yamnet/yamnet.py."""

from esc50.config import LAYERS_AND_SCORES, POOLED_LAYERS, YamnetSettings

# (kind, stride, filters) of layers 1 to 14; "separable" is depthwise 3x3 then 1x1, each with batch normalisation.
LAYERS = (
    ("conv", 2, 32),
    ("separable", 1, 64),
    ("separable", 2, 128),
    ("separable", 1, 128),
    ("separable", 2, 256),
    ("separable", 1, 256),
    ("separable", 2, 512),
    ("separable", 1, 512),
    ("separable", 1, 512),
    ("separable", 1, 512),
    ("separable", 1, 512),
    ("separable", 1, 512),
    ("separable", 2, 1024),
    ("separable", 1, 1024),
)
LAST = len(LAYERS)  # its mean activations are YAMNet's embedding
SCORES = LAYERS_AND_SCORES[0]  # the output layer: AudioSet scores
MAXIMA, BANDS = POOLED_LAYERS  # of all layers: maxima over the patch; means over two frequency bands
N_AUDIOSET_CLASSES = YamnetSettings.n_audioset_classes
BATCH_NORM_EPSILON = 1e-4


def layer_sizes(layers):
    """Return the number of values per frame of each layer, numbered from 1, or of `SCORES`, `MAXIMA` and `BANDS`."""
    filters = [layer[2] for layer in LAYERS]
    every = [*filters, N_AUDIOSET_CLASSES, sum(filters), 2 * sum(filters)]
    return [every[number - 1] for number in layers]


def columns_of(layers, *, among=tuple(range(1, LAST + 1))):
    """Return the columns of some layers in the concatenated activations of the layers `among`."""
    sizes = layer_sizes(among)
    starts = {layer: sum(sizes[:i]) for i, layer in enumerate(among)}
    return [starts[n] + i for n in layers for i in range(layer_sizes([n])[0])]
