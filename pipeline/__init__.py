"""The rendering job: command line, settings, pipeline graph, local and remote runs, reports and pages.

Imports gansynth and transforms; nothing below imports this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.graph import build as build


def __getattr__(name: str) -> Any:
    """Imports `pipeline.build` on first use, since Beam takes seconds to import."""
    if name == "build":
        from pipeline.graph import build

        return build
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
