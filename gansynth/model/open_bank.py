"""Opening of the sound bank that a setting names: the machine's own, a folder, a URL, or a built bank by its digest."""

from __future__ import annotations

import re
from pathlib import Path

from gansynth.errors import ConfigError
from gansynth.io import cache, urls
from gansynth.model.built_bank import BuiltBank
from gansynth.model.sound_bank import LIMIT, FetchedBank, SoundBank

_DIGEST = re.compile("sha256:[0-9a-f]{64}")


def open_bank(setting: str, collection: str, limit: int = LIMIT) -> SoundBank | None:
    """Opens a collection of the bank that a setting names.

    Args:
        setting: "off", "auto" (below the user's cache folder), a folder, a URL, which is only read, or a built bank:
            the folder or URL that it was built in, and its digest, as in gs://BUCKET/banks@sha256:...
        collection: name of the collection, see kernels.collection_of; a built bank is opened whole.
        limit: size of the whole bank in bytes; of a built bank, of the copies on this machine.

    Raises:
        ConfigError: the bank cannot be read.
    """
    if setting == "off":
        return None
    if split_digest(setting)[1]:
        return open_built(setting, limit)
    if not urls.is_local(setting):
        return FetchedBank(setting, collection)
    folder = cache.user_folder() / "sounds" if setting == "auto" else Path(urls.local_path(setting))
    return SoundBank(folder, collection, limit)


def open_built(setting: str, limit: int = LIMIT) -> BuiltBank:
    """Opens the built bank that a setting names, see `open_bank`."""
    return BuiltBank(*split_digest(setting), limit)


def split_digest(setting: str) -> tuple[str, str]:
    """Splits a setting into the place of a bank and the digest of a built one; the digest is empty for any other.

    Raises:
        ConfigError: what follows the last @ is a sha256 of another length, or there is no place before it.
    """
    place, at, digest = setting.rpartition("@")
    if not at or not digest.startswith("sha256:"):
        return setting, ""
    if not _DIGEST.fullmatch(digest) or place in ("", "auto", "off"):
        raise ConfigError(
            f"compute.sound_bank {setting}: a built bank is named by the folder or URL that it was built in, and its "
            "digest, as `gansynth-beam bank build` prints it: gs://BUCKET/banks@sha256: and 64 hexadecimal digits."
        )
    return place, digest
