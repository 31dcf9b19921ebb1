"""How Sphinx makes these pages into a site: `nox -s docs`. Nothing is fetched from a network."""

project = "jina-embeddings-v5 images"
copyright = "the project's authors, Apache-2.0"  # noqa: A001  (Sphinx names it)
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
# Headings down to this level can be linked to, by the names that GitHub gives them.
myst_heading_anchors = 3
# Commands are code; quotes and dashes in prose stay as they were typed.
smartquotes = False

html_theme = "furo"
html_title = project
html_show_sourcelink = False
html_copy_source = False
# How Kibana's console writes a request is no language of Pygments; such blocks name none.
highlight_language = "none"
