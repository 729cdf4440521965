"""Provenance of results: the commit, and whether there were uncommitted changes."""

import json
import subprocess

import pytest

from esc50.config import RESULTS_DIR
from esc50.experiments import run_cache


def recorded(node):
    """Every provenance below a piece of JSON."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from value if key == "provenance" else recorded(value)
    elif isinstance(node, list):
        for each in node:
            yield from recorded(each)


PROVENANCE = [
    (path.name, each)
    for path in sorted(RESULTS_DIR.glob("*.json"))
    for each in recorded(json.loads(path.read_text(encoding="utf-8")))
]


@pytest.mark.results
def test_every_result_says_what_made_it():
    assert {name for name, _ in PROVENANCE} >= {"manifest.json", "timeline.json", "trust_plain.json"}
    for name, each in PROVENANCE:
        assert "dirty" in each if each["commit"] else each["reason"], name


@pytest.mark.results
def test_every_recorded_commit_is_in_the_history():
    if run_cache.git("rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("no git history, or a shallow one")
    commits = {each["commit"] for _, each in PROVENANCE if each["commit"]}
    assert commits
    for commit in commits:
        assert run_cache.git("merge-base", commit, "HEAD") == commit


@pytest.fixture
def repository(monkeypatch, tmp_path):
    """A small repository in place of the project's."""

    def git(*arguments):
        options = ("-c", "user.name=a", "-c", "user.email=b@c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", tmp_path, *options, *arguments], check=True, capture_output=True)

    (tmp_path / "esc50").mkdir()
    (tmp_path / "esc50/code.py").write_text("one = 1\n")
    for arguments in (["init"], ["add", "."], ["commit", "-m", "first"]):
        git(*arguments)
    monkeypatch.setattr(run_cache, "PROJECT_DIR", tmp_path)
    return tmp_path


def test_provenance_distinguishes_clean_and_dirty_trees(repository):
    found = run_cache.provenance()
    assert len(found["commit"]) == 40 and not found["dirty"]
    assert {"esc50", "numpy", "scikit-learn"} <= set(found["versions"])
    (repository / "README.md").write_text("decides nothing")
    assert not run_cache.provenance()["dirty"]
    (repository / "esc50/new.py").write_text("two = 2\n")
    assert run_cache.provenance()["dirty"]


def test_without_a_repository_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(run_cache, "PROJECT_DIR", tmp_path)
    found = run_cache.provenance()
    assert found["commit"] is None and found["reason"] == "unversioned"


def test_what_is_kept_is_kept_for_each_key(monkeypatch, tmp_path):
    monkeypatch.setattr(run_cache, "CACHE_DIR", tmp_path)
    calls, keys = iter(range(10)), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2}, {"a": 1})
    found = [run_cache.cached(key, lambda: next(calls)) for key in keys]
    assert [value for value, _ in found] == [0, 0, 1, 2]
    assert all("commit" in origin for _, origin in found)


def test_provenances_are_listed_once():
    assert run_cache.distinct([{"commit": "a"}, {"commit": "b"}, {"commit": "a"}]) == [{"commit": "a"}, {"commit": "b"}]
