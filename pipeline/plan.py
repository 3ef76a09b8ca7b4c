"""What a job would do and take, before it is paid for: songs, notes, sounds, operations, time, cost, failures."""

from __future__ import annotations

import io
import json
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from numpy.typing import NDArray
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from gansynth import audiofile, checkpoint, paths, storage
from gansynth.axes import clock
from gansynth.latents import random_latents
from gansynth.records import Records
from gansynth.score import Voice
from gansynth.shape import NoteShape, shape_of
from gansynth.synthesizer import check_envelope, voice_of
from pipeline import dataflow, graph, inputs, local, resume
from pipeline.config import JobConfig
from pipeline.run import check, without_row
from pipeline.web import display
from transforms.elements import Source
from transforms.plan_songs import PlanSongs, rows_of_keys

_SLICE_SONGS, _SLICE_BYTES = 1024, 1_000_000
"""Of each process: what is only read takes a tenth of the memory of what is played."""
_SAMPLE_SONGS, _SAMPLE_SECONDS = 8, 240.0
_SHOWN, _EXAMPLES = 5, 2
_LISTED = 1000
_PLACE_SECONDS = 24e-6
"""Shaping and placing a note; with the next, the constants of docs/scaling.md."""
_BAR_BYTES = 2900


@dataclass(frozen=True)
class Calibration:
    """What a little rendering took on this machine, in seconds.

    Attributes:
        startup: until a process has loaded the checkpoint.
        sound: the network, for a sound of so many rows.
        minute: everything else, for a minute of audio: reading, placing, mixing, drawing, writing.
    """

    startup: float
    sound: dict[int, float]
    minute: float


@dataclass
class Plan:
    """What a job would do.

    Attributes:
        files, input_bytes: inputs.
        songs, finished, failed: of these, what would be rendered, what an earlier run has finished, what would fail.
        seconds: of audio to be rendered.
        notes: of the songs to be rendered, by outcome of the policies.
        sounds: distinct ones among them, by the rows that they are rendered with.
        gflop: what the network needs for these.
        instruments: songs in which each plays; those in most songs.
        reasons: failures by code.
        failures: song, code and message of the first ones.
        paths: the first inputs, and what becomes of them.
        runner: of the job that is planned.
        workers: processes of this machine.
        calibration: None where it was turned off or nothing is to be rendered.
    """

    files: int = 0
    input_bytes: int = 0
    songs: int = 0
    finished: int = 0
    failed: int = 0
    seconds: float = 0.0
    notes: Counter[str] = field(default_factory=Counter)
    sounds: dict[int, int] = field(default_factory=dict)
    gflop: float = 0.0
    instruments: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    paths: list[tuple[str, str]] = field(default_factory=list)
    runner: str = "FnApiRunner"
    workers: int = 1
    calibration: Calibration | None = None

    @property
    def exit_code(self) -> int:
        """What `render` would end with: 0 all rendered, 3 some failed, 1 none rendered."""
        return 1 if not self.songs + self.finished else 3 if self.failed else 0

    @property
    def distinct(self) -> int:
        """Distinct sounds."""
        return sum(self.sounds.values())

    @property
    def network_seconds(self) -> float | None:
        """The network's time for every distinct sound once, on all cores of this machine."""
        if self.calibration is None:
            return None
        return sum(count * self.calibration.sound[rows] for rows, count in self.sounds.items())

    @property
    def seconds_here(self) -> float | None:
        """Expected time of the job on this machine: one process has the model, all share the other work."""
        if self.calibration is None or self.network_seconds is None:
            return None
        rest = self.calibration.minute * self.seconds / 60
        return self.calibration.startup + self.network_seconds + rest / self.workers

    def dataflow(self, config: JobConfig) -> dict[str, float | None]:
        """Worker-hours, GB and cost on Dataflow, by the model of docs/scaling.md; None for what is not known."""
        prices, gpu = config.plan.prices, "accelerator" in config.compute.resource_hints
        synthesis = worker = None
        if self.calibration is not None and self.network_seconds is not None:
            worker = self.calibration.minute * self.seconds / 60 / 3600
            synthesis = self.network_seconds / 3600
        if gpu:
            speed = config.plan.gpu_gflops
            synthesis = None if speed is None else self.gflop / speed / 3600
        if synthesis is not None:
            synthesis += self.notes["played"] * _PLACE_SECONDS / 3600
        amounts: dict[str, float | None] = {
            "worker_hours": worker,
            "gpu_worker_hours" if gpu else "synthesis_worker_hours": synthesis,
            "shuffled_gb": self.notes["played"] * _BAR_BYTES / 1e9,
            "audio_gb": self.seconds * 32000 / 1e9,
        }
        stated = (
            (worker, prices.worker_hour),
            (synthesis, prices.gpu_worker_hour if gpu else prices.worker_hour),
            (amounts["shuffled_gb"], prices.shuffle_gb),
        )
        known = [amount * price for amount, price in stated if amount is not None and price is not None]
        amounts["cost"] = sum(known) if len(known) == len(stated) else None
        month = prices.storage_gb_month
        amounts["cost_of_storage_a_month"] = None if month is None else month * (amounts["audio_gb"] or 0.0)
        return amounts

    def to_json(self, config: JobConfig) -> bytes:
        """The plan for programs."""
        values = {
            "files": self.files,
            "input_bytes": self.input_bytes,
            "songs": self.songs,
            "finished": self.finished,
            "failed": self.failed,
            "seconds": self.seconds,
            "notes": dict(sorted(self.notes.items())),
            "distinct_sounds": self.distinct,
            "sounds_by_rows": {str(rows): count for rows, count in sorted(self.sounds.items())},
            "gflop": round(self.gflop, 3),
            "instruments": dict(self.instruments.most_common()),
            "failures_by_code": dict(sorted(self.reasons.items())),
            "failures": [dict(zip(("song_id", "code", "message"), row, strict=True)) for row in self.failures],
            "processes": self.workers,
            "seconds_on_this_machine": self.seconds_here,
            "calibration": None if self.calibration is None else vars(self.calibration),
            "dataflow": self.dataflow(config),
            "prices": config.plan.prices.model_dump(),
            "config": config.model_dump(mode="json"),
        }
        return (json.dumps(values, indent=2) + "\n").encode()


