"""Sounds that are not in ESC-50: synthesised, spoken by espeak-ng, or from the desktop's sound theme."""

import io
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from esc50.audio import load_sound, synthesis
from esc50.config import AudioError, AudioSettings, LayerSettings, YamnetSettings


@dataclass(frozen=True)
class OodSoundsSettings(YamnetSettings):
    """Sounds that are not in ESC-50, embedded by YAMNet."""

    seconds: float = 5.0  # except for system sounds, which keep their length
    peak: float = 0.5
    seed: int = 0


SETTINGS = OodSoundsSettings()
RATE_HZ = AudioSettings().sample_rate_hz
THEME_DIR = Path("/usr/share/sounds/freedesktop/stereo")  # Debian: sound-theme-freedesktop 0.8
SPEECH_VOICES = ("", "+f3", "+m7")  # espeak-ng's default voice and two variants
SPEECH_WORDS_PER_MINUTE = 150
SENTENCES = {
    "en-us": "Please leave your message after the tone, and we will call you back as soon as we can.",
    "en-gb-scotland": "The next train to the city centre leaves from platform two in about ten minutes.",
    "de": "Die Sitzung beginnt morgen um neun Uhr, bitte bringen Sie alle Unterlagen mit.",
    "fr-fr": "Le musée est ouvert tous les jours de la semaine, sauf le mardi et les jours de fête.",
    "es": "Mañana por la tarde lloverá en el norte y hará sol en el resto del país.",
    "it": "La biblioteca si trova dietro la chiesa, a destra del mercato della frutta.",
    "pt-br": "O ônibus para o aeroporto sai a cada meia hora em frente à estação central.",
    "nl": "Wij hebben het boek gevonden dat u vorige week in de winkel had besteld.",
    "sv": "Det är viktigt att dricka mycket vatten när man arbetar utomhus på sommaren.",
    "pl": "Proszę zamknąć okno, ponieważ wieczorem robi się tutaj bardzo zimno.",
    "ru": "Завтра утром мы поедем на дачу и вернёмся только в воскресенье вечером.",
    "tr": "Toplantı yarın sabah saat dokuzda ikinci kattaki büyük salonda başlayacak.",
    "hi": "कल सुबह हम सब मिलकर बाज़ार जाएँगे और ताज़ी सब्ज़ियाँ खरीदेंगे।",
    "id": "Besok pagi kami akan pergi ke pasar untuk membeli buah dan sayuran segar.",
}
THEME_FILES = (
    *("alarm-clock-elapsed", "audio-channel-front-center", "audio-channel-front-left", "audio-channel-side-right"),
    *("audio-test-signal", "audio-volume-change", "bell", "camera-shutter", "complete", "device-added"),
    *("device-removed", "dialog-error", "dialog-information", "dialog-warning", "message", "message-new-instant"),
    *("network-connectivity-established", "network-connectivity-lost", "phone-incoming-call"),
    *("phone-outgoing-busy", "phone-outgoing-calling", "power-plug", "power-unplug", "screen-capture"),
    *("service-login", "service-logout", "suspend-error", "trash-empty", "window-attention", "window-question"),
)
CHORDS = {"major": (0, 4, 7), "minor": (0, 3, 7), "dominant seventh": (0, 4, 7, 10), "cluster": (0, 1, 2, 3, 4)}
COLOURS = {"white": 0, "pink": 3.01, "brown": 6.02}
READABLE = {  # names as prose has them: without seeds and hyphens
    r" dB, \d+$": " dB",
    "^1 clicks": "1 click",
    "^trash-empty$": "trash emptied",
    "(?<=[a-z])-(?=[a-z])": " ",
}
SWEEPS_HZ = ((100, 7_000), (7_000, 100), (200, 2_000), (2_000, 200), (300, 600), (3_000, 6_000))


class OodSound(NamedTuple):
    """A sound that is not in ESC-50: `make(**parameters)` returns its waveform, mono float32 at 16 kHz."""

    kind: str
    name: str
    make: Callable
    parameters: dict


