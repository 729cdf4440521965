"""Convert any file or array to mono float32 in [-1, 1] at 16 kHz."""

from esc50.audio.sound import load_sound, open_sound
from esc50.audio.streams import Sound, SoundFacts, SoundStream
from esc50.config import lazy_modules

__getattr__ = lazy_modules(__name__)
