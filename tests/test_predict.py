import hashlib
import io
import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import soundfile

from esc50 import evaluation, predict, synthesis
from esc50.config import N_CLASSES, HeadSettings
from esc50.dataset import class_names
from esc50.errors import AudioError, ResultsError
from esc50.predict import Prediction, SoundClassifier, load_card, load_source, save_classifier

SETTINGS = HeadSettings(units=(8,))
ABOUT = {"pooling": "mean", "cross_validated": {"accuracy": 0.88}, "settings": SETTINGS}
RATE = 16_000


@pytest.fixture(scope="module")
def head():
    """A small head with random weights that has an optimizer and its state, as after a training."""
    import keras

    from esc50.models import build_head

    keras.utils.set_random_seed(2015)
    model = build_head(settings=SETTINGS)
    embeddings = np.random.default_rng(2015).random((64, 1024), dtype=np.float32)
    model.get_layer("standardise").adapt(embeddings)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(embeddings, np.arange(64) % N_CLASSES, verbose=0)
    return model


@pytest.fixture
def saved(head, tmp_path):
    return save_classifier(head, path=tmp_path / "model.keras", **ABOUT)


@pytest.fixture(scope="module")
def classifier(head, tmp_path_factory):
    path = save_classifier(head, path=tmp_path_factory.mktemp("models") / "model.keras", **ABOUT)
    return SoundClassifier.load(path)


def card_of(path):
    return json.loads(path.with_suffix(".json").read_text())


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def write_wav(path, samples, rate=RATE, subtype="FLOAT"):
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def by_hand(probabilities):
    """A prediction of these probabilities, without a sound."""
    names = tuple("abcdefgh"[: len(probabilities)])
    return Prediction(names, np.array(probabilities), None, None, None, None, ())


# --- the answer


@pytest.mark.yamnet
@pytest.mark.parametrize(
    ("waveform", "n_frames"),
    [
        (synthesis.silence(), 10),
        (synthesis.sine(2_000), 10),
        (synthesis.white_noise(seconds=3.0), 6),
        (synthesis.chirp(seconds=0.1), 1),
        (synthesis.example("rain", seconds=12.0), 24),
        (np.float32([0.5]), 1),
    ],
    ids=["silence", "sine", "noise", "short chirp", "long rain", "one sample"],
)
def test_any_sound_gets_probabilities_that_sum_to_one(classifier, waveform, n_frames):
    prediction = classifier.predict(waveform, sample_rate_hz=RATE)
    assert prediction.class_names == class_names()
    assert prediction.probabilities.shape == (N_CLASSES,)
    assert prediction.frame_probabilities.shape == (n_frames, N_CLASSES)
    for probabilities in (prediction.probabilities, prediction.frame_probabilities):
        assert np.all(probabilities >= 0)
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(prediction.frame_seconds, 0.48 * np.arange(n_frames))
    assert prediction.log_mel.shape[1] == 64
    assert np.isfinite(prediction.log_mel).all()
    np.testing.assert_array_equal(prediction.sound.waveform, waveform)


@pytest.mark.yamnet
def test_the_same_sound_gets_the_same_answer_in_whatever_form_it_comes(classifier, tmp_path):
    samples = np.stack([synthesis.example("rain"), synthesis.example("siren")], axis=1)  # (n_samples, 2)
    path = write_wav(tmp_path / "both.wav", samples, 44_100)
    with path.open("rb") as file:
        answers = [classifier.predict(source) for source in (path, str(path), path.read_bytes(), file)]
    answers += [classifier.predict(array, sample_rate_hz=44_100) for array in (samples, samples.T)]
    for answer in answers:
        np.testing.assert_allclose(answer.probabilities, answers[0].probabilities, atol=1e-6)
        np.testing.assert_allclose(answer.frame_probabilities, answers[0].frame_probabilities, atol=1e-6)
        np.testing.assert_allclose(answer.log_mel, answers[0].log_mel, atol=1e-3)
        assert answer.warnings == answers[0].warnings


