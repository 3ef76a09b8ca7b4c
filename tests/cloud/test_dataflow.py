"""A Dataflow job, submitted by Beam to a fake API, and run where only the wheel is installed."""

from __future__ import annotations

import argparse
import json
import os
import re
import runpy
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from apache_beam.portability.api import beam_runner_api_pb2

from gansynth.io import files, listing
from pipeline import dataflow
from pipeline.__main__ import _add_job_arguments, main
from pipeline.options import separate
from tests.support.cloud import SONGS, assert_same, outputs
from tests.support.servers import DataflowApi

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "data" / "job_request.json"
CONFIG = str(ROOT / "configs" / "dataflow.yaml")
SUBMIT = [
    "render",
    "--config",
    CONFIG,
    "--project",
    "my-project",
    "--region",
    "europe-west4",
    "--input",
    "gs://in/songs/**",
]
CPU = ["--set", "compute.device=cpu", "--set", "compute.resource_hints={}", "--set", "compute.batch_rows=1024"]
SAME = ["--set", "checkpoint=gs://in/tiny", "--set", "storage.credentials=anonymous"]


@pytest.fixture
def google(cloud: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces Google's services except the API: no credentials are requested, and polling does not wait."""
    from apache_beam.internal.gcp import auth
    from apache_beam.runners.dataflow import dataflow_runner

    monkeypatch.setattr(auth._Credentials, "_credentials_init", True)  # else it looks for Google's own for 20 s
    brief = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, 0.2)), time=time.time)
    monkeypatch.setattr(dataflow_runner, "time", brief)


@pytest.fixture
def api(google: None, installed: Path, tmp_path: Path) -> Iterator[DataflowApi]:
    """Starts a fake Dataflow whose jobs run in a process with only the wheel."""

    def work(job: dict[str, Any]) -> str | None:
        options = job["environment"]["sdkPipelineOptions"]["options"]
        (tmp_path / "pipeline.pb").write_bytes(files.read_bytes(options["pipelineUrl"]))
        script = str(Path(__file__).with_name("dataflow_worker.py"))
        arguments = (str(ROOT), str(tmp_path / "pipeline.pb"), str(tmp_path / "summary.json"))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = (str(installed), "-W", "ignore", script, *arguments)
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        return done.stderr[-5000:] if done.returncode else None

    with DataflowApi(work).running() as server:
        yield server


def options(api: DataflowApi) -> list[str]:
    return ["--dataflow_endpoint", api.url, "--no_auth"]


def pipeline_of(job: dict[str, Any]) -> Any:
    url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
    return beam_runner_api_pb2.Pipeline.FromString(files.read_bytes(url))


def normalised(job: dict[str, Any]) -> Any:
    """Removes from a request everything that differs between equal jobs."""
    steps = dict(dataflow.steps_and_hints(pipeline_of(job)))
    job = dataflow.short(json.loads(json.dumps(job)))
    job["clientRequestId"] = "REQUEST"
    text = json.dumps(job | {"steps": steps}, indent=2, sort_keys=True, ensure_ascii=False)
    for pattern, name in (
        (r"gansynth-beam-[0-9a-f]{12}", "JOB"),
        (r"JOB\.\d+\.\d+", "JOB"),
        (r"http://localhost:\d+", "ENDPOINT"),
        (r"-py\d+\b", "-pyXY"),
        (r"Python 3\.\d+", "Python 3.X"),
        (r"ref_Environment_\w+", "ENVIRONMENT"),
        (r"(core|util)\.py:\d+", r"\1.py"),
    ):
        text = re.sub(pattern, name, text)
    return json.loads(text)


