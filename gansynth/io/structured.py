"""YAML, JSON and .npz files from outside, read within bounds of size, depth and memory."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from gansynth.io import files

MAX_BYTES = 64 << 20
"""Largest file, and largest array of an .npz file, in bytes."""
MAX_VALUES = 500_000
"""Most values in a YAML or JSON file, with all aliases expanded."""
MAX_DEPTH = 64
"""Most levels of lists and mappings."""
MAX_DIGITS = 400
"""Most characters of a number: more than any float64 needs."""
_MAX_MEMBERS = 1000
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = yaml.SafeLoader("")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_bytes(url: str) -> bytes:
    """Reads a file of at most MAX_BYTES.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger.
    """
    data = files.read_bytes(url, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
    return data


def parse_yaml(data: bytes | str) -> Any:
    """Parses YAML 1.1 with plain values only.

    Raises:
        ValueError: it is not YAML, or passes a bound; the message says which.
    """
    try:
        _check_events(data)
        return yaml.load(data, _LOADER)
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())[:300]}") from None
    except (ValueError, RecursionError):
        raise
    except Exception as error:  # PyYAML's constructors raise all kinds, for a bad !!timestamp for instance
        raise ValueError(f"not valid YAML: {type(error).__name__} {str(error)[:300]}".strip()) from None


def _check_events(data: bytes | str) -> None:
    """Checks the bounds on the parser's events, before any value is made."""
    depth = values = 0
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    for event in yaml.parse(data, _LOADER):
        if isinstance(event, yaml.AliasEvent):
            values += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, values))
            values, depth = values + 1, depth + 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            depth -= 1
            if anchor:
                sizes[anchor] = values - before
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if len(event.value) > MAX_DIGITS:
                tag = event.tag or _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)
                if tag in _NUMBERS:
                    raise _too_many(f"digits in one number than {MAX_DIGITS}")
        if depth > MAX_DEPTH:
            raise _too_many(f"levels of nesting than {MAX_DEPTH}")
        if values > MAX_VALUES:
            raise _too_many(f"values than {MAX_VALUES:,}, aliases expanded")


def parse_json(data: bytes | str) -> Any:
    """Parses JSON.

    Raises:
        ValueError: it is not JSON, or passes a bound; the message says which.
    """
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    try:
        found = json.loads(text, parse_int=_integer, parse_float=_float)
    except RecursionError:
        raise _too_many(f"levels of nesting than {MAX_DEPTH}") from None
    values, level = 1, [found]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        values += len(level)
        if values > MAX_VALUES:
            raise _too_many(f"values than {MAX_VALUES:,}")
        if not level:
            return found
    raise _too_many(f"levels of nesting than {MAX_DEPTH}")


def _inside(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else ()


def _integer(text: str) -> int:
    return int(_short(text))


def _float(text: str) -> float:
    return float(_short(text))


def _short(text: str) -> str:
    if len(text) > MAX_DIGITS:
        raise _too_many(f"digits in one number than {MAX_DIGITS}")
    return text


def _too_many(what: str) -> ValueError:
    return ValueError(f"it has more {what}")


def parse_npz(data: bytes, names: Sequence[str]) -> list[NDArray[Any]]:
    """Reads arrays of an .npz file; nothing is allocated that the file does not hold, and nothing unpickled.

    Args:
        data: the file.
        names: of the arrays.

    Returns:
        The arrays, read-only, in the order of `names`.

    Raises:
        ValueError: the file is damaged, encrypted or not an .npz file, passes a bound or lacks an array.

    Source: numpy.lib.format, versions 1 to 3.
    """
    if data.count(b"PK\x01\x02") > _MAX_MEMBERS:
        raise _too_many(f"members than {_MAX_MEMBERS}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [_array(archive, name) for name in names]
    except ValueError:
        raise
    except Exception as error:  # zipfile, zlib and numpy's header parser raise all kinds
        raise ValueError(f"not a readable .npz file: {type(error).__name__} {str(error)[:300]}".strip()) from None


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as member:
        content = member.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"array {name!r} is larger than {MAX_BYTES >> 20} MiB")
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"array {name!r} has dtype {dtype}; expected numbers or text")
    stated, left = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if stated != left or min(shape, default=0) < 0:
        raise ValueError(f"array {name!r} states {stated} bytes and holds {left}")
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if is_fortran else "C")
