"""Assignment of instruments: rules by track, program and family, their order, and the parts of a song."""

from __future__ import annotations

import io
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansynth.config import InstrumentsConfig, SoundConfig
from gansynth.errors import ConfigError
from gansynth.general_midi import DRUMS, FAMILIES, family_of
from gansynth.midi.load import load_midi
from gansynth.midi.notes import Song
from gansynth.midi.text import MAX_NAME_LENGTH
from gansynth.model.download import BUNDLED
from gansynth.score.assign import MOST_PARTS, InstrumentAssigner, Part
from gansynth.score.instruments import Bank, load_bank
from gansynth.score.plan import plan_song
from gansynth.score.schedule import make_schedule
from gansynth.score.spec import SynthSpec, check_instruments
from tests.support.notes import make_notes

NAMES = ("piano", "flute", "cello", "trumpet", "choir")
BANK = Bank(NAMES, np.random.RandomState(0).normal(size=[5, 4]), programs={0: 0, 40: 2, 56: 3, DRUMS: 4})


def chosen(rules: InstrumentsConfig, program: int, track: str = "") -> tuple[str, str]:
    row, rule = InstrumentAssigner(rules, BANK).choose(program, track)
    return NAMES[row], rule


def song(*tracks: tuple[str | bytes | None, int, int]) -> bytes:
    """Makes a MIDI file of tracks given by name, channel and program, each with a note."""
    file = mido.MidiFile(charset="latin-1")
    for name, channel, program in tracks:
        track = file.add_track()
        if name is not None:
            text = name.decode("latin-1") if isinstance(name, bytes) else name
            track.append(mido.MetaMessage("track_name", name=text))
        track.append(mido.Message("program_change", channel=channel, program=program))
        track.append(mido.Message("note_on", channel=channel, note=60, velocity=90))
        track.append(mido.Message("note_off", channel=channel, note=60, time=480))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def test_a_track_comes_before_its_program_and_a_program_before_its_family() -> None:
    rules = InstrumentsConfig(programs={41: "choir"}, families={"strings": "flute"}, tracks={"Solo": "trumpet"})
    assert chosen(rules, 41, "solo") == ("trumpet", "tracks: Solo")
    assert chosen(rules, 41, "other") == ("choir", "programs: 41")
    assert chosen(rules, 40) == ("flute", "families: strings")  # before the bank's own table
    assert chosen(rules, 56) == ("trumpet", "bank")
    assert chosen(rules, 7) == (NAMES[7 % 5], "number")


@pytest.mark.parametrize(
    ("track", "instrument"),
    [
        ("Violin Solo", "flute"),  # as it is written
        ("  violin   SOLO ", "flute"),  # but for case and spaces
        ("Violin solo 2", "cello"),  # the pattern with most letters
        ("Viola", "choir"),
        ("Oboe solo", "trumpet"),
        ("Oboe", "piano"),  # none
        ("", "piano"),
        ("violin [1]", "choir"),
        ("Contrebasse", "trumpet"),
    ],
)
def test_of_several_patterns_the_closest_is_taken(track: str, instrument: str) -> None:
    rules = {
        "vi*": "choir",
        "*solo*": "trumpet",
        "violin s*": "cello",
        "Violin Solo": "flute",
        "contre?asse": "trumpet",
    }
    for order in (rules, dict(reversed(rules.items()))):
        assert chosen(InstrumentsConfig(tracks=order), 0, track)[0] == instrument


@given(st.text(max_size=200))
def test_any_name_can_be_asked_for(name: str) -> None:
    assert chosen(InstrumentsConfig(tracks={"*": "flute"}), 0, name) == ("flute", "tracks: *")
    assert chosen(InstrumentsConfig(tracks={"*a*a*a*a*a*b": "flute"}), 0, "a" * 128) == ("piano", "bank")


