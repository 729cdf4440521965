"""The README's tables: written from the results files, so that they cannot say anything else."""

from esc50.classifier.model_io import DEFAULT_MODEL, TRUST_FILES
from esc50.config import PROJECT_DIR, RESULTS_DIR, ResultsError, atomic_write
from esc50.experiments.ablation import ROWS, ablation, runs_of_chosen
from esc50.experiments.nested_cv import KERNEL_FILE, LAYERS_FILE, load_selection, network_choices
from esc50.experiments.results import load_cross_validation, read_csv, read_json, summarise

START, END = "<!-- {name}: written by `python -m esc50 readme` -->", "<!-- end of {name} -->"


MODELS = {
    "mfcc_knn": "k-NN on MFCC statistics",
    "mfcc_svm": "SVM on MFCC statistics",
    "mfcc_random_forest": "random forest on MFCC statistics",
    "cnn_separable": "separable CNN on log-mels, from scratch",
    "cnn_vgg": "VGG-like CNN on log-mels, from scratch",
    "yamnet_logistic": "logistic regression on the clip's mean embedding",
    "head_clip_mean": "dense head on the clip's mean embedding",
    "head_clip_mean_max": "dense head on the clip's mean and maximum",
    "head_frames_max": "dense head on frames, maximum over frames",
    "head_frames_mean": "dense head on frames, mean over frames",
    "head_frames_mean_of_sound": "dense head on frames, mean over frames with sound",
    "head_frames_geometric": "dense head on frames, geometric mean over frames",
    "head_frames": "dense head on frames, geometric mean over frames with sound (`plain`)",
    "kernel_speeds": "kernel ridge regression on all layers of YAMNet, three speeds",
    "distilled": "**dense head on all layers of YAMNet, distilled from it** (the shipped model)",
    "distilled_speeds": "the same head, tested at three speeds",
}
CLAIMS = {
    "distilled": "the shipped model",
    "distilled_speeds": "the same, each clip heard at three speeds",
    "head_frames": "the plain head (`--model plain`)",
}
CHOSEN = "the network that each fold takes by validation on the others"


def results_table(*, folder=RESULTS_DIR):
    """Make the Markdown table of all models.

    Parameters
    ----------
    folder : Path
        Where the results lie.

    Returns
    -------
    str
        One row a model; percent, macro-F1 as a share of 1.
    """
    head = [
        "| model | one network | seeds averaged: accuracy (95 %) | top-3 | macro-F1 |",
        "| --- | --- | --- | --- | --- |",
    ]
    summary = summarise(MODELS, folder=folder)
    return "\n".join(head + [_row(MODELS[model], row) for model, row in summary.iterrows()])


def headline(summary):
    """Figures that a saved model carries, with the protocol that they come from.

    Parameters
    ----------
    summary : pandas.Series or dict
        The model's row of `esc50.experiments.results.summarise`.

    Returns
    -------
    dict
        Shares of 1, rounded to four places: ``run_accuracy`` of one network, the mean over the seeds; the others of
        the seeds' averaged probabilities.
    """
    keys = [f"{name}{end}" for name in ("accuracy", "top3_accuracy", "macro_f1") for end in ("", "_low", "_high")]
    figures = {key: round(float(summary[key]), 4) for key in keys}
    n_seeds = int(summary["n_seeds"])
    protocol = f"official 5 folds, each clip tested once, {n_seeds} seeds averaged, 95 % intervals"
    return {"protocol": protocol, "run_accuracy": round(float(summary["run_accuracy"]), 4), **figures}


def measures_table(*, folder=RESULTS_DIR):
    """Make the Markdown table of what was measured beside the models' accuracy.

    Parameters
    ----------
    folder : Path
        Where the results lie.

    Returns
    -------
    str
        One row a question: what, how much, and the command that measures it.
    """
    rows = [*_trust_rows(folder), *_timeline_rows(folder), *_speed_rows(folder)]
    head = ["| | measured | `python -m esc50 …` |", "| --- | --- | --- |"]
    return "\n".join(head + [f"| {' | '.join(row)} |" for row in rows])


