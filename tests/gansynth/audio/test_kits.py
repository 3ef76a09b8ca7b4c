"""Drum kits: all keys of the bundled kit, cuts within exclusive groups, and kits read from folders."""

from __future__ import annotations

import functools
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from gansynth.audio import kits
from gansynth.audio.kits import KEYS, PROGRAMS, Kit, fade_samples, hit_samples, load_kit
from gansynth.errors import ConfigError

RATE = 16000
BELL_TREE = 84


@functools.cache
def bundled() -> Kit:
    return load_kit("standard", RATE)


@pytest.fixture
def standard() -> Kit:
    return bundled()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sound file into the kit's folder."""

    def write(name: str, audio: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, audio, rate, subtype=subtype)
        return path

    return write


def click(samples: int = 800, level: float = 0.5) -> np.ndarray:
    return level * np.exp(-np.arange(samples) / 100)


def all_variants(kit: Kit) -> list[Kit]:
    return [kit.for_program(program) for program in PROGRAMS.values()]


# The bundled kit


def test_every_key_of_general_midi_is_heard_in_every_variant(standard: Kit) -> None:
    assert set(range(35, 82)) < set(KEYS)
    assert [variant.name for variant in all_variants(standard)] == list(PROGRAMS)
    for variant in all_variants(standard):
        assert variant.missing(KEYS) == ()
        peaks = {key: float(np.abs(variant.sounds[key]).max()) for key in KEYS}
        assert min(peaks.values()) > 0.03, variant.name
        assert max(peaks.values()) < 1.5, variant.name


def test_hits_begin_within_two_milliseconds_and_end_in_silence(standard: Kit) -> None:
    for variant in all_variants(standard):
        for key in KEYS:
            size = np.abs(variant.sounds[key])
            onset = np.argmax(size > 0.03 * size.max()) / RATE
            assert onset <= 0.002 or key == BELL_TREE, (variant.name, key, onset)
            assert size[0] < 0.01 * size.max(), (variant.name, key)
            assert size[-16:].max() < 1e-3 * size.max(), (variant.name, key)
            assert not variant.sounds[key].flags.writeable


def test_variants_differ_where_they_should(standard: Kit) -> None:
    """Compares variants: the TR-808's bass drum is not the acoustic one; the orchestra's timpani are a fourth apart."""
    drums = {variant.name: variant.sounds[36] for variant in all_variants(standard)}
    lengths = {name: sound[: len(drums["standard"])] for name, sound in drums.items()}
    for name in ("room", "power", "electronic", "tr808", "jazz", "orchestra"):
        other = lengths[name]
        same = lengths["standard"][: len(other)]
        assert abs(np.corrcoef(same, other)[0, 1]) < 0.9, name
    low, high = (np.abs(np.fft.rfft(standard.for_program(48).sounds[key], 1 << 17)) for key in (41, 46))
    shifts = np.arange(-600, 601)
    bins = np.geomspace(40, 400, 2000) * (1 << 17) / RATE

    def at(spectrum: np.ndarray, cents: int) -> np.ndarray:
        return np.interp(bins * 2 ** (cents / 1200), np.arange(len(spectrum)), spectrum)

    best = max(shifts.tolist(), key=lambda cents: float(np.corrcoef(at(low, 0), at(high, cents))[0, 1]))
    assert best == pytest.approx(500, abs=60)


@pytest.mark.parametrize(
    ("program", "name"),
    [(0, "standard"), (7, "standard"), (8, "room"), (23, "power"), (24, "electronic"), (25, "tr808"), (31, "tr808")]
    + [(32, "jazz"), (47, "brush"), (48, "orchestra"), (55, "orchestra"), (56, "standard"), (127, "standard")],
)
def test_the_program_chooses_the_variant(standard: Kit, program: int, name: str) -> None:
    assert standard.for_program(program).name == name


