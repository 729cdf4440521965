"""Where the head with attention looks: how much each frame counts, told by a network that did not train on the clip."""

import pandas as pd

from esc50.config import RESULTS_DIR
from esc50.dataset.clips import load_clips
from esc50.dataset.feature_files import load_features
from esc50.dataset.splits import official_splits
from esc50.experiments import multilayer, study
from esc50.experiments.results import read_csv, write_csv
from esc50.yamnet.backend import quiet_tensorflow

MODEL = "fusion_14_attention"  # of esc50.experiments.study
ATTENTION_FILE = RESULTS_DIR / "attention.csv.gz"


FOLD, SEED = 1, 0  # one network is enough to look at


def attention_table(*, retrain=False, progress=True):
    """How much each frame counts to the head with gated attention, for the clips of the first official fold.

    Parameters
    ----------
    retrain : bool
        Train a network on the other four folds and write ``data/results/attention.csv.gz``, instead of reading it.
    progress : bool
        Show progress bars.

    Returns
    -------
    pandas.DataFrame
        Index: filename. Columns frame_0 … frame_9, which sum to 1; frames without sound have 0.

    Raises
    ------
    DatasetError
        With `retrain`, if no ESC-50 audio is found.
    """
    if retrain:
        write_csv(_measure(progress), ATTENTION_FILE, float_format="%.4f")
    return read_csv(ATTENTION_FILE).set_index("filename")


def _measure(progress):
    quiet_tensorflow()
    experiment, clips = study.EXPERIMENTS[MODEL], load_clips()
    (heard,) = experiment.prepare([load_features(name, progress=progress) for name in experiment.features])
    (split,) = official_splits(clips, folds=[FOLD])
    versions, targets = [heard.of(split.train).as_float32()], clips["target"].to_numpy()[split.train]
    options = {"settings": experiment.settings, "seed": SEED, "progress": progress}
    model, _ = multilayer.train_fusion(versions, targets, **options)
    weights = multilayer.attention_weights(model, heard.of(split.test))  # (n_test_clips, n_frames)
    frames = pd.DataFrame(weights, columns=[f"frame_{number}" for number in range(weights.shape[1])])
    return pd.concat([clips["filename"].iloc[split.test].reset_index(drop=True), frames], axis=1)
