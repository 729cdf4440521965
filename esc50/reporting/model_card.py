"""The model card of a shipped model (Mitchell et al. 2019, arXiv 1810.03993), written from files, never by hand."""

from itertools import pairwise

import numpy as np

from esc50 import dataset
from esc50.classifier import model_io
from esc50.classifier.describe import class_label
from esc50.classifier.model_io import DEFAULT_MODEL, command, model_file
from esc50.classifier.ood import SCORE_NAMES
from esc50.config import FOLDS, PROJECT_DIR, RESULTS_DIR, AppSettings, AudioSettings, KernelSettings, atomic_write
from esc50.dataset.feature_files import PARAMETERS
from esc50.experiments import metrics, nested_cv, trust_report
from esc50.experiments.ablation import runs_of_chosen
from esc50.experiments.nested_cv import KERNEL_FILE, LAYERS_FILE
from esc50.experiments.results import load_out_of_fold, probabilities, read_json, summarise
from esc50.experiments.shipping import RECIPES
from esc50.experiments.study import EXPERIMENTS, SPEEDS
from esc50.yamnet import hub_module
from esc50.yamnet.keras_model import layer_sizes

MODEL_CARD = PROJECT_DIR / "MODEL_CARD.md"
SCORES = {"accuracy": "accuracy", "top3_accuracy": "top-3 accuracy", "macro_f1": "macro-F1"}
MOST_RIVALS = 3  # classes that a row names; where more are as frequent, it says how many they are
STAND_IN = "Where classes were left out, the head's teacher, kernel ridge regression, stood in for it."
TEXT = """\
<!-- written by `python -m esc50 readme`: change esc50/reporting/model_card.py, not this file -->
# Model card: {file}

## What it is

A classifier of environmental sounds: a small dense head on {heard} of a frozen
[YAMNet](https://github.com/tensorflow/models/tree/master/research/audioset/yamnet).

| | |
| --- | --- |
| input | sound at {rate:g} kHz, mono; the package brings any file to this form |
| frames | YAMNet hears {window} s every {hop} s: {n_numbers} numbers a frame, {numbers} |
| head | {inputs} → {layers} → {n_classes} softmax |
| dropout | in training: {input_dropout:g} on the inputs, {dropout:g} on the hidden units |
| parameters of the head | {n_parameters:,} trained; YAMNet's are left as they are |
| pooling | {pooling} |
| output | probabilities of {n_classes} classes, calibrated by one temperature; or "none of these" |
| training | {epochs} epochs, AdamW, weight decay {weight_decay}, batches of {batch_size} {trained_on} |
| labels | {labels} |
| saved with | {versions} |

## Intended use

Research, teaching and demonstration: to say which of {n_classes} everyday sounds a short recording holds, to compare
methods on ESC-50, and as a start for a head on classes of one's own.

It is **not** for alarms, safety, medicine, surveillance or anything where a missed or a wrong answer does harm; not for
speech, speakers or music; and not for commercial use (next section).

## Training data and licences

All {n_clips:,} clips of ESC-50, {per_class} of each class, {seconds:g} s each, cut from {n_recordings:,} recordings
that people uploaded to Freesound. No clip is left to test the shipped head: the figures below are those of heads made
by the same recipe.

- ESC-50: {esc50_licence}.
  **The data's licence is non-commercial: use this head for non-commercial purposes only**, and credit the data set.
- YAMNet, whose weights are not part of this file: {yamnet_licence}. It was trained on AudioSet.
- The code of this project: {code_licence} ([LICENSE](LICENSE)). That covers the code, not what was learned from the
  data.

## Evaluation

The {n_folds} official folds: each clip is tested once, by heads that heard neither it nor any other take of its
recording. Nothing stops early. {chosen} {n_seeds} seeds; intervals are 95 %, by a bootstrap over recordings.

| {n_seeds} seeds averaged | | 95 % interval |
| --- | --- | --- |
{headline}

A single head, as the shipped one is, reaches {run_accuracy} % (mean over the seeds, and their standard deviation).

### Class by class

The same out-of-fold answers, seeds averaged, the worst F1 first. With {per_class} clips a class one clip is
{one_clip:g} points of recall, so read a single row with care.

| class | recall | precision | F1 | clips | most often taken for |
| --- | --- | --- | --- | --- | --- |
{classes}

## How sure it is

- **Temperature** {temperature}: the logarithms of the probabilities are divided by it. The expected calibration error
  (ECE, {n_bins} bins) is {ece_before:.1f} % before and {ece_after:.1f} % after, each fold with the temperature of the
  other folds.
- **None of these**: {meaning}

What passes as known, by this rule ({score}):

| sounds that are none of the classes | answers | accepted | AUROC |
| --- | --- | --- | --- |
{unknown}

An answer is what one head says of one sound: each foreign sound was put to the heads of all {n_folds} folds.

All of this section was measured with {trust_seeds}, on the official folds ([notebook 06](notebooks/06_trust.ipynb)).
{stand_in}

## Known limits

- **Unknown sounds.** {left_out:.0f} % of the clips of classes that {who} was never shown are taken for a known one,
  though the rule already refuses {refused:.0f} % of the known. Of the foreign sounds the hardest to refuse are of the
  kind "{worst_kind}": {worst_accepted:.0f} % pass.
- **One class at a time.** Sounds that overlap are not told apart. Timelines of stitched recordings reach a
  segment-based F1 of {timeline_f1:.2f}{timeline_by}; their scores are not calibrated, and "none of these" was not
  measured on them.
- **Labels.** One label a clip, and a few of them are doubtful; none was changed.
- **Takes.** {n_siblings:,} of the {n_clips:,} clips share their recording with another clip, so there is less variety
  than the number of clips says, and a split that parts them flatters.
- **Recording conditions.** What people chose to record and upload to Freesound, cut to {seconds:g} s and often padded
  with digital silence. Other microphones, rooms and distances, and several sounds at once, were not measured: expect
  less.
- **Overlap.** YAMNet's AudioSet and ESC-50 both draw on what people uploaded to the web; that they share some sounds
  cannot be ruled out.

{other}## How to reproduce it

```bash
{commands}
```

The probabilities of every clip are in `data/results/out_of_fold/{model}.csv.gz`, seeds, settings and code version in
`data/results/manifest.json`. To use it: `{predict} dog.wav`, or the app on port {port} with `make app`.

## How to cite

The model: "{file}, esc50 {version}: a dense head on YAMNet, trained on ESC-50", by the esc50 maintainers. With it the
data set and YAMNet:

> {esc50_citation}

> {yamnet_citation}
"""


