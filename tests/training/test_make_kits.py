"""The tool that makes drum kits: what it cuts, what it shares, and that the bundled kit is what it makes."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import yaml

from gansynth.audio.kits import BUNDLED, INDEX, KEYS, PROGRAMS, load_kit
from training import kits
from training.__main__ import main
from training.render import SOUNDFONT

RATE = kits.SAMPLE_RATE
needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUNDFONT.exists(),
    reason="needs Debian's packages fluidsynth and fluid-soundfont-gm",
)


def hit(delay: float, decay: float, seed: int = 0, noise: float = 0.0) -> np.ndarray:
    """A burst of noise after `delay` seconds that falls by e in `decay` seconds, 3 s in all."""
    random = np.random.RandomState(seed)
    time = np.arange(3 * RATE) / RATE - delay
    sound = np.where(time >= 0, np.exp(-np.maximum(time, 0) / decay), 0.0) * random.uniform(-1, 1, len(time))
    sound[int(delay * RATE)] = 1.0
    return sound + noise * random.normal(size=len(time)) * (time >= 0)


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.1])
@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_a_sound_begins_with_its_onset_and_ends_where_it_has_decayed(delay: float, noise: float) -> None:
    cut = kits.trim(hit(delay, 0.1, noise=noise))
    assert int(np.argmax(np.abs(cut))) == kits.LEAD
    assert cut[kits.LEAD] == pytest.approx(1.0, abs=1e-3)
    # 55 dB are 6.3 times 8.7 dB, and the fade is 50 ms.
    assert len(cut) / RATE == pytest.approx(0.63 + 0.05, abs=0.03)
    assert abs(cut[-1]) < 1e-6


def test_a_swell_without_end_is_cut() -> None:
    time = np.arange(9 * RATE) / RATE
    assert len(kits.trim(np.sin(900 * time) * time)) == 8 * RATE


def test_equal_sounds_are_stored_once_whatever_their_level() -> None:
    drum, other = hit(0.002, 0.1, 1), hit(0.002, 0.1, 2)
    stored, made = kits.share(
        {
            "standard": {36: drum, 49: other},
            "room": {36: 2 * drum, 49: other},
            "power": {36: other, 38: other},
            "jazz": {36: 0.5 * other},
        }
    )
    assert list(stored) == ["36.flac", "49.flac", "power/36.flac", "power/38.flac"]
    assert made["room"] == {36: kits.Shared("36.flac", 6.02)}
    assert made["power"] == {36: kits.Shared("power/36.flac", 0.0), 38: kits.Shared("power/38.flac", 0.0)}
    assert made["jazz"] == {36: kits.Shared("power/36.flac", -6.02)}


def test_what_is_written_is_what_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels against each other are kept, also those of sounds that are shared."""

    def rendered(soundfont: Path, program: int, velocity: int) -> dict[int, np.ndarray]:
        assert velocity == 100
        same = {key: 0.1 * hit(0.002, 0.05, key) for key in (36, 38)}
        return same | {38: 0.3 * same[38]} if program == PROGRAMS["room"] else same

    monkeypatch.setattr(kits, "render_keys", rendered)
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "99.wav").write_bytes(b"old")
    main(["kits", "--out", str(tmp_path / "kit"), "--velocity", "100"])
    kit = load_kit(str(tmp_path / "kit"), RATE)
    assert sorted(kit.sounds) == [36, 38]
    wanted = kits.trim(hit(0.002, 0.05, 36))
    np.testing.assert_allclose(kit.sounds[36], 0.98 * wanted, atol=1e-4)
    np.testing.assert_allclose(kit.for_program(8).sounds[38], 0.3 * kit.sounds[38], rtol=1e-3)
    assert kit.for_program(16) is kit
    assert (tmp_path / "kit" / "KIT_CARD.md").read_text().count("| room | 8 | 1 | 0 |") == 1


def test_the_bundled_kit_is_described_by_its_card() -> None:
    folder = BUNDLED["standard"]
    card = (folder / "KIT_CARD.md").read_text()
    sounds = list(folder.rglob("*.flac"))
    assert f"{len(sounds)} sounds" in card
    shared = {
        entry[0] for variant in yaml.safe_load((folder / INDEX).read_text()).values() for entry in variant.values()
    }
    assert shared <= {str(path.relative_to(folder)) for path in sounds}
    for path in sounds:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.format, info.subtype) == (RATE, 1, "FLAC", "PCM_16")


# Against FluidSynth itself


def struck(key: int, program: int, folder: Path) -> np.ndarray:
    """A key on the drum channel, played by FluidSynth at 44.1 kHz: float64 [samples, 2]."""
    track = bytes([0, 0xC9, program, 0, 0x99, key, 127, 0x8F, 0x00, 0x89, key, 0, 0, 0xFF, 0x2F, 0])
    midi = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(track)) + track
    (folder / "key.mid").write_bytes(midi)
    options = ["-q", "-n", "-i", "-R", "0", "-C", "0", "-g", "1.0", "-r", "44100", "-O", "float", "-T", "wav", "-F"]
    files = [str(folder / "key.wav"), str(SOUNDFONT), str(folder / "key.mid")]
    subprocess.run(["fluidsynth", *options, *files], check=True, capture_output=True)
    return soundfile.read(folder / "key.wav", always_2d=True)[0]


def rise(sound: np.ndarray, rate: int) -> float:
    """Seconds from 10 % to 90 % of the highest level, taken over 2 ms."""
    width = rate // 500
    level = np.sqrt(np.convolve(sound**2, np.ones(width) / width, "same"))
    return float(np.argmax(level >= 0.9 * level.max()) - np.argmax(level >= 0.1 * level.max())) / rate


@needs_fluidsynth
@pytest.mark.parametrize("program", [0, 25, 48])
def test_hits_rise_as_fast_as_fluidsynths_and_are_as_loud(program: int, tmp_path: Path) -> None:
    kit = load_kit("standard", RATE).for_program(program)
    slower, levels = {}, {}
    for key in (35, 36, 38, 39, 41, 42, 46, 50, 60, 69, 75, 80):
        ours, theirs = kit.sounds[key].astype(float), struck(key, program, tmp_path)
        louder = theirs[:, (theirs**2).sum(axis=0).argmax()]
        more = rise(ours, RATE) - rise(louder, 44100)
        if more > 0.005:
            slower[key] = round(1000 * more, 1)
        heard = scipy.signal.resample_poly(theirs, 160, 441)  # without what lies above 8 kHz
        levels[key] = 10 * np.log10((ours**2).sum() / (heard**2).sum(axis=0).mean())
    assert slower == {}
    middle = np.median(list(levels.values()))
    assert {key: round(level - middle, 1) for key, level in levels.items() if abs(level - middle) > 0.5} == {}


@needs_fluidsynth
@pytest.mark.slow
def test_the_bundled_kit_can_be_made_again(tmp_path: Path) -> None:
    """Last bits depend on the versions of FluidSynth and scipy; on one machine the bytes are the same."""
    kits.make_kits(tmp_path / "again")
    kits.make_kits(tmp_path / "once more")
    files = sorted(path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file())
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "once more" / file).read_bytes(), file
    again, bundled = load_kit(str(tmp_path / "again"), RATE), load_kit("standard", RATE)
    for program in PROGRAMS.values():
        for key in KEYS:
            got, wanted = again.for_program(program).sounds[key], bundled.for_program(program).sounds[key]
            assert abs(len(got) - len(wanted)) <= 16
            length = min(len(got), len(wanted))
            np.testing.assert_allclose(got[:length], wanted[:length], atol=2e-4)
