"""The program gansynth-beam: the command line in a folder and a terminal that are not to be trusted."""

from __future__ import annotations

import os
import sys

from pipeline.terminal import make_tolerant


def command() -> int:
    """Runs the command line; returns its exit code."""
    isolate()
    for name in ("stdout", "stderr"):
        make_tolerant(name)
    from pipeline.__main__ import main

    return main()


def isolate() -> None:
    """Keeps Python files in the working folder from being imported by this process and those that it starts.

    Processes are started with `python -c`, which searches the working folder first.
    """
    if sys.version_info >= (3, 11):
        os.environ["PYTHONSAFEPATH"] = "1"
    elif not sys.flags.isolated:
        os.execv(sys.executable, [sys.executable, "-I", *sys.argv])