def test_families_are_those_of_general_midi() -> None:
    import pretty_midi

    theirs = [pretty_midi.program_to_instrument_class(program) for program in range(128)]
    assert [family_of(p) for p in range(128)] == [name.lower().replace(" ", "_") for name in theirs]
    assert (family_of(DRUMS), len(FAMILIES)) == ("drums", 17)
    assert InstrumentsConfig(families={"Synth-Lead": 0, "sound effects": 1}).families == {
        "synth_lead": 0,
        "sound_effects": 1,
    }


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"tracks": {"Lead*": "trumpt"}},
            r"instruments\.tracks 'Lead\*': no instrument 'trumpt' .*did you mean trumpet",
        ),
        ({"families": {"brass": "kazoo"}}, r"instruments\.families 'brass': no instrument 'kazoo'"),
        ({"programs": {3: 9}}, r"instruments\.programs 3: no instrument 9"),
    ],
)
def test_an_instrument_that_is_not_there(rules: dict[str, dict[int | str, int | str]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_instruments(InstrumentsConfig.model_validate(rules), BANK)


def test_names_of_tracks_reach_the_notes() -> None:
    utf8 = "Kontrabaß".encode()
    tracks = (("Lead", 0, 40), (None, 1, 40), (utf8, 2, 40), (b"Fl\xf6te", 3, 73), ("a\x1b[31m\n", 4, 0))
    read = load_midi(song(*tracks))
    assert read.track_names == {0: "Lead", 2: "Kontrabaß", 3: "Flöte", 4: "a [31m"}
    rules = InstrumentsConfig(tracks={"kontra*": "trumpet", "lead": "flute"})
    schedule = make_schedule(read.notes, rules, BANK, "x", read.track_names)
    heard = {int(track): schedule.names[row] for track, row in zip(read.notes.track, schedule.left, strict=True)}
    assert heard == {0: "flute", 1: "cello", 2: "trumpet", 3: NAMES[73 % 5], 4: "piano"}
    assert schedule.parts == (
        Part(0, "a [31m", "piano", "bank", 1),
        Part(40, "", "cello", "bank", 1),
        Part(40, "Kontrabaß", "trumpet", "tracks: kontra*", 1),
        Part(40, "Lead", "flute", "tracks: lead", 1),
        Part(73, "Flöte", NAMES[73 % 5], "number", 1),
    )


def test_without_rules_for_tracks_their_names_change_nothing() -> None:
    notes = make_notes(*((60 + i % 5, i * 0.1, i * 0.1 + 0.5, 90, (0, 40, 56, 7)[i % 4]) for i in range(60)))
    spec = SynthSpec(range(24, 85), 16000, 64000, BANK)
    named = Song(notes, "sha256:0", track_names={0: "Lead"})
    (plan, chunks), (other, others) = (
        plan_song("x.mid", version, SoundConfig(), spec) for version in (named, Song(notes, "sha256:0"))
    )
    assert plan.instruments == other.instruments == ("piano", "cello", "cello", "trumpet")
    for one, two in zip(chunks, others, strict=True):
        assert one.notes.left.tolist() == two.notes.left.tolist()
        assert one.latents.tobytes() == two.latents.tobytes()
    assert {part.track for part in plan.parts} == {"Lead"}


def test_a_long_name_is_cut_where_the_file_is_read() -> None:
    """note_seq would copy a name of a million letters for each of 400 instruments."""
    file = mido.MidiFile(file=io.BytesIO(song(("é" * 900_000, 0, 0))), charset="latin-1")
    for number in range(400):
        channel, program = number % 9, number // 9
        file.tracks[0].append(mido.Message("program_change", channel=channel, program=program))
        file.tracks[0].append(mido.Message("note_on", channel=channel, note=60, velocity=90))
        file.tracks[0].append(mido.Message("note_off", channel=channel, note=60, time=480))
    buffer = io.BytesIO()
    file.save(file=buffer)
    read = load_midi(buffer.getvalue())
    assert len(set(read.notes.track.tolist())) >= 400
    assert {len(name) for name in read.track_names.values()} == {MAX_NAME_LENGTH}


def test_a_song_tells_of_so_many_parts() -> None:
    rows = [(60, 0, 1, 100, 0)] * 300
    notes = make_notes(*rows)
    notes.track[:] = np.minimum(np.arange(300), 250)
    schedule = make_schedule(notes, InstrumentsConfig(), BANK, "x", {track: f"track {track}" for track in range(251)})
    assert len(schedule.parts) == MOST_PARTS
    assert max(schedule.parts, key=lambda part: part.notes).track == "track 250"


def test_the_bundled_bank_has_an_instrument_for_every_program() -> None:
    bank = load_bank(str(Path(BUNDLED["mini"]) / "instruments.yaml"), 32)
    casting = InstrumentAssigner(InstrumentsConfig(), bank)
    assert {casting.choose(program)[1] for program in range(DRUMS + 1)} == {"bank"}
