"""No file, however damaged, ends otherwise than as a song or a MidiError, soon, and in bounded memory.

A failure names the command that runs its mutant again: python -m tests.fuzz --seed 0 --only 1234 --write mutant.mid
"""

from __future__ import annotations

import pytest

from tests.fuzz.__main__ import BYTES, SECONDS, run
from tests.fuzz.mutants import MUTATIONS, SHARED, flood, mutant


def check(seed: int, count: int) -> None:
    result = run(seed, 0, count)
    assert result.failures == []
    assert sum(result.outcomes.values()) == 3 * count  # salvage off, safe and aggressive: none unaccounted for
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


def test_a_mutant_is_known_by_its_numbers_and_every_mutation_is_used() -> None:
    made = [mutant(0, number) for number in range(1500)]
    assert made[7] == mutant(0, 7)
    assert len({content for content, _ in made}) > 1400
    used = {name for _, how in made for name in how.split()[1:]}
    assert used == {mutation.__name__ for mutation in (*MUTATIONS, flood)}
