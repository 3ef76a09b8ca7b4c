"""The bundled voice: a new version is not worse in any figure that can be measured in a few seconds."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from gansynth import Bank, Synthesizer, load_bank
from gansynth.model import download
from training import evaluate, tuning
from training.export import write_bank
from training.instruments import BUNDLED

MINI: Path = download.BUNDLED["mini"]
ROOT = Path(__file__).parents[2]
PITCHES = (36, 52, 67, 84)


@pytest.fixture(scope="module")
def synth() -> Synthesizer:
    return Synthesizer.from_checkpoint("mini")


@pytest.fixture(scope="module")
def bank(synth: Synthesizer) -> Bank:
    return load_bank(str(MINI / "instruments.yaml"), synth.latent_size)


@pytest.fixture(scope="module")
def notes(synth: Synthesizer, bank: Bank) -> dict[tuple[str, int], np.ndarray]:
    keys = [(name, pitch) for name in bank.names for pitch in PITCHES]
    z = np.repeat(bank.latents, len(PITCHES), axis=0)
    return dict(zip(keys, synth.synthesize(z, [pitch for _, pitch in keys], 32000), strict=True))


def test_every_program_has_an_instrument_and_each_only_one(bank: Bank, tmp_path: Path) -> None:
    import yaml

    write_bank(BUNDLED, bank.latents.shape[1], tmp_path / "instruments.yaml")
    assert (MINI / "instruments.yaml").read_text() == (tmp_path / "instruments.yaml").read_text()

    entries = yaml.safe_load((MINI / "instruments.yaml").read_text())["instruments"]
    assert sorted(p for entry in entries for p in entry["programs"]) == list(range(129))
    assert {entry["name"]: tuple(entry["programs"]) for entry in entries} == {
        i.name: i.programs for i in BUNDLED if i.programs
    }
    assert len(bank) >= 10
    assert {"keys", "mallets", "plucked", "bowed", "wind"} <= set(bank.families.values())
    assert np.isfinite(bank.latents).all()


def test_it_is_small_in_the_wheel_and_complete(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        parts = {i.filename.removeprefix("gansynth/mini/"): i for i in archive.infolist() if "/mini/" in i.filename}
    assert sum(part.compress_size for part in parts.values()) <= 13e6
    assert sum(part.file_size for part in parts.values()) <= 14e6
    # The pictures of the card stay in the repository.
    kept = {str(path.relative_to(MINI)) for path in MINI.rglob("*") if path.is_file() and path.parent.name != "card"}
    assert set(parts) == kept
    kits = {i.filename for i in archive.infolist() if "/kits/" in i.filename}
    assert kits == {str(path.relative_to(ROOT)) for path in (ROOT / "gansynth" / "kits").rglob("*") if path.is_file()}


def test_the_card_has_a_picture_of_every_instrument() -> None:
    pictures = sorted((MINI / "card").iterdir())
    assert [path.name for path in pictures] == sorted(f"{instrument.name}.png" for instrument in BUNDLED)
    assert sum(path.stat().st_size for path in pictures) <= 2.7e6


def test_notes_are_in_tune(notes: dict[tuple[str, int], np.ndarray]) -> None:
    off = {key: round(tuning.cents_off(audio, key[1]), 1) for key, audio in notes.items()}
    wrong = {key: cents for key, cents in off.items() if cents > 25}
    assert not wrong


def test_notes_are_sound_and_equally_loud(notes: dict[tuple[str, int], np.ndarray]) -> None:
    loudest = {key: max(evaluate.decibels(a[i : i + 2048]) for i in range(0, 16384, 2048)) for key, a in notes.items()}
    middle = np.median(list(loudest.values()))
    assert all(np.isfinite(audio).all() for audio in notes.values())
    # The harp's 84 was levelled by its harmonics alone, and is mostly noise.
    off = {key: round(level - middle, 1) for key, level in loudest.items() if abs(level - middle) > 9}
    assert set(off) <= {("harp", 84)}, off


def test_struck_notes_decay_and_sustained_ones_do_not(notes: dict[tuple[str, int], np.ndarray]) -> None:
    def fall(name: str) -> float:
        audio = notes[name, 67]
        return evaluate.decibels(audio[:3200]) - evaluate.decibels(audio[-3200:])

    assert fall("marimba") > 20
    assert fall("harp") > fall("church_organ") + 3
    assert abs(fall("church_organ")) < 4


def test_half_way_between_instruments_is_in_tune(synth: Synthesizer, bank: Bank) -> None:
    between = [(bank.latents[i] + bank.latents[i + 1]) / np.sqrt(2) for i in range(0, len(bank) - 1, 5)]
    audio = synth.synthesize(np.stack(between), [60] * len(between), 24576)
    assert sum(tuning.cents_off(one, 60) > 25 for one in audio) <= 1
