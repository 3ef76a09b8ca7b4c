"""The reason why an input pattern found no MIDI file, in words."""

from __future__ import annotations

import difflib
import itertools
import posixpath
from collections import Counter
from collections.abc import Iterable

from gansynth.io import listing, paths, urls

MISSING = "does not exist"
_COUNTED = 10_000
"""Highest number of files that are looked at; with more, the message says so."""
_SUFFIXES_SHOWN = 3


def explain(pattern: str) -> str:
    """Tells in a sentence whether an input does not exist, is empty, or holds other files only.

    Args:
        pattern: an input in which no MIDI file was found.
    """
    if pattern.startswith("@"):
        return "the list names no file; write one path or URL on each line."
    fs, path = urls.filesystem(pattern)
    url = path if urls.is_local(pattern) else str(fs.unstrip_protocol(path.rstrip("/")))
    kind = listing.kind(url)
    if kind == "folder":
        return _content("the folder", (name for name, _ in listing.find(url)))
    if kind == "file":
        return _content("the archive", (name for name, _, _ in listing.members(url, every=True)))
    if paths.is_pattern(url):
        root = paths.pattern_root(url) or "/"
        if listing.kind(root) != "folder":
            return f"the folder {root} does not exist."
        return _content("no file matches the pattern; its folder", (name for name, _ in listing.find(root)), True)
    return f"{MISSING}{_similar(pattern, url)}"


def _content(what: str, names: Iterable[str], is_pattern: bool = False) -> str:
    """Describes files by number and suffix."""
    found = list(itertools.islice(names, _COUNTED + 1))
    if not found:
        return f"{what} is empty."
    number = f"more than {_COUNTED:,} files" if len(found) > _COUNTED else f"{len(found):,} file{'s'[: len(found) > 1]}"
    midi = sum(map(paths.has_midi_suffix, found))
    if midi and is_pattern:
        return f"{what} holds {number}, {midi:,} of them MIDI."
    if midi:
        return f"{what} holds only MIDI files that this program has written."
    suffixes = Counter(posixpath.splitext(name)[1].lower() or "without suffix" for name in found)
    most = ", ".join(suffix for suffix, _ in suffixes.most_common(_SUFFIXES_SHOWN))
    rest = f" and {len(suffixes) - _SUFFIXES_SHOWN} more" if len(suffixes) > _SUFFIXES_SHOWN else ""
    none = "none of them MIDI" if len(found) > 1 else "not MIDI"
    return f"{what} holds {number}, {none} ({most}{rest}); MIDI files end in .mid, .midi, .kar, .rmi or .smf."


def _similar(pattern: str, url: str) -> str:
    """Names the file or folder beside a missing one whose name is most like its own."""
    folder, name = posixpath.split(url)
    try:
        near = difflib.get_close_matches(name, listing.names(folder)[:_COUNTED], 1, 0.6)
    except Exception:  # each file system has its own exception types; the folder does not exist, for instance
        return "."
    return f"; did you mean {posixpath.join(posixpath.dirname(pattern), near[0])}?" if near else "."
