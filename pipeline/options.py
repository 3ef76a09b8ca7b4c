"""Validation of Beam options: Beam drops misspelt ones silently, here they are errors."""

from __future__ import annotations

import argparse
import difflib
import functools
from collections.abc import Sequence
from typing import Any

from gansynth.errors import ConfigError
from pipeline import runners

_OURS = (
    "--config", "--input", "--output", "--set", "--resume", "--overwrite", "--fail-fast", "--max-failures", "--dry-run",
    "--quiet", "--save", "--no-calibration", "--prune",
)  # fmt: skip


def check_beam_options(args: Sequence[str]) -> str:
    """Rejects unknown Beam options, and running modes that lose elements.

    Args:
        args: Beam options, as on a command line.

    Returns:
        Name of the runner, as `runners.resolve` returns it.

    Raises:
        ConfigError: an option is unknown or not supported.
    """
    from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

    separate(args)
    options = PipelineOptions(list(args))
    if options.view_as(DirectOptions).direct_running_mode == "multi_threading":
        raise ConfigError(
            "--direct_running_mode multi_threading: not supported, since Beam loses elements in this mode; use "
            "in_memory or multi_processing."
        )
    if options.view_as(StandardOptions).streaming:
        raise ConfigError("--streaming: not supported, since rendering a corpus is a batch job; leave it out.")
    runner = runners.resolve(options.view_as(StandardOptions).runner)
    runners.check(runner, options)
    return runner


def separate(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates Beam's options and their values from positional arguments.

    Args:
        arguments: both, in any order.

    Returns:
        The positional arguments, and Beam's options with their values.

    Raises:
        ConfigError: an option is unknown, or has a value that Beam does not accept.
    """
    if not any(map(_is_option, arguments)):
        return list(arguments), []
    parser = _beam_parser()
    try:
        _, others = parser.parse_known_args(list(arguments))
    except (argparse.ArgumentError, SystemExit) as error:
        raise ConfigError(f"Beam options: {error}.") from None
    for other in others:
        if _is_option(other):
            known = [*_OURS, *parser._option_string_actions]
            name = other.split("=", 1)[0]
            near = difflib.get_close_matches(name, known, 1, 0.6)
            hint = f"did you mean {near[0]}?" if near else "see --help, and Beam's documentation for its options."
            raise ConfigError(f"{name}: unknown option; {hint}")
    beam, left = [], list(others)
    for argument in arguments:
        if left and argument == left[0]:
            left.pop(0)
        else:
            beam.append(argument)
    return others, beam


def _is_option(argument: str) -> bool:
    return argument.startswith("-") and argument != "-"  # which stands for standard input


@functools.cache
def _beam_parser() -> argparse.ArgumentParser:
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    classes: list[Any] = _all_subclasses(PipelineOptions)
    for options in classes:
        try:
            options._add_argparse_args(parser)
        except argparse.ArgumentError:
            continue  # the same option, declared by two classes
    return parser


def _all_subclasses(base: type) -> list[type]:
    found: list[type] = []
    sub: type
    for sub in base.__subclasses__():
        found += [sub, *_all_subclasses(sub)]
    return [sub for sub in found if "_add_argparse_args" in vars(sub)]
