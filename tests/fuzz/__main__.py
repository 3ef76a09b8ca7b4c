"""A fuzzer that reads damaged MIDI files and monitors time and memory.

python -m tests.fuzz --seed 0 --count 20000
python -m tests.fuzz --seed 0 --only 1234 --write mutant.mid
python -m tests.fuzz --amplify
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import resource
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.fuzz.amplify import KINDS, SIZES, allowed
from tests.fuzz.mutants import mutant

SECONDS = 10.0
BYTES = 1 << 30
MAX_FILE = 1_500_000
SMALL = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x60MTrk\x00\x00\x00\x04\x00\xff\x2f\x00"
_ROOT = Path(__file__).parents[2]


@dataclass
class Result:
    """The results of a run.

    Attributes:
        outcomes: number of songs by salvage setting, and of errors by code.
        failures: mutants with any other outcome, or that took too long or too much memory.
        seconds, slowest: longest time of one mutant, and its number.
        bytes: the reader's peak resident memory.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest: int = -1
    bytes: int = 0


def run(seed: int, first: int, count: int) -> Result:
    """Reads mutants first..first+count-1 in a separate process, which is restarted if it hangs or dies."""
    result = Result()
    number, end = first, first + count
    while number < end:
        for row in _child(seed, number, end):
            result.bytes = max(result.bytes, row.get("bytes", 0))
            if "failure" in row or row.get("bytes", 0) > BYTES:
                what = row.get("failure") or f"{row['bytes'] >> 20} MiB"
                again = f"python -m tests.fuzz --seed {seed} --only {number}"
                result.failures.append(f"{again} ({mutant(seed, number)[1]}): {what}")
                print("FAILED:", result.failures[-1], file=sys.stderr, flush=True)
            result.outcomes.update(row.get("outcomes", ()))
            if row.get("seconds", 0.0) > result.seconds:
                result.seconds, result.slowest = row["seconds"], number
            number += 1
            if number % 1000 == 0:
                print(f"{number} mutants, {len(result.failures)} failed", file=sys.stderr, flush=True)
    return result


def _child(seed: int, first: int, end: int) -> Iterator[dict[str, Any]]:
    """Yields rows of mutants from `first` on, as far as the process gets; the last row has the reason for its end."""
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--child",
        f"--seed={seed}",
        f"--first={first}",
        f"--count={end - first}",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, cwd=_ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()  # imports are done
        for _ in range(first, end):
            line = process.stdout.readline() if _answers(process) else None
            if not line:
                process.kill()
                yield {"failure": "hangs" if line is None else f"died, exit code {process.wait()}"}
                return
            yield json.loads(line)


def _answers(process: subprocess.Popen[bytes]) -> bool:
    """Waits until the process answers or ends; returns False if it takes three times the allowed time."""
    watched = psutil.Process(process.pid)
    limit = sum(watched.cpu_times()[:2]) + 3 * SECONDS
    while not select.select([process.stdout], [], [], 1.0)[0]:
        if sum(watched.cpu_times()[:2]) > limit:
            return False
    return True


def _serve(seed: int, first: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 * BYTES, 4 * BYTES))
    read(SMALL)  # imports what it needs
    print("ready", flush=True)
    for number in range(first, first + count):
        print(json.dumps(read(mutant(seed, number)[0])), flush=True)


def read(content: bytes) -> dict[str, Any]:
    """Reads a file with every salvage setting; returns the longest time, the peak memory, and the outcomes."""
    from gansynth.config import NotesConfig
    from gansynth.errors import CODES, MidiError
    from gansynth.midi.load import load_midi
    from gansynth.midi.repair import REPAIRS

    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
    row: dict[str, Any] = {"seconds": 0.0, "outcomes": []}
    for reader, salvage in itertools.product(("note_seq", "channels"), ("off", "safe", "aggressive")):
        pedal = reader == "channels" or salvage != "safe"
        config = NotesConfig.model_validate({"reader": reader, "salvage": salvage, "sustain_pedal": pedal})
        began = time.process_time()
        try:
            song = load_midi(content, config)
            seconds = time.process_time() - began
            row["outcomes"].append(f"song, {salvage}, {reader}{', mended' if song.repairs else ''}")
            assert set(song.repairs) <= set(REPAIRS)
            if reader == "channels":
                _check_channels(song, config)
            else:
                assert salvage != "off" or not song.repairs
                _check(content, song.notes, config)
        except MidiError as error:
            seconds = time.process_time() - began
            row["outcomes"].append(f"{error.code}, {salvage}, {reader}")
            if error.code not in CODES or (error.code == "midi-unreadable" and salvage != "off") or not str(error):
                row["failure"] = f"{salvage}, {reader}: {error.code}: {error}"
        except Exception as error:
            seconds = time.process_time() - began
            row["failure"] = f"{salvage}, {reader}: {error!r}"
        row["seconds"] = max(row["seconds"], seconds)
        if seconds > SECONDS:
            row["failure"] = f"{salvage}, {reader}: {seconds:.1f} s"
    row["bytes"] = _peak()
    return row


