"""The job's settings: a YAML file and --set options become one frozen, checked object."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from gansynth.audio.encode import AudioFormat
from gansynth.config import (
    SOUND_VERSION,
    DrumsConfig,
    EnvelopeConfig,
    InstrumentsConfig,
    MixConfig,
    NotesConfig,
    Off,
    Section,
    SoundConfig,
    StemsConfig,
)
from gansynth.errors import ConfigError
from gansynth.io import files
from gansynth.io.urls import StorageConfig

_LOG = logging.getLogger(__name__)
RENAMED = {"stems.most": "stems.max_files"}
"""Settings by their earlier names, which configs and finished outputs may still have."""


class AudioConfig(Section):
    """The sound files."""

    format: AudioFormat = "wav"
    """wav and flac have 16 bits, wav-float 32-bit floats, ogg is Vorbis."""
    sample_rate: int | None = Field(None, ge=8000, le=192_000)
    """In Hz, e.g. 44100 or 48000, of the clips and their stems; unset: as the checkpoint makes them, 16000."""


class SpectrogramConfig(Section):
    """The picture of each song."""

    png: bool = True
    """Whether a PNG is drawn."""
    array: bool = False
    """Whether the constant-Q transform is kept as .npy too (float32 [bins, frames], dB below its maximum)."""


class PianoRollConfig(Section):
    """The picture of each song's notes."""

    png: bool = True
    """Whether a PNG is drawn: the notes as they are heard, in colours by instrument."""


class ManifestConfig(Section):
    """The list of rendered songs, manifest.jsonl."""

    parquet: bool = False
    """Whether it is written as manifest.parquet too."""


class DatasetConfig(Section):
    """All songs of the job packed into a few files to train on, beside the files of each song."""

    format: Annotated[Literal["off", "webdataset"], Off] = "off"
    """webdataset: tar shards in dataset/, each song's audio, notes and metadata under one key."""
    shard_bytes: int = Field(256 << 20, ge=1 << 16)
    """A shard is no larger, unless it holds a single song that is."""


class ComputeConfig(Section):
    """How the work is done; but for `precision`, none of it changes how a song sounds."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """What the model runs on; gpu refuses to run where there is none."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """tf32 (NVIDIA GPUs) and bfloat16 are faster on processors that have them, and change the sound a little."""
    xla: bool = False
    """Compile the network with XLA: takes seconds for each shape of a batch, meant for GPUs."""
    workers: int = Field(0, ge=0, le=1024)
    """Local runs: processes that share the work, and one model; 0: one for each core."""
    threads: int = Field(0, ge=0, le=1024)
    """CPU threads of the model; 0: as many as there are cores. The next lower of 1, 2, 4, 8 is taken: with others a
    note's last bits would differ."""
    batch_rows: int = Field(0, ge=0, le=1 << 20)
    """Size of a batch, in 1/128 of a whole note. Memory grows with it; 0: 256 on a CPU, 8192 on a GPU."""
    batch_notes: int = Field(8192, ge=1, le=1 << 20)
    """Notes handed to the model together, to be sorted into batches."""
    cache_bytes: int = Field(256 << 20, ge=0)
    """Memory of all local processes together for sounds that may be heard again."""
    slice_songs: int = Field(128, ge=1)
    """Local runs: at most so many songs in memory at once."""
    slice_bytes: int = Field(256_000, ge=1)
    """Local runs: at most so many bytes of MIDI in memory at once."""
    resource_hints: dict[str, str] = Field(default_factory=dict)
    """Beam's hints for the workers that run the model: accelerator, min_ram, cpu_count."""


class PricesConfig(Section):
    """What `plan` counts the cost of a job on Google Cloud with; see Google's price lists."""

    date: str | None = None
    """When these prices were looked up, for the reader of the plan."""
    currency: str = "USD"
    """What they are in."""
    worker_hour: float | None = Field(None, ge=0, allow_inf_nan=False)
    """An hour of a worker that reads, mixes and writes: its cores, memory and disk."""
    gpu_worker_hour: float | None = Field(None, ge=0, allow_inf_nan=False)
    """An hour of a worker that runs the network, its GPU included."""
    shuffle_gb: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A GB of shuffled data."""
    storage_gb_month: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A GB stored for a month."""


class PlanConfig(Section):
    """What `plan` cannot find out on this machine."""

    gpu_gflops: float | None = Field(None, gt=0, allow_inf_nan=False)
    """GFLOP a second of the network on the GPU of the workers, as `benchmarks.synthesis` measures it there."""
    prices: PricesConfig = PricesConfig()


