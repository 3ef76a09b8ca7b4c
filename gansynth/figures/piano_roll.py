"""Piano roll of a song: its notes as they were played, coloured by instrument, track or velocity."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gansynth.figures import axes
from gansynth.midi.notes import Channel, Timeline
from gansynth.score.planned_notes import PlannedNotes
from gansynth.score.rendered_notes import bends_of, gains_of

HEIGHT = 290
ColourBy = Literal["instrument", "track", "velocity"]
"""What the colours of notes stand for."""
COLOURS = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
    (187, 187, 187),
)
"""Okabe and Ito's colours, distinguishable with any kind of colour vision; grey replaces their black."""
_TINT = 0.55
"""Share of white in the colours of instruments 9 to 16, otherwise those of 1 to 8; from the 17th on they repeat."""
_FAINTEST = 0.45
_SOFTEST = 0.15
_ONSET = 0.5
_TAIL = 0.35
_RELEASED = 2
_QUIETEST, _SILENT = 0.12, 0.08
_STEPS = 16
"""Levels of a channel that are told apart, so that a palette is enough."""
_INKS = 64
_GROUND = 256 - _INKS
_OCTAVE_LINE, _LABEL, _TITLE = _GROUND + 4, _GROUND + 42, _GROUND + _INKS - 1
_MIN_OCTAVES = 2


def colour_numbers(instruments: Sequence[str]) -> list[int]:
    """Returns the colour number of each instrument, 0..15; instruments of the same name share one."""
    seen: dict[str, int] = {}
    return [seen.setdefault(name, len(seen)) % (2 * len(COLOURS)) for name in instruments]


def palette() -> NDArray[np.uint8]:
    """Returns the sixteen colours, RGB, uint8 [16, 3]."""
    plain = np.array(COLOURS, np.float64)
    return np.rint(np.concatenate([plain, plain + (255 - plain) * _TINT])).astype(np.uint8)


def write_png(
    notes: PlannedNotes,
    instruments: Sequence[str],
    samples: int,
    sample_rate: int,
    title: str = "",
    height: int = HEIGHT,
    channels: Mapping[int, Channel] | None = None,
    grid: axes.Grid | None = None,
    colour: ColourBy = "instrument",
) -> bytes:
    """Draws a piano roll on the time axis of the same song's spectrogram, with a grid also on its pitch axis.

    A note is drawn as long as it sounds, with a fainter release; its first pixel is bright, and soft notes are darker.
    Notes between two instruments mix their colours. Where notes of one pitch overlap, the latest is in front, except
    its release. Time and memory depend on the picture's size and not on the number of overlapping notes.

    Args:
        notes: sorted by start; may be empty.
        instruments: names that the notes' `left` and `right` refer to by number.
        samples: length of the clip in samples.
        sample_rate: in Hz.
        title: any text, see spectrogram.write_png.
        height: pixels, at least 160; with a grid, its rows decide.
        channels: the song's channels on which something moves; bent notes are drawn along their pitch, and with a grid
            all notes as bright as their channel is loud.
        grid: the axes of the song's spectrogram in the range `full`, which are extended by octaves for notes outside;
            None for the width axes.WIDTH and the octaves that have notes.
        colour: what colours stand for: instruments (see `colour_numbers`), tracks in the order of their first notes, or
            velocity from dark to bright.

    Returns:
        A PNG file of axes.WIDTH x `height` pixels, or as large as the grid: the same bytes for the same input.
    """
    (png,) = write_pngs(notes, instruments, samples, sample_rate, [(title, None)], height, channels, grid, colour)
    return png


