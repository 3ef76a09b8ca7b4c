"""The workers' image, as far as it can be held to something without building it."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import yaml

from pipeline import dataflow

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_what_is_copied_is_there_and_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = []
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        copied += line.split()[:-1]
    assert set(copied) == kept
    assert all((ROOT / name).exists() for name in copied)
    packages = re.search(r"packages=\[(.*?)\]", (ROOT / "setup.py").read_text())
    assert packages is not None
    assert set(re.findall(r'"(\w+)"', packages[1])) <= kept


def test_beam_is_the_locked_one() -> None:
    (beam,) = re.findall(r"^ARG BEAM=(.+)$", DOCKERFILE, re.MULTILINE)
    assert beam == version("apache-beam")
    assert f"\napache-beam=={beam} " in (ROOT / "requirements" / "gpu.txt").read_text()


def test_the_gpu_lock_is_the_renderers_and_cuda() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text()
        return set(re.findall(r"^([\w.\[\]-]+==[^\s;]+)", text, re.MULTILINE))

    extra = pins("gpu.txt") - pins("render.txt")
    assert pins("render.txt") <= pins("gpu.txt")
    assert {"nvidia-cudnn-cu12", "nvidia-cublas-cu12"} <= {pin.split("==")[0] for pin in extra}
    assert all(pin.startswith("nvidia-") for pin in extra), extra


def test_it_is_put_where_jobs_look_for_it() -> None:
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
    image = build["substitutions"]["_IMAGE"]
    for name, value in (("LOCATION", "REGION"), ("PROJECT_ID", "PROJECT"), ("_TAG", build["substitutions"]["_TAG"])):
        image = image.replace(f"${{{name}}}", value)
    python = build["substitutions"]["_PYTHON"]
    assert image == dataflow.IMAGE.format(
        region="REGION", project="PROJECT", version=version("gansynth-beam"), python=python.replace(".", "")
    )
    assert f"ARG PYTHON={python}" in DOCKERFILE
    assert image in DOCKERFILE


def test_it_runs_beam_as_no_root() -> None:
    lines = DOCKERFILE.splitlines()
    assert lines[-1] == 'ENTRYPOINT ["/opt/apache/beam/boot"]'
    assert "USER worker" in lines[lines.index("RUN useradd --create-home --uid 1000 worker") :]
    assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in DOCKERFILE
