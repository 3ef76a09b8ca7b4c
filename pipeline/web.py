"""What the pages have in common: templates, text made fit to be shown, and the digest that lets one script run."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from functools import lru_cache
from importlib import resources

import jinja2

_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def display(text: str, keep: str = "") -> str:
    """Text as it may stand in a page: what is no character, or would turn the text around it, is shown as such."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if c not in keep and (c in _TURNING or unicodedata.category(c) in ("Cc", "Cs"))
        else c
        for c in text
    )


def asset(name: str) -> str:
    """A file of pipeline/templates."""
    return resources.files(__package__).joinpath("templates", name).read_text("utf-8")


def script_digest(script: str) -> str:
    """What a content security policy knows a script by."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The templates, by name; whatever is put into them is escaped, and what is missing is an error."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
