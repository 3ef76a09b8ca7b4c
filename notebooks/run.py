"""Runs hands_on.ipynb in a new kernel, and stores its outputs in it: python notebooks/run.py"""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("hands_on.ipynb")


def main() -> None:
    """Replaces the stored outputs; nothing is stored if a cell fails."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOK.parents[1])}}
    NotebookClient(notebook, timeout=500, kernel_name="python3", resources=resources, record_timing=False).execute()
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
