"""A job resolved: everything found out that drawing its pipeline needs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from gansynth.io.records import Records
from gansynth.score.spec import SynthSpec, checked_spec
from pipeline.config import JobConfig
from transforms.counters import NAMESPACE
from transforms.synthesize import ModelSettings

ROWS = ".rows"
"""Folder below the output in which a running job collects the rows of its songs."""


@dataclass(frozen=True)
class ResolvedJob:
    """A job that is ready to be drawn: no file has to be listed and no model loaded for it any more.

    Attributes:
        config: the settings.
        spec: the checkpoint as planning sees it.
        resume: whether songs that an earlier run has finished are left as they are.
    """

    config: JobConfig
    spec: SynthSpec
    resume: bool = False

    @property
    def model(self) -> ModelSettings:
        """The checkpoint that workers load, and how they run it."""
        return model_settings(self.config)

    @property
    def digests(self) -> dict[str, str]:
        """Digests of everything that a song's files depend on besides the MIDI file, by their names in its row."""
        return {
            "checkpoint_digest": self.spec.checkpoint_digest,
            "config_digest": self.config.digest,
            "bank_digest": self.spec.bank.digest,
        }

    @property
    def records(self) -> Records | None:
        """Completion records of earlier runs; None if all songs are to be rendered."""
        return Records(self.config.output, self.digests) if self.resume else None


def resolve(config: JobConfig, resume: bool = False) -> ResolvedJob:
    """Resolves a job; loads the model in this process.

    Raises:
        CheckpointError, ConfigError: the checkpoint, the bank or the envelope cannot be used.
    """
    spec = checked_spec(model_settings(config).acquire(), config.instruments, config.envelope)
    return ResolvedJob(config, spec, resume)


def model_settings(config: JobConfig) -> ModelSettings:
    """Selects the settings that loading the model needs."""
    compute = config.compute
    return ModelSettings(
        checkpoint=config.checkpoint,
        batch_rows=compute.batch_rows,
        cache_bytes=compute.cache_bytes,
        threads=compute.threads,
        device=compute.device,
        precision=compute.precision,
        xla=compute.xla,
        storage=config.storage,
    )


def counters(result: Any) -> Counter[str]:
    """Collects this project's counters of a finished run, by name."""
    total: Counter[str] = Counter()
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == NAMESPACE:
            total[counter.key.metric.name] += counter.result or 0
    return total
