"""One song to one sound file, without an output folder: gansynth-beam render song.mid --output song.wav"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Sequence

from gansynth.audio.encode import SUFFIX, encode_audio
from gansynth.audio.mastering import master
from gansynth.audio.mix import merged
from gansynth.errors import ConfigError, GansynthError
from gansynth.figures.axes import clock
from gansynth.io import archives, files, listing, paths, urls
from gansynth.midi.load import MidiFile, midi_file, parse_midi, read_midi
from gansynth.model import download
from gansynth.rendering.player import play
from gansynth.score.plan import plan_song
from pipeline import runners
from pipeline.config import JobConfig
from pipeline.job import model_settings, resolve
from pipeline.terminal import say

STANDARD_STREAM = "-"
"""Name of standard input, as an input, and of standard output, as an output."""
_CHUNKS = 16
"""Number of chunks whose notes share batches."""


def is_sound_file(output: str | None) -> bool:
    """Returns whether an output names a sound file, or standard output, instead of a folder."""
    if output is None or output == STANDARD_STREAM:
        return output is not None
    return output.lower().endswith(tuple(SUFFIX.values())) and listing.kind(output) != "folder"


def with_format(config: JobConfig) -> JobConfig:
    """Completes the settings by the format that the suffix of the output stands for.

    Raises:
        ConfigError: the settings name another format.
    """
    output, configured = config.output, config.audio.format
    if output == STANDARD_STREAM or output.lower().endswith(SUFFIX[configured]):
        return config
    if "format" in config.audio.model_fields_set:
        raise ConfigError(f"--output {output}: audio.format is {configured}; name the file *{SUFFIX[configured]}.")
    meant = next(name for name, suffix in SUFFIX.items() if output.lower().endswith(suffix))
    audio = config.audio.model_validate({**config.audio.model_dump(), "format": meant})
    return config.model_copy(update={"audio": audio})


def render(config: JobConfig, beam_args: Sequence[str] = (), quiet: bool = False) -> None:
    """Renders one song to a sound file; its bytes are those that a job would write.

    Args:
        config: the settings; `input` names one file, `output` a sound file, and either may be "-".
        beam_args: Beam options from the command line; there must be none.
        quiet: if true, nothing is printed.

    Raises:
        ConfigError: the settings do not fit one file, or the output cannot be written.
        GansynthError: the song or the checkpoint cannot be used.
    """
    from transforms.model import source as source_of_sounds  # imports Beam

    config = with_format(config)
    _check(config, beam_args)
    urls.configure(config.storage)
    (source,), output = config.input, config.output
    song_id, file = _read(source, config)
    song = parse_midi(file, config.notes)
    download.check_reachable(config.checkpoint)
    job = resolve(config)
    plan, chunks = plan_song(song_id, song, config.sound, job.spec)
    sounds = source_of_sounds(model_settings(config))
    played = [
        chunk_mix
        for first in range(0, len(chunks), _CHUNKS)
        for chunk_mix in play(chunks[first : first + _CHUNKS], sounds, config.envelope, kit=config.drums.kit)
    ]
    mix = merged(chunk_mix.mix for chunk_mix in played)
    clip = master(mix, plan.samples, config.mix, job.spec.sample_rate, config.audio.sample_rate)
    tags = plan.texts if config.audio.metadata else None
    data = encode_audio(clip.pieces(), clip.sample_rate, config.audio.format, config.mix.channels, tags)
    _write(output, data)
    if not quiet:
        left_out = sum(len(chunk_mix.silent) + len(chunk_mix.broken) for chunk_mix in played)
        lost = f", {left_out:,} of them silent" if left_out else ""
        say(
            f"{output}: {clock(clip.samples / clip.sample_rate)}, {len(plan.notes):,} notes{lost}",
            links={output: output},
        )


def _check(config: JobConfig, beam_args: Sequence[str]) -> None:
    output = config.output
    if len(config.input) != 1 or config.input[0].startswith("@") or archives.archive_kind(config.input[0]):
        raise ConfigError(f"--output {output}: a sound file holds one song; name one MIDI file, or an output folder.")
    if beam_args or config.beam.get("runner", runners.LOCAL) not in (runners.LOCAL, "DirectRunner"):
        raise ConfigError(f"--output {output}: one song is rendered without Beam; leave out its options.")
    more = {"stems.by": config.stems.by != "off", "played_notes": bool(config.played_notes)}
    more |= {"dataset.format": config.dataset.format != "off", "spectrogram.array": config.spectrogram.array}
    for name in (name for name, is_set in more.items() if is_set):
        raise ConfigError(f"--output {output}: {name} needs an output folder.")
    if output == STANDARD_STREAM and sys.stdout.isatty():
        raise ConfigError("--output -: standard output is a terminal; write it to a file or a pipe.")


def _read(source: str, config: JobConfig) -> tuple[str, MidiFile]:
    """Reads the MIDI file; returns its song id too, which seeds random instruments."""
    if source == STANDARD_STREAM:
        return STANDARD_STREAM, midi_file(sys.stdin.buffer.read(config.notes.max_file_bytes + 1), config.notes)
    try:
        if listing.kind(source) == "folder":
            raise ConfigError(f"--input {source}: a folder; a sound file holds one song: name an output folder.")
        file = read_midi(source, config.notes)
    except FileNotFoundError:
        raise ConfigError(f"--input {source}: does not exist.") from None
    except GansynthError:
        raise
    except Exception as error:  # each file system has its own exception types
        raise ConfigError(f"--input {source}: cannot be read ({urls.reason(error, source)}).") from None
    _, path = urls.filesystem(source)
    return paths.song_id(path, posixpath.dirname(path)), file


def _write(output: str, data: bytes) -> None:
    if output == STANDARD_STREAM:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        files.write_bytes(output, data)
    except Exception as error:  # each file system has its own exception types
        raise ConfigError(f"--output {output}: cannot be written ({urls.reason(error, output)}).") from None
