"""The lock of an output folder: one job holds it, and a job that has ended loses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gansynth.errors import ConfigError
from gansynth.io import files, listing, urls
from pipeline import lock
from pipeline.__main__ import main
from pipeline.lock import Lock, LockError, Owner

ROOT = Path(__file__).parents[2]
HOLD = "import sys, time; from pipeline.lock import Lock; Lock(sys.argv[1], bool).__enter__(); print(); time.sleep(600)"


def take(output: str, outcome: Any = lambda owner: None) -> Lock:
    return Lock(output, outcome)


def leave(output: str, **changes: Any) -> Owner:
    """Leaves the lock of a job that did not release it."""
    owner = replace(Owner.here(), **changes)
    files.write_bytes(urls.join(output, lock.NAME), lock._encode(owner))
    return owner


@pytest.fixture(params=["local", "memory"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    folder = str(tmp_path / "out") if request.param == "local" else f"memory://{uuid.uuid4().hex}"
    yield folder
    files.remove(folder)


def test_the_second_job_is_told_who_holds_the_lock_since_when(output: str) -> None:
    with take(output) as first:
        with pytest.raises(ConfigError) as refused, take(output):
            pass
        assert f"process {os.getpid()} on {first.owner.host}, since {first.owner.since}" in str(refused.value)
        first.check()
    assert listing.kind(urls.join(output, lock.NAME)) is None
    with take(output) as again:
        assert again.taken_from is None


def test_of_many_jobs_that_begin_at_once_one_gets_the_lock(output: str) -> None:
    race(output)


def test_of_many_jobs_that_take_a_lock_over_one_gets_it(tmp_path: Path) -> None:
    for _ in range(10):
        leave(str(tmp_path), started="0")
        race(str(tmp_path))


def race(output: str, jobs: int = 8) -> None:
    start, held, refused = threading.Barrier(jobs), [], []

    def begin() -> None:
        one = take(output)
        start.wait()
        try:
            one.__enter__()
            held.append(one)
        except ConfigError as error:
            refused.append(error)

    threads = [threading.Thread(target=begin) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ExitStack() as stack:
        stack.push(held[0])
        assert (len(held), len(refused)) == (1, jobs - 1)


def test_the_lock_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ConfigError, match=f"process {holder.pid} on"), take(str(tmp_path)):
            pass
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # ended, but its parent has not noticed
        with take(str(tmp_path)) as mine:
            assert mine.taken_from is not None
            assert mine.taken_from.process == holder.pid
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("changes", [{"started": "1"}, {"process": 1 << 30}])
def test_a_later_process_with_the_same_number_does_not_hold_the_lock(changes: dict[str, Any], tmp_path: Path) -> None:
    leave(str(tmp_path), **changes)
    with take(str(tmp_path)) as mine:
        assert mine.taken_from is not None


@pytest.mark.parametrize("machine", ["", "another boot pid:[1]"])
def test_the_lock_of_another_machine_is_taken_over_when_it_is_not_renewed(machine: str, tmp_path: Path) -> None:
    path = tmp_path / lock.NAME
    leave(str(tmp_path), machine=machine, process=1 << 30)
    with pytest.raises(ConfigError, match="another job is writing into this folder"), take(str(tmp_path)):
        pass
    long_ago = path.stat().st_mtime - lock.STALE_SECONDS - 1
    os.utime(path, (long_ago, long_ago))
    with take(str(tmp_path)):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_without_content_is_one_that_is_being_made(tmp_path: Path) -> None:
    path = tmp_path / lock.NAME
    path.touch()
    with pytest.raises(ConfigError, match="its lock cannot be read"), take(str(tmp_path)):
        pass
    os.utime(path, (0, 0))
    with take(str(tmp_path)):
        pass


def test_a_job_renews_its_lock_and_notices_when_it_has_lost_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.02)
    path = tmp_path / lock.NAME
    with take(str(tmp_path)) as mine:
        os.utime(path, (0, 0))
        wait_until(lambda: path.stat().st_mtime > 0)
        mine.check()
        theirs = leave(str(tmp_path))
        wait_until(lambda: mine._lost)
        with pytest.raises(LockError, match="another job has taken this folder over"):
            mine.check()
    assert json.loads(path.read_text())["job"] == theirs.job  # and it is not removed


def wait_until(condition: Any) -> None:
    event = threading.Event()
    for _ in range(1000):
        if condition():
            return
        event.wait(0.02)
    raise AssertionError("nothing happened")


REMOTE = {"runner": "DataflowRunner", "job": "2026-01-01_x", "project": "p", "region": "r"}


def test_a_remote_job_holds_the_lock_after_its_submitter_has_gone(output: str) -> None:
    with take(output) as first:
        first.name_remote_job(REMOTE)
    for outcome, words in ((False, "still runs"), (None, "may still run")):
        with pytest.raises(ConfigError, match=f"{words}.*DataflowRunner job 2026-01-01_x, since"):
            take(output, lambda owner, outcome=outcome: outcome).__enter__()
    with take(output, lambda owner: owner.remote == REMOTE) as later:
        assert later.taken_from is not None
        assert later.taken_from.job == first.owner.job != later.owner.job


def test_a_remote_job_that_has_ended_is_no_longer_named(output: str) -> None:
    with take(output) as first:
        first.name_remote_job(REMOTE)
        first.name_remote_job({})
    assert listing.kind(urls.join(output, lock.NAME)) is None


def test_a_second_run_changes_nothing_in_the_folder_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / ".rows" / "first").mkdir(parents=True)
    (tmp_path / "out" / ".rows" / "first" / "part.jsonl").write_text("{}\n")
    with take(str(tmp_path / "out")):
        before = sorted(path.name for path in (tmp_path / "out").rglob("*"))
        assert main(["render", "--output", str(tmp_path / "out"), "--quiet"]) == 2
        assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == before
    assert "another job is writing into this folder" in capsys.readouterr().err
