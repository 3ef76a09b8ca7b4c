"""Constant-Q spectrogram of a rendered song, with three rows per semitone.

`full_style` is the range `full`, from C1 to half the sample rate on the axes of the song's piano roll; the default
style is the range `reference`.

Analysis and colours are those of the plot in Magenta's public GANSynth notebook: librosa's `cqt` with a hop
of 2048 samples and 36 bins per octave, in magma. Levels are relative to the clip's maximum, where the
notebook's are absolute, and no column is cut off at the ends. The transform is computed here, with Brown and
Puckette's sparse kernel, because librosa takes seconds to import; the picture is drawn with Pillow, because a
matplotlib figure takes ten times as long. Heavy modules are imported on first use.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gansynth.figures import axes

if TYPE_CHECKING:
    from scipy import sparse

# A batch of windows fits the processor's cache, and bounds memory for clips of any length.
_BATCH_FRAMES = 16
# Kernel values below this fraction of a filter's largest are side lobes that are not visible in the picture.
_KERNEL_FLOOR = 3e-4
# Lower where rows are grouped, which makes up for the error of the lower rates.
_GROUP_FLOOR = 2.5e-4
# Part of the band of a lower sample rate in which the filter before it leaves levels as they are.
_DECIMATED_BAND = 0.4

# A picture is one byte per pixel: levels from black up, then inks from the background's colour to the text's.
_LEVELS, _INKS = 192, 64
_FULL_LEVELS = 64
"""Shades in the range `full`: steps of 1 dB, which no one sees, in a third less bytes."""
_BACKGROUND, _LABEL, _TITLE = _LEVELS, _LEVELS + 42, _LEVELS + _INKS - 1
_GRID_LIFT = 14
_BESIDE = 2
"""Columns beside a tile that the interpolation reads."""


@dataclass(frozen=True)
class SpectrogramStyle:
    """Range, resolution and size of a spectrogram; by default with the notebook's hop, rows and colours.

    Attributes:
        hop: Samples between two columns.
        bins_per_octave: Rows per octave; 36 are three per semitone.
        min_pitch: MIDI number of the lowest row, 0..127.
        max_pitch: MIDI number of the highest note, 0..127. As in the notebook one more octave is shown above
            it, for its overtones: rows go from `min_pitch` up to, not including, `max_pitch + 12`.
        top_db: Decibels below the clip's maximum at which the picture is black.
        colormap: Name of a matplotlib colour map.
        width: Pixels across the picture, at least 240.
        height: Pixels down the picture, at least 160.
        rows: Number of rows, from `min_pitch` up; None for those up to an octave above `max_pitch`.
        group: Rows that share a Fourier transform, whose length the lowest of them sets; None for all. Higher rows need
            shorter windows, so that groups save time.
        levels: Number of shades of the plot, 2 to 192; fewer make smaller files.

    Raises:
        ValueError: If a value is out of its range.
    """

    hop: int = axes.HOP
    bins_per_octave: int = 36
    min_pitch: int = 36
    max_pitch: int = 84
    top_db: float = 60.0
    colormap: str = "magma"
    width: int = axes.WIDTH
    height: int = 450
    rows: int | None = None
    group: int | None = None
    levels: int = _LEVELS

    def __post_init__(self) -> None:
        if self.hop < 1 or self.bins_per_octave < 1:
            raise ValueError(f"hop and bins_per_octave must be positive: {self.hop}, {self.bins_per_octave}")
        if not 0 <= self.min_pitch <= self.max_pitch <= 127:
            raise ValueError(f"pitches must be 0 <= min <= max <= 127: {self.min_pitch}, {self.max_pitch}")
        if not 0 < self.top_db <= 200:
            raise ValueError(f"top_db must be in (0, 200], got {self.top_db}")
        if self.width < 240 or self.height < 160:
            raise ValueError(f"a picture is at least 240 x 160 pixels, got {self.width} x {self.height}")

    @property
    def bins(self) -> int:
        """Returns the number of rows."""
        return self.rows or (self.max_pitch + 12 - self.min_pitch) * self.bins_per_octave // 12


def full_style(grid: axes.Grid) -> SpectrogramStyle:
    """Returns the style of the range `full`: C1 to half the sample rate, a pixel for each row, and a width by length.

    Args:
        grid: the axes, which the piano roll shares.
    """
    return SpectrogramStyle(
        min_pitch=axes.LOWEST,
        width=axes.LEFT + grid.width + axes.RIGHT,
        height=axes.TOP + grid.rows + axes.BOTTOM,
        rows=grid.rows,
        group=36 * axes.ROWS_PER_SEMITONE,
        levels=_FULL_LEVELS,
    )


_DEFAULT_STYLE = SpectrogramStyle()


def cqt(audio: npt.ArrayLike, sample_rate: int, style: SpectrogramStyle = _DEFAULT_STYLE) -> npt.NDArray[np.float32]:
    """Analyses a clip by pitch: the constant-Q magnitudes that `write_png` draws.

    Computes what `librosa.cqt` does (centred Hann windows of constant Q, zeros outside the clip, magnitudes
    scaled by the root of the window's length). On music and with the default style, 99 % of the cells within
    60 dB of the maximum are within 0.3 dB of the definition's sums, and within 0.5 dB of librosa's with
    `sparsity=0`. Memory beside the clip: a few megabytes and up to four times the result.

    Args:
        audio: Mono samples, float32 [samples], finite; may be empty.
        sample_rate: Samples per second.
        style: The hop, the range of pitches and the range of levels.

    Returns:
        Levels in dB, float32 [style.bins, 1 + samples // hop] in [-top_db, 0], 0 being the clip's maximum and
        row 0 the lowest pitch; column t is centred on sample t * hop. A silent clip is -top_db everywhere.

    Raises:
        ValueError: If `audio` is not one-dimensional or not finite, or if the pitches do not all lie under
            half the sample rate.

    Source: Brown and Puckette, "An efficient algorithm for the calculation of a constant Q transform", 1992; with
    groups, low rows are computed at a lower rate, as in Schörkhuber and Klapuri, "Constant-Q transform toolbox for
    music processing", 2010.
    """
    from scipy import fft

    samples = np.asarray(audio, np.float32)
    if samples.ndim != 1:
        raise ValueError(f"expected mono audio [samples], got shape {samples.shape}")
    frames = 1 + len(samples) // style.hop
    magnitudes = np.empty((style.bins, frames), np.float32)
    group = style.group or style.bins
    for row in range(0, style.bins, group):
        factor = 1 if style.group is None else _decimation(style, row, sample_rate)
        floor = _KERNEL_FLOOR if style.group is None else _GROUP_FLOOR
        kernel = _kernel(sample_rate // factor, style.bins_per_octave, style.min_pitch, style.bins, row, group, floor)
        size, hop, heard = 2 * (kernel.shape[1] - 1), style.hop // factor, _decimated(samples, factor)
        for first in range(0, frames, _BATCH_FRAMES):
            count = min(_BATCH_FRAMES, frames - first)
            start = first * hop - size // 2
            stretch = _zero_padded(heard, start, start + (count - 1) * hop + size)
            windows = np.lib.stride_tricks.sliding_window_view(stretch, size)[::hop]
            magnitudes[row : row + group, first : first + count] = np.abs(kernel @ fft.rfft(windows).T)
        # The root of the window's length, by which magnitudes are scaled, is that of the samples analysed.
        magnitudes[row : row + group] *= np.float32(math.sqrt(factor))
    peak = magnitudes.max()
    if not np.isfinite(peak):
        raise ValueError("audio has samples that are not finite")
    if peak == 0:
        return np.full(magnitudes.shape, -style.top_db, np.float32)
    magnitudes /= peak
    np.maximum(magnitudes, 10 ** (-style.top_db / 20), out=magnitudes)
    return np.maximum(20 * np.log10(magnitudes), np.float32(-style.top_db))


def write_png(
    levels: npt.NDArray[np.float32],
    sample_rate: int,
    title: str = "",
    style: SpectrogramStyle = _DEFAULT_STYLE,
    tile: range | None = None,
) -> bytes:
    """Draws a spectrogram, or a part of one, with its title, time in m:ss, note names and a scale of levels.

    The left edge is time 0, the centre of the first column. Where there are more columns than pixels, a pixel
    shows the loudest of its columns, so that short notes stay visible in a long clip.

    Args:
        levels: Result of `cqt`, float32 [style.bins, frames] in [-top_db, 0] dB, at least one frame.
        sample_rate: Samples per second of the analysed clip.
        title: Any text, such as the song's name. Control characters are left out, and a long title is shortened
            in the middle.
        style: The style that `cqt` was called with.
        tile: The pixels across the plot that the picture shows, see `axes.Grid.tiles`; None for all.

    Returns:
        A PNG file of `style.width` x `style.height` pixels, or with a plot as wide as the tile, without metadata: the
        same bytes for the same input.

    Raises:
        ValueError: If `levels` does not have `style.bins` rows or has no column.
    """
    from PIL import Image, ImageDraw

    if levels.ndim != 2 or levels.shape[0] != style.bins or levels.shape[1] < 1:
        raise ValueError(f"expected levels [{style.bins}, frames], got shape {levels.shape}")
    width, height = style.width - axes.LEFT - axes.RIGHT, style.height - axes.TOP - axes.BOTTOM
    tile = range(width) if tile is None else tile
    right, bottom = axes.LEFT + len(tile), axes.TOP + height
    canvas = Image.new("L", (right + axes.RIGHT, style.height), _BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    label = axes.font(13)
    axes.draw_title(draw, title, len(tile), _TITLE)

    per_column = -(-levels.shape[1] // width)
    # The plot begins in the middle of the first frame, where time is 0, and ends with the last frame.
    first, last = 0.5 / per_column, levels.shape[1] / per_column
    begin, end = (first + (last - first) * edge / width for edge in (tile.start, tile.stop))
    # Columns beside those of a tile count as in the whole plot.
    before, after = max(math.floor(begin) - _BESIDE, 0), math.ceil(end) + _BESIDE
    part = levels[:, before * per_column : after * per_column]
    loudest = np.maximum.reduceat(part, np.arange(0, part.shape[1], per_column), axis=1)
    shades = np.rint(np.clip(1 + loudest[::-1] / style.top_db, 0, 1) * (_LEVELS - 1)).astype(np.uint8)
    box = (begin - before, 0, min(end - before, shades.shape[1]), style.bins)
    plot = np.array(Image.fromarray(shades).resize((len(tile), height), Image.Resampling.BILINEAR, box))
    if style.levels < _LEVELS:
        step, shade = _LEVELS // style.levels, np.arange(_LEVELS)
        coarse = np.minimum(shade // step * step + step // 2 * (shade >= step), _LEVELS - 1).astype(np.uint8)
        plot = coarse[plot]
    highest = style.min_pitch + (style.bins - 1) * 12 / style.bins_per_octave
    for pitch in range(-(-style.min_pitch // 12) * 12, math.ceil(highest), 12):
        row = (pitch - style.min_pitch) * style.bins_per_octave / 12 + 0.5
        y = height - 1 - int(row * height / style.bins)
        plot[y] = np.minimum(plot[y] + _GRID_LIFT, _LEVELS - 1)
        axes.draw_pitch(draw, pitch, axes.TOP + y, _LABEL, label)
    canvas.paste(Image.fromarray(plot), (axes.LEFT, axes.TOP))

    axes.draw_time(draw, (levels.shape[1] - 0.5) * style.hop / sample_rate, width, bottom, _LABEL, label, tile)

    scale = np.repeat(np.linspace(_LEVELS - 1, 0, height).astype(np.uint8)[:, None], 10, axis=1)
    canvas.paste(Image.fromarray(scale), (right + 16, axes.TOP))
    for y, level, anchor in ((axes.TOP, 0.0, "lt"), (axes.TOP + height // 2, 0.5, "lm"), (bottom - 1, 1.0, "lb")):
        text = f"\N{MINUS SIGN}{level * style.top_db:.0f}" if level else "0 dB"
        draw.text((right + 32, y), text, _LABEL, label, anchor)

    canvas.putpalette(_palette(style.colormap))
    file = io.BytesIO()
    canvas.save(file, "PNG", compress_level=2)  # takes two thirds of the time of level 6, and is hardly larger
    return file.getvalue()


@lru_cache(maxsize=16)
def _kernel(
    sample_rate: int, bins_per_octave: int, min_pitch: int, bins: int, first: int, count: int, floor: float
) -> sparse.csr_array:
    """Builds `count` rows of the filter bank from row `first` on, at most up to row `bins`, without values below floor.

    Returns:
        A sparse matrix, complex64 [rows, size // 2 + 1], for an even FFT size.
    """
    from scipy import fft, sparse

    numbers = np.arange(bins)[first : first + count]
    frequencies = 440.0 * 2 ** ((min_pitch - 69) / 12 + numbers / bins_per_octave)
    ratio = 2 ** (2 / bins_per_octave)
    quality = (ratio + 1) / (ratio - 1)
    if frequencies[-1] * (1 + 1 / quality) > sample_rate / 2:
        raise ValueError(
            f"the highest pitch, {frequencies[-1]:.0f} Hz, needs a sample rate above {sample_rate} Hz; lower max_pitch"
        )
    lengths = quality * sample_rate / frequencies
    size = 2 * fft.next_fast_len(int(lengths[0] / 2) + 1, real=True)
    rows = []
    for frequency, length in zip(frequencies, lengths, strict=True):
        times = np.arange(-length // 2, length // 2)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(times)) / len(times))
        wave = np.exp(2j * np.pi * frequency / sample_rate * times)
        start = (size - len(times)) // 2
        atom = np.zeros(size, np.complex128)
        atom[start : start + len(times)] = np.sqrt(length) / window.sum() * window * wave
        # Parseval: the product with an atom in time is the product with its conjugate spectrum over size.
        row = fft.fft(atom)[: size // 2 + 1].conj() / size
        row[np.abs(row) < floor * np.abs(row).max()] = 0
        rows.append(sparse.csr_array(row.astype(np.complex64)[None]))
    return sparse.vstack(rows, "csr")


def _decimation(style: SpectrogramStyle, row: int, sample_rate: int) -> int:
    """Returns the factor by which the sample rate is lowered for a group: a power of two that divides rate and hop."""
    last = min(row + (style.group or style.bins), style.bins) - 1
    highest = 440.0 * 2 ** ((style.min_pitch - 69) / 12 + last / style.bins_per_octave)
    factor = 1
    while highest * 2 * factor / _DECIMATED_BAND < sample_rate / 2 and not (style.hop | sample_rate) % (2 * factor):
        factor *= 2
    return factor


def _decimated(samples: npt.NDArray[np.float32], factor: int) -> npt.NDArray[np.float32]:
    """Lowers the sample rate by a factor; sample k is at the time of sample k * factor."""
    if factor == 1:
        return samples
    import soxr  # importing scipy.signal takes a second

    return np.asarray(soxr.resample(samples, factor, 1), np.float32)


def _zero_padded(samples: npt.NDArray[np.float32], start: int, stop: int) -> npt.NDArray[np.float32]:
    """Returns samples[start:stop], with zeros outside the clip."""
    inside = samples[max(start, 0) : max(stop, 0)]
    before = min(max(-start, 0), stop - start)
    return np.pad(inside, (before, stop - start - before - len(inside)))


@lru_cache(maxsize=8)
def _palette(colormap: str) -> bytes:
    """Builds a palette of 256 RGB triples: the levels in the colours of a matplotlib colour map, then the inks."""
    import matplotlib

    colours = matplotlib.colormaps[colormap](np.linspace(0, 1, _LEVELS), bytes=True)[:, :3]
    inks = np.rint(np.linspace(axes.GROUND, axes.INK, _INKS)).astype(np.uint8)
    return np.concatenate([colours, inks]).tobytes()
