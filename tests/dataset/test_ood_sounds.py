import json
import shutil

import numpy as np
import pandas as pd
import pytest

from esc50.config import FEATURES_DIR, AudioError
from esc50.dataset import feature_files, ood_sounds

LAYERS_FILE = FEATURES_DIR / "ood_sounds_layers.npz"  # not committed
BY_CODE = [kind for kind in ood_sounds.KINDS if kind not in ("speech", "system sound")]


@pytest.fixture(scope="module")
def stored():
    return feature_files.load_features("ood_sounds")


def power_by_octave(waveform, start_hz):
    spectrum = np.abs(np.fft.rfft(waveform)) ** 2
    frequency_hz = np.fft.rfftfreq(len(waveform), 1 / 16_000)
    return spectrum[(frequency_hz >= start_hz) & (frequency_hz < 2 * start_hz)].sum()


def test_every_kind_of_ood_sound_is_listed():
    kinds = {"tone", "chord", "noise", "silence", "hum", "sweep", "clicks", "speech", "system sound"}
    assert set(ood_sounds.KINDS) == kinds
    sounds = ood_sounds.list_ood_sounds()
    assert len({sound.name for sound in sounds}) == len(sounds) > 100


@pytest.mark.parametrize("sound", ood_sounds.list_ood_sounds(BY_CODE), ids=lambda sound: sound.name)
def test_sounds_made_by_code_are_sound_of_five_seconds(sound):
    waveform = sound.make(**sound.parameters)
    assert waveform.shape == (80_000,)
    assert waveform.dtype == np.float32
    peak = np.abs(waveform).max()
    assert peak <= 0.51
    assert (peak < 1e-4) == (sound.kind == "silence")


@pytest.mark.parametrize(("slope", "decibel"), [(0, 3.01), (3.01, 0), (6.02, -3.01)])
def test_noise_falls_as_its_colour_says(slope, decibel):
    """White noise has twice the power in each octave, pink as much, brown half."""
    noise = ood_sounds._noise(decibel_per_octave=slope, decibel=-6, seed=0)
    steps = [power_by_octave(noise, 2 * hz) / power_by_octave(noise, hz) for hz in (250, 500, 1000, 2000)]
    assert 10 * np.log10(np.mean(steps)) == pytest.approx(decibel, abs=0.4)


def test_prose_names_sounds_without_seeds_and_hyphens():
    names = pd.Series(["white noise, -20 dB, 3", "1 clicks a second", "dialog-warning", "trash-empty"])
    readable = names.replace(ood_sounds.READABLE, regex=True)
    assert readable.tolist() == ["white noise, -20 dB", "1 click a second", "dialog warning", "trash emptied"]


def test_an_unknown_kind_is_refused():
    with pytest.raises(AudioError, match="unknown kind of sound music: choose from tone, "):
        ood_sounds.list_ood_sounds(["music"])


def test_a_missing_program_or_theme_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(ood_sounds, "THEME_DIR", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for kind, advice in (("system sound", "install the package sound-theme-freedesktop"), ("speech", "espeak-ng")):
        sound = ood_sounds.list_ood_sounds([kind])[0]
        with pytest.raises(AudioError, match=advice):
            sound.make(**sound.parameters)


def test_the_committed_file_holds_the_sounds_that_are_listed(stored):
    sounds = ood_sounds.list_ood_sounds()
    assert stored["name"].tolist() == [sound.name for sound in sounds]
    assert stored["kind"].tolist() == [sound.kind for sound in sounds]
    as_json = [json.loads(json.dumps(sound.parameters)) for sound in sounds]
    assert [json.loads(text) for text in stored["made_with"]] == as_json
    assert stored["embeddings"].shape == (stored["n_frames"].sum(), 1024)
    assert set(stored["kind"][stored["silent"]]) == {"silence"}
    assert (FEATURES_DIR / "ood_sounds.npz").stat().st_size < 1e6


@pytest.mark.yamnet
@pytest.mark.slow
def test_the_committed_embeddings_agree_with_those_computed_now(stored):
    found = ood_sounds.compute_ood_sounds(["hum"], progress=False)
    expected = stored["embeddings"][np.repeat(stored["kind"] == "hum", stored["n_frames"])]
    assert np.abs(found["embeddings"].astype(np.float32) - expected).max() < 0.02


@pytest.mark.yamnet
@pytest.mark.slow
def test_layers_embed_the_same_sounds_and_end_in_the_committed_embeddings(stored):
    found = ood_sounds.compute_ood_sounds(
        ["hum"], settings=feature_files.OodSoundsLayerSettings(layers=(13, 14)), progress=False
    )
    is_hum = stored["kind"] == "hum"
    for key in ("name", "made_with", "n_frames", "silent"):
        assert found[key].tolist() == stored[key][is_hum].tolist()
    assert "embeddings" not in found
    assert found["activations"].shape == (stored["n_frames"][is_hum].sum(), 2048)
    assert found["activations"].dtype == np.float16
    expected = stored["embeddings"][np.repeat(is_hum, stored["n_frames"])]
    assert np.abs(found["activations"][:, 1024:].astype(np.float32) - expected).max() < 0.02


@pytest.mark.skipif(not LAYERS_FILE.is_file(), reason="computed by `esc50 features ood_sounds_layers`")
def test_what_the_layers_gave_ends_in_the_committed_embeddings(stored):
    found = feature_files.load_features("ood_sounds_layers")
    for key in ("name", "kind", "made_with", "n_frames", "silent"):
        assert found[key].tolist() == stored[key].tolist()
    assert np.abs(found["activations"][:, -1024:].astype(np.float32) - stored["embeddings"]).max() < 0.02


@pytest.mark.yamnet
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
def test_yamnet_classifies_speech_as_speech():
    from esc50.yamnet.hub_module import load_yamnet

    yamnet, sound = load_yamnet(), ood_sounds.list_ood_sounds(["speech"])[0]
    scores = yamnet.analyse(sound.make(**sound.parameters)).scores.mean(axis=0)
    assert yamnet.class_names[scores.argmax()] == "Speech"
