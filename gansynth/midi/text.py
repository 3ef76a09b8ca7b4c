"""Names in MIDI files, whose encoding no file tells."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

LONGEST_NAME = 128
"""Letters of a track's name that are kept; the rest of a longer one is cut off."""
ENCODINGS = ("shift_jis", "cp1251", "gbk", "latin-1")
"""What names that are no Unicode are taken for, where all are equally likely the first."""

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CODECS = {"shift_jis": "cp932"}  # Shift-JIS as it is written: with Windows' additions
_VOWELS = set("аеёиоуыэюяіїє")
_WORD = re.compile(r"[^\W\d_]+")
_SAMPLE = 4096
"""Bytes of names that are looked at."""


def decode_names(names: Sequence[bytes], encoding: str | None = None) -> list[str]:
    """Reads all names of a file.

    Each is Unicode if it can be: UTF-16 with a byte order mark or zero bytes, UTF-8. All others are in one encoding of
    ENCODINGS, the one in which they look most like words together.

    Args:
        names: as they are written.
        encoding: any that Python knows, which all are in; None to find out.

    Returns:
        Printable text, at most LONGEST_NAME letters each.

    Deviation: charset-normalizer, given the same four encodings, needs longer texts: of 50 names of instruments, each
    alone in its file, it reads 30 right, this 49 (tests/gansynth/midi/test_text.py).
    """
    if encoding is not None:
        return [_clean(name.decode(encoding, "replace")) for name in names]
    read = [_unicode(name) for name in names]
    unknown = [name for name, text in zip(names, read, strict=True) if text is None]
    codec = detect(unknown) if unknown else ""
    return [
        _clean(name.decode(codec, "replace") if text is None else text) for name, text in zip(names, read, strict=True)
    ]


def _unicode(name: bytes) -> str | None:
    try:
        for mark, encoding in _MARKS:
            if name.startswith(mark):
                return name.decode(encoding)
        if b"\0" in name.rstrip(b"\0"):
            high = name[0::2].count(0) > name[1::2].count(0)
            return name[: len(name) // 2 * 2].decode("utf-16-be" if high else "utf-16-le")
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return None


def detect(names: Sequence[bytes]) -> str:
    """The encoding of ENCODINGS, as Python calls it, in which names that are not ASCII look most like words."""
    sample = b"\n".join(names)[:_SAMPLE].split(b"\n")
    candidates = [_CODECS.get(encoding, encoding) for encoding in ENCODINGS]
    scores = {
        codec: _likeness(codec, "\n".join(name.decode(codec, "replace") for name in sample)) for codec in candidates
    }
    return max(candidates, key=lambda codec: scores[codec])


def _likeness(codec: str, text: str) -> float:
    """Mean over all letters that are not ASCII, 1 for a likely one; a byte that the encoding has not counts -1."""
    score = _ideographs if codec in ("cp932", "gbk") else _cyrillic if codec == "cp1251" else _accented
    letters = [letter for letter in text if letter > "\x7f"]
    return score(codec, text, letters) / len(letters) if letters else 0.0


def _ideographs(codec: str, text: str, letters: list[str]) -> float:
    total = 0.0
    for before, letter in zip("\n" + text, text, strict=False):
        if letter > "\x7f":
            value = _common(codec, letter)
            total += value / 3 if value > 0 and before.isascii() and before.isalpha() else value
    return total


def _common(codec: str, letter: str) -> float:
    """How common a letter is in Japanese or Chinese; the first half of either character set holds the common ones."""
    if letter == "\ufffd":
        return -1.0
    if codec == "cp932" and "\uff61" <= letter <= "\uff9f":
        return 0.45  # half-width katakana: any byte from 0xA1 to 0xDF is one
    code = letter.encode(codec, "replace")
    lead, trail = (code[0], code[-1]) if len(code) == 2 else (0, 0)
    if codec == "cp932":
        common, rare = 0x81 <= lead <= 0x83 or 0x88 <= lead <= 0x97, 0x98 <= lead <= 0x9F or 0xE0 <= lead <= 0xEA
    else:
        common, rare = 0xB0 <= lead <= 0xD7 and trail > 0xA0, (0xA1 <= lead <= 0xA3 or lead > 0xD7) and trail > 0xA0
    return 1.0 if codec == "cp932" and lead in (0x82, 0x83) else 0.85 if common else 0.3 if rare else 0.0


def _cyrillic(codec: str, text: str, letters: list[str]) -> float:
    """Words wholly in Cyrillic letters, in small letters, capitals, or with one capital in front, and with a vowel."""
    total = 0.0
    for word in _WORD.findall(text):
        foreign = [letter for letter in word if letter > "\x7f"]
        if len(foreign) == len(word) and (word.islower() or word.isupper() or word.istitle()):
            likely = len(word) > 1 and set(word.lower()) & _VOWELS
            # Four capitals are the bytes of two common Chinese letters, too.
            total += len(word) * (0.4 if not likely else 0.8 if word.isupper() and len(word) <= 4 else 0.95)
    return total - text.count("\ufffd")


def _accented(codec: str, text: str, letters: list[str]) -> float:
    """Letters with accents in words of which the most are ASCII."""
    total = 0.0
    for word in _WORD.findall(text):
        foreign = sum(letter > "\x7f" for letter in word)
        if word.islower() or word.isupper() or word.istitle():
            total += foreign * (
                0.9 if foreign <= len(word) / 2 or len(word) == 1 else 0.5 if foreign < len(word) else 0
            )
    return total + 0.5 * sum(letter in "¡¿°ªº«»©®" for letter in letters)


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:LONGEST_NAME]
