"""A replacement for Dataflow's workers: runs a staged pipeline where only the built wheel is installed.

Arguments: a folder that must not be imported from (the checkout), the staged pipeline, and a file for a summary.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from apache_beam import coders
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.pipeline_context import PipelineContext
from apache_beam.runners.portability.fn_api_runner import FnApiRunner


def main(checkout: str, staged: str, summary: str) -> None:
    import gansynth
    import pipeline
    import transforms

    for package in (gansynth, pipeline, transforms):
        assert package.__file__ is not None
        assert not package.__file__.startswith(checkout), package.__file__
    proto = beam_runner_api_pb2.Pipeline.FromString(Path(staged).read_bytes())
    images = embed(proto)
    context = PipelineContext(proto.components)
    found = {
        "images": images,
        "fns": sorted(fn for transform in proto.components.transforms.values() for fn in fns(transform.spec)),
        "coders": len([context.coders.get_by_id(name) for name in proto.components.coders]),
    }
    Path(summary).write_text(json.dumps(found))
    FnApiRunner().run_via_runner_api(proto, PipelineOptions([])).wait_until_finish()


def embed(proto: Any) -> list[str]:
    """Makes every step run in this process; returns the images that the steps requested."""
    images = set()
    for environment in proto.components.environments.values():
        assert environment.urn == common_urns.environments.DOCKER.urn
        images.add(beam_runner_api_pb2.DockerPayload.FromString(environment.payload).container_image)
        environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
    return sorted(images)


def fns(spec: Any) -> list[str]:
    """Unpickles the functions of the steps, as workers do; returns their names."""
    if spec.urn == common_urns.primitives.PAR_DO.urn:
        fn = beam_runner_api_pb2.ParDoPayload.FromString(spec.payload).do_fn
    elif spec.urn in (
        common_urns.composites.COMBINE_PER_KEY.urn,
        common_urns.combine_components.COMBINE_GROUPED_VALUES.urn,
    ):
        fn = beam_runner_api_pb2.CombinePayload.FromString(spec.payload).combine_fn
    else:
        return []
    if fn.urn != python_urns.PICKLED_DOFN_INFO and fn.urn != python_urns.PICKLED_COMBINE_FN:
        return []
    unpickled = pickler.loads(fn.payload)
    return [type(unpickled[0] if isinstance(unpickled, tuple) else unpickled).__name__]


if __name__ == "__main__":
    assert coders
    main(*sys.argv[1:])
