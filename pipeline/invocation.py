"""The command by which this program is called, for commands that are printed to be pasted."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

PROGRAM = "gansynth-beam"


def program() -> list[str]:
    """Returns the words that call this program: its name if a shell finds it, else its path in this environment."""
    here = Path(sys.executable).parent / PROGRAM  # not resolved: an environment's Python is a link out of it
    found = shutil.which(PROGRAM)
    if found and here.exists() and os.path.samefile(found, here):
        return [PROGRAM]
    return [str(here)] if here.exists() else [sys.executable, "-m", "pipeline"]


def command_line(words: Iterable[str]) -> str:
    """Formats a command of this program for a shell.

    Args:
        words: name of the command, and its arguments.
    """
    return shlex.join([*program(), *words])
