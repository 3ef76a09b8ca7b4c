"""Workers in other processes and in another network write the same bytes as this process."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import ExternalEnvironment

from gansynth.io import files, urls
from pipeline import remote
from pipeline.__main__ import main
from pipeline.config import load_config
from pipeline.inputs import Listing, list_sources
from pipeline.job import rows_folder
from tests.support.cloud import TINY, assert_same, outputs
from tests.support.servers import free_port, started

ROOT = Path(__file__).parents[2]
# The pool starts its workers as `python`, in its own working folder.
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
QUIET: dict[str, Any] = {"cwd": ROOT, "env": ENVIRONMENT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

pytestmark = pytest.mark.slow


def pool(port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}")


def job_service(port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", f"--port={port}")


def arguments(corpus: Path, out: Path) -> list[str]:
    return ["render", str(corpus), "--output", str(out), "--set", f"checkpoint={TINY}", "--quiet"]


def test_portable_runner(corpus: Path, rendered: Path, tmp_path: Path) -> None:
    jobs, workers = free_port(), free_port()
    with started(*job_service(jobs), port=jobs, **QUIET), started(*pool(workers), port=workers, **QUIET):
        portable = ["--runner=PortableRunner", f"--job_endpoint=localhost:{jobs}"]
        external = ["--environment_type=EXTERNAL", f"--environment_config=localhost:{workers}"]
        assert main([*arguments(corpus, tmp_path / "out"), *portable, *external]) == 3
    assert_same(outputs(str(tmp_path / "out")), outputs(str(rendered)))


def test_beams_own_processes(corpus: Path, rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", ENVIRONMENT["PATH"])
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    processes = ["--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    assert main([*arguments(corpus, tmp_path / "out"), *processes]) == 3
    assert_same(outputs(str(tmp_path / "out")), outputs(str(rendered)))


def test_two_workers_in_processes_of_their_own(corpus: Path, rendered: Path, tmp_path: Path) -> None:
    port = free_port()
    with started(*pool(port), port=port, **QUIET) as process, most_children(process.pid) as seen:
        render_with_two_workers(corpus, tmp_path, f"localhost:{port}")
    assert max(seen) == 2
    assert_same(outputs(str(tmp_path)), outputs(str(rendered)))


def render_with_two_workers(corpus: Path, out: Path, pool_address: str) -> None:
    config = load_config(None, [f"checkpoint={TINY}"], [str(corpus)], str(out))
    sources = Listing(list_sources(config.input))
    files.upload(sources.path, urls.join(rows_folder(config.output, "job"), remote.INPUTS))
    runner: Any = FnApiRunner(default_environment=ExternalEnvironment(pool_address))
    remote.draw(config, False, ["--direct_num_workers=2"], runner, sources).run().wait_until_finish()


@contextlib.contextmanager
def most_children(pid: int) -> Iterator[list[int]]:
    """Provides a list of samples of the number of child processes of a process."""
    seen, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(0.2):
            with contextlib.suppress(psutil.NoSuchProcess):
                seen.append(len(psutil.Process(pid).children()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


# Another network


@pytest.fixture
def networks(tmp_path: Path) -> Iterator[tuple[list[str], list[str], str]]:
    """Creates two connected network namespaces; returns command prefixes that run in each, and the second's address.

    In the first, this machine's host name resolves to the address by which the second reaches it."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "mount"))):
        pytest.skip("network namespaces need root, ip and unshare")
    one, two = (f"gansynth-{os.getpid()}-{side}" for side in "ab")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.231.7.1 runner-side\n")
    steps = [
        f"netns add {one}",
        f"netns add {two}",
        f"link add gs{os.getpid()}a netns {one} type veth peer name gs{os.getpid()}b netns {two}",
        *(f"-n {name} link set lo up" for name in (one, two)),
        f"-n {one} addr add 10.231.7.1/30 dev gs{os.getpid()}a",
        f"-n {two} addr add 10.231.7.2/30 dev gs{os.getpid()}b",
        f"-n {one} link set gs{os.getpid()}a up",
        f"-n {two} link set gs{os.getpid()}b up",
    ]
    try:
        for step in steps:
            done = subprocess.run(["ip", *step.split()], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"network namespaces are not allowed here: {done.stderr.strip()}")
        named = f'mount --bind {hosts} /etc/hosts && hostname runner-side && exec "$@"'
        first = ["ip", "netns", "exec", one, "unshare", "--uts", "--mount", "sh", "-c", named, "sh"]
        second = ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]
        yield first, ["ip", "netns", "exec", two, *second], "10.231.7.2"
    finally:
        for name in (one, two):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def test_workers_in_another_network(
    networks: tuple[list[str], list[str], str], corpus: Path, rendered: Path, tmp_path: Path
) -> None:
    here, there, address = networks
    port = free_port()
    workers = subprocess.Popen([*there, *pool(port)], **QUIET)
    try:
        time.sleep(5)
        code = "import sys; sys.path.insert(0, 'tests/cloud'); from pathlib import Path; import test_boundary; "
        code += f"test_boundary.render_with_two_workers(Path({str(corpus)!r}), Path({str(tmp_path / 'out')!r}), "
        code += f"'{address}:{port}')"
        runner = subprocess.run(
            [*here, sys.executable, "-c", code],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert runner.returncode == 0, runner.stderr[-3000:]
    finally:
        workers.terminate()
        workers.wait()
    assert_same(outputs(str(tmp_path / "out")), outputs(str(rendered)))
