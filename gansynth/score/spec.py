"""Facts about a checkpoint that planning needs: the notes that it can play, and its instruments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gansynth.audio.envelope import longest_release
from gansynth.audio.hold import can_hold
from gansynth.config import EnvelopeConfig, InstrumentsConfig
from gansynth.errors import ConfigError
from gansynth.general_midi import DRUMS
from gansynth.model.checkpoint import PITCHES
from gansynth.model.shape import NoteShape
from gansynth.score.assign import InstrumentAssigner
from gansynth.score.instruments import Bank, load_bank, random_bank


@dataclass(frozen=True)
class SynthSpec:
    """Facts about a checkpoint that planning a song needs; small enough to be sent with every song.

    Attributes:
        pitches: MIDI pitches that the checkpoint was trained on.
        sample_rate: in Hz.
        note_samples: samples of a whole note.
        bank: instruments to choose from.
        checkpoint_digest: "sha256:..." of weights and flags; empty if it is not needed.
    """

    pitches: range
    sample_rate: int
    note_samples: int
    bank: Bank
    checkpoint_digest: str = ""


class HasShape(Protocol):
    """A loaded model, with the dimensions of its notes and the digest of its weights."""

    @property
    def shape(self) -> NoteShape:
        """Dimensions of its notes."""

    @property
    def digest(self) -> str:
        """Digest of its weights and flags, "sha256:..."."""


def synth_spec(shape: NoteShape, instruments: InstrumentsConfig, digest: str = "") -> SynthSpec:
    """Collects the facts about a checkpoint, without loading its network.

    Args:
        shape: dimensions of the checkpoint's notes; `shape.source` is its folder.
        instruments: chooses the bank: a file, the checkpoint's own `instruments.yaml`, or random latents.
        digest: "sha256:..." of the checkpoint, if needed.

    Raises:
        ConfigError: the bank cannot be read, does not fit the checkpoint, or lacks an instrument that the config names.
    """
    own, size = Path(shape.source) / "instruments.yaml", shape.config.latent_vector_size
    if instruments.bank not in (None, "random"):
        bank: Bank = load_bank(str(instruments.bank), size)
    elif instruments.bank is None and own.is_file():
        bank = load_bank(str(own), size)
    else:
        bank = default_bank(instruments, size)
    check_instruments(instruments, bank)
    return SynthSpec(PITCHES, shape.config.sample_rate, shape.audio_samples, bank, digest)


def checked_spec(model: HasShape, instruments: InstrumentsConfig, envelope: EnvelopeConfig) -> SynthSpec:
    """Collects the facts about a loaded model, and checks that bank and envelope fit it.

    Raises:
        ConfigError: see `synth_spec` and `check_envelope`.
    """
    spec = synth_spec(model.shape, instruments, model.digest)
    check_envelope(envelope, spec)
    return spec


def default_bank(config: InstrumentsConfig, size: int) -> Bank:
    """Draws the random bank that is used if neither the config nor the checkpoint has instruments.

    Args:
        config: mode, count and seed.
        size: latent size of the checkpoint.
    """
    return random_bank(DRUMS + 1 if config.mode == "per_program" else config.count, size, config.seed)


def check_instruments(config: InstrumentsConfig, bank: Bank) -> None:
    """Refuses settings that name an instrument that is not in the bank.

    Raises:
        ConfigError: the message has the setting, the instrument and the nearest name in the bank.
    """
    if config.mode == "per_program":
        InstrumentAssigner(config, bank)
    for name in {"interpolate": config.instruments, "fixed": config.instruments[:1]}.get(config.mode, ()):
        bank.index(name, "instruments.instruments")


def check_envelope(envelope: EnvelopeConfig, spec: SynthSpec) -> None:
    """Refuses an envelope that is longer than the checkpoint's notes, where these are not held.

    Raises:
        ConfigError: the message has both lengths.
    """
    holds = envelope.long_notes == "hold" and can_hold(spec.note_samples)
    sustain = envelope.max_sustain or 0.0
    release = longest_release(envelope, (*spec.bank.releases.values(), *spec.bank.program_releases.values()))
    if not holds and (release + sustain) * spec.sample_rate > spec.note_samples:
        raise ConfigError(
            f"envelope: max_sustain {sustain} + release {release} s is longer than the checkpoint's notes "
            f"({spec.note_samples / spec.sample_rate} s)."
        )
