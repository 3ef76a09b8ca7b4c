"""Training on a folder of WAV files: notes that are found, files that are rejected, and the resulting voice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from training import analysis, prepare, render, targets, tuning

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "training" / ".venv" / "bin" / "python"


def sound(pitch: int, strength: list[float], rate: int = 16000, seconds: float = 2.0, decay: float = 0.0) -> np.ndarray:
    """Makes a harmonic note after 0.1 s of silence."""
    time = np.arange(int(seconds * rate)) / rate
    f0 = targets.frequency(pitch)
    waves = [a * np.cos(2 * np.pi * (h + 1) * f0 * time + h) for h, a in enumerate(strength)]
    return np.concatenate([np.zeros(rate // 10), np.sum(waves, axis=0) * np.exp(-decay * time)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes three instruments in each of the naming schemes, with different sample rates and channels."""
    made = tmp_path_factory.mktemp("sounds")
    for pitch in (48, 60, 72):
        left = sound(pitch, [0.4, 0.2, 0.1], 44100, decay=2.0)
        soundfile.write(made / f"bell_{pitch}.wav", np.stack([left, -0.5 * left], axis=1), 44100)
    (made / "nsynth").mkdir()
    for velocity, strength in ((25, [0.05]), (127, [0.3, 0.0, 0.15])):
        soundfile.write(made / "nsynth" / f"reed_acoustic_001-055-{velocity:03}.wav", sound(55, strength), 16000)
    soundfile.write(made / "nsynth" / "take one.WAV", sound(40, [0.1, 0.3], 22050), 22050, format="WAV")
    facts = {"take one": {"pitch": 40, "instrument_str": "drone"}, "not here": {"pitch": 41}}
    (made / "nsynth" / "examples.json").write_text(json.dumps(facts))
    return made


def test_both_ways_of_naming_and_the_json_are_understood(folder: Path) -> None:
    found = render.folder_notes(folder)
    assert {name: sorted(notes) for name, notes in found.items()} == {
        "bell": [48, 60, 72],
        "reed_acoustic_001": [55],
        "drone": [40],
    }
    assert found["reed_acoustic_001"][55].stem.endswith("127")


@pytest.mark.parametrize(
    ("stem", "instrument", "pitch"),
    [
        ("piano_2_60", "piano_2", 60),
        ("keys_acoustic_001-060", "keys_acoustic_001", 60),
        ("bass-electronic-001-033-100", "bass-electronic-001", 33),
        ("..-60", "_", 60),
    ],
)
def test_numbers_in_an_instruments_name_are_not_its_pitch(
    stem: str, instrument: str, pitch: int, tmp_path: Path
) -> None:
    (tmp_path / f"{stem}.wav").touch()
    assert {name: list(notes) for name, notes in render.folder_notes(tmp_path).items()} == {instrument: [pitch]}


def test_an_instruments_name_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.json").write_text(json.dumps({"a": {"pitch": 60, "instrument_str": "../../etc/x"}}))
    assert list(render.folder_notes(tmp_path)) == ["_.._etc_x"]


def test_notes_of_any_rate_and_channels_are_read_from_their_onset(folder: Path) -> None:
    bell = render.read_note(folder / "bell_60.wav")
    assert bell.shape == (pytest.approx(32000, abs=40), 2)
    np.testing.assert_allclose(bell[:, 1], -0.5 * bell[:, 0], atol=1e-3)
    envelopes = analysis.envelopes(np.pad(bell.T, [[0, 0], [0, targets.SAMPLES - len(bell)]]), 60)
    # The channels' mean power, of a note that falls by exp(-2) in a second.
    assert envelopes[0, 4] == pytest.approx(0.4 * np.sqrt((1 + 0.25) / 2), rel=0.1)
    assert envelopes[0, 125] / envelopes[0, 4] == pytest.approx(np.exp(-2 * 121 / 125), rel=0.05)
    drone = render.read_note(folder / "nsynth" / "take one.WAV")
    assert analysis.take_apart(drone, 40).harmonics[1, 100] == pytest.approx(0.3, rel=0.03)


