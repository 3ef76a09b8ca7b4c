"""The songs of earlier jobs in an output folder: they stay listed beside those of this job, and keep their ids."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from gansynth.errors import ConfigError
from gansynth.io import files, listing, paths, records, urls
from gansynth.midi.load import read_midi
from pipeline.config import JobConfig
from pipeline.job import ROWS
from pipeline.outputs import is_ours
from transforms.elements import Source
from transforms.manifest import Row, SongRow

LISTS = {"manifest.jsonl": "rendered", "errors.jsonl": "failed"}
"""Names of the lists in an output folder, and the status of their rows."""
_NEEDED = {
    "rendered": {"song_id", "source", "source_digest", "outputs", "config_digest"},
    "failed": {"song_id", "source", "code", "message"},
}
_THREADS = 8


@dataclass(frozen=True)
class Earlier:
    """The rows of earlier jobs.

    Attributes:
        config: this job.
        rows: the row of each song by its id.
        same_settings: if true, the last job had the settings of this one.
    """

    config: JobConfig
    rows: Mapping[str, Row]
    same_settings: bool

    def others(self, rows: Iterable[Row]) -> list[Row]:
        """Lists the rows of songs that are not in this job and have its settings.

        Args:
            rows: the row of each input of this job.
        """
        own = {row["song_id"] for row in rows}
        return [row for song_id, row in self.rows.items() if song_id not in own and self._fits(row)]

    def left_out(self, rows: Collection[Row]) -> int:
        """Counts the songs that are not in this job and have other settings.

        Args:
            rows: the row of each input of this job.
        """
        return len(self.rows.keys() - {row["song_id"] for row in rows}) - len(self.others(rows))

    def check_sources(self, sources: Iterable[Source]) -> None:
        """Checks that no song of an earlier job would be replaced by another file with the same id.

        A file that was moved is the same song as long as it has the same bytes.

        Raises:
            ConfigError: a song was rendered from a file with other content at another place.
        """

        def is_other(source: Source) -> bool:
            try:
                return read_midi(source.url, self.config.notes).digest != _digest(self.rows[source.song_id])
            except Exception:  # reported as failed, if there is a job
                return True

        moved = [source for source in sources if self._has_moved(source)]
        with ThreadPoolExecutor(_THREADS) as pool:
            for source, other in zip(moved, pool.map(is_other, moved), strict=True):
                if other:
                    raise ConfigError(
                        f"--output {self.config.output}: {source.song_id} is there already, from "
                        f"{self.rows[source.song_id]['source']}, and {source.url} would replace it; choose another "
                        "folder, or use --overwrite."
                    )

    def prune(self, rows: Collection[Row]) -> int:
        """Removes the files of songs that are not in this job, and files that its songs no longer have.

        Args:
            rows: the row of each input of this job.

        Returns:
            Number of files removed, without completion records.
        """
        own = {row["song_id"]: row for row in rows}
        wanted = {path for row in rows for path in _outputs(row)}
        found = [row for song_id, row in self.rows.items() if own.get(song_id, {"status": ""})["status"] != "failed"]
        stale = {path for row in found for path in _outputs(row)}
        folder = urls.join(self.config.output, records.FOLDER)
        names = {f"{paths.output_name(song_id)}.json" for song_id in own}
        old_records = [url for url, _ in listing.find(folder) if _below(url, folder) not in names]
        for url in old_records:
            stale.update(_outputs(json.loads(files.read_bytes(url))))
        removed = sorted(path for path in stale - wanted if is_ours(path))
        for path in removed:
            files.remove(urls.join(self.config.output, path))
        for url in old_records:
            files.remove(url)
        return len(removed)

    def _has_moved(self, source: Source) -> bool:
        row = self.rows.get(source.song_id)
        return row is not None and row["source"] != source.url and bool(_digest(row))

    def _fits(self, row: Row) -> bool:
        if row["status"] == "failed":
            return self.same_settings
        columns = SongRow.__annotations__.keys() - {"status"}
        return row["config_digest"] == self.config.digest and columns <= row.keys()


def read(config: JobConfig, same_settings: bool) -> Earlier:
    """Reads the lists of an output folder, and the rows that killed jobs have left there.

    Args:
        config: this job.
        same_settings: true if the last job in the folder had the same settings.

    Raises:
        ConfigError: a list is damaged.
    """
    rows: dict[str, Row] = {}
    for name, status in LISTS.items():
        url = urls.join(config.output, name)
        if listing.kind(url) == "file":
            rows.update((row["song_id"], row) for row in _rows(url, {"status": status}))
    for url, _ in listing.find(urls.join(config.output, ROWS)):
        if url.endswith(".jsonl"):
            rows.update((row["song_id"], row) for row in _rows(url, {}))
    return Earlier(config, rows, same_settings)


def _rows(url: str, more: Mapping[str, str]) -> Iterator[Any]:
    for number, line in enumerate(files.read_lines(url), 1):
        try:
            row = more | json.loads(line)
            if missing := _NEEDED[row["status"]] - row.keys():
                raise KeyError(*sorted(missing))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"--output: {url}, line {number}: is not a row of this program ({error}); remove the file, or choose "
                "another folder."
            ) from None
        yield row


def _digest(row: Mapping[str, Any]) -> str:
    return str(row["source_digest"] if row["status"] == "rendered" else row.get("digest", ""))


def _outputs(row: Mapping[str, Any]) -> Iterable[str]:
    return row.get("outputs", {}).values()


def _below(url: str, folder: str) -> str:
    """Returns the path of `url` below a folder."""
    start = urls.filesystem(folder)[1].rstrip("/") + "/"
    return posixpath.normpath(urls.filesystem(url)[1].removeprefix(start))
