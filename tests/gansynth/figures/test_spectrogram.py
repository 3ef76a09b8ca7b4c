"""The constant-Q transform compared with librosa's, and pictures with any title and length of clip."""

import io
import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gansynth.figures import axes
from gansynth.figures.spectrogram import SpectrogramStyle, cqt, full_style, write_png

RATE = 16000
STYLE = SpectrogramStyle()
FULL = full_style(axes.Grid.of(20 * RATE, RATE))
both_ranges = pytest.mark.parametrize("style", [STYLE, FULL], ids=["reference", "full"])


def hertz(pitch: float) -> float:
    return 440.0 * 2 ** ((pitch - 69) / 12)


def sine(pitch: float, seconds: float) -> np.ndarray:
    times = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * hertz(pitch) * times)).astype(np.float32)


def music(seconds: float, seed: int = 0) -> np.ndarray:
    """Makes decaying notes with overtones and a noisy attack, several at once, between pauses."""
    random = np.random.default_rng(seed)
    clip = np.zeros(int(seconds * RATE))
    for start in np.arange(0.2, seconds - 0.1, 0.3):
        if random.random() < 0.2:
            continue
        for pitch in random.integers(36, 85, random.integers(1, 4)):
            begin = int(start * RATE)
            times = np.arange(min(int(random.uniform(0.1, 2) * RATE), len(clip) - begin)) / RATE
            tone = sum(np.sin(2 * np.pi * hertz(pitch) * k * times + k) / k**1.5 for k in range(1, 7))
            noise = random.standard_normal(len(times)) * np.exp(-times * 60)
            note = (tone + 0.3 * noise) * np.exp(-times * 3) * random.uniform(0.1, 1)
            clip[begin : begin + len(times)] += note
    return (clip / np.abs(clip).max() / 2).astype(np.float32)


