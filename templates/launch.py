"""The program of the Flex Template: its parameters are options of `gansynth-beam render`.

Dataflow's launcher runs it with --template_location, and starts the job that it writes there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.__main__ import main

CONFIG = Path(__file__).with_name("dataflow.yaml")
"""configs/dataflow.yaml, as the image has it beside this file."""


def launch(arguments: Sequence[str]) -> int:
    """Writes the template of a job; returns the exit code.

    Args:
        arguments: the launcher's, `--NAME=VALUE` each.
    """
    given = any(argument.startswith("--config=") for argument in arguments)
    return main(["render", *([] if given else [f"--config={CONFIG}"]), *arguments])


if __name__ == "__main__":
    sys.exit(launch(sys.argv[1:]))
