"""Write the example songs in pipeline/examples, the input of the quick start.

    python examples/make_examples.py [FOLDER]

Two pieces by J. S. Bach (1685-1750), typed in from the score, and one short piece written for this
project. The bytes depend on nothing but this file, so running it again changes no committed file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import mido
import numpy as np

TICKS_PER_BEAT = 480
BEATS_PER_BAR = 4  # every song here is in 4/4
DRUM_CHANNEL = 9
SUSTAIN_PEDAL = 64


class Note(NamedTuple):
    """One note; times are in beats from the start of the song."""

    pitch: int
    velocity: int
    start: float
    length: float


class Track(NamedTuple):
    """One instrument's part; `pedal` holds the (down, up) spans of the sustain pedal, in beats."""

    name: str
    program: int
    notes: Sequence[Note]
    pedal: Sequence[tuple[float, float]] = ()
    is_drum: bool = False


class Song(NamedTuple):
    """A whole piece; `tempo` lists (beat, quarter notes per minute from there on)."""

    title: str
    key: str
    tempo: Sequence[tuple[float, float]]
    tracks: Sequence[Track]


def bar_start(number: int) -> int:
    """Return the beat where a bar begins; bars count from 1, as in a score."""
    return BEATS_PER_BAR * (number - 1)


def pitch(name: str) -> int:
    """Return the MIDI number of a note name such as C4 (60), F#3 or Bb2."""
    step = "C D EF G A B".index(name[0])
    return 12 * (int(name[-1]) + 1) + step + name.count("#") - name.count("b")


def read_line(text: str, unit: float) -> Iterator[tuple[int, float, float]]:
    """Yield (pitch, start, length) for a line of note names; `D4*3` lasts three units, `-` is a rest."""
    now = 0.0
    for token in text.split():
        name, _, count = token.partition("*")
        length = unit * int(count or 1)
        if name != "-":
            yield pitch(name), now, length
        now += length


def curve(points: Mapping[int, int], bar: float) -> float:
    """Return the value at a bar of a dynamic curve drawn as straight lines between its points."""
    return float(np.interp(bar, list(points), list(points.values())))


def rolled(names: str, start: float, length: float, velocity: int) -> list[Note]:
    """Return a chord whose notes enter one shortly after another, bottom up, and end together."""
    delay = 0.125
    return [Note(pitch(name), velocity, start + i * delay, length - i * delay) for i, name in enumerate(names.split())]


# Bach, Prelude in C major: the five voices of the chord in each of bars 1-32, lowest first.
PRELUDE_CHORDS = """
    C4  E4  G4  C5  E5
    C4  D4  A4  D5  F5
    B3  D4  G4  D5  F5
    C4  E4  G4  C5  E5
    C4  E4  A4  E5  A5
    C4  D4  F#4 A4  D5
    B3  D4  G4  D5  G5
    B3  C4  E4  G4  C5
    A3  C4  E4  G4  C5
    D3  A3  D4  F#4 C5
    G3  B3  D4  G4  B4
    G3  Bb3 E4  G4  C#5
    F3  A3  D4  A4  D5
    F3  Ab3 D4  F4  B4
    E3  G3  C4  G4  C5
    E3  F3  A3  C4  F4
    D3  F3  A3  C4  F4
    G2  D3  G3  B3  F4
    C3  E3  G3  C4  E4
    C3  G3  Bb3 C4  E4
    F2  F3  A3  C4  E4
    F#2 C3  A3  C4  Eb4
    Ab2 F3  B3  C4  D4
    G2  F3  G3  B3  D4
    G2  E3  G3  C4  E4
    G2  D3  G3  C4  F4
    G2  D3  G3  B3  F4
    G2  Eb3 A3  C4  F#4
    G2  E3  G3  C4  G4
    G2  D3  G3  C4  F4
    G2  D3  G3  B3  F4
    C2  C3  G3  Bb3 E4
"""

# Bars 33 and 34: the two held voices, then the sixteenths that begin on the second eighth.
PRELUDE_CODA = (
    ("C2 C3", "F3 A3 C4 F4 C4 A3 C4 A3 F3 A3 F3 D3 F3 D3"),
    ("C2 B2", "G4 B4 D5 F5 D5 B4 D5 B4 G4 B4 D4 F4 E4 D4"),
)

# Each half bar breaks its chord the same way: (voice, start, length), in beats.
PRELUDE_FIGURE = (
    (0, 0.00, 2.00),
    (1, 0.25, 1.75),
    (2, 0.50, 0.25),
    (3, 0.75, 0.25),
    (4, 1.00, 0.25),
    (2, 1.25, 0.25),
    (3, 1.50, 0.25),
    (4, 1.75, 0.25),
)