def test_the_job_request(google: None, capsys: pytest.CaptureFixture[str]) -> None:
    """The request follows configs/dataflow.yaml, and the reason of a failed job is printed."""

    def fail(job: dict[str, Any]) -> str:
        time.sleep(1)
        return "ConfigError: device: gpu was asked for"

    with DataflowApi(fail).running() as api:
        assert main([*SUBMIT, "--output", "gs://out/gpu", *SAME, *options(api)]) == 1
    error = capsys.readouterr().err
    assert "ConfigError: device: gpu was asked for" in error
    assert (
        "https://console.cloud.google.com/dataflow/jobs/europe-west4/2026-01-01_00_00_00-0?project=my-project" in error
    )

    (job,) = api.jobs
    found = normalised(job)
    if os.environ.get("WRITE_GOLDENS"):
        GOLDEN.write_text(json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    assert found == json.loads(GOLDEN.read_text())

    hinted = {name for name, hints in found["steps"].items() if hints}
    assert {name.split("/")[0] + "/" + name.split("/")[1] for name in hinted} == {
        "CheckWorker/Check",
        "Synthesize/Gather",
        "Synthesize/Play",
    }
    staged = {name.rsplit("/", 1)[1] for name, _ in listing.find("gs://out/gpu/.staging")}
    assert not any("main_session" in name for name in staged), staged
    assert staged <= {"pipeline.pb", "submission_environment_dependencies.txt"}
    assert len(json.dumps(job)) < 100_000


def test_the_staged_job_runs_where_only_the_wheel_is(
    api: DataflowApi, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*SUBMIT, "--output", "gs://out/cpu", *SAME, *CPU, "--flexrs_goal=COST_OPTIMIZED", *options(api)]
    assert main(command) == 3
    (job,) = api.jobs
    assert job["environment"]["flexResourceSchedulingGoal"] in (2, "FLEXRS_COST_OPTIMIZED")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary["fns"]) >= {"_Parse", "_Plan", "_Play", "_Write", "_Check", "_Read"}
    assert len(summary["images"]) == 1
    assert summary["coders"] > 10
    assert_same(outputs("gs://out/cpu"), outputs(str(rendered)))
    capsys.readouterr()
    assert main(command) == 3
    assert "nothing to render" in capsys.readouterr().err
    assert len(api.jobs) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # Beam's polling thread
