"""The job's settings: a YAML file and --set options, merged into one frozen, validated object."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from gansynth.audio.encode import RATES, AudioFormat, check_format
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
from gansynth.io import structured
from gansynth.io.urls import StorageConfig
from gansynth.model.open_bank import split_digest

_LOG = logging.getLogger(__name__)
RENAMED = {"stems.most": "stems.max_files"}
"""New names of settings by their old names, which configs and finished outputs may still use."""
LATER = {
    "audio.metadata": False,
    "stems.format": "wav-float",
    "spectrogram.range": "reference",
    "piano_roll.colour": "instrument",
    "piano_roll.data": False,
}
"""Settings that came later, by the value that does what releases before them did. A saved config without them means
this value, and it does not enter the digest, so that what those releases finished stays valid."""


class AudioConfig(Section):
    """Settings of the audio files."""

    format: AudioFormat = "wav"
    """File format: wav and flac hold 16-bit samples, wav-float 32-bit floats, ogg Vorbis; mp3 and opus need libsndfile
    1.1 or later."""
    metadata: bool = False
    """If true, sound files name the song's title, artist and copyright, as far as the MIDI file does."""
    sample_rate: int | None = Field(None, ge=8000, le=192_000)
    """Sample rate of clips and stems in Hz, e.g. 44100 or 48000. Unset: the checkpoint's, 16000."""

    @model_validator(mode="after")
    def _is_known(self) -> AudioConfig:
        if self.format in RATES:
            check_format(self.format, self.sample_rate)
        return self


class SpectrogramConfig(Section):
    """Settings of each song's spectrogram."""

    png: bool = True
    """If true, the spectrogram is drawn as a PNG."""
    array: bool = False
    """If true, the constant-Q transform is saved as .npy: float32 [bins, frames], in dB relative to its maximum."""
    range: Literal["full", "reference"] = "full"
    """Pitches of picture and array. full: from C1 to half the notes' sample rate, on axes shared with the piano roll,
    as wide as the song is long; reference: the five octaves and the width of Magenta's notebook."""


class PianoRollConfig(Section):
    """Settings of each song's piano roll."""

    png: bool = True
    """If true, the notes are drawn as a PNG, as they are heard."""
    colour: Literal["instrument", "track", "velocity"] = "instrument"
    """What colours stand for in the PNG; on the page one can choose."""
    data: bool = True
    """If true, the notes are saved in rolls/ for the page, which draws them with zoom."""


class ManifestConfig(Section):
    """Settings of the manifest, the list of rendered songs."""

    parquet: bool = False
    """If true, manifest.parquet is written in addition to manifest.jsonl."""


class DatasetConfig(Section):
    """Settings of the training data set, which packs all songs of the job into a few large files."""

    format: Annotated[Literal["off", "webdataset", "audiofolder"], Off] = "off"
    """webdataset: tar shards in dataset/ with each song's audio, notes and metadata under one key. audiofolder:
    audio/metadata.jsonl, with which Hugging Face's `datasets` loads the folder audio/. off: none."""
    shard_bytes: int = Field(256 << 20, ge=1 << 16)
    """Maximum size of a shard in bytes; only a single song larger than this makes a larger shard."""


class ComputeConfig(Section):
    """Settings of the computation; only `precision`, and a built bank, affect the sound."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Device that runs the network. auto: a GPU if there is one; gpu: an error if there is none."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Arithmetic of the network. tf32 (NVIDIA GPUs) and bfloat16 are faster on hardware that supports them, and change
    the sound slightly."""
    xla: bool = False
    """If true, the network is compiled with XLA, which takes seconds for each batch shape; meant for GPUs."""
    workers: int = Field(0, ge=0, le=1024)
    """Local runs: number of processes, which share one model. 0: one per core."""
    threads: int = Field(0, ge=0, le=1024)
    """CPU threads of the model. 0: one per core."""
    batch_rows: int = Field(0, ge=0, le=1 << 20)
    """Size of a network batch in rows (a whole note has 128); on a GPU memory grows with it. 0: 8192 on a GPU, 256 for
    each thread on a CPU, whose threads share a batch."""
    batch_notes: int = Field(8192, ge=1, le=1 << 20)
    """Number of notes passed to the model at once, which it sorts into batches."""
    cache_bytes: int = Field(256 << 20, ge=0)
    """Size of the cache of rendered sounds in bytes. Local runs: of all processes together."""
    sound_bank: Annotated[str, Off] = "auto"
    """Rendered sounds of named instruments, kept on disk for later runs. auto: in the user's cache folder; a folder; a
    URL, which is only read; or off. Only sounds of equal checkpoints, kernels and processors are used. PLACE@sha256:...
    names a bank that `gansynth-beam bank build` has built in a folder or at a URL, on any machine: songs have its
    sounds, and its digest is part of the settings'."""
    sound_bank_bytes: int = Field(2 << 30, ge=1 << 26)
    """Maximum size of the sound bank in bytes; the oldest sounds are removed. Of built banks at URLs: of the copies."""
    slice_songs: int = Field(128, ge=1)
    """Local runs: maximum number of songs in memory at once."""
    slice_bytes: int = Field(256_000, ge=1)
    """Local runs: maximum size of the MIDI files in memory at once, in bytes."""
    resource_hints: dict[str, str] = Field(default_factory=dict)
    """Beam resource hints for the workers that run the model: accelerator, min_ram, cpu_count."""

    @property
    def sound_bank_digest(self) -> str:
        """Digest of the built bank that is named, "sha256:..."; empty for any other."""
        return split_digest(self.sound_bank)[1]

    @field_validator("sound_bank")
    @classmethod
    def _is_a_place(cls, value: str) -> str:
        try:
            split_digest(value)
        except ConfigError as error:
            raise ValueError(str(error).partition(": ")[2].rstrip(".")) from None
        return value


