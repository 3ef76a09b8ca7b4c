"""Helpers of the HTML pages: templates and sanitised text."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from importlib import resources

import jinja2
from markupsafe import Markup

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def display(text: str, keep: str = "") -> str:
    """Replaces control characters, surrogates and bidirectional controls by U+FFFD.

    Args:
        text: any text.
        keep: characters that are not replaced.
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if c not in keep and (c in _BIDI_CONTROLS or unicodedata.category(c) in ("Cc", "Cs"))
        else c
        for c in text
    )


def asset(name: str) -> str:
    """Reads a file of pipeline/templates."""
    return resources.files(__package__).joinpath("templates", name).read_text("utf-8")


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """Creates the jinja2 environment of the templates: values are escaped, and undefined ones are an error."""
    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["json_in_html"] = _json_in_html
    return made


def _json_in_html(text: str) -> Markup:
    """Escapes JSON so that it can stand in a script element, as jinja2's tojson does."""
    return Markup(text.translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&'"}))