# The phrases rise and fall with the harmony; the peak is the long dominant before the end.
PRELUDE_DYNAMICS = {1: 54, 5: 66, 8: 58, 12: 68, 15: 54, 19: 48, 22: 60, 24: 66, 29: 82, 32: 64, 35: 46}


def bach_prelude() -> Song:
    """Bach, Prelude in C major, BWV 846, from The Well-Tempered Clavier I: all 35 bars."""
    notes = []
    for bar, chord in enumerate(PRELUDE_CHORDS.strip().splitlines(), start=1):
        voices = [pitch(name) for name in chord.split()]
        for half in (0, 1):
            loudness = curve(PRELUDE_DYNAMICS, bar + half / 2)
            for voice, start, length in PRELUDE_FIGURE:
                accent = 6 if voice == 0 else 3 if voice == 4 else 0
                begin = bar_start(bar) + 2 * half + start
                notes.append(Note(voices[voice], round(loudness) + accent, begin, length))
    for bar, (held, upper) in enumerate(PRELUDE_CODA, start=33):
        begin, loudness = bar_start(bar), round(curve(PRELUDE_DYNAMICS, bar))
        bass, tenor = held.split()
        notes.append(Note(pitch(bass), loudness + 6, begin, 4))
        notes.append(Note(pitch(tenor), loudness, begin + 0.25, 3.75))
        for p, start, length in read_line(upper, 0.25):
            notes.append(Note(p, loudness, begin + 0.5 + start, length))
    notes += rolled("C2 C3 E4 G4 C5", bar_start(35), 4, 48)
    ending = ((bar_start(33), 63), (bar_start(34), 58), (bar_start(34) + 2, 50), (bar_start(35), 46))
    tempo = ((0, 66), *ending)
    return Song("Prelude in C major, BWV 846", "C", tempo, [Track("Piano", 0, notes)])


# Bach, Cello Suite no. 1, prelude: bars 1-41 in sixteenths; where a bar repeats its half, that half alone.
CELLO_BARS = """
    G2 D3 B3 A3 B3 D3 B3 D3
    G2 E3 C4 B3 C4 E3 C4 E3
    G2 F#3 C4 B3 C4 F#3 C4 F#3
    G2 G3 B3 A3 B3 G3 B3 G3  G2 G3 B3 A3 B3 G3 B3 F#3
    G2 E3 B3 A3 B3 G3 F#3 G3  E3 G3 F#3 G3 B2 D3 C#3 B2
    C#3 G3 A3 G3 A3 G3 A3 G3
    F#3 A3 D4 C#4 D4 A3 G3 A3  F#3 A3 G3 A3 D3 F#3 E3 D3
    E2 B2 G3 F#3 G3 B2 G3 B2
    E2 C#3 D3 E3 D3 C#3 B2 A2  G3 F#3 E3 D4 C#4 B3 A3 G3
    F#3 E3 D3 D4 A3 D4 F#3 A3  D3 E3 F#3 A3 G3 F#3 E3 D3
    G#3 D3 F3 E3 F3 D3 G#3 D3  B3 D3 F3 E3 F3 D3 G#3 D3
    C3 E3 A3 B3 C4 A3 E3 D3  C3 E3 A3 B3 C4 A3 F#3 E3
    D#3 F#3 D#3 F#3 A3 F#3 A3 F#3
    G3 F#3 E3 G3 F#3 G3 A3 F#3  G3 F#3 E3 D3 C3 B2 A2 G2
    F#2 C3 D3 C3 D3 C3 D3 C3
    G2 B2 F3 E3 F3 B2 F3 B2
    G2 C3 E3 D3 E3 C3 E3 C3
    G2 F#3 C4 B3 C4 F#3 C4 F#3
    G2 D3 B3 A3 B3 G3 F#3 E3  D3 C3 B2 A2 G2 F#2 E2 D2
    C#2 A2 E3 F#3 G3 E3 F#3 G3
    C2 A2 D3 E3 F#3 D3 E3 F#3
    C2 A2 D3 F#3 A3 C#4 D4*3 A2 B2 C3 D3 E3 F#3 G3
    A3 F#3 D3 E3 F#3 G3 A3 B3  C4 A3 F#3 G3 A3 B3 C4 D4
    Eb4 D4 C#4 D4 D4 C4 B3 C4  C4 A3 F#3 E3 D3 A2 B2 C3
    D2 A2 D3 F#3 A3 B3 C4 A3  B3 G3 D3 C3 B2 G2 A2 B2
    D2 G2 B2 D3 G3 A3 B3 G3  C#4 Bb3 A3 Bb3 Bb3 A3 G#3 A3
    A3 G3 F#3 G3 G3 E3 C#3 B2  A2 C#3 E3 G3 A3 C#4 D4 C#4
    D4 A3 F#3 E3 F#3 A3 D3 F#3  A2 D3 C#3 B2 A2 G2 F#2 E2
    D2*2 C4 B3 A3 G3 F#3 E3  D3 C4 B3 A3 G3 F#3 E3 D3
    C3 B3 A3 G3 F#3 E3 D3 C3  B2 A3 G3 F#3 E3 D3 C3 B2
    A2 G3 F#3 E3 F#3 A3 D3 A3  E3 A3 F#3 A3 G3 A3 E3 A3
    F#3 A3 D3 A3 G3 A3 E3 A3
    F#3 A3 D3 A3 E3 A3 F#3 A3  G3 A3 A3 A3 B3 A3 D3 A3
    A3 A3 B3 A3 C4 A3 D3 A3  B3 A3 C4 A3 D4 A3 B3 A3
    C4 A3 B3 A3 C4 A3 A3 A3  B3 A3 A3 A3 B3 A3 G3 A3
    A3 A3 G3 A3 A3 A3 F#3 A3  G3 A3 F#3 A3 G3 A3 E3 A3
    F#3 A3 D3 E3 F3 D3 F#3 D3  G3 D3 G#3 D3 A3 D3 Bb3 D3
    B3 D3 C4 D3 C#4 D3 D4 D3  Eb4 D3 E4 D3 F4 D3 F#4 D3
    G4 B3 D3 B3 G4 B3 G4 B3
    G4 A3 D3 A3 G4 A3 G4 A3
    F#4 C4 D3 C4 F#4 C4 F#4 C4
"""

