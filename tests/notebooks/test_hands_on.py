"""The notebook runs unchanged in a new kernel, and its outputs contain audio and pictures."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import soundfile
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "hands_on.ipynb"


@pytest.fixture(scope="module")
def outputs() -> dict[str, list[Any]]:
    """Runs the notebook; returns the outputs of each cell, by its id."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOK.parents[1])}}
    NotebookClient(notebook, timeout=500, kernel_name="python3", resources=resources).execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def sounds(cell: list[Any]) -> list[np.ndarray]:
    found = (
        re.search(r'src="data:audio/wav;base64,([^"]+)"', output.data["text/html"])
        for output in cell
        if "text/html" in output.get("data", {})
    )
    return [soundfile.read(io.BytesIO(base64.b64decode(match[1])))[0] for match in found if match]


def picture(cell: list[Any]) -> np.ndarray:
    (data,) = (output.data["image/png"] for output in cell)
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image.convert("RGB"))


def test_ten_instruments_are_heard_and_no_two_are_alike(outputs: dict[str, list[Any]]) -> None:
    heard = sounds(outputs["audition"])
    assert [len(sound) for sound in heard] == [64000] * 10
    assert min(np.abs(sound).max() for sound in heard) > 0.5
    spectra = np.array([np.abs(np.fft.rfft(sound)) for sound in heard])
    spectra /= np.linalg.norm(spectra, axis=1, keepdims=True)
    assert (spectra @ spectra.T)[~np.eye(10, dtype=bool)].max() < 0.999


def test_the_song_is_heard(outputs: dict[str, list[Any]]) -> None:
    (strip,) = sounds(outputs["interpolate"])
    assert len(strip) == 7 * 8000
    (song,) = sounds(outputs["play"])
    assert 20 * np.log10(np.sqrt((song**2).mean())) > -40
    text = outputs["load"][0].data["text/markdown"]
    rings = len(song) / 16000 - float(re.findall(r"in (\d+) seconds", text)[0])
    assert -1 < rings < 5  # the last note is a cymbal's


def test_the_pictures_are_there(outputs: dict[str, list[Any]]) -> None:
    roll, spectrogram = picture(outputs["piano_roll"]), picture(outputs["cqt"])
    assert roll.shape[1] == spectrogram.shape[1] == 1200
    assert roll.std() > 5
    assert spectrogram.std() > 20


def test_nothing_but_pictures_and_sound_is_put_out(outputs: dict[str, list[Any]]) -> None:
    assert not [output for cell in outputs.values() for output in cell if output.output_type in ("stream", "error")]


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert NOTEBOOK.stat().st_size < 20_000
    assert {"load", "audition", "choose", "interpolate", "render", "play", "piano_roll", "cqt"} <= {c.id for c in code}
