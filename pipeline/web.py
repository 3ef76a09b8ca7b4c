"""Helpers of the HTML pages: templates, sanitised text, and the script digest of the content security policy."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from functools import lru_cache
from importlib import resources

import jinja2

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


def script_digest(script: str) -> str:
    """Computes the SHA-256 digest, in base64, by which a content security policy allows an inline script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """Creates the jinja2 environment of the templates: values are escaped, and undefined ones are an error."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