OTHER = """\
## The other model: {name}

The project comes with a second model, `{file}`: a small dense head on {heard}, with {n_parameters:,} trained
parameters. On the same folds a single head of its recipe reaches {run_accuracy} %.

| {n_seeds} seeds averaged | | 95 % interval |
| --- | --- | --- |
{headline}

Its temperature is {temperature}; its rule for "none of these" ({score}) lets {left_out:.0f} % of the clips of classes
that a head was never shown pass. To choose it: `{predict} dog.wav`, `{app}`, or `SoundClassifier.load("{name}")`.
It is made anew by `{train}`, `{trust}` and `{ship}`.

"""


def model_card(*, model=DEFAULT_MODEL, path=None, folder=RESULTS_DIR):
    """Make the card of one of the models that come with the project.

    Parameters
    ----------
    model : str
        A key of `esc50.classifier.model_io.MODELS`. The card of the default one has a section on each other.
    path : path-like, optional
        The head's ``.keras`` file, with its card beside it; by default that of the model.
    folder : Path
        Where the results lie.

    Returns
    -------
    str
        Markdown.
    """
    path = model_file(path or model)
    card, others = model_io.load_metadata(path), [name for name in RECIPES if name != model and model == DEFAULT_MODEL]
    return TEXT.format(
        file=path.name,
        model=RECIPES[model].model,
        port=AppSettings.port,
        predict=command("predict", model),
        other="".join(_other(name, folder) for name in others),
        commands=_commands(model),
        **_architecture(card),
        **_words(card, folder),
        **_data(),
        **_figures(model, folder),
        **_trust(model, card, folder),
    )


