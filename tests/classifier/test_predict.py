from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from esc50.audio import synthesis
from esc50.audio.sound import load_sound
from esc50.classifier import ood, pooling
from esc50.classifier.describe import audioset_label
from esc50.classifier.head import VECTORS_PER_CALL, Head
from esc50.classifier.pooling import temper
from esc50.classifier.predict import Prediction, SoundClassifier
from esc50.config import LAYERS_AND_SCORES, N_CLASSES, AudioError, ResultsError
from esc50.dataset.clips import class_names, clip_path
from esc50.yamnet import frames
from esc50.yamnet.architecture import layer_sizes
from esc50.yamnet.export import head_model
from esc50.yamnet.runtime import load_runtime

RATE = 16_000


def write_wav(path, samples, rate=RATE, subtype="FLOAT"):
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def by_hand(probabilities):
    """A prediction of these probabilities, without a sound."""
    names = tuple("abcdefgh"[: len(probabilities)])
    classifier = SimpleNamespace(metadata={"themes": {"dog": "Animals", "rain": "Natural soundscapes & water"}})
    rest = {
        "classifier": classifier,
        "evidence": None,
        "yamnet_log_mel": None,
        "ood_score": 0.0,
        "reaches_own": False,
        "audioset_scores": None,
    }
    return Prediction(names, np.array(probabilities), None, None, None, (), True, "", None, **rest)


# --- the answer


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
def test_any_sound_gets_probabilities_that_sum_to_one(small_classifier, waveform, n_frames):
    prediction = small_classifier.predict(waveform, sample_rate_hz=RATE)
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


def test_the_same_sound_gets_the_same_answer_in_whatever_form_it_comes(small_classifier, tmp_path):
    samples = np.stack([synthesis.example("rain"), synthesis.example("siren")], axis=1)  # (n_samples, 2)
    path = write_wav(tmp_path / "both.wav", samples, 44_100)
    with path.open("rb") as file:
        answers = [small_classifier.predict(source) for source in (path, str(path), path.read_bytes(), file)]
    answers += [small_classifier.predict(array, sample_rate_hz=44_100) for array in (samples, samples.T)]
    for answer in answers:
        np.testing.assert_allclose(answer.probabilities, answers[0].probabilities, atol=1e-6)
        np.testing.assert_allclose(answer.frame_probabilities, answers[0].frame_probabilities, atol=1e-6)
        np.testing.assert_allclose(answer.log_mel, answers[0].log_mel, atol=1e-3)
        assert answer.warnings == answers[0].warnings


@pytest.mark.parametrize("kind", pooling.POOLINGS)
def test_frames_are_pooled_as_the_metadata_say(small_classifier, kind):
    prediction = replace(small_classifier, metadata=small_classifier.metadata | {"pooling": kind}).predict(
        "example:keyboard_typing"
    )
    frames, mask = prediction.frame_probabilities[np.newaxis], np.ones((1, len(prediction.frame_seconds)), bool)
    expected = pooling.POOLINGS[kind](frames, mask)[0]
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-7)
    other = (pooling.mean_pool if kind == "max" else pooling.max_pool)(prediction.frame_probabilities[np.newaxis])[0]
    assert np.abs(prediction.probabilities - other).max() > 1e-5


def test_a_model_takes_the_columns_of_its_layers(small_classifier):
    waveform = synthesis.example("church_bells")
    every = load_runtime().embed(small_classifier.set_level(waveform))
    for layers, expected in {
        (14,): every[:, -1024:],
        (13, 14): every[:, -2048:],
        (1, 14): every[:, [*range(32), *range(4960, 5984)]],
    }.items():
        classifier = replace(small_classifier, metadata=small_classifier.metadata | {"layers": list(layers)})
        np.testing.assert_array_equal(classifier.embed(waveform), expected)