def test_who_went_away_gets_the_songs_and_pays_once(
    api: DataflowApi, rendered: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from apache_beam.utils import retry

    monkeypatch.setattr(retry.Clock, "sleep", lambda *_: None)
    begun = threading.Event()
    work = api.work

    def after_a_while(job: dict[str, Any]) -> str | None:
        assert begun.wait(300)
        return work(job)

    api.work = after_a_while  # type: ignore[method-assign]
    command = [*SUBMIT, "--output", "gs://out/away", *SAME, *CPU, *options(api)]
    api.is_silent = True
    assert main(command) == 1
    assert "lost contact with the job, which is still running" in capsys.readouterr().err
    assert main(command) == 2  # too early
    assert "may still run" in (said := capsys.readouterr().err)
    assert f"DataflowRunner job {api.id(0)}, since" in said
    api.is_silent = False
    assert main(command) == 2
    assert "still runs" in capsys.readouterr().err
    api.is_silent = True
    begun.set()
    while not api.outcomes:
        time.sleep(0.2)
    assert set(api.outcomes.values()) == {None}
    assert main(command) == 3
    assert len(api.jobs) == 1
    assert_same(outputs("gs://out/away"), outputs(str(rendered)))


def test_a_job_that_failed_leaves_lists(google: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(job: dict[str, Any]) -> str:
        time.sleep(1)
        return "it is out of memory"

    with DataflowApi(fail).running() as api:
        assert main([*SUBMIT, "--output", "gs://out/failed", *SAME, *CPU, *options(api)]) == 1
    assert "it is out of memory" in capsys.readouterr().err
    errors = [json.loads(line) for line in files.read_lines("gs://out/failed/errors.jsonl")]
    assert {row["code"] for row in errors} == {"job-stopped"}
    assert [row["song_id"] for row in errors] == sorted(SONGS)
    assert listing.size("gs://out/failed/manifest.jsonl") == 0
    assert listing.kind("gs://out/failed/index.html") == "file"
    assert listing.kind("gs://out/failed/.rows") is None


# The Flex Template: its launcher writes the job's request to a file, and nobody waits for the job


def launched(arguments: list[str]) -> int:
    """Runs templates/launch.py as the launcher does, with configs/dataflow.yaml beside it as in the image."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("templates/launch.py", "configs/dataflow.yaml"):
            shutil.copy(ROOT / name, folder)
        return int(runpy.run_path(f"{folder}/launch.py")["launch"](arguments))


def test_a_job_from_a_template_writes_its_lists_alone(
    api: DataflowApi, rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = "gs://out/template"
    given = ["--runner=DataflowRunner", "--project=my-project", "--region=europe-west4", "--job_name=nightly"]
    given += ["--input=gs://in/songs/**", f"--output={out}", "--template_location=gs://staging/launch/job_object"]
    assert launched([*given, *SAME, *CPU, *options(api)]) == 0
    assert "gs://staging/launch/job_object" in capsys.readouterr().err
    assert not api.jobs
    again = [*SUBMIT, "--output", out, *SAME, *CPU, *options(api)]
    assert main(again) == 2  # nobody has started the job yet
    assert "DataflowRunner job nightly" in (said := capsys.readouterr().err)
    assert "still runs" in said

    job = json.loads(files.read_bytes("gs://staging/launch/job_object"))
    assert job["name"].startswith("nightly")
    assert api.work(job) is None
    assert_same(outputs(out), outputs(str(rendered)))
    assert main(again) == 3  # prints what the job has left, and clears it away
    assert not api.jobs
    assert listing.kind(f"{out}/.rows") is None
    assert_same(outputs(out), outputs(str(rendered)))


def test_parameters_of_the_template_are_our_options() -> None:
    parser = argparse.ArgumentParser()
    _add_job_arguments(parser)
    ours = {name.removeprefix("--") for name in parser._option_string_actions}
    parameters = json.loads((ROOT / "templates" / "flex_template.json").read_text())["parameters"]
    assert {parameter["name"] for parameter in parameters} >= {"input", "output", "config", "set"}
    for parameter in parameters:
        assert parameter["label"]
        assert parameter["helpText"].endswith(".")
        if parameter["name"] not in ours:
            assert separate([f"--{parameter['name']}=x"]) == ([], [f"--{parameter['name']}=x"])
    required = {parameter["name"]: parameter["regexes"] for parameter in parameters if not parameter.get("isOptional")}
    assert required.keys() == {"input", "output"}
    for good, bad in (("gs://b/midi/**", "midi/**"), ("gs://b", "/b")):
        for patterns in required.values():
            assert all(re.search(pattern, good) for pattern in patterns)
            assert not all(re.search(pattern, bad) for pattern in patterns)


def test_the_package_of_setup_file_is_complete(project: Path, tmp_path: Path) -> None:
    """The package that Beam stages for --setup_file has all files, for jobs without an image."""
    from apache_beam.runners.portability.stager import Stager

    path = Stager._build_setup_package(str(project / "setup.py"), str(tmp_path))
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = {
        str(file.relative_to(ROOT))
        for package in ("gansynth", "transforms", "pipeline")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and file.suffix != ".pyc" and "card/" not in str(file)
    }
    assert wanted <= names


# Options that are rejected before anything is submitted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--project="], "--project: missing"),
        (["--region="], "--region: missing"),
        (["--output", "out"], "--output out: Dataflow's workers need a gs:// URL"),
        (
            ["--input", str(ROOT / "pipeline/examples")],
            "riff.mid|bach.*: Dataflow's workers cannot read files on this machine",
        ),
        (["--set", "checkpoint=/nowhere"], "checkpoint /nowhere: Dataflow's workers cannot read it"),
        (["--set", "storage.credentials=/key.json"], "--service_account_email"),
        (["--set", "compute.resource_hints={}"], "compute.device gpu: no worker will have a GPU"),
        (["--set", "compute.resource_hints={accelerator: 'type:nvidia-l4;count:1'}"], "add install-nvidia-driver"),
        (
            ["--set", "compute.resource_hints={min_ram: much}", "--set", "compute.device=cpu"],
            "min_ram has invalid value",
        ),
        (["--set", "compute.resource_hints={ram: 1GB}", "--set", "compute.device=cpu"], "Unknown resource hint: ram"),
        (["--flexrs_goal=COST_OPTIMIZED"], "--flexrs_goal: Dataflow allows neither GPUs nor resource hints"),
        (["--set", "compute.resource_hints={accelerator: nvidia-l4}"], "accelerator: needs type and count"),
        (
            ["--set", "compute.resource_hints={accelerator: 'type:nvidia-l4;count:2;install-nvidia-driver'}"],
            "count:2: the processes of a worker share one model, which runs on one GPU",
        ),
        ([*CPU, "--flexrs_goal=COST_OPTIMIZED", "--autoscaling_algorithm=NONE"], "--flexrs_goal: needs autoscaling"),
        (
            [*CPU, "--flexrs_goal=COST_OPTIMIZED", "--dataflow_service_options=worker_accelerator=type:nvidia-l4"],
            "--flexrs_goal: Dataflow allows neither GPUs nor resource hints",
        ),
        (["--streaming"], "--streaming: not supported"),
        (["--update"], "--update: not supported"),
        (["--requirements_file=/nowhere.txt"], "The file /nowhere.txt cannot be found"),
        (["--experiments=disable_runner_v2"], "Disabling Dataflow Portable Runner no longer supported"),
        (["--num_workers=99"], "num_workers"),
        (["--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1"], "Use one of the two"),
        (["--max_num_worker=3"], r"--max_num_worker: unknown option; did you mean --max_num_workers\?"),
        (["--max_num_workers=many"], "Beam options: argument --max_num_workers: invalid int value"),
        (["--autoscaling_algorithm=SOME"], "invalid choice"),
        (["--temp_location=gs://no-such-bucket-name/x"], None),
    ],
)
def test_refusals(arguments: list[str], message: str | None, google: None, capsys: pytest.CaptureFixture[str]) -> None:
    output = [] if "--output" in arguments else ["--output", "gs://out/refused"]
    given = [*SUBMIT[:-2], *([] if "--input" in arguments else SUBMIT[-2:]), *output]
    if not any("credentials" in argument for argument in arguments):
        given += ["--set", "storage.credentials=anonymous"]
    code = main([*given, *arguments, "--dry-run"])
    captured = capsys.readouterr()
    if message is None:
        assert code == 0, captured.err
        return
    assert code == 2
    assert re.search(message, captured.err), captured.err
    assert "Traceback" not in captured.err


def test_a_dry_run_prints_the_job_and_submits_nothing(google: None, capsys: pytest.CaptureFixture[str]) -> None:
    network = ["--subnetwork=regions/europe-west4/subnetworks/s", "--no_use_public_ips"]
    account = ["--service_account_email=worker@my-project.iam.gserviceaccount.com", "--worker_zone=europe-west4-a"]
    given = [*network, *account, "--labels=team=music", "--set", "storage.credentials=anonymous", "--dry-run"]
    assert main([*SUBMIT, "--output", "gs://out/dry", *given]) == 0
    said = capsys.readouterr().out
    request = json.loads(said.split("request:\n", 1)[1].split("\nsteps (", 1)[0])
    assert {"use_runner_v2", "use_multiple_sdk_containers"} <= set(request["environment"]["experiments"])
    (pool,) = request["environment"]["workerPools"]
    assert pool["subnetwork"] == "regions/europe-west4/subnetworks/s"
    assert pool["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert request["environment"]["workerZone"] == "europe-west4-a"
    assert request["environment"]["serviceAccountEmail"] == "worker@my-project.iam.gserviceaccount.com"
    assert request["labels"] == {"app": "gansynth-beam", "team": "music"}
    assert "6 files, " in said
    assert "gs://in/songs/a/melody.mid -> gs://out/dry/audio/a/melody.*" in said
    assert '"containerImage": "europe-west4-docker.pkg.dev/my-project/gansynth-beam/worker:' in said
    assert re.search(r"Synthesize/Play.*accelerator.*nvidia-l4", said)
    assert not re.search(r"(ReadMidi|ExpandNotes|Spread/AddRandomKeys).*accelerator", said)
    assert listing.kind("gs://out/dry") is None
