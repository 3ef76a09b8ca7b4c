"""The piano roll of a song: its notes as they were played, in colours by instrument."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gansynth import axes
from gansynth.played import PlayedNotes

HEIGHT = 290
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
"""Okabe and Ito's colours, told apart with any kind of colour vision; grey stands for their black."""
_TINT = 0.55
"""Instruments 9 to 16 have the same colours with this much white; from the 17th on they begin again."""
_FAINTEST = 0.45
_ONSET = 0.5
_TAIL = 0.35
_OCTAVE_LINE = (31, 28, 42)
_LABEL = (161, 159, 168)
_LEAST_OCTAVES = 2


def colour_numbers(instruments: Sequence[str]) -> list[int]:
    """For each instrument the number of its colour, 0..15: the same name, the same colour."""
    seen: dict[str, int] = {}
    return [seen.setdefault(name, len(seen)) % (2 * len(COLOURS)) for name in instruments]


def palette() -> NDArray[np.uint8]:
    """The sixteen colours, uint8 [16, 3]."""
    plain = np.array(COLOURS, np.float64)
    return np.rint(np.concatenate([plain, plain + (255 - plain) * _TINT])).astype(np.uint8)


def write_png(
    notes: PlayedNotes,
    instruments: Sequence[str],
    samples: int,
    sample_rate: int,
    title: str = "",
    height: int = HEIGHT,
) -> bytes:
    """Draws a piano roll on the time axis of the same song's spectrogram.

    A note is as long as it is heard, its release fainter; its first pixel is bright, and soft notes are darker.
    Sliding instruments mix their colours. Where notes of one pitch overlap, the latest is in front, but for its
    release. Time and memory are bounded by the picture's size and do not grow with what overlaps.

    Args:
        notes: sorted by start; may be empty.
        instruments: names that the notes' `left` and `right` number.
        samples: length of the clip.
        sample_rate: in Hz.
        title: any text, see spectrogram.write_png.
        height: pixels, at least 160.

    Returns:
        A PNG file of axes.WIDTH x `height` pixels: the same bytes for the same input.
    """
    from PIL import Image, ImageDraw

    width, plot_height = axes.WIDTH - axes.LEFT - axes.RIGHT, height - axes.TOP - axes.BOTTOM
    seconds = axes.seconds_across(samples, sample_rate)
    low, rows = _rows(notes)
    cells = _cells(notes, instruments, low, rows, width, seconds * sample_rate)
    lines = [row for row in range(rows) if (low + row) % 12 == 0]
    lit = cells[lines]
    lit[(lit == axes.GROUND).all(axis=-1)] = _OCTAVE_LINE
    cells[lines] = lit
    row_of = (rows - 1 - np.arange(plot_height) * rows // plot_height).astype(np.intp)
    canvas = Image.new("RGB", (axes.WIDTH, height), axes.GROUND)
    canvas.paste(Image.fromarray(cells[row_of]), (axes.LEFT, axes.TOP))
    draw = ImageDraw.Draw(canvas)
    label = axes.font(13)
    axes.draw_title(draw, title, width, axes.INK)
    for row in lines:
        y = axes.TOP + int(np.flatnonzero(row_of == row).mean())
        axes.draw_pitch(draw, low + row, y, _LABEL, label)
    axes.draw_time(draw, seconds, width, axes.TOP + plot_height, _LABEL, label)
    file = io.BytesIO()
    canvas.save(file, "PNG", compress_level=4)  # a third of the time of 6, and hardly larger
    return file.getvalue()


def _rows(notes: PlayedNotes) -> tuple[int, int]:
    """Lowest pitch and number of rows: whole octaves from C to C that hold all notes, at least two."""
    low, high = (int(notes.pitch.min()), int(notes.pitch.max())) if len(notes) else (60, 60)
    first, last = low // 12 * 12, -(-high // 12) * 12
    return first, max(last - first, _LEAST_OCTAVES * 12) + 1


def _cells(
    notes: PlayedNotes, instruments: Sequence[str], low: int, rows: int, width: int, samples: float
) -> NDArray[np.uint8]:
    """One colour for each pitch and pixel of time, uint8 [rows, width, 3]; row 0 is the lowest."""
    cells = np.full((rows, width, 3), axes.GROUND, np.uint8)
    if not len(notes):
        return cells
    row = notes.pitch.astype(np.intp) - low
    per_pixel = samples / width
    begin = np.minimum(notes.start / per_pixel, width - 1).astype(np.int64)
    end = np.maximum(np.ceil((notes.start + notes.sustain) / per_pixel), begin + 1).astype(np.int64)
    tail = np.maximum((notes.start + notes.sustain + notes.release) / per_pixel, end).astype(np.int64)
    number = np.arange(len(notes))

    # For every pixel: the note that began last, and the one of all that have begun that is heard for longest.
    latest = np.full((rows, width), -1)
    np.maximum.at(latest, (row, begin), number)
    latest = np.maximum.accumulate(latest, axis=1)
    longest = np.full((rows, width), -1)
    np.maximum.at(longest, (row, begin), tail * len(notes) + number)
    longest = np.maximum.accumulate(longest, axis=1)
    longest = np.where(longest < 0, -1, longest % len(notes))
    x = np.arange(width)
    owner = np.where((latest >= 0) & (x < end[latest]), latest, longest)
    y, x = np.nonzero((owner >= 0) & (x < tail[owner]))
    note = owner[y, x]

    table = palette()[colour_numbers(instruments)].astype(np.float64)
    slide = notes.fraction[note, None]
    colour = table[notes.left[note]] * (1 - slide) + table[notes.right[note]] * slide
    strength = _FAINTEST + (1 - _FAINTEST) * notes.velocity[note] / 127.0
    strength *= np.where(x < end[note], 1.0, _TAIL)
    ground = np.array(axes.GROUND, np.float64)
    colour = ground + (colour - ground) * strength[:, None]
    onset = (x == begin[note]) & (end[note] - begin[note] > 2)
    colour[onset] += (255 - colour[onset]) * _ONSET
    cells[y, x] = np.rint(colour)
    return cells
