"""What is known of a checkpoint without TensorFlow: found once, never out of date, never trusted when damaged."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gansynth.io import cache
from gansynth.model import kernels
from gansynth.model.findings import KnownModel, known_model
from gansynth.model.synthesizer import Synthesizer

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a checkpoint's folder; nothing is known of it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(data / "checkpoints" / "tiny", tmp_path / "tiny"))


def known(folder: Path) -> KnownModel | None:
    return known_model(str(folder), "float32", False, "auto")


def test_a_checkpoint_is_known_after_it_was_loaded_and_compared(folder: Path) -> None:
    assert known(folder) is None
    synth = Synthesizer.from_checkpoint(folder)
    assert known(folder) is None
    assert synth.serves_shorter in (True, False)
    found = known(folder)
    assert found == KnownModel(synth.shape, synth.digest, synth.collection, synth.serves_shorter)
    (folder / "notes.txt").write_text("not a file of the checkpoint")
    assert known(folder) == found
    assert known_model(str(folder), "bfloat16", False, "auto") is None


def test_nothing_is_known_of_changed_files(folder: Path) -> None:
    assert Synthesizer.from_checkpoint(folder).serves_shorter is not None
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix in (".yaml", ".md"):
            continue
        content = path.read_bytes()
        assert known(folder) is not None
        path.write_bytes(content[:-2] + b"  ")
        assert known(folder) is None, path
        path.write_bytes(content)
    assert known(folder) is not None
    (folder / "experiment.json").unlink()
    assert known(folder) is None


@pytest.mark.parametrize("kind", ["digests", "kernels"])
@pytest.mark.parametrize("content", [b"", b"sha256:junk", b"\xff", b"perhaps"])
def test_a_damaged_finding_is_found_again(kind: str, content: bytes, folder: Path) -> None:
    verdict = Synthesizer.from_checkpoint(folder).serves_shorter
    (path,) = (cache.user_folder() / kind).iterdir()
    path.write_bytes(content)
    assert known(folder) is None
    assert Synthesizer.from_checkpoint(folder).serves_shorter == verdict
    assert known(folder) is not None


def test_kernels_that_differ_between_buckets_are_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synth = Synthesizer.from_checkpoint(folder)
    waves = synth._network.waves
    *_, longest = synth.shape.ladder
    monkeypatch.setattr(
        synth._network, "waves", lambda z, labels, rows: waves(z, labels, rows) * (1.0 + 1e-7 * (rows < longest))
    )
    assert not synth.serves_shorter
    again = Synthesizer.from_checkpoint(folder)
    assert not again.serves_shorter  # as kept
    sound = (bytes(4 * synth.latent_size), 60)
    assert again.key((sound, 16)) == (sound, 16)


def collection(digest: str, precision: str = "float32", xla: bool = False) -> str:
    return kernels.collection_of(digest, kernels.signature(precision, xla, on_gpu=False))


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS"])
def test_other_kernels_have_other_sounds(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {collection("sha256:0"), collection("sha256:0")}
    names |= {collection("sha256:1"), collection("sha256:0", "bfloat16"), collection("sha256:0", xla=True)}
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")  # no matter of kernels
    names.add(collection("sha256:0"))
    assert len(names) == 4
    monkeypatch.setenv(variable, "0")
    assert collection("sha256:0") not in names


def test_the_signature_names_what_renders() -> None:
    found = kernels.signature("float32", xla=False, on_gpu=False)
    assert "tensorflow" in found["packages"]
    assert found["processor"]["machine"]
    assert found["gpu"] == []


def test_known_models_need_no_tensorflow(folder: Path) -> None:
    assert Synthesizer.from_checkpoint(folder).serves_shorter is not None
    code = (
        "import sys; from gansynth.model.findings import known_model\n"
        f"assert known_model({str(folder)!r}, 'float32', False, 'auto')\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