def update_model_card(*, path=MODEL_CARD, folder=RESULTS_DIR):
    """Write the model card.

    Parameters
    ----------
    path : Path
        The Markdown file.
    folder : Path
        Where the results lie.

    Returns
    -------
    bool
        Whether anything changed.
    """
    new = model_card(folder=folder)
    if path.is_file() and path.read_text(encoding="utf-8") == new:
        return False
    with atomic_write(path) as beside:
        beside.write_text(new, encoding="utf-8")
    return True


def class_figures(table):
    """Score each class of an out-of-fold table, and say what its clips are taken for.

    Parameters
    ----------
    table : pandas.DataFrame
        From `esc50.experiments.results.load_out_of_fold`.

    Returns
    -------
    pandas.DataFrame
        Index: class name in label order; columns of `esc50.experiments.metrics.per_class_report`, then ``taken_for``, the
        names of the wrong classes that most of its clips are taken for (empty where every clip is right), and
        ``taken_clips``, how many clips each of them gets.
    """
    targets, predicted, names = table["target"].to_numpy(), probabilities(table).argmax(axis=1), dataset.class_names()
    wrong = metrics.confusion(targets, predicted)  # (n_classes, n_classes)
    np.fill_diagonal(wrong, 0)
    most = wrong.max(axis=1)  # (n_classes,)
    taken_for = [[names[i] for i in np.flatnonzero(row == n)] if n else [] for row, n in zip(wrong, most, strict=True)]
    return metrics.per_class_report(targets, predicted, names).assign(taken_for=taken_for, taken_clips=most)


def head_parameters(card):
    """Count the trained numbers of a head: weights and biases of its dense layers.

    Parameters
    ----------
    card : dict
        From `esc50.classifier.model_io.load_metadata`.

    Returns
    -------
    int
        Without the means and variances that standardise what it takes.
    """
    sizes = [sum(layer_sizes(card["layers"])), *card["head_settings"]["units"], len(card["class_names"])]
    return sum((size + 1) * units for size, units in pairwise(sizes))


def _architecture(card):
    settings, versions = card["head_settings"], card["versions"]
    return {
        "rate": card["sample_rate_hz"] / 1000,
        "window": card["yamnet"]["patch_window_seconds"],
        "hop": card["yamnet"]["patch_hop_seconds"],
        "n_numbers": sum(layer_sizes(card["layers"])),
        "layers": " → ".join(f"Dense {units}, ReLU" for units in settings["units"]),
        "n_classes": len(card["class_names"]),
        "n_parameters": head_parameters(card),
        **{key: settings[key] for key in ("input_dropout", "dropout", "epochs", "weight_decay", "batch_size")},
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
        "version": versions["esc50"],
    }


def _heard(card):
    return "the embeddings" if model_io.is_plain(card) else f"the activations of {len(card['layers'])} layers"


def _words(card, folder):
    """What only this kind of head does."""
    words = _plain_words(card) if model_io.is_plain(card) else _layers_words(card, folder)
    return {"heard": _heard(card), **words}


def _plain_words(card):
    pooling = card["pooling"].replace("_of_sound", " over the frames with sound").replace("_", " ")
    return {
        "numbers": "its embedding",
        "inputs": "standardised embedding",
        "pooling": f"{pooling}: so the frames' probabilities become those of the sound",
        "trained_on": "frames",
        "labels": "each frame has the class of its clip",
        "chosen": "Epochs, weight decay and pooling were chosen for each fold by validation inside its training folds "
        "([notebook 04](notebooks/04_train_head.ipynb)), from candidates drawn up when an earlier head had been tested "
        "on these folds already.",
    }


