"""The last step of a remote job: it writes the lists and pages itself, since the machine that submits may go away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam

from gansynth.io import files, listing, urls
from pipeline import rows
from pipeline.config import JobConfig
from pipeline.earlier import Fits
from pipeline.job import ROWS
from pipeline.report import Summary, summarise, write

_NAME = "summary.json"


@dataclass
class WriteReport(beam.PTransform):
    """PCollection[URL of a file of rows] to the URL of the job's totals, when all its lists and pages are written.

    Only URLs come together in one element; the rows are read from their files one by one.

    Attributes:
        config: the job.
        folder: its folder of rows.
        songs: number of its inputs.
        fits: tells which rows of earlier jobs stay in the lists; None if there are none.
    """

    config: JobConfig
    folder: str
    songs: int
    fits: Fits | None = None

    def expand(self, found: beam.PCollection[str]) -> beam.PCollection[str]:
        """Waits for all files, and writes the report."""
        return (
            found
            | "Key" >> beam.Map(lambda url: ("", url)).with_output_types(tuple[str, str])
            | "Gather" >> beam.GroupByKey()
            | "Write" >> beam.MapTuple(self._write).with_output_types(str)
        )

    def _write(self, _: str, found: Iterable[str]) -> str:
        config, own = self.config, sorted(found)
        urls.configure(config.storage)
        summary = summarise(row for _, row in rows.merge(own))
        if summary.rendered + summary.failed != self.songs:
            raise RuntimeError(f"{self.songs} inputs have {summary.rendered + summary.failed} rows")
        others: list[list[str]] = []
        if self.fits is not None:
            left = [url for url in rows.find(urls.join(config.output, ROWS)) if not url.startswith(f"{self.folder}/")]
            others = [left, rows.find_lists(config.output)]
        write(config, own, others, self.fits or bool, follow=True)
        url = urls.join(self.folder, _NAME)
        files.write_bytes(url, summary.to_json())
        return url


def read(folder: str) -> Summary | None:
    """Reads the totals of a job that has written its report; None if it has not.

    Args:
        folder: the job's folder of rows.
    """
    url = urls.join(folder, _NAME)
    return Summary.from_json(files.read_bytes(url)) if listing.kind(url) == "file" else None