class PricesConfig(Section):
    """Google Cloud prices from which the forecast computes the cost of a job; see Google's price lists."""

    date: str | None = None
    """Date of the prices, shown in the forecast."""
    currency: str = "USD"
    """Currency of the prices."""
    worker_hour: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Price per hour of a worker without a GPU: its cores, memory and disk."""
    gpu_worker_hour: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Price per hour of a worker that runs the network, including its GPU."""
    shuffle_gb: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Price per GB of shuffled data."""
    storage_gb_month: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Price per GB stored for a month."""


class PlanConfig(Section):
    """Settings of the forecast that the command `plan` prints."""

    gpu_gflops: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Speed of the network on a worker's GPU in GFLOP per second, as `benchmarks.synthesis` measures it there."""
    prices: PricesConfig = PricesConfig()


class JobConfig(Section):
    """All settings of a rendering job."""

    sound_version: int = SOUND_VERSION
    """Version of the rendering; written into the output's config.yaml, and refused where it is another."""
    input: tuple[str, ...] = ()
    """Files, folders, archives, lists (@FILE) or glob patterns (`**` matches any depth); local paths or fsspec URLs."""
    output: str = "out"
    """Folder or fsspec URL under which all files are written."""
    resume: bool = True
    """If true, songs that an earlier run with the same settings finished under `output` are not rendered again."""
    max_failures: str | int | None = None
    """Local runs: the job stops when more songs than this have failed. A number, or a share such as "2%". Unset: never
    stops."""
    checkpoint: str = "mini"
    """mini (bundled), acoustic_only or all_instruments (Magenta's), a folder, or the fsspec URL of a folder."""
    notes: NotesConfig = NotesConfig()
    instruments: InstrumentsConfig = InstrumentsConfig()
    envelope: EnvelopeConfig = EnvelopeConfig()
    mix: MixConfig = MixConfig()
    drums: DrumsConfig = DrumsConfig()
    stems: StemsConfig = StemsConfig()
    audio: AudioConfig = AudioConfig()
    spectrogram: SpectrogramConfig = SpectrogramConfig()
    piano_roll: PianoRollConfig = PianoRollConfig()
    played_notes: tuple[Literal["midi", "json", "notesequence"], ...] = ()
    """Formats in which the notes that are heard are saved, aligned to the audio: notes/NAME.mid, notes/NAME.json,
    notes/NAME.pb (a note_seq NoteSequence), or several. With a data set, the JSON is always written."""
    manifest: ManifestConfig = ManifestConfig()
    dataset: DatasetConfig = DatasetConfig()
    compute: ComputeConfig = ComputeConfig()
    storage: StorageConfig = StorageConfig()
    plan: PlanConfig = PlanConfig()
    beam: dict[str, Any] = Field(default_factory=dict)
    """Beam pipeline options by name, without the leading dashes, e.g. `runner: DataflowRunner`."""

    @field_validator("sound_version")
    @classmethod
    def _same_version(cls, value: int) -> int:
        if value != SOUND_VERSION:
            raise ValueError(f"settings of sound version {value}; this release renders version {SOUND_VERSION}")
        return value

    @model_validator(mode="after")
    def _bank_has_sounds(self) -> JobConfig:
        if self.compute.sound_bank_digest and self.instruments.glides:
            raise ValueError(
                f"compute.sound_bank names a built bank, which has no sounds for instruments.mode "
                f"{self.instruments.mode}; set instruments.latent_steps, or leave out the bank"
            )
        return self

    @field_validator("max_failures")
    @classmethod
    def _limit(cls, value: str | int | None) -> str | int | None:
        number, percent, rest = str(0 if value is None else value).partition("%")
        if rest or not number.isdecimal() or (percent and int(number) > 100):
            raise ValueError("a number of songs, or a share such as 2%")
        return value if percent or value is None else int(number)

    def too_many(self, failures: int, songs: int) -> bool:
        """Tells whether the job stops.

        Args:
            failures: number of songs that have failed so far.
            songs: number of all songs of the job.
        """
        if self.max_failures is None:
            return False
        number, percent, _ = str(self.max_failures).partition("%")
        return failures > (int(number) * songs / 100 if percent else int(number))

    @property
    def note_files(self) -> list[str]:
        """Formats in which a song's notes are written: "midi", "json", "notesequence", sorted."""
        return sorted({*self.played_notes, *(() if self.dataset.format == "off" else ("json",))})

    @property
    def sound(self) -> SoundConfig:
        """Settings that decide the sound of a song."""
        return SoundConfig(**{name: getattr(self, name) for name in SoundConfig.model_fields})

    @property
    def digest(self) -> str:
        """sha256 of all settings that a song's files depend on; the checkpoint has a digest of its own."""
        sections = (
            *("notes", "instruments", "envelope", "mix", "drums", "stems"),
            *("audio", "spectrogram", "piano_roll"),
        )
        parts = {name: getattr(self, name).model_dump(mode="json", by_alias=True) for name in sections}
        for name, earlier in LATER.items():
            section, key = name.split(".")
            if parts[section][key] == earlier or name in self._unused:
                del parts[section][key]
        values = [*parts.values(), self.compute.precision, self.note_files, SOUND_VERSION]
        if bank := self.compute.sound_bank_digest:
            values.append(bank)
        text = json.dumps(values, sort_keys=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    @property
    def _unused(self) -> set[str]:
        """Settings of pictures that are not drawn."""
        unused = set() if self.piano_roll.png else {"piano_roll.colour"}
        if not (self.piano_roll.png or self.spectrogram.png or self.spectrogram.array):
            unused.add("spectrogram.range")
        return unused

    def to_yaml(self) -> str:
        """Formats all settings as YAML that `load_config` reads."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_config(
    path: str | None = None,
    settings: Iterable[str] = (),
    inputs: Iterable[str] = (),
    output: str | None = None,
) -> JobConfig:
    """Reads a config file and applies the command line's settings to it.

    Args:
        path: path or fsspec URL of a YAML file; None for the defaults.
        settings: "section.key=value" each, with the value in YAML.
        inputs: replace the file's `input` unless empty.
        output: replaces the file's `output` unless None.

    Returns:
        The validated settings.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or invalid; the message names the setting and,
            if it is unknown, the most similar one.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = structured.parse_yaml(structured.read_bytes(path)) or {}
        except FileNotFoundError:
            raise ConfigError(f"--config {path}: cannot be read, since it does not exist.") from None
        except ValueError as error:
            raise ConfigError(f"--config {path}: {error}.") from None
        except OSError as error:
            raise ConfigError(f"--config {path}: cannot be read ({error}).") from None
        if not isinstance(values, dict):
            raise ConfigError(f"--config {path}: must contain a YAML mapping of settings.")
    for setting in settings:
        _apply_setting(values, setting)
    if inputs := tuple(inputs):
        values["input"] = inputs
    if isinstance(values.get("input"), str):
        values["input"] = (values["input"],)
    if output is not None:
        values["output"] = output
    if "sound_version" in values:
        complete_settings(values)
    for old, new in rename_settings(values):
        _LOG.warning("config: %s is now called %s; the old name still works.", old, new)
    try:
        return JobConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(item) for item in error.errors())) from None


