from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gansynth.io import files, listing, urls
from pipeline.__main__ import main
from tests.support import servers
from tests.support.cloud import DATA, SONGS, TINY, point_to


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a corpus: a few songs in folders, and one file that is not MIDI."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, source in SONGS.items():
        files.write_bytes(str(folder / name), (DATA / "midi" / source).read_bytes())
    return folder


@pytest.fixture(scope="session")
def rendered(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Renders the corpus on this machine, for comparison; returns the output folder."""
    out = tmp_path_factory.mktemp("rendered")
    options = ["--set", f"checkpoint={TINY}", "--quiet"]
    assert main(["render", str(corpus), "--output", str(out), *options]) == 3
    return out


@pytest.fixture(scope="session")
def gcs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Starts a local Cloud Storage with the corpus in gs://in/songs and the tiny checkpoint in gs://in/tiny."""
    with servers.emulator(tmp_path_factory.mktemp("gcs")) as url:
        with pytest.MonkeyPatch.context() as patch:
            point_to(url, patch)
            for folder, target in ((corpus, "gs://in/songs"), (TINY, "gs://in/tiny")):
                for path, _ in listing.find(str(folder)):
                    files.write_bytes(f"{target}{path.removeprefix(str(folder))}", Path(path).read_bytes())
        yield url


@pytest.fixture
def cloud(gcs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Points gs:// to the local Cloud Storage, or to the URL given to the returned function; empties caches."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    point_to(gcs, monkeypatch)
    yield lambda url: point_to(url, monkeypatch)
    urls._filesystem.cache_clear()
