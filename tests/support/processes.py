"""The command line in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_without_tensorflow(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Calls `pipeline` with some arguments in a process that fails if TensorFlow was imported; returns what it said."""
    code = (
        "import sys\n"
        "from pipeline.__main__ import main\n"
        f"code = main({list(arguments)!r})\n"
        "assert 'tensorflow' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
