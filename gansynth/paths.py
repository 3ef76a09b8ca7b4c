"""Names: a song's id from its path below the input root, and its files' names from its id."""

from __future__ import annotations

import hashlib
import itertools
import posixpath
import re
from collections.abc import Iterable

MIDI_SUFFIXES = (".mid", ".midi", ".kar", ".rmi", ".smf")
_GLOB = re.compile(r"[*?\[]")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f%"<>:|?*\\]')
_MAX_NAME = 200


def has_midi_suffix(name: str) -> bool:
    """Whether a file name ends like a MIDI file's, in upper or lower case."""
    return name.lower().endswith(MIDI_SUFFIXES)


def is_pattern(url: str) -> bool:
    """Whether `url` holds glob characters."""
    return bool(_GLOB.search(url))


def pattern_root(url: str) -> str:
    """The folder above the first glob character of a pattern, or the folder of a file."""
    match = _GLOB.search(url)
    return posixpath.dirname(url[: match.start()] if match else url)


def common_root(roots: Iterable[str]) -> str:
    """The deepest folder that holds all `roots`; empty where they have none in common."""
    common: list[str] | None = None
    for root in roots:
        parts = root.split("/")
        if common is None:
            common = parts
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(common, parts, strict=False)))
        common = common[:same]
    return "/".join(common or ())


def song_id(url: str, root: str) -> str:
    """The path of `url` below `root`: what a song is called everywhere.

    Bytes that are not UTF-8, which some file systems allow in names, are written \\xNN (and a backslash beside them
    twice): Beam's keys are UTF-8.
    """
    relative = (url[len(root) :] if root and url.startswith(root) else url.split("://", 1)[-1]).lstrip("/")
    raw = relative.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def output_name(name: str) -> str:
    """The name of a song's files below an output folder, without their suffix; different ids never share one.

    Folders are kept. Of the suffix only a plain `.mid` goes: `x.mid` becomes `x`, `x.midi` stays `x.midi`. What a
    file system may not like is written %XX, and so are parts that would lead elsewhere ("..").
    """
    encoded = "/".join(_safe_part(part) for part in name.split("/"))
    stem = encoded.removesuffix(".mid")
    if stem != encoded and not has_midi_suffix(stem) and posixpath.basename(stem):
        return stem
    return encoded if has_midi_suffix(encoded) else encoded + "%"


def _safe_part(part: str) -> str:
    safe = "".join(_percent(c) if _UNSAFE.match(c) or "\udc80" <= c <= "\udcff" else c for c in part)
    if not safe.strip("."):
        safe = "%2E" * len(safe) or "%"
    data = safe.encode("utf-8", "surrogateescape")
    if len(data) > _MAX_NAME:
        digest = hashlib.sha256(data).hexdigest()[:24]
        suffix = safe[safe.rfind(".") :] if has_midi_suffix(safe) else ""
        safe = data[: _MAX_NAME - 40].decode("utf-8", "ignore") + "%~" + digest + suffix
    return safe


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
