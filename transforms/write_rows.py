"""The rows of songs to files."""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import apache_beam as beam

from gansynth.io import urls
from gansynth.io.urls import StorageConfig
from transforms.row_files import write_files


@dataclass
class WriteRows(beam.PTransform):
    """PCollection[(song_id, JSON row)] to URLs of a few files of JSON lines.

    Attributes:
        folder: folder for the files.
        name: prefix of the files' names. A digest of the first song follows, so that pipelines may share the folder.
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
            texts = sorted(group)
            first = hashlib.sha256(texts[0][0].encode("utf-8", "surrogateescape")).hexdigest()[:16]
            return write_files(folder, f"{name}-{shard:05d}-{first}", (json.loads(text) for _, text in texts))

        return (
            rows
            | "Shard" >> beam.Map(shard_of).with_output_types(tuple[int, tuple[str, str]])
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.FlatMapTuple(write).with_output_types(str)
        )