def amplify(kind: str, size: int) -> dict[str, Any]:
    """Reads a file of a kind in this process, as `read` does; "taken" is the memory that it took, in bytes."""
    content = KINDS[kind](size)[:MAX_FILE]
    base = read(SMALL)["bytes"]
    row = read(content)
    row |= {"size": len(content), "taken": max(0, row["bytes"] - base)}
    if row["taken"] > allowed(len(content)):
        row.setdefault("failure", f"{row['taken'] >> 20} MiB for {len(content):,} bytes")
    return row


def _show_amplification(sizes: Sequence[int]) -> int:
    """Prints the memory that each kind of file takes at each size; returns the number of failures."""
    read(SMALL)  # imports what all processes need
    failed = 0
    for kind, size in itertools.product(KINDS, sizes):
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
            row = pool.submit(amplify, kind, size).result()
        per_byte = row["taken"] / row["size"]
        print(f"{kind:<30}{row['size']:>10,} bytes{row['taken'] >> 20:>6} MiB{per_byte:>8.0f} a byte", end="")
        print(f"{row['seconds']:>7.2f} s  {row.get('failure', '')}", flush=True)
        failed += "failure" in row
    return failed


def _peak() -> int:
    """Returns this process's peak resident memory; getrusage would include its parent's."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def _check(content: bytes, notes: Any, config: Any) -> None:
    """Checks the invariants of a song, and that the scan before it agrees with note_seq's result."""
    from gansynth.midi import smf
    from gansynth.midi.repair import prepare

    assert ((notes.pitch >= 0) & (notes.pitch < 128) & (notes.velocity > 0) & (notes.velocity < 128)).all()
    assert np.isfinite(notes.end).all()
    assert (notes.end > notes.start).all()
    if config.salvage == "safe":
        prepared = prepare(content, config)
        scan = smf.scan(prepared.data)
        assert scan.clean
        assert (scan.notes, prepare(prepared.data, config).data) == (len(notes), prepared.data)
        assert abs(scan.seconds - notes.span) < 1e-6
        assert notes.span <= config.max_song_seconds + 1e-6


def _check_channels(song: Any, config: Any) -> None:
    """What must hold of every song by channel state."""
    notes = song.notes
    assert ((notes.pitch >= 0) & (notes.pitch < 128) & (notes.velocity > 0) & (notes.velocity < 128)).all()
    assert ((notes.program >= 0) & (notes.program < 128) & (notes.bank >= 0)).all()
    assert ((notes.start >= 0) & (notes.end > notes.start) & (notes.cut >= notes.end)).all()
    assert (np.diff(notes.start) >= 0).all() or "sequences_joined" in song.repairs
    assert len(notes) <= config.max_notes
    assert notes.span <= config.max_song_seconds
    assert set(song.channels) <= set(notes.channel.tolist())
    assert all(count > 0 for count in (*song.ignored.values(), *song.repaired_notes.values()))
    for channel in song.channels.values():
        for line in (channel.gain, channel.bend):
            assert (np.diff(line.times) > 0).all()
            assert not np.isnan(line.values).any()
            assert np.isfinite(line.times).all()
        assert np.isfinite(channel.bend.values).all()
        assert (channel.gain.values <= 4.153).all()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--count", type=int, default=1000, help="how many")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one mutant, in this process")
    parser.add_argument("--write", metavar="FILE", help="where to put it")
    parser.add_argument(
        "--amplify",
        type=int,
        nargs="*",
        metavar="BYTES",
        help="measure the files of tests/fuzz/amplify.py instead, of these sizes",
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        with contextlib.suppress(BrokenPipeError):
            _serve(args.seed, args.first, args.count)
        return 0
    if args.only is not None:
        content, how = mutant(args.seed, args.only)
        if args.write:
            Path(args.write).write_bytes(content)
        read(SMALL)
        print(f"{len(content)} bytes, {how}\n{read(content)}")
        return 0
    if args.amplify is not None:
        return 1 if _show_amplification(args.amplify or SIZES) else 0
    began = time.monotonic()
    result = run(args.seed, args.first, args.count)
    for outcome, number in result.outcomes.most_common():
        print(f"{number:>8}  {outcome}")
    slowest = f"slowest {result.seconds:.2f} s of CPU (number {result.slowest})"
    print(f"{args.count} mutants in {time.monotonic() - began:.0f} s, {slowest}, {result.bytes / 2**20:.0f} MiB")
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