def ablation_table(*, folder=RESULTS_DIR):
    """Make the Markdown table of what each idea adds to the last layer.

    Parameters
    ----------
    folder : Path
        Where the results lie.

    Returns
    -------
    str
        One row an idea: the same figures as `results_table`, and the gain over the row that it changes.
    """
    head = [
        "| idea | one network | seeds averaged: accuracy (95 %) | top-3 | macro-F1 | gain in points (95 %), over |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    table = ablation(folder=folder)
    numbers = {model: number for number, model in enumerate(table.index, start=1)}
    return "\n".join(head + [_idea_row(numbers, row) for _, row in table.iterrows()])


def summary_table(*, folder=RESULTS_DIR):
    """Make the Markdown table of the figures that the project claims, each for one network.

    Parameters
    ----------
    folder : Path
        Where the results lie.

    Returns
    -------
    str
        Accuracy, top-3 accuracy and macro-F1, mean ± standard deviation over seeds of the five folds' means.
    """
    rows = ["| one network, frozen YAMNet | accuracy | top-3 | macro-F1 |", "| --- | --- | --- | --- |"]
    runs = load_cross_validation(folder=folder)
    of_each = {title: runs[runs["model"] == model] for model, title in CLAIMS.items()}
    for title, own in {**of_each, CHOSEN: runs_of_chosen(_networks(folder), folder=folder)}.items():
        means = own.groupby("seed")[["accuracy", "top3_accuracy", "macro_f1"]].mean()
        mean, sd = means.mean(), means.std()
        shares = [f"{100 * mean[key]:.1f} ± {100 * sd[key]:.1f} %" for key in ("accuracy", "top3_accuracy")]
        rows.append(f"| {title} | {' | '.join(shares)} | {mean['macro_f1']:.3f} ± {sd['macro_f1']:.3f} |")
    return "\n".join(rows)


def update_readme(*, path=PROJECT_DIR / "README.md", folder=RESULTS_DIR):
    """Write the tables between the README's markers.

    Parameters
    ----------
    path : Path
        The README.
    folder : Path
        Where the results lie.

    Returns
    -------
    bool
        Whether anything changed.

    Raises
    ------
    ResultsError
        The README lacks the markers.
    """
    new = text = path.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        new = with_table(new, name, table(folder=folder))
    if new == text:
        return False
    with atomic_write(path) as beside:
        beside.write_text(new, encoding="utf-8")
    return True


def with_table(text, name, table):
    """Put a table between its markers in a text.

    Parameters
    ----------
    text : str
        Holds both markers.
    name : str
        What the markers call the table.
    table : str
        Markdown.

    Returns
    -------
    str
        The text with whatever stood between the markers replaced.

    Raises
    ------
    ResultsError
        A marker is missing.
    """
    first, last = START.format(name=name), END.format(name=name)
    before, start, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not (start and end):
        raise ResultsError(f"README.md lacks the markers {first} and {last}: put them where the table belongs")
    return f"{before}{first}\n{table}\n{last}{after}"


def _networks(folder):
    """The network that validation chooses for each fold without it."""
    return network_choices(*(load_selection(folder / file.name) for file in (LAYERS_FILE, KERNEL_FILE)))


def _trust_rows(folder):
    file = folder / TRUST_FILES[DEFAULT_MODEL].name
    rule, summary = read_json(file)["rejection"], read_csv(file.with_name(f"{file.stem}_summary.csv"))
    summary = summary[summary["score"] == rule["score"]].set_index("unknown")
    kept = f"at the threshold that keeps {100 * rule['kept']:.0f} % of the known"
    for unknown, what in {"left out": "classes left out of the training", "foreign": "tones, noise, speech …"}.items():
        row = summary.loc[unknown]
        accepted = f"{100 * row['false_acceptance']:.0f} % accepted {kept}; AUROC {row['auroc']:.2f}"
        yield f'"None of these": {what}', accepted, "`trust`"


def _timeline_rows(folder):
    found = read_json(folder / "timeline.json")
    heads = f"heads of the model {found['model']}"
    what = (
        f"timelines of {found['n_recordings']} stitched recordings ({found['hours']:.1f} hours), unheard clips, {heads}"
    )
    yield what, f"segment-based F1 {found['pooled']['f1']:.2f} (1 s segments)", "`timeline-benchmark`"


def _speed_rows(folder):
    found = read_json(folder / "benchmark_embedding.json")
    batch, loop = found["batch_ms_per_clip"], found["hub_loop_ms_per_clip"]
    speed = f"{batch:.1f} ms a clip, {found['ratio']:.2f} times as fast as one by one ({loop:.1f} ms)"
    yield f"embedding all clips, {found['cores']} cores", speed, "`bench`"
    found = read_json(folder / "app_load.json")
    alone, many = found["alone"], found["together"]
    waits = f"half of the answers within {many['p50_seconds']:.1f} s, 95 % within {many['p95_seconds']:.1f} s"
    waits += f"; {alone['p50_seconds']:.1f} s for one alone"
    yield f"the app, {many['n_clients']} asking at once, {found['cores']} cores", waits, "`app-benchmark`"


def _idea_row(numbers, row):
    gain, over = "–", ROWS[row.name].over
    if over:
        points = [f"{100 * row[key]:+.1f}" for key in ("gain", "gain_low", "gain_high")]
        gain = "{} ({} to {}), row {}".format(*points, numbers[over])
    return _row(f"{numbers[row.name]}. {row['title']}", row).removesuffix("|") + f"| {gain} |"


def _row(title, row):
    spread = f" ± {100 * row['run_accuracy_sd']:.1f}" if row["n_seeds"] > 1 else ""
    interval = f"{100 * row['accuracy_low']:.1f} to {100 * row['accuracy_high']:.1f}"
    cells = [
        title,
        f"{100 * row['run_accuracy']:.1f}{spread} %",
        f"{100 * row['accuracy']:.1f} % ({interval})",
        f"{100 * row['top3_accuracy']:.1f} %",
        f"{row['macro_f1']:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


TABLES = {  # marker in the README -> what stands there
    "summary": summary_table,
    "results": results_table,
    "ablation": ablation_table,
    "measures": measures_table,
}
