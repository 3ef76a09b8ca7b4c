"""Comparison of output folders: a page on which the same songs are switched at the same position, at the same level.

Browsers let a page from the disk neither fetch files nor process the sound of media elements, so each sound file is
copied into a script file of the page's folder, which the page decodes when its song is chosen.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gansynth.audio import loudness
from gansynth.errors import ConfigError
from gansynth.io import files, listing, structured, urls
from gansynth.io.script_data import ScriptData, sha256
from pipeline import rows
from pipeline.terminal import say
from pipeline.web import asset, display, environment

MOST_FOLDERS = 9
MOST_SONGS = 100
MOST_BYTES = 200_000_000
"""Size of a sound file beyond which a song is left out: the browser has all versions of a song in memory."""
_DATA = "sounds"
_PRIVATE = ("input", "output", "resume", "max_failures", "beam", "plan")
"""Settings that say where and how a job runs, and not how it sounds."""


@dataclass(frozen=True)
class Version:
    """An output folder that is compared.

    Attributes:
        url: path or URL of the folder.
        name: what the page calls it.
        settings: its settings, by dotted name, as text.
        songs: path below the folder and peaks of each song's sound file, by song id.
    """

    url: str
    name: str
    settings: Mapping[str, str]
    songs: Mapping[str, tuple[str, str]]


def write(folders: Sequence[str], output: str, most: int = MOST_SONGS, quiet: bool = False) -> int:
    """Writes the page that compares output folders; returns the number of its songs.

    Args:
        folders: paths or URLs of two to MOST_FOLDERS output folders.
        output: folder or URL of the page.
        most: maximum number of songs; of more, the first are taken.
        quiet: if true, nothing is printed.

    Raises:
        ConfigError: a folder is no output of this program, no song is in all of them, or the page cannot be written.
    """
    if not 2 <= len(folders) <= MOST_FOLDERS:
        raise ConfigError(f"compare: name 2 to {MOST_FOLDERS} output folders, not {len(folders)}.")
    if any(urls.join(folder, "") == urls.join(output, "") for folder in folders):
        raise ConfigError(f"--output {output}: is one of the folders that are compared; choose another.")
    versions = [_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]
    common = sorted(set.intersection(*(set(version.songs) for version in versions)))
    if not common:
        raise ConfigError(f"compare: no song is in all of {', '.join(folders)}; render the same files into each.")
    songs: list[dict[str, Any]] = []
    large = 0
    try:
        for song_id in common[:most]:
            song = _write_song(versions, song_id, len(songs), output)
            songs += [song] if song else []
            large += song is None
        if not songs:
            raise ConfigError(f"compare: no song's sound file is smaller than {MOST_BYTES // 1_000_000} MB.")
        html = render_page(versions, songs)
        files.write_bytes(urls.join(output, "index.html"), html.encode())
    except OSError as error:
        raise ConfigError(f"--output {output}: cannot be written ({error}).") from None
    if not quiet:
        others = len(set.union(*(set(version.songs) for version in versions))) - len(common)
        notes = [f"{others} not in all folders"] if others else []
        notes += [f"{len(common) - most} after the first {most} (--songs)"] if len(common) > most else []
        notes += [f"{large} longer than {MOST_BYTES // 1_000_000} MB"] if large else []
        page = urls.join(output, "index.html")
        left = f" (left out: {', '.join(notes)})" if notes else ""
        say(f"{len(songs)} songs, {len(versions)} versions{left}\nListen: {page}", links={page: page})
    return len(songs)


def differences(versions: Sequence[Version]) -> list[tuple[str, list[str]]]:
    """Lists the settings that are not the same in all versions, with their values.

    Args:
        versions: the output folders.
    """
    names = dict.fromkeys(itertools.chain.from_iterable(version.settings for version in versions))
    found = [(name, [version.settings.get(name, "default") for version in versions]) for name in names]
    return [(name, values) for name, values in found if len(set(values)) > 1]


def render_page(versions: Sequence[Version], songs: Sequence[Mapping[str, Any]]) -> str:
    """Renders the page as HTML.

    Args:
        versions: the output folders.
        songs: what the page is told of each song, from `_write_song`.
    """
    scripts = [asset("base.js"), asset("wave.js"), asset("compare.js")]
    names = [display(version.name) for version in versions]
    text = json.dumps({"versions": names, "songs": songs}, ensure_ascii=False)
    values = {
        "names": names,
        "songs": songs,
        "differences": [(name, [display(value) for value in row]) for name, row in differences(versions)],
        "data": json.dumps({"versions": names, "songs": songs, "id": sha256(text)}),
        "style": asset("page.css") + asset("player.css") + asset("compare.css"),
        "scripts": scripts,
        "script_digests": [sha256(script) for script in scripts],
        "loads_data": True,
    }
    return environment().get_template("compare.html").render(values)


def _names(folders: Sequence[str]) -> list[str]:
    """Names the versions by the last parts of their paths, as many as tell them apart."""
    paths = [folder.rstrip("/").split("/") for folder in folders]
    for count in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{number} {folder}" for number, folder in enumerate(folders, 1)]


def _read(folder: str, name: str) -> Version:
    url = urls.join(folder, "manifest.jsonl")
    try:
        if listing.kind(url) != "file":
            raise ConfigError(f"{folder}: has no manifest.jsonl; name the output folder of a finished job.")
        songs = {
            row["song_id"]: (str(row["outputs"].get("audio", "")), str(row.get("peaks", "")))
            for row in rows.read(url)
            if row["status"] == "rendered"
        }
        config = urls.join(folder, "config.yaml")
        settings = structured.parse_yaml(structured.read_bytes(config)) if listing.kind(config) == "file" else {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: cannot be read ({error}).") from None
    flat = {key: value for key, value in _flat(settings or {}) if key.split(".")[0] not in _PRIVATE}
    return Version(folder, name, flat, songs)


def _flat(settings: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields settings with dotted names, and their values as JSON."""
    if isinstance(settings, dict) and settings:
        for name, value in settings.items():
            yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, json.dumps(settings, ensure_ascii=False, default=str)


