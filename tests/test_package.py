"""The wheel: everything that a run needs is in it, and its command renders the example songs where no checkout is."""

from __future__ import annotations

import json
import re
import zipfile
from email.parser import Parser
from pathlib import Path

from tests.support.packages import PACKAGES, ROOT, run


def test_the_wheel_has_all_files_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}
    kept = {path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file() and path.suffix != ".pyc"}
    pictures = set((ROOT / "gansynth" / "mini" / "card").iterdir())  # they stay in the repository
    assert names == {path.relative_to(ROOT).as_posix() for path in kept - pictures}
    assert len([name for name in names if name.endswith(".mid")]) == 3


def test_its_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert (metadata["Name"], metadata["License-Expression"]) == ("gansynth-beam", "Apache-2.0")
    assert set(metadata["Requires-Python"].split(",")) == {">=3.10", "<3.14"}
    assert set(metadata.get_all("Provides-Extra", [])) == {"gpu", "reference", "dev"}
    needed = {re.split(r"[^\w-]", line)[0] for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    lock = (ROOT / "requirements" / "render.txt").read_text()
    assert {"apache-beam", "tensorflow", "typing-extensions"} <= needed
    assert {name for name in needed if f"\n{name}==" not in lock and f"\n{name}[" not in lock} == set()


def test_its_command_alone_renders_the_examples(installed: Path, tmp_path: Path) -> None:
    done = run(str(installed.with_name("gansynth-beam")), cwd=tmp_path)
    assert "3 of 3 songs rendered" in done.stderr + done.stdout
    assert "index.html" in done.stderr + done.stdout
    rows = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    for row in rows:
        assert row["source"].startswith(str(installed.parents[1]))
        assert (tmp_path / "out" / row["outputs"]["audio"]).stat().st_size == row["bytes"]["audio"]
    assert (tmp_path / "out" / "index.html").exists()
