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
from pydantic import ValidationError

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
        raise ValueError(f"not valid YAML: {_in_words(error, data)}") from None
    except (ValueError, RecursionError):
        raise
    except Exception as error:  # PyYAML's constructors raise all kinds, for a bad !!timestamp for instance
        raise ValueError(f"not valid YAML: {type(error).__name__} {str(error)[:300]}".strip()) from None


_TAB = "a tab; lines are indented with spaces"
_WORDS = (
    ("expected ',' or ']'", "a list is not closed: a comma or ] is missing"),
    ("expected ',' or '}'", "a mapping is not closed: a comma or } is missing"),
    ("cannot start any token", "a value cannot begin with this character; put it in quotation marks"),
    ("mapping values are not allowed", "a colon where no name can end; put the text in quotation marks, or mend the "
    "indentation of this line"),
    ("expected key", "a setting is written as NAME: VALUE, indented like the others of its section"),
    ("expected <document start>", "a setting is written as NAME: VALUE, indented like the others of its section"),
    ("expected '-' indicator", "an entry of the list begins with -, indented like the others"),
    ("find expected ':'", "a setting is written as NAME: VALUE; the colon is missing"),
    ("unexpected end of stream", "a quotation mark is not closed"),
    ("expected node content", "a value is missing, or a bracket is not closed"),
    ("undefined alias", "the name behind * is not defined; put a text that begins with * in quotation marks"),
    ("expected alphabetic or numeric", "a name must follow * or &; put a text that begins so in quotation marks"),
    ("could not determine a constructor", "tags such as !name are not accepted; put the text in quotation marks"),
    ("unhashable key", "a list or a mapping cannot be a name"),
    ("sequence entries are not allowed", "a list begins on a line of its own"),
    ("characters are not allowed", "a control character"),
    ("UTF-8", "the text is not UTF-8"),
    ("escape character", "\\ has a meaning in double quotation marks; write single ones, or \\\\"),
    ("another document", "a second document begins here; a file has one"),
)  # fmt: skip
"""Parts of PyYAML's and libyaml's messages, and what they mean, in words."""


def _in_words(error: yaml.YAMLError, data: bytes | str) -> str:
    """Describes an error of the parser: line and column, the line itself, and the cause."""
    found = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    cause = next((words for part, words in _WORDS if part in found), " ".join(found.split())[:200])
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return cause
    lines = (data if isinstance(data, str) else data.decode("utf-8", "replace")).splitlines()
    if mark.line >= len(lines):
        return f"at its end: {cause}"
    line = lines[mark.line].strip()[:60]
    if lines[mark.line][mark.column : mark.column + 1] == "\t":
        cause = _TAB
    return f"line {mark.line + 1}, column {mark.column + 1}{f' ({line})' if line else ''}: {cause}"


class _Names:
    """The names of a mapping as they are read, by which one that is given twice is found."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, bool], int] = {}
        self._is_name = True

    def add(self, event: Any) -> None:
        """Takes the next node of the mapping, a name or a value.

        Raises:
            ValueError: it is a name that the mapping has already.
        """
        if self._is_name and isinstance(event, yaml.ScalarEvent) and event.value != "<<":
            name, line = (event.value, event.implicit[0]), event.start_mark.line + 1  # type: ignore[union-attr]
            if name in self._lines:
                raise ValueError(f"line {line}: {event.value:.60} is given twice, first in line {self._lines[name]}")
            self._lines[name] = line
        self._is_name = not self._is_name


def _check_events(data: bytes | str) -> None:
    """Checks the bounds on the parser's events, before any value is made."""
    depth = values = 0
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int, _Names | None]] = []
    for event in yaml.parse(data, _LOADER):
        if isinstance(event, yaml.NodeEvent) and open_nodes and (names := open_nodes[-1][2]):
            names.add(event)
        if isinstance(event, yaml.AliasEvent):
            values += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, values, _Names() if isinstance(event, yaml.MappingStartEvent) else None))
            values, depth = values + 1, depth + 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before, _ = open_nodes.pop()
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


def first_problem(error: ValidationError) -> str:
    """Describes the first value that does not fit a pydantic type: where it is, and what is wrong with it."""
    first = error.errors()[0]
    return ": ".join(part for part in (".".join(map(str, first["loc"])), first["msg"]) if part)


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
