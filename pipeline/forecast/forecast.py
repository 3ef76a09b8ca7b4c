"""The forecast of a job: totals, time on this machine, and cost on Dataflow."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

from pipeline.config import JobConfig
from pipeline.forecast.calibrate import Calibration

_PLACE_SECONDS = 24e-6
"""Seconds to shape and place a note, from docs/scaling.md."""
_CHUNK_MIX_BYTES = 2900
"""Bytes of chunk mixes shuffled per note, from docs/scaling.md."""


@dataclass
class Forecast:
    """The forecast of a job.

    Attributes:
        files, input_bytes: number and total size of the inputs.
        songs, finished, failed: number of inputs to render, finished by an earlier run, and that will fail.
        seconds: length of the audio to render.
        notes: number of notes of the songs to render, by outcome.
        ignored: number of their MIDI events without effect, by kind.
        repairs: number of them by repair.
        sounds: number of distinct sounds of these notes, by the rows with which they are rendered.
        gflop: operations of the network for these sounds, in GFLOP.
        instruments: number of songs in which each instrument plays; only the most frequent instruments.
        reasons: number of failures by code.
        failures: song, code and message of the first failures.
        paths: the first inputs, each with its output path.
        runner: runner of the job.
        workers: number of processes of a local run.
        slices: number of slices into which a local run cuts the songs; a process renders one at a time.
        unused_rules: rules for instruments that no song matches, described.
        calibration: times measured on this machine; None if calibration is off or there is nothing to render.
    """

    files: int = 0
    input_bytes: int = 0
    songs: int = 0
    finished: int = 0
    failed: int = 0
    seconds: float = 0.0
    notes: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    sounds: dict[int, int] = field(default_factory=dict)
    gflop: float = 0.0
    instruments: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    paths: list[tuple[str, str]] = field(default_factory=list)
    runner: str = "FnApiRunner"
    workers: int = 1
    slices: int = 1
    unused_rules: tuple[str, ...] = ()
    calibration: Calibration | None = None

    @property
    def exit_code(self) -> int:
        """Exit code with which `render` would end: 0 all rendered, 3 some failed, 1 none rendered."""
        return 1 if not self.songs + self.finished else 3 if self.failed else 0

    @property
    def distinct(self) -> int:
        """Number of distinct sounds."""
        return sum(self.sounds.values())

    @property
    def network_seconds(self) -> float | None:
        """Expected time of the network for all distinct sounds, on all cores of this machine, in seconds."""
        if self.calibration is None:
            return None
        return sum(count * self.calibration.sound[rows] for rows, count in self.sounds.items())

    @property
    def seconds_here(self) -> float | None:
        """Expected time of the job on this machine in seconds: one process runs the network, all share the rest."""
        if self.calibration is None or self.network_seconds is None:
            return None
        rest = self.calibration.minute * self.seconds / 60 + self.calibration.slice * self.slices
        return self.calibration.startup + self.network_seconds + rest / max(1, min(self.workers, self.slices))

    def dataflow(self, config: JobConfig) -> dict[str, float | None]:
        """Computes worker hours, GB and cost on Dataflow by the model in docs/scaling.md; unknown values are None."""
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
            "shuffled_gb": self.notes["played"] * _CHUNK_MIX_BYTES / 1e9,
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
        """Formats the forecast as JSON."""
        values = {
            "files": self.files,
            "input_bytes": self.input_bytes,
            "songs": self.songs,
            "finished": self.finished,
            "failed": self.failed,
            "seconds": self.seconds,
            "notes": dict(sorted(self.notes.items())),
            "ignored": dict(sorted(self.ignored.items())),
            "repairs": dict(sorted(self.repairs.items())),
            "distinct_sounds": self.distinct,
            "sounds_by_rows": {str(rows): count for rows, count in sorted(self.sounds.items())},
            "gflop": round(self.gflop, 3),
            "instruments": dict(self.instruments.most_common()),
            "unused_rules": list(self.unused_rules),
            "failures_by_code": dict(sorted(self.reasons.items())),
            "failures": [dict(zip(("song_id", "code", "message"), row, strict=True)) for row in self.failures],
            "processes": self.workers,
            "slices": self.slices,
            "seconds_on_this_machine": self.seconds_here,
            "calibration": None if self.calibration is None else vars(self.calibration),
            "dataflow": self.dataflow(config),
            "prices": config.plan.prices.model_dump(),
            "config": config.model_dump(mode="json"),
        }
        return (json.dumps(values, indent=2) + "\n").encode()