def test_vectors_end_in_yamnet_s_embeddings(small_classifier):
    waveform = synthesis.example("church_bells")
    prediction = small_classifier.predict(waveform, sample_rate_hz=RATE)
    assert prediction.vectors.shape == (10, sum(layer_sizes(small_classifier.metadata["layers"])))
    assert prediction.embeddings.shape == (10, 1_024)
    np.testing.assert_array_equal(
        prediction.embeddings, load_runtime().embed(small_classifier.set_level(waveform))[:, -1_024:]
    )


def test_a_batch_is_embedded_as_its_waveforms_are(small_classifier):
    waveforms = np.stack([synthesis.example("rain"), synthesis.example("siren")])
    embedded = small_classifier.embed_batch(waveforms)
    assert embedded.dtype == np.float32
    for vectors, waveform in zip(embedded, waveforms, strict=True):
        np.testing.assert_allclose(vectors, small_classifier.embed(waveform), atol=1e-3)  # of up to 50


def test_the_head_is_applied_part_by_part_with_the_same_numbers(small_classifier):
    vectors = np.tile(small_classifier.embed(synthesis.example("rain")), (30, 1))
    assert len(vectors) > VECTORS_PER_CALL
    frames = small_classifier.apply_head(vectors)
    np.testing.assert_allclose(frames, np.tile(frames[:10], (30, 1)), atol=1e-6)
    assert np.ptp(frames[:10], axis=0).max() > 1e-4


def test_the_top_classes_come_in_order_and_ties_in_label_order():
    prediction = by_hand([0.1, 0.3, 0.2, 0.3, 0.1])
    assert prediction.top(3) == [("b", 0.3), ("d", 0.3), ("c", 0.2)]
    assert len(prediction.top()) == len(prediction.top(99)) == 5


@pytest.mark.parametrize(
    ("waveform", "rate", "warnings"),
    [
        (synthesis.sine(500), RATE, []),
        (synthesis.silence(), RATE, ["silent"]),
        (synthesis.sine(500, seconds=0.5), RATE, ["lasts only 0.50 s: silence was added, up to 0.975 s"]),
        (np.clip(4 * synthesis.sine(500), -1, 1), RATE, ["too loud: 62.5 % of its samples are clipped, or over"]),
        (synthesis.sine(500), 44_100, []),
        (synthesis.sine(500), 8_000, ["Nothing above 4000 Hz is in the sound: it was sampled at 8000 Hz."]),
        (synthesis.silence(seconds=0.1), 22_050, ["silent", "lasts only 0.07 s"]),
        (8 * synthesis.sine(500), RATE, ["reaches 4 times full scale: it is played at a lower level"]),
        (synthesis.sine(500, amplitude=0.005), RATE, ["very quiet: it stays 46 dB below full scale"]),
        (synthesis.sine(500)[:, np.newaxis] * np.float32([1, -1]), RATE, ["opposite phase: the loudest one is used"]),
    ],
)
def test_warnings(small_classifier, waveform, rate, warnings):
    found = small_classifier.predict(waveform, sample_rate_hz=rate).warnings
    assert len(found) == len(warnings)
    for sentence, expected in zip(found, warnings, strict=True):
        assert expected in sentence
        assert sentence.endswith(".")


# --- trust


def test_silence_is_never_known(small_classifier):
    prediction = small_classifier.predict(synthesis.silence(), sample_rate_hz=RATE)
    assert not prediction.is_known
    assert prediction.verdict == "Nothing to hear: the recording is silent."
    assert prediction.nearest == ()


def test_probabilities_have_the_metadata_s_temperature_and_frames_have_not(small_classifier):
    plain = small_classifier.predict("example:rain")
    metadata = small_classifier.metadata | {"temperature": 0.5}
    cooler = replace(small_classifier, metadata=metadata).predict("example:rain")
    np.testing.assert_allclose(cooler.probabilities, temper(plain.probabilities, 0.5), atol=1e-6)
    assert cooler.probabilities.max() > plain.probabilities.max()
    np.testing.assert_array_equal(cooler.frame_probabilities, plain.frame_probabilities)


