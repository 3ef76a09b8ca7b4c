"""Names: the id of a song from its path below the input root, and the names of its files from its id."""

from __future__ import annotations

import hashlib
import itertools
import posixpath
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

_PLAIN_SUFFIXES = (".mid", ".midi", ".kar", ".rmi", ".smf")
MIDI_SUFFIXES = (*_PLAIN_SUFFIXES, *(f"{suffix}.gz" for suffix in _PLAIN_SUFFIXES))
OUTPUT_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".mp3", ".opus", ".png", ".npy", ".mid", ".json", ".js"),
    *(".jsonl", ".md"),
)
"""Suffixes of the files that are written for a song, or beside those; no folder of ours ends in one of them."""
UNFINISHED = ".writing-"
"""Prefix of the names of temporary files in an output folder; no song's file or folder begins with it."""
_GLOB = re.compile(r"[*?\[]")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f%"<>:|?*\\]')
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]) *(\.|$)", re.IGNORECASE)
_ESCAPED = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")
_MAX_NAME = 200
_MAX_PATH = 800
_SHORTENED = "%~"
_MAX_LABEL = 40


def has_midi_suffix(name: str) -> bool:
    """Returns whether a file name has the suffix of a MIDI file, in upper or lower case."""
    return name.lower().endswith(MIDI_SUFFIXES)


def is_pattern(url: str) -> bool:
    """Returns whether `url` contains glob characters."""
    return bool(_GLOB.search(url))


def pattern_root(url: str) -> str:
    """Returns the folder above the first glob character of a pattern, or the folder of a file."""
    match = _GLOB.search(url)
    return posixpath.dirname(url[: match.start()] if match else url)


def common_root(roots: Iterable[str]) -> str:
    """Returns the deepest folder that contains all `roots`; empty if they have none in common."""
    common: list[str] | None = None
    for root in roots:
        parts = root.split("/")
        if common is None:
            common = parts
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(common, parts, strict=False)))
        common = common[:same]
    return "/".join(common or ())


def song_id(url: str, root: str) -> str:
    """Returns the id of a song: the path of `url` below `root`. `path_of` is the inverse.

    Beam's keys are UTF-8, but names in some file systems are not: other bytes are written \\xNN, and a
    backslash is doubled.
    """
    relative = url[len(root) :] if root and url.startswith(root) else _SCHEME.sub("", url)
    raw = relative.removeprefix("/").encode("utf-8", "surrogateescape")
    return raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def path_of(song: str) -> str:
    """Returns the path below the input root of the song with the id `song`, decoded as by os.fsdecode."""
    raw = _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()) if found[1] else b"\\", song.encode())
    return raw.decode("utf-8", "surrogateescape")


def output_name(song: str) -> str:
    """Returns the name of a song's files below an output folder, without suffix; different ids have different names.

    Folders are kept. The suffix `.mid` is removed, other suffixes are kept: `x.mid` becomes `x`, `x.midi` stays
    `x.midi`. Bytes are written %XX where a file system would refuse them (`:`), interpret them (`NUL`, a trailing
    dot), resolve them to another folder (`..`), or confuse two names: characters that are not in Unicode's composed
    form (NFC), and the last dot of a folder `x.wav`, which is the name of a file of the song `x.mid`. Long names are
    shortened and end in %~ and a digest. `song_of` is the inverse.

    Raises:
        UnicodeEncodeError: the id contains surrogates, which `song_id` never returns.

    Source: names that Windows reserves, https://learn.microsoft.com/windows/win32/fileio/naming-a-file
    """
    *folders, last = map(_safe_part, song.split("/"))
    encoded = "/".join([*map(_as_folder, folders), last])
    if len(encoded.encode()) > _MAX_PATH:
        encoded = _shortened(encoded, _MAX_PATH - _MAX_NAME)
    stem = encoded.removesuffix(".mid")
    if stem != encoded and not has_midi_suffix(stem) and posixpath.basename(stem):
        return stem
    return encoded if has_midi_suffix(encoded) else encoded + "%"


def output_folder(song: str) -> str:
    """Returns the name of a song's folder below an output folder, for kinds of outputs with several files a song.

    It is the name from `output_name`, except where that cannot be the name of a folder (`.`), or is the name of a
    file of another song.

    Raises:
        UnicodeEncodeError: the id contains surrogates, which `song_id` never returns.
    """
    folder, slash, last = output_name(song).rpartition("/")
    return folder + slash + _as_folder(last)


def tile_name(song: str, kind: str, number: int) -> str:
    """Returns the path, below an output folder, of a further picture of a long song, which is number 2 or higher."""
    return f"tiles/{output_folder(song)}/{kind}-{number}.png"


def song_of(name: str) -> str | None:
    """Returns the id of the song whose files have the name `name`, as from `output_name`; None if it was shortened.

    For shortened names the manifest has the id and, under `outputs`, the files.
    """
    if _SHORTENED in name:
        return None
    encoded = name if has_midi_suffix(name) else name[:-1] if name.endswith("%") else name + ".mid"
    return "/".join("" if part == "%" else unquote_to_bytes(part).decode() for part in encoded.split("/"))


def stem_name(number: int, label: str) -> str:
    """Returns the name of a stem's file, without suffix: its number from 1 on, and the safe characters of its label."""
    kept = "".join(c if c.isalnum() or c == "-" else "_" for c in label[: 4 * _MAX_LABEL])
    return f"{number + 1:02d}-{re.sub('_+', '_', kept).strip('_')[:_MAX_LABEL] or 'stem'}"


def _safe_part(part: str) -> str:
    composed = unicodedata.is_normalized("NFC", part)
    safe = _UNSAFE.sub(_percent, part)
    if not composed:
        safe = _NOT_ASCII.sub(_percent, safe)
    if not safe.strip("."):
        return "%2E" * len(safe) or "%"
    if _RESERVED.match(safe) or safe.lower().startswith(UNFINISHED):
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    if safe[-1] in " .":
        safe = f"{safe[:-1]}%{ord(safe[-1]):02X}"
    return _shortened(safe, _MAX_NAME - 40) if len(safe.encode()) > _MAX_NAME else safe


def _as_folder(safe: str) -> str:
    """Changes a safe name so that it can be that of a folder beside files of songs."""
    dot = len(safe) - 1 if safe[-1] in " ." else safe.rfind(".") if safe.lower().endswith(OUTPUT_SUFFIXES) else None
    return safe if dot is None else f"{safe[:dot]}%{ord(safe[dot]):02X}{safe[dot + 1 :]}"


def _shortened(safe: str, length: int) -> str:
    """Shortens a name to its first bytes and a digest of the whole name."""
    data = safe.encode()
    suffix = next((safe[-len(suffix) :] for suffix in MIDI_SUFFIXES if safe.lower().endswith(suffix)), "")
    kept = data[:length].decode("utf-8", "ignore").rstrip("/")
    return f"{kept}{_SHORTENED}{hashlib.sha256(data).hexdigest()[:24]}{suffix}"


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())
