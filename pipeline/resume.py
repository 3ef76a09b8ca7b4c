"""Resuming: recognises an earlier run of the same job in the output folder, so that finished songs can be kept."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from pydantic import ValidationError

from gansynth.config import SOUND_VERSION
from gansynth.errors import ConfigError, MidiError
from gansynth.io import files, listing, structured, urls
from gansynth.io.records import FOLDER, Records
from gansynth.midi.load import parse_midi, read_midi
from pipeline.config import JobConfig, complete_settings, rename_settings
from pipeline.earlier import Earlier
from pipeline.job import resolve_without_model
from transforms.elements import Failure, Source
from transforms.manifest import Row, SongRow

CONFIG = "config.yaml"
LOOKED_UP = 10_000
"""Highest number of songs that a dry run looks up."""
_THREADS, _BATCH = 8, 64


def check(config: JobConfig, overwrite: bool, sweep: bool = True) -> bool:
    """Checks the output folder for an earlier run, and removes incomplete files that a killed run left there.

    Args:
        config: the job.
        overwrite: if true, all songs are rendered again.
        sweep: if true, incomplete files are removed.

    Returns:
        True if finished songs of an earlier run are kept.

    Raises:
        ConfigError: the folder holds songs that were rendered with other settings.
    """
    earlier = _earlier(config.output)
    if earlier is not None:
        changed = _changes(earlier, config)
        if changed and not overwrite:
            raise ConfigError(
                f"--output {config.output}: holds songs that were rendered with other settings ({', '.join(changed)}); "
                "choose another folder, or use --overwrite to render all songs again."
            )
        if sweep:
            files.sweep(config.output)
    return config.resume and earlier is not None and not overwrite


def has_same_settings(config: JobConfig) -> bool:
    """Returns whether the last job in the output folder had the settings of this one that songs depend on."""
    earlier = _earlier(config.output)
    return earlier is not None and not _changes(earlier, config)


def done_before(config: JobConfig, sources: Iterable[Source], earlier: Earlier) -> Iterator[Row | None]:
    """Looks for songs that need not be rendered again; imports neither Beam's runners nor TensorFlow.

    Args:
        config: the job.
        sources: the inputs.
        earlier: the rows of earlier jobs; songs that these do not have are not looked up.

    Yields:
        For each input that earlier jobs have a row of, by song id, the row of a finished song, or of a file that is no
        MIDI file and failed before; None if the input has to be rendered.
    """
    records: Records | None = None
    inputs = {source.song_id: source.url for source in sources if source.song_id in earlier.known}

    def row_of(row: Row) -> Row | None:
        if row["status"] == "failed" and row["stage"] != "read":
            return None
        digest, url = "", inputs[row["song_id"]]
        try:
            file = read_midi(url, config.notes)
            digest = file.digest
            if row["status"] == "failed":
                parse_midi(file, config.notes)
                return None
            assert records is not None
            found = records.find(row["song_id"], digest)
        except MidiError as error:
            return Failure.of(row["song_id"], "read", error, digest, url).row()
        except Exception:  # the job tells what is wrong, and whether it is this file or the storage
            return None
        return None if found is None else cast(SongRow, found | {"source": url})

    if inputs:
        records = resolve_without_model(config).records
    rest = (row for row in earlier.rows() if row["song_id"] in inputs) if inputs else iter(())
    with ThreadPoolExecutor(_THREADS) as pool:
        while batch := list(itertools.islice(rest, _BATCH)):
            yield from pool.map(row_of, batch)


def recorded(config: JobConfig, is_wanted: Callable[[str], bool]) -> Iterator[Row]:
    """Yields the rows of songs that have a completion record with the job's settings, without checking their files.

    Args:
        config: the job.
        is_wanted: tells from the name of a record, below their folder, whether it is to be read.
    """
    folder = urls.join(config.output, FOLDER)
    wanted = (url for url, _ in listing.find(folder) if is_wanted(url.rpartition(f"/{FOLDER}/")[2]))
    with ThreadPoolExecutor(_THREADS) as pool:
        while batch := list(itertools.islice(wanted, _BATCH)):
            for row in map(json.loads, pool.map(files.read_bytes, batch)):
                if row["config_digest"] == config.digest:
                    yield row


def mark(config: JobConfig) -> None:
    """Saves the job's settings in its output folder, by which the next run recognises it."""
    files.write_bytes(urls.join(config.output, CONFIG), config.to_yaml().encode())


def _earlier(output: str) -> dict[str, Any] | None:
    """Reads the settings of the folder's earlier run; None if there was none."""
    try:
        values = structured.parse_yaml(structured.read_bytes(urls.join(output, CONFIG)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ConfigError(f"--output {output}: its {CONFIG} cannot be read ({error}); choose another folder.") from None
    if not isinstance(values, dict):
        return {}
    rename_settings(values)
    complete_settings(values)
    return values


def _changes(earlier: dict[str, Any], config: JobConfig) -> list[str]:
    """Describes the differences between the settings that songs depend on, for people to read."""
    version = earlier.get("sound_version", 1)
    try:
        before = JobConfig.model_validate({**earlier, "sound_version": SOUND_VERSION})
    except ValidationError:
        return ["those of another version"]
    if version != SOUND_VERSION:
        return [f"sound version {version} -> {SOUND_VERSION}"]
    if (before.digest, before.checkpoint) == (config.digest, config.checkpoint):
        return []
    was, now = before.model_dump(mode="json"), config.model_dump(mode="json")
    decisive = {"compute.precision"}
    if before.compute.sound_bank_digest != config.compute.sound_bank_digest:
        decisive.add("compute.sound_bank")
    apart = ("input", "output", "resume", "max_failures", "manifest", "storage", "plan", "beam")
    return [
        f"{name} {was_value} -> {now_value}"
        for name, was_value, now_value in _differences(was, now)
        if name.split(".")[0] not in apart and (not name.startswith("compute.") or name in decisive)
    ]


def _differences(was: Any, now: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(was, dict) and isinstance(now, dict):
        keys = sorted({*was, *now}, key=str)
        return [d for key in keys for d in _differences(was.get(key), now.get(key), f"{name}.{key}".lstrip("."))]
    return [] if was == now else [(name, was, now)]
