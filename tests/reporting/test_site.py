"""The documentation's site: it builds without the network and without a warning, every local link leads somewhere."""

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from helpers import NO_NETWORK

from esc50.config import PROJECT_DIR
from esc50.reporting import notebooks

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """Names and links of a page."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found[key] for key in ("id", "name") if key in found}
        self.links += [found[key] for key in ("href", "src") if found.get(key)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "-c", "docs", "-b", "html", "-W", "--keep-going", "--quiet", ".", folder]
    (offline := tmp_path_factory.mktemp("offline") / "sitecustomize.py").write_text(NO_NETWORK)
    environment = os.environ | {"PYTHONPATH": str(offline.parent)}
    done = subprocess.run(build, cwd=PROJECT_DIR, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return folder


def _is_found(link, path, pages):
    if link.scheme or link.netloc:
        return True
    target = (path.parent / unquote(link.path)).resolve() if link.path else path
    named = not link.fragment or target not in pages or unquote(link.fragment) in pages[target].ids
    return target.exists() and named


def test_every_local_link_leads_somewhere(site):
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    lost = [
        f"{path.relative_to(site)} -> {link}"
        for path, page in pages.items()
        for link in page.links
        if not _is_found(urlsplit(link), path, pages)
    ]
    assert not lost


def test_notebooks_how_tos_and_reference_are_there_and_can_be_searched(site):
    assert all((site / "notebooks" / f"{path.stem}.html").is_file() for path in notebooks.list_notebooks())
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    found = json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))
    assert {"docs/evaluate", "docs/reference/api", "RESULTS"} <= set(found["docnames"])
    assert "calibr" in found["terms"]  # stems
