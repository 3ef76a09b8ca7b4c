"""The job: command line, config, graph, run, report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.graph import build as build


def __getattr__(name: str) -> Any:
    """`pipeline.build` is imported when first used: Beam takes seconds to import."""
    if name == "build":
        from pipeline.graph import build

        return build
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