@pytest.mark.parametrize("score", [name for name in ood.OOD_SCORES if name not in ood.NEED_AUDIOSET])
def test_below_the_threshold_it_is_none_of_the_classes(small_classifier, score):
    rule = small_classifier.metadata["rejection"] | {"score": score}
    vectors = small_classifier.embed(synthesis.example("rain"))
    found = replace(small_classifier, metadata=small_classifier.metadata | {"rejection": rule}).judge(vectors).ood_score
    for step, is_known in ((-1e-6, True), (1e-6, False)):
        metadata = small_classifier.metadata | {"rejection": rule | {"threshold": found + step}}
        prediction = replace(small_classifier, metadata=metadata).predict("example:rain")
        assert (prediction.is_known, prediction.ood_score) == (is_known, pytest.approx(found))
        assert prediction.verdict.startswith("None of the 50 classes") != is_known


def test_any_share_of_the_known_sounds_can_be_kept(shipped):
    rule = shipped.metadata["rejection"]
    assert shipped.keeping(rule["kept"]).metadata == shipped.metadata
    few, many = shipped.keeping(0.5), shipped.keeping(0.99)
    thresholds = [each.metadata["rejection"]["threshold"] for each in (many, shipped, few)]
    assert sorted({*thresholds}) == thresholds
    score = shipped.predict("example:siren").ood_score
    for each in (few, shipped, many):
        found = each.predict("example:siren")
        assert (found.ood_score, found.is_known) == (score, score >= each.metadata["rejection"]["threshold"])
    assert "This threshold keeps 50 % of ESC-50's clips" in few.metadata["rejection"]["meaning"]
    with pytest.raises(ResultsError, match=r"1 of the known sounds cannot be kept: choose from 0\.5 to 0\.99"):
        SoundClassifier.load(keep=1.0)
    assert SoundClassifier.load(keep=0.5).metadata["rejection"]["kept"] == 0.5


def test_audioset_scores_are_available_with_any_head(shipped):
    sine = synthesis.sine(2_000)
    scores = load_runtime().analyse(shipped.set_level(sine)).scores.max(axis=0)
    prediction = shipped.predict(sine, sample_rate_hz=RATE)
    np.testing.assert_allclose(prediction.audioset_scores, scores, atol=1e-4)
    [(name, score)] = prediction.top_audioset(1)
    assert (name, score) == ("Sine wave", pytest.approx(scores.max(), abs=1e-4))
    assert prediction.verdict == f"None of the 50 classes. YAMNet's best match is sine wave ({score:.2f})."
    padded = np.concatenate([sine, np.zeros(10 * RATE, np.float32)])
    assert shipped.predict(padded, sample_rate_hz=RATE).top_audioset(1)[0][0] == "Sine wave"  # not silence


def test_why_is_set_only_for_rejected_sounds(shipped):
    prediction = shipped.predict(synthesis.sine(2_000), sample_rate_hz=RATE)
    _, share = ood.most_unlike(prediction.evidence)
    assert f"{100 * share:.0f} % of known sounds" in prediction.why
    assert share >= shipped.metadata["rejection"]["kept"]
    assert shipped.predict("example:siren").why == ""
    assert shipped.predict(synthesis.silence(), sample_rate_hz=RATE).why == ""


def test_why_names_the_audioset_class(small_classifier):
    """By a rule on YAMNet's scores, of a sound that was judged by another one."""
    prediction = small_classifier.predict(synthesis.sine(2_000), sample_rate_hz=RATE)
    by_share = {"share": [0.5, 0.97], "scores": {"other_score": [2.0, 1.0]}}
    rule = {"score": "other_score", "neighbours": 5, "by_share": by_share, "typical_scores": [0.0] * 521}
    scores, matrix = prediction.audioset_scores[np.newaxis], small_classifier.audioset_matrix
    evidence = replace(prediction.evidence, audioset=scores, matrix=matrix, rule=rule)
    assert replace(prediction, is_known=False, evidence=evidence).why == (
        f"YAMNet detects something outside the 50 classes, sine wave ({scores.max():.2f}), "
        "more strongly than in 97 % of known sounds."
    )