CELLO_DYNAMICS = {1: 70, 4: 76, 8: 66, 10: 78, 15: 64, 19: 80, 22: 60, 27: 78, 31: 58, 36: 66, 39: 94, 42: 90}


def bach_cello_suite() -> Song:
    """Bach, prelude of the Suite no. 1 in G major for solo cello, BWV 1007: all 42 bars."""
    sixteenth = 1 / 4
    detached = 0.95  # a bowed line: repeated notes must not run into each other
    notes = []
    for bar, text in enumerate(CELLO_BARS.strip().splitlines(), start=1):
        whole = text if len(text.split()) > 8 else f"{text} {text}"
        for p, start, length in read_line(whole, sixteenth):
            loudness = curve(CELLO_DYNAMICS, bar + start / BEATS_PER_BAR)
            accent = 10 if start % 2 == 0 else 3 if start % 1 == 0 else 0
            notes.append(Note(p, round(loudness) + accent, bar_start(bar) + start, length * detached))
    notes += rolled("G2 B3 G4", bar_start(42), 4, 92)
    fermata = bar_start(22) + 1.5
    ending = ((bar_start(41), 70), (bar_start(41) + 2, 60), (bar_start(42), 50))
    tempo = ((0, 76), (fermata, 44), (fermata + 0.75, 76), *ending)
    return Song("Prelude of the Cello Suite in G major, BWV 1007", "G", tempo, [Track("Cello", 42, notes)])


class Chord(NamedTuple):
    """A chord of the riff: its root in the keys' register, its third in semitones, the organ's voicing."""

    root: str
    third: int
    organ: str


RIFF_CHORDS = {
    "Dm": Chord("D4", 3, "A3 D4 F4"),
    "Bb": Chord("Bb3", 4, "Bb3 D4 F4"),
    "Gm": Chord("G3", 3, "Bb3 D4 G4"),
    "A": Chord("A3", 4, "A3 C#4 E4"),
    "C": Chord("C4", 4, "G3 C4 E4"),
    "F": Chord("F3", 4, "A3 C4 F4"),
    "Am": Chord("A3", 3, "A3 C4 E4"),
}

# One chord a bar: introduction, theme, theme again, middle part, close.
RIFF_PLAN = """
    Dm Bb Gm A
    Dm Bb Gm A
    Dm Bb C  F
    Bb C  Am A
    Dm Gm A  Dm
"""
RIFF_BARS = [RIFF_CHORDS[name] for name in RIFF_PLAN.split()]
RIFF_PEDAL_BARS = (1, 2, 3, 4, 13, 14, 15, 16, 20)
RIFF_DYNAMICS = {1: 56, 4: 66, 5: 76, 12: 82, 13: 66, 16: 78, 17: 86, 19: 88, 20: 72}

