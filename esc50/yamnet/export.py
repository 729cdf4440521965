"""Export YAMNet and heads to ONNX, and YAMNet to TFLite, with the weights of the hub module."""

import math
import tempfile
from functools import partial

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from esc50.yamnet import keras_model
from esc50.yamnet.architecture import BATCH_NORM_EPSILON, LAYERS, layer_sizes
from esc50.yamnet.frames import HOP_SAMPLES, PATCH_SAMPLES
from esc50.yamnet.keras_model import PATCH_WINDOWS, SETTINGS

OPSET = 17
BLOCK_WINDOWS = PATCH_WINDOWS // 2  # consecutive patches overlap by half
WEIGHT_FORMATS = ("float32", "float16", "int16", "int8")
MIN_COMPRESSED = 10_000  # smaller tensors stay float32


class Graph:
    """Builder of an ONNX graph; each method that adds a node or tensor returns the name of its output.

    Parameters
    ----------
    weights : str
        One of `WEIGHT_FORMATS`, in which large tensors are stored. Computation is in float32: the runtime unpacks the
        weights once, when it opens the file.
    """

    def __init__(self, weights="float32"):
        self.weights, self.nodes, self.tensors = weights, [], {}

    def constant(self, name, values):
        """Add a tensor, unchanged."""
        self.tensors[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def weight(self, name, values, *, axis, weights=None):
        """Add a float32 tensor in the graph's storage format, with one scale for each index of `axis`."""
        weights, values = weights or self.weights, np.asarray(values, np.float32)
        if weights == "float32" or values.size < MIN_COMPRESSED:
            return self.constant(name, values)
        if weights == "float16":
            return self.op("Cast", self.constant(f"{name}.float16", values.astype(np.float16)), to=TensorProto.FLOAT)
        stored, scale = quantise(values, axis=axis, bits=int(weights.removeprefix("int")))
        unpacked = self.op("Cast", self.constant(f"{name}.{weights}", stored), to=TensorProto.FLOAT)
        return self.op("Mul", unpacked, self.constant(f"{name}.scale", scale))

    def op(self, kind, *inputs, output=None, **attributes):
        """Add a node."""
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def model(self, name, inputs, outputs, metadata):
        """Return the checked model; `inputs` and `outputs` map names to shapes, `metadata` names to texts."""
        inputs, outputs = (
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in each.items()]
            for each in (inputs, outputs)
        )
        graph = helper.make_graph(self.nodes, name, inputs, outputs, list(self.tensors.values()))
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, producer_name="esc50", ir_version=9)
        helper.set_model_props(model, metadata)
        checker.check_model(model, full_check=True)
        return model


def quantise(values, *, axis, bits):
    """Quantise symmetrically to signed integers; return them and the scale of each index of `axis`."""
    others = tuple(i for i in range(values.ndim) if i != axis)
    scale = np.maximum(np.abs(values).max(axis=others, keepdims=True), 1e-12) / (2 ** (bits - 1) - 1)
    return np.rint(values / scale).astype(f"int{bits}"), scale.astype(np.float32)


def yamnet_model(hub_weights, *, weights="float32", metadata=None):
    """Return YAMNet, including its log-mel front end, as an ONNX model.

    Parameters
    ----------
    hub_weights : dict of str to np.ndarray
        `esc50.yamnet.hub_module.Yamnet.weights`.
    weights : str
        One of `WEIGHT_FORMATS`.
    metadata : dict of str to str, optional
        Written into the file.

    Returns
    -------
    onnx.ModelProto
        The input is ``waveforms`` (batch, n_samples), mono at 16 kHz, of any length. The outputs are:

        - ``vectors`` (batch, n_frames, 5984), means of all 14 layers over each patch; the last 1,024 are the embedding;
        - ``maxima`` (batch, n_frames, 5984), maxima over each patch;
        - ``bands`` (batch, n_frames, 11968), means over the lower and the upper half of the frequencies;
        - ``scores`` (batch, n_frames, 521) of the AudioSet classes;
        - ``log_mel`` (batch, n_windows, 64).
    """
    graph = Graph(weights)
    log_mel = _log_mel(graph, _padded(graph, "waveforms"))
    patches = _patches(graph, log_mel)  # (batch * n_frames, 1, 96, 64)
    means, maxima, bands = zip(*_layers(graph, patches, hub_weights), strict=True)
    size = sum(layer_sizes(range(1, len(LAYERS) + 1)))
    embedding = graph.op("Flatten", means[-1])  # (batch * n_frames, 1024)
    dense = graph.weight("dense.kernel", hub_weights["dense/kernel"], axis=1, weights=_coarse(weights))
    bias = graph.constant("dense.bias", hub_weights["dense/bias"])
    scores = graph.op("Sigmoid", graph.op("Gemm", embedding, dense, bias))  # (batch * n_frames, 521)
    batch = graph.op("Slice", graph.op("Shape", "waveforms"), *_ints(graph, "batch", [0], [1]))
    n_classes = len(hub_weights["dense/bias"])
    widths = {"vectors": size, "maxima": size, "bands": 2 * size, "scores": n_classes}
    flat = [graph.op("Concat", *map(partial(graph.op, "Flatten"), each), axis=1) for each in (means, maxima, bands)]
    for (name, width), rows in zip(widths.items(), (*flat, scores), strict=True):
        shape = graph.op("Concat", batch, graph.constant(f"{name}.shape", np.array([-1, width])), axis=0)
        graph.op("Reshape", rows, shape, output=name)
    outputs = {name: ["batch", "n_frames", width] for name, width in widths.items()}
    outputs["log_mel"] = ["batch", "n_windows", SETTINGS.mel_bands]
    return graph.model("yamnet", {"waveforms": ["batch", "n_samples"]}, outputs, metadata or {})


