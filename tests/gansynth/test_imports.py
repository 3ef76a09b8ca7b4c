"""Import rules: gansynth does not import Beam, and TensorFlow is imported only to load a checkpoint."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gansynth

ROOT = Path(__file__).parents[2]
HEAVY = {"tensorflow", "apache_beam", "magenta", "librosa", "matplotlib"}


def loaded(code: str) -> set[str]:
    """Runs `code` in a new interpreter; returns the heavy packages that it has loaded."""
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
        "from gansynth.io import archives, cache, files, listing, paths, records, retry, urls",
    ],
)
def test_starts_without_tensorflow_and_beam(code: str) -> None:
    assert not loaded(code) & {"tensorflow", "apache_beam", "magenta"}


def test_the_process_that_starts_others_imports_no_beam() -> None:
    assert "apache_beam" not in loaded("import pipeline.run, pipeline.local.pool, pipeline.local.fork_server")


def modules(package: str) -> dict[str, Path]:
    """Finds every module of a package by its dotted name."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    """Finds the dotted names that a file imports, at any depth; both a and a.b for `from a import b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_the_whole_package_knows_no_beam() -> None:
    assert len(modules("gansynth")) > 30
    assert "apache_beam" not in loaded("\n".join(f"import {name}" for name in modules("gansynth")))


LAYERS = {
    "io": set(),
    "audio": {"io"},
    "midi": {"io"},
    "model": {"io"},
    "score": {"midi", "audio", "model", "io"},
    "figures": {"score", "midi", "io"},
    "rendering": {"figures", "score", "audio", "model", "midi", "io"},
}
"""The packages of gansynth, each with those that it may import; the files at the top may be imported by all."""


@pytest.mark.parametrize("package", LAYERS)
def test_packages_import_downwards_alone(package: str) -> None:
    allowed = LAYERS[package] | {package}
    for name, path in modules(f"gansynth/{package}").items():
        used = {
            part[1] for part in (item.split(".") for item in imports(path)) if part[0] == "gansynth" and len(part) > 1
        }
        assert used & set(LAYERS) <= allowed, name
        assert not {item.split(".")[0] for item in imports(path)} & {"transforms", "pipeline", "training"}, name


def test_every_package_has_a_layer() -> None:
    assert {path.parent.name for path in (ROOT / "gansynth").glob("*/__init__.py")} == set(LAYERS)
    assert not set(LAYERS) & {part for path in (ROOT / "gansynth").glob("*.py") for part in imports(path)}


def test_the_architecture_page_has_the_same_layers() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \|([^|]*)\|$", page.split("Inside `gansynth`:")[1].split("\n\nAll")[0], re.M
    )
    assert {package: set(re.findall(r"`(\w+)`", below)) for package, below in rows} == LAYERS


def test_layers_above_import_downwards_alone() -> None:
    for package, above in (("transforms", {"pipeline"}), ("pipeline", set()), ("training", {"benchmarks"})):
        for name, path in modules(package).items():
            assert not {item.split(".")[0] for item in imports(path)} & above, name


def test_public_names() -> None:
    assert set(gansynth.__all__) >= {"Synthesizer", "load_midi", "random_latents", "render", "slerp"}
    for name in gansynth.__all__:
        assert getattr(gansynth, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gansynth.nothing  # noqa: B018
