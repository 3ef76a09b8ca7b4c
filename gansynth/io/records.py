"""Completion records: a small file for each finished song, which lets a stopped job be resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gansynth.io import files, listing, paths, structured, urls

FOLDER = ".done"


@dataclass(frozen=True)
class Records:
    """The records under one output folder.

    Attributes:
        output: path or URL of the output folder.
        digests: digests of the checkpoint and the settings, by their names in a song's row; records with other
            digests are ignored.
    """

    output: str
    digests: dict[str, str]

    def write(self, row: Mapping[str, Any]) -> None:
        """Records a song whose files have all been written; `row` is its row in the manifest."""
        files.write_bytes(self._url(row["song_id"]), json.dumps(row, sort_keys=True).encode())

    def find(self, song_id: str, source_digest: str) -> dict[str, Any] | None:
        """Finds the manifest row of a song that need not be rendered again.

        Args:
            song_id: id of the song.
            source_digest: "sha256:..." of the current bytes of the MIDI file.

        Returns:
            The row; None unless input, settings and checkpoint are those of the record, and every file that it names
            exists with its recorded size.
        """
        try:
            row = structured.parse_json(files.read_bytes(self._url(song_id)))
            wanted = {"song_id": song_id, "source_digest": source_digest, **self.digests}
            if any(row.get(name, "") != value for name, value in wanted.items()):  # earlier releases had fewer digests
                return None
            for name, path in row["outputs"].items():
                if listing.size(urls.join(self.output, path)) != row["bytes"][name]:
                    return None
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, AttributeError):
            return None  # no record, or not one of this program
        return row

    def _url(self, song_id: str) -> str:
        return urls.join(self.output, FOLDER, f"{paths.output_name(song_id)}.json")