def _layers_words(card, folder):
    speeds = ", ".join(f"{PARAMETERS[name].speed:g}" for name in SPEEDS)
    return {
        "numbers": f"the activations of {len(card['layers'])} of its layers, averaged over the patch",
        "inputs": "logarithm, standardised",
        "pooling": "of each number the maximum over the frames with sound, before the head: one vector a sound",
        "trained_on": "vectors: clips at their maxima over all frames or some, and blends of two clips",
        "labels": "what kernel ridge regression says of the same vectors (distillation); it was fitted to the same "
        f"clips at {len(SPEEDS)} speeds ({speeds}), and it alone was told the classes",
        "chosen": _chosen(card, folder),
    }


def _chosen(card, folder):
    """How the settings came about, and for how many folds validation without the fold chooses what is shipped."""
    layers, kernel = (nested_cv.load_selection(folder / path.name) for path in (LAYERS_FILE, KERNEL_FILE))
    teacher = nested_cv.kernel_label("kernel_speeds", KernelSettings(**card["head_settings"]["kernel"]))
    teachers = nested_cv.choices(kernel[kernel["experiment"] == "kernel"])
    networks = nested_cv.network_choices(layers, kernel)
    means = kernel.groupby(["candidate", "left_out"])["accuracy"].mean()
    behind = (teachers.set_index("left_out")["accuracy"] - means[teacher]).max()
    n_best = int((teachers["candidate"] == teacher).sum())
    one_speed, more_speeds = EXPERIMENTS[RECIPES["layers"].model].models
    times = networks["candidate"].value_counts()
    accuracy = runs_of_chosen(networks, folder=folder).groupby("seed")["accuracy"].mean().mean()
    return (
        "All folds have the same settings. That several layers help was first seen on test folds; everything else was "
        "settled in trials with heads trained on three folds and validated on the others, so each fold had a say: the "
        "figures may be a little optimistic. Chosen anew for each fold without it "
        f"(`data/results/{KERNEL_FILE.name}`, [notebook 07](notebooks/07_beyond_the_last_layer.ipynb)), the best "
        f"single network is this one as it is shipped in {times.get(one_speed, 0)} of {len(FOLDS)} folds, and this one "
        f"with each clip heard at {len(SPEEDS)} speeds in {times.get(more_speeds, 0)}; so chosen, one network gets "
        f"{100 * accuracy:.1f} % right. The kernel of its teacher ({teacher}) is the best of its grid for "
        f"{n_best} folds, and behind the best by {100 * behind:.1f} points or less."
    )


def _other(name, folder):
    card, recipe = model_io.load_metadata(model_file(name)), RECIPES[name]
    figures, trust = _figures(name, folder), _trust(name, card, folder)
    return OTHER.format(
        name=name,
        file=model_file(name).name,
        heard=f"{_heard(card)} of YAMNet",
        n_parameters=head_parameters(card),
        train=f"python -m esc50 train {recipe.model}",
        **{key: command(key, name) for key in ("predict", "app", "trust", "ship")},
        **{key: figures[key] for key in ("run_accuracy", "n_seeds", "headline")},
        **{key: trust[key] for key in ("temperature", "score", "left_out")},
    )


def _commands(model):
    lines = {
        f"python -m esc50 train {RECIPES[model].model}": "the cross-validation behind the figures",
        command("trust", model): "temperature and rejection",
        command("ship", model): "trains on all clips and saves the model",
        "python -m esc50 readme": "this card, from data/results",
    }
    width = max(map(len, lines))
    needed = "# from the recordings (`make data`); the second also needs espeak-ng and sound-theme-freedesktop"
    first = [] if model == "plain" else [needed]
    return "\n".join([*first, *(f"{line:<{width}}  # {what}" for line, what in lines.items())])


def _data():
    clips = dataset.load_clips()
    takes = clips["src_file"].value_counts()
    return {
        "n_clips": len(clips),
        "n_recordings": len(takes),
        "n_siblings": int(takes[takes > 1].sum()),
        "per_class": dataset.CLIPS_PER_CLASS,
        "one_clip": 100 / dataset.CLIPS_PER_CLASS,
        "seconds": AudioSettings.clip_seconds,
        "esc50_licence": dataset.LICENCE,
        "esc50_citation": dataset.CITATION,
        "yamnet_licence": hub_module.LICENCE,
        "yamnet_citation": hub_module.CITATION,
        "code_licence": (PROJECT_DIR / "LICENSE").read_text(encoding="utf-8").splitlines()[0],
    }


