"""Every spelling of a runner that Beam takes means the same to us; what a runner would download is asked for."""

from __future__ import annotations

import itertools
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.runners.runner import PipelineRunner, create_runner

from gansynth.errors import ConfigError
from pipeline import runners
from pipeline.__main__ import main
from pipeline.options import check_beam_options

SHORT = ("dataflow", "direct", "flink", "fnapi", "kafkastreams", "portable", "prism", "spark", "switchingdirect")
USABLE = [path for path in StandardOptions.ALL_KNOWN_RUNNERS if path.rpartition(".")[2] not in runners._REFUSED]
ELSEWHERE = {
    "apache_beam.runners.DataflowRunner": "DataflowRunner",
    "apache_beam.runners.DirectRunner": "FnApiRunner",
    "apache_beam.runners.direct.DirectRunner": "FnApiRunner",
    "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner": "FnApiRunner",
}


class OwnRunner(PipelineRunner):
    """Of somebody else."""


def meant(path: str) -> str:
    name = path.rpartition(".")[2]
    return "FnApiRunner" if name in ("DirectRunner", "SwitchingDirectRunner") else name


@pytest.mark.parametrize("path", USABLE)
def test_every_spelling_means_beams_class(path: str) -> None:
    name = path.rpartition(".")[2]
    bare = name.removesuffix("Runner")
    for spelling in (path, *itertools.chain(*((x, x.lower(), x.upper()) for x in (name, bare)))):
        assert runners.resolve(spelling) == meant(path), spelling
        assert type(create_runner(spelling)).__name__ == type(create_runner(name)).__name__, "Beam takes it"


@pytest.mark.parametrize("name", SHORT)
def test_short_names_are_those_that_people_write(name: str) -> None:
    assert runners.resolve(name).lower() in (f"{name}runner", "fnapirunner")


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_class_is_found_wherever_beam_has_it(path: str) -> None:
    assert runners.resolve(path) == ELSEWHERE[path]


@pytest.mark.parametrize("name", [None, ""])
def test_none_is_this_process(name: str | None) -> None:
    assert runners.resolve(name) == runners.LOCAL


def test_a_runner_of_somebody_else_keeps_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "somebody.runners", sys.modules[__name__])
    assert runners.resolve("somebody.runners.OwnRunner") == "somebody.runners.OwnRunner"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("prsm", r"--runner prsm: no such runner; did you mean PrismRunner\?"),
        ("DataflwRunner", r"did you mean DataflowRunner\?"),
        ("apache_beam.runners.DirectRuner", r"did you mean DirectRunner\?"),
        ("apache_beam.runners.dataflowrunner", r"did you mean DataflowRunner\?"),
        ("nowhere.at.all.Thing", "no such runner; known: DataflowRunner, DirectRunner, "),
        ("pathlib.Path", "no such runner"),
        ("dask", "silently wrong"),
        ("DaskRunner", "silently wrong"),
        ("apache_beam.runners.dask.dask_runner.DaskRunner", "silently wrong"),
        ("beam_pyspark_runner.pyspark_runner.PySparkRunner", "use SparkRunner"),
        ("BundleBasedDirectRunner", "use DirectRunner"),
        ("interactive", "use DirectRunner"),
        ("apache_beam.runners.test.TestDirectRunner", "use DirectRunner"),
        ("testdataflow", "use DataflowRunner"),
    ],
)
def test_another_is_an_error(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        runners.resolve(name)


# What a runner needs

ENDPOINT, POOL = "--job_endpoint=localhost:1", ("--environment_type=EXTERNAL", "--environment_config=localhost:2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runner=prism"], r"--prism_location: is missing; .*go install .*/prism@v\d"),
        (["--runner=prism", "--prism_location=/nowhere/prism"], "--prism_location /nowhere/prism: no such file"),
        (["--runner=prism", "--prism_location=https://localhost/prism.zip"], "Beam would try to download it"),
        (["--runner=flink"], "--flink_job_server_jar: is missing; Beam would try to download it"),
        (["--runner=spark", "--spark_job_server_jar=/nowhere.jar"], "--spark_job_server_jar /nowhere.jar: no such"),
        (["--runner=KafkaStreamsRunner"], "--kafka_streams_job_server_jar: is missing"),
        (["--runner=PortableRunner"], "--job_endpoint: is missing"),
        (["--runner=PortableRunner", ENDPOINT], "--environment_type: is missing; PortableRunner's workers"),
        (["--runner=flink", ENDPOINT], "--environment_type: is missing; FlinkRunner's workers"),
        (["--runner=flink", ENDPOINT, "--environment_type=DOCKER"], "--environment_config: is missing"),
    ],
)
def test_what_beam_would_fetch_by_itself_is_asked_for(arguments: Sequence[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_beam_options(arguments)


def test_what_has_what_it_needs_passes(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.touch()
    for arguments, runner in (
        (["--runner=prism", f"--prism_location={program}"], "PrismRunner"),
        (["--runner=PRISM", ENDPOINT], "PrismRunner"),
        (["--runner=flink", f"--flink_job_server_jar={program}", *POOL], "FlinkRunner"),
        (["--runner=SparkRunner", ENDPOINT, *POOL], "SparkRunner"),
        (["--runner=portable", ENDPOINT, "--environment_type=DOCKER", "--environment_config=image"], "PortableRunner"),
    ):
        assert check_beam_options(arguments) == runner


@pytest.mark.parametrize("name", ["dataflow", "DATAFLOWRUNNER", "apache_beam.runners.DataflowRunner"])
def test_dataflow_is_checked_by_any_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "--output", str(tmp_path / "out"), f"--runner={name}", "--project=p", "--region=r"]) == 2
    assert "Dataflow's workers need a gs:// URL" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["DirectRunner", "direct", "SwitchingDirectRunner", "apache_beam.runners.DirectRunner"]
)
def test_direct_runner_asks_nobody_for_prism(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection to another machine")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("apache_beam.runners.portability.prism_runner.urlopen", refuse)
    tiny = Path(__file__).parents[1] / "data" / "checkpoints" / "tiny"
    midi = Path(__file__).parents[1] / "data" / "midi" / "melody.mid"
    settings = ["--set", f"checkpoint={tiny}", "--set", "compute.workers=1", "--set", f"beam.runner={name}"]
    assert main(["render", str(midi), "--output", str(tmp_path / "out"), "--quiet", *settings]) == 0
    assert capsys.readouterr().err == ""
