"""Piano rolls: each note at its time and pitch, in its instrument's colour, for any number of notes."""

from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gansynth.figures import axes, piano_roll, spectrogram
from gansynth.midi.notes import Channel, Timeline
from gansynth.score.planned_notes import PlannedNotes

RATE = 16000
NAMES = ("piano", "flute", "bass")
PLOT = (slice(axes.TOP, piano_roll.HEIGHT - axes.BOTTOM), slice(axes.LEFT, axes.WIDTH - axes.RIGHT))
WIDTH = axes.WIDTH - axes.LEFT - axes.RIGHT
OCTAVE = np.rint(axes.GROUND + (np.array(axes.INK) - axes.GROUND) * 4 / 63).tolist()


def notes_of(*rows: tuple[float, ...]) -> PlannedNotes:
    """Makes notes from rows of pitch, start and end in seconds and, optionally, left, right, fraction and velocity."""
    full = np.array([(*row, *(0, 0, 0, 127)[len(row) - 3 :]) for row in rows], float).reshape(-1, 7)
    return PlannedNotes(
        start=np.rint(full[:, 1] * RATE).astype(np.int64),
        sustain=np.rint((full[:, 2] - full[:, 1]) * RATE).astype(np.int32),
        pitch=full[:, 0].astype(np.uint8),
        velocity=full[:, 6].astype(np.uint8),
        program=np.zeros(len(full), np.uint8),
        track=np.zeros(len(full), np.int32),
        left=full[:, 3].astype(np.uint8),
        right=full[:, 4].astype(np.uint8),
        fraction=full[:, 5].astype(np.float32),
        release=4800,
    )


def picture(notes: PlannedNotes, seconds: float = 10, names: tuple[str, ...] = NAMES, title: str = "") -> np.ndarray:
    image = Image.open(io.BytesIO(piano_roll.write_png(notes, names, round(seconds * RATE), RATE, title)))
    image.load()
    assert (image.format, image.mode, image.info) == ("PNG", "P", {})
    return np.asarray(image.convert("RGB"))


def colour_at(image: np.ndarray, pitch: int, seconds: float, low: int, rows: int, length: float = 10) -> list[int]:
    plot = image[PLOT]
    y = int((rows - 1 - (pitch - low) + 0.5) * len(plot) / rows)
    x = int(seconds / axes.seconds_across(round(length * RATE), RATE) * WIDTH)
    return plot[y, x].tolist()


def test_notes_stand_where_they_are_heard() -> None:
    image = picture(notes_of((60, 1, 3), (72, 4, 6, 1, 1)))
    piano, flute = (list(colour) for colour in piano_roll.COLOURS[:2])
    ground = list(axes.GROUND)
    # Middle C is the lowest of two octaves and a row.
    assert [colour_at(image, 61, s, 60, 25) for s in (0.5, 2, 5)] == [ground] * 3
    assert [colour_at(image, 60, s, 60, 25) == piano for s in (0.9, 1.1, 2.95, 3.1)] == [False, True, True, False]
    assert [colour_at(image, 72, s, 60, 25) == flute for s in (3.9, 4.1, 5.95, 6.1)] == [False, True, True, False]
    tail = colour_at(image, 60, 3.2, 60, 25)
    assert ground < tail < piano
    assert colour_at(image, 60, 3.4, 60, 25) == OCTAVE


def test_first_pixel_is_bright_and_soft_notes_are_darker() -> None:
    image = picture(notes_of((61, 1, 3), (63, 1, 3, 0, 0, 0, 1)))
    loud, soft = (colour_at(image, pitch, 2, 60, 25) for pitch in (61, 63))
    assert loud == list(piano_roll.COLOURS[0])
    assert all(a < b for a, b in zip(soft, loud, strict=True))
    row = image[PLOT][int((24 - 1 + 0.5) * 200 / 25)].astype(int).sum(axis=1)
    onset = int(1 / axes.seconds_across(10 * RATE, RATE) * WIDTH)
    assert row.argmax() == onset
    assert row[onset + 1] < row[onset]


def test_sliding_instruments_mix_their_colours() -> None:
    image = picture(notes_of((61, 1, 3, 0, 1, 0.5)))
    expected = np.mean(piano_roll.COLOURS[:2], axis=0)
    np.testing.assert_allclose(colour_at(image, 61, 2, 60, 25), expected, atol=1)


def test_overlapping_notes_of_one_pitch_are_all_seen() -> None:
    """The latest note is in front, and the uncovered part of a longer one is visible behind it."""
    image = picture(notes_of((61, 1, 8, 0, 0), (61, 3, 4, 1, 1), (61, 5, 6, 2, 2)))
    piano, flute, bass = (list(colour) for colour in piano_roll.COLOURS[:3])
    found = [colour_at(image, 61, s, 60, 25) for s in (2, 3.5, 4.1, 5.5, 7)]
    assert found == [piano, flute, piano, bass, piano]


