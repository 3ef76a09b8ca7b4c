"""Track names in the encodings that occur in MIDI files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansynth.config import NotesConfig
from gansynth.midi.load import load_midi
from gansynth.midi.text import MAX_NAME_LENGTH, decode_names
from tests.support.midi_bytes import meta, midi, note, track

SHARED = Path(__file__).parents[3].parent / "shared" / "channels"
NAMES = {
    "cp932": "メロディ ベース ドラム ピアノ ストリングス 歌メロ ギター1 第1バイオリン 伴奏 トランペット",
    "cp1251": "Флейта Бас Скрипка Ударные Рояль Гитара1 Мелодия ПИАНО Труба Аккомпанемент Иванов",
    "gbk": "钢琴 长笛 小提琴 旋律 主旋律 左手 右手 低音吉他 鼓 二胡 古筝",
    "latin-1": "Flöte Soprán Trompête Violão acústica Küche Baßgitarre Violín Été für São ¡Olé! Acordeón Batería",
}
ALONE = [(encoding, name) for encoding, names in NAMES.items() for name in names.split()]


@pytest.mark.parametrize(("encoding", "name"), ALONE, ids=lambda value: value)
def test_one_name_alone(encoding: str, name: str) -> None:
    assert decode_names([name.encode(encoding)]) == [name]


@pytest.mark.parametrize("encoding", NAMES)
def test_all_names_of_a_file_together(encoding: str) -> None:
    names = NAMES[encoding].split()
    assert decode_names([b"Piano", *(name.encode(encoding) for name in names), b""]) == ["Piano", *names, ""]


def test_together_they_tell_what_one_alone_does_not() -> None:
    half_width = "ﾒﾛﾃﾞｨ"
    assert decode_names([half_width.encode("cp932")]) != [half_width]
    both = [half_width, "ベースとドラム"]
    assert decode_names([name.encode("cp932") for name in both]) == both


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode(encoding: str) -> None:
    for name in ("Flöte", "Soprano I", "Été"):
        assert decode_names([name.encode(encoding)]) == [name]
    assert decode_names(["Flöte".encode("utf-16"), "Flöte".encode("latin-1")]) == ["Flöte", "Flöte"]


def test_a_forced_encoding_is_taken_for_all() -> None:
    content = midi(track(meta(0, 3, "ﾒﾛﾃﾞｨ".encode("cp932")), note(0, 960)))
    for reader in ("channels", "note_seq"):
        config = NotesConfig.model_validate({"reader": reader, "text_encoding": "cp932"})
        assert load_midi(content, config).track_names == {0: "ﾒﾛﾃﾞｨ"}
    with pytest.raises(ValueError, match="unknown text encoding"):
        NotesConfig(text_encoding="shift-klingon")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/channels")
@pytest.mark.parametrize("reader", ["channels", "note_seq"])
@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("sjis", ["メロディ", "ベース"]),
        ("cp1251", ["Флейта"]),
        ("utf16_lilypond", ["Flöte", "Soprán"]),
        ("utf8", ["メロディ"]),
    ],
)
def test_names_of_files(name: str, names: list[str], reader: str) -> None:
    song = load_midi(SHARED / f"names_{name}.mid", NotesConfig.model_validate({"reader": reader}))
    assert [song.track_names[number] for number in range(len(names))] == names


def test_the_first_name_that_says_anything_is_a_tracks() -> None:
    content = midi(track(meta(0, 3, b"  "), meta(0, 3, b"First"), meta(0, 3, b"Second"), note(0, 960)))
    assert load_midi(content, NotesConfig()).track_names == {0: "First"}


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_are_a_printable_name(names: list[bytes]) -> None:
    read = decode_names(names)
    assert len(read) == len(names)
    assert all(name.isprintable() and name == name.strip() and len(name) <= MAX_NAME_LENGTH for name in read)