def write_pngs(
    notes: PlannedNotes,
    instruments: Sequence[str],
    samples: int,
    sample_rate: int,
    pictures: Sequence[tuple[str, range | None]],
    height: int = HEIGHT,
    channels: Mapping[int, Channel] | None = None,
    grid: axes.Grid | None = None,
    colour: ColourBy = "instrument",
) -> Iterator[bytes]:
    """Draws the pictures of a piano roll one after the other, see `write_png`.

    Args:
        pictures: title of each, and the pixels across the plot that it shows, see `axes.pictures`.
        notes, instruments, samples, sample_rate, height, channels, grid, colour: as of `write_png`.
    """
    from PIL import Image, ImageDraw

    seconds = axes.seconds_across(samples, sample_rate)
    bends = bends_of(notes, sample_rate, channels or {})
    if grid is None:
        low, rows = _rows(notes, bends)
        width, plot_height = axes.WIDTH - axes.LEFT - axes.RIGHT, height - axes.TOP - axes.BOTTOM
        row_of = rows - 1 - np.arange(plot_height) * rows // plot_height
    else:
        lowest, highest = _span(notes, bends)
        low, top = min(lowest // 12 * 12, axes.LOWEST), max(highest + 1, _grid_top(grid))
        rows, width = top - low, grid.width
        row_of = _grid_rows(low, top, grid)
        plot_height = len(row_of)
        height = axes.TOP + plot_height + axes.BOTTOM
    owner, brightness, changes = _levels(
        {} if grid is None else gains_of(notes, sample_rate, channels or {}), len(notes)
    )
    shades = _shades(_colours(notes, instruments, colour)[owner], notes.velocity[owner], brightness)
    del owner, brightness  # large, as are the colours of hundreds of thousands of notes
    colours, table = _fit_palette(shades)
    moving = np.array(sorted({*bends, *changes}), np.intp)
    straight = np.setdiff1d(np.arange(len(notes)), moving)
    per_pixel = seconds * sample_rate / width
    lengths = np.stack([notes.start[moving], notes.sustain[moving], notes.tails[moving]])
    begin, end, tail = (np.cumsum(lengths, axis=0, dtype=np.float64) / per_pixel).astype(np.int64)
    end, tail = np.maximum(end, begin + 1), np.maximum(tail, begin + 1)
    inks = np.rint(np.linspace(axes.GROUND, axes.INK, _INKS)).astype(np.uint8)
    palette = np.concatenate([colours, np.zeros((_GROUND - len(colours), 3), np.uint8), inks]).tobytes()
    for title, part in pictures:
        tile = range(width) if part is None else part
        cells = _cells(notes[straight], table[straight], low, rows, width, per_pixel, tile)
        for i in np.flatnonzero((begin < tile.stop) & (tail > tile.start)).tolist():
            n, edges = int(moving[i]), (int(begin[i]), int(end[i]), int(tail[i]))
            _draw_moving(cells, notes, n, edges, bends.get(n), changes.get(n), table, low, per_pixel, sample_rate, tile)
        # One byte per pixel, as in a spectrogram: note colours, then inks from the background's colour to the text's.
        canvas = Image.new("L", (axes.LEFT + len(tile) + axes.RIGHT, height), _GROUND)
        canvas.paste(Image.fromarray(cells[row_of]), (axes.LEFT, axes.TOP))
        draw = ImageDraw.Draw(canvas)
        label = axes.font(13)
        axes.draw_title(draw, title, len(tile), _TITLE)
        for row in range(-low % 12, rows, 12):
            y = axes.TOP + int(np.flatnonzero(row_of == row).mean())
            axes.draw_pitch(draw, low + row, y, _LABEL, label)
        axes.draw_time(draw, seconds, width, axes.TOP + plot_height, _LABEL, label, tile)
        canvas.putpalette(palette)
        file = io.BytesIO()
        canvas.save(file, "PNG")
        yield file.getvalue()


def _grid_rows(low: int, top: int, grid: axes.Grid) -> NDArray[np.intp]:
    """Computes the row of cells of each pixel down a plot on a grid: a pitch is as high as its spectrogram rows.

    Args:
        low, top: lowest pitch, at most axes.LOWEST, and the pitch above the highest, at least that above the grid.
        grid: the spectrogram's axes, whose row 0 is the centre of axes.LOWEST.
    """
    each = axes.ROWS_PER_SEMITONE
    below, above = (axes.LOWEST - low) * each, (top - _grid_top(grid)) * each
    from_bottom = np.arange(-below, grid.rows + above)[::-1]
    return np.clip((from_bottom + each // 2) // each + axes.LOWEST - low, 0, top - low - 1)


def _grid_top(grid: axes.Grid) -> int:
    """Returns the pitch above the highest of a grid."""
    return axes.LOWEST + grid.rows // axes.ROWS_PER_SEMITONE + 1


def _levels(
    gains: Mapping[int, Timeline], notes: int
) -> tuple[NDArray[np.intp], NDArray[np.float32], dict[int, Timeline]]:
    """Gives each note a row of colours, and those whose level changes one more for each further level.

    Args:
        gains: decibels of the notes whose level is not the default, by number.
        notes: number of notes.

    Returns:
        For each row, the number of its note, and how bright it is, 0..1, in steps of 1 / _STEPS; and for each note
        that changes, the numbers of its rows in time.
    """
    brightness = np.ones(notes, np.float32)
    if not gains:
        return np.arange(notes), brightness, {}
    owner: list[int] = []  # of the further rows
    further: list[float] = []
    changes: dict[int, Timeline] = {}
    # As in roll.js: half the decibels, and silence is still seen.
    decibels = np.concatenate([gain.values for gain in gains.values()])
    level = np.where(np.isfinite(decibels), np.clip(10 ** (decibels / 40), _QUIETEST, 1), _SILENT)
    level = np.rint(level * _STEPS) / _STEPS
    first = np.cumsum([0, *map(len, gains.values())])
    lowest, highest = (extreme.reduceat(level, first[:-1]) for extreme in (np.minimum, np.maximum))
    numbers = np.array(list(gains), np.intp)
    brightness[numbers] = lowest
    for i in np.flatnonzero(lowest < highest).tolist():
        n = int(numbers[i])
        steps, which = np.unique(level[first[i] : first[i + 1]], return_inverse=True)
        rows = np.where(which, notes + len(owner) + which - 1, n)
        changes[n] = Timeline(gains[n].times, rows.astype(np.float32))
        owner += [n] * (len(steps) - 1)
        further += steps[1:].tolist()
    rows = np.concatenate([np.arange(notes), np.array(owner, np.intp)])
    return rows, np.concatenate([brightness, np.array(further, np.float32)]), changes


def _draw_moving(
    cells: NDArray[np.uint8],
    notes: PlannedNotes,
    n: int,
    edges: tuple[int, int, int],
    bend: Timeline | None,
    rows: Timeline | None,
    table: NDArray[np.uint8],
    low: int,
    per_pixel: float,
    sample_rate: int,
    tile: range,
) -> None:
    """Draws note `n` along its pitch, the semitone nearest at each pixel, in the colours of its rows of the table.

    Its edges are the pixels at which it begins, its release begins, and it ends.
    """
    begin, end, tail = edges
    x = np.arange(max(begin, tile.start), min(tail, tile.stop))
    middle = np.maximum((x + 0.5) * per_pixel, notes.start[n]) / sample_rate
    semitones = 0 if bend is None else bend.at(middle)
    y = np.clip(np.rint(notes.pitch[n] + semitones).astype(np.intp) - low, 0, len(cells) - 1)
    row = n if rows is None else rows.at(middle).astype(np.intp)
    state = np.where(x >= end, _RELEASED, (x == begin) & (end - begin > 2))
    cells[y, x - tile.start] = table[row, state]


def _rows(notes: PlannedNotes, bends: Mapping[int, Timeline]) -> tuple[int, int]:
    """Lowest pitch and number of rows: whole octaves from C to C that hold all notes, at least two."""
    low, high = _span(notes, bends)
    first, last = low // 12 * 12, -(-high // 12) * 12
    return first, max(last - first, _MIN_OCTAVES * 12) + 1


def _span(notes: PlannedNotes, bends: Mapping[int, Timeline]) -> tuple[int, int]:
    """Finds the lowest and the highest pitch that notes reach; 60 without notes."""
    low, high = (int(notes.pitch.min()), int(notes.pitch.max())) if len(notes) else (60, 60)
    for n, bend in bends.items():
        low = max(0, min(low, int(np.floor(notes.pitch[n] + bend.values.min()))))
        high = min(127, max(high, int(np.ceil(notes.pitch[n] + bend.values.max()))))
    return low, high


def _cells(
    notes: PlannedNotes, table: NDArray[np.uint8], low: int, rows: int, width: int, per_pixel: float, tile: range
) -> NDArray[np.uint8]:
    """Computes the palette index of each pitch and pixel of time, uint8 [rows, len(tile)]; row 0 is the lowest.

    Args:
        notes: sorted by start.
        table: uint8 [notes, 3], palette indices of each note while held, at its onset and in its release.
        low: pitch of row 0.
        rows, width: size of the plot.
        per_pixel: samples that a pixel represents.
        tile: pixels across the plot that are computed.
    """
    cells = np.full((rows, len(tile)), _GROUND, np.uint8)
    cells[-low % 12 :: 12] = _OCTAVE_LINE
    if not len(notes):
        return cells
    row = notes.pitch.astype(np.intp) - low
    begin = np.minimum(notes.start / per_pixel, width - 1).astype(np.int64)
    begun = int(np.searchsorted(begin, tile.stop))
    notes, table, row, begin = notes[:begun], table[:begun], row[:begun], begin[:begun]
    if not begun:
        return cells
    end = np.maximum(np.ceil((notes.start + notes.sustain) / per_pixel), begin + 1).astype(np.int64)
    tail = np.maximum((notes.start + notes.sustain + notes.tails) / per_pixel, end).astype(np.int64)
    number = np.arange(len(notes))

    # For every pixel: the note that began last, and among all that have begun the one that ends last.
    place = row, np.maximum(begin - tile.start, 0)
    latest = np.full(cells.shape, -1)
    np.maximum.at(latest, place, number)
    np.maximum.accumulate(latest, axis=1, out=latest)
    longest = np.full(cells.shape, -1)
    np.maximum.at(longest, place, tail * len(notes) + number)
    np.maximum.accumulate(longest, axis=1, out=longest)
    y, column = np.nonzero(latest >= 0)
    x, note = column + tile.start, latest[y, column]
    note = np.where(x < end[note], note, longest[y, column] % len(notes))
    heard = x < tail[note]
    y, column, x, note = y[heard], column[heard], x[heard], note[heard]
    onset = (x == begin[note]) & (end[note] - begin[note] > 2)
    cells[y, column] = table[note, np.where(x >= end[note], _RELEASED, onset)]
    return cells


def _colours(notes: PlannedNotes, instruments: Sequence[str], by: ColourBy) -> NDArray[Any]:
    """Computes the RGB colour of each note at its brightest, float [notes, 3]."""
    if by == "velocity":
        import matplotlib

        found: NDArray[Any] = matplotlib.colormaps["viridis"](_SOFTEST + (1 - _SOFTEST) * notes.velocity / 127)
        return found[:, :3] * 255
    if by == "track":
        _, first, which = np.unique(notes.track, return_index=True, return_inverse=True)
        number = np.argsort(np.argsort(first))[which]
        return palette()[number % (2 * len(COLOURS))].astype(np.float32)
    table = palette()[colour_numbers(instruments)].astype(np.float32)
    slide = notes.fraction[:, None]
    return table[notes.left] * (1 - slide) + table[notes.right] * slide


def _shades(full: NDArray[Any], velocity: NDArray[np.uint8], brightness: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Computes the RGB colours of notes while held, at their onsets and in their releases, uint8 [rows, 3, 3].

    Args:
        full: colours at their brightest, float [rows, 3].
        velocity: uint8 [rows].
        brightness: of the channel, float32 [rows], 0..1.
    """
    ground = np.array(axes.GROUND, np.float32)
    strength = ((_FAINTEST + (1 - _FAINTEST) * velocity / np.float32(127)) * brightness)[:, None]
    held = ground + (full - ground) * strength
    colours = np.empty((len(full), 3, 3), np.uint8)
    colours[:, 0] = np.rint(held)
    colours[:, 1] = np.rint(held + (255 - held) * (_ONSET * brightness[:, None]))
    colours[:, _RELEASED] = np.rint(ground + (held - ground) * _TAIL)
    return colours


def _fit_palette(colours: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Rounds colours as little as a palette requires; returns the palette, and each colour's index in it."""
    for step in (1, 4, 8, 16, 32, 64):  # the last leaves 64 colours
        red, green, blue = ((colours[..., i] // step * step + step // 2).astype(np.int32) for i in range(3))
        packed = red << 16 | green << 8 | blue
        found, index = np.unique(packed, return_inverse=True)
        if len(found) <= _GROUND:
            break
    rgb = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8)
    return rgb, index.reshape(packed.shape).astype(np.uint8)
