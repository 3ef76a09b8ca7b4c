"""Every damaged file gives a song or a MidiError, in bounded time and memory.

A failure names the command that repeats its mutant: python -m tests.fuzz --seed 0 --only 1234 --write mutant.mid
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.midi import smf
from tests.fuzz.__main__ import BYTES, SECONDS, read, run
from tests.fuzz.amplify import KINDS, SIZES
from tests.fuzz.mutants import MUTATIONS, ROOT, SHARED, flood, mutant


def check(seed: int, count: int) -> None:
    result = run(seed, 0, count)
    assert result.failures == []
    assert sum(result.outcomes.values()) == 6 * count  # both readers; salvage off, safe, aggressive: none is missing
    assert sum(n for name, n in result.outcomes.items() if name.startswith("song, safe")) > count / 5
    assert result.seconds < SECONDS
    assert result.bytes < BYTES


def test_150_mutants() -> None:
    check(seed=0, count=150)


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/midi, real and hostile files")
def test_20000_mutants() -> None:
    check(seed=1, count=20_000)


# All of a file that is as large as may be, in events of the kinds that cost most to read.
COSTLY = {
    "notes": b"\x00\x90\x40\x40" + b"\x01\x40\x00\x00\x40\x40" * 199_999,
    "notes at once": b"\x00\x90\x40\x40" + b"\x00\x40\x40" * 4000 + b"\x01\x40\x00" + b"\x00\xb0\x40\x7f" * 370_000,
    "controllers and ticks": b"\x00\xb0\x01\x01" + b"\x00\x02\x01" * 499_000 + b"\x84\xe2\xac\x00\x02\x01",
    "pedal": b"\x00\x90\x40\x40\x01\x40\x00\x00\xb0\x40\x7f" + b"\x00\x40\x01\x00\x40\x7f" * 249_000,
    "pitch bends": b"\x00\xe0\x01\x01" + b"\x00\x02\x01" * 499_000,
    "programs": b"\x00\xc0\x01" + b"\x00\x02" * 749_000,
    "tempos": b"\x01\xff\x51\x03\x07\xa1\x20\x01\xff\x51\x03\x07\xa1\x21" * 107_000,
    "texts": b"\x00\xff\x01\x00" * 374_000,
    "sysex": b"\x00\xf0\x00" * 499_000,
    "broken sysex": b"\x00\xf0\x01\xff" * 374_000,
    "zones": b"\x00\xb0\x65\x00\x00\x64\x06\x00\x06\x0f"
    + b"\x00\x90\x3c\x40"
    + b"\x00\xb0\x06\x0f\x00\x06\x01" * 200_000,
    "bends of a zone": b"\x00\xb0\x65\x00\x00\x64\x06\x00\x06\x0f"
    + b"".join(bytes([0, 0x90 | channel, 60, 64]) for channel in range(16))
    + b"\x00\xe0\x01\x01"
    + b"\x01\x02\x01\x01\x03\x01" * 240_000,
    "resets": b"\x00\x90\x40\x40" + b"\x00\xf0\x05\x7e\x7f\x09\x01\xf7\x00\xb0\x07\x01" * 120_000,
    "status bytes": b"\xff" * 1_490_000,
    "one message": b"\x00\xf0\xbd\x84\x40" + b"\x00" * 1_000_000 + b"\x00\xff\x01\x9d\xde\x20" + b"a" * 487_200,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*COSTLY, "tracks"])
def test_the_costliest_files_there_can_be(kind: str) -> None:
    header, end = b"MThd\x00\x00\x00\x06\x00\x01", b"\x00\xff\x2f\x00"
    if kind == "tracks":
        content = header + b"\x7f\xf0\x01\xe0" + (b"MTrk\x00\x00\x00\x25" + b"\x00\xc0\x05" * 11 + end) * 0x7FF0
    else:
        length = (len(COSTLY[kind]) + 4).to_bytes(4, "big")
        content = header + b"\x00\x01\x01\xe0MTrk" + length + COSTLY[kind] + end
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        row = pool.submit(read, content[: NotesConfig().max_file_bytes]).result()
    print(kind, row)
    assert "failure" not in row
    assert row["seconds"] < SECONDS
    assert row["bytes"] < BYTES


def amplified(*sizes: int) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", "--amplify", *map(str, sizes)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert len(done.stdout.splitlines()) == len(KINDS) * (len(sizes) or len(SIZES)), done.stderr
    assert done.returncode == 0, done.stdout


def test_small_files_do_not_take_the_memory_of_large_ones() -> None:
    amplified(SIZES[0])


@pytest.mark.slow
def test_memory_grows_no_faster_than_files() -> None:
    amplified()


def test_damage_rarely_passes_for_a_harmless_byte() -> None:
    """Few mutants play because a data byte is overlooked: at most one in a thousand."""
    gained = 0
    for number in range(1000):
        content, how = mutant(5, number)
        try:
            smf.scan(content, "off")
        except MidiError as error:
            if error.code == "midi-data-byte" and "Control168" not in how:  # whose own byte is harmless
                with contextlib.suppress(MidiError):
                    smf.scan(content, "safe")
                    gained += 1
    assert gained <= 1


def test_a_mutant_is_known_by_its_numbers_and_every_mutation_is_used() -> None:
    made = [mutant(0, number) for number in range(1500)]
    assert made[7] == mutant(0, 7)
    assert len({content for content, _ in made}) > 1400
    used = {name for _, how in made for name in how.split()[1:]}
    assert used | {flood.__name__} == {mutation.__name__ for mutation in (*MUTATIONS, flood)}