# Eighth notes, one bar a line; the flute plays from bar 5, the vibraphone from bar 9.
RIFF_FLUTE = """
    D5*2 E5 F5 A5*3 G5
    F5*3 G5 D5*4
    Bb4*2 C5 D5 G5*3 F5
    E5*2 F5 E5 C#5*4
    D5*2 E5 F5 A5*3 C6
    Bb5*3 A5 F5*4
    G5*2 A5 G5 E5*2 C5*2
    F5*6 -*2
    D5*6 F5*2
    E5*6 G5*2
    A5*6 G5*2
    E5*4 C#5*4
    D5*2 E5 F5 A5*3 G5
    Bb5*3 A5 G5*4
    A5*2 G5 F5 E5*2 C#5*2
    D5*8
"""
RIFF_VIBRAPHONE = """
    -*4 F5 D5 A4*2
    -*4 D5 F5 Bb5*2
    -*4 G4 C5 E5*2
    -*2 A4 C5 F5 A5 C6*2
    Bb5*3 F5*3 D5*2
    C6*3 G5*3 E5*2
    C6*3 A5*3 E5*2
    C#5 E5 A5 G5 E5 C#5 A4*2
    -*4 F5 D5 A4*2
    -*4 D5 Bb4 G4*2
    -*4 G4 A4 C#5*2
    F4 A4 D5 F5 A5*4
"""

# Drum patterns: sixteen steps a bar for each General MIDI drum, x loud and o soft.
KICK, RIM, SNARE, LOW_TOM, HAT, MID_TOM, HIGH_TOM, CRASH, RIDE = 36, 37, 38, 43, 42, 45, 48, 49, 51
BEAT = {KICK: "x.....x...x.....", SNARE: "....x.......x...", HAT: "x.o.x.o.x.o.x.o."}
FILL = {
    KICK: "x.....x...x.....",
    SNARE: "....x.......x...",
    HAT: "x.o.x.o.x.......",
    HIGH_TOM: ".............x..",
    MID_TOM: "..............x.",
    LOW_TOM: "...............x",
}
HALF_TIME = {KICK: "x.........o.....", RIM: "........x.......", RIDE: "x...o...x...o.o."}
HATS = {HAT: "x.o.x.o.x.o.x.o."}
LAST_HIT = {KICK: "x...............", CRASH: "x..............."}
DRUM_PLAN: list[dict[int, str]] = (
    [{}] * 2 + [HATS] * 2 + [BEAT] * 7 + [FILL] + [HALF_TIME] * 3 + [FILL] + [BEAT] * 3 + [LAST_HIT]
)


def riff_loudness(bar: float, offset: int = 0) -> int:
    """Return the velocity that the riff's dynamics give at a bar."""
    return round(curve(RIFF_DYNAMICS, bar)) + offset


def riff_keys() -> list[Note]:
    """Return the arpeggio that names the piece, up to the tenth and back by way of the ninth."""
    notes = []
    for bar, chord in enumerate(RIFF_BARS[:-1], start=1):
        root = pitch(chord.root)
        for i, interval in enumerate((0, 7, 12, 12 + chord.third, 14, 12, 7, chord.third)):
            accent = 8 if i in (0, 3) else 0
            notes.append(Note(root + interval, riff_loudness(bar, accent - 4), bar_start(bar) + i / 2, 0.5))
    return notes + rolled("D3 A3 D4 F4 A4 D5", bar_start(20), 4, 70)


def riff_bass() -> list[Note]:
    """Return the bass: whole notes up to the theme, then root, fifth, octave and a step to the next root."""
    roots = [pitch(chord.root) - 24 for chord in RIFF_BARS]
    notes = [Note(roots[bar - 1], riff_loudness(bar), bar_start(bar), 4) for bar in (3, 4, 20)]
    for bar in range(5, 20):
        root, leading = roots[bar - 1], roots[bar] - 1
        line = ((root, 0, 1.5), (root, 1.5, 0.5), (root + 7, 2, 1), (root + 12, 3, 0.5), (leading, 3.5, 0.5))
        notes += [
            Note(p, riff_loudness(bar, 8 if start == 0 else 0), bar_start(bar) + start, length * 0.9)
            for p, start, length in line
        ]
    return notes


