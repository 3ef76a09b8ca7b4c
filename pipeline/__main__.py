"""The command line: python -m pipeline render --input 'midi/**/*.mid' --output out"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples" / "midi"
_HELP = """\
Renders MIDI files with GANSynth: one WAV and one spectrogram for each.

examples:
  python -m pipeline render                                      the bundled example songs, into out/
  python -m pipeline render midi/ --output out                   every MIDI file below midi/
  python -m pipeline render --config configs/magenta.yaml --input 'midi/**/*.mid' --output out
  python -m pipeline render midi/ --set instruments.mode=random --set instruments.seed=7
"""
_END = """\
Options not listed here are Beam's (--runner, --project, ...). The settings for --set are in configs/local.yaml.
Exit code: 0 all songs rendered, 3 some failed, 1 none rendered, 2 wrong usage.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    args, beam_args = _parser().parse_known_args(argv)
    from gansynth.errors import GansynthError
    from pipeline.config import load_config

    patterns = [*args.patterns, *args.input]
    try:
        config = load_config(args.config, [*args.set, *_as_settings(args)], patterns, args.output)
        if not config.input:
            config = config.model_copy(update={"input": (str(EXAMPLES),)})
        from pipeline.remote import JobError
        from pipeline.run import dry_run, run

        logging.getLogger("apache_beam").setLevel(logging.ERROR)
        if args.dry_run:
            print(dry_run(config, beam_args))
            return 0
        try:
            return run(config, beam_args, args.quiet, args.overwrite).exit_code
        except JobError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    except GansynthError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _as_settings(args: argparse.Namespace) -> Iterator[str]:
    """Options that are shorthand for a setting."""
    if args.resume:
        yield "resume=true"
    if args.fail_fast:
        yield "max_failures=0"
    elif args.max_failures is not None:
        yield f"max_failures={args.max_failures}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    render = commands.add_parser(
        "render",
        help="render MIDI files",
        description=_HELP,
        epilog=_END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    render.add_argument("patterns", nargs="*", metavar="PATTERN", help="file, folder or pattern of MIDI files")
    render.add_argument("--input", action="append", default=[], metavar="PATTERN", help="the same, as an option")
    render.add_argument("--output", metavar="DIR", help="folder or URL for all outputs (default: out)")
    render.add_argument("--config", metavar="FILE", help="YAML settings, see configs/")
    render.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting over the file's")
    again = render.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with what is in the output folder (default)")
    again.add_argument("--overwrite", action="store_true", help="render all again, whatever is in the output folder")
    stop = render.add_mutually_exclusive_group()
    stop.add_argument("--fail-fast", "--fail_fast", action="store_true", help="stop when a song has failed")
    stop.add_argument("--max-failures", "--max_failures", metavar="N|N%%", help="stop when more songs have failed")
    render.add_argument("--dry-run", action="store_true", help="check everything, print what would be done, and end")
    render.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


if __name__ == "__main__":
    sys.exit(main())