def _write_song(versions: Sequence[Version], song_id: str, number: int, output: str) -> dict[str, Any] | None:
    """Writes the sounds of a song; returns what the page is told of it, or None if a version is too large."""
    import soundfile

    sounds = [_sound(version, song_id) for version in versions]
    if not all(sounds):
        return None
    levels, lengths, digests = [], [], []
    for place, data in enumerate(sounds):
        try:
            clip, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        except soundfile.LibsndfileError as error:
            raise ConfigError(f"{versions[place].url}: the sound of {song_id} cannot be read ({error}).") from None
        levels.append(loudness.integrated(clip, rate))
        lengths.append(len(clip) / rate)
        file = ScriptData.of(f"sound-{number}-{place}", json.dumps(base64.b64encode(data).decode()))
        files.write_bytes(urls.join(output, _DATA, f"{number}-{place}.js"), file.script.encode())
        digests.append([file.integrity, file.digest])
    quietest = min((level for level in levels if level > float("-inf")), default=0.0)
    return {
        "id": display(song_id),
        "title": display(posixpath.basename(song_id).removesuffix(".mid")) or "untitled",
        "seconds": max(lengths),
        "peaks": [version.songs[song_id][1] for version in versions],
        "loudness": [round(level, 2) if level > float("-inf") else None for level in levels],
        "gains": [10 ** ((quietest - level) / 20) if level > float("-inf") else 1.0 for level in levels],
        "sounds": [f"{_DATA}/{number}-{place}" for place in range(len(versions))],
        "digests": digests,
    }


def _sound(version: Version, song_id: str) -> bytes:
    """Reads a song's sound file; empty if it is too large."""
    name, _ = version.songs[song_id]
    if not name or name.startswith("/") or ".." in name.split("/") or "://" in name:
        raise ConfigError(f"{version.url}: manifest.jsonl names no sound file inside the folder for {song_id}.")
    url = urls.join(version.url, name)
    try:
        size = listing.size(url)
        return b"" if size > MOST_BYTES else files.read_bytes(url, size=size)
    except FileNotFoundError:
        raise ConfigError(f"{url}: is in the folder's list, but does not exist; render it again.") from None