def riff_organ() -> list[Note]:
    """Return the organ: each bar's chord held under everything else."""
    return [
        Note(pitch(name), riff_loudness(bar, -18), bar_start(bar), 3.9)
        for bar, chord in enumerate(RIFF_BARS, start=1)
        for name in chord.organ.split()
    ]


def riff_melody(text: str, first_bar: int, offset: int) -> list[Note]:
    """Return a written-out line of eighth notes that enters at a bar, shaded by the riff's dynamics."""
    begin = bar_start(first_bar)
    return [
        Note(p, riff_loudness(first_bar + start / BEATS_PER_BAR, offset), begin + start, length * 0.95)
        for p, start, length in read_line(text, 0.5)
    ]


def riff_drums() -> list[Note]:
    """Return the drums: hi-hat into the theme, a beat, half time in the middle part, one last hit."""
    return [
        Note(drum, riff_loudness(bar, {"x": 6, "o": -14}[step]), bar_start(bar) + i / 4, 0.2)
        for bar, pattern in enumerate(DRUM_PLAN, start=1)
        for drum, steps in pattern.items()
        for i, step in enumerate(steps)
        if step != "."
    ]


def riff() -> Song:
    """Write a short piece in D minor for six players, composed for this project: 20 bars."""
    # The pedal lifts just before the bar line, so that no chord blurs into the next one.
    pedal = [(bar_start(bar), bar_start(bar) + 3.9) for bar in RIFF_PEDAL_BARS]
    tracks = [
        Track("Electric piano", 4, riff_keys(), pedal),
        Track("Bass", 33, riff_bass()),
        Track("Organ", 19, riff_organ()),
        Track("Flute", 73, riff_melody(RIFF_FLUTE, 5, 8)),
        Track("Vibraphone", 11, riff_melody(RIFF_VIBRAPHONE, 9, -2)),
        Track("Drums", 0, riff_drums(), is_drum=True),
    ]
    tempo = ((0, 126), (bar_start(19), 122), (bar_start(19) + 2, 112), (bar_start(20), 100))
    return Song("Riff", "Dm", tempo, tracks)


SONGS = {
    "bach_prelude_bwv846": bach_prelude,
    "bach_cello_suite_bwv1007": bach_cello_suite,
    "riff": riff,
}


def midi_track(name: str, events: Sequence[tuple[float, mido.Message | mido.MetaMessage]]) -> mido.MidiTrack:
    """Return a named track of (beat, message) events; those at one tick keep the order they came in."""
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
    now = 0
    for tick, message in sorted(
        ((round(beat * TICKS_PER_BEAT), message) for beat, message in events), key=lambda event: event[0]
    ):
        track.append(message.copy(time=tick - now))
        now = tick
    return track


def instrument_track(track: Track, channel: int) -> mido.MidiTrack:
    """Return the MIDI form of one instrument's part."""
    message = mido.Message
    program = [(0.0, message("program_change", channel=channel, program=track.program))]
    pedal = [
        (beat, message("control_change", channel=channel, control=SUSTAIN_PEDAL, value=value))
        for span in track.pedal
        for beat, value in zip(span, (127, 0), strict=True)
    ]
    offs = [(n.start + n.length, message("note_off", channel=channel, note=n.pitch)) for n in track.notes]
    ons = [(n.start, message("note_on", channel=channel, note=n.pitch, velocity=n.velocity)) for n in track.notes]
    # Ends before beginnings: a repeated note must not be cut by the end of the one before it.
    return midi_track(track.name, program + pedal + offs + ons)


def to_midi(song: Song) -> mido.MidiFile:
    """Return a song as a format 1 MIDI file: a conductor's track, then one track an instrument."""
    meta = mido.MetaMessage
    conductor = [
        (0.0, meta("time_signature", numerator=BEATS_PER_BAR, denominator=4)),
        (0.0, meta("key_signature", key=song.key)),
        *((beat, meta("set_tempo", tempo=mido.bpm2tempo(bpm))) for beat, bpm in song.tempo),
    ]
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    file.tracks.append(midi_track(song.title, conductor))
    for channel, track in enumerate(song.tracks):
        file.tracks.append(instrument_track(track, DRUM_CHANNEL if track.is_drum else channel))
    return file


def main() -> None:
    """Write every song into the folder given, or into pipeline/examples."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "pipeline" / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    for name, compose in SONGS.items():
        to_midi(compose()).save(folder / f"{name}.mid")


if __name__ == "__main__":
    main()