def rename_settings(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Moves settings that have an old name to the new one, in place.

    Args:
        values: a config as read from YAML.

    Returns:
        Old and new name of each setting that was moved.
    """
    renamed = []
    for old, new in RENAMED.items():
        section, key = old.split(".")
        group = values.get(section)
        if isinstance(group, dict) and key in group:
            group.setdefault(new.split(".")[1], group.pop(key))
            renamed.append((old, new))
    return renamed


def complete_settings(values: dict[str, Any]) -> None:
    """Adds the settings that a config saved by an earlier release lacks, in place: LATER has their values.

    Args:
        values: a config as an output folder has it.
    """
    for name, earlier in LATER.items():
        section, key = name.split(".")
        group = values.setdefault(section, {})
        if isinstance(group, dict):
            group.setdefault(key, earlier)


def _apply_setting(values: dict[str, Any], setting: str) -> None:
    name, equals, text = setting.partition("=")
    if not equals or not name:
        raise ConfigError(f"--set {setting}: write it as section.key=value.")
    try:
        value = structured.parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"--set {setting:.200}: {error}.") from None
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
        near = _similar(location, known)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}."
        return f"config: unknown key {name}; {hint}"
    message = error["msg"].removeprefix("Value error, ")
    return f"config: {name or 'settings'}: {message} (given: {error['input']!r:.80})."


def _similar(location: Sequence[str], known: Sequence[str]) -> list[str]:
    """Finds the settings that an unknown name may mean: that name in a section, or a similar one in its own."""
    *sections, key = location
    everywhere = {".".join(path): path[-1] for path in _settings(JobConfig)}
    if same := [name for name, last in everywhere.items() if last == key]:
        return same
    if near := difflib.get_close_matches(key, known, 1, 0.6):
        return [".".join([*sections, near[0]])]
    near = difflib.get_close_matches(key, sorted({*everywhere.values()}), 1, 0.75)
    return [name for name, last in everywhere.items() if last in near]


def _settings(model: type[BaseModel], *sections: str) -> Iterator[tuple[str, ...]]:
    """Lists the names of all settings, each as its sections and its own name."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _settings(field.annotation, *sections, name)
        else:
            yield (*sections, name)
