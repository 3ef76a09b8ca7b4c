"""The sound bank: kept sounds, several processes, processes that are killed, damage, and its limit."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gansynth.model.open_bank import open_bank
from gansynth.model.sound_bank import DamagedSoundError, SoundBank
from gansynth.model.sounds import Sound, SoundCache, Tally
from tests.support.fakes import Noise

_LENGTH = 1000


def sound(number: int, length: int = _LENGTH) -> np.ndarray:
    return np.random.default_rng(number).normal(size=length).astype(np.float32)


def key(number: int) -> Sound:
    return np.float32([number]).tobytes(), 60


def filled(folder: Path, numbers: range, **options: int) -> SoundBank:
    bank = SoundBank(folder, "c", **options)
    for number in numbers:
        bank.put(key(number), sound(number))
    return bank


def files(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.rglob(f"*.{suffix}"))


def test_sounds_are_kept_for_other_instances(tmp_path: Path) -> None:
    bank, reader = SoundBank(tmp_path, "c"), SoundBank(tmp_path, "c")
    assert bank.get(key(1), 0) is None
    bank.put(key(1), sound(1))
    assert reader.get(key(1), 10) is None
    reader.refresh()
    for each in (bank, reader, SoundBank(tmp_path, "c")):
        found = each.get(key(1), _LENGTH)
        assert found is not None
        assert np.array_equal(found, sound(1))
        assert each.get(key(1), _LENGTH + 1) is None
        assert each.has(key(1), _LENGTH)
        assert len(each) == 1
    assert SoundBank(tmp_path, "other").get(key(1), 10) is None


def test_a_longer_sound_replaces_a_shorter_one(tmp_path: Path) -> None:
    bank = SoundBank(tmp_path, "c")
    for length in (100, 50, 200, 150):
        bank.put(key(1), sound(1, 200)[:length])
    for each in (bank, SoundBank(tmp_path, "c")):
        assert np.array_equal(each.get(key(1), 200), sound(1, 200))
    assert files(tmp_path, "index")[0].stat().st_size == 2 * 36


def test_latent_pitch_and_bucket_are_told_apart(tmp_path: Path) -> None:
    bank = SoundBank(tmp_path, "c")
    keys = [key(1), key(2), (key(1)[0], 61), (key(1), 16), (key(1), 24)]
    for number, each in enumerate(keys):
        bank.put(each, sound(number))
    assert all(np.array_equal(bank.get(each, 1), sound(number)) for number, each in enumerate(keys))


@pytest.mark.parametrize("what", ["a sample", "an entry", "cut samples", "cut entries", "no samples", "junk entries"])
def test_damage_is_never_heard(what: str, tmp_path: Path) -> None:
    filled(tmp_path, range(5))._writer.close()  # type: ignore[union-attr]
    (hurt,) = files(tmp_path, "sounds" if "sample" in what else "index")
    data = bytearray(hurt.read_bytes())
    if what.startswith("cut"):
        del data[len(data) // 2 + 1 :]
    elif what == "no samples":
        data.clear()
    elif what == "junk entries":
        data += os.urandom(1000)
    else:
        data[len(data) // 2] ^= 1
    hurt.write_bytes(data)
    bank, lost = SoundBank(tmp_path, "c"), 0
    for number in range(5):
        found = None
        with contextlib.suppress(DamagedSoundError):
            found = bank.get(key(number), _LENGTH)
        if found is None:
            lost += 1
            assert bank.get(key(number), _LENGTH) is None
            bank.put(key(number), sound(number))
            found = bank.get(key(number), _LENGTH)
        assert np.array_equal(found, sound(number))
    assert lost == {"a sample": 1, "an entry": 1, "no samples": 5, "junk entries": 0}.get(what, 3)
    again = SoundBank(tmp_path, "c")
    assert all(np.array_equal(again.get(key(number), _LENGTH), sound(number)) for number in range(5))


def test_the_oldest_sounds_make_room(tmp_path: Path) -> None:
    limit = 1 << 20
    for first in range(0, 1000, 50):
        bank = filled(tmp_path, range(first, first + 50), limit=limit)
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.*")) <= limit
        assert np.array_equal(bank.get(key(first + 49), _LENGTH), sound(first + 49))
        bank._writer.close()  # type: ignore[union-attr]
    kept = [number for number in range(1000) if SoundBank(tmp_path, "c").has(key(number), _LENGTH)]
    assert kept[-1] == 999
    assert kept == list(range(kept[0], 1000))
    assert len(kept) * 4 * _LENGTH > 0.8 * limit


def test_a_sound_in_use_outlives_its_segment(tmp_path: Path) -> None:
    reader = filled(tmp_path, range(3), limit=1 << 20)
    found = reader.get(key(0), _LENGTH)
    for path in files(tmp_path, "*"):
        path.unlink()
    assert np.array_equal(found, sound(0))
    late = filled(tmp_path, range(3))
    for path in files(tmp_path, "sounds"):
        path.unlink()
    assert late.get(key(0), _LENGTH) is None


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    bank = filled(tmp_path / "file", range(3))
    assert bank.get(key(1), 1) is None
    assert caplog.text.count("cannot be written") == 1


def write(folder: Path, first: int) -> None:
    filled(folder, range(first, first + 100))


def test_processes_write_at_the_same_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(tmp_path, first)) for first in (0, 50, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    bank = SoundBank(tmp_path, "c")
    assert all(np.array_equal(bank.get(key(number), _LENGTH), sound(number)) for number in range(200))
    assert len(files(tmp_path, "index")) <= 3


_ENDLESS = """
import sys, numpy as np
from pathlib import Path
from gansynth.model.sound_bank import SoundBank
bank = SoundBank(Path(sys.argv[1]), "c")
for number in range(int(sys.argv[2]), 1_000_000):
    audio = np.random.default_rng(number).normal(size=1000).astype(np.float32)
    bank.put((np.float32([number]).tobytes(), 60), audio)
    if number % 100 == 50:
        print(flush=True)
