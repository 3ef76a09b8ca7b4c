"""The names in an output folder, by which outputs are told from inputs."""

from __future__ import annotations

import functools
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator

from gansynth.errors import ConfigError
from gansynth.io import archives, files, listing, records, urls
from transforms.elements import Source

FOLDERS = frozenset(
    {
        "audio",
        "spectrograms",
        "piano_rolls",
        "rolls",
        "notes",
        "stems",
        "tiles",
        "dataset",
        "page",
        records.FOLDER,
        ".rows",
        ".temp",
        ".staging",
    }
)
"""Folders below an output folder that only jobs write into."""
_FILES = re.compile(r"(index|page-\d+)\.html|manifest\.(jsonl|parquet)|errors\.jsonl|config\.yaml|\.lock")
_CONFIG_START = b"sound_version:"


def is_ours(path: str) -> bool:
    """Returns whether a job writes a file at a path below its output folder.

    Args:
        path: relative path, which may be untrusted.
    """
    first, slash, rest = path.partition("/")
    return (first in FOLDERS and bool(rest) and ".." not in path.split("/")) or (
        not slash and bool(_FILES.fullmatch(first))
    )


def recogniser(root: str) -> Callable[[str], bool]:
    """Makes a function that tells whether a file was written by a job of this program.

    Args:
        root: folder above the files; only output folders at or below it count.

    Returns:
        A function of the path or URL of a file below `root`.
    """
    is_marked = functools.lru_cache(maxsize=1024)(_is_marked)

    def is_output(url: str) -> bool:
        parts = url[len(root) :].split("/")
        return any(
            part and is_ours("/".join(parts[number:])) and is_marked(root + "/".join(parts[:number]))
            for number, part in enumerate(parts)
        )

    return is_output


def _is_marked(folder: str) -> bool:
    """Returns whether a folder has what every output folder has: records of finished songs, or a job's settings."""
    folder = folder.rstrip("/") or "/"
    if listing.kind(urls.join(folder, records.FOLDER)) == "folder":
        return True
    config = urls.join(folder, "config.yaml")
    return listing.kind(config) == "file" and files.read_bytes(config, len(_CONFIG_START)) == _CONFIG_START


def check_sources(output: str, sources: Iterable[Source]) -> Iterator[Source]:
    """Passes inputs through, checking that the job does not write onto any of them.

    Args:
        output: path or URL of the output folder.
        sources: the inputs.

    Raises:
        ConfigError: an input is in a folder that the job writes into.
    """
    real = functools.lru_cache(maxsize=1024)(_real)
    start = real(output).rstrip("/") + "/"
    for source in sources:
        if source.problem:  # may not even be a path
            yield source
            continue
        member = archives.Member.parse(source.url)
        url = member.archive if member else source.url
        folder, name = posixpath.split(url)
        path = urls.join(real(folder), name)
        if path.startswith(start) and is_ours(path.removeprefix(start)):
            raise ConfigError(
                f"--output {output}: the input {url} is in a folder that this job would write into; choose another "
                "output folder."
            )
        yield source


def _real(url: str) -> str:
    """Returns the path of a local folder without links, or the URL of another one in its usual form."""
    fs, path = urls.filesystem(url)
    return os.path.realpath(path) if urls.is_local(url) else str(fs.unstrip_protocol(path))
