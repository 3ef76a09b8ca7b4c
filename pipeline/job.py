"""A resolved job: the settings and the checkpoint's properties, from which its pipeline is drawn."""

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
"""Folder below the output folder in which a running job collects the rows of its songs."""


@dataclass(frozen=True)
class ResolvedJob:
    """A job whose pipeline can be drawn without listing files or loading the model.

    Attributes:
        config: the settings.
        spec: the checkpoint's properties that planning needs.
        resume: if true, songs that an earlier run finished are not rendered again.
    """

    config: JobConfig
    spec: SynthSpec
    resume: bool = False

    @property
    def model(self) -> ModelSettings:
        """Settings with which workers load the model."""
        return model_settings(self.config)

    @property
    def digests(self) -> dict[str, str]:
        """Digests of everything except the MIDI file that a song's files depend on, by their names in its row."""
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
    """Resolves a job; loads the model in this process, unless all that is needed of it is known.

    Args:
        config: the settings.
        resume: if true, songs that an earlier run finished are not rendered again.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        ConfigError: the bank or the envelope cannot be used.
    """
    settings = model_settings(config)
    spec = checked_spec(settings.known() or settings.acquire(), config.instruments, config.envelope)
    return ResolvedJob(config, spec, resume)


def model_settings(config: JobConfig) -> ModelSettings:
    """Selects the settings that loading the model needs."""
    compute, instruments = config.compute, config.instruments
    slides = instruments.mode in ("interpolate", "random") and not instruments.latent_steps
    return ModelSettings(
        checkpoint=config.checkpoint,
        batch_rows=compute.batch_rows,
        cache_bytes=compute.cache_bytes,
        threads=compute.threads,
        device=compute.device,
        precision=compute.precision,
        xla=compute.xla,
        sound_bank="off" if slides else compute.sound_bank,  # sounds that do not come again would fill it
        sound_bank_bytes=compute.sound_bank_bytes,
        storage=config.storage,
    )


def counters(result: Any) -> Counter[str]:
    """Collects this project's counters of a finished run, by name.

    Args:
        result: Beam's result object.
    """
    total: Counter[str] = Counter()
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == NAMESPACE:
            total[counter.key.metric.name] += counter.result or 0
    return total
