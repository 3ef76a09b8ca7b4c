"""Settings that decide how a song sounds, typed and frozen: notes, instruments, envelope, mix, stems."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from gansynth.general_midi import FAMILIES

SOUND_VERSION = 3
"""Version of the rendering itself: outputs of another version are not resumed, since the same settings sound otherwise.
1: notes by track, 3 s at most. 2: channel state, held notes, drum kits, notes out of range stretched.
3: notes end as their instruments do."""


class Section(BaseModel):
    """An immutable group of settings that rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _off(value: Any) -> Any:
    return "off" if value is False else value  # YAML 1.1 reads an unquoted off as false


Off = BeforeValidator(_off)
"""Validator for settings that can be "off"."""


class NotesConfig(Section):
    """Selection and timing of the notes that are played."""

    min_pitch: int = Field(24, ge=0, le=127)
    """Lowest MIDI pitch that is played unchanged."""
    max_pitch: int = Field(84, ge=0, le=127)
    """Highest MIDI pitch that is played as written."""
    out_of_range: Literal["stretch", "fold", "drop", "error"] = "stretch"
    """Notes outside: played at their own pitch by resampling the nearest the checkpoint knows, up to an octave, and
    moved by octaves beyond that; moved by octaves into the range; left out; or the song fails."""
    drums: Literal["kit", "play", "skip"] = "kit"
    """Notes of drum channels: played by the drum kit, played as pitched notes, or left out."""
    sustain_pedal: bool = True
    """Hold notes for as long as the sustain pedal (controller 64) is down."""
    time_stretch: float = Field(1.0, gt=0, le=100, allow_inf_nan=False)
    """Factor applied to all times: 1.3 plays slower."""
    max_song_seconds: float = Field(3600.0, gt=0, allow_inf_nan=False)
    """Longest song in seconds; a longer one fails."""
    max_notes: int = Field(200_000, gt=0)
    """Highest number of notes in a song; a song with more fails."""
    max_polyphony: int = Field(4096, gt=0)
    """Highest number of notes that sound at once; a denser song is noise and fails."""
    max_file_bytes: int = Field(1_500_000, gt=0)
    """Largest file in bytes; a larger one fails before it is parsed. Each MB may take 5 s and 300 MB of memory to
    parse."""
    reader: Literal["channels", "note_seq"] = "channels"
    """Reader of MIDI files. channels: by channel state, as a General MIDI synthesizer hears them; note_seq: as Magenta
    reads them, without volume, expression and bends, and with drums on channel 10 alone."""
    text_encoding: str | None = None
    """Encoding of track names, by its Python name. Unset: UTF-8 or UTF-16, else the likeliest of Shift-JIS, CP1251, GBK
    and Latin-1."""
    salvage: Annotated[Literal["off", "safe", "aggressive"], Off] = "safe"
    """Repair of damaged files. off: a file that needs a repair fails (with reader note_seq, note_seq alone decides);
    safe: formal defects are repaired if the music is intact; aggressive: bytes inside a track that are not MIDI are
    left out as well."""

    @field_validator("text_encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                b"a".decode(value)
        except (LookupError, UnicodeError):
            raise ValueError(f"unknown text encoding {value!r}; try utf-8, shift_jis, cp1251 or gbk") from None
        return value

    @model_validator(mode="after")
    def _ordered(self) -> NotesConfig:
        if self.min_pitch > self.max_pitch:
            raise ValueError(f"min_pitch {self.min_pitch} is above max_pitch {self.max_pitch}")
        return self


class InstrumentsConfig(Section):
    """Choice of the latent vector that each note is played with."""

    mode: Literal["per_program", "interpolate", "random", "fixed"] = "per_program"
    """per_program: one instrument for each MIDI program; interpolate: a list of instruments over the song's length;
    random: a new random instrument every secs_per_instrument, interpolated from one to the next; fixed: one for all
    notes."""
    bank: str | None = None
    """Source of named instruments: a .yaml, .json or .npz file, or "random". Unset: the checkpoint's own instruments if
    it has any, random ones otherwise."""
    count: int = Field(10, ge=1, le=100_000)
    """Number of instruments in a random bank; with mode per_program it always has 129, one for each program."""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Seed of all random instruments, 0..2**32 - 1."""
    instruments: tuple[int | str, ...] = (0, 2, 4, 0)
    """For interpolate: names or numbers in the bank, in playing order. For fixed: the first one is played."""
    times: tuple[float, ...] = (0.0, 0.3, 0.6, 1.0)
    """For interpolate: the point at which each instrument is reached, 0..1 of the song; the first counts as -0.001, the
    last as 1."""
    secs_per_instrument: float = Field(6.0, gt=0, allow_inf_nan=False)
    """For random: seconds from one instrument to the next."""
    variation: float = Field(1.0, ge=0, le=1)
    """Small differences between repeated notes, in start (up to 1.75 ms) and level (up to 0.09 dB); 0: none."""
    latent_steps: int = Field(0, ge=0, le=10_000)
    """For interpolate and random: number of steps from one instrument to the next, so that equal notes repeat and are
    rendered once; 0 interpolates continuously, as the reference does."""
    programs: dict[int, int | str] = Field(default_factory=dict)
    """For per_program: MIDI program (0..127, 128 for drums) to instrument, overriding `families` and the bank."""
    families: dict[str, int | str] = Field(default_factory=dict)
    """For per_program: General MIDI family (piano, chromatic_percussion, ..., drums) to instrument, for programs that
    have no rule in `programs`."""
    tracks: dict[str, int | str] = Field(default_factory=dict)
    """For per_program: track name to instrument, applied before all other rules. Case and extra spaces are ignored;
    * matches any text, ? one character, [ab] one of these. If several match, a name without wildcards wins, then the
    pattern with the most characters."""

    @property
    def glides(self) -> bool:
        """Tells whether notes lie anywhere between two instruments, so that hardly any sound comes again."""
        return self.mode in ("interpolate", "random") and not self.latent_steps

    @field_validator("families", mode="before")
    @classmethod
    def _known_families(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        rules = {}
        for key, instrument in value.items():
            name = "_".join(str(key).lower().replace("-", " ").replace("_", " ").split())
            if name not in FAMILIES:
                near = difflib.get_close_matches(name, FAMILIES, 1, 0.5)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(FAMILIES)}."
                raise ValueError(f"General MIDI has no family {key!r}; {hint}")
            rules[name] = instrument
        return rules

    @model_validator(mode="after")
    def _schedule(self) -> InstrumentsConfig:
        if not self.instruments:
            raise ValueError("instruments is empty; list at least one instrument")
        if self.mode == "interpolate":
            if len(self.instruments) != len(self.times) or len(self.times) < 2:
                raise ValueError(
                    f"interpolate needs at least two instruments and one time for each; instruments has "
                    f"{len(self.instruments)} entries, times {len(self.times)}"
                )
            if any(b < a for a, b in zip(self.times, self.times[1:], strict=False)):
                raise ValueError("times must be in ascending order")
        unknown = [program for program in self.programs if not 0 <= program <= 128]
        if unknown:
            raise ValueError(f"programs {unknown} are outside 0..128")
        return self


class EnvelopeConfig(Section):
    """Envelope of each note; times in seconds."""

    attack: float = Field(0.010, ge=0, le=1)
    """Duration of the linear rise from silence."""
    release: Literal["instrument"] | Annotated[float, Field(ge=0, le=3)] = "instrument"
    """Fall to silence after the note's end: linear in so many seconds, or as the instrument has it in its bank (one
    without a release of its own falls linearly in 0.3 s)."""
    max_sustain: float | None = Field(None, gt=0, le=600)
    """A longer note is released after this time. Unset: notes last as long as written, up to 600 s."""
    long_notes: Literal["hold", "cut"] = "hold"
    """Notes longer than the checkpoint makes them: a steady tone goes on and a decaying one goes on decaying, or they
    are released when the checkpoint's note is over."""
    note_peak: Literal["positive", "absolute", "none"] = "absolute"
    """Peak that each note is divided by: its highest sample, its highest absolute sample, or none."""