def plan(
    config: JobConfig,
    beam_args: Sequence[str] = (),
    *,
    quiet: bool = False,
    overwrite: bool = False,
    calibrated: bool = True,
    save: str | None = None,
) -> Plan:
    """Reads and expands every song that the config names, as rendering would, and adds up what that comes to.

    Args:
        config: the job.
        beam_args: Beam options from the command line. Whatever runner they name, it is this machine that plans.
        quiet: show no progress.
        overwrite: plan to render all songs again, whatever the output folder holds.
        calibrated: render a few songs in a process of its own, to tell how long all would take.
        save: folder or URL for plan.json, plan.txt and plan.jsonl, a line for each input.

    Raises:
        GansynthError: as for `run`; nothing is written but what `save` names.
    """
    _, runner, sources = check(config, beam_args)
    shape, blocks = shape_of(config.checkpoint)
    voice = voice_of(shape, config.instruments)
    check_envelope(config.envelope.release, config.envelope.max_sustain, voice)
    goes_on = resume.check(config, overwrite, sweep=False)
    digest = checkpoint.load(config.checkpoint).digest if goes_on else ""
    result = Plan(input_bytes=sources.size, runner=runner, workers=local.workers(config))
    with tempfile.TemporaryDirectory(prefix="gansynth-plan-") as folder:
        work, lines, keys = Path(folder), Path(folder) / "plan.jsonl", Distinct(Path(folder))
        sample: list[Source] = []
        with lines.open("w") as out:
            job = config.model_copy(update={"resume": goes_on})
            for source, row in _rows(job, sources, voice, shape, digest, work, keys, quiet):
                _add(result, config, source, row, out)
                if _fits(row, sample, result.seconds):
                    sample.append(source)
        result.sounds = keys.counts(shape)
        result.gflop = sum(count * shape.flop(rows, blocks) for rows, count in result.sounds.items()) / 1e9
        result.instruments = Counter(dict(result.instruments.most_common(_LISTED)))
        if calibrated and sample:
            result.calibration = calibrate(config, tuple(sample), tuple(sorted(result.sounds)))
        if save is not None:
            storage.write_bytes(storage.join(save, "plan.json"), result.to_json(config))
            storage.write_bytes(storage.join(save, "plan.txt"), as_text(result, config).encode())
            storage.upload(lines, storage.join(save, "plan.jsonl"))
    return result