def brute_force(notes: PlannedNotes, low: int, rows: int, samples: float) -> np.ndarray:
    """Finds the owner of each cell: the latest to begin, until its release; else the one that is heard longest."""
    owner = np.full((rows, WIDTH), -1)
    per_pixel = samples / WIDTH
    for row in range(rows):
        mine = np.flatnonzero(notes.pitch == low + row)
        begin = np.minimum(notes.start[mine] // per_pixel, WIDTH - 1)
        end = np.maximum(np.ceil((notes.start + notes.sustain)[mine] / per_pixel), begin + 1)
        stop = np.maximum((notes.start + notes.sustain + notes.release)[mine] // per_pixel, end)
        for x in range(WIDTH):
            begun = begin <= x
            if not begun.any():
                continue
            latest = np.flatnonzero(begun)[begin[begun] == begin[begun].max()].max()
            longest = np.flatnonzero(begun)[stop[begun] == stop[begun].max()].max()
            if end[latest] > x:
                owner[row, x] = mine[latest]
            elif stop[longest] > x:
                owner[row, x] = mine[longest]
    return owner


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(st.integers(60, 63), st.floats(0, 9), st.floats(0, 3), st.integers(0, 2)), min_size=1, max_size=40
    )
)
def test_against_brute_force(rows: list[tuple[int, float, float, int]]) -> None:
    rows.sort(key=lambda row: row[1])
    notes = notes_of(*((pitch, start, start + length, one, one) for pitch, start, length, one in rows))
    samples = axes.seconds_across(10 * RATE, RATE) * RATE
    table = np.repeat(np.arange(len(notes), dtype=np.uint8)[:, None], 3, axis=1)
    cells = piano_roll._cells(notes, table, 60, 25, WIDTH, samples / WIDTH, range(WIDTH))
    owner = brute_force(notes, 60, 25, samples)
    np.testing.assert_array_equal(cells[owner >= 0], owner[owner >= 0])
    assert (cells[owner < 0] >= piano_roll._GROUND).all()


def test_time_axis_is_the_spectrograms() -> None:
    """A click at a given time is at the same pixel of both pictures, so that one playhead fits both."""
    at, seconds = 7.3, 12
    clip = np.zeros(seconds * RATE, np.float32)
    clip[int(at * RATE)] = 1
    levels = spectrogram.cqt(clip, RATE)
    spectrum = np.asarray(Image.open(io.BytesIO(spectrogram.write_png(levels, RATE))).convert("L")).astype(int)
    column = spectrum[60:200, axes.LEFT : axes.WIDTH - axes.RIGHT].sum(axis=0).argmax()
    roll = picture(notes_of((61, at, at + 0.05)), seconds)[PLOT].astype(int).sum(axis=2)
    begin = np.flatnonzero(roll[int(23.5 * 200 / 25)] > sum(axes.GROUND))[0]
    assert abs(column - begin) <= WIDTH * 2048 / RATE / seconds / 2  # within half a column of the spectrogram
    # The marks of the axes stand at the same pixels.
    marks = slice(-axes.BOTTOM, 5 - axes.BOTTOM), slice(axes.LEFT, axes.WIDTH - axes.RIGHT)
    both = spectrum[marks], picture(notes_of((61, 0, 1)), seconds)[marks].max(axis=2)
    assert ((both[0] > 100) == (both[1] > 100)).all()
    assert (both[0] > 100).any(axis=0).sum() == 12


