"""The model card of a shipped model (Mitchell et al. 2019, arXiv 1810.03993), written from files, never by hand."""

from itertools import pairwise
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from esc50 import dataset
from esc50.classifier.describe import class_label
from esc50.classifier.model_io import DEFAULT_MODEL, MODEL_REGISTRY, command, is_plain, load_model
from esc50.classifier.ood import OOD_SCORE_NAMES
from esc50.config import FOLDS, PROJECT_DIR, RESULTS_DIR, AudioSettings, LevelSettings, YamnetSettings
from esc50.dataset.feature_files import PARAMETERS
from esc50.experiments import distilled, label_audit, metrics, nested_cv, trust_report
from esc50.experiments.base import models
from esc50.experiments.kernel_ridge import KernelRidgeSettings
from esc50.experiments.results import load_out_of_fold, probabilities, read_json, summarise
from esc50.experiments.robust import N_TAUGHT
from esc50.experiments.shipping import RECIPES
from esc50.experiments.wild import load_wild
from esc50.reporting.readme import write_if_changed
from esc50.reporting.tables import percent
from esc50.yamnet import hub_module
from esc50.yamnet.architecture import SCORES, layer_sizes

MODEL_CARD = PROJECT_DIR / "MODEL_CARD.md"
TEMPLATE = Path(__file__).with_name("model_card.md.j2")
TITLES = {"held-out classes": "classes held out of training", "ood sounds": "sounds not in ESC-50, all that follow"}
MOST_RIVALS = 3  # classes that a row names; where more are as frequent, it says how many they are


def model_card(*, model=DEFAULT_MODEL, metadata=None, folder=RESULTS_DIR):
    """Write the card of one of the shipped models, as Markdown; the default one's has a section on each other."""
    others = [name for name in RECIPES if name != model and model == DEFAULT_MODEL]
    steps = {
        f"esc50 train {RECIPES[model].experiment}": "the cross-validation behind the figures",
        command("trust", model): "temperature and rejection",
        command("ship", model): "trains on all clips and saves the model",
        "esc50 export": "writes it as the files that the package carries",
        "esc50 readme": "writes this card from data/results",
    }
    about = describe_model(model, folder, metadata=metadata) | _describe_data()
    about["others"] = [describe_model(name, folder) for name in others]
    return _template().render(about, steps=steps, command=command, n_folds=len(FOLDS))


def update_model_card(*, path=MODEL_CARD, folder=RESULTS_DIR):
    """Write the model card; whether anything changed."""
    return write_if_changed(path, model_card(folder=folder))


def describe_model(name, folder, *, metadata=None):
    """What the card says of a model, from its metadata, by default those of the shipped file, and the results."""
    metadata, recipe = metadata or load_model(name)[1], RECIPES[name]
    plain, layers = is_plain(metadata), _without_scores(metadata["layers"])
    return metadata | {
        "name": name,
        "file": MODEL_REGISTRY[name],
        "recipe": recipe,
        "plain": plain,
        "inputs": "the embeddings" if plain else "the activations of all layers",
        "input_size": sum(layer_sizes(layers)),
        "n_layers": len(layers),
        "n_classes": len(metadata["class_names"]),
        "n_parameters": count_parameters(metadata),
        "n_copies": N_TAUGHT - 1,
        "level_dbfs": 20 * np.log10(LevelSettings.target_rms),
        "speeds": [f"{PARAMETERS[speed].speed:g}" for speed in distilled.SPEEDS],
        "choice": {} if plain else describe_choice(metadata, folder),
        "twins": describe_twins(recipe.experiment, folder),
        "summary": summarise([recipe.experiment], folder=folder).loc[recipe.experiment],
        "classes": class_figures(load_out_of_fold(recipe.experiment, folder=folder)).to_dict("records"),
        "timeline": read_json(folder / "timeline.json"),
        "wild": load_wild(folder=folder)[0],
        "trust": describe_trust(name, metadata["rejection"], folder),
    }


def count_parameters(metadata):
    """Trained numbers of a head: weights and biases of its dense layers."""
    sizes = [
        sum(layer_sizes(_without_scores(metadata["layers"]))),
        *metadata["head_settings"]["units"],
        len(metadata["class_names"]),
    ]
    return sum((size + 1) * units for size, units in pairwise(sizes))


