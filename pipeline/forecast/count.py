"""The forecast's figures: every song is read and planned as for rendering, but nothing is synthesised."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gansynth.audio.encode import SUFFIX
from gansynth.io import files, paths, urls
from gansynth.model import checkpoint
from gansynth.model.listed_sounds import NewSounds
from gansynth.model.shape import NoteShape, shape_of
from gansynth.score.spec import check_envelope, synth_spec
from pipeline import inputs
from pipeline.config import JobConfig
from pipeline.forecast.calibrate import calibrate
from pipeline.forecast.distinct import DistinctKeys
from pipeline.forecast.forecast import Forecast
from pipeline.forecast.text import as_text
from pipeline.job import ResolvedJob, with_kit
from pipeline.local.pool import WorkerPool
from pipeline.local.slices import Slice, SliceResult, cut, workers
from pipeline.run import check, find_earlier, without_row
from pipeline.unused_rules import RulesUsed, unused_rules
from transforms.counters import counters_of
from transforms.elements import Source
from transforms.plan_songs import PlanSongs
from transforms.row_files import status_of

_SLICE_SONGS, _SLICE_BYTES = 1024, 1_000_000
"""Limits of a slice for one process: a song that is only planned takes a tenth of the memory of a rendered one."""
_SAMPLE_SONGS, _SAMPLE_SECONDS = 8, 240.0
_SHOWN = 5
_LISTED = 1000


def make_forecast(
    config: JobConfig,
    beam_args: Sequence[str] = (),
    *,
    quiet: bool = False,
    overwrite: bool = False,
    calibrated: bool = True,
    save: str | None = None,
) -> Forecast:
    """Reads and plans every song of a job as for rendering, and sums up the result.

    Writes nothing except the files under `save`.

    Args:
        config: the job.
        beam_args: Beam options from the command line. The forecast is made on this machine, whatever their runner.
        quiet: if true, no progress is shown.
        overwrite: if true, finished songs in the output folder count as songs to render.
        calibrated: if true, a few songs are rendered in a separate process to estimate the time of the job.
        save: folder or URL for plan.json, plan.txt and plan.jsonl, which has a line per input; None to save nothing.

    Raises:
        GansynthError: as for `run`.
    """
    _, runner, sources = check(config, beam_args)
    shape, blocks = shape_of(config.checkpoint)
    resumes, _ = find_earlier(config, sources, overwrite, sweep=False)
    spec = synth_spec(shape, config.instruments, checkpoint.digest(config.checkpoint) if resumes else "")
    check_envelope(config.envelope, spec)
    job = with_kit(ResolvedJob(config, spec, resumes))
    result = Forecast(
        input_bytes=sources.size, runner=runner, workers=workers(config), slices=sum(1 for _ in cut(sources, config))
    )
    with tempfile.TemporaryDirectory(prefix="gansynth-plan-") as folder:
        work, lines, keys = Path(folder), Path(folder) / "plan.jsonl", DistinctKeys(Path(folder))
        sample, used, new = _Sample(), RulesUsed(), NewSounds()
        listed = save is not None and not config.instruments.glides
        with lines.open("w") as out:
            for source, found in _rows(job, sources, shape, work, keys, quiet, listed):
                row = {**found, "sounds": new.of(found["sounds"])} if "sounds" in found else found
                _add(result, config, source, row, out)
                sample.add(source, row)
                used.add(row)
        result.unused_rules = tuple(unused_rules(config.instruments, used.known))
        result.sounds = keys.counts(shape)
        result.gflop = sum(count * shape.flop(rows, blocks) for rows, count in result.sounds.items()) / 1e9
        result.instruments = Counter(dict(result.instruments.most_common(_LISTED)))
        if calibrated and sample.songs:
            result.calibration = calibrate(config, sample.chosen(), tuple(sorted(result.sounds)))
        if save is not None:
            files.write_bytes(urls.join(save, "plan.json"), result.to_json(config))
            files.write_bytes(urls.join(save, "plan.txt"), as_text(result, config).encode())
            files.upload(lines, urls.join(save, "plan.jsonl"))
    return result


def plan_slice(
    job: ResolvedJob, beam_args: Sequence[str], songs: Slice, shape: NoteShape, folder: str, lists_sounds: bool = False
) -> SliceResult:
    """Plans one slice in a pipeline of its own.

    Args:
        job: the job.
        beam_args: Beam options.
        songs: the slice.
        shape: shape of the checkpoint's notes.
        folder: folder for the files of rows and of sound keys, whose names start with the slice's name.
        lists_sounds: see PlanSongs.
    """
    config = job.config
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(list(beam_args)))
    sources = pipeline | "Files" >> beam.Create(songs.sources)
    sources | PlanSongs(
        config.sound,
        job.spec,
        shape,
        folder,
        songs.name,
        storage=config.storage,
        records=job.records,
        lists_sounds=lists_sounds,
    )
    result = pipeline.run()
    result.wait_until_finish()
    return SliceResult(len(songs.sources), counters_of(result))


def _rows(
    job: ResolvedJob,
    sources: inputs.Listing,
    shape: NoteShape,
    folder: Path,
    keys: DistinctKeys,
    quiet: bool,
    lists_sounds: bool,
) -> Iterator[tuple[Source, Mapping[str, Any]]]:
    """Plans every input; yields each with its row, in the order of the listing, and adds the sounds to `keys`."""
    config, count = job.config, workers(job.config)
    larger = {"slice_songs": _SLICE_SONGS * count, "slice_bytes": _SLICE_BYTES * count}
    sized = config.model_copy(update={"compute": config.compute.model_copy(update=larger)})
    slices = list(cut(sources, sized))
    processes = min(count, len(slices))
    work = partial(plan_slice, shape=shape, folder=str(folder), lists_sounds=lists_sounds)
    lost: set[str] = set()
    console = Console(stderr=True)
    columns = (TextColumn("Reading"), BarColumn(), MofNCompleteColumn(), TextColumn("songs"), TimeRemainingColumn())
    with (
        Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress,
        WorkerPool(config, (), processes if processes > 1 else 0, work, model=False) as pool,
    ):
        task = progress.add_task("", total=len(sources))
        for done in pool.render(slices, job):
            progress.advance(task, done.songs)
            lost |= {source.song_id for source in done.lost}
            for file in sorted(folder.glob("*.sounds")):
                keys.add(np.frombuffer(file.read_bytes(), np.uint64))
                file.unlink()
    for songs in slices:
        found: dict[str, Mapping[str, Any]] = {}
        for file in sorted(folder.glob(f"{songs.name}-*.jsonl")):
            status = {"status": status_of(file.name)}
            found |= {row["song_id"]: status | row for row in map(json.loads, file.read_text().splitlines())}
            file.unlink()
        for source in songs.sources:
            row = found.get(source.song_id) or without_row(source, "expand", source.song_id in lost)
            yield source, row


def _add(result: Forecast, config: JobConfig, source: Source, row: Mapping[str, Any], out: IO[str]) -> None:
    """Adds a song to the forecast, and its line to plan.jsonl."""
    result.files += 1
    name = f"{paths.output_name(source.song_id)}{SUFFIX[config.audio.format]}"
    target = urls.join(config.output, "audio", name)
    match row["status"]:
        case "planned":
            result.songs += 1
            result.seconds += row["seconds"]
            result.notes.update(row["notes"])
            result.ignored.update(row["ignored"])
            result.repairs.update(row["repairs"])
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


class _Sample:
    """Songs from all over a corpus, to measure time with: every n-th of those to be rendered."""

    def __init__(self) -> None:
        self.songs: list[tuple[Source, float]] = []
        self._seen, self._step = 0, 1

    def add(self, source: Source, row: Mapping[str, Any]) -> None:
        """Considers an input."""
        if row["status"] != "planned":
            return
        if self._seen % self._step == 0:
            self.songs.append((source, row["seconds"]))
            if len(self.songs) == 2 * _SAMPLE_SONGS:
                self.songs, self._step = self.songs[::2], 2 * self._step
        self._seen += 1

    def chosen(self) -> tuple[Source, ...]:
        """Returns the songs of the sample: the middle one, and more, from the middle outwards, while they are short."""
        count = min(len(self.songs), _SAMPLE_SONGS)
        spread = [self.songs[(2 * i + 1) * len(self.songs) // (2 * count)] for i in range(count)]
        first, *others = sorted(spread, key=lambda song: abs(song[1] - sorted(s for _, s in spread)[count // 2]))
        chosen, total = [first[0]], first[1]
        for source, seconds in others:
            if total + seconds <= _SAMPLE_SECONDS:
                chosen.append(source)
                total += seconds
        return tuple(chosen)
