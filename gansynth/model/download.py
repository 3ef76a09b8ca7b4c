"""Download of checkpoints: the bundled one, Magenta's published ones, or any folder, fetched once into a cache."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from gansynth.errors import CheckpointError
from gansynth.io import cache, files, listing, retry, structured, urls
from gansynth.model.layout import NORMALIZER_ASSETS, ModelConfig, named_save, reason_of, stage_number

MAGENTA_BUCKET = "gs://magentadata/models/gansynth"
PUBLISHED = ("acoustic_only", "all_instruments")
ANSWER_SECONDS = 10.0
"""Seconds within which a checkpoint's source has to answer before a job starts."""
BUNDLED = {"mini": Path(__file__).parent.parent / "mini"}


def localize(name_or_path: str) -> Path:
    """Returns the local folder of a checkpoint, after fetching it into the cache if it is remote.

    Args:
        name_or_path: see checkpoint.load.

    Raises:
        CheckpointError: the name is unknown, the folder is missing, or the download failed and the cache has no copy.
    """
    if name_or_path in BUNDLED:
        return BUNDLED[name_or_path]
    url, options = _remote(name_or_path)
    if url:
        return _fetch(url, frozen=name_or_path in PUBLISHED, **options)
    folder = Path(urls.local_path(name_or_path))
    if not folder.is_dir():
        names = ", ".join([*BUNDLED, *PUBLISHED])
        raise CheckpointError(f"{name_or_path}: no such folder, and not a known name ({names}).")
    return folder


def check_reachable(name_or_path: str) -> None:
    """Checks within ANSWER_SECONDS that a remote checkpoint without a copy in the cache can be fetched.

    Args:
        name_or_path: see checkpoint.load.

    Raises:
        CheckpointError: its source cannot be reached, or has no such checkpoint.
    """
    url, options = _remote(name_or_path)
    if not url or _is_complete(_copy_of(url)):
        return
    try:
        urls.filesystem(url, **options)  # imports its package, which takes seconds
        retry.within_deadline(listing.size, f"{url}/experiment.json", deadline=ANSWER_SECONDS, **options)
    except FileNotFoundError:
        raise CheckpointError(f"{url}: has no experiment.json; is this a GANSynth checkpoint?") from None
    except Exception as error:
        raise _unreachable(url, error) from error


def _remote(name_or_path: str) -> tuple[str, dict[str, Any]]:
    """Returns the URL of a remote checkpoint and the options of its file system; an empty URL for a local one."""
    if name_or_path in PUBLISHED:
        return f"{MAGENTA_BUCKET}/{name_or_path}", {"token": "anon"}
    if name_or_path in BUNDLED or urls.is_local(name_or_path):
        return "", {}
    return name_or_path.rstrip("/"), {}


def _copy_of(url: str) -> Path:
    """Returns the folder in the cache for the checkpoint at `url`."""
    return cache_folder() / f"{url.rsplit('/', 1)[-1]}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def _unreachable(url: str, error: Exception) -> CheckpointError:
    name = url.rsplit("/", 1)[-1]
    return CheckpointError(
        f"{url}: cannot be fetched ({reason_of(error)}); check the network and permissions, or copy that folder to "
        f"this machine and name the copy, as in checkpoint=/path/to/{name}. checkpoint=mini needs no network."
    )


def cache_folder() -> Path:
    """Returns the folder of fetched checkpoints, below the user's cache folder."""
    return cache.user_folder() / "checkpoints"


def _fetch(url: str, *, frozen: bool, **options: Any) -> Path:
    """Copies the files of `url` that inference needs into the cache, one process at a time.

    A `frozen` checkpoint that is complete in the cache is used without network access; any other is compared with
    its source first, and the cached copy is used if the source cannot be reached.
    """
    folder = _copy_of(url)
    with cache.exclusive(folder / ".lock"):
        complete = _is_complete(folder)
        if frozen and complete:
            return folder
        try:
            sizes = _fetch_files(url, folder, options)
        except CheckpointError:
            raise
        except Exception as error:
            if complete:
                return folder
            raise _unreachable(url, error) from error
        files.write_bytes(str(folder / ".complete.json"), json.dumps(sizes).encode())
    return folder


def _is_complete(folder: Path) -> bool:
    try:
        sizes = structured.parse_json((folder / ".complete.json").read_text())
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _fetch_files(url: str, folder: Path, options: dict[str, Any]) -> dict[str, int]:
    sizes: dict[str, int] = {}

    def size_of(name: str) -> int:
        return listing.size(f"{url}/{name}", **options)

    def read(name: str) -> bytes:
        sizes[name] = size_of(name)
        data = files.read_bytes(f"{url}/{name}", size=sizes[name], **options)
        if len(data) != sizes[name]:
            raise CheckpointError(f"{url}/{name}: {len(data)} of {sizes[name]} bytes arrived; try again.")
        return data

    def fetch(name: str) -> Path:
        files.write_bytes(str(folder / name), read(name))
        return folder / name

    try:
        experiment = fetch("experiment.json")
        stages = [name for name in listing.names(url, **options) if stage_number(name) is not None]
        if not stages:
            raise CheckpointError(f"{url}: no stage_* folder; is this the folder of a trained GANSynth?")
        state = fetch(f"{stages[-1]}/checkpoint")
        save = named_save(state.read_text(encoding="utf-8", errors="replace")).replace("\\", "/").rsplit("/", 1)[-1]
        if not re.fullmatch(r"[\w.\-]+", save):
            raise CheckpointError(f"{url}/{stages[-1]}/checkpoint: has no entry model_checkpoint_path.")
        names = listing.names(f"{url}/{stages[-1]}", **options)
        parts = [name for name in names if re.fullmatch(re.escape(save) + r"\.(index|data-\d{5}-of-\d{5})", name)]
        if len(parts) < 2:
            raise CheckpointError(f"{url}/{stages[-1]}: {save}.index or its .data-* files are missing.")
        # The index holds the checksums of the data files: if it is unchanged, so are they. It is written last.
        index_name = f"{stages[-1]}/{save}.index"
        index, kept = read(index_name), folder / index_name
        same = kept.is_file() and kept.read_bytes() == index
        for name in (f"{stages[-1]}/{part}" for part in parts if not part.endswith(".index")):
            if same and (folder / name).is_file() and (folder / name).stat().st_size == size_of(name):
                sizes[name] = size_of(name)
            else:
                fetch(name)
        files.write_bytes(str(kept), index)
        config = ModelConfig.from_json(experiment.read_text(encoding="utf-8", errors="replace"), str(experiment))
        asset = NORMALIZER_ASSETS[config.data_normalizer]
        if asset:
            fetch(asset)
    except FileNotFoundError as error:
        raise CheckpointError(f"{url}: {reason_of(error)} is missing; is this a GANSynth checkpoint?") from None
    return sizes
