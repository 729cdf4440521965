"""Sphinx reads the repository itself: notebooks, pages and docstrings, executed by nothing."""

import esc50

project = "esc50"
author = "the esc50 maintainers"
release = version = esc50.__version__
root_doc = "docs/index"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
include_patterns = [
    "docs/**.md",
    "notebooks/*.ipynb",
    "README.md",
    "RESULTS.md",
    "MODEL_CARD.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "build", "data", "dist", "esc50.egg-info"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # attributes of a docstring are no second entry
html_theme = "furo"
html_static_path, html_css_files = ["_static"], ["notebooks.css"]
html_title = "esc50"
html_theme_options = {"top_of_page_buttons": ["view"]}
html_copy_source = html_show_copyright = False
html_extra_path = ["root"]  # the address without a page
linkcheck_ignore = [r"https://example\.org/.*", r"http://127\.0\.0\.1.*"]
