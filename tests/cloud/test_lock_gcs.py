"""The lock of an output folder on Cloud Storage: it is created, renewed and removed on conditions of its generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gansynth.errors import ConfigError
from gansynth.io import files, listing
from pipeline import lock
from pipeline.lock import LockError
from tests.pipeline.test_lock import leave, race, take, wait_until
from tests.support.servers import Front

OUTPUT = "gs://out/locked"


@pytest.fixture
def conditions(cloud: Callable[[str], None], gcs: str) -> Iterator[Front]:
    with Front(gcs, fault_rate=0.0, page=1000).running() as front:
        cloud(front.url)
        yield front
        files.remove(OUTPUT)


def test_one_of_many_gets_the_lock(conditions: Front) -> None:
    race(OUTPUT)
    leave(OUTPUT, started="0")
    race(OUTPUT)
    with take(OUTPUT) as mine:
        assert mine.taken_from is None  # it was released
    assert listing.kind(f"{OUTPUT}/{lock.NAME}") is None


def test_a_lock_that_was_taken_over_is_neither_renewed_nor_removed(
    conditions: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.05)
    with take(OUTPUT) as mine:
        first = mine._version
        wait_until(lambda: mine._version not in (None, first))  # each renewal is a new generation
        mine.check()
        theirs = leave(OUTPUT)
        wait_until(lambda: mine._lost)
        with pytest.raises(LockError):
            mine.check()
    assert theirs.job.encode() in files.read_bytes(f"{OUTPUT}/{lock.NAME}")


def test_the_lock_of_another_machine_is_judged_by_the_storages_clock(
    conditions: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(OUTPUT, machine="another")
    with pytest.raises(ConfigError, match="another job is writing"), take(OUTPUT):
        pass
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.0)
    with take(OUTPUT) as mine:
        assert mine.taken_from is not None