def plan_part(
    config: JobConfig,
    beam_args: Sequence[str],
    part: local.Part,
    voice: Voice,
    digest: str,
    shape: NoteShape,
    folder: str,
) -> local.Done:
    """Plans one part as a pipeline of its own; rows and sounds are files in `folder` that are named after it."""
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(list(beam_args)))
    records = Records(config.output, graph.digests(config, voice, digest)) if config.resume else None
    files = pipeline | "Files" >> beam.Create(part.sources)
    files | PlanSongs(config.sound, voice, shape, folder, part.name, storage=config.storage, records=records)
    result = pipeline.run()
    result.wait_until_finish()
    return local.Done(len(part.sources), graph.counters(result))


def _rows(
    config: JobConfig,
    sources: inputs.Listing,
    voice: Voice,
    shape: NoteShape,
    digest: str,
    folder: Path,
    keys: Distinct,
    quiet: bool,
) -> Iterator[tuple[Source, dict[str, Any]]]:
    """Every input with its row, in the order of the listing; `keys` gets all sounds."""
    larger = {"slice_songs": _SLICE_SONGS * local.workers(config), "slice_bytes": _SLICE_BYTES * local.workers(config)}
    job = config.model_copy(update={"compute": config.compute.model_copy(update=larger)})
    parts = list(local.slices(sources, job))
    do = partial(plan_part, shape=shape, folder=str(folder))
    lost: set[str] = set()
    console = Console(stderr=True)
    columns = (TextColumn("Reading"), BarColumn(), MofNCompleteColumn(), TextColumn("songs"), TimeRemainingColumn())
    with (
        Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress,
        local.Crew(job, (), min(local.workers(config), len(parts)), do, model=False) as crew,
    ):
        task = progress.add_task("", total=len(sources))
        for done in crew.render(parts, voice, digest):
            progress.advance(task, done.songs)
            lost |= {source.song_id for source in done.lost}
            for file in sorted(folder.glob("*.sounds")):
                keys.add(np.frombuffer(file.read_bytes(), np.uint64))
                file.unlink()
    for part in parts:
        found: dict[str, dict[str, Any]] = {}
        for file in sorted(folder.glob(f"{part.name}-*.jsonl")):
            found |= {row["song_id"]: row for row in map(json.loads, file.read_text().splitlines())}
            file.unlink()
        for source in part.sources:
            row = found.get(source.song_id)
            if row is None:
                row = without_row(source, "expand", source.song_id in lost)
            yield source, row


def _add(result: Plan, config: JobConfig, source: Source, row: dict[str, Any], out: IO[str]) -> None:
    """Adds a song to the plan, and its line to the list."""
    result.files += 1
    name = f"{paths.output_name(source.song_id)}{audiofile.SUFFIX[config.audio.format]}"
    target = storage.join(config.output, "audio", name)
    match row["status"]:
        case "planned":
            result.songs += 1
            result.seconds += row["seconds"]
            result.notes.update(row["notes"])
            result.instruments.update(row["instruments"])
        case "finished":
            result.finished += 1
        case _:
            result.failed += 1
            result.reasons[row["code"]] += 1
            if len(result.failures) < _LISTED:
                result.failures.append((source.song_id, row["code"], row["message"]))
            target = ""
    if target and len(result.paths) < _SHOWN:
        result.paths.append((source.url, target))
    out.write(json.dumps({**row, "audio": target or None}, sort_keys=True) + "\n")