"""


def test_writers_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for first in range(0, 8000, 1000):
        writer = subprocess.Popen([sys.executable, "-c", _ENDLESS, str(tmp_path), str(first)], stdout=subprocess.PIPE)
        with writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(random.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
    for torn in files(tmp_path, "index"):
        torn.write_bytes(torn.read_bytes() + b"part of an entry")
    bank = filled(tmp_path, range(8000, 8010))
    for each in (bank, SoundBank(tmp_path, "c")):
        names = [n for n in range(9000) if each.has(key(n), _LENGTH)]
        assert len(names) > 8 * 50
        assert all(np.array_equal(each.get(key(n), _LENGTH), sound(n)) for n in names)
    assert len(files(tmp_path, "index")) == 1  # the locks of killed writers are free


@pytest.mark.parametrize("of", ["entries", "samples"])
def test_a_part_of_a_write_does_no_harm(of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends each write after any number of bytes, as a kill or a full disk would."""
    name = "write" if of == "entries" else "pwrite"
    whole: Callable[..., int] = getattr(os, name)
    for length in (1, 17, 35):
        bank = filled(tmp_path, range(3))

        def part(handle: int, data: bytes, *offset: int, length: int = length) -> int:
            whole(handle, data[:length], *offset)
            raise OSError(28, "no space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, name, part)
            bank.put(key(3), sound(3))
        assert bank.get(key(3), 1) is None
        bank._writer.close()  # type: ignore[union-attr]
        after = filled(tmp_path, range(4, 6))
        assert all(np.array_equal(after.get(key(n), _LENGTH), sound(n)) for n in (0, 1, 2, 4, 5))
        if after._writer is not None:
            after._writer.close()


def test_sounds_in_a_bank_are_in_no_other_cache(tmp_path: Path) -> None:
    synth, want = Noise(), (key(1), 16)
    synth.cache, synth.bank = SoundCache(1 << 20), SoundBank(tmp_path, "c")
    tally = Tally()
    for _ in range(2):
        dict(synth.sounds([want], tally))
    assert (tally.slots, tally.banked) == (next(synth.batch_sizes(16, 1)), 1)
    assert not synth.cache.has(key(1), 1)
    synth.bank = SoundBank(tmp_path, "c", limit=0)  # which nothing is added to
    dict(synth.sounds([(key(2), 16)], tally))
    assert synth.cache.has(key(2), 1)


def test_damage_is_told(tmp_path: Path) -> None:
    filled(tmp_path, range(1))
    (samples,) = files(tmp_path, "sounds")
    samples.write_bytes(bytes(samples.stat().st_size))
    with pytest.raises(DamagedSoundError, match=f"{samples}: a sound at byte 0 is damaged"):
        SoundBank(tmp_path, "c").get(key(0), 1)


def test_a_bank_at_a_url_is_fetched_segment_by_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for first in (0, 20):  # two segments
        bank = SoundBank(tmp_path / "bank", "c", limit=1 << 21)
        for number in range(first, first + 17):
            bank.put(key(number), sound(number))
        bank._writer.close()  # type: ignore[union-attr]
    store = fsspec.filesystem("memory")
    store.put(f"{tmp_path}/bank/", "/bank/", recursive=True)
    fetched = open_bank("memory://bank", "c")
    assert fetched is not None
    assert len(fetched) == 34
    assert not files(tmp_path / "cache", "sounds")
    assert np.array_equal(fetched.get(key(3), _LENGTH), sound(3))
    assert len(files(tmp_path / "cache", "sounds")) == 1
    assert np.array_equal(fetched.get(key(25), _LENGTH), sound(25))
    fetched.put(key(99), sound(99))
    assert not fetched.is_writable
    assert fetched.get(key(99), 1) is None
    store.rm("/bank", recursive=True)
    shutil.rmtree(tmp_path / "cache")
    gone = open_bank("memory://bank", "c")
    assert gone is not None
    assert len(gone) == 0
    assert fetched.get(key(26), 1) is not None  # still mapped
