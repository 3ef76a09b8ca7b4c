"""Title, artist and copyright from the texts of MIDI files, which are untrusted."""

from __future__ import annotations

import pytest

from gansynth.config import NotesConfig
from gansynth.midi.load import load_midi
from gansynth.midi.track import MAX_TEXTS
from tests.support.midi_bytes import Event, meta, midi, off, on, track

NOTES = [on(0), off(480)]


def texts(*tracks: list[Event], reader: str = "channels") -> dict[str, str]:
    song = load_midi(midi(*(track(*events) for events in tracks)), NotesConfig(reader=reader))  # type: ignore[arg-type]
    return dict(song.texts)


@pytest.mark.parametrize("reader", ["channels", "note_seq"])
def test_the_sequence_has_a_name_and_a_copyright_notice(reader: str) -> None:
    first = [meta(0, 3, b"F\xc3\xbcr Elise"), meta(0, 2, b"(c) 1810"), meta(0, 1, b"some text")]
    found = texts(first, [meta(0, 3, b"Piano"), *NOTES], reader=reader)
    assert found == {"title": "Für Elise", "copyright": "(c) 1810"}


def test_karaoke_files_name_title_and_author() -> None:
    words = [meta(0, 1, b"@KMIDI KARAOKE FILE"), meta(0, 1, b"@TSong"), meta(0, 1, b"@TBand"), meta(0, 1, b"@T1999")]
    found = texts([meta(0, 3, b"Words"), *words], [*NOTES])
    assert found == {"title": "Song", "artist": "Band", "copyright": "1999"}


def test_song_information_in_lyrics_comes_first() -> None:
    lyric = b"{@LATIN}{#Title= Dawn }{#Composer=J. S.}{#ARTIST=The Band}"
    found = texts([meta(0, 1, b"@TOther"), meta(0, 5, lyric), *NOTES])
    assert found == {"title": "Dawn", "artist": "The Band"}
    assert texts([meta(0, 5, b"{#Composer=J. S.}"), *NOTES]) == {"artist": "J. S."}


def test_texts_are_printable_and_bounded() -> None:
    found = texts([meta(0, 3, b"\x1b[31ma\x00\r\n" + b"b" * 100_000), meta(0, 2, "\u202ex".encode()), *NOTES])
    assert found["title"].isprintable()
    assert len(found["title"]) <= 128
    assert found["copyright"] == "x"
    many = [meta(0, 1, b"text")] * (MAX_TEXTS + 5)
    assert texts([*many, meta(0, 2, b"too late"), *NOTES]) == {}
    assert texts(NOTES) == {}
