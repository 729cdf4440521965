import numpy as np
import pandas as pd
import pytest

from esc50.dataset import load_clips
from esc50.experiments import label_audit
from esc50.experiments.results import load_out_of_fold


def test_a_shifted_quieter_copy_correlates_and_noise_does_not(rng):
    sound = rng.normal(size=16_000).astype(np.float32)
    copy = -0.3 * np.roll(np.pad(sound, (0, 4_000)), 2_500)[:16_000]
    assert label_audit.correlation(sound, copy) > 0.85
    assert label_audit.correlation(sound, rng.normal(size=16_000).astype(np.float32)) < 0.1
    assert label_audit.correlation(sound, np.zeros(16_000, np.float32)) == 0


def test_leaving_clips_out_changes_only_what_is_left():
    found = load_out_of_fold("robust")
    names = found["filename"]
    table = pd.DataFrame({"filename": names[:100], "doubted": [True] * 50 + [False] * 50, "duplicate_of": ""})
    shares = label_audit.accuracy_without(table, models=("robust",))
    right = found.filter(regex="^p").to_numpy().argmax(axis=1) == found["target"].to_numpy()
    assert shares.loc["robust"].tolist() == pytest.approx([right.mean(), right[50:].mean(), right.mean()])


@pytest.mark.results
def test_what_is_committed_is_what_the_witnesses_say():
    found, every = label_audit.load(), label_audit.witnesses().set_index("filename")
    rows = every.loc[found["filename"]]
    assert found["predicted"].tolist() == rows["predicted"].tolist()
    assert found["witness"].tolist() == rows["witness"].tolist()
    np.testing.assert_allclose(found["label_quality"], rows["label_quality"], atol=1e-4)
    assert set(every.index[every["doubted"]]) <= set(found["filename"])
    assert (found["label_quality"].nsmallest(40).max() <= every["label_quality"].nsmallest(41).max()) and len(
        found
    ) >= 40
    twins = found[found["duplicate_of"] != ""].set_index("filename")
    folds = load_clips().set_index("filename")["fold"]
    assert all(folds[name] != folds[other] for name, other in twins["duplicate_of"].items())
