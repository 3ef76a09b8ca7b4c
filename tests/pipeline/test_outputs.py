"""Stems, stereo, levels and rates: what comes out of a job for a studio."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pyloudnorm
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from gansynth.checkpoint import PITCHES
from gansynth.latents import random_bank
from gansynth.notes import load_midi
from gansynth.player import play
from gansynth.score import Voice, write_score
from gansynth.synthesizer import SoundCache
from pipeline import graph
from pipeline.config import JobConfig, load_config
from transforms.elements import Finished, Source
from transforms.mix_songs import GatherSong, MixedSong
from transforms.write_songs import _Write

ROOT = Path(__file__).parents[2]
RIFF = ROOT / "examples" / "midi" / "riff.mid"
SHARED = ROOT.parent / "shared" / "midi" / "good"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/midi/good, real MIDI files")
REAL = SHARED / "sonivox__ants.mid"
LONG = SHARED / "note-seq__example_complex.mid"
PLAIN = ("spectrogram.png=false", "piano_roll.png=false", "notes.drums=play")


class Bells:
    """Plays every note as two decaying sines that its latent and pitch choose: the rest of the way is the real one."""

    sample_rate, note_samples, pitches = 16000, 64000, PITCHES
    cache = SoundCache(0)

    def bucket(self, samples: int) -> int:
        return 128

    def batch_sizes(self, bucket: int, notes: int) -> Iterator[int]:
        yield notes

    def batches(self, z: NDArray[np.float32], pitches: Any, bucket: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        times = np.arange(self.note_samples) / self.sample_rate
        for n in range(len(z)):
            turns = times * 440 * 2 ** ((int(pitches[n]) - 69) / 12)
            wave = np.sin(2 * np.pi * turns) + 0.3 * np.sin(2 * np.pi * turns * (2 + float(z[n, 0])))
            yield slice(n, n + 1), (wave * np.exp(-2 * times)).astype(np.float32)[None]


def rendered(midi: Path, out: Path, *settings: str) -> dict[str, Any]:
    """Writes a song as a job does, but for the network and Beam; the row of it."""
    config = load_config(None, [*PLAIN, *settings], [str(midi)], str(out))
    voice = Voice(PITCHES, 16000, 64000, random_bank(129, 8, 0))
    score, chunks = write_score(midi.name, load_midi(str(midi), config.notes), config.sound, voice)
    gather = GatherSong()
    total = gather.create_accumulator()
    for part in (Source(midi.name, str(midi)), score, *play(chunks[::-1], Bells(), config.envelope)):  # type: ignore[arg-type]
        total = gather.add_input(total, part)
    song = gather.extract_output(total)
    assert isinstance(song, MixedSong)
    return outcome(config, voice, song)


def outcome(config: JobConfig, voice: Voice, song: MixedSong | Finished) -> dict[str, Any]:
    ((_, line),) = _Write(graph.write_settings(config, voice, "sha256:0")).process(song)
    row: dict[str, Any] = json.loads(line)
    assert row["status"] == "rendered", row
    for kind, path in row["outputs"].items():
        assert Path(config.output, path).stat().st_size == row["bytes"][kind]
    return row


def sound(out: Path, row: dict[str, Any], kind: str = "audio") -> NDArray[np.float64]:
    audio, rate = soundfile.read(out / row["outputs"][kind], dtype="float64", always_2d=True)
    assert rate == row["sample_rate"]
    assert audio.shape == (round(row["seconds"] * rate), row["channels"])
    return np.asarray(audio)


def stems(out: Path, row: dict[str, Any]) -> list[NDArray[np.float64]]:
    kinds = sorted(kind for kind in row["outputs"] if kind.startswith("stem_"))
    assert len(kinds) == len(row["stems"])
    return [sound(out, row, kind) for kind in kinds]


@needs_shared
@pytest.mark.parametrize(
    ("midi", "by", "count"),
    [(REAL, "instrument", 6), (REAL, "track", 6), pytest.param(LONG, "track", 18, marks=pytest.mark.slow)],
)
def test_stems_add_up_to_the_mix(tmp_path: Path, midi: Path, by: str, count: int) -> None:
    row = rendered(midi, tmp_path / "stems", f"stems.by={by}", "played_notes=[json]")
    parts = stems(tmp_path / "stems", row)
    assert len(parts) == count
    plain = rendered(midi, tmp_path / "plain")
    mix = tmp_path / "plain" / plain["outputs"]["audio"]
    assert (tmp_path / "stems" / row["outputs"]["audio"]).read_bytes() == mix.read_bytes()
    total = sum(parts) * row["gain"]
    assert np.abs(total).max() == pytest.approx(0.9, abs=1e-12)  # stems are exact; the mix has 16 bits
    assert np.abs(total - sound(tmp_path / "stems", row) * 32768 / 32767).max() < 0.5 / 32767 + 1e-7
    # Each sounds where its notes are, and nowhere else.
    table = json.loads((tmp_path / "stems" / row["outputs"]["notes"]).read_text())
    assert table["stems"] == row["stems"]
    columns = table["notes"]
    for number, part in enumerate(parts):
        covered = np.zeros(len(part), bool)
        for start, end, stem in zip(columns["start"], columns["end"], columns["stem"], strict=True):
            if stem == number:
                piece = slice(round(start * 16000), round((end + table["release_seconds"]) * 16000))
                covered[piece] = True
                assert part[piece].any()
        assert not part[~covered].any()


@needs_shared
@pytest.mark.parametrize("rate", [16000, 44100])
def test_stems_in_stereo_at_any_rate_add_up_too(tmp_path: Path, rate: int) -> None:
    settings = ("stems.by=track", "mix.panning=spread", "audio.format=wav-float", f"audio.sample_rate={rate}")
    row = rendered(REAL, tmp_path, *settings, "mix.normalize=loudness")
    total = sum(stems(tmp_path, row)) * row["gain"]
    mix = sound(tmp_path, row)
    assert mix.shape[1] == 2
    assert np.abs(total - mix).max() < 1e-6
    assert not np.array_equal(mix[:, 0], mix[:, 1])


def write_midi(path: Path, names: list[str], pans: dict[int, int] | None = None) -> Path:
    """A note for each track, a tenth of a second apart."""
    file = mido.MidiFile(charset="utf-8")
    for number, name in enumerate(names):
        track = file.add_track()
        track.append(mido.MetaMessage("track_name", name=name))
        channel = number % 9
        track.append(mido.Message("program_change", program=number % 128, channel=channel))
        if number in (pans or {}):
            track.append(mido.Message("control_change", control=10, value=(pans or {})[number], channel=channel))
        track.append(mido.Message("note_on", note=40 + number % 40, velocity=90, channel=channel, time=96 * number))
        track.append(mido.Message("note_off", note=40 + number % 40, channel=channel, time=480))
    file.save(path)
    return path


def test_a_song_of_many_tracks_has_a_bounded_number_of_stems(tmp_path: Path) -> None:
    midi = write_midi(tmp_path / "many.mid", [f"track {i}" for i in range(200)])
    row = rendered(midi, tmp_path, "stems.by=track")
    assert len(row["stems"]) == 32
    assert row["stems"][:2] == ["track 0", "track 1"]
    assert row["stems"][-1] == "rest"
    mix = sound(tmp_path, row) * 32768 / 32767
    assert np.abs(sum(stems(tmp_path, row)) * row["gain"] - mix).max() < 0.5 / 32767 + 1e-7


def test_hostile_track_names_are_names_of_files_below_the_output(tmp_path: Path) -> None:
    names = ["../../../etc/passwd", "/abs", "a/b\\c", "..", "", "CON", "<script>alert(1)</script>", "é" * 500, "same"]
    midi = write_midi(tmp_path / "x.mid", [*names, "same"])
    row = rendered(midi, tmp_path / "out", "stems.by=track")
    paths = [path for kind, path in row["outputs"].items() if kind.startswith("stem_")]
    assert len(set(paths)) == len(names) + 1
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out" / "stems").rglob("*.wav")}
    assert written == set(paths)
    assert {Path(path).parent.as_posix() for path in paths} == {"stems/x"}
    assert all(len(Path(path).name.encode()) < 255 for path in paths)
    assert "stems/x/01-etc_passwd.wav" in paths
    assert "stems/x/07-script_alert_1_script.wav" in paths
    assert row["stems"][0] == "../../../etc/passwd"


def test_panning_follows_the_files_controllers(tmp_path: Path) -> None:
    midi = write_midi(tmp_path / "x.mid", ["left", "right", "middle", "unsaid"], {0: 0, 1: 127, 2: 64})
    row = rendered(midi, tmp_path, "mix.panning=midi", "stems.by=track", "played_notes=[json]", "audio.format=flac")
    assert row["stems"] == ["left", "right", "middle", "unsaid"]
    left, right, middle, unsaid = stems(tmp_path, row)
    assert np.abs(left[:, 1]).max() < 1e-6 < 0.5 < np.abs(left[:, 0]).max()
    assert np.abs(right[:, 0]).max() < 1e-6 < 0.5 < np.abs(right[:, 1]).max()
    for part in (middle, unsaid):
        np.testing.assert_array_equal(part[:, 0], part[:, 1])
    assert json.loads((tmp_path / row["outputs"]["notes"]).read_text())["notes"]["pan"] == [0, 127, 64, 64]
    # Equal power: as loud in the middle as on one side.
    mono = rendered(midi, tmp_path / "mono", "stems.by=track")
    for part, alone in zip((left, right, middle, unsaid), stems(tmp_path / "mono", mono), strict=True):
        assert np.square(part).sum() == pytest.approx(np.square(alone).sum(), rel=1e-4)


def test_panning_spreads_the_instruments(tmp_path: Path) -> None:
    row = rendered(RIFF, tmp_path, "mix.panning=spread", "played_notes=[json]", "spectrogram.png=true")
    columns = json.loads((tmp_path / row["outputs"]["notes"]).read_text())["notes"]
    seats: dict[int, set[int]] = {}
    for instrument, pan in zip(columns["instrument"], columns["pan"], strict=True):
        seats.setdefault(instrument, set()).add(pan)
    assert all(len(found) == 1 for found in seats.values())
    used = sorted(min(found) for found in seats.values())
    assert len(set(used)) == len(seats) > 2
    assert [128 - pan for pan in used] == used[::-1]
    pitches = {
        i: np.mean([p for p, j in zip(columns["pitch"], columns["instrument"], strict=True) if i == j]) for i in seats
    }
    lowest = min(pitches, key=lambda i: pitches[i])
    assert abs(min(seats[lowest]) - 64) == min(abs(pan - 64) for pan in used)
    assert (tmp_path / row["outputs"]["spectrogram"]).stat().st_size > 10_000


@pytest.mark.parametrize(("rate", "panning"), [(44100, "off"), (48000, "spread")])
def test_resampled_clips_are_the_same_sound(tmp_path: Path, rate: int, panning: str) -> None:
    same = ("audio.format=wav-float", f"mix.panning={panning}", "spectrogram.png=true", "piano_roll.png=true")
    one = rendered(RIFF, tmp_path / "one", *same)
    two = rendered(RIFF, tmp_path / "two", *same, f"audio.sample_rate={rate}", "played_notes=[json]")
    for kind in ("spectrogram", "piano_roll"):
        pictures = [(tmp_path / name / row["outputs"][kind]).read_bytes() for name, row in (("one", one), ("two", two))]
        assert pictures[0] == pictures[1]
    assert two["sample_rate"] == rate
    assert two["seconds"] == pytest.approx(one["seconds"], abs=0.5 / rate)
    wanted, found = sound(tmp_path / "one", one), sound(tmp_path / "two", two)
    assert np.abs(found).max() == pytest.approx(0.9, abs=1e-6)
    assert two["peak"] == pytest.approx(0.9, abs=1e-6)
    back = soxr.resample(found / two["gain"], rate, 16000, "VHQ")[: len(wanted)]
    error = np.abs(back - wanted[: len(back)] / one["gain"])[100:-100].max()
    assert error < 2e-2 * np.abs(wanted / one["gain"]).max()  # what lies at the very edge of the band is lost
    lag = np.argmax(np.correlate(back[:4000, 0], wanted[:4000, 0], "same")) - 2000
    assert lag == 0
    last = max(json.loads((tmp_path / "two" / two["outputs"]["notes"]).read_text())["notes"]["end"]) + 0.3
    assert last == pytest.approx(two["seconds"], abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "limited"),
    [
        (("mix.loudness=-20",), False),
        (("mix.loudness=-23", "mix.panning=spread", "audio.sample_rate=48000"), False),
        (("mix.loudness=-5",), True),
    ],
)
def test_loudness_is_what_others_measure(tmp_path: Path, settings: tuple[str, ...], limited: bool) -> None:
    row = rendered(RIFF, tmp_path, "mix.normalize=loudness", "audio.format=flac", *settings)
    target = next((float(s.split("=")[1]) for s in settings if "mix.loudness" in s), -16.0)
    audio = sound(tmp_path, row)
    heard = pyloudnorm.Meter(row["sample_rate"]).integrated_loudness(audio)
    assert heard == pytest.approx(row["loudness"], abs=0.3)  # the standard's filters differ a little between rates
    between = soxr.resample(audio, row["sample_rate"], 8 * row["sample_rate"], "HQ")
    peak = 20 * np.log10(np.abs(between).max())
    assert peak < -1.0 + 0.1
    assert (row["loudness"] == pytest.approx(target, abs=0.05)) == (not limited)
    if limited:
        assert row["true_peak"] == pytest.approx(-1.0, abs=0.01)
        assert row["loudness"] < target


def test_loudness_of_what_cannot_be_measured(tmp_path: Path) -> None:
    short = write_midi(tmp_path / "short.mid", ["a"])
    row = rendered(short, tmp_path, "mix.normalize=loudness", "notes.time_stretch=0.05", "envelope.release=0.05")
    assert row["seconds"] < 0.4
    assert row["loudness"] == pytest.approx(-16, abs=0.1) or row["true_peak"] == pytest.approx(-1, abs=0.01)
    assert np.abs(sound(tmp_path, row)).max() > 0.1
