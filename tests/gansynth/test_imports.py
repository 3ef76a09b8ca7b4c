"""What imports what: the instrument knows no Beam, and TensorFlow starts only where a checkpoint is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gansynth

ROOT = Path(__file__).parents[2]
HEAVY = {"tensorflow", "apache_beam", "magenta", "librosa", "matplotlib"}


def loaded(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after running `code`."""
    report = f"import sys; print(*{HEAVY!r} & set(sys.modules))"
    command = [sys.executable, "-W", "ignore", "-c", f"{code}\n{report}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import gansynth; assert 'slerp' in gansynth.__all__",
        "import gansynth; gansynth.slerp([1, 0], [0, 1], 0.5); gansynth.random_latents(1, 2, 3)",
        "import gansynth; gansynth.SoundConfig()",
        "import gansynth; len(gansynth.load_midi('tests/data/midi/melody.mid').notes)",
        "from gansynth import audiofile, checkpoint, envelope, mix, paths, schedule, score, storage",
    ],
)
def test_starts_without_tensorflow_and_beam(code: str) -> None:
    assert not loaded(code) & {"tensorflow", "apache_beam", "magenta"}


def test_the_whole_package_knows_no_beam() -> None:
    names = sorted(path.stem for path in (ROOT / "gansynth").glob("*.py") if path.stem != "__init__")
    assert "apache_beam" not in loaded("\n".join(f"import gansynth.{name}" for name in names))


def test_public_names() -> None:
    assert set(gansynth.__all__) >= {"Synthesizer", "load_midi", "random_latents", "render", "slerp"}
    for name in gansynth.__all__:
        assert getattr(gansynth, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gansynth.nothing  # noqa: B018
