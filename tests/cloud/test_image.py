"""The workers' image, as far as it can be checked without building it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from pipeline import dataflow

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_what_is_copied_is_there_and_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = []
    for line in re.findall(r"^COPY (?!--from)(?:--chown=\w+ )?(.+)$", DOCKERFILE, re.MULTILINE):
        copied += line.split()[:-1]
    assert set(copied) == kept
    assert all((ROOT / name).exists() for name in copied)
    packages = re.findall(r'"(\w+)\*"', (ROOT / "pyproject.toml").read_text())
    assert {"gansynth", "transforms", "pipeline"} == set(packages) <= kept


def test_beam_is_the_locked_one() -> None:
    (beam,) = re.findall(r"^ARG BEAM=(.+)$", DOCKERFILE, re.MULTILINE)
    assert beam == version("apache-beam")
    assert f"\napache-beam=={beam} " in (ROOT / "requirements" / "gpu.txt").read_text()


def test_the_gpu_lock_is_the_renderers_and_cuda() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text()
        return set(re.findall(r"^([\w.\[\]-]+==[^\s;]+)", text, re.MULTILINE))

    extra = pins("gpu.txt") - pins("render.txt")
    assert {pin.split("==")[0] for pin in pins("render.txt") - pins("gpu.txt")} <= {"tensorflow-cpu"}
    assert {"nvidia-cudnn-cu12", "nvidia-cublas-cu12"} <= {pin.split("==")[0] for pin in extra}
    assert all(pin.startswith("nvidia-") for pin in extra), extra


def test_it_is_put_where_jobs_look_for_it() -> None:
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
    image = build["substitutions"]["_IMAGE"]
    for name, value in {"LOCATION": "REGION", "PROJECT_ID": "PROJECT", **build["substitutions"]}.items():
        image = image.replace(f"${{{name}}}", value)
    python = build["substitutions"]["_PYTHON"]
    facts = {"version": version("gansynth-beam"), "python": python.replace(".", "")}
    for name in ("worker", "worker-cpu"):
        wanted = dataflow.IMAGE.format(region="REGION", project="PROJECT", name=name, **facts)
        assert wanted == image.replace("/worker:", f"/{name}:")
        assert wanted in DOCKERFILE
    assert f"ARG PYTHON={python}" in DOCKERFILE
    assert f"ARG LOCK={build['substitutions']['_LOCK']}" in DOCKERFILE


def test_beam_has_no_virtual_environment_of_its_own() -> None:
    assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in DOCKERFILE


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Returns a temporary folder that other users may read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_it_runs_beam_as_no_root(open_folder: Path) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("becoming another user needs root, and setpriv")
    worker = DOCKERFILE.partition("FROM worker AS launcher")[0]
    assert worker.splitlines()[-2:] == ['ENTRYPOINT ["/opt/docker-entrypoint.sh"]', ""]
    script = shutil.copy(ROOT / "docker-entrypoint.sh", open_folder)
    boot = open_folder / "boot"
    boot.write_text('#!/bin/sh\nid -un; id -G; echo "$HOME"; echo "$@"; echo job > "${1#*=}/staged/pickled"\n')
    boot.chmod(0o755)
    mounted = open_folder / "mounted"  # as Dataflow's: root's
    mounted.mkdir(mode=0o755)
    arguments = [f"--semi_persist_dir={mounted}", "--id=sdk-0-0", "--x=a b"]
    environment = os.environ | {"BEAM_BOOT": str(boot), "BEAM_USER": "nobody"}
    for _ in range(2):  # a restarted container finds the files of its first run
        done = subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        user, groups, home, given = done.stdout.splitlines()
        assert (user, home, given) == ("nobody", "/home/nobody", " ".join(arguments))
        assert "0" not in groups.split()
    assert (mounted / "staged" / "pickled").read_text() == "job\n"