def test_it_is_small() -> None:
    files = [path for path in kits.BUNDLED["standard"].rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 4e6
    assert "Permission is hereby granted, free of charge" in (kits.BUNDLED["standard"] / "LICENSE").read_text()


def test_another_sample_rate_is_the_same_sound(standard: Kit) -> None:
    doubled = load_kit("standard", 2 * RATE)
    assert doubled.digest == standard.digest
    for key in (36, 38, 60):
        sound, other = standard.sounds[key], doubled.sounds[key]
        assert len(other) == 2 * len(sound)
        error = other[::2] - sound
        # What lies next to half the sample rate goes; a shift by half a sample would leave more than a tenth.
        assert np.sqrt((error**2).mean()) < 0.05 * np.sqrt((sound**2).mean())


# How long hits sound


def lengths(kit: Kit, hits: list[tuple[int, int, int, int]]) -> list[int]:
    columns = np.array(hits, np.int64).reshape(-1, 4).T
    return hit_samples(kit, *columns).tolist()


def expected(kit: Kit, hits: list[tuple[int, int, int, int]]) -> list[int]:
    """Computes the same hit by hit."""
    found = []
    for start, key, program, channel in hits:
        mine = kit.for_program(program)
        natural = len(mine.sounds.get(key, ()))
        later = [
            other
            for other, k, p, c in hits
            if other > start
            and c == channel
            and k in kit.for_program(p).sounds
            and key in mine.groups
            and kit.for_program(p).groups.get(k) == mine.groups[key]
        ]
        found.append(min([natural, *(other - start + fade_samples(RATE) for other in later)]))
    return found


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20000),
            st.sampled_from([20, 27, 29, 30, 36, 42, 44, 46, 71, 72, 78, 79, 81, 86, 87]),
            st.sampled_from([0, 8, 40, 48, 90]),
            st.sampled_from([9, 25]),
        ),
        max_size=30,
    )
)
def test_a_later_hit_of_the_group_cuts_the_earlier(hits: list[tuple[int, int, int, int]]) -> None:
    assert lengths(bundled(), hits) == expected(bundled(), hits)


@pytest.mark.parametrize(("first", "second"), [(46, 42), (46, 44), (72, 71), (74, 73), (79, 78), (81, 80), (87, 86)])
def test_groups_of_general_midi_2(standard: Kit, first: int, second: int) -> None:
    cut, whole = lengths(standard, [(0, first, 0, 9), (1000, second, 0, 9)])
    assert cut == 1000 + fade_samples(RATE)
    assert whole == len(standard.sounds[second])
    assert lengths(standard, [(0, 49, 0, 9), (1000, 57, 0, 9)])[0] == len(standard.sounds[49])


def test_timpani_of_the_orchestra_ring_on_and_its_hi_hats_do_not(standard: Kit) -> None:
    orchestra = standard.for_program(48)
    assert lengths(standard, [(0, 46, 48, 9), (1000, 42, 48, 9)])[0] == len(orchestra.sounds[46])
    assert lengths(standard, [(0, 29, 48, 9), (1000, 27, 48, 9)])[0] == 1000 + fade_samples(RATE)


def test_a_cut_hit_fades_and_a_whole_one_is_as_it_is(standard: Kit) -> None:
    sound, fade = standard.sounds[46], fade_samples(RATE)
    cut = standard.hit(46, 1000 + fade)
    np.testing.assert_array_equal(cut[:1000], sound[:1000])
    assert cut[-1] == 0.0
    assert np.all(np.abs(cut[1000:]) <= np.abs(sound[1000 : 1000 + fade]))
    assert len(cut) == 1000 + fade
    np.testing.assert_array_equal(standard.hit(46, len(sound)), sound)
    assert fade / RATE <= 0.01


def test_keys_that_a_kit_lacks_are_told(standard: Kit) -> None:
    assert standard.missing(np.array([36, 20, 100, 20])) == (20, 100)
    assert lengths(standard, [(0, 20, 0, 9)]) == [0]
    assert lengths(standard, []) == []


