"""Helpers of the HTML pages: templates, sanitised text, and the script digest of the content security policy."""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
from dataclasses import dataclass, replace
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


def script_digest(script: str) -> str:
    """Computes the SHA-256 digest, in base64, by which a content security policy allows an inline script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@dataclass(frozen=True)
class DataFile:
    """Data that a page reads when it needs them, as a script file, since from a disk it can read no other kind.

    Served over HTTP, the browser compares the script with `integrity` before it runs it. Browsers cannot do that with
    files; there, the page itself compares what the script brings with `digest`, which tells files of another run.

    Attributes:
        name: name of the file without suffix, and of the data.
        text: JSON.
        digest: SHA-256 of the text, in base64.
        integrity: SHA-256 of the script, in base64.
    """

    name: str
    text: str
    digest: str
    integrity: str

    @classmethod
    def of(cls, name: str, text: str) -> DataFile:
        """Makes a data file.

        Args:
            name: letters, digits and dashes.
            text: JSON.
        """
        file = cls(name, text, script_digest(text), "")
        return replace(file, integrity=script_digest(file.script))

    @property
    def script(self) -> str:
        """Content of the script file: a call with name and text, which is read with JSON.parse, faster than code."""
        return f"gansynth.take({json.dumps(self.name)},{json.dumps(self.text)});\n"

    def without_text(self) -> DataFile:
        """Returns the file's name and digests alone, for what has been written."""
        return replace(self, text="")


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