def describe_choice(metadata, folder):
    """For how many folds validation without the fold chooses what is shipped, and what it reaches."""
    settings = KernelRidgeSettings(**metadata["head_settings"]["teacher"])
    teacher = nested_cv.kernel_ridge_label("kernel_ridge", settings)  # on maxima, as the head
    validated = nested_cv.load_validation("kernel_ridge", folder=folder)
    validated = validated[validated["candidate"].str.startswith("kernel_ridge, ")]
    means = validated.groupby(["candidate", "test_fold"])["accuracy"].mean()
    best = nested_cv.choices(validated).set_index("test_fold")
    networks = nested_cv.network_choices(folder=folder)
    times = networks["candidate"].map({name: model.idea for name, model in models().items()}).value_counts()
    return {
        "networks": "; ".join(f"{idea} ({n} of {len(networks)} folds)" for idea, n in times.items()),
        "accuracy": nested_cv.runs_of_chosen(networks, folder=folder).groupby("seed")["accuracy"].mean().mean(),
        "teacher": teacher.partition(", ")[2],
        "n_settings": validated["candidate"].nunique(),
        "n_best": int((best["candidate"] == teacher).sum()),
        "behind": (best["accuracy"] - means[teacher]).max(),
    }


def describe_twins(experiment, folder):
    """How many pairs of clips in different folds have correlated waveforms, and what a model reaches without them."""
    audit = label_audit.load(folder=folder)
    twins = audit[audit["duplicate_of"] != ""]
    [accuracies] = label_audit.accuracy_without(audit, models=[experiment], folder=folder).to_numpy()
    with_all, without = percent(accuracies[0]), percent(accuracies[-1])
    return {
        "n_pairs": len({frozenset(pair) for pair in zip(twins["filename"], twins["duplicate_of"], strict=True)}),
        "accuracy": without,
        "compared": "the same as with them" if without == with_all else f"{with_all} % with them",
    }


def class_figures(table):
    """Figures of each class in an out-of-fold table and what it is most often taken for; the lowest F1 first."""
    targets, predicted, names = table["target"], probabilities(table).argmax(axis=1), dataset.class_names()
    columns = ("precision", "recall", "f1", "clips")
    figures = precision_recall_fscore_support(targets, predicted, labels=range(len(names)), zero_division=0)
    wrong = confusion_matrix(targets, predicted, labels=range(len(names)))  # (n_classes, n_classes)
    np.fill_diagonal(wrong, 0)
    rows = pd.DataFrame(dict(zip(columns, figures, strict=True))).assign(name=names, rivals=[*map(_name_rivals, wrong)])
    return rows.sort_values("f1", kind="stable")


def describe_trust(name, rule, folder):
    """Calibration errors, and what the rule for "none of these" lets pass."""
    trust = trust_report.load_trust(model=name, folder=folder)
    rows = trust.summary[trust.summary["score"] == rule["score"]].set_index("unknown")
    unknown = [row | {"title": TITLES.get(kind, kind)} for kind, row in rows.to_dict("index").items()]
    before, after = _calibration_errors(trust.sounds)
    return {
        "n_bins": metrics.RELIABILITY_BINS,
        "n_seeds": len(trust.report["made_by"]["seeds"]),
        "ece_before": before,
        "ece_after": after,
        "score": OOD_SCORE_NAMES[rule["score"]],
        "unknown": unknown,
        "held_out": rows.loc[trust_report.HELD_OUT],
        "worst": max((row for row in unknown if row["title"] in rows.index), key=lambda row: row["fpr_at_95_tpr"]),
    }


def _without_scores(layers):
    return [layer for layer in layers if layer != SCORES]  # scores pass the head by


def _template():
    loader = jinja2.FileSystemLoader(TEMPLATE.parent)
    blocks = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, **blocks)
    environment.filters |= {"percent": lambda share, digits=1: percent(share, digits=digits), "label": class_label}
    return environment.get_template(TEMPLATE.name)


def _describe_data():
    clips = dataset.load_clips()
    takes = pd.Series(dataset.recording_ids(clips)).value_counts()
    return {
        "n_clips": len(clips),
        "n_recordings": len(takes),
        "n_siblings": int(takes[takes > 1].sum()),
        "clips_per_class": dataset.CLIPS_PER_CLASS,
        "clip_seconds": AudioSettings.clip_seconds,
        "yamnet": YamnetSettings(),
        "esc50": dataset,
        "yamnet_module": hub_module,
        "code_licence": (PROJECT_DIR / "LICENSE").read_text(encoding="utf-8").splitlines()[0],
    }


def _calibration_errors(sounds):
    clips = sounds[(sounds["held_out_group"] == 0) & (sounds["kind"] == trust_report.KNOWN)]
    correct = (clips["target"] == clips["taken_for"]).to_numpy()
    sure = (clips["max_probability"].to_numpy(), clips["calibrated"].to_numpy())
    return [metrics.expected_calibration_error(correct, confidence) for confidence in sure]


def _name_rivals(counts):
    """The wrong classes that most clips of a class are taken for."""
    most = counts.max()
    if not most:
        return "–"
    names = [class_label(dataset.class_names()[i]) for i in np.flatnonzero(counts == most)]
    if len(names) > MOST_RIVALS:
        return f"{len(names)} classes ({most} each)"
    return f"{', '.join(names)} ({most}{' each' if len(names) > 1 else ''})"
