"""A resolved job: the settings and the checkpoint's properties, from which its pipeline is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gansynth.audio.kits import shared_kit
from gansynth.io import urls
from gansynth.io.records import Records
from gansynth.model import checkpoint
from gansynth.model.findings import KnownModel
from gansynth.model.open_bank import open_built
from gansynth.model.shape import shape_of
from gansynth.model.synthesizer import Synthesizer
from gansynth.score.spec import SynthSpec, checked_spec, synth_spec
from pipeline.config import JobConfig
from transforms.model_settings import ModelSettings

ROWS = ".rows"
"""Folder below the output folder in which each running job collects the rows of its songs, in a folder of its own."""


@dataclass(frozen=True)
class ResolvedJob:
    """A job whose pipeline can be drawn without listing files or loading the model.

    Attributes:
        config: the settings.
        spec: the checkpoint's properties that planning needs.
        resume: if true, songs that an earlier run finished are not rendered again.
        kit_digest: "sha256:..." of the drum kit's sounds; empty unless `notes.drums` is kit.
        name: name of the job's folder of rows.
    """

    config: JobConfig
    spec: SynthSpec
    resume: bool = False
    kit_digest: str = ""
    name: str = "job"

    @property
    def rows(self) -> str:
        """Folder in which the job collects the rows of its songs."""
        return rows_folder(self.config.output, self.name)

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
            "kit_digest": self.kit_digest,
            "sound_bank_digest": self.config.compute.sound_bank_digest,
        }

    @property
    def records(self) -> Records | None:
        """Completion records of earlier runs; None if all songs are to be rendered."""
        return Records(self.config.output, self.digests) if self.resume else None


def rows_folder(output: str, name: str) -> str:
    """Returns the folder in which a job collects the rows of its songs.

    Args:
        output: path or URL of the output folder.
        name: name of the job.
    """
    return urls.join(output, ROWS, name)


def resolve(config: JobConfig, resume: bool = False, name: str = "job") -> ResolvedJob:
    """Resolves a job; loads the model in this process, unless all that is needed of it is known.

    Args:
        config: the settings.
        resume: if true, songs that an earlier run finished are not rendered again.
        name: name of the job's folder of rows.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        ConfigError: a bank, the envelope or the drum kit cannot be used.
    """
    settings = model_settings(config)
    known: KnownModel | Synthesizer | None = _known_in_bank(config) or settings.known()
    if known is None:
        from transforms.model import acquire  # imports Beam, which a process that only starts others does without

        known = acquire(settings)
    spec = checked_spec(known, config.instruments, config.envelope)
    return with_kit(ResolvedJob(config, spec, resume, name=name))


def _known_in_bank(config: JobConfig) -> KnownModel | None:
    """Returns what the job's built bank tells of the checkpoint, whose folder has the instruments; None without one.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConfigError: the bank cannot be used, or is of another checkpoint.
    """
    compute = config.compute
    if not compute.sound_bank_digest:
        return None
    bank = open_built(compute.sound_bank, compute.sound_bank_bytes)
    bank.check_checkpoint(config.checkpoint)
    known = bank.known_model(compute.precision, compute.xla, compute.device)
    return replace(known, shape=shape_of(config.checkpoint)[0])


def with_kit(job: ResolvedJob) -> ResolvedJob:
    """Completes a job with the digest of its drum kit, which it reads.

    Raises:
        ConfigError: the drum kit cannot be used.
    """
    if job.config.notes.drums != "kit":
        return job
    shared_kit.cache_clear()  # its folder may have changed since this process read it
    return replace(job, kit_digest=shared_kit(job.config.drums.kit, job.spec.sample_rate).digest)


def resolve_without_model(config: JobConfig) -> ResolvedJob:
    """Resolves a job that only looks for finished songs: the checkpoint is read, but TensorFlow is not imported.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConfigError: the bank cannot be used.
    """
    if known := _known_in_bank(config):
        shape, digest = known.shape, known.digest
    else:
        shape, digest = shape_of(config.checkpoint)[0], checkpoint.digest(config.checkpoint)
    spec = synth_spec(shape, config.instruments, digest)
    return with_kit(ResolvedJob(config, spec, resume=True))


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
        sound_bank="off" if config.instruments.glides else compute.sound_bank,  # hardly any sound would come again
        sound_bank_bytes=compute.sound_bank_bytes,
        storage=config.storage,
    )
