"""Common layout of the pictures of a song: axes, font and background, so that one playhead fits all of them.

The plot of a picture begins `LEFT` pixels in, where time is 0, and ends `RIGHT` pixels before the edge, at
`seconds_across`. In the range `reference` pictures are `WIDTH` pixels across and each has a pitch axis of its own; in
the range `full` both share the axes of a `Grid`. Pillow and matplotlib (for its font) are imported on first use.
"""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

WIDTH = 1200
LEFT, RIGHT, TOP, BOTTOM = 56, 72, 50, 40
HOP = 2048
"""Samples between two columns of a spectrogram; the time axis ends half a column after the last one."""
GROUND, INK = (16, 14, 24), (240, 238, 245)

LOWEST = 24
"""MIDI number of the lowest pitch of a grid, C1."""
ROWS_PER_SEMITONE = 3
PIXELS_PER_SECOND = 40
MAX_PLOT_WIDTH = 16_384
"""Pixels across the widest plot of one picture; songs longer than 409 s have several. Browsers stop at 32,767."""

_Ink = int | tuple[int, int, int]

_MIN_TICK_SPACING = 80
_TICK_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)


@dataclass(frozen=True)
class Grid:
    """The axes that the spectrogram and the piano roll of a song share in the range `full`.

    Attributes:
        width: pixels across the plot, which takes several pictures if it is wider than MAX_PLOT_WIDTH.
        rows: rows of the spectrogram and pixels down its plot, ROWS_PER_SEMITONE per semitone; the centre of row 0 is
            the pitch LOWEST.
    """

    width: int
    rows: int

    @classmethod
    def of(cls, samples: int, sample_rate: int) -> Grid:
        """Returns the axes of a clip: time at PIXELS_PER_SECOND or more, pitch from C1 to half the sample rate.

        Args:
            samples: length of the clip.
            sample_rate: in Hz.
        """
        width = max(math.ceil(seconds_across(samples, sample_rate) * PIXELS_PER_SECOND), WIDTH - LEFT - RIGHT)
        # The highest filter must end below half the sample rate: it reaches up by one part in Q, its quality.
        ratio = 2 ** (2 / (12 * ROWS_PER_SEMITONE))
        highest = sample_rate / 2 / (1 + (ratio - 1) / (ratio + 1))
        lowest = 440 * 2 ** ((LOWEST - 69) / 12)
        return cls(width, math.floor(12 * ROWS_PER_SEMITONE * math.log2(highest / lowest)) + 1)

    def tiles(self) -> list[range]:
        """Lists the pixels across the plot that each picture of a song shows: all of them in one, or in few alike."""
        count = -(-self.width // MAX_PLOT_WIDTH)
        return [range(*edges) for edges in pairwise(self.width * n // count for n in range(count + 1))]


def pictures(title: str, grid: Grid | None) -> list[tuple[str, range | None]]:
    """Lists the title of each picture of a song, and the pixels across the plot that it shows; None for all."""
    tiles = [] if grid is None else grid.tiles()
    if len(tiles) < 2:
        return [(title, None)]
    return [(f"{title} ({number} of {len(tiles)})", tile) for number, tile in enumerate(tiles, 1)]


def seconds_across(samples: int, sample_rate: int, hop: int = HOP) -> float:
    """Returns the time in seconds at the right edge of a clip's plot, half a column after the last one's centre."""
    return (samples // hop + 0.5) * hop / sample_rate


def draw_title(draw: ImageDraw.ImageDraw, title: str, width: int, ink: _Ink) -> None:
    """Draws a title over a plot that is `width` pixels wide; a long title is shortened in the middle."""
    title_font = font(20)
    draw.text((LEFT, TOP - 18), _fit(title, title_font, width), ink, title_font, "ls")


def draw_pitch(draw: ImageDraw.ImageDraw, pitch: int, y: int, ink: _Ink, label: ImageFont.FreeTypeFont) -> None:
    """Draws the name of the C with MIDI number `pitch` beside row `y` of the picture."""
    draw.line((LEFT - 6, y, LEFT - 1, y), ink)
    draw.text((LEFT - 11, y), f"C{pitch // 12 - 1}", ink, label, "rm")


def draw_time(
    draw: ImageDraw.ImageDraw,
    seconds: float,
    width: int,
    bottom: int,
    ink: _Ink,
    label: ImageFont.FreeTypeFont,
    tile: range | None = None,
) -> None:
    """Draws the time axis below a plot: `seconds` over `width` pixels, of which a picture shows those of a tile."""
    tile = range(width) if tile is None else tile
    step = _tick_step(seconds, width)
    for tick in range(int(seconds / step) + 1):
        place = round(tick * step / seconds * (width - 1))
        if place not in tile:
            continue
        x = LEFT + place - tile.start
        draw.line((x, bottom, x, bottom + 5), ink)
        draw.text((x, bottom + 24), clock(tick * step, step), ink, label, "ms")


def font(size: int) -> ImageFont.FreeTypeFont:
    """Loads DejaVu Sans as shipped with matplotlib, the same on every machine; not to be shared between threads."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _fit(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Shortens text to one printable line of at most `width` pixels, keeping its beginning and end."""
    printable = (c for c in text if c.isspace() or not unicodedata.category(c).startswith("C"))
    line = " ".join("".join(printable).split())
    if len(line) <= width and font.getlength(line) <= width:
        return line

    def shortened(kept: int) -> str:
        return line[: (kept + 1) // 2] + "…" + line[len(line) - kept // 2 :]

    # A visible character is wider than a pixel, so the search need not go beyond `width` characters.
    counts = range(min(len(line), width))
    fitting = bisect_right(counts, width, key=lambda kept: math.ceil(font.getlength(shortened(kept))))
    return shortened(max(0, fitting - 1))


def _tick_step(seconds: float, width: int) -> float:
    """Returns the seconds between two labels of the time axis."""
    least = seconds * _MIN_TICK_SPACING / width
    return next((step for step in _TICK_STEPS if step >= least), 3600 * math.ceil(least / 3600))


def clock(seconds: float, step: float = 1) -> str:
    """Formats seconds as m:ss, or h:mm:ss from an hour on, with tenths if `step` is below a second."""
    whole, tenth = divmod(round(seconds * 10), 10)
    minutes, second = divmod(whole, 60)
    text = f"{minutes}:{second:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"
    return f"{text}.{tenth}" if step < 1 else text
