"""Files of rows, sorted by song id: those that a job's workers write, and the lists that are made of them."""

from __future__ import annotations

import heapq
import itertools
import json
import posixpath
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

from gansynth.errors import ConfigError
from gansynth.io import files, listing, urls
from transforms.manifest import Row
from transforms.row_files import status_of, write_files

LISTS = {"manifest.jsonl": "rendered", "errors.jsonl": "failed"}
"""Names of the lists in an output folder, and the status of their rows."""
_NEEDED = {
    "rendered": {"song_id", "source", "source_digest", "outputs", "config_digest"},
    "failed": {"song_id", "source", "code", "message"},
}
_FILE_ROWS = 2000


def find(folder: str) -> list[str]:
    """Lists the files of rows below a folder, sorted."""
    return sorted(url for url, _ in listing.find(folder) if url.endswith(".jsonl"))


def find_lists(output: str) -> list[str]:
    """Lists the lists that an output folder has."""
    found = (urls.join(output, name) for name in LISTS)
    return [url for url in found if listing.kind(url) == "file"]


def read(url: str) -> Generator[Row, None, None]:
    """Reads a file of rows, or a list.

    Raises:
        ConfigError: a line is no row of this program.
    """
    name = posixpath.basename(url)
    status = LISTS.get(name) or status_of(name)
    more = {"status": status} if status in _NEEDED else {}
    for number, line in enumerate(files.read_lines(url), 1):
        try:
            row: Any = more | json.loads(line)
            if missing := _NEEDED[row["status"]] - row.keys():
                raise KeyError(*sorted(missing))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"--output: {url}, line {number}: is not a row of this program ({error}); remove the file, or choose "
                "another folder."
            ) from None
        yield row


def write(folder: str, name: str, rows: Iterable[Row]) -> None:
    """Writes rows to files of some 2,000 each.

    Args:
        folder: the job's folder of rows.
        name: beginning of the files' names.
        rows: the rows, in any order.
    """
    rest = iter(rows)
    for number in itertools.count():
        if not (group := list(itertools.islice(rest, _FILE_ROWS))):
            return
        write_files(folder, f"{name}-{number:05d}", group)


def merge(*groups: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """Merges files of rows by song id; of several rows of a song only the one of the first group comes.

    A file is opened when its first row's turn has come: files that follow on each other are open one at a time.

    Args:
        *groups: URLs of files of rows.

    Yields:
        The number of the group, and the row.

    Raises:
        ConfigError: a file cannot be used.
    """
    heap: list[tuple[str, int, int, Row, Iterator[Row] | None]] = []
    named = [(group, url) for group, found in enumerate(groups) for url in found]
    for number, (group, url) in enumerate(named):
        with closing(read(url)) as opened:
            if (first := next(opened, None)) is not None:
                heap.append((first["song_id"], group, number, first, None))
    heapq.heapify(heap)
    last = None
    while heap:
        song_id, group, number, row, stream = heap[0]
        if song_id != last:
            yield group, row
        last = song_id
        if stream is None:
            stream = read(named[number][1])
            next(stream)
        if (following := next(stream, None)) is None:
            heapq.heappop(heap)
            continue
        if following["song_id"] < song_id:
            raise ConfigError(
                f"--output: {named[number][1]}: its rows are not in the order of their song_id; sort or remove the "
                "file."
            )
        heapq.heapreplace(heap, (following["song_id"], group, number, following, stream))


def write_lists(output: str, rows: Iterable[Row]) -> None:
    """Writes manifest.jsonl and errors.jsonl; both keep their content until the last row is written.

    Args:
        output: the output folder.
        rows: the row of each song, in the order of their ids.
    """
    with ExitStack() as stack:
        lists = {status: stack.enter_context(files.writing(urls.join(output, name))) for name, status in LISTS.items()}
        for row in rows:
            line = json.dumps({key: value for key, value in row.items() if key != "status"}, sort_keys=True)
            lists[row["status"]].write(f"{line}\n".encode())


def join_lists(output: str, found: Iterable[str]) -> None:
    """Joins files of rows that follow on each other to manifest.jsonl and errors.jsonl, in the storage if it can.

    Args:
        output: the output folder.
        found: URLs of the files, in order, each with rows of one status.
    """
    for name, status in LISTS.items():
        files.join([url for url in found if url.endswith(f".{status}.jsonl")], urls.join(output, name))
