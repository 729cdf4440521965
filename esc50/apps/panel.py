"""What the app and the widget say of a sound, as HTML."""

import html

from esc50.classifier.describe import describe_sound, say_second

SPOKEN = "element.ariaLive = 'polite'"  # for Gradio: screen readers read out what an HTML part is filled with


def tell(prediction, name, *minor):
    """The panel of a prediction; of a long sound, whose timeline comes first, that of the whole."""
    kind, choice = "known" if prediction.is_known else "unknown", filter(None, [prediction.say_set()])
    why = [prediction.why, prediction.classifier.metadata["rejection"]["meaning"]] if prediction.why else []
    if prediction.timeline:
        return panel(f"{kind} second", say_second(prediction.as_one_sound), *choice, why=why, minor=minor)
    theme = f" · {prediction.theme.lower()}" if prediction.theme and prediction.is_known else ""
    facts = f"{name} · {describe_sound(prediction.sound)}{theme}"
    return panel(kind, prediction.verdict, *choice, why=why, minor=[facts, *minor], warnings=prediction.warnings)


def tell_timeline(timeline, name):
    """The panel of a timeline."""
    facts, kind = f"{name} · {describe_sound(timeline.facts)}", "known" if timeline.is_known else "unknown"
    return panel(kind, timeline.verdict, minor=[facts], warnings=timeline.warnings)


def panel(kind, main, *more, why=(), minor=(), warnings=(), table=""):
    """Lines in a frame: those of `why` are folded in, the `minor` ones small."""
    above = _paragraphs("main", [main]) + _paragraphs("", more) + _paragraphs("warning", warnings)
    why = _paragraphs("minor", dict.fromkeys(why))  # each once
    folded = f"<details><summary>Why none of these?</summary>{why}</details>" if why else ""
    return f'<div class="esc50-panel {kind}">{above}{folded}{table}{_paragraphs("minor", minor)}</div>'


def _paragraphs(kind, lines):
    return "".join(f'<p class="{kind}">{html.escape(text)}</p>' for text in lines)
