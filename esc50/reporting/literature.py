"""Figures that others published on ESC-50, in percent, each with its source; ours are never written down here."""

from dataclasses import dataclass

from esc50.experiments import protocol_audit as audit

README = "ESC-50 README, https://github.com/karolpiczak/ESC-50"
HEAR = "HEAR benchmark leaderboard, https://hearbenchmark.com"


@dataclass(frozen=True)
class Published:
    """One figure from elsewhere."""

    accuracy: float  # percent
    source: str
    parameters: float = float("nan")  # millions
    chosen_by: str = ""  # how the epoch was chosen, in the words of `esc50.experiments.protocol_audit` …
    code: str = ""  # … and the file that shows it


BASELINES = {
    "k-NN": Published(32.2, README),
    "SVM": Published(39.6, README),
    "random forest": Published(44.3, README),
}
PICZAK_CNN = Published(64.5, README)
HUMANS = Published(81.3, README)
# The student project that inspired this one: what its README claims, and what its own notebooks print.
SEED_CLAIM = {"accuracy": 91.3, "top3_accuracy": 96.2, "macro_f1": 0.941}
SEED_PRINTED = {"accuracy": (80.2, 81.0), "macro_f1": (0.802, 0.806)}  # one fold, two notebooks

# Sizes: PMC11193796, table 4; of HTS-AT 35 % of AST's, by its abstract; of YAMNet as counted here, with its classes.
# Those for which no source was found are left open.
BY_HEAR = {"chosen_by": audit.THREE_FOLDS, "code": "hear-eval-kit, heareval/predictions/task_predictions.py"}
NETWORKS = {
    "YAMNet, frozen": Published(83.75, HEAR, parameters=3.75, **BY_HEAR),
    "PANNs, frozen": Published(90.85, HEAR, parameters=80.7, **BY_HEAR),
    "EfficientNet-B2, frozen": Published(93.45, HEAR, parameters=9.2, **BY_HEAR),
    "PaSST, frozen": Published(94.75, HEAR, **BY_HEAR),
    "mn40, frozen": Published(96.15, "EfficientAT_HEAR", **BY_HEAR),
    "ACDNet": Published(
        87.1, "arXiv 2103.03483", chosen_by=audit.BEST_EPOCHS, code="mohaimenz/acdnet, torch/trainer.py"
    ),
    "AST": Published(
        95.75,
        "arXiv 2104.01778",
        parameters=87.7,
        chosen_by=audit.BEST_EPOCH,
        code="YuanGongND/ast, egs/esc50/run_esc.sh, which calls get_esc_result.py",
    ),
    "HTS-AT": Published(
        97.0,
        "arXiv 2202.00874",
        parameters=31.0,
        chosen_by=audit.BEST_EPOCHS,
        code="RetroCirce/HTS-Audio-Transformer, main.py",
    ),
    "PaSST": Published(96.8, "arXiv 2110.05069", chosen_by=audit.FIXED, code="kkoutini/PaSST, ex_esc50.py"),
}
YAMNET_MLP = NETWORKS["YAMNet, frozen"]