def head_model(mean, deviation, layers, *, logarithm, prior=None, weights="float32", metadata=None):
    """Return a dense head as an ONNX model.

    Parameters
    ----------
    mean, deviation : np.ndarray, shape (size,)
        Of the inputs, for standardisation.
    layers : list of tuple of np.ndarray
        Kernel (n_in, n_out) and bias (n_out,) of each dense layer; ReLU between them.
    logarithm : bool
        Whether log(1 + x) is applied to the inputs x first.
    prior : tuple of (np.ndarray, np.ndarray, float), optional
        Matrix (n_scores, n_classes), bias (n_classes,) and weight. The input vectors then start with scores, and
        weight * log(scores @ matrix + bias) is added to the logits.
    weights : str
        One of `WEIGHT_FORMATS`.
    metadata : dict of str to str, optional
        Written into the file.

    Returns
    -------
    onnx.ModelProto
        From ``vectors`` (n, size) to ``activations`` (n, n_units) of the last hidden layer, ``logits`` and
        ``probabilities`` (n, n_classes).
    """
    graph, x, n_scores = Graph(weights), "vectors", len(prior[0]) if prior else 0
    if prior:
        scores = graph.op("Slice", x, *_ints(graph, "scores", [0], [n_scores], [1]))
        x = graph.op("Slice", x, *_ints(graph, "activations", [n_scores], [n_scores + len(mean)], [1]))
    if logarithm:
        x = graph.op("Log", graph.op("Add", x, graph.constant("one", np.float32(1))))
    x = graph.op("Sub", x, graph.constant("mean", mean.astype(np.float32)))
    x = graph.op("Mul", x, graph.constant("scale", (1 / deviation).astype(np.float32)))
    for number, (kernel, bias) in enumerate(layers, start=1):
        is_last = number == len(layers)
        kernel = graph.weight(f"dense{number}.kernel", kernel, axis=1)
        output = "logits" if is_last and not prior else None
        x = graph.op("Gemm", x, kernel, graph.constant(f"dense{number}.bias", bias), output=output)
        if not is_last:
            x = graph.op("Relu", x, output="activations" if number == len(layers) - 1 else None)
    if prior:
        matrix, offset = (graph.constant(f"prior.{i}", np.float32(each)) for i, each in enumerate(prior[:2]))
        logarithm = graph.op("Log", graph.op("Add", graph.op("MatMul", scores, matrix), offset))
        weighted = graph.op("Mul", logarithm, graph.constant("prior.weight", np.float32(prior[2])))
        x = graph.op("Add", x, weighted, output="logits")
    graph.op("Softmax", x, axis=1, output="probabilities")
    n_classes, n_units = len(layers[-1][1]), layers[-1][0].shape[0]
    outputs = {"activations": ["n", n_units], "logits": ["n", n_classes], "probabilities": ["n", n_classes]}
    return graph.model("head", {"vectors": ["n", n_scores + len(mean)]}, outputs, metadata or {})


