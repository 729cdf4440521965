"""Cache of slow results, keyed by everything that determines them except the source code; and provenance."""

import json
import os
import platform
import shutil
import subprocess
from importlib.metadata import version

from esc50 import __version__
from esc50.config import BUILD_DIR, PROJECT_DIR

CACHE_DIR = BUILD_DIR / "cache"
DECISIVE = ("esc50", "data/features", "data/meta")  # folders whose uncommitted changes make a run "dirty"
PACKAGES = ("keras", "librosa", "numpy", "scikit-learn", "tensorflow")


def make(key, function):
    """Call a function; joblib also keys by this source, so it stays as it is."""
    return function()


def cached(key, function, *, folder=None):
    """Return the cached or new result of a function, and its provenance; `key` consists of JSON types."""
    return kept(key, lambda: (function(), provenance()), folder=folder)


def is_kept(key):
    """Return whether there is a result for this key."""
    return _memory(None).check_call_in_cache(json.dumps(key, sort_keys=True), None)


def kept(key, function, *, folder=None):
    """Return the cached or new result of a function, without provenance."""
    return _memory(folder)(json.dumps(key, sort_keys=True), function)


def _memory(folder):
    from joblib import Memory

    return Memory(folder or CACHE_DIR, verbose=0).cache(make, ignore=["function"])


def distinct(origins):
    """Return provenances without duplicates."""
    return [origin for i, origin in enumerate(origins) if origin not in origins[:i]]


def rows_key(split):
    """Return a digest of a split's training and test rows."""
    from joblib import hash

    return hash([split.train.tolist(), split.test.tolist()])


def provenance():
    """Return the commit, package versions and machine; the commit is None without a repository."""
    return {
        **_commit(),
        "versions": {"esc50": __version__, **{name: version(name) for name in PACKAGES}},
        "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": os.cpu_count(),
    }


def _commit():
    if (PROJECT_DIR / ".git").exists() and (commit := git("rev-parse", "HEAD")):
        return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--", *DECISIVE))}
    is_checkout = (PROJECT_DIR / ".git").exists()
    return {"commit": None, "reason": "git failed" if is_checkout else "unversioned"}


def git(*arguments):
    """Return the output of a git command in the project's folder; empty if it fails or git is missing."""
    if not shutil.which("git"):
        return ""
    return subprocess.run(["git", "-C", PROJECT_DIR, *arguments], capture_output=True, text=True).stdout.strip()
