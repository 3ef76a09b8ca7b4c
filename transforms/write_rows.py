"""The rows of songs to files, sorted by song id, each of one status: parts of manifest.jsonl and of errors.jsonl."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam

from gansynth.io import files, urls
from gansynth.io.urls import StorageConfig


@dataclass
class WriteRows(beam.PTransform):
    """PCollection[(song_id, JSON row)] to URLs of a few files of JSON lines.

    Attributes:
        folder: folder for the files.
        name: prefix of the files' names, unique among the pipelines that share the folder.
        bounds: song ids, sorted; rows from one id to before the next share a file, so files follow on each other.
        storage: credentials for writing.
    """

    folder: str
    name: str
    bounds: tuple[str, ...] = ()
    storage: StorageConfig = field(default_factory=StorageConfig)

    def expand(self, rows: beam.PCollection[tuple[str, str]]) -> beam.PCollection[str]:
        """Writes the files and yields their URLs."""
        bounds, folder, name, config = self.bounds, self.folder, self.name, self.storage

        def shard_of(row: tuple[str, str]) -> tuple[int, tuple[str, str]]:
            return bisect.bisect_right(bounds, row[0]), row

        def write(shard: int, group: Iterable[tuple[str, str]]) -> list[str]:
            urls.configure(config)
            return write_files(folder, f"{name}-{shard:05d}", (json.loads(text) for _, text in group))

        return (
            rows
            | "Shard" >> beam.Map(shard_of).with_output_types(tuple[int, tuple[str, str]])
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.FlatMapTuple(write).with_output_types(str)
        )


def write_files(folder: str, name: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Writes a file NAME.STATUS.jsonl for each status of some rows, sorted by song id; the lines have no status.

    Args:
        folder: path or URL of the folder.
        name: beginning of the names.
        rows: the rows, all in memory at once.

    Returns:
        URLs of the files.
    """
    lines: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: str(row["song_id"])):
        line = json.dumps({key: value for key, value in row.items() if key != "status"}, sort_keys=True)
        lines.setdefault(row["status"], []).append(f"{line}\n")
    found = []
    for status, texts in sorted(lines.items()):
        found.append(urls.join(folder, f"{name}.{status}.jsonl"))
        files.write_bytes(found[-1], "".join(texts).encode())
    return found


def status_of(name: str) -> str:
    """Returns the status of the rows in a file that `write_files` wrote: NAME.STATUS.jsonl."""
    return name.split(".")[-2]
