"""The public schema: the rows of manifest.jsonl and errors.jsonl, typed and described once.

Everything that writes or reads a row is checked against these types; the Parquet schema and the tables of
docs/outputs.md are derived from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from typing_extensions import TypedDict


class PartRow(TypedDict):
    """One part of a song: its notes of one program and one track name."""

    program: Annotated[int, "MIDI program 0..127, 128 for drums"]
    track: Annotated[str, "track name; empty without one"]
    instrument: Annotated[str, "name of the instrument that plays it"]
    rule: Annotated[
        str, "the rule that chose it: `tracks: PATTERN`, `programs: N`, `families: NAME`, `bank` or `number`"
    ]
    notes: Annotated[int, "number of notes"]


class NoteRow(TypedDict):
    """One note, identified by start, pitch and program."""

    start: Annotated[float, "seconds from the start of the clip"]
    pitch: Annotated[int, "MIDI pitch as played"]
    program: Annotated[int, "MIDI program, 128 for drums"]


class SongRow(TypedDict):
    """A rendered song: a line of manifest.jsonl, without `status`."""

    status: Annotated[Literal["rendered"], "tells the two kinds of rows apart inside a job; not in manifest.jsonl"]
    song_id: Annotated[str, "path of the MIDI file relative to the input root"]
    source: Annotated[str, "path or URL that the file was read from"]
    source_digest: Annotated[str, "sha256 of the file's bytes"]
    repairs: Annotated[list[str], "names of the file's defects that were ignored or repaired, see errors.md"]
    repaired_notes: Annotated[dict[str, int], "number of notes that each repair of notes changed"]
    ignored: Annotated[dict[str, int], "number of MIDI events of each kind that were read and have no effect"]
    outputs: Annotated[dict[str, str], "path of each output below the output folder, by kind"]
    bytes: Annotated[dict[str, int], "size of each output, by kind"]
    audio_digest: Annotated[str, "sha256 of the audio file"]
    seconds: Annotated[float, "length of the clip"]
    sample_rate: Annotated[int, "of the audio file, in Hz"]
    notes_rate: Annotated[int, "sample rate of the checkpoint, which times in the notes' files are multiples of, in Hz"]
    channels: Annotated[int, "of the audio file: 1 or 2"]
    gain: Annotated[float, "factor that brought the sum of notes to the clip's level"]
    peak: Annotated[float, "highest absolute sample of the clip, 0..1"]
    loudness: Annotated[float | None, "integrated loudness in LUFS, with `mix.normalize: loudness`"]
    true_peak: Annotated[float | None, "true peak in dBTP, with `mix.normalize: loudness`"]
    peaks: Annotated[
        str,
        "outline of the clip: base64 of 256 bytes, the highest absolute sample of each 256th, 255 for full scale",
    ]
    notes: Annotated[
        dict[str, int],
        "notes by outcome: total, played, stretched, folded, shortened, muted, bent, drums_played, silent, ...",
    ]
    silent_notes: Annotated[list[NoteRow], "notes that the network left silent"]
    broken_notes: Annotated[list[NoteRow], "notes that came out with non-finite samples and were left out"]
    instruments: Annotated[list[str], "names of the instruments that play"]
    programs: Annotated[dict[str, str], "instrument by MIDI program (128: drums)"]
    parts: Annotated[list[PartRow], "parts of the song, with the instrument of each and the rule that chose it"]
    stems: Annotated[list[str], "names of the stems; stem N is the output `stem_00N`"]
    seed: Annotated[int, "seed of random instruments"]
    checkpoint_digest: Annotated[str, "sha256 of the checkpoint's weights and flags"]
    config_digest: Annotated[str, "sha256 of the settings that a song's files depend on"]
    bank_digest: Annotated[str, "sha256 of the bank of instruments"]
    kit_digest: Annotated[str, "sha256 of the drum kit's sounds; empty unless `notes.drums` is kit"]
    sound_bank_digest: Annotated[str, "sha256 of the built bank that `compute.sound_bank` names; empty for any other"]


class ErrorRow(TypedDict):
    """A song that failed: a line of errors.jsonl, without `status`."""

    status: Annotated[Literal["failed"], "tells the two kinds of rows apart inside a job; not in errors.jsonl"]
    song_id: Annotated[str, "path of the MIDI file relative to the input root"]
    source: Annotated[str, "path or URL that the file was read from"]
    digest: Annotated[str, "sha256 of the file's bytes; empty if it could not be read"]
    stage: Annotated[str, "step that failed: read, expand, synthesize, mix or write"]
    code: Annotated[str, "error code, see errors.md; never changes its meaning"]
    error: Annotated[str, "class of the error"]
    message: Annotated[str, "cause, in words"]
    trace: Annotated[str, "last lines of the traceback of an unforeseen error, else empty"]


Row: TypeAlias = SongRow | ErrorRow
LATER_COLUMNS = frozenset({"peaks", "sound_bank_digest"})
"""Columns that the rows of earlier releases lack, whose songs are still those of the same settings."""


def columns(row: type) -> Iterator[tuple[str, Any, str]]:
    """Lists the columns of a row type, without `status`.

    Args:
        row: SongRow, ErrorRow, PartRow or NoteRow.

    Returns:
        Name, type and description of each column.
    """
    for name, hint in get_type_hints(row, include_extras=True).items():
        if name != "status":
            plain, text = get_args(hint)
            yield name, plain, text


def type_name(hint: Any) -> str:
    """Names a column's type as docs/outputs.md does: "text", "list of text", "object of number", ..."""
    names = {str: "text", int: "whole number", float: "number"}
    if hint in names:
        return names[hint]
    if get_origin(hint) is list:
        return f"list of {type_name(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return f"object of {type_name(get_args(hint)[1])}"
    if type(None) in get_args(hint):
        return f"{type_name(get_args(hint)[0])} or null"
    return str(hint.__name__).removesuffix("Row").lower()
