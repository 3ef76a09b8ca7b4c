"""The command `report`: lists and page of an output folder from what its jobs have left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.lock import Lock
from transforms.elements import Source

DATA = Path(__file__).parents[1] / "data"
MADE = ("manifest.jsonl", "errors.jsonl", "index.html")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with three songs and a file that failed."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "in").mkdir()
    for name in ("melody", "order", "tempo", "not_midi"):
        shutil.copy(DATA / "midi" / f"{name}.mid", folder / "in")
    options = ["--set", f"checkpoint={DATA / 'checkpoints' / 'tiny'}", "--quiet"]
    assert main(["render", str(folder / "in"), "--output", str(folder / "out"), *options]) == 3
    return folder / "out"


@pytest.fixture
def out(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "out"))


def test_lists_and_page_are_made_of_records(out: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in MADE:
        (out / name).unlink()
    left = out / ".rows" / "0123456789ab"
    left.mkdir(parents=True)
    sources = [Source(name, f"/in/{name}") for name in ("melody.mid", "not_midi.mid", "order.mid", "tempo.mid")]
    lines = [json.dumps([source.song_id, source.url, source.size, source.problem]) for source in sources]
    (left / "inputs.list").write_text("\n".join(lines) + "\n")
    assert main(["report", str(out)]) == 3
    assert "3 of 4 songs rendered" in capsys.readouterr().err
    assert (out / "manifest.jsonl").read_bytes() == (done / "manifest.jsonl").read_bytes()
    (error,) = map(json.loads, (out / "errors.jsonl").read_text().splitlines())
    assert (error["song_id"], error["code"]) == ("not_midi.mid", "job-stopped")
    assert "failed or was cancelled" in error["message"]
    assert "melody" in (out / "index.html").read_text()
    assert not (out / ".rows").exists()
    assert not (out / ".lock").exists()


def test_what_is_complete_stays_as_it_is(out: Path, done: Path) -> None:
    for _ in range(2):
        assert main(["report", str(out), "--quiet"]) == 3
        assert {name: (out / name).read_bytes() for name in MADE[:2]} == {
            name: (done / name).read_bytes() for name in MADE[:2]
        }


def test_a_song_that_was_finished_after_a_failed_job_counts(out: Path, done: Path) -> None:
    (row, *rest) = map(json.loads, (out / "manifest.jsonl").read_text().splitlines())
    (out / "manifest.jsonl").write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rest))
    stopped = {"code": "job-stopped", "digest": "", "error": "JobStopped", "message": "", "stage": "mix", "trace": ""}
    errors = [stopped | {"song_id": row["song_id"], "source": row["source"]}]
    errors += map(json.loads, (out / "errors.jsonl").read_text().splitlines())
    (out / "errors.jsonl").write_text("".join(json.dumps(error) + "\n" for error in errors))
    assert main(["report", str(out), "--quiet"]) == 3
    assert all((out / name).read_bytes() == (done / name).read_bytes() for name in MADE[:2])


def test_refusals(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "no job has rendered songs into this folder" in capsys.readouterr().err
    with Lock(str(out), lambda _: None):
        assert main(["report", str(out)]) == 2
    assert "another job is writing into this folder" in capsys.readouterr().err
    assert main(["report", str(out), "--runer=x"]) == 2
    assert "did you mean --runner?" in capsys.readouterr().err