class JobConfig(Section):
    """A rendering job."""

    sound_version: int = SOUND_VERSION
    """Version of the rendering; written into the output's config.yaml, and refused where it is another."""
    input: tuple[str, ...] = ()
    """Files, folders or patterns (`**` for any depth), local or as fsspec URLs."""
    output: str = "out"
    """Folder or URL that everything is written under."""
    resume: bool = True
    """Whether songs that an earlier run with the same settings has finished under `output` are left as they are."""
    max_failures: str | int | None = None
    """Stop when more songs than this have failed: a number, or a share such as "2%". Unset: never stop."""
    checkpoint: str = "mini"
    """mini (bundled), acoustic_only or all_instruments (Magenta's), a folder, or an fsspec URL of one."""
    notes: NotesConfig = NotesConfig()
    instruments: InstrumentsConfig = InstrumentsConfig()
    envelope: EnvelopeConfig = EnvelopeConfig()
    mix: MixConfig = MixConfig()
    drums: DrumsConfig = DrumsConfig()
    stems: StemsConfig = StemsConfig()
    audio: AudioConfig = AudioConfig()
    spectrogram: SpectrogramConfig = SpectrogramConfig()
    piano_roll: PianoRollConfig = PianoRollConfig()
    played_notes: tuple[Literal["midi", "json"], ...] = ()
    """Files of the notes that are heard, aligned to the audio: notes/REL.mid, notes/REL.json, or both. A data set has
    the JSON in any case."""
    manifest: ManifestConfig = ManifestConfig()
    dataset: DatasetConfig = DatasetConfig()
    compute: ComputeConfig = ComputeConfig()
    storage: StorageConfig = StorageConfig()
    plan: PlanConfig = PlanConfig()
    beam: dict[str, Any] = Field(default_factory=dict)
    """Beam pipeline options by name, e.g. runner: DataflowRunner."""

    @field_validator("sound_version")
    @classmethod
    def _same_version(cls, value: int) -> int:
        if value != SOUND_VERSION:
            raise ValueError(f"settings of sound version {value}; this release renders version {SOUND_VERSION}")
        return value

    @field_validator("max_failures")
    @classmethod
    def _limit(cls, value: str | int | None) -> str | int | None:
        number, percent, rest = str(0 if value is None else value).partition("%")
        if rest or not number.isdecimal() or (percent and int(number) > 100):
            raise ValueError("a number of songs, or a share such as 2%")
        return value if percent or value is None else int(number)

    def too_many(self, failures: int, songs: int) -> bool:
        """Whether the job stops after so many failures; `songs` is how many there are in all."""
        if self.max_failures is None:
            return False
        number, percent, _ = str(self.max_failures).partition("%")
        return failures > (int(number) * songs / 100 if percent else int(number))

    @property
    def note_files(self) -> list[str]:
        """The files that are written of a song's notes: "midi", "json"."""
        return sorted({*self.played_notes, *(() if self.dataset.format == "off" else ("json",))})

    @property
    def sound(self) -> SoundConfig:
        """The part that decides how songs sound."""
        return SoundConfig(
            notes=self.notes,
            instruments=self.instruments,
            envelope=self.envelope,
            mix=self.mix,
            drums=self.drums,
            stems=self.stems,
        )

    @property
    def digest(self) -> str:
        """sha256 of all settings that a song's files depend on, the checkpoint's weights apart."""
        parts = (
            *(self.notes, self.instruments, self.envelope, self.mix, self.drums, self.stems),
            *(self.audio, self.spectrogram, self.piano_roll),
        )
        values: list[Any] = [*(part.model_dump(mode="json", by_alias=True) for part in parts), self.compute.precision]
        values += [self.note_files, SOUND_VERSION]
        text = json.dumps(values, sort_keys=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def to_yaml(self) -> str:
        """The effective config, in a form that --config reads."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_config(
    path: str | None = None,
    settings: Iterable[str] = (),
    inputs: Iterable[str] = (),
    output: str | None = None,
) -> JobConfig:
    """Reads a config file and lays the command line over it.

    Args:
        path: a YAML file, local or an fsspec URL; the defaults if None.
        settings: "section.key=value" each, the value in YAML.
        inputs: replace the file's `input` if there are any.
        output: replaces the file's `output` unless None.

    Raises:
        ConfigError: names the key, what is wrong with it and the nearest real one.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = yaml.safe_load(files.read_bytes(path)) or {}
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"--config {path}: cannot be read ({error}).") from None
        if not isinstance(values, dict):
            raise ConfigError(f"--config {path}: holds no mapping of settings.")
    for setting in settings:
        _lay_over(values, setting)
    if inputs := tuple(inputs):
        values["input"] = inputs
    if isinstance(values.get("input"), str):
        values["input"] = (values["input"],)
    if output is not None:
        values["output"] = output
    for old, new in rename_settings(values):
        _LOG.warning("config: %s is now called %s; the old name still works.", old, new)
    try:
        return JobConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(item) for item in error.errors())) from None


def rename_settings(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Moves settings that are given under an earlier name to the present one; returns both names of each."""
    renamed = []
    for old, new in RENAMED.items():
        section, key = old.split(".")
        group = values.get(section)
        if isinstance(group, dict) and key in group:
            group.setdefault(new.split(".")[1], group.pop(key))
            renamed.append((old, new))
    return renamed


def _lay_over(values: dict[str, Any], setting: str) -> None:
    name, equals, text = setting.partition("=")
    if not equals or not name:
        raise ConfigError(f"--set {setting}: write it as section.key=value.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting}: the value is no YAML ({error}).") from None
    *sections, key = name.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {setting}: {section} is not a section.")
    values[key] = value


def _explain(error: Any) -> str:
    location = [str(part) for part in error["loc"]]
    name = ".".join(location)
    if error["type"] == "extra_forbidden":
        model: Any = JobConfig
        for part in location[:-1]:
            model = model.model_fields[part].annotation
        known = [*model.model_fields] if isinstance(model, type) and issubclass(model, BaseModel) else []
        near = difflib.get_close_matches(location[-1], known, 1, 0.5)
        hint = f"did you mean {'.'.join([*location[:-1], near[0]])}?" if near else f"known: {', '.join(known)}."
        return f"config: unknown key {name}; {hint}"
    return f"config: {name or 'settings'}: {error['msg']} (given: {error['input']!r:.80})."
