"""The training data set of a job: shards of audio, notes and metadata in WebDataset's layout, or a list of the audio
files as Hugging Face's `datasets` reads it.

Shards are packed at the end of the job from the files it has written, when all rendered songs are known. The content of
each shard therefore depends only on the songs, not on slices, workers, runners or interruptions. Shards that are up
to date are not written again.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import struct
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import google_crc32c

from gansynth.audio.encode import SUFFIX
from gansynth.io import files, listing, urls
from pipeline.config import JobConfig
from transforms.manifest import Row

FOLDER = "dataset"
AUDIO_LIST, AUDIO_CARD = "audio/metadata.jsonl", "audio/README.md"
"""Names of the list in the layout audiofolder, and of the card without which folders called train and test would be
splits of their own. No song has a file of these names."""
_CARD = """\
---
configs:
- config_name: default
  data_files:
  - split: train
    path:
    - metadata.jsonl
    - "**/*{suffix}"
---
Songs rendered from MIDI files by gansynth-beam. `datasets.load_dataset` reads this folder; `metadata.jsonl` describes
each song.
"""
_LISTED = (
    *("song_id", "seconds", "sample_rate", "channels", "peak", "loudness", "instruments", "repairs", "seed"),
    *("audio_digest", "source_digest", "checkpoint_digest", "config_digest"),
)
"""Columns of the manifest that are in that list: those that have the same type in every row."""
INDEX = "shards.jsonl"
_KINDS = ("audio", "notes", "stem_")
_LABELS = {"audio": "", "notesequence": ".notes"}
"""Parts of the names of files in a shard, by kind of output, where they are not ".KIND"."""


@dataclass(frozen=True)
class Sample:
    """A song in a shard.

    Attributes:
        key: prefix of the names of its files: its position in the manifest. Input names are untrusted and appear only
            in the metadata.
        row: its row in the manifest, used as metadata.
    """

    key: str
    row: Mapping[str, Any]

    @property
    def metadata(self) -> bytes:
        """The row as JSON."""
        return json.dumps(self.row, sort_keys=True).encode()

    def files(self) -> Iterator[tuple[str, str]]:
        """Lists name in the shard and path in the output folder of each file except the metadata, sorted."""
        found = []
        for kind, path in self.row["outputs"].items():
            if kind.startswith(_KINDS):
                suffix = posixpath.splitext(path)[1]
                found.append((f"{self.key}{_LABELS.get(kind, '.' + kind)}{suffix}", path))
        return iter(sorted(found))

    @property
    def size(self) -> int:
        """Size of the song in a shard, in bytes."""
        sizes = [size for kind, size in self.row["bytes"].items() if kind.startswith(_KINDS)]
        return sum(tarfile.BLOCKSIZE + _padded(size, tarfile.BLOCKSIZE) for size in (*sizes, len(self.metadata)))


def write_dataset(config: JobConfig, rows: Iterable[Row]) -> None:
    """Writes the data set of a finished job, if one is configured.

    Args:
        config: the job.
        rows: the row of each input, as in manifest.jsonl and errors.jsonl, with its status, in the order of their ids.
    """
    match config.dataset.format:
        case "webdataset":
            write_shards(config, rows)
        case "audiofolder":
            write_audio_list(config, rows)


def write_audio_list(config: JobConfig, rows: Iterable[Row]) -> None:
    """Writes audio/metadata.jsonl and a card, with which `datasets` loads audio/ as it is: no file is copied.

    Args:
        config: the job.
        rows: the row of each input, as in manifest.jsonl and errors.jsonl, with its status, in the order of their ids.

    Source: the layout AudioFolder, https://huggingface.co/docs/datasets/audio_dataset
    """
    lines = []
    for row in rows:
        if row["status"] != "rendered":
            continue
        values = {name: row.get(name) for name in _LISTED}
        notes = row["outputs"].get("notes")
        line = {
            "file_name": row["outputs"]["audio"].removeprefix(f"{posixpath.dirname(AUDIO_LIST)}/"),
            **values,
            "notes_played": row["notes"]["played"],
            "notes_path": notes and f"../{notes}",
        }
        lines.append(json.dumps(line, sort_keys=True).encode() + b"\n")
    files.write_bytes(urls.join(config.output, AUDIO_LIST), b"".join(lines))
    files.write_bytes(urls.join(config.output, AUDIO_CARD), _CARD.format(suffix=SUFFIX[config.audio.format]).encode())


def write_shards(config: JobConfig, rows: Iterable[Row]) -> None:
    """Packs the songs of a finished job into dataset/000000.tar and so on, and removes surplus shards of earlier runs.

    Each song has KEY.wav (or .flac, .ogg), KEY.notes.json, KEY.json (its row in the manifest) and, with stems,
    KEY.stem_001.wav and so on; with played_notes: notesequence KEY.notes.pb, and all songs of the shard are records of
    dataset/000000.tfrecord and so on too. Memory is bounded by the largest file.

    Args:
        config: the job; files are read from and shards written to its output folder.
        rows: the row of each input, as in manifest.jsonl and errors.jsonl, with its status, in the order of their ids.
    """
    folder = urls.join(config.output, FOLDER)
    earlier, lines = _index(folder), []
    number = 0
    for number, samples in enumerate(shards(rows, config.dataset.shard_bytes), 1):
        name = f"{number - 1:06d}.tar"
        digest = hashlib.sha256()
        for sample in samples:
            digest.update(sample.metadata + b"\n")
        line: dict[str, Any] = {"shard": name, "samples": len(samples), "songs_digest": f"sha256:{digest.hexdigest()}"}
        url = urls.join(folder, name)
        records = _records_name(name)
        if "notesequence" in config.played_notes:
            line["notes"] = records
        known = earlier.get(name, {})
        if {key: known.get(key) for key in ("notes", *line)} == {"notes": None, **line} and all(
            known.get(size) == _size(urls.join(folder, file))
            for file, size in ((name, "bytes"), (records, "notes_bytes"))
        ):
            lines.append(known)
            continue
        with files.writing(url) as file:
            _pack(file, config.output, samples)
            line["bytes"] = file.tell()
        if "notes" in line:
            with files.writing(urls.join(folder, records)) as file:
                _write_records(file, config.output, samples)
                line["notes_bytes"] = file.tell()
        elif _size(urls.join(folder, records)) is not None:
            files.remove(urls.join(folder, records))
        lines.append(line)
    files.write_bytes(urls.join(folder, INDEX), b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    while _size(url := urls.join(folder, name := f"{number:06d}.tar")) is not None:
        for surplus in (url, urls.join(folder, _records_name(name))):
            if _size(surplus) is not None:
                files.remove(surplus)
        number += 1


def shards(rows: Iterable[Row], limit: int) -> Iterator[list[Sample]]:
    """Groups the rendered songs into shards.

    Args:
        rows: the row of each input, in the order of their ids.
        limit: maximum size of a shard in bytes; only a single larger song exceeds it.
    """
    rendered = (row for row in rows if row["status"] == "rendered")
    samples: list[Sample] = []
    total = 0
    for number, row in enumerate(rendered):
        sample = Sample(f"{number:09d}", {key: value for key, value in row.items() if key != "status"})
        size = sample.size
        if samples and _padded(total + size + 2 * tarfile.BLOCKSIZE, tarfile.RECORDSIZE) > limit:
            yield samples
            samples, total = [], 0
        samples.append(sample)
        total += size
    if samples:
        yield samples


def _pack(file: IO[bytes], output: str, samples: Iterable[Sample]) -> None:
    """Writes a tar without times and owners, so that equal content gives equal bytes."""
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            for name, path in sorted([*sample.files(), (f"{sample.key}.json", "")]):
                data = files.read_bytes(urls.join(output, path)) if path else sample.metadata
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def _records_name(shard: str) -> str:
    return f"{posixpath.splitext(shard)[0]}.tfrecord"


def _write_records(file: IO[bytes], output: str, samples: Iterable[Sample]) -> None:
    """Writes the NoteSequences of a shard's songs as a TFRecord file.

    Source: TensorFlow, tensorflow/core/lib/io/record_writer.h: length (uint64), its masked CRC-32C, data, their masked
    CRC-32C; little-endian.
    """
    for sample in samples:
        data = files.read_bytes(urls.join(output, sample.row["outputs"]["notesequence"]))
        length = struct.pack("<Q", len(data))
        file.write(length + _masked_crc(length) + data + _masked_crc(data))


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _index(folder: str) -> dict[str, dict[str, Any]]:
    """Reads the index of an earlier run's shards, by name; empty if it cannot be read."""
    try:
        lines = files.read_bytes(urls.join(folder, INDEX)).splitlines()
        return {line["shard"]: line for line in map(json.loads, lines)}
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return {}


def _size(url: str) -> int | None:
    try:
        return listing.size(url)
    except (FileNotFoundError, NotADirectoryError):
        return None
