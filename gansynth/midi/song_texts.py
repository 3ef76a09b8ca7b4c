"""Title, artist and copyright of a song, from the texts in its file.

Sources: sequence names and copyright notices, Standard MIDI Files 1.0 (MMA RP-001); song information in lyrics
({#Title=...}), SMF Language and Display Extensions (MMA RP-026); karaoke files (@T), the texts that Soft Karaoke 1.0
writes: title, author, copyright.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gansynth.midi.text import decode_names
from gansynth.midi.track import COPYRIGHT, LYRIC, Track

_INFORMATION = re.compile(rb"\{#\s*(title|artist|composer)\s*=([^{}]*)\}", re.IGNORECASE)
_KARAOKE = b"@T"
_KARAOKE_ORDER = ("title", "artist", "copyright")


def song_texts(tracks: Sequence[Track], encoding: str | None = None) -> dict[str, str]:
    """Finds a song's title, artist and copyright notice.

    Args:
        tracks: in the order of the file.
        encoding: of all texts, by its Python name; None to detect it.

    Returns:
        "title", "artist" and "copyright", as far as the file has them: printable text of at most 128 characters each.
    """
    found: dict[str, bytes] = {}
    composers: list[bytes] = []
    karaoke = iter(_KARAOKE_ORDER)
    karaoke_found: dict[str, bytes] = {}
    for kind, text in (text for track in tracks for text in track.texts):
        if kind == LYRIC:
            for name, value in _INFORMATION.findall(text):
                if name.lower() == b"composer":
                    composers.append(value)
                else:
                    found.setdefault(name.lower().decode(), value)
        elif kind == COPYRIGHT:
            found.setdefault("copyright", text)
        elif text.startswith(_KARAOKE) and (name := next(karaoke, None)):
            karaoke_found[name] = text.removeprefix(_KARAOKE)
    named = {"title": tracks[0].name} if tracks else {}
    composed = {"artist": composers[0]} if composers else {}
    best = named | karaoke_found | composed | found
    texts = decode_names(list(best.values()), encoding)
    return {name: text for name, text in sorted(zip(best, texts, strict=True)) if text}