class MixConfig(Section):
    """Level, length and channels of a clip."""

    velocity: Literal["linear", "general_midi"] = "general_midi"
    """Level of a note by its velocity v: v / 127 in amplitude, or 40 log10(v / 127) dB as General MIDI recommends."""
    peak: float = Field(0.9, gt=0, le=1)
    """Peak of the clip after normalisation; 1.0 is full scale."""
    clip_peak: Literal["positive", "absolute", "none"] = "absolute"
    """Peak that is normalised: the highest sample or the highest absolute sample; "none" leaves the sum of notes
    unscaled."""
    tail: Literal["release", "reference"] = "release"
    """End of the clip: "release" ends it with the last release, "reference" at int(last note end + 3) seconds."""
    normalize: Literal["peak", "loudness"] = "peak"
    """Normalisation of the clip: "peak" by its peak (see clip_peak and peak), "loudness" by its integrated loudness."""
    loudness: float = Field(-16.0, ge=-60, le=0)
    """For loudness: target integrated loudness in LUFS (ITU-R BS.1770-4). A clip under 0.4 s is padded with silence to
    be measured; a silent clip, or one too quiet to be measured, is normalised by its peak."""
    true_peak: float = Field(-1.0, ge=-40, le=0)
    """For loudness: highest true peak in dBTP; a clip that would exceed it stays below the target loudness."""
    panning: Annotated[Literal["off", "spread", "midi"], Off] = "off"
    """off: mono; spread: stereo, instruments spread from left to right with low ones in the centre; midi: stereo, each
    note at the value that controller 10 of its track has at the note's start."""

    @property
    def channels(self) -> int:
        """Returns the number of channels of the clip: 1, or 2 with panning."""
        return 1 if self.panning == "off" else 2


class DrumsConfig(Section):
    """The drum kit."""

    kit: str = "standard"
    """standard (bundled), or a folder or URL of KEY.wav or KEY.flac files, by MIDI key."""


class StemsConfig(Section):
    """Parts of a song written as separate sound files, which add up to the clip."""

    by: Annotated[Literal["off", "instrument", "track"], Off] = "off"
    """Grouping of notes into files: off writes none, instrument one for each instrument (a note between two instruments
    counts for the nearer one), track one for each track of the MIDI file (channels and programs apart)."""
    max_files: int = Field(32, ge=2, le=255, serialization_alias="most")
    """Highest number of stem files of a song; the parts that sound least share the last one, "rest". The alias is the
    setting's former name, under which it still enters the settings' digest."""
    format: Literal["wav-float", "flac"] = "wav-float"
    """wav-float: 32-bit floats, before the clip's level is set; flac: 24 bits, at the clip's level."""


class SoundConfig(Section):
    """All settings that decide how a song sounds; the checkpoint is chosen apart from them."""

    notes: NotesConfig = NotesConfig()
    instruments: InstrumentsConfig = InstrumentsConfig()
    envelope: EnvelopeConfig = EnvelopeConfig()
    mix: MixConfig = MixConfig()
    drums: DrumsConfig = DrumsConfig()
    stems: StemsConfig = StemsConfig()
