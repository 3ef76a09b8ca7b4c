"""Output to a terminal that is not to be trusted with control characters, and that may have gone."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """Escapes control characters, surrogates and bidirectional controls, except line feeds, as in Python's strings."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def say(text: object, to_stdout: bool = False, links: Mapping[str, str] | None = None) -> None:
    """Prints a text that may contain names of files, instruments or tracks; on standard error by default.

    Args:
        text: the text.
        to_stdout: if true, it is printed on standard output.
        links: words of the text, which become links, to paths or URLs of files, or to a page of this machine's own
            server; only where `shows_links`.
    """
    stream, shown = sys.stdout if to_stdout else sys.stderr, printable(text)
    if links and shows_links(stream):
        for words, target in links.items():
            before, found, after = shown.rpartition(words)
            if found and (url := _web_address(target)):
                shown = f"{before}\x1b]8;;{url}\x1b\\{words}\x1b]8;;\x1b\\{after}"
    print(shown, file=stream)


def shows_links(stream: TextIO) -> bool:
    """Returns whether a stream is a terminal that is known to show links.

    Others may print the bytes of a link as text. The variable FORCE_HYPERLINK (0 or 1) overrides this.

    Source: the terminals listed with the definition of such links (OSC 8),
    https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda
    """
    get = os.environ.get
    if (forced := get("FORCE_HYPERLINK")) is not None:
        return forced != "0"
    if not stream.isatty() or get("TERM", "dumb").startswith(("dumb", "linux", "screen", "tmux")):
        return False
    vte = get("VTE_VERSION", "0")
    return (
        get("TERM", "").startswith(("xterm-kitty", "alacritty", "foot", "xterm-ghostty", "wezterm"))
        or get("TERM_PROGRAM") in ("iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper")
        or "WT_SESSION" in os.environ
        or "KONSOLE_VERSION" in os.environ
        or (vte.isdecimal() and int(vte) >= 5000)
    )


def _web_address(target: str) -> str:
    """Returns the address of a local file, of this machine or of an object in Google's storage; else an empty text."""
    if target.startswith("http://127.0.0.1:"):
        return target
    if target.startswith("gs://"):
        return "https://storage.cloud.google.com/" + quote(target.removeprefix("gs://"))
    return Path(target.removeprefix("file://")).absolute().as_uri() if "://" not in target else ""


def make_tolerant(name: str) -> None:
    """Makes a standard stream that may be closed, and escapes characters that its encoding lacks."""
    stream = getattr(sys, name)
    if stream is None:
        stream = io.TextIOWrapper(io.FileIO(os.devnull, "wb"), "utf-8")
        setattr(sys, name, stream)
        return
    stream.flush()
    raw = _Tolerant(stream.fileno(), "wb", closefd=False)
    setattr(
        sys, name, io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, "backslashreplace", line_buffering=True)
    )


class _Tolerant(io.FileIO):
    """A file descriptor; what is written after its reader has gone is dropped."""

    def write(self, data: object) -> int:
        try:
            return super().write(data) or 0  # type: ignore[arg-type]
        except BrokenPipeError:
            return memoryview(data).nbytes  # type: ignore[arg-type]
