"""What a song should sound like, as typed, frozen settings: notes, instruments, envelope, mix."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from gansynth.general_midi import FAMILIES


class Section(BaseModel):
    """A group of settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _off(value: Any) -> Any:
    return "off" if value is False else value  # what YAML makes of the word


Off = BeforeValidator(_off)
"""For settings of which one value is off."""


class NotesConfig(Section):
    """Which notes of a MIDI file are played, and when."""

    min_pitch: int = Field(24, ge=0, le=127)
    """Lowest MIDI pitch that is played as written."""
    max_pitch: int = Field(84, ge=0, le=127)
    """Highest MIDI pitch that is played as written."""
    out_of_range: Literal["drop", "fold", "error"] = "fold"
    """Notes outside: left out, moved by octaves into the range, or the song fails."""
    drums: Literal["skip", "play"] = "skip"
    """Notes of the drum channel: left out, or played as pitched notes."""
    sustain_pedal: bool = True
    """Whether a note is held for as long as the pedal (controller 64) is down."""
    time_stretch: float = Field(1.0, gt=0, le=100, allow_inf_nan=False)
    """All times are multiplied by this: 1.3 plays slower."""
    max_song_seconds: float = Field(3600.0, gt=0, allow_inf_nan=False)
    """A song that lasts longer fails."""
    max_notes: int = Field(200_000, gt=0)
    """A song with more notes fails."""
    max_polyphony: int = Field(4096, gt=0)
    """A song with more notes at once fails: it is noise."""
    max_file_bytes: int = Field(1_500_000, gt=0)
    """A larger file fails unread; each MB may take 5 s and 300 MB of memory to read."""
    reader: Literal["channels", "note_seq"] = "channels"
    """What notes are: what a General MIDI synthesizer hears of the file, or what note_seq finds in it, as Magenta does:
    without volume, expression, bends, and drums by other means than channel 10."""
    text_encoding: str | None = None
    """Encoding of the tracks' names: any that Python knows. Unset: Unicode, or else found out among Shift-JIS, CP1251,
    GBK and Latin-1."""
    salvage: Annotated[Literal["off", "safe", "aggressive"], Off] = "safe"
    """Damaged files: note_seq's verdict alone; what is formally wrong is mended where the music is whole; what is no
    MIDI inside a track is left out too."""

    @field_validator("text_encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                b"a".decode(value)
        except (LookupError, UnicodeError):
            raise ValueError(f"Python knows no encoding of text {value!r}; try utf-8, shift_jis, cp1251, gbk") from None
        return value

    @model_validator(mode="after")
    def _ordered(self) -> NotesConfig:
        if self.min_pitch > self.max_pitch:
            raise ValueError(f"min_pitch {self.min_pitch} is above max_pitch {self.max_pitch}")
        return self


class InstrumentsConfig(Section):
    """Which latent vector each note is played with."""

    mode: Literal["per_program", "interpolate", "random", "fixed"] = "per_program"
    """per_program: each MIDI program its own; interpolate: a list of instruments over the song's length;
    random: new random ones every secs_per_instrument, sliding from one to the next; fixed: one for all."""
    bank: str | None = None
    """Where named instruments come from: a .yaml, .json or .npz file, or "random". Unset: the checkpoint's own
    instruments if it has any, random ones if not."""
    count: int = Field(10, ge=1, le=100_000)
    """How many instruments a random bank has."""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Seed of all random instruments."""
    instruments: tuple[int | str, ...] = (0, 2, 4, 0)
    """For interpolate: names or numbers in the bank, in order. For fixed: the first is played."""
    times: tuple[float, ...] = (0.0, 0.3, 0.6, 1.0)
    """For interpolate: when each is reached, 0..1 of the song; the first counts as -0.001, the last as 1."""
    secs_per_instrument: float = Field(6.0, gt=0, allow_inf_nan=False)
    """For random: seconds from one instrument to the next."""
    latent_steps: int = Field(0, ge=0, le=10_000)
    """Sliding instruments move in so many steps from one to the next, so that their notes repeat and are rendered
    once; 0: continuously, as the reference."""
    programs: dict[int, int | str] = Field(default_factory=dict)
    """For per_program: MIDI program (0..127, 128 for drums) to instrument, where it is not the bank's own choice."""
    families: dict[str, int | str] = Field(default_factory=dict)
    """For per_program: General MIDI family (piano, chromatic_percussion, ..., drums) to instrument, for programs that
    have no rule of their own."""
    tracks: dict[str, int | str] = Field(default_factory=dict)
    """For per_program: name of a track to instrument, before all other rules. Upper and lower case and spaces count for
    nothing; * stands for anything, ? for one letter, [ab] for one of these. Of several that match, a name without
    wildcards is taken first, then the pattern with most letters."""

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
            raise ValueError("instruments is empty")
        if self.mode == "interpolate":
            if len(self.instruments) != len(self.times) or len(self.times) < 2:
                raise ValueError(
                    f"{len(self.instruments)} instruments need as many times, at least two; {len(self.times)} given"
                )
            if any(b < a for a, b in zip(self.times, self.times[1:], strict=False)):
                raise ValueError("times must not decrease")
        unknown = [program for program in self.programs if not 0 <= program <= 128]
        if unknown:
            raise ValueError(f"programs {unknown} are outside 0..128")
        return self


class EnvelopeConfig(Section):
    """The shape of each note, times in seconds."""

    attack: float = Field(0.010, ge=0, le=1)
    """Linear rise from silence."""
    release: float = Field(0.3, ge=0, le=3)
    """Linear fall to silence after the note's end."""
    max_sustain: float = Field(3.0, gt=0, le=60)
    """A longer note is released after this time."""
    note_peak: Literal["positive", "absolute", "none"] = "absolute"
    """What a note is divided by: its highest sample, its highest absolute sample, or nothing."""


class MixConfig(Section):
    """How notes become a clip."""

    peak: float = Field(0.9, gt=0, le=1)
    """The clip's highest sample."""
    clip_peak: Literal["positive", "absolute", "none"] = "absolute"
    """What the clip is measured by; "none" leaves the sum of notes as it is."""
    tail: Literal["release", "reference"] = "release"
    """Where the clip ends: with the last note's release, or at int(last end + 3) seconds."""
    normalize: Literal["peak", "loudness"] = "peak"
    """What sets the clip's level: its highest sample, as clip_peak and peak say, or how loud it is heard."""
    loudness: float = Field(-16.0, ge=-60, le=0)
    """For loudness: integrated loudness in LUFS (ITU-R BS.1770-4). A clip under 0.4 s is measured with silence after
    it; one that is silent, or too faint to be measured, has its level set by its peak."""
    true_peak: float = Field(-1.0, ge=-40, le=0)
    """For loudness: highest true peak in dBTP; a clip that would pass it stays below its loudness."""
    panning: Annotated[Literal["off", "spread", "midi"], Off] = "off"
    """off: mono; spread: stereo, the instruments side by side, low ones in the middle; midi: stereo, each note where
    its track's controller 10 is when it begins."""

    @property
    def channels(self) -> int:
        """Of the clip: 1, or 2 with panning."""
        return 1 if self.panning == "off" else 2


class StemsConfig(Section):
    """A song's parts as sound files of their own, which add up to the clip before it is brought to its level."""

    by: Annotated[Literal["off", "instrument", "track"], Off] = "off"
    """What has a file of its own: nothing, each instrument (of two between which a note lies, the nearer), or each
    track of the MIDI file (channels and programs apart)."""
    most: int = Field(32, ge=2, le=255)
    """At most so many files for a song: the parts that sound least share the last one, "rest"."""


class SoundConfig(Section):
    """Everything that decides how a song sounds, but for the checkpoint."""

    notes: NotesConfig = NotesConfig()
    instruments: InstrumentsConfig = InstrumentsConfig()
    envelope: EnvelopeConfig = EnvelopeConfig()
    mix: MixConfig = MixConfig()
    stems: StemsConfig = StemsConfig()
