"""Coverage-guided fuzzing with atheris, which is not among the tests' packages.

    python -m pip install atheris
    python -m tests.fuzz.targets midi CORPUS_FOLDER -max_total_time=1800

A run goes on where the last one with the same folder ended. What it finds is added to tests/data/fuzz, small, where
test_targets.py reads it with everything else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gansynth.config import NotesConfig
from gansynth.errors import CODES, CheckpointError, ConfigError, GansynthError, MidiError

E = TypeVar("E", bound=GansynthError)
SUFFIXES = (".yaml", ".json", ".npz")


def midi(data: bytes) -> None:
    """Reads a MIDI file by channel state with each salvage setting; the first byte chooses it."""
    from gansynth.midi.load import load_midi

    salvage = ("off", "safe", "aggressive")[data[0] % 3] if data else "safe"
    error = _error(MidiError, load_midi, data[1:], NotesConfig.model_validate({"salvage": salvage}))
    assert error is None or error.code in CODES


def bank(data: bytes) -> None:
    """Reads a bank of instruments; the first byte chooses its kind."""
    from gansynth.score.instruments import load_bank

    _with_file(data[1:], SUFFIXES[data[0] % 3] if data else ".yaml", lambda path: load_bank(path, 2))


def config(data: bytes) -> None:
    """Reads a job's settings."""
    from pipeline.config import load_config

    _with_file(data, ".yaml", load_config)


def checkpoint(data: bytes) -> None:
    """Reads the flags of a checkpoint, and the shapes and the progress that follow from them."""
    from gansynth.model.checkpoint import _progress, _variable_shapes
    from gansynth.model.layout import ModelConfig, named_save

    text = data.decode("utf-8", "replace")
    named_save(text)

    def read() -> None:
        flags = ModelConfig.from_json(text, "experiment.json")
        for blocks in {1, flags.num_resolutions}:
            progress = _progress(flags, 2 * blocks - 2, blocks, lambda _: 1000.0)
            assert 0 <= progress <= blocks - 1
            assert all(min(shape) >= 1 for shape in _variable_shapes(flags, blocks, progress).values())

    error = _error(CheckpointError, read)
    assert error is None or "experiment.json" in str(error)


TARGETS: dict[str, Callable[[bytes], None]] = {"midi": midi, "bank": bank, "config": config, "checkpoint": checkpoint}


def _with_file(data: bytes, suffix: str, read: Callable[[str], object]) -> None:
    """Writes a file and reads it; an error must name it, or the setting that is wrong."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder, f"input{suffix}")
        path.write_bytes(data)
        error = _error(ConfigError, read, str(path))
    assert error is None or path.name in str(error) or str(error).startswith("config: ")


def _error(kind: type[E], call: Callable[..., object], *args: object) -> E | None:
    """Returns the error of a kind that a call raises, or None."""
    try:
        call(*args)
    except kind as error:
        return error
    return None
