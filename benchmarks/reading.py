"""Reads MIDI files with both readers, and says how much time of one CPU each takes.

usage: python -m benchmarks.reading [FOLDER ...]      ../shared/corpus and ../shared/midi/good by default
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gansynth.config import NotesConfig
from gansynth.midi.load import load_midi

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT.parent / "shared" / "corpus", ROOT.parent / "shared" / "midi" / "good")
TURN = 100
"""Files that one reader reads before it is the other's turn."""
READERS = {name: NotesConfig.model_validate({"reader": name}) for name in ("note_seq", "channels")}


def measure(files: Sequence[bytes]) -> dict[str, float]:
    """Seconds of CPU by reader; they take turns, so that both have the same machine."""
    seconds = dict.fromkeys(READERS, 0.0)
    for first in range(0, len(files), TURN):
        for name, config in READERS.items():
            began = time.process_time()
            for content in files[first : first + TURN]:
                load_midi(content, config)
            seconds[name] += time.process_time() - began
    return seconds


def main(folders: Sequence[Path]) -> None:
    for folder in folders:
        files = [path.read_bytes() for path in sorted(folder.rglob("*.mid"))]
        measure(files[:1])  # imports
        seconds = measure(files)
        ratio = seconds["channels"] / seconds["note_seq"]
        each = ", ".join(f"{name} {1000 * spent / len(files):.2f} ms a file" for name, spent in seconds.items())
        print(f"{folder}: {len(files)} files: {each}; channels takes {ratio:.3f} of note_seq's time")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or FOLDERS)