def test_colours_go_by_name_and_begin_again_after_sixteen() -> None:
    assert piano_roll.colour_numbers(("a", "b", "a", "c")) == [0, 1, 0, 2]
    assert piano_roll.colour_numbers([str(i) for i in range(20)]) == [*range(16), 0, 1, 2, 3]
    palette = piano_roll.palette()
    assert len({tuple(colour) for colour in palette.tolist()}) == 16

    def luminance(colour: np.ndarray) -> float:
        linear = np.where(colour <= 10.3, colour / 255 / 12.92, ((colour / 255 + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    ground = luminance(np.array(axes.GROUND))
    assert all((luminance(colour) + 0.05) / (ground + 0.05) >= 3 for colour in palette)


@pytest.mark.parametrize(
    ("pitches", "low", "rows"),
    [((60,), 60, 25), ((60, 84), 60, 25), ((59, 61), 48, 25), ((24, 84), 24, 61), ((71,), 60, 25), ((0, 127), 0, 133)],
)
def test_rows_are_whole_octaves_that_hold_all_notes(pitches: tuple[int, ...], low: int, rows: int) -> None:
    assert piano_roll._rows(notes_of(*((pitch, 0, 1) for pitch in pitches)), {}) == (low, rows)


def test_more_colours_than_a_palette_holds_are_rounded() -> None:
    names = tuple(map(str, range(16)))
    rows = [(60 + i % 24, i * 0.01, i * 0.01 + 0.005, i % 16, (i + 1) % 16, i / 900, 1 + i % 127) for i in range(900)]
    notes = notes_of(*rows)
    full = piano_roll._colours(notes, names, "instrument")
    colours = piano_roll._shades(full, notes.velocity, np.ones(len(notes), np.float32))
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) > 1000
    palette, index = piano_roll._fit_palette(colours)
    assert len(palette) <= 192
    assert np.abs(palette[index].astype(int) - colours).max() <= 16
    few = colours[:30]
    palette, index = piano_roll._fit_palette(few)
    np.testing.assert_array_equal(palette[index], few)


def test_no_notes_and_no_length() -> None:
    assert (picture(notes_of(), 0)[PLOT] != axes.GROUND).any()  # octave lines
    picture(notes_of((60, 0, 0)), 0.3)
    picture(notes_of((60, 500, 501)), 1)  # beyond the clip


@pytest.mark.parametrize("title", ["$x$ \\alpha", "\x00\x1b[31m", "🎹", "\udcff", "\u202eleft", "W" * 5000])
def test_hostile_titles(title: str) -> None:
    assert picture(notes_of((60, 0, 1)), title=title).shape == (piano_roll.HEIGHT, axes.WIDTH, 3)


def test_hundreds_of_thousands_of_notes_in_bounded_memory() -> None:
    random = np.random.default_rng(0)
    count = 200_000
    one = notes_of((60, 0, 1))
    crowd = replace(
        one,
        start=np.sort(random.integers(0, 10 * RATE, count)),
        sustain=np.full(count, 3 * RATE, np.int32),
        pitch=random.integers(24, 85, count).astype(np.uint8),
        **{name: np.repeat(getattr(one, name), count) for name in ("velocity", "program", "track", "left", "right")},
        fraction=np.zeros(count, np.float32),
    )
    picture(one)
    tracemalloc.start()
    picture(crowd, 13.3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


# On the spectrogram's axes


def on_grid(notes: PlannedNotes, seconds: float, **more: Any) -> np.ndarray:
    grid = axes.Grid.of(round(seconds * RATE), RATE)
    png = piano_roll.write_png(notes, NAMES, round(seconds * RATE), RATE, grid=grid, **more)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize("pitch", [24, 31, 60, 84, 100, 118])
def test_pitch_and_time_axes_are_the_spectrograms(pitch: int) -> None:
    """A note and a sine of the same pitch and time are at the same pixels of the two pictures."""
    seconds, begin, end = 40, 10, 14
    times = np.arange(seconds * RATE) / RATE
    wave = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * times) * ((times >= begin) & (times < end))
    grid = axes.Grid.of(seconds * RATE, RATE)
    style = spectrogram.full_style(grid)
    png = spectrogram.write_png(spectrogram.cqt(wave.astype(np.float32), RATE, style), RATE, "", style)
    spectrum = np.asarray(Image.open(io.BytesIO(png)).convert("L")).astype(int)
    roll = on_grid(notes_of((pitch, begin, end)), seconds).astype(int).sum(axis=2)
    assert roll.shape == spectrum.shape
    plot = (slice(axes.TOP, -axes.BOTTOM), slice(axes.LEFT, -axes.RIGHT))
    spectrum, roll = spectrum[plot], roll[plot]
    assert grid.width / axes.seconds_across(seconds * RATE, RATE) >= 40
    x = round(12 * grid.width / axes.seconds_across(seconds * RATE, RATE))
    held = np.flatnonzero(roll[:, x] > 150)
    assert len(held) == (2 if pitch == 24 else 3)  # the lowest row of C1 would be below the spectrogram's centre of it
    assert abs(spectrum[:, x].argmax() - (held[0] if pitch == 24 else held[1])) <= 1
    row = held[0]
    sounding = np.flatnonzero(roll[row] > 150)
    assert sounding[0] == pytest.approx(begin * grid.width / axes.seconds_across(seconds * RATE, RATE), abs=1)


@pytest.mark.parametrize(("pitch", "more"), [(23, 36), (12, 36), (5, 72), (119, 0), (127, 24), (60, 0)])
def test_notes_outside_the_spectrogram_extend_the_roll(pitch: int, more: int) -> None:
    grid = axes.Grid.of(10 * RATE, RATE)
    image = on_grid(notes_of((pitch, 1, 3)), 10)
    assert len(image) == axes.TOP + grid.rows + more + axes.BOTTOM
    assert (image[axes.TOP : -axes.BOTTOM, axes.LEFT : -axes.RIGHT] == piano_roll.COLOURS[0]).all(axis=2).any()


def test_colours_by_track_and_by_velocity() -> None:
    notes = notes_of((60, 1, 3, 0, 0, 0, 127), (72, 4, 6, 0, 0, 0, 127), (84, 7, 9, 0, 0, 0, 20))
    notes = replace(notes, track=np.array([7, 2, 7], np.int32))
    plot = (slice(axes.TOP, -axes.BOTTOM), slice(axes.LEFT, -axes.RIGHT))
    by_track = {tuple(colour) for colour in on_grid(notes, 10, colour="track")[plot].reshape(-1, 3).tolist()}
    assert set(piano_roll.COLOURS[:2]) <= by_track
    by_velocity = on_grid(notes, 10, colour="velocity")[plot]
    brightest = [by_velocity[:, x].astype(int).sum(axis=1).max() for x in (214, 535, 855)]
    assert brightest[0] == brightest[1] > 400 > brightest[2] > 60
    by_instrument = {tuple(colour) for colour in on_grid(notes, 10)[plot].reshape(-1, 3).tolist()}
    assert piano_roll.COLOURS[1] not in by_instrument


def test_tiles_are_parts_of_the_whole_picture() -> None:
    seconds, random = 900, np.random.default_rng(0)
    begin = np.sort(random.uniform(0, seconds - 1, 3000))
    pitches = random.integers(50, 60, len(begin))
    notes = notes_of(*zip(pitches, begin, begin + random.choice([0.1, 1, 30], len(begin)), strict=True))
    notes = replace(notes, channel=np.asarray(random.integers(0, 3, len(begin)), np.uint8))
    times = np.arange(0.0, seconds, 0.5)
    moved = Timeline(times, random.uniform(-20, 0, len(times)).astype(np.float32))
    channels = {1: Channel(gain=moved), 2: Channel(bend=moved)}
    grid = axes.Grid.of(seconds * RATE, RATE)
    whole = on_grid(notes, seconds, channels=channels)
    plot = (slice(axes.TOP, -axes.BOTTOM), slice(axes.LEFT, -axes.RIGHT))
    assert len(grid.tiles()) == 3
    pictures = axes.pictures("long", grid)
    assert [title for title, _ in pictures] == [f"long ({n} of 3)" for n in (1, 2, 3)]
    parts = piano_roll.write_pngs(notes, NAMES, seconds * RATE, RATE, pictures, channels=channels, grid=grid)
    for tile, png in zip(grid.tiles(), parts, strict=True):
        picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        np.testing.assert_array_equal(picture[plot], whole[plot][:, tile.start : tile.stop])


def test_notes_are_as_bright_as_their_channel_is_loud() -> None:
    notes = notes_of((60, 1, 9), (72, 1, 9), (84, 1, 9))
    notes = replace(notes, channel=np.array([0, 1, 2], np.uint8))
    falling = Timeline(np.array([0.0, 3, 5, 7]), np.array([0, -20, -60, -np.inf], np.float32))
    channels = {1: Channel(gain=falling), 2: Channel(gain=Timeline(np.array([0.0]), np.array([-20], np.float32)))}
    image = on_grid(notes, 10, channels=channels)[axes.TOP : -axes.BOTTOM, axes.LEFT : -axes.RIGHT].astype(int)
    ground = np.array(axes.GROUND)

    def brightness(pitch: int, seconds: float) -> float:
        y = len(image) - 1 - 3 * (pitch - axes.LOWEST)
        x = int(seconds / axes.seconds_across(10 * RATE, RATE) * WIDTH)
        return float((image[y, x] - ground).sum() / (np.array(piano_roll.COLOURS[0]) - ground).sum())

    steady = [brightness(60, s) for s in (2, 4, 6, 8)]
    assert steady == pytest.approx([1, 1, 1, 1], abs=0.02)
    # Half the decibels, as in the page: -20 dB are 0.32.
    assert [brightness(72, s) for s in (2, 4, 6, 8)] == pytest.approx([1, 0.31, 0.125, 0.06], abs=0.03)
    assert [brightness(84, s) for s in (2, 8)] == pytest.approx([0.31, 0.31], abs=0.03)
    # In the range `reference` rolls are as earlier releases drew them.
    plain, with_levels = (piano_roll.write_png(notes, NAMES, 10 * RATE, RATE, channels=some) for some in ({}, channels))
    assert plain == with_levels


def test_same_input_same_bytes() -> None:
    notes = notes_of((60, 0, 1), (61, 0.5, 2, 1, 2, 0.3))
    first, second = (piano_roll.write_png(notes, NAMES, 32000, RATE, "a.mid") for _ in range(2))
    assert first == second


def test_import_is_light() -> None:
    code = "import sys, gansynth.figures.piano_roll; print(*{name.split('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert {"matplotlib", "PIL", "scipy", "mido", "tensorflow", "apache_beam"}.isdisjoint(result.stdout.split())
