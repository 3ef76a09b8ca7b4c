"""The songs of earlier jobs in an output folder: they stay listed beside those of this job, and keep their ids."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from gansynth.errors import ConfigError
from gansynth.io import files, listing, paths, records, urls
from gansynth.midi.load import read_midi
from pipeline import rows
from pipeline.config import JobConfig
from pipeline.job import ROWS
from pipeline.outputs import is_ours
from transforms.elements import Source
from transforms.manifest import LATER_COLUMNS, Row, SongRow

_THREADS = 8
_COLUMNS = SongRow.__annotations__.keys() - {"status"} - LATER_COLUMNS


class Known(NamedTuple):
    """The kept part of the row of a song of an earlier job.

    Attributes:
        source: path or URL of its file.
        digest: digest of the file; empty if it could not be read.
        fits: if true, the row has this job's settings, so that it stays in the lists.
    """

    source: str
    digest: str
    fits: bool


@dataclass(frozen=True)
class Fits:
    """A function that tells whether a row of an earlier job has a job's settings.

    Attributes:
        digest: digest of the settings.
        same_settings: if true, the last job had the same ones.
    """

    digest: str
    same_settings: bool

    def __call__(self, row: Row) -> bool:
        """Tells whether the row stays in the lists."""
        if row["status"] == "failed":
            return self.same_settings
        return row["config_digest"] == self.digest and row.keys() >= _COLUMNS


@dataclass(frozen=True)
class Earlier:
    """The rows of earlier jobs.

    Attributes:
        config: this job.
        files: the files of rows that killed jobs have left, and the lists; of two rows of a song the first counts.
        known: what is kept of each song's row, by its id.
        fits: tells whether a row has this job's settings.
    """

    config: JobConfig
    files: tuple[list[str], list[str]]
    known: Mapping[str, Known]
    fits: Fits

    def rows(self) -> Iterator[Row]:
        """Reads the rows again, in the order of their songs' ids."""
        return (row for _, row in rows.merge(*self.files))

    def count_others(self, sources: Iterable[Source]) -> tuple[int, int]:
        """Counts the songs that are not in this job: those with its settings, and those with others.

        Args:
            sources: the inputs of this job.
        """
        own = [song for source in sources if (song := self.known.get(source.song_id))]
        fitting = sum(song.fits for song in self.known.values()) - sum(song.fits for song in own)
        return fitting, len(self.known) - len(own) - fitting

    def check_sources(self, sources: Iterable[Source]) -> None:
        """Checks that no song of an earlier job would be replaced by another file with the same id.

        A file that was moved is the same song as long as it has the same bytes.

        Raises:
            ConfigError: a song was rendered from a file with other content at another place.
        """

        def is_other(source: Source) -> bool:
            try:
                return read_midi(source.url, self.config.notes).digest != self.known[source.song_id].digest
            except Exception:  # reported as failed, if there is a job
                return True

        moved = [source for source in sources if self._has_moved(source)]
        with ThreadPoolExecutor(_THREADS) as pool:
            for source, other in zip(moved, pool.map(is_other, moved), strict=True):
                if other:
                    raise ConfigError(
                        f"--output {self.config.output}: {source.song_id} is there already, from "
                        f"{self.known[source.song_id].source}, and {source.url} would replace it; choose another "
                        "folder, or use --overwrite."
                    )

    def unwanted(self, own: Iterable[Row]) -> list[str]:
        """Lists the files of songs that are not in this job, and files that its songs no longer have.

        To be called before the lists are written, which no longer name them.

        Args:
            own: the row of each input of this job.

        Returns:
            URLs of the files and of completion records.
        """
        rendered, failed, wanted = set[str](), set[str](), set[str]()
        for row in own:
            (failed if row["status"] == "failed" else rendered).add(row["song_id"])
            wanted.update(_outputs(row))
        stale = {path for row in self.rows() if row["song_id"] not in failed for path in _outputs(row)}
        folder = urls.join(self.config.output, records.FOLDER)
        names = {f"{paths.output_name(song_id)}.json" for song_id in rendered | failed}
        old_records = [url for url, _ in listing.find(folder) if _below(url, folder) not in names]
        for url in old_records:
            stale.update(_outputs(json.loads(files.read_bytes(url))))
        removed = sorted(path for path in stale - wanted if is_ours(path))
        return [*(urls.join(self.config.output, path) for path in removed), *old_records]

    def _has_moved(self, source: Source) -> bool:
        song = self.known.get(source.song_id)
        return song is not None and song.source != source.url and bool(song.digest)


def read(config: JobConfig, same_settings: bool) -> Earlier:
    """Reads the lists of an output folder, and the rows that killed jobs have left there.

    Args:
        config: this job.
        same_settings: true if the last job in the folder had the same settings.

    Raises:
        ConfigError: a list is damaged.
    """
    left = rows.find(urls.join(config.output, ROWS))
    lists = rows.find_lists(config.output)
    fits, known = Fits(config.digest, same_settings), {}
    for _, row in rows.merge(left, lists):
        known[row["song_id"]] = Known(row["source"], _digest(row), fits(row))
    return Earlier(config, (left, lists), known, fits)


def _digest(row: Mapping[str, Any]) -> str:
    return str(row["source_digest"] if row["status"] == "rendered" else row.get("digest", ""))


def _outputs(row: Mapping[str, Any]) -> Iterable[str]:
    return row.get("outputs", {}).values()


def _below(url: str, folder: str) -> str:
    """Returns the path of `url` below a folder."""
    start = urls.filesystem(folder)[1].rstrip("/") + "/"
    return posixpath.normpath(urls.filesystem(url)[1].removeprefix(start))
