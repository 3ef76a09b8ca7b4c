"""The manifest as a Parquet file: the same rows with the same names, for tools that read tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from gansynth import storage

GROUP_ROWS = 4096
"""Rows that are in memory as a table at once: a row group of the file."""


def write_parquet(url: str, rows: Iterable[dict[str, Any]]) -> None:
    """Writes rows of the manifest as a Parquet file: whole, or not at all.

    Objects are maps (their keys are not the same in every row), lists are lists. Text that UTF-8 cannot hold, such
    as a path of other bytes, has them as \\udcXX, written out.

    Args:
        url: where it goes, a path or an fsspec URL.
        rows: as in manifest.jsonl; the same rows give the same bytes.
    """
    import pyarrow
    from pyarrow import parquet

    schema = _schema()
    with storage.writing(url) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(rows):
            writer.write_table(pyarrow.Table.from_pylist([_plain(row) for row in group], schema))


def _schema() -> Any:
    import pyarrow as pa

    text, number, real = pa.string(), pa.int64(), pa.float64()
    part = pa.struct({"program": number, "track": text, "instrument": text, "rule": text, "notes": number})
    note = pa.struct({"start": real, "pitch": number, "program": number})
    return pa.schema(
        {
            **dict.fromkeys(("song_id", "source", "source_digest"), text),
            "repairs": pa.list_(text),
            "outputs": pa.map_(text, text),
            "bytes": pa.map_(text, number),
            "audio_digest": text,
            "seconds": real,
            **dict.fromkeys(("sample_rate", "notes_rate", "channels"), number),
            **dict.fromkeys(("gain", "peak", "loudness", "true_peak"), real),
            "notes": pa.map_(text, number),
            **dict.fromkeys(("silent_notes", "broken_notes"), pa.list_(note)),
            "instruments": pa.list_(text),
            "programs": pa.map_(text, text),
            "parts": pa.list_(part),
            "stems": pa.list_(text),
            "seed": number,
            **dict.fromkeys(("checkpoint_digest", "config_digest", "bank_digest"), text),
        }
    )


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
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
