"""The manifest as a Parquet file, with the same rows and column names as manifest.jsonl."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, get_args, get_origin

from gansynth.io import files
from transforms.manifest import SongRow, columns

GROUP_ROWS = 4096
"""Number of rows of a row group, which is in memory at once."""


def write_parquet(url: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows of the manifest as a Parquet file, atomically.

    JSON objects become maps, since their keys differ between rows. Surrogates in text, from paths that are not UTF-8,
    are written as \\udcXX escapes.

    Args:
        url: path or fsspec URL of the file.
        rows: rows as in manifest.jsonl; the same rows give the same bytes.
    """
    import pyarrow
    from pyarrow import parquet

    table = schema()
    with files.writing(url) as file, parquet.ParquetWriter(file, table, compression="zstd") as writer:
        for group in _groups(rows):
            writer.write_table(pyarrow.Table.from_pylist([_plain(row) for row in group], table))


def schema() -> Any:
    """Derives the table's Arrow schema from SongRow."""
    import pyarrow

    return pyarrow.schema({name: _arrow_type(hint) for name, hint, _ in columns(SongRow)})


def _arrow_type(hint: Any) -> Any:
    import pyarrow as pa

    simple = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    if hint in simple:
        return simple[hint]
    if get_origin(hint) is list:
        return pa.list_(_arrow_type(get_args(hint)[0]))
    if get_origin(hint) is dict:
        return pa.map_(pa.string(), _arrow_type(get_args(hint)[1]))
    if get_origin(hint) is UnionType or type(None) in get_args(hint):
        return _arrow_type(get_args(hint)[0])
    return pa.struct({name: _arrow_type(inner) for name, inner, _ in columns(hint)})


def _groups(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    iterator = iter(rows)
    while group := list(itertools.islice(iterator, GROUP_ROWS)):
        yield group


def _plain(value: Any) -> Any:
    """Converts objects to sorted pairs, and text to valid UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        plain = {_plain(key): _plain(item) for key, item in value.items()}
        return {key: sorted(item.items()) if isinstance(item, dict) else item for key, item in plain.items()}
    return value
