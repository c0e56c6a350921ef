"""Sphinx configuration: ``python -m sphinx -W docs site``."""

from importlib import metadata

project = "dgmjax"
author = "The dgmjax developers"
release = metadata.version("dgmjax")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
html_theme = "furo"
exclude_patterns = ["images"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
default_role = "literal"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
suppress_warnings = ["myst.header"]
