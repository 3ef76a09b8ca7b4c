"""Files of rows, sorted by song id, each of one status: parts of manifest.jsonl and of errors.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from gansynth.io import files, urls


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
