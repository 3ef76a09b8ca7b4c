"""Completion records: a small file for each finished song, by which a job that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gansynth.io import files, listing, paths, urls

FOLDER = ".done"


@dataclass(frozen=True)
class Records:
    """The records under one output folder.

    Attributes:
        output: folder or URL.
        digests: of the checkpoint and the settings, by the names that they have in a song's row; a record with
            others is of no use.
    """

    output: str
    digests: dict[str, str]

    def write(self, row: Mapping[str, Any]) -> None:
        """Records a song whose files are all written; `row` is its row in the manifest."""
        files.write_bytes(self._url(row["song_id"]), json.dumps(row, sort_keys=True).encode())

    def find(self, song_id: str, source_digest: str) -> dict[str, Any] | None:
        """The row of a song that needs no rendering.

        Args:
            song_id: which song.
            source_digest: of the file's bytes as they are now.

        Returns:
            The row; None unless input, settings and checkpoint are those of the record, and every file it names is
            there with the size that it had.
        """
        try:
            row = json.loads(files.read_bytes(self._url(song_id)))
            wanted = {"song_id": song_id, "source_digest": source_digest, **self.digests}
            if any(row[name] != value for name, value in wanted.items()):
                return None
            for name, path in row["outputs"].items():
                if listing.size(urls.join(self.output, path)) != row["bytes"][name]:
                    return None
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, AttributeError):
            return None  # no record, or half of one from elsewhere
        return row

    def _url(self, song_id: str) -> str:
        return urls.join(self.output, FOLDER, f"{paths.output_name(song_id)}.json")
