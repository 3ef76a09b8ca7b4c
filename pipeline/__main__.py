"""The command line: gansynth-beam render --input 'midi/**/*.mid' --output out"""

from __future__ import annotations

import argparse
import difflib
import functools
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.terminal import say

if TYPE_CHECKING:
    from pipeline.config import JobConfig
    from pipeline.stopping import Stop

EXAMPLES = Path(__file__).parent / "examples"
_COMMANDS = ("render", "plan", "preview", "compare", "report", "view", "bank")
_HELP = """\
Renders MIDI files with GANSynth; writes a WAV, a spectrogram and a piano roll for each.

PATTERN is a file, a folder, a glob pattern such as 'midi/**/*.mid' (in quotes), an archive (.zip, .tar, .tar.gz), or
@FILE, a text file that lists inputs, one per line. All of them may be local or gs:// URLs.

The word render may be left out. If OUTPUT is a sound file (.wav, .flac, .ogg, .mp3, .opus), one MIDI file is rendered
to it and nothing else is written; - stands for standard input and standard output.

examples:
  gansynth-beam render                                      the bundled example songs, into out/
  gansynth-beam render midi/ -o out                         every MIDI file below midi/
  gansynth-beam song.mid -o song.wav                        one sound file
  gansynth-beam - -o - < song.mid > song.wav
  gansynth-beam render --config configs/magenta.yaml --input 'midi/**/*.mid' --output out
  gansynth-beam render midi/ --set instruments.mode=random --set instruments.seed=7
"""
_END = """\
All other options are passed to Beam (--runner, --project, ...). configs/local.yaml lists the settings for --set.
Exit code: 0 all songs rendered, 3 some failed, 1 none rendered, 2 usage error, 130 or 143 stopped by a signal.
"""


_PLAN = """\
Reads all songs as render would and prints a forecast: songs, notes, distinct sounds, network operations, time on this
machine, cost on Dataflow, and files that will fail. Takes the same inputs and settings as render. Renders only a few
songs, to measure time, and writes only the files that --save asks for.

examples:
  gansynth-beam plan midi/ --output out
  gansynth-beam plan midi/ --save plan                      plan/plan.json, plan.txt, plan.jsonl (a line per song)
  gansynth-beam plan --config configs/dataflow.yaml --project P --region R --input 'gs://B/**.mid' \\
      --output gs://B/out
"""
_REPORT = """\
Writes the lists and the page of an output folder anew, from what the jobs in it have left. For jobs on other machines
that failed or were cancelled, or whose template another program has started. Refuses while a job still runs.

examples:
  gansynth-beam report out
  gansynth-beam report gs://BUCKET/rendered
"""
_VIEW = """\
Serves an output folder to browsers on this machine, at 127.0.0.1, until Ctrl-C. A page that is opened from the disk can
do all but mix stems, which browsers allow to pages from a server only.

examples:
  gansynth-beam view out
  gansynth-beam view out --port 8000 --no-browser
"""
_BANK = """\
Renders sounds once and writes them as a bank that never changes, named by its digest: to a folder or a URL, for jobs on
any machine. Without --instruments and --from-plan: whole notes of all instruments, at all pitches. Prints the value of
compute.sound_bank with which a job takes its sounds from there, which needs neither TensorFlow nor a GPU.

examples:
  gansynth-beam bank build --bank banks
  gansynth-beam bank build --bank gs://B/banks --instruments piano,bass --set compute.device=gpu
  gansynth-beam bank build --bank gs://B/banks --from-plan plan/plan.jsonl       the sounds of the songs of a plan
  gansynth-beam render midi/ --set compute.sound_bank=gs://B/banks@sha256:...
"""
_PREVIEW = """\
Renders instruments to a page where you can compare them: a note and a phrase of each, and interpolations between pairs.

examples:
  gansynth-beam preview                                     ten random instruments, into preview/
  gansynth-beam preview --count 20 --pitch 48 --seed 7
  gansynth-beam preview --bank own                          the checkpoint's named instruments
  gansynth-beam preview --seed 7 --keep 0,2,4 --names glass,reed,bell --as my_bank.yaml
  gansynth-beam render midi/ --set instruments.bank=my_bank.yaml
"""
_COMPARE = """\
Writes a page on which the songs of several output folders are compared by ear: versions are switched at the same
position without a gap, at the same loudness, also blind (hidden order, ABX). Stars and notes are saved as JSON.

examples:
  gansynth-beam compare out out_slower
  gansynth-beam compare out_a out_b out_c -o comparison
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command, `render` if none is given; returns its exit code."""
    from gansynth.errors import GansynthError
    from pipeline import stopping

    parser = _parser()
    args, others = parser.parse_known_args(_with_command(parser, sys.argv[1:] if argv is None else argv))
    if args.command in ("preview", "compare", "view", "bank") and others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    with stopping.on_signals() as stop:
        try:
            commands = {"preview": _preview, "compare": _compare, "report": _report, "view": _view, "bank": _bank}
            command = commands.get(args.command)
            return command(args, others) if command else _render(args, others, stop)
        except GansynthError as error:
            say(f"error: {error}")
            return 2
        except KeyboardInterrupt:
            say("Stopped; run the same command again")
            return stop.exit_code


