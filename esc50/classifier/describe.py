"""What people are told of a sound: the verdict in one sentence, names of classes, facts, warnings."""

import re
from pathlib import Path

import numpy as np

from esc50.config import YamnetSettings

GUESS_BELOW = 0.5  # less likely than not
MOST_NAMED = 5  # classes of a prediction set
MOST_LISTED = 4  # events that are told one by one; of more, as many classes
NO_ARTICLE = (
    *("insects", "rain", "sea_waves", "crickets", "chirping_birds", "water_drops", "wind", "pouring_water"),
    *("sneezing", "clapping", "breathing", "coughing", "footsteps", "laughing", "brushing_teeth", "snoring"),
    *("drinking_sipping", "keyboard_typing", "door_wood_creaks", "glass_breaking", "church_bells", "fireworks"),
    *("can_opening", "crackling_fire"),
)


SENTENCES = {  # with fields to fill in; the page in the browser fills in the same
    "silent": "Nothing to hear: the recording is silent.",
    "none": "None of the {n_classes} classes{joint} YAMNet's best match is {audioset_top}.",
    "known": "This sounds like {best}.",
    "guess": "This may be {best} or {second}.",
    "others": "{share} % of known sounds",
    "set_of_many": "One of {n_classes} classes, {sure}: {named} and {n_more} more.",
    "set": "{named} or {last}, {sure} it is one of these.",
    "set_of_one": "{last}, at least {sure}.",
    "top": "Most probable of the {n_classes} classes",
    "top_of_none": "If it had to be one of the {n_classes}",
    "no_event": "None of the {n_classes} classes was found in {length}.",
    "no_known_event": "None of the {n_classes} classes: {unknown} in {length} {are} too unlike them.",
    "events": "{known} in {length}: {listed}.",
    "other_events": " {others} {are} none of the {n_classes} classes.",
    "as_one_sound": "As one sound: {sentence}",
    "unknown_event": "none of these ({name}?)",
    "cut_off": "The recording is cut off: it ends after {found} s where its header says {declared} s.",
    "no_length": "The header states no true length, as when a recorder is stopped by force: {found} s were found.",
    "is_silent": "The sound is silent: its probabilities mean nothing.",
    "is_short": "The sound lasts only {seconds} s: silence was added, up to {least} s.",
    "is_clipped": "The recording was too loud: {percent} % of its samples are clipped, or over full scale.",
    "is_beyond_scale": "The sound reaches {peak} times full scale: it is played at a lower level.",
    "is_quiet": "The sound is very quiet: it stays {decibel} dB below full scale.",
    "is_opposite_phase": "Its channels are in opposite phase: the loudest one is used.",
    "low_rate": "Nothing above {half} Hz is in the sound: it was sampled at {rate} Hz.",
}
FAULTS = ("is_silent", "is_short", "is_clipped", "is_beyond_scale", "is_quiet", "is_opposite_phase")
PROPER = ("Carnatic", "Christian", "Christmas", "French", "Hammond", "Middle Eastern")  # at the start of a name
REASONS = {  # by the score in which a sound is most unlike the known ones
    "max_probability": "No class stands out: the network is more confident about {others}.",
    "energy": "The network finds little evidence for any class: less than in {others}.",
    "neighbours": "It is unlike all {n_clips} training clips (nearest class: {nearest}); {others} have a closer match.",
    "class_neighbours": (
        "It is unlike the training clips of the likeliest class, {best}; {others} are closer to those of theirs."
    ),
    "class_score": "YAMNet gives the likeliest class, {best}, a low score: lower than in {others}.",
    "other_score": (
        "YAMNet detects something outside the {n_classes} classes, {other}, more strongly than in {others}."
    ),
    "combined": (
        "Similarity to the training clips, the network's evidence and YAMNet's scores together fit no class; "
        "{others} fit better."
    ),
}


def say_verdict(names, probabilities, *, is_known, is_silent, audioset_top, is_class):
    """Say what a sound is, that it is none of the classes, or that there is nothing to hear.

    Parameters
    ----------
    names : sequence of str
        Class names in label order.
    probabilities : np.ndarray, shape (n_classes,)
        Calibrated.
    is_known : bool
        Whether it is any of the classes.
    is_silent : bool
        Whether there is no sound in it.
    audioset_top : tuple of (str, float)
        AudioSet's class to which YAMNet itself gives the highest score, and this score.
    is_class : bool
        Whether that one means any of the classes.

    Returns
    -------
    str
        Such as "This sounds like a dog (96 %)."
    """
    first, second = np.argsort(-probabilities, kind="stable")[:2]
    if is_silent:
        return SENTENCES["silent"]
    if not is_known:
        facts = {"joint": ", though" if is_class else ".", "audioset_top": audioset_label(*audioset_top)}
        return SENTENCES["none"].format(n_classes=len(names), **facts)
    best = f"{with_article(names[first])} ({100 * probabilities[first]:.0f} %)"
    if probabilities[first] >= GUESS_BELOW:
        return SENTENCES["known"].format(best=best)
    other = f"{with_article(names[second])} ({100 * probabilities[second]:.0f} %)"
    return SENTENCES["guess"].format(best=best, second=other)


