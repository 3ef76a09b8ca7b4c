"""The runner of a job: Beam's own name for it, however it was spelt, and what it needs before it can start."""

from __future__ import annotations

import difflib
import importlib
import os
from typing import TYPE_CHECKING

from gansynth.errors import ConfigError, GansynthError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

DATAFLOW = "DataflowRunner"
LOCAL = "FnApiRunner"
"""The runner of this process."""

_IN_PROCESS = ("DirectRunner", "SwitchingDirectRunner")
"""Beam's would first try to download Prism, and then run what we run at once: FnApiRunner."""
_REFUSED = {
    "BundleBasedDirectRunner": "it is what Beam had before FnApiRunner; use DirectRunner",
    "DaskRunner": "it gives silently wrong results; use another",
    "InteractiveRunner": "it is for notebooks; use DirectRunner",
    "PySparkRunner": "it gives all outputs of a step to each of them; use SparkRunner",
    "TestDataflowRunner": "it is for Beam's own tests; use DataflowRunner",
    "TestDirectRunner": "it is for Beam's own tests; use DirectRunner",
}
_PROGRAMS = {
    "FlinkRunner": ("flink_job_server_jar", "the jar of Beam's job server for Flink"),
    "KafkaStreamsRunner": ("kafka_streams_job_server_jar", "the jar of Beam's job server for Kafka Streams"),
    "PrismRunner": (
        "prism_location",
        "the program, ~/go/bin/prism after `go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{version}`",
    ),
    "SparkRunner": ("spark_job_server_jar", "the jar of Beam's job server for Spark"),
}
"""Runners that start a program of their own, the option that says where it is, and how to get it."""


class JobError(GansynthError):
    """A job that failed.

    Attributes:
        has_ended: true if it was started and is known to have ended.
    """

    has_ended = False


def resolve(name: str | None) -> str:
    """Finds the runner that a name means to Beam: of its class in any case, without "Runner", or a path of modules.

    Args:
        name: as it was given; None if it was not.

    Returns:
        The name of Beam's class; LOCAL for all that run in this process; the path itself of a class that is not Beam's.

    Raises:
        ConfigError: there is no such runner, or it is one that is refused.
    """
    if not name:
        return LOCAL
    known = {runner.lower(): runner for runner in (*_beams(), *_REFUSED)}
    last = name.rpartition(".")[2].lower()
    found = known.get(last) or known.get(f"{last}runner")
    if found in _REFUSED:
        raise ConfigError(f"--runner {name}: not supported, {_REFUSED[found]}.")
    if "." in name:
        found = _imported(name, found)
    if found is None:
        raise ConfigError(f"--runner {name}: no such runner; {_hint(last, known)}")
    return LOCAL if found in _IN_PROCESS else found


def check(runner: str, options: PipelineOptions) -> None:
    """Refuses what a runner would first download, and workers that could not have this package.

    Args:
        runner: what `resolve` returned.
        options: Beam's, all of them.

    Raises:
        ConfigError: names the option that is missing, and what to give for it.
    """
    from apache_beam.options.pipeline_options import PortableOptions

    portable = options.view_as(PortableOptions)
    if runner in _PROGRAMS and not portable.job_endpoint:
        _check_program(runner, options)
    if runner == "PortableRunner" and not portable.job_endpoint:
        raise ConfigError("--job_endpoint: is missing; PortableRunner needs the HOST:PORT of a job service.")
    if runner in _PROGRAMS or runner == "PortableRunner":
        _check_environment(runner, options)


def _beams() -> list[str]:
    """Names of the runners that Beam knows by name."""
    from apache_beam.options.pipeline_options import StandardOptions

    return [path.rpartition(".")[2] for path in StandardOptions.ALL_KNOWN_RUNNERS]


def _imported(path: str, beams: str | None) -> str | None:
    """The name of the class at a path if it is Beam's, else the path; None if there is no runner."""
    from apache_beam.runners.runner import PipelineRunner

    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return None
    if not (isinstance(found, type) and issubclass(found, PipelineRunner)):
        return None
    return beams if found.__module__.startswith("apache_beam.") else path


def _hint(last: str, known: dict[str, str]) -> str:
    near = difflib.get_close_matches(last, [*known, *(name.removesuffix("runner") for name in known)], 1, 0.6)
    names = [known.get(name) or known[f"{name}runner"] for name in near]
    usable = sorted(name for name in known.values() if name not in _REFUSED)
    return f"did you mean {names[0]}?" if names else f"known: {', '.join(usable)}."


def _check_program(runner: str, options: PipelineOptions) -> None:
    import apache_beam

    option, program = _PROGRAMS[runner]
    given = options.get_all_options().get(option)
    if given and os.path.isfile(given):
        return
    what = f"--{option} {given}: no such file" if given else f"--{option}: is missing"
    raise ConfigError(
        f"{what}; Beam would try to download it. Give the path of {program.format(version=apache_beam.__version__)}; "
        "or the --job_endpoint of one that runs."
    )


def _check_environment(runner: str, options: PipelineOptions) -> None:
    from apache_beam.options.pipeline_options import PortableOptions, WorkerOptions

    portable = options.view_as(PortableOptions)
    if portable.environment_type is None and runner != "PrismRunner":  # whose default is LOOPBACK
        raise ConfigError(
            f"--environment_type: is missing; {runner}'s workers need this package: EXTERNAL with --environment_config="
            "HOST:PORT of a worker pool, DOCKER with --environment_config=IMAGE, or LOOPBACK: threads of this process."
        )
    image = portable.environment_config or portable.environment_options
    if portable.environment_type == "DOCKER" and not (image or options.view_as(WorkerOptions).sdk_container_image):
        raise ConfigError(
            "--environment_config: is missing; with --environment_type DOCKER it names the image of this package, "
            "which Beam's own images do not have."
        )