# A folder of one's own


def test_a_folder_of_ones_own(write: Callable[..., Path], tmp_path: Path) -> None:
    time = np.arange(4410) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time) * np.hanning(4410)
    write("36.wav", np.stack([tone, 0.5 * tone], axis=1), 44100, "FLOAT")
    write("038.flac", click())
    write("42.WAV", click())
    write("jazz/36.wav", click(400))
    write("._36.wav", click())
    (tmp_path / "README.txt").write_text("My kit.")
    kit = load_kit(str(tmp_path), RATE)
    assert sorted(kit.sounds) == [36, 38, 42]
    assert kit.name == str(tmp_path)
    times = np.arange(1600) / RATE
    wanted = 0.375 * np.sin(2 * np.pi * 1000 * times) * np.interp(times, time, np.hanning(4410))
    np.testing.assert_allclose(kit.sounds[36], wanted, atol=2e-3)
    jazz = kit.for_program(33)
    assert len(jazz.sounds[36]) == 400
    assert jazz.sounds[38] is kit.sounds[38]
    assert kit.for_program(8) is kit
    assert kit.missing(KEYS) == tuple(key for key in KEYS if key not in (36, 38, 42))


def test_an_index_shares_sounds(write: Callable[..., Path], tmp_path: Path) -> None:
    write("49.wav", click())
    (tmp_path / kits.INDEX).write_text("standard:\n  57: [49.wav, 0]\nroom:\n  49: [49.wav, -6.0206]\n")
    kit = load_kit(str(tmp_path), RATE)
    np.testing.assert_array_equal(kit.sounds[57], kit.sounds[49])
    np.testing.assert_allclose(kit.for_program(8).sounds[49], 0.5 * kit.sounds[49], rtol=1e-4)


def test_the_digest_is_of_the_content(write: Callable[..., Path], tmp_path: Path) -> None:
    write("36.wav", click())
    first = load_kit(str(tmp_path), RATE)
    shutil.move(tmp_path / "36.wav", tmp_path / "036.wav")
    assert load_kit(str(tmp_path), RATE).digest == first.digest
    write("036.wav", click(level=0.6))
    second = load_kit(str(tmp_path), RATE)
    assert second.digest != first.digest
    shutil.move(tmp_path / "036.wav", tmp_path / "37.wav")
    assert load_kit(str(tmp_path), RATE).digest not in (first.digest, second.digest)


def test_an_fsspec_url_will_do(write: Callable[..., Path]) -> None:
    import fsspec

    path = write("36.wav", click())
    write("room/38.wav", click())
    fsspec.filesystem("memory").pipe_file("/my/kit/36.wav", path.read_bytes())
    fsspec.filesystem("memory").pipe_file("/my/kit/room/38.wav", path.read_bytes())
    assert sorted(load_kit("memory://my/kit", RATE).for_program(8).sounds) == [36, 38]