def _with_command(parser: argparse.ArgumentParser, argv: Sequence[str]) -> Sequence[str]:
    """Adds the command `render` to arguments that begin with no command."""
    first = argv[0] if argv else ""
    if first in (*_COMMANDS, "-h", "--help"):
        return argv
    near = difflib.get_close_matches(first, _COMMANDS, 1, 0.6) if first.isalpha() and not os.path.exists(first) else []
    if near:
        parser.error(f"no command or file {first}; did you mean {near[0]}?")
    return ["render", *argv]


def _preview(args: argparse.Namespace, _: Sequence[str]) -> int:
    from pipeline import preview

    options = {name: value for name, value in vars(args).items() if name in preview.Preview.__dataclass_fields__}
    candidates = preview.Preview(**options)
    if args.keep is None:
        preview.write(candidates, args.quiet)
        return 0
    kept = preview.keep(candidates, args.keep, args.save_as, args.names)
    if not args.quiet:
        say(f"{args.save_as}: {', '.join(kept.names)}")
    return 0


def _report(args: argparse.Namespace, others: Sequence[str]) -> int:
    from pipeline.recover import report

    return report(args.output, others, args.quiet).exit_code


def _view(args: argparse.Namespace, _: Sequence[str]) -> int:
    from pipeline.view import view

    view(args.output, args.port, args.browser)
    return 0


def _bank(args: argparse.Namespace, _: Sequence[str]) -> int:
    from pipeline.bank import build_bank
    from pipeline.config import load_config

    build_bank(load_config(args.config, args.set), args.bank, args.instruments, args.from_plan, args.quiet)
    return 0


def _compare(args: argparse.Namespace, _: Sequence[str]) -> int:
    from pipeline import compare

    compare.write(args.folders, args.output, args.songs, args.quiet)
    return 0


def _render(args: argparse.Namespace, others: Sequence[str], stop: Stop) -> int:
    from gansynth.errors import ConfigError, MidiError
    from pipeline.config import load_config
    from pipeline.options import separate

    try:
        patterns, beam_args = separate(others)
        settings = [*args.set, *_as_settings(args)]
        config = load_config(args.config, settings, [*patterns, *args.input], args.output)
        from pipeline import single_file

        if args.command == "render" and single_file.is_sound_file(args.output):
            _check_options(args)
            single_file.render(config, beam_args, args.quiet)
            return 0
        if single_file.STANDARD_STREAM in config.input:
            raise ConfigError("--input -: standard input holds one song; write --output song.wav, or --output -.")
        if not config.input:
            config = config.model_copy(update={"input": (str(EXAMPLES),)})
        from pipeline.lock import LockError

        if args.command == "render" and not args.dry_run:
            _start_fork_server(config, beam_args)
        from pipeline.run import dry_run, run
        from pipeline.runners import JobError

        logging.getLogger("apache_beam").setLevel(logging.ERROR)
        if args.command == "plan":
            return _plan(args, config, beam_args)
        if args.dry_run:
            say(dry_run(config, beam_args, args.overwrite), to_stdout=True)
            return 0
        try:
            return run(config, beam_args, args.quiet, args.overwrite, args.prune, stop).exit_code
        except (JobError, LockError) as error:
            say(f"error: {error}")
            return 1
    except MidiError as error:  # of a single file; a job lists them
        say(f"error: {', '.join(config.input)}: {error}")
        return 1


