"""Tables that several notebooks show, in words and with units."""

from decimal import ROUND_HALF_UP, Decimal

import pandas as pd

from esc50.classifier.describe import class_label
from esc50.dataset.clips import class_names
from esc50.reporting.confusions import confused_examples as confused_examples
from esc50.reporting.confusions import most_confused


def percent(*shares, digits=1, sign=False):
    """Shares of 1 as percentages: "93.2", or of two "92.1 to 94.5".

    Halves are rounded away from zero, as on paper: of 2,000 clips, 949 are 47.45 % and thus "47.5", whatever binary
    fraction stands for the share.
    """
    return " to ".join(f"{_round(share, digits):{'+' if sign else ''}}" for share in shares)


def model_table(summary, titles):
    """One row a model, the best first: from rows of `results.summarise`, or of `summarise_out_of_fold`.

    `titles` names each row. The column of one network is there where the summary has it.
    """
    summary = pd.DataFrame(summary).sort_values("accuracy", ascending=False, kind="stable")
    columns = {}
    if "run_accuracy" in summary:
        columns["one network (%)"] = [_spread(row) for row in summary.itertuples()]
    columns |= {
        "accuracy (%)": summary["accuracy"].map(percent),
        "95 % interval": [percent(row.accuracy_low, row.accuracy_high) for row in summary.itertuples()],
        "top-3 (%)": summary["top3_accuracy"].map(percent),
        "macro-F1": summary["macro_f1"].map("{:.3f}".format),
    }
    return pd.DataFrame(columns, index=summary.index).rename(index=titles).rename_axis("model")


def pair_table(targets, probabilities, *, most=8):
    """The pairs of classes that are confused most often."""
    names = [class_label(name) for name in class_names()]
    pairs = most_confused(targets, probabilities, most=most)
    rows = [(f"{names[a]} and {names[b]}", there, back, there + back) for a, b, there, back in pairs]
    columns = ["pair", "first called second", "second called first", "clips in all"]
    return pd.DataFrame(rows, columns=columns).set_index("pair")


def _round(share, digits):
    exact = Decimal(f"{share:.10f}").scaleb(2)  # without the error of the binary fraction
    return exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def _spread(row):
    deviation = getattr(row, "run_accuracy_sd", float("nan"))
    return percent(row.run_accuracy) + (f" ± {percent(deviation)}" if deviation > 0 else "")