def test_a_head_with_yamnet_s_scores_and_a_combined_rule_says_why_too(small_classifier, rng):
    size = sum(layer_sizes(LAYERS_AND_SCORES))
    kernels = [rng.normal(0, 0.1, shape).astype(np.float32) for shape in ((size, 8), (8, N_CLASSES))]
    layers = [(kernel, np.zeros(kernel.shape[1], np.float32)) for kernel in kernels]
    head = Head(head_model(np.zeros(size), np.ones(size), layers, logarithm=True).SerializeToString())
    reached = {name: [99.0, 98.0] for name in ood.scores_of("combined")} | {"class_score": [97.0, 96.0]}
    by_share = {"share": [0.5, 0.99], "scores": reached, "accepted": [0.1, 0.9], "who": "a head"}
    rule = {"score": "combined", "neighbours": 5, "threshold": 98.0, "kept": 0.99, "by_share": by_share, "meaning": ""}
    rule |= {"mean": [0.0] * 4, "deviation": [1.0] * 4, "weights": [0.0] * 14, "intercept": 0.0}
    rule |= {"typical_scores": [0.0] * 521}
    about = {"layers": [*LAYERS_AND_SCORES], "rejection": rule, "pooling": "maximum_of_vectors"}
    classifier = replace(small_classifier, head=head, metadata=small_classifier.metadata | about)
    prediction = classifier.predict(synthesis.sine(2_000), sample_rate_hz=RATE)
    np.testing.assert_allclose(prediction.evidence.audioset[0], prediction.audioset_scores)
    assert not prediction.is_known and prediction.verdict.endswith(
        f"is {audioset_label(*prediction.top_audioset(1)[0])}."
    )
    assert prediction.why.startswith("It is unlike all 2,000 training clips ") and "99 % of" in prediction.why
    assert classifier.keeping(0.5).metadata["rejection"]["threshold"] == 99.0


def test_a_prediction_set_has_the_classes_that_are_probable_enough(shipped):
    prediction = shipped.predict("example:siren")
    assert prediction.prediction_set(0.9) == ("siren",)
    assert prediction.say_set() == "A siren, at least 90 % sure."
    probabilities = np.full(50, 0.004, np.float32)
    probabilities[[3, 6]] = 0.45, 0.35
    unsure = replace(prediction, probabilities=probabilities)
    assert unsure.prediction_set(0.8) == ("cow", "hen")
    assert unsure.say_set(0.8) == "A cow or a hen, 80 % sure it is one of these."
    assert replace(unsure, is_known=False).say_set() == ""
    with pytest.raises(ResultsError, match=r"choose above 0 and up to 0\.95"):
        prediction.prediction_set(0.99)
    old = {key: value for key, value in shipped.metadata.items() if key != "conformal"}
    before = replace(shipped, metadata=old).predict("example:siren")
    assert before.say_set() == ""
    with pytest.raises(ResultsError, match="has no prediction sets"):
        before.prediction_set()


@pytest.mark.audio
def test_a_training_clip_is_its_own_nearest(small_classifier, dataset_root):
    nearest = small_classifier.predict(clip_path("1-100032-A-0.wav", dataset_root)).nearest
    assert nearest[0].filename == "1-100032-A-0.wav"
    assert nearest[0].category == "dog"
    assert nearest[0].similarity == pytest.approx(1, abs=0.01)
    assert len(nearest) == 5
    assert sorted((n.similarity for n in nearest), reverse=True) == [n.similarity for n in nearest]


def test_the_theme_is_that_of_the_best_class():
    made_up = by_hand([0.1, 0.9])
    assert made_up.theme == ""  # a class of the user's own
    assert replace(made_up, class_names=("rain", "dog")).theme == "Animals"
    assert replace(made_up, class_names=("dog", "rain")).theme == "Natural soundscapes & water"


