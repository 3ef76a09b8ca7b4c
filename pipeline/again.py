"""Commands that a page shows: those that render failed inputs again, and that serve it; and links to source files."""

from __future__ import annotations

import math
import os
import re
import shlex
from typing import Any
from urllib.parse import quote

from gansynth.io import archives, urls
from pipeline.config import JobConfig
from pipeline.web import display
from transforms.manifest import ErrorRow

_FIXES = {
    "midi-bad-event": ("notes.salvage", "aggressive"),
    "midi-data-byte": ("notes.salvage", "aggressive"),
    "midi-only-drums": ("notes.drums", "play"),
    "midi-out-of-range": ("notes.out_of_range", "fold"),
}
"""Settings with which an input that failed with a code can be rendered."""
_LIMITS = {
    "midi-too-dense": "notes.max_polyphony",
    "midi-too-large": "notes.max_file_bytes",
    "midi-too-long": "notes.max_song_seconds",
    "midi-too-many-notes": "notes.max_notes",
}
_RAISE = 4
"""Factor by which a suggested limit is above the one that was exceeded, if the message does not say by how much."""
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,3})?")


def job_command(config: JobConfig) -> str:
    """Returns the command that renders everything again that has failed, and keeps what is finished.

    Args:
        config: the job.
    """
    return _join("--config", urls.join(config.output, "config.yaml"))


def command(config: JobConfig, row: ErrorRow) -> str:
    """Returns the command that renders a failed input again.

    If another setting is needed, the result goes into a folder beside the job's, which must not mix songs of different
    settings; of an archive, all files are rendered there. Otherwise the command is that of the whole job.

    Args:
        config: the job.
        row: the failed input.

    Returns:
        A line for a POSIX shell; empty if the input's name has characters that cannot be pasted.
    """
    setting = _fix(config, row)
    if not setting:
        return job_command(config)
    if display(row["source"]) != row["source"]:
        return ""
    beside = f"{config.output.rstrip('/')}-again"
    saved = urls.join(config.output, "config.yaml")
    member = archives.Member.parse(row["source"])
    source = member.archive if member else row["source"]
    return _join(source, "--config", saved, "--output", beside, "--set", setting)


def view_command(config: JobConfig) -> str:
    """Returns the command that serves a job's page; empty where the output is not a folder of this machine.

    Args:
        config: the job.
    """
    return shlex.join(["gansynth-beam", "view", config.output]) if urls.is_local(config.output) else ""


def _fix(config: JobConfig, row: ErrorRow) -> str:
    """Returns "section.key=value" of the setting that lets an input pass; empty if none is known."""
    code = row["code"]
    if code in _FIXES:
        name, value = _FIXES[code]
    elif code in _LIMITS:
        name = _LIMITS[code]
        limit = _value(config, name)
        exceeded = [float(number) for number in _NUMBER.findall(row["message"].replace(",", ""))]
        needed = math.ceil(max((number for number in exceeded if number > limit), default=_RAISE * limit))
        value = str(type(limit)(needed))
    elif code == "midi-unreadable" and config.notes.salvage == "off":
        name, value = "notes.salvage", "safe"
    else:
        return ""
    return "" if str(_value(config, name)) == value else f"{name}={value}"


def _value(config: JobConfig, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(config, section), key)


def source_link(config: JobConfig, source: str) -> str:
    """Returns the URL-quoted path from the output folder to an input; empty unless both are on this machine's disk.

    Args:
        config: the job.
        source: path or URL of the input.
    """
    if not source or not urls.is_local(config.output) or not urls.is_local(source) or archives.Member.parse(source):
        return ""
    if "\0" in source:
        return ""
    # The page's address is resolved as text, so links of the file system are left as they are.
    return quote(os.fsencode(os.path.relpath(urls.local_path(source), urls.local_path(config.output))))


def _join(*words: str) -> str:
    return shlex.join(["gansynth-beam", "render", *words])