def _check_options(args: argparse.Namespace) -> None:
    """Refuses options that have no effect on a single file."""
    from gansynth.errors import ConfigError

    for name in ("dry_run", "prune", "resume", "fail_fast", "max_failures"):
        if getattr(args, name):
            raise ConfigError(
                f"--{name.replace('_', '-')}: needs an output folder; --output {args.output} is one file."
            )


def _start_fork_server(config: JobConfig, beam_args: Sequence[str]) -> None:
    """Starts the fork server of a local run with several processes, which imports for as long as this process does."""
    from pipeline.local import fork_server

    workers = config.compute.workers or len(os.sched_getaffinity(0))
    if workers > 1 and "runner" not in config.beam and not any(arg.startswith("--runner") for arg in beam_args):
        fork_server.start(config)


def _plan(args: argparse.Namespace, config: JobConfig, beam_args: Sequence[str]) -> int:
    from pipeline.forecast import count, text

    result = count.make_forecast(
        config,
        beam_args,
        quiet=args.quiet,
        overwrite=args.overwrite,
        calibrated=args.calibration,
        save=args.save,
    )
    if not args.quiet:
        text.show(result, config)
    return result.exit_code


def _as_settings(args: argparse.Namespace) -> Iterator[str]:
    """Yields the settings that options are shorthand for, as "key=value"."""
    if args.resume:
        yield "resume=true"
    if args.fail_fast:
        yield "max_failures=0"
    elif args.max_failures is not None:
        yield f"max_failures={args.max_failures}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gansynth-beam", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    add_command = functools.partial(
        commands.add_parser, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_job = functools.partial(add_command, usage="%(prog)s [PATTERN ...] [options] [Beam options]", epilog=_END)
    render = add_job("render", help="render MIDI files", description=_HELP)
    _add_job_arguments(render)
    render.add_argument("--dry-run", action="store_true", help="check everything, print what would be done, and exit")
    render.add_argument(
        "--prune", action="store_true", help="remove songs of earlier jobs that are not among the inputs"
    )
    plan = add_job(
        "plan",
        help="forecast what rendering would do, how long it would take and what it would cost",
        description=_PLAN,
    )
    _add_job_arguments(plan)
    plan.add_argument("--save", metavar="DIR", help="folder or URL for plan.json, plan.txt and plan.jsonl")
    plan.add_argument(
        "--no-calibration", action="store_false", dest="calibration", help="do not render sample songs to measure time"
    )
    report = add_command("report", help="write the lists and page of an output folder anew", description=_REPORT)
    report.add_argument("output", metavar="OUTPUT", help="folder or URL of the outputs")
    report.add_argument("--quiet", action="store_true", help="print nothing but errors")
    view = add_command("view", help="serve the page of an output folder on this machine", description=_VIEW)
    view.add_argument("output", metavar="OUTPUT", help="output folder of render or preview")
    view.add_argument("--port", type=_port, metavar="N", help="port of the address (default: 8750, or a free one)")
    view.add_argument("--no-browser", action="store_false", dest="browser", help="only print the address")
    preview = add_command(
        "preview",
        help="compare instruments by ear and save the ones you choose",
        description=_PREVIEW,
    )
    preview.add_argument("-o", "--output", default="preview", metavar="DIR", help="folder or URL (default: preview)")
    preview.add_argument("--checkpoint", default="mini", metavar="NAME", help="as for render (default: mini)")
    preview.add_argument(
        "--bank", default="random", metavar="FILE", help="random (default), own (the checkpoint's), or a file"
    )
    preview.add_argument(
        "--count", type=int, metavar="N", help="number of instruments (default: 10 random ones, or all of a bank)"
    )
    preview.add_argument("--pitch", type=int, default=60, metavar="N", help="MIDI pitch of the notes (default: 60)")
    preview.add_argument("--seed", type=int, default=0, metavar="N", help="seed of random instruments (default: 0)")
    preview.add_argument(
        "--between", type=_pair, action="append", metavar="A,B", help="interpolate between these two (repeatable)"
    )
    preview.add_argument("--keep", type=_numbers, metavar="A,B,...", help="save these as a bank; render nothing")
    preview.add_argument("--names", type=_names, default=(), metavar="X,Y,...", help="new names of the kept ones")
    preview.add_argument("--as", dest="save_as", default="bank.yaml", metavar="FILE", help=".yaml or .npz (bank.yaml)")
    preview.add_argument("--quiet", action="store_true", help="print nothing but errors")
    compare = add_command(
        "compare", help="compare the songs of output folders by ear, also blind", description=_COMPARE
    )
    compare.add_argument("folders", nargs="+", metavar="OUTPUT", help="output folders or URLs of finished jobs")
    compare.add_argument(
        "-o", "--output", default="comparison", metavar="DIR", help="folder or URL of the page (default: comparison)"
    )
    compare.add_argument(
        "--songs", type=_count, default=100, metavar="N", help="compare at most so many songs (default: 100)"
    )
    compare.add_argument("--quiet", action="store_true", help="print nothing but errors")
    bank = add_command("bank", help="render sounds once, for jobs on any machine", description=_BANK)
    actions = bank.add_subparsers(dest="action", required=True, metavar="build")
    build = actions.add_parser(
        "build", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, description=_BANK
    )
    build.add_argument("--bank", required=True, metavar="PLACE", help="folder or URL of banks")
    build.add_argument(
        "--instruments", type=_names, default=(), metavar="X,Y,...", help="names or numbers of instruments"
    )
    build.add_argument("--from-plan", metavar="FILE", help="plan.jsonl, which `plan --save` writes, or its folder")
    _add_settings(build)
    build.add_argument("--quiet", action="store_true", help="print nothing but the value of the setting, and errors")
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the options that choose settings."""
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings, see configs/")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting (repeatable)"
    )


def _add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `render` and `plan` share."""
    # Patterns are not an argument of this parser: it would mistake values of Beam's options for patterns.
    parser.add_argument("--input", action="append", default=[], metavar="PATTERN", help="same as PATTERN (repeatable)")
    parser.add_argument(
        "-o", "--output", metavar="OUTPUT", help="folder or URL for all outputs (default: out); render: or a sound file"
    )
    _add_settings(parser)
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="skip songs that an earlier run finished (default)")
    again.add_argument("--overwrite", action="store_true", help="render all songs again, even finished ones")
    stop = parser.add_mutually_exclusive_group()
    stop.add_argument("--fail-fast", "--fail_fast", action="store_true", help="same as --max-failures 0")
    stop.add_argument(
        "--max-failures",
        "--max_failures",
        metavar="N|N%",
        help="stop when more songs than this fail; checked whenever a slice of songs is done, so up to 256 songs later "
        "(twice compute.slice_songs)",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 1 on")
    return int(text)


def _numbers(text: str) -> tuple[int, ...]:
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r}: separate numbers by commas, as in 0,2,4")
    return tuple(int(part) for part in text.split(","))


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r}: a port is a number from 1 to 65535")
    return int(text)


def _pair(text: str) -> tuple[int, ...]:
    pair = _numbers(text)
    if len(pair) != 2:
        raise argparse.ArgumentTypeError(f"{text!r}: give two numbers, as in 0,2")
    return pair


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
