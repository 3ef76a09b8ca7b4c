"""Built banks: equal sounds make an equal digest, every byte is checked, and what is lacking is not made up."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from gansynth.errors import ConfigError
from gansynth.io import cache
from gansynth.model import build_bank
from gansynth.model.build_bank import build, publish
from gansynth.model.built_bank import BankDescription, BuiltBank
from gansynth.model.kernels import collection_of, signature
from gansynth.model.open_bank import open_bank, split_digest
from gansynth.model.sound_bank import DamagedSoundError, MissingSoundError
from gansynth.model.sounds import Tally, Want
from tests.support.fakes import FakeSynthesizer

TINY = Path(__file__).parents[2] / "data" / "checkpoints" / "tiny"
LATENTS = [np.float32([n, 1, 0, 0]).tobytes() for n in range(3)]
WANTED: list[Want] = sorted(((latent, pitch), 2) for latent in LATENTS for pitch in (50, 60, 70))
SEGMENT = 4 * 4 * 8000 * 2
"""Bytes of four of these sounds."""


class Fake(FakeSynthesizer):
    """A synthesizer whose sounds can be built into a bank."""

    digest = f"sha256:{1:064x}"
    kernels = signature("float32", False, False)
    collection = collection_of(digest, kernels)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build_bank, "_SEGMENT_BYTES", SEGMENT)
    fsspec.filesystem("memory").store.clear()


def built(folder: Path, place: str, wanted: list[Want] = WANTED) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    description, tally = build(Fake(), str(TINY), wanted, folder)
    assert tally.rendered == description.sounds == len(wanted)
    return publish(folder, place)


def opened(setting: str, **options: Any) -> BuiltBank:
    bank = open_bank(setting, "", **options)
    assert isinstance(bank, BuiltBank)
    return bank


def heard(want: Want) -> np.ndarray:
    return dict(Fake().sounds([want], Tally()))[want]


def copies() -> list[str]:
    return sorted(path.name for path in (cache.user_folder() / "fetched").rglob("*.sounds"))


def test_equal_sounds_make_an_equal_bank(tmp_path: Path) -> None:
    settings = {
        built(tmp_path / "new", f"{tmp_path}/{name}", order).partition("@")[2]
        for name, order in (("a", WANTED), ("b", WANTED[::-1]), ("c", sorted(WANTED, key=hash)))
    }
    assert len(settings) == 1
    digest = settings.pop().removeprefix("sha256:")
    files = sorted(path.name for path in (tmp_path / "a" / digest).iterdir())
    assert files == [*(f"00000{n}.{kind}" for n in range(3) for kind in ("index", "sounds")), "bank.json"]
    assert hashlib.sha256((tmp_path / "a" / digest / "bank.json").read_bytes()).hexdigest() == digest
    assert digest not in built(tmp_path / "new", f"{tmp_path}/d", WANTED[1:])


@pytest.mark.parametrize("place", ["{}/banks", "file://{}/banks", "memory://banks"])
def test_sounds_are_read_back(place: str, tmp_path: Path) -> None:
    bank = opened(built(tmp_path / "new", place.format(tmp_path)))
    assert len(bank) == len(WANTED)
    assert not bank.is_writable
    for want in WANTED:
        found = bank.get(want[0], 16000)
        assert found is not None
        assert np.array_equal(found, heard(want))
    assert bank.get((LATENTS[0], 51), 1) is None
    assert bank.get(WANTED[0][0], 16001) is None
    bank.put((LATENTS[0], 51), np.zeros(10, np.float32))
    assert bank.get((LATENTS[0], 51), 1) is None


def test_segments_are_copied_when_they_are_needed(tmp_path: Path) -> None:
    setting = built(tmp_path / "new", "memory://banks")
    bank = opened(setting)
    assert copies() == []
    assert bank.get(WANTED[8][0], 16000) is not None
    assert copies() == ["000002.sounds"]
    assert bank.get(WANTED[0][0], 16000) is not None
    assert copies() == ["000000.sounds", "000002.sounds"]
    fsspec.filesystem("memory").store.clear()
    again = opened(setting)  # all that it needs is on this machine
    assert again.get(WANTED[8][0], 16000) is not None
    with pytest.raises(DamagedSoundError, match=r"000001\.sounds: cannot be copied to .*FileNotFoundError"):
        again.get(WANTED[5][0], 16000)
    assert again.has(WANTED[5][0], 16000)


def test_copies_are_bounded(tmp_path: Path) -> None:
    setting = built(tmp_path / "new", "memory://banks")
    bank = opened(setting, limit=2 * SEGMENT)
    for n, number in enumerate((0, 4, 0, 8)):
        assert bank.get(WANTED[number][0], 16000) is not None
        for path in (cache.user_folder() / "fetched").rglob(f"00000{number // 4}.sounds"):
            os.utime(path, (n, n))
    assert copies() == ["000000.sounds", "000002.sounds"]
    assert opened(setting, limit=2 * SEGMENT).get(WANTED[4][0], 16000) is not None
    assert len(copies()) == 2


def test_a_damaged_copy_is_replaced(tmp_path: Path) -> None:
    setting = built(tmp_path / "new", "memory://banks")
    assert opened(setting).get(WANTED[0][0], 16000) is not None
    for path in (cache.user_folder() / "fetched").rglob("*"):
        if path.suffix in (".sounds", ".index", ".json"):
            path.write_bytes(bytes(path.stat().st_size))
    found = opened(setting).get(WANTED[0][0], 16000)
    assert found is not None
    assert np.array_equal(found, heard(WANTED[0]))


@pytest.mark.parametrize("content", [b"", bytes(SEGMENT), bytes(SEGMENT + 1)])
def test_a_segment_that_is_damaged_at_its_url_is_never_heard(content: bytes, tmp_path: Path) -> None:
    setting = built(tmp_path / "new", "memory://banks")
    fs, folder = fsspec.filesystem("memory"), f"/banks/{setting.rpartition(':')[2]}"
    fs.pipe_file(f"{folder}/000000.sounds", content)
    bank = opened(setting)
    for _ in range(2):
        with pytest.raises(DamagedSoundError, match="its sha256 is not the one that the bank's digest promises"):
            bank.get(WANTED[0][0], 16000)
    assert bank.get(WANTED[8][0], 16000) is not None
    assert copies() == ["000002.sounds"]


def test_a_damaged_local_segment_is_told(tmp_path: Path) -> None:
    bank = opened(built(tmp_path / "new", f"{tmp_path}/banks"))
    for path in tmp_path.glob("banks/*/000000.sounds"):
        path.write_bytes(bytes(SEGMENT))
    with pytest.raises(DamagedSoundError, match="a sound at byte 0 is damaged"):
        bank.get(WANTED[0][0], 16000)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bank.json", b"{}", "bank.json: is damaged"),
        ("000001.index", b"", "000001.index: is damaged"),
        ("000001.index", bytes(4 * 36), "000001.index: is damaged"),
        ("bank.json", None, r"has no bank sha256:.*bank.json does not exist. `gansynth-beam bank build` makes banks"),
        ("000001.index", None, r"has no bank sha256:.*000001.index does not exist"),
    ],
)
@pytest.mark.parametrize("place", ["{}/banks", "memory://banks"])
def test_a_bank_is_that_of_its_digest_or_refused(
    place: str, name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    setting = built(tmp_path / "new", place.format(tmp_path))
    base, _, digest = setting.rpartition("@sha256:")
    fs, folder = fsspec.core.url_to_fs(f"{base}/{digest}")
    if content is None:
        fs.rm_file(f"{folder}/{name}")
    else:
        fs.pipe_file(f"{folder}/{name}", content)
    with pytest.raises(ConfigError, match=message):
        open_bank(setting, "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": 2}, "layout"),
        ({"segments": []}, "segments"),
        ({"more": 1}, "more: Extra inputs"),
        ({"checkpoint_digest": "sha256:1"}, "checkpoint_digest"),
    ],
)
def test_a_description_of_another_kind_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    setting = built(tmp_path / "new", f"{tmp_path}/banks")
    folder = tmp_path / "banks" / setting.rpartition(":")[2]
    data = json.dumps({**json.loads((folder / "bank.json").read_bytes()), **change}).encode()
    digest = hashlib.sha256(data).hexdigest()
    shutil.copytree(folder, folder.with_name(digest))
    (folder.with_name(digest) / "bank.json").write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        open_bank(f"{tmp_path}/banks@sha256:{digest}", "")


def segment(name: str) -> dict[str, Any]:
    return {"name": name, "sounds": 1, "size": 4, "index_sha256": "0" * 64, "sounds_sha256": "0" * 64}


@pytest.mark.parametrize("name", ["../00001", "/etc/pw", "0000001", "00001\n"])
def test_names_of_segments_lead_nowhere_else(name: str) -> None:
    facts = {
        "checkpoint_digest": f"sha256:{0:064}",
        "checkpoint_files": f"{0:064}",
        "flags": {},
        "kernels": {},
        "serves_shorter": True,
    }
    assert BankDescription.model_validate({**facts, "segments": [segment("000001")]}).sounds == 1
    with pytest.raises(ValueError, match="pattern"):
        BankDescription.model_validate({**facts, "segments": [segment(name)]})


def test_what_is_lacking_is_rendered_with_the_same_kernels_alone(tmp_path: Path) -> None:
    bank, synth = opened(built(tmp_path / "new", f"{tmp_path}/banks")), Fake()
    synth.bank = bank
    tally = Tally()
    more: Want = ((LATENTS[0], 51), 2)
    found = dict(synth.sounds([WANTED[0], more], tally))
    assert np.array_equal(found[more], heard(more))
    assert (tally.banked, tally.rendered) == (1, 1)
    synth.collection = "another"
    assert len(dict(synth.sounds(WANTED, tally))) == len(WANTED)
    with pytest.raises(MissingSoundError, match=r"lacks 1 sound of these notes \(the first: pitch 51, 2 rows\)"):
        list(synth.sounds([WANTED[0], more], tally))


def test_the_message_names_what_is_different(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = opened(built(tmp_path / "new", f"{tmp_path}/banks"))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    with pytest.raises(MissingSoundError, match=r"other bits \(environment\)") as error:
        bank.check_kernels("another", WANTED[:2])
    assert error.value.code == "sound-missing"


def test_the_precision_is_that_of_the_bank(tmp_path: Path) -> None:
    bank = opened(built(tmp_path / "new", f"{tmp_path}/banks"))
    known = bank.known_model("float32", False, "cpu")
    assert (known.digest, known.collection, known.shape.config) == (Fake.digest, Fake.collection, Fake.shape.config)
    with pytest.raises(ConfigError, match=r"compute.precision tf32: the sounds .* have float32; set compute.precision"):
        bank.known_model("tf32", False, "cpu")


def test_the_checkpoint_is_that_of_the_bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gansynth.model import checkpoint

    bank = opened(built(tmp_path / "new", f"{tmp_path}/banks"))
    monkeypatch.setattr(checkpoint, "load", None)
    bank.check_checkpoint(str(TINY))
    monkeypatch.setattr(checkpoint, "digest", {str(TINY.with_name("tiny8")): f"sha256:{2:064x}"}.get)
    with pytest.raises(ConfigError, match=r"its sounds are of the checkpoint sha256:0+1, and .*tiny8 is sha256:0+2"):
        bank.check_checkpoint(str(TINY.with_name("tiny8")))


@pytest.mark.parametrize("wanted", [0, 5])
def test_a_bank_of_no_sounds_or_too_many_is_refused(
    wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_bank, "MOST_SOUNDS", 4)
    with pytest.raises(ConfigError, match="no sounds to render" if not wanted else "5 sounds; a bank has at most 4"):
        build(Fake(), str(TINY), WANTED[:wanted], tmp_path)


DIGEST = f"sha256:{7:064x}"


def test_settings_are_split() -> None:
    for setting in ("auto", "off", "banks", "gs://b/x", "me@home/banks", "a@b"):
        assert split_digest(setting) == (setting, "")
    assert split_digest(f"gs://b/x@{DIGEST}") == ("gs://b/x", DIGEST)
    assert split_digest(f"me@home/x@{DIGEST}") == ("me@home/x", DIGEST)
    for setting in (f"auto@{DIGEST}", f"@{DIGEST}", "b@sha256:", f"b@{DIGEST}0", f"b@{DIGEST[:-1]}G"):
        with pytest.raises(ConfigError, match="64 hexadecimal digits"):
            split_digest(setting)
