"""Processes that do not know each other find one model server by a file that only their user may read."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gansynth.errors import ConfigError
from gansynth.model import machine
from gansynth.model.server import ask_server
from gansynth.model.synthesizer import Synthesizer

LOAD = functools.partial(Synthesizer.from_checkpoint, "mini", threads=1)


def process_of(synth: Synthesizer) -> int:
    return os.getpid()


def join(folder: str) -> tuple[int, Any]:
    """Joins a server as a process of its own; returns the server's process and its address."""
    multiprocessing.current_process().authkey = os.urandom(32)  # as processes of different parents have
    address = machine.join(LOAD, "mini", folder)
    return ask_server(address, LOAD, process_of), address


@pytest.fixture
def key() -> Iterator[None]:
    before = bytes(multiprocessing.current_process().authkey)
    yield
    multiprocessing.current_process().authkey = before


def process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def test_one_server_serves_all_until_the_one_that_started_it_ends(tmp_path: Path, key: None) -> None:
    folder = str(tmp_path)
    with process() as other:
        with process() as starter:
            server, address = starter.submit(join, folder).result()
            assert other.submit(join, folder).result() == (server, address)
            (file,) = tmp_path.glob("gansynth-models-*/*.json")
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
            keys = {json.loads(file.read_text())["key"]}
        later, _ = other.submit(join, folder).result()
        assert later != server
        keys.add(json.loads(file.read_text())["key"])
        assert len(keys) == 2
        with pytest.raises(multiprocessing.AuthenticationError):
            machine.BaseManager(address=json.loads(file.read_text())["socket"], authkey=b"mps").connect()


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_a_folder_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / f"gansynth-models-{os.getuid()}"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ConfigError, match="only this user may use"):
        machine.join(LOAD, "mini", str(tmp_path))


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    (tmp_path / f"gansynth-models-{os.getuid()}").symlink_to(tmp_path / "theirs")
    with pytest.raises(ConfigError, match="only this user may use"):
        machine.join(LOAD, "mini", str(tmp_path))