def tflite_model(hub_weights, *, weights="float16"):
    """Return YAMNet as a TFLite model of one patch, for phones and small boards.

    Parameters
    ----------
    hub_weights : dict of str to np.ndarray
        As for `yamnet_model`.
    weights : str
        "float32" or "float16".

    Returns
    -------
    bytes
        Content of the file: from one waveform (1, 15600), 0.975 s at 16 kHz, to ``vectors`` (1, 5984) and ``scores``
        (1, 521).
    """
    from esc50.yamnet.backend import quiet_tensorflow

    quiet_tensorflow()
    import keras
    import tensorflow as tf

    backbone = keras_model.build_backbone(layers=range(1, len(LAYERS) + 1))
    keras_model.set_weights(backbone, hub_weights)

    def analyse(waveforms):
        vectors = backbone(keras_model.log_mel(waveforms))  # (1, 5984)
        embedding = vectors[:, -layer_sizes([len(LAYERS)])[0] :]
        scores = tf.sigmoid(embedding @ hub_weights["dense/kernel"] + hub_weights["dense/bias"])
        return {"vectors": vectors, "scores": scores}

    archive = keras.export.ExportArchive()
    archive.track(backbone)
    archive.add_endpoint("serve", analyse, [tf.TensorSpec([1, PATCH_SAMPLES], tf.float32, name="waveforms")])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        if weights == "float16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def _coarse(weights):
    """Return the format of the AudioSet output layer: 8 bits suffice where the rest has 16."""
    return "int8" if weights == "int16" else weights


def _ints(graph, name, *values):
    return [graph.constant(f"{name}.{i}", np.array(value)) for i, value in enumerate(values)]


def _padded(graph, waveforms):
    """Pad as `esc50.yamnet.frames.pad_waveform` does."""
    zero, one, two, patch, hop, rest = _ints(
        graph, "pad", [0], [1], [2], [PATCH_SAMPLES], [HOP_SAMPLES], [HOP_SAMPLES - 1]
    )
    n_samples = graph.op("Slice", graph.op("Shape", waveforms), one, two)
    after = graph.op("Max", graph.op("Sub", n_samples, patch), zero)
    hops = graph.op("Div", graph.op("Add", after, rest), hop)
    n_padded = graph.op("Add", patch, graph.op("Mul", hops, hop))
    pads = graph.op("Concat", zero, zero, zero, graph.op("Sub", n_padded, n_samples), axis=0)
    return graph.op("Pad", waveforms, pads)  # (batch, n_padded_samples)


