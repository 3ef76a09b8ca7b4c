"""The list of a job's inputs, read by a worker: the size of a job's request does not depend on the corpus."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam

from gansynth.io import files, urls
from gansynth.io.urls import StorageConfig
from transforms.elements import Source
from transforms.worker_context import CONTEXT


@dataclass
class ListFiles(beam.PTransform):
    """PBegin to PCollection[Source].

    Attributes:
        url: path or URL of a file of JSON arrays [song_id, url, size, problem], one per line.
        storage: credentials for reading it.
    """

    url: str
    storage: StorageConfig

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[Source]:
        """Reads the list."""
        return begin | "List" >> beam.Create([self.url]) | "Read" >> beam.ParDo(_Read(self.storage))


class ListHeld(beam.PTransform):
    """PBegin to PCollection[Source]: the songs in `CONTEXT.sources` when the pipeline runs.

    Only for runners that execute everything in this process: it draws a pipeline once and runs it on many slices.
    """

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[Source]:
        """Reads the list."""
        return begin | beam.Impulse() | "Read" >> beam.FlatMap(_held).with_output_types(Source)


def _held(_: bytes) -> Sequence[Source]:
    return CONTEXT.sources


class _Read(beam.DoFn):
    def __init__(self, config: StorageConfig) -> None:
        self._storage = config

    def setup(self) -> None:
        urls.configure(self._storage)

    def process(self, url: str) -> Iterator[Source]:
        for line in files.read_lines(url):
            yield Source(*json.loads(line))
