"""The README's results table: written from the results files, so that it cannot say anything else."""

from esc50.config import PROJECT_DIR, RESULTS_DIR
from esc50.errors import ResultsError
from esc50.files import replacing
from esc50.results import summarise

START, END = "<!-- results: written by `python -m esc50 readme` -->", "<!-- end of results -->"

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
    "head_frames": "**dense head on frames, geometric mean over frames with sound**",
}


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
        The model's row of `esc50.results.summarise`, or of notebook 04's table.

    Returns
    -------
    dict
        Shares of 1, rounded to four places.
    """
    keys = [f"{name}{end}" for name in ("accuracy", "top3_accuracy", "macro_f1") for end in ("", "_low", "_high")]
    figures = {key: round(float(summary[key]), 4) for key in keys}
    return {"protocol": "official 5 folds, each clip tested once, 3 seeds averaged, 95 % intervals", **figures}


def update_readme(*, path=PROJECT_DIR / "README.md", folder=RESULTS_DIR):
    """Write the table between the README's markers.

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
    text = path.read_text(encoding="utf-8")
    new = with_table(text, results_table(folder=folder))
    if new == text:
        return False
    with replacing(path) as beside:
        beside.write_text(new, encoding="utf-8")
    return True


def with_table(text, table):
    """Put a table between the markers of a text.

    Parameters
    ----------
    text : str
        Holds both markers.
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
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ResultsError(f"README.md lacks the markers {START} and {END}: put them where the table belongs")
    return f"{before}{start}\n{table}\n{end}{after}"


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
