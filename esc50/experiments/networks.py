"""The networks and the classical baselines, each a short table plus a loop."""

from esc50.config import N_CLASSES, CnnSettings, HeadSettings, LogMelSettings, YamnetSettings

# (kind, filters, stride); "conv" is 3x3, "separable" is depthwise 3x3 then 1x1 as in MobileNet and YAMNet.
CNN_LAYERS = {
    "cnn_vgg": (
        ("conv", 24, 1),
        ("pool", None, 2),
        ("conv", 48, 1),
        ("conv", 48, 1),
        ("pool", None, 2),
        ("conv", 96, 1),
        ("conv", 96, 1),
        ("pool", None, 2),
        ("conv", 192, 1),
        ("conv", 192, 1),
    ),
    "cnn_separable": (
        ("conv", 32, 2),
        ("separable", 64, 2),
        ("separable", 128, 1),
        ("separable", 128, 2),
        ("separable", 256, 1),
        ("separable", 512, 2),
        ("separable", 512, 1),
    ),
}


def build_cnn(name, *, settings=CnnSettings(), log_mel_settings=LogMelSettings()):
    """Log-mel CNN to be trained from scratch.

    Parameters
    ----------
    name : str
        A key of `CNN_LAYERS`.
    settings : CnnSettings
        Dropout before the classifier.
    log_mel_settings : LogMelSettings
        Number of mel bands of the input.

    Returns
    -------
    keras.Model
        From (batch, n_frames, mel_bands) log-mels in decibels to (batch, 50) class probabilities. Its
        ``standardise`` layer is to be adapted to the training clips first.
    """
    from keras import Input, Model, layers, ops

    inputs = Input((None, log_mel_settings.mel_bands), name="log_mel_decibel")
    x = layers.Normalization(axis=-1, name="standardise")(inputs)
    x = ops.expand_dims(x, axis=-1)  # (batch, n_frames, mel_bands, 1)
    for kind, filters, stride in CNN_LAYERS[name]:
        x = _BLOCKS[kind](x, filters, stride)  # (batch, n_frames', bands', filters)
    x = ops.mean(x, axis=2)  # (batch, n_frames', filters)
    x = ops.mean(x, axis=1) + ops.max(x, axis=1)  # (batch, filters)
    x = layers.Dropout(settings.dropout)(x)
    return Model(inputs, layers.Dense(N_CLASSES, activation="softmax")(x), name=name)


def build_head(*, input_size=YamnetSettings.embedding_size, settings=HeadSettings()):
    """Dense head on YAMNet embeddings: Dense 256, ReLU, Dropout, Dense 128, ReLU, Dropout, softmax over 50.

    Parameters
    ----------
    input_size : int
        Length of the input vector: 1024 for one embedding.
    settings : HeadSettings
        Units of the hidden layers and dropout rates.

    Returns
    -------
    keras.Model
        From (batch, input_size) to (batch, 50) class probabilities. Its ``standardise`` layer is to be
        adapted to the training vectors first.
    """
    from keras import Input, Model, layers

    inputs = Input((input_size,), name="embedding")
    x = layers.Normalization(name="standardise")(inputs)
    x = layers.Dropout(settings.input_dropout)(x)
    for units in settings.units:
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(settings.dropout)(x)
    return Model(inputs, layers.Dense(N_CLASSES, activation="softmax")(x), name="head")


def with_logarithm(head):
    """Put the logarithm before a head that was trained on log activations, so that it takes them as they are.

    Parameters
    ----------
    head : keras.Model
        From `build_head`, trained on the logarithm of 1 plus the activations; not changed.

    Returns
    -------
    keras.Model
        From (batch, input_size) activations to (batch, 50) class probabilities: the logarithm, then copies of the
        head's layers, one after another.
    """
    from keras import Input, Model, ops

    inputs = Input(head.input_shape[1:], name="activations")
    x = ops.log1p(inputs)
    for layer in head.layers[1:]:
        x = type(layer).from_config(layer.get_config())(x)  # a copy: a layer of two models has no one input
    model = Model(inputs, x, name=head.name)
    model.set_weights(head.get_weights())
    model.get_layer("standardise").finalize_state()
    return model


def build_classical(name, *, seed=0):
    """Classical classifier: the three of the ESC-50 paper (Piczak 2015, section 4), and logistic regression.

    Parameters
    ----------
    name : str
        ``mfcc_knn``, ``mfcc_svm``, ``mfcc_random_forest`` or ``yamnet_logistic``.
    seed : int
        Seed of the random forest; the others have no randomness.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Standardisation, then the classifier; has ``predict_proba`` or, the SVM, ``decision_function``.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    classifiers = {  # lambdas, so that only the one asked for is made
        "mfcc_knn": lambda: KNeighborsClassifier(n_neighbors=10, weights="distance"),
        "mfcc_svm": lambda: SVC(C=1.0),
        "mfcc_random_forest": lambda: RandomForestClassifier(n_estimators=500, random_state=seed, n_jobs=-1),
        "yamnet_logistic": lambda: LogisticRegression(C=0.01, max_iter=1000),
    }
    return make_pipeline(StandardScaler(), classifiers[name]())


def _conv(x, filters, stride):
    from keras import layers

    return _normalised_relu(layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x))


def _separable(x, filters, stride):
    from keras import layers

    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
    return _normalised_relu(layers.Conv2D(filters, 1, use_bias=False)(_normalised_relu(x)))


def _pool(x, _, stride):
    from keras import layers

    return layers.AveragePooling2D(stride)(x)


def _normalised_relu(x):
    from keras import layers

    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


_BLOCKS = {"conv": _conv, "separable": _separable, "pool": _pool}