def _fits(row: dict[str, Any], sample: Sequence[Source], seconds: float) -> bool:
    """Whether a song is among the first few, by which the others' time is told."""
    return row["status"] == "planned" and (not sample or (len(sample) < _SAMPLE_SONGS and seconds < _SAMPLE_SECONDS))


class Distinct:
    """Counts different keys in bounded memory: beyond `limit` they are sorted into files by their last bits.

    Args:
        folder: for these files.
        limit: keys in memory, 8 bytes each.
    """

    def __init__(self, folder: Path, limit: int = 4_000_000) -> None:
        self._folder, self._limit = folder, limit
        self._parts: list[NDArray[np.uint64]] = []
        self._size = 0

    def add(self, keys: NDArray[np.uint64]) -> None:
        """Adds keys, in any order, any of them again."""
        self._parts.append(keys)
        self._size += len(keys)
        if self._size <= self._limit:
            return
        self._parts = [np.unique(np.concatenate(self._parts))]
        self._size = len(self._parts[0])
        if self._size > self._limit // 2:
            self._spill()

    def counts(self, shape: NoteShape) -> dict[int, int]:
        """How many there are, by the rows that they are rendered with."""
        files = sorted(self._folder.glob("*.keys"))
        if files:
            self._spill()
            files = sorted(self._folder.glob("*.keys"))
        total: Counter[int] = Counter()
        groups = (np.fromfile(file, np.uint64) for file in files) if files else iter(self._parts and [self._all()])
        for group in groups:
            total.update(rows_of_keys(np.unique(group), shape))
        return dict(sorted(total.items()))

    def _all(self) -> NDArray[np.uint64]:
        return np.concatenate(self._parts) if self._parts else np.zeros(0, np.uint64)

    def _spill(self) -> None:
        keys = self._all()
        last = keys & np.uint64(0xFF)
        for number in np.unique(last).tolist():
            with (self._folder / f"{number:03d}.keys").open("ab") as f:
                f.write(keys[last == number].tobytes())
        self._parts, self._size = [], 0


def calibrate(config: JobConfig, sources: tuple[Source, ...], ladder: tuple[int, ...]) -> Calibration:
    """Renders a few songs in a process of its own, which takes the network with it when it ends."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_calibrate, config, sources, ladder, time.time()).result()


def _calibrate(config: JobConfig, sources: tuple[Source, ...], ladder: tuple[int, ...], began: float) -> Calibration:
    synth = graph.model_settings(config).acquire()
    startup = time.time() - began
    sound = {}
    for rows in ladder:
        size = next(synth.batch_sizes(rows, 1 << 20))
        z = random_latents(size, synth.latent_size, 0).astype(np.float32)
        pitches = np.resize(np.array(synth.pitches, np.int32), size)
        for _ in ("traced", "timed"):
            start = time.perf_counter()
            list(synth.batches(z, pitches, rows))
            sound[rows] = (time.perf_counter() - start) / size
    part = local.Part("sample", sources)
    with tempfile.TemporaryDirectory(prefix="gansynth-calibration-") as folder:
        job = config.model_copy(update={"output": folder, "resume": False})
        for _ in ("sounds rendered", "sounds in the cache"):
            start = time.perf_counter()
            done = local.render_part(job, (), part, synth.voice(config.instruments), synth.digest)
            rest = time.perf_counter() - start - done.counters["synthesis_network_microseconds"] / 1e6
    return Calibration(startup, sound, rest / max(done.counters["audio_milliseconds"] / 60e3, 1e-3))


def as_text(result: Plan, config: JobConfig, width: int = 110) -> str:
    """The plan as plain text."""
    console = Console(width=width, color_system=None, force_terminal=False, record=True, file=io.StringIO())
    console.print(describe(result, config))
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()) + "\n"


def show(result: Plan, config: JobConfig, console: Console | None = None) -> None:
    """Prints the plan."""
    (console or Console(highlight=False)).print(describe(result, config))


def describe(result: Plan, config: JobConfig) -> RenderableType:
    """The plan for people."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    for name, fact in _facts(result, config):
        facts.add_row(name, Text(fact))
    blocks: list[RenderableType] = [facts]
    if result.failed:
        blocks += [Text(), Text(f"Will fail: {result.failed:,}", style="bold")]
        for code, count in result.reasons.most_common():
            examples = [failure for failure in result.failures if failure[1] == code][:_EXAMPLES]
            blocks.append(Text.assemble((f"{count:>6,}  ", ""), (code, "red")))
            blocks += [Padding(Text(f"{display(song)}: {display(why)}"), (0, 0, 0, 8)) for song, _, why in examples]
            if count > len(examples):
                blocks.append(Padding(Text(f"and {count - len(examples):,} more", style="dim"), (0, 0, 0, 8)))
    if result.paths:
        blocks += [Text(), Text("Input -> output", style="bold")]
        blocks += [Text(f"  {display(url)} -> {display(target)}") for url, target in result.paths]
        if more := result.songs + result.finished - len(result.paths):
            blocks.append(Text(f"  and {more:,} more", style="dim"))
    return Group(*blocks)