def _figures(model, folder):
    name = RECIPES[model].model
    summary = summarise([name], folder=folder).loc[name]
    timeline = read_json(folder / "timeline.json")
    measured_with = timeline.get("model", "plain")  # which files from before there was a choice lack
    classes = class_figures(load_out_of_fold(name, folder=folder)).sort_values("f1", kind="stable")
    spread = f" ± {100 * summary['run_accuracy_sd']:.1f}" if summary["n_seeds"] > 1 else ""
    return {
        "n_folds": len(FOLDS),
        "n_seeds": int(summary["n_seeds"]),
        "headline": "\n".join(_score_row(name, title, summary) for name, title in SCORES.items()),
        "run_accuracy": f"{100 * summary['run_accuracy']:.1f}{spread}",
        "classes": "\n".join(_class_row(row) for row in classes.itertuples()),
        "timeline_f1": timeline["pooled"]["f1"],
        "timeline_by": "" if measured_with == model else f" with heads of the model {measured_with}",
    }


def _trust(model, card, folder):
    trust, rule = trust_report.load_trust(model=model, folder=folder), card["rejection"]
    summary = trust.summary[trust.summary["score"] == rule["score"]].set_index("unknown")
    kinds = summary.drop(index=["left out", "foreign"])  # the parts of the foreign sounds
    worst, seeds = kinds["false_acceptance"].idxmax(), trust.card["made_by"]["seeds"]
    return {
        "temperature": card["temperature"],
        "n_bins": trust_report.SETTINGS.reliability_bins,
        **_calibration_errors(trust.sounds),
        "meaning": rule["meaning"],
        "score": SCORE_NAMES[rule["score"]],
        "unknown": "\n".join(_unknown_row(*row) for row in summary.iterrows()),
        "who": RECIPES[model].never_shown,
        "stand_in": STAND_IN if RECIPES[model].stand_in else "",
        "trust_seeds": "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds",
        "left_out": 100 * summary.loc["left out", "false_acceptance"],
        "refused": 100 * (1 - rule["kept"]),
        "worst_kind": worst,
        "worst_accepted": 100 * kinds.loc[worst, "false_acceptance"],
    }


def _calibration_errors(sounds):
    clips = sounds[(sounds["left_out"] == 0) & (sounds["kind"] == trust_report.KNOWN)]
    correct = (clips["target"] == clips["taken_for"]).to_numpy()
    sure = {"ece_before": "max_probability", "ece_after": "calibrated"}
    return {
        name: 100 * metrics.expected_calibration_error(correct, clips[column].to_numpy())
        for name, column in sure.items()
    }


def _score_row(name, title, summary):
    value, low, high = (100 * summary[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"| {title} | {value:.1f} % | {low:.1f} to {high:.1f} |"


def _class_row(row):
    shares = [f"{100 * share:.1f} %" for share in (row.recall, row.precision, row.f1)]
    return (
        f"| {class_label(row.Index)} | {' | '.join(shares)} | {row.clips} | {_rivals(row.taken_for, row.taken_clips)} |"
    )


def _rivals(names, n_clips):
    if not names:
        return "–"
    if len(names) > MOST_RIVALS:
        return f"{len(names)} classes ({n_clips} each)"
    return f"{', '.join(map(class_label, names))} ({n_clips}{' each' if len(names) > 1 else ''})"


def _unknown_row(unknown, row):
    title = {"left out": "classes left out of the training", "foreign": "foreign sounds, all that follow"}
    accepted = f"{100 * row['false_acceptance']:.0f} %"
    return f"| {title.get(unknown, unknown)} | {row['n_unknown']} | {accepted} | {row['auroc']:.2f} |"
