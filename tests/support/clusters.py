"""Engines on this machine, as processes: what docs/runners.md describes, for tests, benchmarks and by hand.

    python -m tests.support.clusters flink [FOLDER]    prints Beam options for the cluster, and runs it until Ctrl-C
    python -m tests.support.clusters spark [FOLDER]    "spark local": in the job server; "portable"; "prism and a pool"

Their jars come from tests/engines/setup.sh. Logs are written to FOLDER.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.support.engines import (
    CACHE,
    ENVIRONMENT,
    NO_PRISM,
    ROOT,
    job_service,
    pool,
    pool_options,
    prism,
    prism_options,
)
from tests.support.servers import free_port, wait_for

MACHINES = (1, 2)
POOL_NAME = "pool"
"""A name for a pool that means another address to each machine: 127.0.0.1, 127.0.0.2."""
_OPENED = ("lang", "lang.invoke", "lang.reflect", "io", "net", "nio", "time", "util", "util.concurrent")
_OPENED_TOO = ("util.concurrent.atomic",)
_SUN = ("nio.ch", "nio.cs", "security.action", "util.calendar")
OPENS = tuple(
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in (*(f"java.{name}" for name in (*_OPENED, *_OPENED_TOO)), *(f"sun.{name}" for name in _SUN))
)
"""What Flink and Spark need opened in Java 17."""
FLINK = {
    "rest.address": "localhost",
    "jobmanager.rpc.address": "localhost",
    "jobmanager.memory.process.size": "1600m",
    "taskmanager.host": "localhost",
    "taskmanager.numberOfTaskSlots": "2",  # the other one's too, when it has died
    "cluster.evenly-spread-out-slots": "true",
    # Without a strategy Flink restarts nothing that fails.
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "10",
    "restart-strategy.fixed-delay.delay": "3 s",
    "heartbeat.interval": "5000",
    "heartbeat.timeout": "20000",
}
"""Settings of the cluster, the file config.yaml."""
TASK_MANAGER = {  # without Flink's scripts all sizes must be given
    "taskmanager.cpu.cores": "1",
    "taskmanager.memory.task.heap.size": "2944mb",
    "taskmanager.memory.task.off-heap.size": "64mb",
    "taskmanager.memory.managed.size": "256mb",
    "taskmanager.memory.framework.heap.size": "128mb",
    "taskmanager.memory.framework.off-heap.size": "128mb",
    "taskmanager.memory.network.fraction": "0.1",
    "taskmanager.memory.network.min": "128mb",
    "taskmanager.memory.network.max": "128mb",
    "taskmanager.memory.jvm-metaspace.size": "256mb",
    "taskmanager.memory.jvm-overhead.min": "128mb",
    "taskmanager.memory.jvm-overhead.max": "128mb",
}


def jars(engine: str) -> Path | None:
    """The folder of an engine's jars; None if setup.sh has not fetched them, or there is no Java."""
    folder = CACHE / engine / "jars"
    return folder if folder.is_dir() and shutil.which("java") else None


