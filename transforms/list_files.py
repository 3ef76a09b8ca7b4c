"""A job's list of inputs to its files: the list is read by a worker, so a corpus of any size fits the job's request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam

from gansynth.io import files, urls
from gansynth.io.urls import StorageConfig
from transforms.elements import Source


@dataclass
class ListFiles(beam.PTransform):
    """PBegin to PCollection[Source].

    Attributes:
        url: file of JSON arrays [song_id, url, size], one a line.
        storage: as whom it is read.
    """

    url: str
    storage: StorageConfig

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[Source]:
        """Reads the list."""
        return begin | "List" >> beam.Create([self.url]) | "Read" >> beam.ParDo(_Read(self.storage))


class _Read(beam.DoFn):
    def __init__(self, config: StorageConfig) -> None:
        self._storage = config

    def setup(self) -> None:
        urls.configure(self._storage)

    def process(self, url: str) -> Iterator[Source]:
        for line in files.read_lines(url):
            yield Source(*json.loads(line))
