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
        re.search(r'src="data:audio/mpeg;base64,([^"]+)"', output.data["text/html"])
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
    heard = [sound[:64000] for sound in heard]  # MP3 ends with a whole frame
    assert [len(sound) for sound in heard] == [64000] * 10
    assert min(np.abs(sound).max() for sound in heard) > 0.5
    spectra = np.array([np.abs(np.fft.rfft(sound)) for sound in heard])
    spectra /= np.linalg.norm(spectra, axis=1, keepdims=True)
    assert (spectra @ spectra.T)[~np.eye(10, dtype=bool)].max() < 0.999


def test_the_song_is_heard(outputs: dict[str, list[Any]]) -> None:
    (strip,) = sounds(outputs["interpolate"])
    assert 0 <= len(strip) - 7 * 8000 < 3000
    (song,) = sounds(outputs["play"])
    assert 20 * np.log10(np.sqrt((song**2).mean())) > -40
    text = outputs["load"][0].data["text/markdown"]
    rings = len(song) / 16000 - float(re.findall(r"in (\d+) seconds", text)[0])
    assert -1 < rings < 5  # the last note is a cymbal's


def test_it_says_truly_what_it_plays(outputs: dict[str, list[Any]]) -> None:
    text = outputs["load"][0].data["text/markdown"]
    tracks = re.findall(r"^- (.+): (\d+) notes, (.+)$", text, re.MULTILINE)
    assert [name for name, _, _ in tracks] == ["Electric piano", "Bass", "Organ", "Flute", "Vibraphone", "Drums"]
    assert tracks[-1][2] == "drums"
    assert sum(int(count) for _, count, _ in tracks) == int(re.findall(r"\*\*(\d+) notes", text)[0])
    prose = "".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells)
    assert "six tracks: electric piano, bass, organ, flute, vibraphone and drums" in prose
    assert re.findall(r"^(\d)\. \*\*", prose.partition("## Exercises")[2], re.MULTILINE) == ["1", "2", "3"]


def test_the_pictures_are_there(outputs: dict[str, list[Any]]) -> None:
    roll, spectrogram = picture(outputs["piano_roll"]), picture(outputs["cqt"])
    assert roll.shape[1] == spectrogram.shape[1] == 1200
    assert roll.std() > 5
    assert spectrogram.std() > 20
    assert picture(outputs["map"]).std() > 20
    assert picture(outputs["waveform"]).std() > 20
    assert len(sounds(outputs["point"])) == 1


def test_nothing_but_pictures_and_sound_is_put_out(outputs: dict[str, list[Any]]) -> None:
    assert not [output for cell in outputs.values() for output in cell if output.output_type in ("stream", "error")]


def test_it_is_kept_with_outputs(outputs: dict[str, list[Any]]) -> None:
    """Its sounds are those of now, as nearly as MP3 has them: else run notebooks/run.py again."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    kept = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    assert NOTEBOOK.stat().st_size < 2_000_000
    assert {name: len(cell) for name, cell in kept.items()} == {name: len(cell) for name, cell in outputs.items()}
    assert kept["load"][0].data == outputs["load"][0].data
    for name in ("audition", "interpolate", "play", "point"):
        for old, new in zip(sounds(kept[name]), sounds(outputs[name]), strict=True):
            assert len(old) == len(new)
            assert np.abs(old - new).mean() < 0.05