@pytest.mark.yamnet
@pytest.mark.parametrize("pooling", predict.POOLINGS)
def test_frames_are_pooled_as_the_card_says(classifier, pooling):
    prediction = replace(classifier, card=classifier.card | {"pooling": pooling}).predict("example:keyboard_typing")
    pool = {"mean": evaluation.mean_pool, "geometric_mean": evaluation.geometric_mean_pool}[pooling]
    expected = pool(prediction.frame_probabilities[np.newaxis])[0]
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-7)
    other = evaluation.max_pool(prediction.frame_probabilities[np.newaxis])[0]
    assert np.abs(prediction.probabilities - other).max() > 1e-5


@pytest.mark.yamnet
def test_frames_are_the_head_s_answers_to_yamnet_s_embeddings(classifier, head):
    waveform = synthesis.example("church_bells")
    expected = head.predict(classifier.yamnet.embed(waveform), verbose=0)
    prediction = classifier.predict(waveform, sample_rate_hz=RATE)
    np.testing.assert_allclose(prediction.frame_probabilities, expected, atol=1e-6)


def test_the_top_classes_come_in_order_and_ties_in_label_order():
    prediction = by_hand([0.1, 0.3, 0.2, 0.3, 0.1])
    assert prediction.top(3) == [("b", 0.3), ("d", 0.3), ("c", 0.2)]
    assert len(prediction.top()) == len(prediction.top(99)) == 5


@pytest.mark.yamnet
@pytest.mark.parametrize(
    ("waveform", "rate", "warnings"),
    [
        (synthesis.sine(500), RATE, []),
        (synthesis.silence(), RATE, ["silent"]),
        (synthesis.sine(500, seconds=0.5), RATE, ["lasts only 0.50 s: silence was added, up to 0.975 s"]),
        (np.clip(4 * synthesis.sine(500), -1, 1), RATE, ["too loud: 62.5 % of its samples are clipped"]),
        (synthesis.sine(500), 44_100, ["resampled from 44100 to 16000 Hz."]),
        (synthesis.sine(500), 8_000, ["8000 to 16000 Hz, so nothing above 4000 Hz is in it"]),
        (synthesis.silence(seconds=0.1), 22_050, ["silent", "lasts only 0.07 s", "resampled"]),
    ],
)
def test_warnings(classifier, waveform, rate, warnings):
    found = classifier.predict(waveform, sample_rate_hz=rate).warnings
    assert len(found) == len(warnings)
    for sentence, expected in zip(found, warnings, strict=True):
        assert expected in sentence
        assert sentence.endswith(".")


# --- what it takes


def test_an_example_is_named_where_a_file_could_be(tmp_path, monkeypatch):
    sound = load_source("example:siren")
    np.testing.assert_array_equal(sound.waveform, synthesis.example("siren"))
    with pytest.raises(AudioError, match="no example named 'sirene': choose from car_horn"):
        load_source("example:sirene")
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "sine.wav", synthesis.sine(440)).rename("example:siren")
    np.testing.assert_allclose(load_source("./example:siren").waveform, synthesis.sine(440))


@pytest.mark.parametrize(
    ("source", "rate", "message"),
    [
        ("nowhere.wav", None, "no such file"),
        (b"not a sound at all", None, "is not sound, or damaged"),
        (b"", None, "empty"),
        (io.StringIO("text"), None, "opened as text"),
        (synthesis.silence(), None, "pass sample_rate_hz"),
        (synthesis.silence(), 3, "sample rate of 3 Hz"),
        (np.full(RATE, np.nan, np.float32), RATE, "nan"),
        (None, None, "no sound in a NoneType"),
        ("example:siren", RATE, "leave it out"),
    ],
)
def test_what_is_not_sound_is_refused_with_a_reason(source, rate, message):
    with pytest.raises(AudioError, match=message):
        load_source(source, sample_rate_hz=rate)


# --- saving and loading


@pytest.mark.yamnet
def test_a_saved_head_comes_back_with_its_card_and_without_its_optimizer(head, saved):
    classifier = SoundClassifier.load(str(saved))
    embeddings = np.random.default_rng(0).random((5, 1024), dtype=np.float32)
    kept = classifier.head.predict(embeddings, verbose=0)
    np.testing.assert_allclose(kept, head.predict(embeddings, verbose=0), atol=1e-7)
    assert getattr(classifier.head, "optimizer", None) is None
    assert head.optimizer is not None
    assert saved.stat().st_size < 100_000  # the full head: 1.2 MB, and 3.7 MB with AdamW's state
    assert classifier.card == load_card(saved) == card_of(saved)
    assert classifier.class_names == class_names()