def decoded(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    image.load()
    assert image.format == "PNG"
    assert image.info == {}
    return np.asarray(image.convert("RGB"))


def chunk_names(png: bytes) -> set[bytes]:
    names, position = set(), 8
    while position < len(png):
        names.add(png[position + 4 : position + 8])
        position += 12 + int.from_bytes(png[position : position + 4], "big")
    return names


@pytest.mark.parametrize(
    ("style", "pitch"),
    [
        *((STYLE, pitch) for pitch in (36, 45, 60, 69, 84, 95)),
        *((FULL, pitch) for pitch in (24, 25, 36, 45, 59, 60, 69, 84, 95, 96, 108, 118)),
    ],
)
def test_sine_peaks_in_its_row(style: SpectrogramStyle, pitch: int) -> None:
    levels = cqt(sine(pitch, 4), RATE, style)
    assert levels.shape == (style.bins, 1 + 4 * RATE // STYLE.hop)
    assert levels.dtype == np.float32
    middle, row = levels[:, 12:-12], 3 * (pitch - style.min_pitch)
    assert (middle.argmax(axis=0) == row).all()
    # The maximum of the clip may be the click at either end.
    assert middle[row].min() > -0.5
    far = np.abs(np.arange(style.bins) - row) > 12
    assert middle[far].max() < -55


def test_column_is_centred_on_its_sample() -> None:
    clip = np.zeros(20 * STYLE.hop, np.float32)
    clip[7 * STYLE.hop] = 1
    levels = cqt(clip, RATE)
    assert (levels.argmax(axis=1) == 7).all()
    np.testing.assert_allclose(np.maximum(levels[:, 6], -40), np.maximum(levels[:, 8], -40), atol=0.5)


@pytest.mark.parametrize(
    ("rate", "style", "tolerance"),
    [
        (16000, STYLE, 0.5),
        # librosa's halvings of the sample rate cost it more with the shorter filters of fewer bins.
        (16000, SpectrogramStyle(hop=512, bins_per_octave=24, min_pitch=40, max_pitch=76), 1),
        (22050, SpectrogramStyle(hop=1024, bins_per_octave=12, min_pitch=24, max_pitch=84), 1.5),
    ],
)
def test_agrees_with_librosa(rate: int, style: SpectrogramStyle, tolerance: float) -> None:
    import librosa

    clip = music(20)
    reference = librosa.cqt(
        clip,
        sr=rate,
        hop_length=style.hop,
        fmin=librosa.midi_to_hz(style.min_pitch),
        n_bins=style.bins,
        bins_per_octave=style.bins_per_octave,
        sparsity=0.0,
    )
    expected = librosa.amplitude_to_db(np.abs(reference), ref=np.max, amin=1e-9, top_db=None)
    levels = cqt(clip, rate, style)
    assert levels.shape == expected.shape
    difference = np.abs(levels - expected)
    heard = expected > -60
    assert heard.mean() > 0.3
    assert np.percentile(difference[heard], 99) < tolerance
    assert difference[expected > -40].max() < 3 * tolerance


@both_ranges
def test_agrees_with_the_definition(style: SpectrogramStyle) -> None:
    """The result equals the sums of sample times window times wave; librosa's error exceeds the tolerance used here."""
    clip = music(20)
    ratio = 2 ** (2 / 36)
    exact = np.empty((style.bins, 1 + len(clip) // STYLE.hop))
    for row in range(style.bins):
        frequency = hertz(style.min_pitch + row / 3)
        length = (ratio + 1) / (ratio - 1) * RATE / frequency
        times = np.arange(-length // 2, length // 2)
        window = np.hanning(len(times) + 1)[:-1]
        atom = np.sqrt(length) / window.sum() * window * np.exp(-2j * np.pi * frequency / RATE * times)
        before = len(times) // 2
        padded = np.pad(clip.astype(np.float64), (before, len(times)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(times))[:: STYLE.hop]
        exact[row] = np.abs(windows[: exact.shape[1]] @ atom)
    expected = 20 * np.log10(exact / exact.max() + 1e-9)
    levels = cqt(clip, RATE, style)
    difference = np.abs(levels - expected)
    assert np.percentile(difference[expected > -60], 99) < 0.3
    assert difference[expected > -40].max() < (0.3 if style is STYLE else 0.4)
    assert levels[expected < -66].max() < -55


def test_levels_are_relative_to_the_loudest_cell() -> None:
    clip = music(5)
    levels = cqt(clip, RATE)
    assert levels.max() == 0
    assert levels.min() >= -STYLE.top_db
    for gain in (1e-30, 1e-6, 1e6, 1e30):
        np.testing.assert_allclose(cqt(clip * np.float32(gain), RATE), levels, atol=0.01)


def test_top_db_is_the_floor() -> None:
    clip = music(5)
    wide, narrow = (cqt(clip, RATE, SpectrogramStyle(top_db=top)) for top in (100, 30))
    assert narrow.min() == -30
    np.testing.assert_allclose(np.maximum(wide, -30), narrow, atol=1e-4)


@pytest.mark.parametrize("samples", [0, 1, 100, 2047, 2048, 16000])
def test_silence_and_short_clips(samples: int) -> None:
    silent = cqt(np.zeros(samples, np.float32), RATE)
    assert silent.shape == (STYLE.bins, 1 + samples // STYLE.hop)
    assert (silent == -STYLE.top_db).all()
    levels = cqt(np.full(samples, 0.5, np.float32), RATE)
    assert np.isfinite(levels).all()
    assert decoded(write_png(levels, RATE, "short")).shape == (450, 1200, 3)


def test_zeros_after_the_clip_change_nothing_before() -> None:
    clip = music(6)
    longer = np.concatenate([clip, np.zeros(RATE, np.float32)])
    levels = cqt(clip, RATE)
    np.testing.assert_allclose(cqt(longer, RATE)[:, : levels.shape[1]], levels, atol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(bad: float) -> None:
    clip = sine(60, 1)
    clip[5000] = bad
    with pytest.raises(ValueError, match="not finite"):
        cqt(clip, RATE)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="mono"):
        cqt(np.zeros((2, 100), np.float32), RATE)
    with pytest.raises(ValueError, match="4000 Hz"):
        cqt(np.zeros(100, np.float32), 4000)
    with pytest.raises(ValueError, match=r"\[180, frames\]"):
        write_png(np.zeros((180, 0), np.float32), RATE)
    with pytest.raises(ValueError, match=r"\[180, frames\]"):
        write_png(np.zeros((144, 10), np.float32), RATE)


@pytest.mark.parametrize(
    "values",
    [
        {"hop": 0},
        {"bins_per_octave": 0},
        {"min_pitch": -1},
        {"min_pitch": 85},
        {"max_pitch": 128},
        {"top_db": 0},
        {"width": 100},
        {"height": 100},
    ],
)
def test_style_is_checked(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|at least"):
        SpectrogramStyle(**values)


def test_memory_does_not_grow_with_the_clip() -> None:
    clip = np.resize(music(10), 300 * RATE)
    cqt(clip[:RATE], RATE)
    tracemalloc.start()
    levels = cqt(clip, RATE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * levels.nbytes + 2**23


def test_picture_shows_where_the_sound_is() -> None:
    clip = np.concatenate([np.zeros(2 * RATE, np.float32), sine(60, 2)])
    picture = decoded(write_png(cqt(clip, RATE), RATE, "a sine")).sum(axis=2).astype(int)
    plot = picture[50:410, 56:1128]
    silent, sounding = plot[:, 100:400], plot[:, 700:1000]
    assert silent.max() < 120
    # Rows of C4 are 2 pixels high and 2 * 72 above the bottom.
    assert abs(int(sounding.mean(axis=1).argmax()) - (360 - 2 * 72 - 1)) <= 1
    assert sounding.max() > 600


def test_short_note_stays_visible_in_a_long_clip() -> None:
    levels = np.full((STYLE.bins, 9376), -STYLE.top_db, np.float32)
    levels[90:96, 5000] = 0
    picture = decoded(write_png(levels, RATE)).sum(axis=2).astype(int)
    assert picture[50:410, 56:1128].max() > 500


def test_same_input_same_bytes_and_nothing_but_pixels() -> None:
    clip = music(4)
    first, second = (write_png(cqt(clip, RATE), RATE, "a/b.mid") for _ in range(2))
    assert first == second
    assert first != write_png(cqt(clip, RATE), RATE, "a/c.mid")
    assert chunk_names(first) == {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


@pytest.mark.parametrize(
    "title",
    [
        "",
        "$\\frac",
        "$x$ \\alpha {",
        "\x00\x01\x1b[31m\x7f",
        "line\nbreak\ttab\u2028separator",
        "🎵🎹👩‍👩‍👧",
        "أغنية جميلة",
        "\u202eright to left override",
        "日本語の歌",
        "\udcff\ud800 surrogates",
        "Z\u0351\u0352\u0353algo" * 20,
        "W" * 5000,
        "i" * 5000,
        "\u0301" * 5000,
        "folder/" * 700 + "song.mid",
    ],
)
def test_hostile_titles(title: str) -> None:
    levels = np.full((STYLE.bins, 20), -STYLE.top_db, np.float32)
    picture = decoded(write_png(levels, RATE, title))
    untitled = decoded(write_png(levels, RATE))
    assert picture.shape == (450, 1200, 3)
    # The title keeps to the width of the plot, here with a pixel of a glyph's overhang.
    np.testing.assert_array_equal(picture[:, 1130:], untitled[:, 1130:])


@settings(max_examples=30, deadline=None)
@given(title=st.text(), frames=st.integers(1, 3000))
def test_any_title_and_length(title: str, frames: int) -> None:
    levels = np.full((STYLE.bins, frames), -STYLE.top_db, np.float32)
    assert decoded(write_png(levels, RATE, title)).shape == (450, 1200, 3)


@pytest.mark.parametrize("frames", [1, 8, 79, 1407, 9376, 100_000])
def test_picture_is_bounded_whatever_the_length(frames: int) -> None:
    levels = np.random.default_rng(0).uniform(-60, 0, (STYLE.bins, frames)).astype(np.float32)
    png = write_png(levels, RATE, "noise")
    assert decoded(png).shape == (450, 1200, 3)
    assert len(png) < 400_000


@pytest.mark.parametrize(
    "style",
    [
        SpectrogramStyle(min_pitch=25, max_pitch=70, top_db=90, colormap="viridis", width=640, height=400),
        SpectrogramStyle(width=240, height=160),
        SpectrogramStyle(min_pitch=84, max_pitch=84, bins_per_octave=12, width=2400, height=1600),
    ],
)
def test_other_styles_draw(style: SpectrogramStyle) -> None:
    levels = cqt(sine(84, 2), RATE, style)
    assert decoded(write_png(levels, RATE, "a title", style)).shape == (style.height, style.width, 3)


def test_the_full_range_goes_from_c1_to_half_the_sample_rate() -> None:
    assert FULL.min_pitch == 24
    highest = hertz(24 + (FULL.bins - 1) / 3)
    assert 0.95 * RATE / 2 < highest < RATE / 2
    with pytest.raises(ValueError, match="needs a sample rate above"):
        cqt(sine(60, 1), RATE, SpectrogramStyle(min_pitch=24, rows=FULL.bins + 1))
    grid = axes.Grid.of(10 * 44100, 44100)
    assert cqt(np.zeros(44100, np.float32), 44100, full_style(grid)).shape[0] == grid.rows > FULL.bins


WIDTHS = {0: (1072, 1), 5: (1072, 1), 60: (2399, 1), 400: (16003, 1), 409: (16361, 1), 410: (16402, 2)}


@pytest.mark.parametrize("seconds", [*WIDTHS, 36000])
def test_pictures_are_as_wide_as_songs_are_long(seconds: int) -> None:
    width, count = WIDTHS.get(seconds, (1440003, 88))
    grid = axes.Grid.of(seconds * RATE, RATE)
    assert grid.width == width >= 40 * axes.seconds_across(seconds * RATE, RATE)
    tiles = grid.tiles()
    assert [place for tile in tiles for place in (tile.start, tile.stop)][1:-1] == [
        place for tile in tiles[1:] for place in (tile.start, tile.start)
    ]
    assert (tiles[0].start, tiles[-1].stop, len(tiles)) == (0, width, count)
    assert max(map(len, tiles)) <= axes.MAX_PLOT_WIDTH
    assert max(map(len, tiles)) - min(map(len, tiles)) <= 1
    if seconds < 100:
        picture = decoded(
            write_png(cqt(np.zeros(seconds * RATE, np.float32), RATE, full_style(grid)), RATE, "", full_style(grid))
        )
        assert picture.shape == (axes.TOP + grid.rows + axes.BOTTOM, axes.LEFT + width + axes.RIGHT, 3)


def test_tiles_are_parts_of_the_whole_picture() -> None:
    samples = 500 * RATE
    grid = axes.Grid.of(samples, RATE)
    style = full_style(grid)
    levels = np.random.default_rng(0).uniform(-60, 0, (style.bins, 1 + samples // style.hop)).astype(np.float32)
    levels[:, 1000:1200] = -60
    whole = decoded(write_png(levels, RATE, "", style))
    plot = (slice(axes.TOP, -axes.BOTTOM), slice(axes.LEFT, -axes.RIGHT))
    tracemalloc.start()
    tiles = [write_png(levels, RATE, f"long ({n} of 2)", style, tile) for n, tile in enumerate(grid.tiles(), 1)]
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    for tile, png in zip(grid.tiles(), tiles, strict=True):
        picture = decoded(png)
        assert picture.shape == (style.height, axes.LEFT + len(tile) + axes.RIGHT, 3)
        np.testing.assert_array_equal(picture[plot], whole[plot][:, tile.start : tile.stop])
    labels = decoded(tiles[1])[-axes.BOTTOM :, axes.LEFT : -axes.RIGHT]
    inside = slice(100, len(grid.tiles()[1]) - 100)  # labels at the edges are whole in both
    expected = whole[-axes.BOTTOM :, axes.LEFT : -axes.RIGHT][:, grid.tiles()[1].start :]
    np.testing.assert_array_equal(labels[:, inside], expected[:, inside])


def test_import_is_light() -> None:
    heavy = {"librosa", "matplotlib", "numba", "PIL", "scipy", "tensorflow", "apache_beam"}
    code = "import sys, gansynth.figures.spectrogram; print(*{name.split('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert heavy.isdisjoint(result.stdout.split())