def test_predict_many_is_lazy_and_continues_after_errors(small_classifier, capsys):
    asked = []

    def sources():
        for source in ("example:siren", b"no sound", "example:rain"):
            asked.append(source)
            yield source

    answers = small_classifier.predict_many(sources(), progress=True)
    source, first = next(answers)
    assert (source, asked) == ("example:siren", ["example:siren"])
    (_, error), (_, last) = answers
    assert isinstance(error, AudioError)
    np.testing.assert_array_equal(first.probabilities, small_classifier.predict("example:siren").probabilities)
    assert isinstance(last, Prediction)
    assert "predicting" in capsys.readouterr().err


# --- what it takes


def test_an_example_is_named_where_a_file_could_be(tmp_path, monkeypatch):
    sound = load_sound("example:siren")
    np.testing.assert_array_equal(sound.waveform, synthesis.example("siren"))
    with pytest.raises(AudioError, match="no example named 'sirene': choose from car_horn"):
        load_sound("example:sirene")
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "sine.wav", synthesis.sine(440)).rename("example:siren")
    np.testing.assert_allclose(load_sound("./example:siren").waveform, synthesis.sine(440))


# --- those that are shipped


def test_the_classifiers_that_come_with_the_project_know_the_examples(shipped):
    for name in synthesis.EXAMPLES:
        assert name in dict(shipped.predict(f"example:{name}").top(3))


def test_each_name_loads_its_model_and_the_default_takes_all_layers(plain):
    assert (plain.metadata["layers"], plain.description.split(":")[0]) == ([14], "Answers come from the plain head")
    default, named, by_old_name = (SoundClassifier.load(model) for model in (None, "multilayer", "layers"))
    assert default.metadata == named.metadata == by_old_name.metadata != plain.metadata
    assert default.metadata["layers"] == [15, *range(1, 15)]
    assert default.description != plain.description


def test_log_mel_and_neighbours_are_computed_on_first_access(small_classifier, monkeypatch):
    asked = []
    monkeypatch.setattr(ood, "nearest_clips", lambda *args: asked.append("nearest") or ())
    prediction = small_classifier.predict("example:rain")
    assert asked == [] and "log_mel" not in vars(prediction)
    assert prediction.log_mel is prediction.log_mel
    expected = load_runtime().analyse(small_classifier.set_level(synthesis.example("rain"))).log_mel
    np.testing.assert_allclose(prediction.log_mel, 20 / np.log(10) * expected[:500], atol=1e-3)
    assert prediction.nearest == () and asked == ["nearest"]


@pytest.mark.parametrize("pooling", ["mean_of_sound", "maximum_of_vectors"])
def test_energy_is_that_of_the_vectors_that_the_head_takes(small_classifier, pooling):
    rule = small_classifier.metadata["rejection"] | {"score": "energy"}
    classifier = replace(small_classifier, metadata=small_classifier.metadata | {"pooling": pooling, "rejection": rule})
    vectors = classifier.predict("example:clock_tick").vectors
    active = frames.active_frames(vectors)
    taken = vectors[active] if pooling == "mean_of_sound" else vectors[active].max(axis=0, keepdims=True)
    expected = np.logaddexp.reduce(classifier.head.logits(taken), axis=1).mean()
    assert classifier.judge(vectors).ood_score == pytest.approx(expected, abs=1e-4)


def test_the_shipped_rule_refuses_tones_and_keeps_the_examples(shipped):
    assert all(shipped.predict(f"example:{name}").is_known for name in synthesis.EXAMPLES)
    for hz in (220, 440, 880):
        assert not shipped.predict(synthesis.sine(hz), sample_rate_hz=RATE).is_known


@pytest.mark.parametrize(("seconds", "is_long"), [(10.0, False), (10.1, True)])
def test_over_ten_seconds_the_verdict_is_the_timeline_s(shipped, seconds, is_long):
    prediction = shipped.predict(synthesis.example("siren", seconds=seconds), sample_rate_hz=16_000)
    assert prediction.as_one_sound.startswith("This sounds like a siren (")
    assert (prediction.timeline is not None) is is_long
    assert prediction.verdict == (prediction.timeline.verdict if is_long else prediction.as_one_sound)
    if is_long:
        assert prediction.verdict == "1 sound in 0:10: siren 0:00 to 0:10."
