"""Google Cloud Dataflow: derived options, checks of its limitations, and texts about a submitted job."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)

from gansynth.errors import ConfigError
from gansynth.io import archives, urls
from gansynth.model import download
from pipeline import runners
from pipeline.config import JobConfig
from transforms.elements import Source

RUNNER = runners.DATAFLOW
_START_SECONDS = 1800.0
"""Seconds after which a job that was to be started from a template, and does not run, counts as ended."""
IMAGE = "{region}-docker.pkg.dev/{project}/gansynth-beam/{name}:{version}-py{python}"
"""Name of a workers' image that cloudbuild.yaml builds; it has the Python version, which pickles depend on."""


def complete(config: JobConfig, args: Sequence[str]) -> tuple[str, ...]:
    """Checks a Dataflow job's options and adds those that can be derived from others.

    Args:
        config: the job's settings.
        args: Beam options, as on a command line.

    Returns:
        `args` and the derived options.

    Raises:
        ConfigError: an option is missing, or requests something that Dataflow cannot do.
    """
    options = PipelineOptions(list(args))
    cloud, workers = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    for name, value in (("project", cloud.project), ("region", cloud.region)):
        if not value:
            raise ConfigError(f"--{name}: missing; Dataflow needs --project PROJECT and --region REGION.")
    if not config.output.startswith("gs://"):
        raise ConfigError(f"--output {config.output}: Dataflow's workers need a gs:// URL.")
    if config.storage.credentials not in ("default", "anonymous"):
        raise ConfigError(
            f"storage.credentials {config.storage.credentials}: Dataflow's workers do not have this file; they use the "
            "account given by --service_account_email. For this machine, set GOOGLE_APPLICATION_CREDENTIALS."
        )
    if config.checkpoint not in (*download.BUNDLED, *download.PUBLISHED) and urls.is_local(config.checkpoint):
        raise ConfigError(
            f"checkpoint {config.checkpoint}: Dataflow's workers cannot read it; copy it to gs:// and give that URL."
        )
    if cloud.update:
        raise ConfigError("--update: not supported, since a job renders one corpus once; leave it out.")
    _check_accelerator(config, cloud)
    _check_flexrs(config, cloud, workers)
    added = []
    if not cloud.temp_location:
        added.append(f"--temp_location={urls.join(config.output, '.temp')}")
    if not cloud.staging_location:
        added.append(f"--staging_location={urls.join(config.output, '.staging')}")
    if not cloud.job_name:
        # One name per output: Dataflow rejects a second running job of the same name, so no corpus is paid for twice.
        digest = hashlib.sha256(config.output.rstrip("/").encode()).hexdigest()
        added.append(f"--job_name=gansynth-beam-{digest[:12]}")
    if options.view_as(SetupOptions).save_main_session is None:
        added.append("--no_save_main_session")  # all code is in the image; Beam's default here is to pickle __main__
    if not workers.sdk_container_image:
        python = "".join(map(str, sys.version_info[:2]))
        release = version("gansynth-beam")
        name = "worker-cpu" if config.compute.device == "cpu" else "worker"
        image = IMAGE.format(region=cloud.region, project=cloud.project, name=name, version=release, python=python)
        added.append(f"--sdk_container_image={image}")
    return (*args, *added)


def _check_accelerator(config: JobConfig, cloud: Any) -> None:
    hints = config.compute.resource_hints
    if config.compute.device == "gpu" and "accelerator" not in hints:
        raise ConfigError(
            "compute.device gpu: no worker will have a GPU; set compute.resource_hints.accelerator, e.g. "
            "'type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver'."
        )
    if "accelerator" in hints:
        wanted = dict(part.partition(":")[::2] for part in hints["accelerator"].split(";"))
        if not wanted.get("type") or not wanted.get("count"):
            raise ConfigError(
                "compute.resource_hints.accelerator: needs type and count, for example type:nvidia-l4;count:1."
            )
        if wanted["count"] != "1":
            raise ConfigError(
                f"compute.resource_hints.accelerator count:{wanted['count']}: the processes of a worker share one "
                "model, which runs on one GPU; use count:1 and more workers (--max_num_workers)."
            )
        if "install-nvidia-driver" not in wanted:
            raise ConfigError(
                "compute.resource_hints.accelerator: add install-nvidia-driver; without it TensorFlow finds no GPU."
            )
    if hints and _requests_accelerator(cloud):
        raise ConfigError(
            "--dataflow_service_options worker_accelerator: gives every worker a GPU, but compute.resource_hints is "
            "also set and gives one only to the workers that run the model. Use one of the two."
        )


def _check_flexrs(config: JobConfig, cloud: Any, workers: Any) -> None:
    if not cloud.flexrs_goal:
        return
    if config.compute.resource_hints or _requests_accelerator(cloud):
        raise ConfigError(
            "--flexrs_goal: Dataflow allows neither GPUs nor resource hints with it; set compute.resource_hints={} and "
            "compute.device=cpu."
        )
    if workers.autoscaling_algorithm == "NONE":
        raise ConfigError("--flexrs_goal: needs autoscaling; leave out --autoscaling_algorithm=NONE.")


