"""Knows every option that Beam knows, so that a misspelt one is an error and not silently dropped."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import Any

from gansynth.errors import ConfigError


def check_beam_options(args: Sequence[str]) -> str:
    """Refuses arguments that no Beam option takes, and ways of running that lose elements.

    Returns:
        The runner they ask for; FnApiRunner if none.

    Raises:
        ConfigError: names the argument and the nearest real option, or says why it is refused.
    """
    from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

    classes: list[Any] = _all_subclasses(PipelineOptions)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for options in classes:
        try:
            options._add_argparse_args(parser)
        except argparse.ArgumentError:
            continue  # the same option, declared by two classes
    try:
        _, unknown = parser.parse_known_args(list(args))
    except (argparse.ArgumentError, SystemExit) as error:
        raise ConfigError(f"Beam options: {error}.") from None
    if unknown:
        known = ["--config", "--input", "--output", "--set", "--dry-run", "--quiet", *parser._option_string_actions]
        name = unknown[0].split("=", 1)[0]
        near = difflib.get_close_matches(name, known, 1, 0.6)
        hint = f"did you mean {near[0]}?" if near else "see --help, and Beam's documentation for its options."
        raise ConfigError(f"{name}: unknown option; {hint}")
    options = PipelineOptions(list(args))
    if options.view_as(DirectOptions).direct_running_mode == "multi_threading":
        raise ConfigError(
            "--direct_running_mode multi_threading: refused, Beam loses elements in this mode; use in_memory or "
            "multi_processing."
        )
    runner = options.view_as(StandardOptions).runner or "FnApiRunner"
    if runner.lower().startswith("dask"):
        raise ConfigError(f"--runner {runner}: refused, it gives silently wrong results; use another.")
    return runner


def _all_subclasses(base: type) -> list[type]:
    found: list[type] = []
    sub: type
    for sub in base.__subclasses__():
        found += [sub, *_all_subclasses(sub)]
    return [sub for sub in found if "_add_argparse_args" in vars(sub)]