def audioset_label(name, score):
    """One of AudioSet's classes as it stands in a sentence, with YAMNet's score: "speech (0.93)"."""
    return f"{audioset_name(name)} ({score:.2f})"


def audioset_name(name):
    """The same without a score."""
    return name if name.startswith(PROPER) else name[0].lower() + name[1:]


def say_why(score, share, *, n_clips, **facts):
    """Say why a sound is none of the classes: `share` of the known sounds are above it in this score."""
    others = SENTENCES["others"].format(share=f"{100 * share:.0f}")
    return REASONS[score].format(others=others, n_clips=f"{n_clips:,}", **facts)


def say_set(names, coverage):
    """Say that the class is one of these, the most probable first.

    A class alone is named with "at least", for its own probability may be higher.
    """
    sure, named = f"{100 * coverage:.3g} % sure", [with_article(name) for name in names[:MOST_NAMED]]
    if len(names) > MOST_NAMED:
        facts = {"n_classes": len(names), "named": ", ".join(named), "n_more": len(names) - MOST_NAMED}
        return SENTENCES["set_of_many"].format(sure=sure, **facts)
    *first, last = named
    text = SENTENCES["set" if first else "set_of_one"].format(named=", ".join(first), last=last, sure=sure)
    return text[0].upper() + text[1:]


def top_heading(n_classes, *, is_known):
    """What stands above the most probable classes."""
    return SENTENCES["top" if is_known else "top_of_none"].format(n_classes=n_classes)


def say_patches(class_name, span, *, seconds):
    """What the colours over an explained sound mean, and which part of a long one they explain."""
    less = f"Blue: without this patch, {with_article(class_name)} becomes less likely; red: more likely."
    start, end = map(minutes, span)
    part = f" Only {start} to {end} of {minutes(seconds)} is shown, around its most probable frame."
    told = f"{less} On top: how likely it is in each frame."
    return told if (start, end) == (minutes(0), minutes(seconds)) else told + part


def group_by_theme(metadata):
    """Names of the classes by their theme, from a model's metadata; classes of the user's own are in theme ""."""
    themes = {}
    for name in metadata["class_names"]:
        themes.setdefault(metadata.get("themes", {}).get(name, ""), []).append(name)
    return themes


def say_timeline(events, *, seconds, n_classes, is_silent=False):
    """Say what a long recording holds: each event with its time, or of many the classes that sound longest.

    Parameters
    ----------
    events : sequence of esc50.classifier.timeline.Event
        In order of time.
    seconds : float
        Length of the recording.
    n_classes : int
        How many classes are known.
    is_silent : bool
        Whether there is no sound in it.

    Returns
    -------
    str
        Such as "2 sounds in 0:15: siren 0:00 to 0:05, rain 0:10 to 0:15." or "36 sounds in 3:00: rain for 0:48, dog for
        0:31, siren for 0:20, wind for 0:11 and 9 other classes."
    """
    if is_silent:
        return SENTENCES["silent"]
    known = [event for event in events if event.is_known]
    n_unknown = len(events) - len(known)
    facts = {"n_classes": n_classes, "length": minutes(seconds), "are": "is" if n_unknown == 1 else "are"}
    if not events:
        return SENTENCES["no_event"].format(**facts)
    if not known:
        return SENTENCES["no_known_event"].format(unknown=count_of(n_unknown, "sound"), **facts)
    listed = _list_events(known) if len(known) <= MOST_LISTED else _list_classes(known)
    told = SENTENCES["events"].format(known=count_of(len(known), "sound"), listed=listed, **facts)
    others = SENTENCES["other_events"].format(others=count_of(n_unknown, "other"), **facts)
    return told + others * (n_unknown > 0)


def minutes(seconds):
    """A time in whole seconds, ``0:07`` or ``1:02:03``."""
    whole, rest = divmod(round(seconds), 60)
    hours, whole = divmod(whole, 60)
    return f"{hours}:{whole:02d}:{rest:02d}" if hours else f"{whole}:{rest:02d}"