def list_ood_sounds(kinds=None):
    """Return the sounds of some kinds, in a fixed order.

    Some resemble ESC-50 classes: high tones an alarm clock, noise rain or sea waves, clicks a clock; the system sounds
    include a bell and a camera's click.

    Parameters
    ----------
    kinds : sequence of str, optional
        Some of `KINDS`; all by default.

    Returns
    -------
    list of OodSound
        Not yet synthesised.

    Raises
    ------
    AudioError
        If a kind is unknown.
    """
    if unknown := [kind for kind in kinds or () if kind not in KINDS]:
        raise AudioError(f"unknown kind of sound {', '.join(unknown)}: choose from {', '.join(KINDS)}")
    return [sound for kind in kinds or KINDS for sound in _ALL if sound.kind == kind]


def compute_ood_sounds(kinds=None, *, settings=OodSoundsSettings(), progress=True):
    """Synthesise or load the sounds, and embed them.

    Parameters
    ----------
    kinds : sequence of str, optional
        Some of `KINDS`; all by default.
    settings : OodSoundsSettings
        A subclass that is also a `LayerSettings` or `LevelledLayerSettings` selects layers of YAMNet.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict of str to np.ndarray
        ``name``, ``kind``, ``made_with`` (parameters as JSON), ``n_frames`` and ``silent`` (`Sound.is_silent`), each of
        shape (n_sounds,); the frames of all sounds in order, float16, as ``embeddings`` (total_frames, 1024) or, for
        several layers, ``activations`` (total_frames, size).

    Raises
    ------
    AudioError
        If espeak-ng or the sound theme is missing; the message says what to install.
    """
    from tqdm.auto import tqdm

    from esc50.yamnet.layers import layer_function, prepare

    layers = getattr(settings, "layers", (14,))
    listed, embed = list_ood_sounds(kinds), layer_function(settings=LayerSettings(layers=layers))
    sounds = [load_sound(each.make(**each.parameters), sample_rate_hz=RATE_HZ) for each in listed]
    bar = tqdm(sounds, desc="sounds outside ESC-50", unit="sound", disable=not progress)
    frames = [
        embed(prepare(sound.waveform, settings)[np.newaxis])[0].astype(np.float16) for sound in bar
    ]  # each (n_frames, size)
    return {
        "name": np.array([each.name for each in listed]),
        "kind": np.array([each.kind for each in listed]),
        "made_with": np.array([json.dumps(each.parameters) for each in listed]),
        "n_frames": np.array([len(each) for each in frames]),
        "silent": np.array([sound.is_silent for sound in sounds]),
        "embeddings" if len(layers) == 1 else "activations": np.concatenate(frames),
    }


def _times():
    return np.arange(round(SETTINGS.seconds * RATE_HZ)) / RATE_HZ  # (n_samples,)


def _to_peak(waveform, peak=SETTINGS.peak):
    return (peak * waveform / np.abs(waveform).max()).astype(np.float32)


def _tone(frequency_hz, harmonics):
    """Return a sine, or with several odd harmonics a band-limited square wave."""
    odd = [k for k in range(1, 2 * harmonics, 2) if k * frequency_hz < RATE_HZ / 2]
    return _to_peak(sum(np.sin(2 * np.pi * k * frequency_hz * _times()) / k for k in odd))


def _chord(root_hz, semitones):
    """Return sustained tones in equal temperament, with four harmonics each."""
    tones_hz = [root_hz * 2 ** (step / 12) for step in semitones]
    return _to_peak(sum(np.sin(2 * np.pi * k * hz * _times()) / k for hz in tones_hz for k in range(1, 5)))