def test_folders_that_cannot_be_trained_on_are_refused(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    data = tmp_path / "data"

    def refused(pattern: str) -> None:
        with pytest.raises(SystemExit, match=pattern):
            prepare.prepare(data, notes, jobs=1)
        assert not (data / "instruments.json").exists()

    refused("notes: no such folder")
    notes.mkdir()
    refused("holds no WAV files")
    (notes / "noise.wav").write_bytes(b"RIFF, or so it says")
    refused(r"nothing tells the pitch .*\(harp_60\.wav\)")
    (notes / "harp_100.wav").touch()
    refused(r"harp has no note within 24\.\.84")
    (notes / "facts.json").write_text('{"harp_60": {"pitch": "middle C"}}')
    refused(r"facts\.json: cannot be used .*; a pitch is a number from 0 to 127")
    (notes / "facts.json").write_text("{")
    refused(r"facts\.json: cannot be used")
    (notes / "facts.json").write_text("[1, 2]")
    refused(r"harp has no note within 24\.\.84")
    (notes / "harp_60.wav").write_bytes(b"RIFF, or so it says")
    refused(r"harp_60\.wav: not a readable WAV file")
    for i in range(prepare.MOST_INSTRUMENTS):
        (notes / f"number{i}x_60.wav").touch()
    refused("65 instruments; leave 64 or fewer")


@pytest.mark.parametrize(
    ("samples", "rate", "reason"),
    [
        (np.zeros(16000), 16000, "is silent"),
        (np.zeros(0), 16000, "is silent"),
        (np.full(100, np.nan), 16000, "not a number"),
        (np.ones(100), 4000, "sampled at 4000 Hz; 8000 to 192000"),
    ],
)
def test_notes_that_cannot_be_trained_on_are_refused(
    samples: np.ndarray, rate: int, reason: str, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "harp_60.wav", samples, rate, subtype="FLOAT")
    with pytest.raises(SystemExit, match=rf"harp_60\.wav: .*{reason}"):
        render.read_note(tmp_path / "harp_60.wav")


def test_half_prepared_data_are_not_taken_for_whole(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run `python -m training prepare` first"):
        prepare.load(tmp_path)
    (tmp_path / "instruments.json").write_text(json.dumps([{"name": "harp", "family": "own", "programs": [0]}]))
    np.save(tmp_path / "log_power.npy", np.zeros([2, 61, 128, 1024], np.float16))
    np.save(tmp_path / "phases.npy", np.zeros([61, 2, 1024], np.float32))
    with pytest.raises(SystemExit, match="not of 1 instruments; prepare once more"):
        prepare.load(tmp_path)


@pytest.fixture(scope="module")
def data(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("prepared")
    prepare.prepare(made, folder, jobs=1)
    return made


def test_pitches_that_are_missing_borrow_the_harmonics_of_the_nearest(data: Path) -> None:
    prepared = prepare.load(data)
    assert [entry.name for entry in prepared.instruments] == ["bell", "drone", "reed_acoustic_001"]
    assert sorted(p for entry in prepared.instruments for p in entry.programs) == list(range(129))
    assert prepared.log_power.shape == (3, 61, 128, 1024)
    assert np.isfinite(prepared.log_power).all()
    for pitch in (40, 84):
        power = np.abs(np.fft.rfft(prepared.sound("drone", pitch)[8000:40768] * np.hanning(32768)))
        first, second = (power[round(h * targets.frequency(pitch) * 2.048) + np.arange(-3, 4)].max() for h in (1, 2))
        assert second / first == pytest.approx(3.0, rel=0.15)
    assert prepared.recordings("drone").shape == (61, targets.SAMPLES)


def train(data: Path, run: Path, *more: str) -> subprocess.Popen[str]:
    command = [str(TOOL), "-m", "training", "train", "--data", str(data), "--run", str(run), "--threads", "1", *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not TOOL.exists(), reason="PyTorch is in training/.venv alone: training/setup.sh makes it")
def test_a_voice_of_ones_own_stopped_and_gone_on_with(data: Path, tmp_path: Path) -> None:
    whole, broken, voice = tmp_path / "whole", tmp_path / "broken", tmp_path / "voice"
    unbroken = train(data, whole, "--steps", "8")
    said, _ = unbroken.communicate(timeout=600)
    assert unbroken.returncode == 0, said
    assert "stopped at step 8 of 8" in said

    reached = [0]
    for kind in (signal.SIGINT, signal.SIGTERM):
        run = train(data, broken, "--steps", "8")
        assert run.stdout is not None
        assert f"from step {reached[-1]} to 8" in run.stdout.readline()
        assert json.loads(run.stdout.readline())["step"] == reached[-1] + 1
        run.send_signal(kind)
        said, _ = run.communicate(timeout=600)
        assert run.returncode == 0, said
        reached.append(int(said.split("stopped at step ")[1].split()[0]))
    assert 0 < reached[1] < reached[2] < 8
    run = train(data, broken, "--steps", "8")
    said, _ = run.communicate(timeout=600)
    assert f"from step {reached[2]} to 8" in said, said

    last = [json.loads((folder / "log.jsonl").read_text().splitlines()[-1]) for folder in (whole, broken)]
    assert last[0]["step"] == last[1]["step"] == 8
    with np.load(whole / "generator.npz") as one, np.load(broken / "generator.npz") as other:
        assert one.files == other.files
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert list(whole.glob("comparison_*.png"))

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    listed = json.loads((data / "instruments.json").read_text())
    listed[0]["name"] = "gong"
    (elsewhere / "instruments.json").write_text(json.dumps(listed))
    for name in ("log_power.npy", "phases.npy"):
        (elsewhere / name).symlink_to(data / name)
    run = train(elsewhere, broken, "--steps", "9")
    said, _ = run.communicate(timeout=600)
    assert run.returncode == 1
    assert "holds a run on other instruments; choose another folder" in said

    figures, tool = tmp_path / "figures", [sys.executable, "-m", "training"]
    subprocess.run([*tool, "export", "--run", str(whole), "--out", str(voice)], cwd=ROOT, check=True)
    of_voice = ["--checkpoint", str(voice)]
    measure = ["evaluate", *of_voice, "--data", str(data), "--out", str(figures), "--pitch-step", "30"]
    subprocess.run([*tool, *measure], cwd=ROOT, check=True)
    fill_in = ["card", *of_voice, "--figures", str(figures), "--run", str(whole), "--out", str(voice)]
    subprocess.run([*tool, *fill_in], cwd=ROOT, check=True)
    assert "bell, drone, reed_acoustic_001" in (voice / "MODEL_CARD.md").read_text()
    assert len(list((voice / "card").iterdir())) == 3
    plays(voice)


def plays(voice: Path) -> None:
    """Checks that the package loads a checkpoint and that its notes are audible."""
    from gansynth import Synthesizer, load_bank

    synth = Synthesizer.from_checkpoint(voice)
    bank = load_bank(str(voice / "instruments.yaml"), synth.latent_size)
    assert bank.names == ("bell", "drone", "reed_acoustic_001")
    audio = synth.synthesize(bank.latents, [60, 60, 60])
    assert np.isfinite(audio).all()
    assert (np.abs(audio).max(axis=1) > 1e-3).all()


def test_a_sample_that_sounds_an_octave_up_borrows_its_neighbours_harmonics(tmp_path: Path) -> None:
    for pitch, strength in ((60, [0.4, 0.2, 0.1]), (64, [0.002, 0.4, 0.002, 0.2])):
        soundfile.write(tmp_path / f"harp_{pitch}.wav", sound(pitch, strength), 16000)
    prepare.prepare(tmp_path / "data", notes=tmp_path, jobs=1)
    heard = prepare.load(tmp_path / "data").sound("harp", 64)
    power = np.abs(np.fft.rfft(heard[8000:40768] * np.hanning(32768)))
    peaks = [power[round(h * targets.frequency(64) * 2.048) + np.arange(-3, 4)].max() for h in (1, 2, 3)]
    assert peaks[0] > peaks[1] > peaks[2]
    assert tuning.cents_off(heard, 64) < 5