@dataclass
class Cluster:
    """A running cluster.

    Attributes:
        options: Beam options with which a job is submitted to it.
        processes: its processes by name; "worker-1" and so on can be killed, and "pool-1" has its Python workers.
        start: starts the process of that name again.
    """

    options: list[str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    start: Callable[[str], None] = lambda name: None

    def machine(self, number: int) -> list[psutil.Process]:
        """Lists what dies with a machine: a worker, its pool, and what both have started, as Spark's executors."""
        own = [psutil.Process(self.processes[f"{name}-{number}"].pid) for name in ("worker", "pool")]
        return [*own, *(child for process in own for child in process.children(recursive=True))]


@contextlib.contextmanager
def flink(folder: Path, environment: dict[str, str] | None = None) -> Iterator[Cluster]:
    """Runs a JobManager, two TaskManagers, each with a pool of Python workers, and Beam's job server.

    Args:
        folder: for logs and settings.
        environment: of the Python workers; that of the tests if None.
    """
    rest, rpc, jobs, artifacts, workers = (free_port() for _ in range(5))
    settings = FLINK | {"rest.port": str(rest), "jobmanager.rpc.port": str(rpc)}
    (folder / "config.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    configured = ("--configDir", str(folder))
    sizes = [part for name, value in TASK_MANAGER.items() for part in ("-D", f"{name}={value}")]
    runtime = "org.apache.flink.runtime"
    memory = ("-Xmx3g", "-XX:MaxDirectMemorySize=512m", "-XX:+ExitOnOutOfMemoryError")
    task_manager = f"{runtime}.taskexecutor.TaskManagerRunner"
    server = (f"--flink-master=localhost:{rest}", f"--artifacts-dir={folder / 'staged'}")
    commands: dict[str, Sequence[str]] = {
        "manager": _java(
            "flink",
            ("-Xmx512m",),
            f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint",
            *(*configured, "-D", "jobmanager.memory.heap.size=512m"),
        ),
        **{
            f"worker-{n}": _java(
                "flink", (*memory, _hosts(n, folder / f"hosts-{n}")), task_manager, *configured, *sizes
            )
            for n in MACHINES
        },
        "jobs": _java("flink", ("-Xmx512m",), _driver("flink"), *server, *_ports(jobs, artifacts)),
        **_pools(workers),
    }
    options = ["--runner=FlinkRunner", f"--job_endpoint=localhost:{jobs}", f"--parallelism={len(MACHINES)}"]
    with _running(commands, Cluster([*options, *pool_options(workers, POOL_NAME)]), folder, environment) as cluster:
        for port, name in ((rest, "manager"), (jobs, "jobs"), (workers, "pool-1")):
            wait_for(port, cluster.processes[name])
        _wait_for(lambda: _get(rest, "overview")["taskmanagers"] == len(MACHINES))
        yield cluster


@contextlib.contextmanager
def spark(folder: Path, environment: dict[str, str] | None = None, local: bool = False) -> Iterator[Cluster]:
    """Runs a standalone Spark master, two workers, each with a pool of Python workers, and Beam's job server.

    Args:
        folder: for logs and files of the workers.
        environment: of the Python workers; that of the tests if None.
        local: if true, Spark runs in the job server, with two threads, and tries each task four times.
    """
    port, jobs, artifacts, workers = (free_port() for _ in range(4))
    deploy = "org.apache.spark.deploy"
    url = "local[2,4]" if local else f"spark://localhost:{port}"
    java = (*OPENS, "-Djdk.net.hosts.file=../../hosts")  # an executor runs two folders below its worker's
    limits = ("-Dspark.executor.memory=900m", f"-Dspark.executor.extraJavaOptions={' '.join(java)}")
    driver = ("-Xmx1500m" if local else "-Xmx800m", "-Dspark.driver.host=localhost", *limits)
    server = (f"--spark-master-url={url}", f"--artifacts-dir={folder / 'staged'}")
    commands: dict[str, Sequence[str]] = {}
    own = ("--host", "localhost", "--webui-port", "0")
    if not local:
        commands["manager"] = _java("spark", ("-Xmx400m",), f"{deploy}.master.Master", *own, "--port", str(port))
        for n in MACHINES:
            place = folder / f"worker-{n}"
            place.mkdir()
            _hosts(n, place / "hosts")
            share = ("--work-dir", str(place), "--cores", "1", "--memory", "1g", url)
            commands[f"worker-{n}"] = _java("spark", ("-Xmx300m",), f"{deploy}.worker.Worker", *own, *share)
    commands["jobs"] = _java("spark", driver, _driver("spark"), *server, *_ports(jobs, artifacts))
    commands |= {"pool-1": pool(workers)} if local else _pools(workers)
    to_pool = pool_options(workers) if local else pool_options(workers, POOL_NAME)
    options = ["--runner=SparkRunner", f"--job_endpoint=localhost:{jobs}", *to_pool]
    with _running(commands, Cluster(options), folder, environment) as cluster:
        for listening, name in ((port, "manager"), (jobs, "jobs"), (workers, "pool-1")):
            if name in cluster.processes:
                wait_for(listening, cluster.processes[name])
        yield cluster


@contextlib.contextmanager
def one_pool(folder: Path, environment: dict[str, str] | None = None, with_prism: bool = False) -> Iterator[Cluster]:
    """Runs a pool of Python workers and Beam's job service in Python, the engines of a single machine.

    Args:
        folder: for logs.
        environment: of the Python workers; that of the tests if None.
        with_prism: if true, without the job service: each job starts a Prism, which takes its workers from the pool.
    """
    jobs, workers = free_port(), free_port()
    commands = {"pool-1": pool(workers)} | ({} if with_prism else {"jobs": job_service(jobs)})
    service = prism_options() if with_prism else ["--runner=PortableRunner", f"--job_endpoint=localhost:{jobs}"]
    with _running(commands, Cluster([*service, *pool_options(workers)]), folder, environment) as cluster:
        for listening, name in ((jobs, "jobs"), (workers, "pool-1")):
            if name in cluster.processes:
                wait_for(listening, cluster.processes[name])
        yield cluster


@contextlib.contextmanager
def prism_alone(folder: Path, environment: dict[str, str] | None = None) -> Iterator[Cluster]:
    """Runs nothing: each job starts a Prism, and its workers are threads of the command."""
    yield Cluster(prism_options())


CLUSTERS = {"flink": flink, "spark": spark, "spark local": functools.partial(spark, local=True)}
"""How each is started, by the name of its engine, with a way to run it."""
ENGINES = {
    "portable": one_pool,
    "prism": prism_alone,
    "prism and a pool": functools.partial(one_pool, with_prism=True),
    **CLUSTERS,
}
"""All of them. The first is a part of Beam, and always there."""


def missing(engine: str) -> str:
    """Returns what an engine lacks on this machine; empty if it can be started."""
    if engine.startswith("prism"):
        return "" if prism() else NO_PRISM
    if engine in CLUSTERS and not jars(engine.split()[0]):
        return f"no {engine.split()[0]} on this machine: tests/engines/setup.sh fetches it (needs Maven, and Java 17)"
    return ""


def _pools(port: int) -> dict[str, Sequence[str]]:
    return {f"pool-{n}": (sys.executable, "-m", "tests.support.pool", f"127.0.0.{n}:{port}") for n in MACHINES}


def _hosts(number: int, path: Path) -> str:
    """Writes a file that says what names mean to a machine's Java; returns the option for it."""
    path.write_text(f"127.0.0.1 localhost\n127.0.0.1 {socket.gethostname()}\n127.0.0.{number} {POOL_NAME}\n")
    return f"-Djdk.net.hosts.file={path}"


def _driver(engine: str) -> str:
    return f"org.apache.beam.runners.{engine}.{engine.capitalize()}JobServerDriver"


def _ports(jobs: int, artifacts: int) -> tuple[str, ...]:
    return f"--job-port={jobs}", f"--artifact-port={artifacts}", "--expansion-port=-1"


def _java(engine: str, options: Sequence[str], main: str, *arguments: str) -> tuple[str, ...]:
    return ("java", *options, *OPENS, "-cp", f"{jars(engine)}/*", main, *arguments)


@contextlib.contextmanager
def _running(
    commands: dict[str, Sequence[str]], cluster: Cluster, folder: Path, environment: dict[str, str] | None
) -> Iterator[Cluster]:
    """Runs processes; a manager first, so that the others find it."""
    variables = {"SPARK_HOME": str(CACHE / "spark"), "SPARK_LOCAL_HOSTNAME": "localhost", "SPARK_SCALA_VERSION": "2.12"}

    def start(name: str) -> None:
        options: dict[str, Any] = {"cwd": ROOT, "env": (environment or ENVIRONMENT) | variables}
        with (folder / f"{name}.log").open("ab") as log:
            cluster.processes[name] = subprocess.Popen(commands[name], stdout=log, stderr=log, **options)

    cluster.start = start
    try:
        for name in commands:
            start(name)
        yield cluster
    finally:
        for process in cluster.processes.values():
            process.terminate()
        for process in cluster.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://localhost:{port}/{path}", timeout=10) as answer:
        return json.load(answer)


def _wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, KeyError):
            if condition():
                return
        if time.monotonic() > end:
            raise RuntimeError("the cluster's workers did not come")
        time.sleep(0.5)


def main() -> None:
    """Runs a cluster until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    engine, *folders = sys.argv[1:]
    folder = Path(folders[0] if folders else tempfile.mkdtemp(prefix="engine-")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with ENGINES[engine](folder) as cluster, contextlib.suppress(KeyboardInterrupt):
        print(*cluster.options, flush=True)
        print({name: process.pid for name, process in cluster.processes.items()}, f"logs: {folder}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
