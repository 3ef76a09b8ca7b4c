"""Pictures of spectrograms, drawn with Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_COLOURS = np.array(
    [
        [0, 0, 4],
        [51, 16, 104],
        [120, 28, 109],
        [181, 54, 79],
        [237, 105, 37],
        [252, 165, 10],
        [252, 255, 164],
    ],
    float,
)


def colour(level: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Maps levels 0..1 to colours from black through red to yellow, uint8 [..., 3]."""
    place = np.clip(level, 0, 1) * (len(_COLOURS) - 1)
    channels = [np.interp(place, np.arange(len(_COLOURS)), _COLOURS[:, i]) for i in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def sheet(path: Path, rows: Sequence[Sequence[tuple[str, NDArray[np.floating]]]], low: float, high: float) -> None:
    """Writes a table of pictures with captions.

    Args:
        path: PNG to write.
        rows: of (caption, values [time, frequency]); frequency goes up, time to the right.
        low, high: values drawn black and brightest.
    """
    gap, line = 4, 12
    height = max(values.shape[1] for row in rows for _, values in row) + line + gap
    width = max(sum(values.shape[0] + gap for _, values in row) for row in rows)
    image = Image.new("RGB", (width, height * len(rows)), "white")
    draw = ImageDraw.Draw(image)
    for i, row in enumerate(rows):
        left = 0
        for caption, values in row:
            picture = Image.fromarray(colour((values.T[::-1] - low) / (high - low)))
            image.paste(picture, (left, i * height + line))
            draw.text((left, i * height), caption, fill="black")
            left += values.shape[0] + gap
    # 64 colours are enough for a heat map, and a third of the size.
    image.quantize(64).save(path, optimize=True)


def comparison(
    path: Path, names: Sequence[str], wanted: NDArray[np.floating], got: NDArray[np.floating], bins: int = 512
) -> None:
    """Draws target log powers above generated ones, [n, rows, BINS] each; the lowest `bins` bands are shown."""

    def stretch(values: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.repeat(values[:, :bins], max(1, 128 // len(values)), axis=0)

    rows = [[(name, stretch(one)) for name, one in zip(names, images, strict=True)] for images in (wanted, got)]
    sheet(path, rows, -13.0, 9.0)