def _log_mel(graph, padded):
    """Compute the log-mel spectrogram, (batch, n_windows, 64)."""
    mel = keras_model.mel_matrix()  # (257, 64)
    bins = np.flatnonzero(mel.any(axis=1))
    even, odd = _halves(graph, _windows(graph, padded))  # (batch, n_windows, 200) each
    squares = []
    for name, half, quarter in (("cosines", even, 0), ("sines", odd, keras_model.FFT_SAMPLES // 4)):
        part = graph.op("MatMul", half, _waves(graph, name, bins, quarter))  # (batch, n_windows, n_bins)
        squares.append(graph.op("Mul", part, part))
    bands = graph.op("MatMul", graph.op("Sqrt", graph.op("Add", *squares)), graph.constant("mel", mel[bins]))
    offset = graph.constant("log_offset", np.float32(SETTINGS.log_offset))
    return graph.op("Log", graph.op("Add", bands, offset), output="log_mel")


def _windows(graph, padded):
    """Frame into windows of 400 samples every 160: five blocks of 80 samples each, two blocks apart."""
    size = math.gcd(keras_model.WINDOW_SAMPLES, keras_model.STEP_SAMPLES)
    n_blocks, step = keras_model.WINDOW_SAMPLES // size, keras_model.STEP_SAMPLES // size
    blocks = graph.op("Reshape", padded, graph.constant("blocks", np.array([0, -1, size])))
    end = np.iinfo(np.int64).max
    parts = [
        graph.op("Slice", blocks, *_ints(graph, f"block{i}", [i], [i - n_blocks + 1 or end], [1], [step]))
        for i in range(n_blocks)
    ]
    return graph.op("Concat", *parts, axis=2)  # (batch, n_windows, 400)


def _halves(graph, windows):
    """Return sums and differences of samples that mirror each other around the middle.

    Magnitudes do not depend on the time origin, and YAMNet's window is symmetric around sample 200. With that origin
    cosines need only the sums, and sines only the differences.
    """
    middle, end = keras_model.WINDOW_SAMPLES // 2, np.iinfo(np.int64).max
    after = graph.op("Slice", windows, *_ints(graph, "after", [middle], [end], [2]))
    before = graph.op("Slice", windows, *_ints(graph, "before", [middle], [0], [2], [-1]))
    return graph.op("Add", after, before), graph.op("Sub", after, before)


def _waves(graph, name, bins, quarter):
    """Return windowed cosines, or sines for `quarter` of a period, (200, n_bins), from a table of one period."""
    size, n = keras_model.FFT_SAMPLES, np.arange(keras_model.WINDOW_SAMPLES // 2)
    period = np.cos(2 * np.pi * (np.arange(size) - quarter) / size)
    window = 0.5 + 0.5 * np.cos(2 * np.pi * n / keras_model.WINDOW_SAMPLES)
    window[0] /= 2  # the middle sample occurs in both halves
    phases = graph.op("Mul", *_ints(graph, f"{name}.phase", n[:, np.newaxis], bins))
    waves = graph.op("Gather", graph.constant(name, period.astype(np.float32)),
                     graph.op("Mod", phases, *_ints(graph, f"{name}.size", [size])))  # fmt: skip
    return graph.op("Mul", waves, graph.constant(f"{name}.window", window[:, np.newaxis].astype(np.float32)))


def _patches(graph, log_mel):
    """Join each block of 0.48 s with the next one: (batch * n_frames, 1, 96, 64)."""
    batch = graph.op("Slice", graph.op("Shape", "waveforms"), *_ints(graph, "first", [0], [1]))
    size = graph.constant("blocks.shape", np.array([-1, BLOCK_WINDOWS, SETTINGS.mel_bands]))
    blocks = graph.op("Reshape", log_mel, graph.op("Concat", batch, size, axis=0))  # (batch, n_frames + 1, 48, 64)
    first = graph.op("Slice", blocks, *_ints(graph, "first_halves", [0], [-1], [1]))
    second = graph.op("Slice", blocks, *_ints(graph, "second_halves", [1], [np.iinfo(np.int64).max], [1]))
    patches = graph.op("Concat", first, second, axis=2)  # (batch, n_frames, 96, 64)
    return graph.op("Reshape", patches, graph.constant("patch", np.array([-1, 1, PATCH_WINDOWS, SETTINGS.mel_bands])))


def _layers(graph, x, hub_weights):
    """Return means and maxima (batch * n_frames, filters, 1, 1) and bands (…, filters, 1, 2) of each layer."""
    height, width, pooled = PATCH_WINDOWS, SETTINGS.mel_bands, []
    for number, (kind, stride, _) in enumerate(LAYERS, start=1):
        parts = ("conv",) if kind == "conv" else ("depthwise_conv", "pointwise_conv")
        for part in parts:
            x = _convolution(graph, x, f"layer{number}/{part}", hub_weights, 1 if "point" in part else stride, height)
        height, width = height // stride, width // stride
        halves = [height, width // 2]
        bands = graph.op("AveragePool", x, kernel_shape=halves, strides=halves)
        pooled.append((graph.op("GlobalAveragePool", bands), graph.op("GlobalMaxPool", x), bands))
    return pooled


def _convolution(graph, x, name, hub_weights, stride, height):
    """Add a convolution with batch normalisation folded in, and ReLU; padded like TensorFlow's "same"."""
    depthwise = "depthwise" in name
    kernel = hub_weights[f"{name}/{'depthwise_kernel' if depthwise else 'kernel'}"]  # (h, w, in, out)
    kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)  # (out, in / group, h, w)
    scale = 1 / np.sqrt(hub_weights[f"{name}/bn/moving_variance"] + BATCH_NORM_EPSILON)
    bias = hub_weights[f"{name}/bn/beta"] - hub_weights[f"{name}/bn/moving_mean"] * scale
    size = kernel.shape[-1]
    before = 0 if stride == 2 and height % 2 == 0 else (size - 1) // 2
    after = max(0, size - stride) - before if stride == 2 else (size - 1) // 2
    tensors = (
        graph.weight(f"{name}/kernel", kernel * scale[:, np.newaxis, np.newaxis, np.newaxis], axis=0),
        graph.constant(f"{name}/bias", bias.astype(np.float32)),
    )
    group = len(kernel) if depthwise else 1
    pads, strides = [before, before, after, after], [stride, stride]
    return graph.op("Relu", graph.op("Conv", x, *tensors, group=group, pads=pads, strides=strides))
