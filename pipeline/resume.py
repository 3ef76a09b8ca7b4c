"""Resuming: recognises an earlier run of the same job in the output folder, so that finished songs can be kept."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import ValidationError

from gansynth.config import SOUND_VERSION
from gansynth.errors import ConfigError
from gansynth.io import files, urls
from pipeline.config import JobConfig, rename_settings

CONFIG = "config.yaml"


def check(config: JobConfig, overwrite: bool, sweep: bool = True) -> bool:
    """Checks the output folder for an earlier run, and removes incomplete files that a killed run left there.

    Args:
        config: the job.
        overwrite: if true, all songs are rendered again.
        sweep: if true, incomplete files are removed.

    Returns:
        True if finished songs of an earlier run are kept.

    Raises:
        ConfigError: the folder holds songs that were rendered with other settings.
    """
    earlier = _earlier(config.output)
    if earlier is not None:
        changed = _changes(earlier, config)
        if changed and not overwrite:
            raise ConfigError(
                f"--output {config.output}: holds songs that were rendered with other settings ({', '.join(changed)}); "
                "choose another folder, or use --overwrite to render all songs again."
            )
        if sweep:
            files.sweep(config.output)
    return config.resume and earlier is not None and not overwrite


def mark(config: JobConfig) -> None:
    """Saves the job's settings in its output folder, by which the next run recognises it."""
    files.write_bytes(urls.join(config.output, CONFIG), config.to_yaml().encode())


def _earlier(output: str) -> dict[str, Any] | None:
    """Reads the settings of the folder's earlier run; None if there was none."""
    try:
        values = yaml.safe_load(files.read_bytes(urls.join(output, CONFIG)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--output {output}: its {CONFIG} cannot be read ({error}); choose another folder.") from None
    if not isinstance(values, dict):
        return {}
    rename_settings(values)
    return values


def _changes(earlier: dict[str, Any], config: JobConfig) -> list[str]:
    """What differs of the settings that songs depend on, for people to read."""
    version = earlier.get("sound_version", 1)
    try:
        before = JobConfig.model_validate({**earlier, "sound_version": SOUND_VERSION})
    except ValidationError:
        return ["those of another version"]
    if version != SOUND_VERSION:
        return [f"sound version {version} -> {SOUND_VERSION}"]
    if (before.digest, before.checkpoint) == (config.digest, config.checkpoint):
        return []
    was, now = before.model_dump(mode="json"), config.model_dump(mode="json")
    apart = ("input", "output", "resume", "max_failures", "manifest", "storage", "plan", "beam")
    return [
        f"{name} {was_value} -> {now_value}"
        for name, was_value, now_value in _differences(was, now)
        if name.split(".")[0] not in apart and (not name.startswith("compute.") or name == "compute.precision")
    ]


def _differences(was: Any, now: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(was, dict) and isinstance(now, dict):
        keys = sorted({*was, *now}, key=str)
        return [d for key in keys for d in _differences(was.get(key), now.get(key), f"{name}.{key}".lstrip("."))]
    return [] if was == now else [(name, was, now)]
