"""The command ``teach``: classes of your own from recordings, kept in a small file."""

import shutil
from pathlib import Path

import click

from esc50.apps.commands import Esc50Command
from esc50.config import TeachingError

OWN_CLASSES = "my-sounds.esc50"


class TeachCommand(Esc50Command):
    """Takes all files between ``--no`` and the next option as counter-examples, as shells write ``--no *.wav``."""

    def parse_args(self, ctx, args):
        """Give each file its own ``--no``."""
        parsed, option = [], ""
        for arg in (part for each in args for part in (each.split("=", 1) if each.startswith("--no=") else [each])):
            if not arg.startswith("-") and option == "--no" and parsed[-1] != option:
                parsed.append(option)
            option = arg if arg.startswith("-") else option
            parsed.append(arg)
        return super().parse_args(ctx, parsed)


@click.command(cls=TeachCommand, extra=None, short_help="Teach a class of your own.")
@click.argument("name", required=False)
@click.argument("files", nargs=-1, metavar="[FILES]…")
@click.option("--no", "others", multiple=True, metavar="FILES…", help="Recordings that are not of the class.")
@click.option("--classes", type=click.Path(path_type=Path), default=OWN_CLASSES, help="File to make or to add to.")
@click.option("--anew", is_flag=True, help="Relearn the classes from their recordings, after a model update.")
@click.option("--forget", metavar="NAME", help="Take a class out of the file.")
def teach(name, files, others, classes, anew, forget):
    """Teach a class of your own from recordings of it, in seconds, and say what that costs the 50 classes.

    \b
    Examples:
      esc50 teach doorbell bell1.wav bell2.wav bell3.wav --no phone.wav tap.wav
      esc50 predict --classes my-sounds.esc50 evening.wav
      esc50 teach --forget doorbell
    """  # noqa: D301  (click's \b keeps the lines of the examples)
    from esc50.audio.files import is_sound_name
    from esc50.classifier import teaching
    from esc50.classifier.own_classes import OwnClasses
    from esc50.classifier.predict import SoundClassifier
    from esc50.classifier.teaching import Recording

    if [bool(name), anew, bool(forget)].count(True) != 1 or (name and not files):
        raise click.UsageError("give the name of a class and recordings of it; or --anew, or --forget NAME")
    if name and (Path(name).is_file() or is_sound_name(name)):
        raise click.UsageError(f"{name} is a recording: the name of the class comes first")
    before, lines, lost = _version(classes), (), ()
    if forget:
        own = OwnClasses.load(classes).without(forget)
    elif anew:
        own, lost = teaching.learn_anew(SoundClassifier.load(), classes)
    else:
        classifier = SoundClassifier.load(classes=classes if before else None)
        recordings = [*map(Recording, files), *(Recording(each, is_positive=False) for each in others)]
        try:
            lesson = teaching.teach(classifier, name, recordings)
        except TeachingError as error:
            raise TeachingError(f"not taught: {error}") from error
        own, lines = lesson.own, lesson.sentences
    if _version(classes) != before:
        raise TeachingError(f"{classes} changed while this command ran and was not overwritten: run the command again")
    if lost:
        old = shutil.copy2(classes, f"{classes}.bak")
        click.echo(f"left out {', '.join(lost)} (no recording on disk); the old file is kept as {old}", err=True)
    click.echo("\n".join([*lines, f"wrote {own.save(classes)}"]))


def _version(path):
    """What differs once a file was written anew; None where there is none."""
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None