def test_the_card_says_what_made_the_head(saved):
    import keras

    card = card_of(saved)
    assert card["class_names"] == list(class_names())
    assert card["sample_rate_hz"] == card["yamnet"]["sample_rate_hz"] == RATE
    assert card["yamnet"]["embedding_size"] == 1024
    assert card["pooling"] == "mean"
    assert card["cross_validated"] == {"accuracy": 0.88}
    assert card["head_settings"] == asdict(SETTINGS) | {"units": [8]}
    assert card["sha256"] == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert card["versions"]["keras"] == keras.__version__
    assert {"esc50", "numpy", "python", "tensorflow"} < set(card["versions"])
    assert {file.name for file in saved.parent.iterdir()} == {"model.keras", "model.json"}


@pytest.mark.parametrize("step", ["_without_optimizer", "write_json"])
def test_an_interrupted_save_leaves_the_old_one(head, saved, monkeypatch, step):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    before = contents(saved.parent)
    monkeypatch.setattr(predict, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_classifier(head, path=saved, **ABOUT)
    assert contents(saved.parent) == before


def test_an_unknown_pooling_is_refused_before_anything_is_written(head, tmp_path):
    with pytest.raises(ResultsError, match="no pooling named 'max': choose from mean, geometric_mean"):
        save_classifier(head, path=tmp_path / "models" / "model.keras", **ABOUT | {"pooling": "max"})
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("missing", ["model.keras", "model.json"])
def test_a_missing_file_is_named_with_the_command_that_makes_it(saved, missing):
    (saved.parent / missing).unlink()
    with pytest.raises(ResultsError, match=f"{missing} is missing; run `make run`"):
        SoundClassifier.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"yamnet_fingerprint": "0123"}, "yamnet_fingerprint '0123', not "),
        ({"sha256": "abc"}, "sha256 'abc', not "),
        ({"sample_rate_hz": 44_100}, "sample_rate_hz 44100, not 16000"),
        ({"yamnet": {}}, "yamnet {}, not "),
        ({"pooling": "median"}, "names the pooling 'median', which is unknown"),
        ({"class_names": ["dog", "cat"]}, "1024 numbers to 50 classes, not .* to the 2 classes"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(saved, change, message):
    saved.with_suffix(".json").write_text(json.dumps(card_of(saved) | change))
    with pytest.raises(ResultsError, match=f"{message}.*; run `make run`"):
        SoundClassifier.load(saved)


@pytest.mark.parametrize("key", ["class_names", "pooling", "yamnet_fingerprint", "sha256", "versions"])
def test_a_card_that_lacks_something_is_refused(saved, key):
    card = card_of(saved)
    del card[key]
    saved.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ResultsError, match=f"lacks {key}; run `make run`"):
        SoundClassifier.load(saved)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2]"])
def test_a_card_that_is_no_card_is_refused(saved, content):
    saved.with_suffix(".json").write_bytes(content)
    with pytest.raises(ResultsError, match=r"model\.json (is damaged|lacks).*run `make run`"):
        SoundClassifier.load(saved)


def test_a_changed_head_is_refused(saved):
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(ResultsError, match="does not fit: it has sha256"):
        SoundClassifier.load(saved)


def test_a_head_that_keras_cannot_open_is_refused(saved):
    saved.write_bytes(b"of another version")
    card = card_of(saved) | {"sha256": hashlib.sha256(saved.read_bytes()).hexdigest(), "versions": {"keras": "9.0"}}
    saved.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ResultsError, match=r"cannot be opened \(saved with Keras 9\.0, this is 3\."):
        SoundClassifier.load(saved)


@pytest.mark.yamnet
def test_the_classifier_that_comes_with_the_project_knows_the_examples():
    classifier = SoundClassifier.load()
    for name in synthesis.EXAMPLES:
        assert name in dict(classifier.predict(f"example:{name}").top(3))


def test_import_is_light():
    program = "import sys, esc50.predict; print(*{'tensorflow', 'keras', 'librosa', 'ipywidgets'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""
