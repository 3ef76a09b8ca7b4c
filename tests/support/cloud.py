"""Helpers of the cloud tests: songs, gs:// on this machine, and comparison of two runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gansynth.io import files, listing, urls

DATA = Path(__file__).parents[1] / "data"
SONGS = {
    "a/one.mid": "one_note.mid",
    "a/melody.mid": "melody.mid",
    "a/deep/tempo.mid": "tempo.mid",
    "b/melody.mid": "melody.mid",
    "b/page.mid": "not_midi.mid",
    "b/order (1) [é].MID": "order.mid",
}
TINY = DATA / "checkpoints" / "tiny"


def point_to(url: str, patch: pytest.MonkeyPatch) -> None:
    """Points gs:// to the Cloud Storage at `url`, for this process and those it starts."""
    import gcsfs

    patch.setenv("STORAGE_EMULATOR_HOST", url)
    patch.setattr(urls, "_config", urls.StorageConfig(credentials="anonymous"))
    urls._filesystem.cache_clear()
    gcsfs.GCSFileSystem.clear_instance_cache()


def outputs(url: str) -> dict[str, bytes]:
    """Reads all files below a folder, by relative path, without those that always differ between runs."""
    names = [name for name, _ in listing.find(url)]
    root = str(urls.filesystem(url)[1]).rstrip("/") + "/"
    contents = {name.split(root, 1)[1]: files.read_bytes(name) for name in names}
    return {
        name: content
        for name, content in contents.items()
        if not name.startswith((".", "config.yaml", "index.html"))  # records and settings tell where the inputs are
    }


def rows(content: bytes) -> list[dict[str, object]]:
    """Parses rows of a manifest or an error list, without the songs' URLs."""
    found = [json.loads(line) for line in content.splitlines()]
    return [{key: value for key, value in row.items() if key != "source"} for row in found]


def assert_same(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    assert found.keys() == expected.keys()
    for name, content in expected.items():
        if name.endswith(".jsonl"):
            assert rows(found[name]) == rows(content), name
        else:
            assert found[name] == content, name