def _facts(result: Plan, config: JobConfig) -> Iterator[tuple[str, str]]:
    others = [(result.finished, "finished before"), (result.failed, "will fail")]
    more = "".join(f", {count:,} {what}" for count, what in others if count)
    yield "Songs", f"{result.songs:,} to render{more}; {result.files:,} files, {result.input_bytes / 1e6:,.1f} MB"
    if not result.songs:
        return
    yield "Audio", _length(result.seconds)
    apart = [f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(result.notes.items()) if count]
    left = [text for text in apart if not text.endswith((" total", " played"))]
    yield "Notes", f"{result.notes['played']:,} played" + (f" ({', '.join(left)})" if left else "")
    share = 100 * result.distinct / max(1, result.notes["played"])
    yield "Sounds", f"{result.distinct:,} distinct: {share:.3g} % of the notes, the others are heard again"
    names = [f"{display(name)} ({count:,})" for name, count in result.instruments.most_common(8)]
    rest = len(result.instruments) - len(names)
    yield "Instruments", ", ".join(names) + (f" and {rest:,} more" if rest else "")
    yield "Network", f"{result.gflop:,.0f} GFLOP"
    calibration, here, network = result.calibration, result.seconds_here, result.network_seconds
    if calibration is not None and here is not None and network is not None:
        processes = f"{result.workers} process{'es' if result.workers > 1 else ''}"
        yield (
            "This machine",
            f"about {clock(here)} with {processes}: {clock(calibration.startup)} to start, then {network:,.1f} s of "
            f"network, and {calibration.minute:.2f} s a minute of audio, shared out",
        )
    else:
        yield "This machine", "not calibrated"
    prices = config.plan.prices
    if result.runner == dataflow.RUNNER or any(
        price is not None for price in (prices.worker_hour, prices.gpu_worker_hour)
    ):
        yield "Dataflow", _on_dataflow(result, config)


def _on_dataflow(result: Plan, config: JobConfig) -> str:
    amounts, prices = result.dataflow(config), config.plan.prices
    known = [
        f"{amount:,.2f} {name.replace('_', ' ').replace('gb', 'GB').replace('gpu', 'GPU')}"
        for name, amount in amounts.items()
        if amount is not None and not name.startswith("cost")
    ]
    text = f"{', '.join(known)}; workers as fast as this machine"
    if amounts.get("gpu_worker_hours", 0) is None:
        text += "; GPU worker hours are not known without plan.gpu_gflops"
    if amounts["cost"] is None:
        return f"{text}; cost: not known without plan.prices"
    date = f"prices of {prices.date}" if prices.date else "prices as stated"
    return f"{text}; {amounts['cost']:,.2f} {prices.currency} ({date}), start of workers and storage not counted"


def _length(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} hours" if seconds >= 7200 else f"{seconds / 60:,.1f} minutes"