def _noise(decibel_per_octave, decibel, seed):
    """Return noise whose spectrum falls from 20 Hz upwards by a slope: 0 is white, 3 pink, 6 brown."""
    n_samples = len(_times())
    frequency_hz = np.maximum(np.fft.rfftfreq(n_samples, 1 / RATE_HZ), 20.0)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n_samples))
    noise = np.fft.irfft(spectrum * frequency_hz ** (-decibel_per_octave / 6.02), n_samples)
    return _to_peak(noise, 10 ** (decibel / 20))


def _silence(decibel):
    """Return digital silence, or noise below the silence threshold."""
    return synthesis.silence(seconds=SETTINGS.seconds) if decibel is None else _noise(0, decibel, SETTINGS.seed)


def _hum(mains_hz, harmonics):
    """Return mains hum with decaying harmonics, the odd ones stronger."""
    waves = [np.sin(2 * np.pi * k * mains_hz * _times()) / k * (1 + k % 2) for k in range(1, harmonics + 1)]
    return _to_peak(sum(waves))


def _sweep(start_hz, end_hz):
    return synthesis.chirp(start_hz=start_hz, end_hz=end_hz, seconds=SETTINGS.seconds, amplitude=SETTINGS.peak)


def _clicks(per_second):
    """Return single-sample clicks in silence."""
    waveform = synthesis.silence(seconds=SETTINGS.seconds)
    waveform[:: round(RATE_HZ / per_second)] = SETTINGS.peak
    return waveform


def _speech(language, voice):
    """Return speech by espeak-ng, truncated or padded to 5 s."""
    command = ["espeak-ng", "-v", f"{language}{voice}", "-s", str(SPEECH_WORDS_PER_MINUTE), "--stdout"]
    try:
        spoken = subprocess.run([*command, SENTENCES[language]], check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise AudioError(
            f"espeak-ng cannot speak {language}{voice} ({error}): install the package espeak-ng"
        ) from error
    waveform = load_sound(io.BytesIO(spoken)).waveform
    n_samples = len(_times())
    return np.pad(waveform, (0, max(0, n_samples - len(waveform))))[:n_samples]


def _system(file):
    if not (path := THEME_DIR / file).is_file():
        raise AudioError(f"no system sound {path}: install the package sound-theme-freedesktop")
    return load_sound(path).waveform


def _make_list():
    for n, hz in product((1, 20), (110, 220, 440, 880, 1760, 3520)):
        name = f"{'square' if n > 1 else 'sine'} {hz} Hz"
        yield OodSound("tone", name, _tone, {"frequency_hz": hz, "harmonics": n})
    for (name, steps), hz in product(CHORDS.items(), (131, 262, 523)):
        yield OodSound("chord", f"{name} on {hz} Hz", _chord, {"root_hz": hz, "semitones": steps})
    for (colour, slope), level, seed in product(COLOURS.items(), (-6, -30), (0, 1)):
        made_with = {"decibel_per_octave": slope, "decibel": level, "seed": seed}
        yield OodSound("noise", f"{colour} noise, {level} dB, {seed}", _noise, made_with)
    yield OodSound("silence", "digital silence", _silence, {"decibel": None})
    yield OodSound("silence", "noise at -90 dB", _silence, {"decibel": -90})
    for hz, n in product((50, 60), (2, 8, 30)):
        yield OodSound("hum", f"{hz} Hz hum, {n} harmonics", _hum, {"mains_hz": hz, "harmonics": n})
    for start, end in SWEEPS_HZ:
        yield OodSound("sweep", f"sweep {start} to {end} Hz", _sweep, {"start_hz": start, "end_hz": end})
    for n in (0.2, 1, 4, 20, 100):
        yield OodSound("clicks", f"{n:g} clicks a second", _clicks, {"per_second": n})
    for language, voice in product(SENTENCES, SPEECH_VOICES):
        yield OodSound("speech", f"speech {language}{voice}", _speech, {"language": language, "voice": voice})
    for name in THEME_FILES:
        yield OodSound("system sound", name, _system, {"file": f"{name}.oga"})


_ALL = tuple(_make_list())
KINDS = tuple(dict.fromkeys(sound.kind for sound in _ALL))
