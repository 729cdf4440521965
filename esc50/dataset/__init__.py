"""ESC-50: clip table, folds, leak-checked splits, download and feature files."""

from esc50.config import lazy_modules
from esc50.dataset.clips import (
    CITATION,
    CLIPS_PER_CLASS,
    DATASET_VARIABLE,
    LICENCE,
    THEMES,
    class_names,
    clip_path,
    dataset_found,
    find_dataset,
    load_clips,
    verify_dataset,
)
from esc50.dataset.download import fetch_dataset
from esc50.dataset.splits import (
    Split,
    assert_no_leak,
    duplicated_clip_splits,
    grouped_random_splits,
    held_out_split,
    leakage_report,
    leaky_random_splits,
    official_splits,
    recording_ids,
    validation_split,
)

__getattr__ = lazy_modules(__name__)