def vorbis() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, click(), RATE, format="OGG", subtype="VORBIS")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("36.wav", b"", "36.wav: is not a readable WAV or FLAC file"),
        ("36.flac", b"fLaC" + bytes(1000), "36.flac: is not a readable WAV or FLAC file"),
        ("36.wav", vorbis(), "36.wav: is OGG, not WAV or FLAC"),
        ("36.wav", (np.zeros(0), RATE), "36.wav: contains no samples"),
        ("36.wav", (np.zeros((10, 3)), RATE), "36.wav: has 3 channels; make it mono or stereo"),
        ("36.wav", (np.zeros(10), 4000), "36.wav: has 4000 Hz; 8000 to 192000 can be read"),
        ("36.wav", (np.zeros(31 * RATE), RATE), "36.wav: is longer than 30 s"),
        ("36.wav", (np.full(10, np.nan), RATE), "36.wav: has samples that are not finite"),
        ("36.wav", (np.full(10, 5.0), RATE), "36.wav: has samples that are not finite or above 4"),
        ("128.wav", (np.ones(10), RATE), "128.wav: is not named KEY.wav"),
        ("kick.wav", (np.ones(10), RATE), "kick.wav: is not named KEY.wav"),
        ("salsa/36.wav", (np.ones(10), RATE), "salsa/36.wav: is not named .* variants standard, room"),
        ("room/36.wav", (np.ones(10), RATE), "is neither a bundled kit .* nor a folder with sounds"),
        ("index.yaml", b"room:\n  36: [37.wav, 0]\n", "is neither|no sound '37.wav'"),
        ("notes.txt", b"", "is neither a bundled kit"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(
    write: Callable[..., Path], tmp_path: Path, name: str, content: bytes | tuple[np.ndarray, int], message: str
) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        write(name, *content, subtype="FLOAT")
    with pytest.raises(ConfigError, match=rf"drums\.kit .*{message}"):
        load_kit(str(tmp_path), RATE)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("room:\n  36: [../36.wav, 0]\n", "room 36: the folder has no sound '../36.wav'"),
        ("room:\n  36: [36.wav, .inf]\n", "room 36"),
        ("room:\n  36: 36.wav\n", "room 36"),
        ("room:\n  128: [36.wav, 0]\n", "room 128"),
        ("salsa:\n  36: [36.wav, 0]\n", "salsa"),
        ("standard:\n  36: [36.wav, 0]\n", "standard 36 already has a sound, 36.wav"),
        ("[1, 2]", "dictionary"),
        ("{{{", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("#" * (1 << 20 | 1), "larger than 1 MiB"),
        ("\x00\xff", "not valid YAML"),
    ],
)
def test_what_is_wrong_with_an_index_is_told(
    write: Callable[..., Path], tmp_path: Path, index: str, message: str
) -> None:
    write("36.wav", click())
    (tmp_path / kits.INDEX).write_text(index, encoding="latin-1")
    with pytest.raises(ConfigError, match=rf"drums\.kit .*index.yaml.*{message}"):
        load_kit(str(tmp_path), RATE)


def test_a_key_with_two_files_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    write("36.wav", click())
    write("036.flac", click())
    with pytest.raises(ConfigError, match="standard 36 already has a sound"):
        load_kit(str(tmp_path), RATE)


def test_a_kit_is_bounded_in_seconds_and_files(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("36.wav", click(RATE))
    index = "".join(f"  {key}: [36.wav, {key / 8}]\n" for key in range(37, 47))
    (tmp_path / kits.INDEX).write_text(f"standard:\n{index}")
    monkeypatch.setattr(kits, "_MAX_TOTAL_SECONDS", 11)
    assert len(load_kit(str(tmp_path), RATE).sounds) == 11
    monkeypatch.setattr(kits, "_MAX_TOTAL_SECONDS", 10)
    with pytest.raises(ConfigError, match="more than 10 s of sound"):
        load_kit(str(tmp_path), RATE)
    monkeypatch.setattr(kits, "_MAX_FILES", 1)
    with pytest.raises(ConfigError, match="more than 1 files"):
        load_kit(str(tmp_path), RATE)
    monkeypatch.undo()
    monkeypatch.setattr(kits, "_MAX_FILE_BYTES", 1000)
    with pytest.raises(ConfigError, match=r"36.wav: is larger"):
        load_kit(str(tmp_path), RATE)


@pytest.mark.parametrize("name", ["standart", "/no/such/folder", "36.wav"])
def test_a_name_that_is_no_kit(write: Callable[..., Path], tmp_path: Path, name: str) -> None:
    write("36.wav", click())
    with pytest.raises(ConfigError, match=r"drums\.kit"):
        load_kit(str(tmp_path / name) if name == "36.wav" else name, RATE)
