"""Decoding of names in MIDI files, which do not declare their encoding."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

MAX_NAME_LENGTH = 128
"""Highest number of characters of a name; longer names are cut off."""
ENCODINGS = ("shift_jis", "cp1251", "gbk", "latin-1")
"""Encodings of names that are not Unicode; if all are equally likely, the first."""

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CODECS = {"shift_jis": "cp932"}  # Shift-JIS with the extensions of Windows
_VOWELS = set("аеёиоуыэюяіїє")
_WORD = re.compile(r"[^\W\d_]+")
_SAMPLE = 4096
"""Number of bytes from which the encoding is detected."""


def decode_names(names: Sequence[bytes], encoding: str | None = None) -> list[str]:
    """Decodes all names of a file.

    Names that are valid Unicode (UTF-8, or UTF-16 with a byte order mark or zero bytes) are decoded as such. All others
    are decoded with one encoding of ENCODINGS, detected from all of them together.

    Args:
        names: bytes of each name.
        encoding: encoding of all names, one that Python knows; None to detect it.

    Returns:
        Printable text, at most MAX_NAME_LENGTH characters each.

    Deviation: charset-normalizer with the same four encodings needs longer texts: of 50 instrument names, one to a
    file, it decodes 30 correctly, this function 49 (tests/gansynth/midi/test_text.py).
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
    """Detects the encoding of names that are not ASCII; returns Python's name of one of ENCODINGS."""
    sample = b"\n".join(names)[:_SAMPLE].split(b"\n")
    candidates = [_CODECS.get(encoding, encoding) for encoding in ENCODINGS]
    scores = {
        codec: _likelihood(codec, "\n".join(name.decode(codec, "replace") for name in sample)) for codec in candidates
    }
    return max(candidates, key=lambda codec: scores[codec])


def _likelihood(codec: str, text: str) -> float:
    """Rates a decoded text: mean over the characters that are not ASCII, 1 for likely, -1 for invalid ones."""
    score = _ideographs if codec in ("cp932", "gbk") else _cyrillic if codec == "cp1251" else _accented
    letters = [letter for letter in text if letter > "\x7f"]
    return score(codec, text, letters) / len(letters) if letters else 0.0


def _ideographs(codec: str, text: str, letters: list[str]) -> float:
    """Rates Japanese or Chinese text."""
    total = 0.0
    for before, letter in zip("\n" + text, text, strict=False):
        if letter > "\x7f":
            value = _common(codec, letter)
            total += value / 3 if value > 0 and before.isascii() and before.isalpha() else value
    return total


def _common(codec: str, letter: str) -> float:
    """Rates how common a character is in Japanese or Chinese, by its position in the character set."""
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
    """Rates Cyrillic text: words in lower case, upper case or title case, without other letters, and with a vowel."""
    total = 0.0
    for word in _WORD.findall(text):
        foreign = [letter for letter in word if letter > "\x7f"]
        if len(foreign) == len(word) and (word.islower() or word.isupper() or word.istitle()):
            likely = len(word) > 1 and set(word.lower()) & _VOWELS
            # Up to four capitals may also be the bytes of two common Chinese characters.
            total += len(word) * (0.4 if not likely else 0.8 if word.isupper() and len(word) <= 4 else 0.95)
    return total - text.count("\ufffd")


def _accented(codec: str, text: str, letters: list[str]) -> float:
    """Rates Latin text: accented letters in words of mostly ASCII letters."""
    total = 0.0
    for word in _WORD.findall(text):
        foreign = sum(letter > "\x7f" for letter in word)
        if word.islower() or word.isupper() or word.istitle():
            total += foreign * (
                0.9 if foreign <= len(word) / 2 or len(word) == 1 else 0.5 if foreign < len(word) else 0
            )
    return total + 0.5 * sum(letter in "¡¿°ªº«»©®" for letter in letters)


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:MAX_NAME_LENGTH]
