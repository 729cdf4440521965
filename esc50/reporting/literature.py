"""Figures that others published on ESC-50, in percent, each with its source; ours are never written down here."""

from dataclasses import dataclass

README = "ESC-50 README, https://github.com/karolpiczak/ESC-50"
HEAR = "HEAR benchmark leaderboard, https://hearbenchmark.com"


@dataclass(frozen=True)
class Published:
    """One figure from elsewhere."""

    accuracy: float  # percent
    source: str
    protocol: str = "official 5 folds"


BASELINES = {
    "k-NN": Published(32.2, README),
    "SVM": Published(39.6, README),
    "random forest": Published(44.3, README),
}
PICZAK_CNN = Published(64.5, README)
HUMANS = Published(81.3, README, "listeners")
YAMNET_MLP = Published(83.75, HEAR)
# The student project that this study replaces: what its README claims, and what its own notebooks print.
SEED_CLAIM = {"accuracy": 91.3, "top3_accuracy": 96.2, "macro_f1": 0.941}
SEED_PRINTED = {"accuracy": (80.2, 81.0), "macro_f1": (0.802, 0.806)}  # one fold, two notebooks
