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
    parameters: float = float("nan")  # millions
    chosen_by: str = ""  # how the epoch was chosen, and the file that shows it


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

# Networks whose figure and size can both be cited; how each chose its epoch stands in its own code.
TEST_FOLD, TEST_CURVE, FIXED = "best epoch on each test fold", "best epoch of the mean curve", "fixed epochs"
NESTED = "three folds to train, one to validate"
NETWORKS = {
    "YAMNet, frozen": Published(
        83.75, HEAR, parameters=3.7, chosen_by=f"{NESTED} (hear-eval-kit, heareval/predictions/task_predictions.py)"
    ),
    "PANNs, frozen": Published(
        90.85, HEAR, parameters=80.8, chosen_by=f"{NESTED} (hear-eval-kit, heareval/predictions/task_predictions.py)"
    ),
    "EfficientNet-B2, frozen": Published(
        93.45, HEAR, parameters=9.2, chosen_by=f"{NESTED} (hear-eval-kit, heareval/predictions/task_predictions.py)"
    ),
    "PaSST, frozen": Published(
        94.75, HEAR, parameters=86.0, chosen_by=f"{NESTED} (hear-eval-kit, heareval/predictions/task_predictions.py)"
    ),
    "mn40, frozen": Published(
        96.15,
        "EfficientAT_HEAR; arXiv 2211.04772",
        parameters=68.4,
        chosen_by=f"{NESTED} (hear-eval-kit, heareval/predictions/task_predictions.py)",
    ),
    "ACDNet": Published(
        87.1, "arXiv 2103.03483", parameters=4.7, chosen_by=f"{TEST_FOLD} (mohaimenz/acdnet, torch/trainer.py)"
    ),
    "AST": Published(
        95.75,
        "arXiv 2104.01778",
        parameters=87.0,
        chosen_by=f"{TEST_CURVE} (YuanGongND/ast, src/run.py and egs/esc50/run_esc.sh)",
    ),
    "HTS-AT": Published(
        97.0, "arXiv 2202.00874", parameters=31.0, chosen_by=f"{TEST_FOLD} (RetroCirce/HTS-Audio-Transformer, main.py)"
    ),
    "PaSST": Published(96.8, "arXiv 2110.05069", parameters=86.0, chosen_by=f"{FIXED} (kkoutini/PaSST, ex_esc50.py)"),
}