def _requests_accelerator(cloud: Any) -> bool:
    return any("worker_accelerator" in option for option in cloud.dataflow_service_options or ())


def check_sources(sources: Iterable[Source]) -> Iterator[Source]:
    """Passes inputs through, checking that Dataflow's workers can reach them.

    Raises:
        ConfigError: an input is a local file.
    """
    for source in sources:
        member = archives.Member.parse(source.url)
        if urls.is_local(member.archive if member else source.url):
            raise ConfigError(
                f"--input {source.url}: Dataflow's workers cannot read files on this machine; copy them to gs:// "
                "(gcloud storage cp -r FOLDER gs://BUCKET/) and give that URL."
            )
        yield source


def link(job_id: str, options: PipelineOptions) -> str:
    """Formats the console URL of a submitted job and the command that cancels it.

    Args:
        job_id: the id that Dataflow gave the job.
        options: the options it was submitted with.
    """
    cloud = options.view_as(GoogleCloudOptions)
    return (
        f"Submitted: https://console.cloud.google.com/dataflow/jobs/{cloud.region}/{job_id}?project={cloud.project}\n"
        "The job does not need this machine any more; to cancel it: "
        f"gcloud dataflow jobs cancel {job_id} --project {cloud.project} --region {cloud.region}"
    )


def has_ended(job: Mapping[str, str], args: Sequence[str]) -> bool:
    """Asks Dataflow whether a job has ended.

    Args:
        job: the job, as in the lock of its output folder; one that is started from a template has only a name.
        args: Beam options, as on a command line; only those of the connection are used.
    """
    from apache_beam.runners.dataflow.dataflow_runner import DataflowPipelineResult
    from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient
    from apache_beam.runners.runner import PipelineState

    client = DataflowApplicationClient(PipelineOptions(list(args), project=job["project"], region=job["region"]))
    name = job.get("name")
    found = [client.get_job(job["job"])] if name is None else _jobs_of_name(client, job["project"], job["region"], name)
    to_state = DataflowPipelineResult.api_jobstate_to_pipeline_state
    if not all(PipelineState.is_terminal(to_state(one.current_state)) for one in found):
        return False
    return name is None or time.time() - float(job["written"]) > _START_SECONDS


def _jobs_of_name(client: Any, project: str, region: str, name: str) -> list[Any]:
    from google.cloud import dataflow

    request = dataflow.ListJobsRequest(project_id=project, location=region)
    return [one for one in client._jobs_client.list_jobs(request) if one.name == name]


def outcome(result: Any) -> str:
    """Describes the state of a job after an exception, for an error message.

    Args:
        result: Beam's result object; None if the submission failed.
    """
    if result is None:
        return "the job was not submitted"
    if result.is_in_terminal_state():
        return "the job failed"
    return (
        "lost contact with the job, which is still running; when it is done, run the same command again to get its "
        "manifest"
    )


def request_text(pipeline: beam.Pipeline) -> str:
    """Formats the request and the steps of a pipeline that has the option --dry_run; submits nothing."""
    from apache_beam.runners.dataflow.internal import apiclient

    result: Any = pipeline.run()
    job = result.job
    options = job.options
    staging = options.view_as(GoogleCloudOptions).staging_location
    job.proto.environment = apiclient.Environment(
        proto_pipeline_staged_url=f"{staging}/pipeline.pb",
        packages=[],
        options=options,
        environment_version=apiclient._FNAPI_ENVIRONMENT_MAJOR_VERSION,
        proto_pipeline=job.proto_pipeline,
    ).proto
    request = short(json.loads(job.json()))
    steps = (f"  {name}{f'  {hints}' if hints else ''}" for name, hints in steps_and_hints(job.proto_pipeline))
    size = len(job.proto_pipeline.SerializeToString())
    return "\n".join(
        [
            "request:",
            json.dumps(request, indent=2, sort_keys=True),
            f"steps ({size:,} bytes; Dataflow's limit is 10 MB):",
            *steps,
        ]
    )


def short(request: dict[str, Any]) -> dict[str, Any]:
    """Removes options at their defaults and Beam's capabilities from a job request, in place, and returns it."""
    given = request["environment"]["sdkPipelineOptions"]
    names = {item["key"] for item in given.pop("display_data")} - {"dry_run"}
    given["options"] = {name: value for name, value in given["options"].items() if name in names}
    for pool in request["environment"]["workerPools"]:
        for image in pool["sdkHarnessContainerImages"]:
            del image["capabilities"]
    return request


def steps_and_hints(proto: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Lists the steps that workers execute, sorted by name.

    Args:
        proto: a pipeline in Beam's portable form.

    Returns:
        Name of each step, and the resource hints of its environment by name.
    """
    components = proto.components
    for transform in sorted(components.transforms.values(), key=lambda transform: transform.unique_name):
        if transform.subtransforms or not transform.environment_id:
            continue
        hints = components.environments[transform.environment_id].resource_hints
        yield transform.unique_name, {urn.split(":")[2]: value.decode() for urn, value in sorted(hints.items())}
