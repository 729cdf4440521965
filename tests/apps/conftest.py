import numpy as np
import pytest
import soundfile

from esc50.audio import synthesis

RATE = 16_000


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """Sounds in many forms: name -> file."""
    folder = tmp_path_factory.mktemp("sounds")
    rain, siren = synthesis.example("rain"), synthesis.example("siren")
    both = np.stack([rain, siren], axis=1)  # (n_samples, 2)
    forms = {
        "8 bit.wav": (rain, RATE, "PCM_U8"),
        "24 bit.wav": (rain, 44_100, "PCM_24"),
        "float.wav": (rain, 48_000, "FLOAT"),
        "96 kHz.flac": (np.tile(siren, 6), 96_000, "PCM_24"),
        "6 channels.wav": (np.tile(siren[:, np.newaxis], 6), 48_000, "PCM_16"),
        "stereo.ogg": (both, 44_100, "VORBIS"),
        "tone.mp3": (synthesis.sine(440), 44_100, "MPEG_LAYER_III"),
        "a click.wav": (synthesis.impulse(seconds=0.1, at_seconds=0.05), RATE, "PCM_16"),
        "silence.wav": (synthesis.silence(), RATE, "PCM_16"),
        "long.wav": (np.concatenate([siren, 0 * siren, rain]), RATE, "PCM_16"),
    }
    for name, (samples, rate, subtype) in forms.items():
        soundfile.write(folder / name, samples, rate, subtype=subtype)
    return {name: folder / name for name in forms}


@pytest.fixture(scope="session")
def bad_files(tmp_path_factory):
    """What is not sound, or too much of it: name -> file."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "notes.wav").write_text("milk, eggs, bread\n")
    (folder / "nothing.wav").touch()
    soundfile.write(folder / "no samples.wav", np.zeros(0), RATE)
    soundfile.write(folder / "whole.mp3", synthesis.example("rain"), 44_100, subtype="MPEG_LAYER_III")
    (folder / "cut.mp3").write_bytes((folder / "whole.mp3").read_bytes()[:200])
    soundfile.write(folder / "eleven minutes.flac", np.zeros(11 * 60 * 8_000), 8_000)
    with (folder / "200 MB.wav").open("wb") as file:
        file.truncate(200_000_000)
    return {path.name: path for path in folder.iterdir()}
