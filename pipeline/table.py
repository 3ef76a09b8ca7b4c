"""The manifest as a Parquet file: the same rows with the same names, for tools that read tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, get_args, get_origin

from gansynth.io import files
from transforms.manifest import SongRow, columns

GROUP_ROWS = 4096
"""Rows that are in memory as a table at once: a row group of the file."""


def write_parquet(url: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows of the manifest as a Parquet file: whole, or not at all.

    Objects are maps (their keys are not the same in every row), lists are lists. Text that UTF-8 cannot hold, such
    as a path of other bytes, has them as \\udcXX, written out.

    Args:
        url: where it goes, a path or an fsspec URL.
        rows: as in manifest.jsonl; the same rows give the same bytes.
    """
    import pyarrow
    from pyarrow import parquet

    table = schema()
    with files.writing(url) as file, parquet.ParquetWriter(file, table, compression="zstd") as writer:
        for group in _groups(rows):
            writer.write_table(pyarrow.Table.from_pylist([_plain(row) for row in group], table))


def schema() -> Any:
    """Derives the table's schema from the type of a manifest row."""
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
    """Objects as pairs, sorted, and text that UTF-8 can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        plain = {_plain(key): _plain(item) for key, item in value.items()}
        return {key: sorted(item.items()) if isinstance(item, dict) else item for key, item in plain.items()}
    return value
