"""Data for pages, as script files: a browser lets a page from the disk read no other kind of data."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ScriptData:
    """JSON that a page reads when it needs it.

    Served over HTTP, the browser compares the script with `integrity` before it runs it. Browsers cannot do that with
    files; there, the page itself compares what the script brings with `digest`, which tells files of another run.

    Attributes:
        name: name of the data, by which the page asks for them.
        text: JSON.
        digest: SHA-256 of the text, in base64.
        integrity: SHA-256 of the script, in base64.
    """

    name: str
    text: str
    digest: str
    integrity: str

    @classmethod
    def of(cls, name: str, text: str) -> ScriptData:
        """Makes the data of a name from JSON."""
        file = cls(name, text, sha256(text), "")
        return replace(file, integrity=sha256(file.script))

    @property
    def script(self) -> str:
        """Content of the script file: a call with name and text, which is read with JSON.parse, faster than code."""
        return f"gansynth.take({json.dumps(self.name)},{json.dumps(self.text)});\n"

    def without_text(self) -> ScriptData:
        """Returns the name and the digests alone, for data that have been written."""
        return replace(self, text="")


def sha256(text: str) -> str:
    """Computes the SHA-256 of a text in UTF-8, in base64, as browsers take it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
