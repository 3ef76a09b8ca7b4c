"""note_seq, imported without what it imports at once: librosa, bokeh and pandas, which reading MIDI does not need.

Use as `from gansynth.midi._note_seq import midi_io, music_pb2`. Anything else of note_seq is imported when it is used.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import warnings
from typing import Any

_NAME = "note_seq"


class _Package(types.ModuleType):
    """A package whose __init__ runs when a name that is no module of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(f"module {_NAME!r} has no attribute {name!r}")
        if importlib.util.find_spec(f"{_NAME}.{name}"):
            return importlib.import_module(f"{_NAME}.{name}")
        self.__class__ = types.ModuleType  # type: ignore[assignment]
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def _prepare() -> None:
    """Puts the package in place, without its __init__, unless it is imported already."""
    if _NAME in sys.modules:
        return
    spec = importlib.util.find_spec(_NAME)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {_NAME!r}", name=_NAME)
    package = importlib.util.module_from_spec(spec)
    package.__class__ = _Package
    sys.modules[_NAME] = package


_prepare()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import note_seq
    import note_seq.midi_io as midi_io
    from note_seq.protobuf import music_pb2

__all__ = ["midi_io", "music_pb2", "note_seq"]
