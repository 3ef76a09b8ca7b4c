"""Rendering without the packages that requirements/unused.txt leaves out, and lock files that agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_WITHOUT = '''
import importlib, importlib.metadata, pkgutil, sys, warnings

class Blocked:
    """Refuses the modules of some distributions, as if they were not installed."""

    def __init__(self, names):
        self.modules = set()
        for name in names:
            try:
                files = importlib.metadata.files(name) or ()
            except importlib.metadata.PackageNotFoundError:
                continue
            folders = {f.parent.parts for f in files if f.name == "__init__.py"}
            top = [p for p in folders if not any(p[:n] in folders for n in range(1, len(p)))]
            self.modules |= {".".join(p) for p in top if p and p[0] != ".."}
        self.modules -= {"google", "google.cloud"}

    def find_spec(self, name, path=None, target=None):
        if any(name == module or name.startswith(module + ".") for module in self.modules):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

blocked = Blocked(sys.argv[1].split())
assert {"librosa", "bokeh", "pandas", "clang", "google.cloud.bigtable"} <= blocked.modules, blocked.modules
sys.meta_path.insert(0, blocked)
warnings.simplefilter("ignore")

for package in ("gansynth", "transforms", "pipeline"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
from apache_beam.runners.dataflow import dataflow_runner
from apache_beam.runners.dataflow.internal import apiclient
from apache_beam.runners.portability import portable_runner
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.io.gcp import gcsfilesystem, gcsio
import gcsfs, gansynth
from gansynth.config import NotesConfig

synth = gansynth.Synthesizer.from_checkpoint(sys.argv[2])
song = gansynth.load_midi(sys.argv[3], NotesConfig(reader="note_seq"))
performance = gansynth.perform(song, synth, gansynth.SoundConfig(), "riff")
assert len(performance.audio) and performance.piano_roll and performance.spectrogram
from note_seq.protobuf import music_pb2
assert music_pb2.NoteSequence(id="x").SerializeToString()
print("rendered")
'''


def packages(name: str) -> set[str]:
    text = (ROOT / "requirements" / name).read_text()
    return {match.lower() for match in re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE)}


def unused() -> list[str]:
    lines = (ROOT / "requirements" / "unused.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_rendering_does_without_the_unused_packages() -> None:
    song = ROOT / "pipeline" / "examples" / "riff.mid"
    command = [sys.executable, "-c", _WITHOUT, " ".join(unused()), "mini", str(song)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["rendered"], done.stderr


def test_the_lock_files_leave_them_out_and_agree() -> None:
    assert {"librosa", "libclang"} <= packages("dev.txt")
    for name in ("render.txt", "gpu.txt"):
        assert not packages(name) & set(unused())
    assert "tensorflow-cpu" in packages("render.txt")
    assert "tensorflow-cpu" not in packages("gpu.txt") | packages("dev.txt")
    pinned: dict[str, dict[str, set[str]]] = {}
    for name in ("dev.txt", "render.txt", "gpu.txt"):
        for package, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.M):
            pinned.setdefault(package, {}).setdefault(name, set()).add(version)
    shared = [files for files in pinned.values() if "dev.txt" in files]
    assert all(versions <= files["dev.txt"] for files in shared for versions in files.values())