def say_second(as_one_sound):
    """What is said of a long recording as one sound, where it comes second to its timeline."""
    return SENTENCES["as_one_sound"].format(sentence=f"{as_one_sound[0].lower()}{as_one_sound[1:]}")


def with_article(name):
    """A class as it stands in a sentence: "a dog", "an engine", "rain"."""
    if name in NO_ARTICLE:
        return class_label(name)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {class_label(name)}"


def event_label(name, *, is_known):
    """An event of a timeline where there is no room for a sentence: the class, or ``none of these (clock alarm?)``."""
    return name if is_known else SENTENCES["unknown_event"].format(name=class_label(name))


def describe_sound(facts):
    """Length, channels and sample rate of an `esc50.audio.SoundFacts`, such as "5.00 s, 1 channel, 44100 Hz"."""
    channels = f"{facts.source_channels} channel{'s' if facts.source_channels > 1 else ''}"
    return f"{facts.duration_seconds:.2f} s, {channels}, {facts.source_sample_rate_hz:g} Hz"


def describe_head(layers):
    """Which of the heads answers, by the layers of YAMNet that it takes, in words for anyone."""
    if len(layers) == 1:
        return "Answers come from the plain head: a simple network on the last layer of YAMNet, Google's audio network."
    return (
        "Answers come from a small network, trained on ESC-50's recordings, on top of YAMNet, Google's audio network."
    )


def say_percent(probability):
    """A probability in whole percent, and never 0 % of what is possible."""
    return "< 1 %" if probability < 0.005 else f"{100 * probability:.0f} %"


def class_label(name):
    """Readable form of a class name: ``door wood knock`` for ``door_wood_knock``."""
    return name.replace("_", " ")


def class_named(text, names):
    """Which of some classes a text names, in any case and with spaces or hyphens; None where it is none."""
    return {plain_name(name): name for name in names}.get(plain_name(text))


def plain_name(text):
    """A class name in the form by which two are the same: in lower case, with single underscores."""
    return re.sub(r"[\s_-]+", "_", text.lower()).strip("_")


def without_place(message, path):
    """Name a file as its owner does, not by its place on the server."""
    name = Path(path).name
    return message.replace(repr(path), name).replace(path, name)  # a message escapes what cannot be printed


def list_faults(sound):
    """Sentences about what makes a sound (an `esc50.audio.SoundFacts`) hard to classify, or was done to it."""
    found = f"{sound.duration_seconds:.2f}"
    if sound.declared_seconds is not None:
        yield SENTENCES["cut_off"].format(found=found, declared=f"{sound.declared_seconds:.2f}")
    if sound.states_no_length:
        yield SENTENCES["no_length"].format(found=found)
    if sound.n_damaged:
        places = f"{sound.n_damaged} places" if sound.n_damaged > 1 else "one place"
        yield f"The recording is damaged at {places}: what cannot be decoded is left out."
    rate = sound.source_sample_rate_hz
    facts = {"seconds": f"{sound.duration_seconds:.2f}", "least": YamnetSettings().min_waveform_seconds}
    facts |= {"percent": f"{100 * sound.clipped_fraction:.1f}", "peak": f"{sound.peak:.3g}"}
    facts |= {"decibel": f"{-20 * np.log10(max(sound.peak, 1e-9)):.0f}", "half": f"{rate / 2:g}", "rate": f"{rate:g}"}
    for fault in FAULTS:
        if getattr(sound, fault):
            yield SENTENCES[fault].format(**facts)
    if rate < sound.sample_rate_hz:
        yield SENTENCES["low_rate"].format(**facts)


def _list_events(events):
    spans = ((event.start_seconds, event.end_seconds) for event in events)
    times = (f"{minutes(start)} to {minutes(end)}" for start, end in spans)
    return ", ".join(f"{class_label(event.class_name)} {time}" for event, time in zip(events, times, strict=True))


def _list_classes(events):
    """The classes that sound longest, with the seconds of each."""
    seconds = {}
    for event in events:
        seconds[event.class_name] = seconds.get(event.class_name, 0.0) + event.end_seconds - event.start_seconds
    longest = sorted(seconds, key=lambda name: -seconds[name])[:MOST_LISTED]
    told = [f"{class_label(name)} for {minutes(seconds[name])}" for name in longest]
    n_more = len(seconds) - len(told)
    return ", ".join(told) + (f" and {count_of(n_more, 'other class')}" if n_more else "")


def count_of(number: float, noun: str) -> str:
    """A number with its noun, as in "1 class" and "2,000 classes"."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
