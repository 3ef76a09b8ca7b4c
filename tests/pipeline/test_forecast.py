"""The forecast agrees with the following rendering in songs, failures, notes, sounds and seconds."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gansynth.model.shape import NoteShape, shape_of
from pipeline.__main__ import EXAMPLES, main
from pipeline.config import JobConfig, PlanConfig, PricesConfig, load_config
from pipeline.forecast.calibrate import Calibration
from pipeline.forecast.count import _Sample, make_forecast
from pipeline.forecast.distinct import DistinctKeys
from pipeline.forecast.forecast import Forecast
from pipeline.forecast.text import as_text
from pipeline.run import run
from tests.support.pages import BROKEN
from tests.support.processes import run_without_tensorflow
from transforms.elements import Source

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
QUICK = ("compute.sound_bank=off", "spectrogram.png=false", "piano_roll.png=false", "compute.workers=1")
_numbers = itertools.count(1 << 30)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    shutil.copytree(EXAMPLES, folder)
    for name, content in BROKEN.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def both(
    corpus: Path, out: Path, checkpoint: str, settings: Sequence[str] = ()
) -> tuple[Forecast, JobConfig, Counter[str], Path]:
    fresh = f"compute.cache_bytes={next(_numbers)}"  # a new model, with an empty cache
    given = [*QUICK, f"checkpoint={checkpoint}", fresh, *settings]
    config = load_config(None, given, [str(corpus)], str(out / "out"))
    planned = make_forecast(config, quiet=True, calibrated=False, save=str(out / "plan"))
    assert not (out / "out").exists()
    return planned, config, Counter(run(config, quiet=True).counters), out


def check_the_same(planned: Forecast, config: JobConfig, counters: Counter[str], out: Path) -> None:
    rendered, failed = lines(out / "out" / "manifest.jsonl"), lines(out / "out" / "errors.jsonl")
    rows = {row["song_id"]: row for row in lines(out / "plan" / "plan.jsonl")}
    assert (planned.files, planned.songs, planned.failed) == (len(rows), len(rendered), len(failed))
    for error in failed:
        row = rows[error["song_id"]]
        assert row["audio"] is None
        assert all(row[name] == error[name] for name in ("code", "stage", "message", "digest", "source"))
    for song in rendered:
        row = rows[song["song_id"]]
        assert (row["seconds"], row["source_digest"]) == (song["seconds"], song["source_digest"])
        assert row["audio"] == str(out / "out" / song["outputs"]["audio"])
        assert row["notes"] == {name: song["notes"][name] for name in row["notes"]}
        assert row["instruments"] == sorted(set(song["instruments"]))
    assert planned.notes["played"] == counters["notes_played"] == counters["synthesis_notes"] + counters["notes_muted"]
    # Among more notes than are looked through at once, a sound may be rendered again when it is asked for longer.
    again = 1 if counters["synthesis_notes"] <= config.compute.batch_notes else 2
    assert planned.distinct <= counters["synthesis_rendered"] <= planned.distinct * again
    assert planned.seconds == pytest.approx(sum(song["seconds"] for song in rendered))
    assert planned.reasons == Counter(error["code"] for error in failed)
    assert planned.repairs == Counter(name for song in rendered for name in song["repairs"])
    assert planned.ignored == sum((Counter(song["ignored"]) for song in rendered), Counter())


@pytest.mark.parametrize("settings", [(), ("instruments.mode=interpolate", "instruments.latent_steps=8")])
def test_render_does_what_was_planned(settings: Sequence[str], songs: Path, tiny: str, tmp_path: Path) -> None:
    planned, config, counters, out = both(songs, tmp_path, tiny, settings)
    assert planned.failed == len(BROKEN)
    assert planned.exit_code == 3
    check_the_same(planned, config, counters, out)

    again = make_forecast(config, quiet=True, calibrated=False)
    assert (again.songs, again.finished, again.failed) == (0, planned.songs, planned.failed)
    assert make_forecast(config, quiet=True, calibrated=False, overwrite=True).songs == planned.songs


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["midi", "corpus/js-fakes"])
def test_render_does_what_was_planned_with_real_files(corpus: str, tiny: str, tmp_path: Path) -> None:
    if not (SHARED / corpus).is_dir():
        pytest.skip(f"needs the files of ../shared/{corpus}")
    found = sorted(path for path in (SHARED / corpus).rglob("*") if path.suffix.lower().startswith(".mid"))[:100]
    (tmp_path / "list").write_text("".join(f"{path}\n" for path in found))
    check_the_same(*both(Path(f"@{tmp_path / 'list'}"), tmp_path, tiny))


def test_a_plan_needs_no_tensorflow_and_writes_nothing(songs: Path, tmp_path: Path) -> None:
    arguments = ["plan", str(songs), "--output", str(tmp_path / "out"), "--no-calibration"]
    done = run_without_tensorflow(arguments)
    assert done.returncode == 3, done.stderr
    assert "3 to render" in done.stdout
    assert "midi-not-midi" in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sav", "x"], "unknown option; did you mean --save"),
        (["--set", "checkpoint=/nowhere"], "no such folder"),
        (["--set", "instruments.tracks={a: kazoo}"], "no instrument 'kazoo'"),
        (
            ["--set", "envelope.max_sustain=30", "--set", "envelope.long_notes=cut"],
            "longer than the checkpoint's notes",
        ),
        (["--set", "drums.kit=/nowhere"], "drums.kit /nowhere"),
        (["--input", "/nowhere/*.mid"], "the folder /nowhere does not exist"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_time_is_measured_by_rendering_a_few_songs(tiny: str, tmp_path: Path) -> None:
    config = load_config(None, [*QUICK, f"checkpoint={tiny}"], [str(EXAMPLES)], str(tmp_path / "out"))
    planned = make_forecast(config, quiet=True, save=str(tmp_path))
    calibration = planned.calibration
    assert calibration is not None
    assert set(calibration.sound) == set(planned.sounds)
    assert min(calibration.startup, calibration.minute, *calibration.sound.values()) > 0
    assert planned.seconds_here is not None
    assert planned.seconds_here > calibration.startup
    assert json.loads((tmp_path / "plan.json").read_text())["seconds_on_this_machine"] == planned.seconds_here
    assert not (tmp_path / "out").exists()


PLAN = Forecast(
    files=10,
    songs=10,
    seconds=7200.0,
    notes=Counter(total=100_000, played=100_000),
    sounds={16: 500, 112: 500},
    gflop=3600.0,
    runner="DataflowRunner",
    workers=4,
    slices=4,
    calibration=Calibration(startup=10.0, sound={16: 0.01, 112: 0.07}, minute=0.5),
)
PRICES = PricesConfig(date="1 May 2026", worker_hour=0.25, gpu_worker_hour=1.0, shuffle_gb=0.01, storage_gb_month=0.02)


def test_time_and_cost_by_hand() -> None:
    # Network: 5 + 35 s in one process for all four; the rest, 60 s, is shared by the four.
    assert PLAN.seconds_here == pytest.approx(10 + 40 + 60 / 4)
    gpu = JobConfig.model_validate({"compute": {"resource_hints": {"accelerator": "type:nvidia-l4"}}})
    gpu = gpu.model_copy(update={"plan": PlanConfig(gpu_gflops=2.0, prices=PRICES)})
    amounts = PLAN.dataflow(gpu)
    assert amounts["worker_hours"] == pytest.approx(60 / 3600)
    assert amounts["gpu_worker_hours"] == pytest.approx((1800 + 2.4) / 3600)
    assert amounts["shuffled_gb"] == pytest.approx(0.29)
    assert amounts["cost"] == pytest.approx(60 / 3600 * 0.25 + 1802.4 / 3600 + 0.0029)
    assert "USD (prices of 1 May 2026)" in as_text(PLAN, gpu)
    unknown = gpu.model_copy(update={"plan": PlanConfig(prices=PRICES)})
    assert PLAN.dataflow(unknown)["cost"] is None
    assert "unknown, set plan.gpu_gflops" in " ".join(as_text(PLAN, unknown).split())
    cpu = PLAN.dataflow(JobConfig(plan=PlanConfig(prices=PRICES)))
    assert cpu["cost"] == pytest.approx((60 + 40 + 2.4) / 3600 * 0.25 + 0.0029)
    assert PLAN.dataflow(JobConfig())["cost"] is None


def test_processes_share_slices() -> None:
    few = replace(
        PLAN, slices=2, calibration=Calibration(startup=10.0, sound={16: 0.0, 112: 0.0}, minute=0.5, slice=3.0)
    )
    assert few.seconds_here == pytest.approx(10 + (60 + 2 * 3) / 2)
    assert replace(few, slices=8).seconds_here == pytest.approx(10 + (60 + 8 * 3) / 4)


def test_the_sample_is_spread_over_the_corpus() -> None:
    sample = _Sample()
    for i in range(1000):
        status = "planned" if i % 10 else "failed"
        sample.add(Source(f"{i}.mid", f"{i}.mid", 1), {"status": status, "seconds": 20.0})
    numbers = sorted(int(source.song_id.removesuffix(".mid")) for source in sample.chosen())
    assert len(numbers) == 8
    assert numbers[0] < 200
    assert numbers[-1] > 750
    lone = _Sample()
    lone.add(Source("a", "a", 1), {"status": "planned", "seconds": 3000.0})
    assert len(lone.chosen()) == 1


def test_a_pipe_gets_whole_lines_and_unused_rules(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--set", f"checkpoint={tiny}", "--set", "instruments.programs={0: 3, 119: 5}", "--no-calibration"]
    assert main(["plan", str(EXAMPLES), "-o", str(tmp_path / "out"), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    (told,) = [line for line in lines if line.startswith("Unused")]
    assert "no program of these songs matched 119, or other rules came first" in told
    assert any(len(line) > 100 and " -> " in line for line in lines)


def test_outcomes_are_told() -> None:
    counts = Counter(total=300, played=100, drums_skipped=198, folded=2, bent=0)
    told = Forecast(songs=1, notes=counts, ignored=Counter(nrpn=3), repairs=Counter(hanging_notes=1))
    text = " ".join(as_text(told, JobConfig()).split())
    assert "100 played (2 folded into range by octaves; 198 drum notes skipped)" in text
    assert "Events 3 MIDI events ignored: 3 nrpn" in text
    assert "Repairs hanging_notes (1)" in text
    values = json.loads(told.to_json(JobConfig()))
    assert (values["ignored"], values["repairs"]) == ({"nrpn": 3}, {"hanging_notes": 1})
    nothing = as_text(Forecast(songs=1, notes=Counter(played=1)), JobConfig())
    assert not {"Events", "Repairs"} & set(nothing.split())


def test_names_cannot_do_anything_on_a_terminal() -> None:
    name = "[red]\x1b[2J\u202eevil.mid"
    hostile = Forecast(songs=1, failed=1, failures=[(name, "internal", name)], paths=[(name, name)])
    hostile.reasons["internal"] = 1
    text = as_text(hostile, JobConfig())
    assert "[red]" in text
    assert not {"\x1b", "\u202e"} & set(text)


@pytest.mark.parametrize("limit", [100, 10**6])
def test_distinct_sounds_in_bounded_memory(limit: int, tmp_path: Path) -> None:
    shape, _ = shape_of("mini")
    random = np.random.RandomState(0)
    keys = (random.randint(0, len(shape.ladder), 5000).astype(np.uint64) << np.uint64(60)) | random.randint(
        0, 2000, 5000
    ).astype(np.uint64)
    counter = DistinctKeys(tmp_path, limit)
    for part in np.split(keys, 50):
        counter.add(part)
    assert bool(list(tmp_path.glob("*.keys"))) == (limit == 100)
    longest: dict[int, int] = {}
    for key in keys.tolist():
        name, place = key & ((1 << 60) - 1), key >> 60
        longest[name] = max(place, longest.get(name, 0))
    expected = Counter(list(shape.ladder)[place] for place in longest.values())
    assert counter.counts(shape) == expected
    assert DistinctKeys(tmp_path / "none").counts(shape) == {}


def test_operations_are_counted_as_the_benchmark_counts_them() -> None:
    from benchmarks.synthesis import convolution_flop
    from gansynth.model.layout import ModelConfig

    config = ModelConfig(
        latent_vector_size=256, start_height=2, start_width=16, num_resolutions=7, fmap_base=4096, fmap_max=256
    )
    shape = NoteShape(config, "acoustic_only")
    for rows in shape.ladder:
        assert shape.flop(rows) == convolution_flop(config.model_dump(), rows)
    assert convolution_flop(config.model_dump(), 128, taps_after_upscaling=9) / 1e9 == pytest.approx(28.1, abs=0.05)
    assert shape.flop(128) / 1e9 == pytest.approx(18.3, abs=0.05)
    assert shape.flop(128, 6) / shape.flop(128) == pytest.approx(0.75, abs=0.01)  # an earlier stage has one block fewer
