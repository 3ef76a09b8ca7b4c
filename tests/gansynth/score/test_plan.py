"""Render plans: chunks that contain every note once, and schedules that never change for equal input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gansynth.config import EnvelopeConfig, InstrumentsConfig, MixConfig, NotesConfig, SoundConfig
from gansynth.errors import ConfigError, MidiError
from gansynth.general_midi import DRUMS
from gansynth.midi.notes import Notes, Song
from gansynth.score.instruments import Bank, random_bank, slerp
from gansynth.score.plan import CHUNK_NOTES, CHUNK_SECONDS, NoteChunk, RenderPlan, plan_song
from gansynth.score.schedule import Schedule, interpolate, make_schedule, song_seed
from gansynth.score.spec import SynthSpec, default_bank
from tests.support.notes import make_notes

BANK = Bank(tuple("abcdefgh"), np.random.RandomState(0).normal(size=[8, 4]), programs={5: 2})
VOICE = SynthSpec(range(24, 85), 16000, 64000, BANK)


def score_of(notes: Notes, config: SoundConfig | None = None, song_id: str = "x.mid", spec: SynthSpec = VOICE) -> Any:
    return plan_song(song_id, Song(notes, "sha256:0"), config or SoundConfig(), spec)


def sound(**sections: dict[str, Any]) -> SoundConfig:
    return SoundConfig.model_validate(sections)


def played_latents(chunks: list[NoteChunk]) -> np.ndarray:
    return np.concatenate([slerp(c.latents[c.notes.left], c.latents[c.notes.right], c.notes.fraction) for c in chunks])


def plan_latents(schedule: Schedule) -> np.ndarray:
    return slerp(schedule.latents[schedule.left], schedule.latents[schedule.right], schedule.fraction)


SONGS = st.lists(
    st.tuples(st.integers(24, 84), st.floats(0, 50), st.floats(0, 5), st.integers(1, 127), st.integers(0, 127)),
    min_size=1,
    max_size=700,
).map(lambda rows: make_notes(*((p, s, s + d, v, program) for p, s, d, v, program in rows)))


@settings(max_examples=25)
@given(SONGS, st.sampled_from(["per_program", "random", "interpolate", "fixed"]))
def test_all_notes_once(notes: Notes, mode: str) -> None:
    plan, chunks = score_of(notes, sound(instruments={"mode": mode}))
    assert (plan.chunk_count, len(plan.notes)) == (len(chunks), len(notes))
    assert sum(map(len, chunks)) == len(notes)
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.first_note for chunk in chunks] == np.cumsum([0, *map(len, chunks)])[:-1].tolist()
    found = sorted(
        row
        for c in chunks
        for row in zip(
            c.notes.start.tolist(),
            c.notes.pitch.tolist(),
            c.notes.velocity.tolist(),
            c.notes.sustain.tolist(),
            strict=True,
        )
    )
    sustain = (16000 * (notes.end - notes.start)).astype(int)
    start = (notes.start * 16000).astype(int)
    columns = (start.tolist(), notes.pitch.tolist(), notes.velocity.tolist(), sustain.tolist())
    assert found == sorted(zip(*columns, strict=True))
    for chunk in chunks:
        assert 0 < len(chunk) <= CHUNK_NOTES
        sounding = (chunk.notes.sustain + 4800).sum() / 16000
        assert sounding <= CHUNK_SECONDS or len(chunk) == 1
        assert (np.diff(chunk.notes.start) >= 0).all()
        assert chunk.notes.left.max() < len(chunk.latents)
        assert chunk.notes.right.max() < len(chunk.latents)
        assert len(chunk.latents) == len(np.unique(np.concatenate([chunk.notes.left, chunk.notes.right])))
        arrays = ("pitch", "velocity", "start", "sustain", "left", "right", "fraction")
        assert {len(getattr(chunk.notes, name)) for name in arrays} == {len(chunk)}
    last = max(int((c.notes.start + c.notes.sustain).max()) for c in chunks) + 4800
    assert plan.samples == last


def test_latents_survive_the_cutting() -> None:
    notes = make_notes(*((60, i * 0.1, i * 0.1 + 0.05) for i in range(600)))
    config = InstrumentsConfig(mode="interpolate")
    _, chunks = score_of(notes, SoundConfig(instruments=config))
    assert len(chunks) == 3
    assert np.allclose(played_latents(chunks), plan_latents(make_schedule(notes, config, BANK, "x")), atol=1e-15)


def test_chunks_are_bounded_in_seconds() -> None:
    _, chunks = score_of(make_notes(*((60, i * 0.01, i * 0.01 + 3) for i in range(200))))
    assert [len(chunk) for chunk in chunks] == [77, 77, 46]  # 3.3 s each


def test_a_chunk_is_small() -> None:
    import pickle

    notes = make_notes(*((60, i * 0.01, i * 0.01 + 0.1, 100, i % 128) for i in range(256)))
    spec = SynthSpec(range(24, 85), 16000, 64000, random_bank(129, 256, 0))
    _, chunks = score_of(notes, spec=spec)
    # 128 instruments of 256 numbers; the notes themselves are some 9 kB.
    assert len(pickle.dumps(chunks[0])) < 128 * 256 * 8 + 12000


def test_sustain_never_outlasts_the_checkpoints_note() -> None:
    spec = SynthSpec(range(24, 85), 16000, 20000, BANK)
    notes = make_notes((60, 0, 5), (60, 0, 0.5))
    plan, (chunk,) = score_of(notes, sound(envelope={"long_notes": "cut"}), spec=spec)
    assert plan.counts["shortened"] == 1
    assert chunk.notes.sustain.tolist() == [20000 - 4800, 8000]


def test_tail_of_the_reference() -> None:
    plan, _ = score_of(make_notes((60, 0, 1.5)), SoundConfig(mix=MixConfig(tail="reference")))
    assert plan.samples == 4 * 16000


def test_range_is_the_configs_and_the_checkpoints() -> None:
    spec = SynthSpec(range(40, 61), 16000, 64000, BANK)
    plan, (chunk,) = score_of(
        make_notes((39, 0, 1), (61, 0, 1), (50, 0, 1)), sound(notes={"out_of_range": "fold"}), spec=spec
    )
    assert sorted(chunk.notes.pitch.tolist()) == [49, 50, 51]
    assert plan.counts["folded"] == 2
    with pytest.raises(MidiError, match=r"70\.\.80.*40\.\.60"):
        score_of(make_notes((75, 0, 1)), SoundConfig(notes=NotesConfig(min_pitch=70, max_pitch=80)), spec=spec)


def test_nothing_to_play_is_an_error() -> None:
    with pytest.raises(MidiError, match="no notes"):
        score_of(make_notes())


def test_what_the_score_says() -> None:
    notes = make_notes((60, 0, 1, 100, 5), (62, 1, 2, 100, 0), (40, 1, 2, 100, 9, 1))
    plan, _ = score_of(notes, sound(notes={"drums": "play"}))
    assert isinstance(plan, RenderPlan)
    assert (plan.song_id, plan.digest) == ("x.mid", "sha256:0")
    assert plan.programs == {0: "a", 5: "c", 128: "a"}
    assert set(plan.instruments) == {"a", "c"}
    assert plan.counts["played"] == 3
    # Which program plays what is of no interest where programs do not choose.
    assert score_of(notes, sound(instruments={"mode": "random"}, notes={"drums": "play"}))[0].programs == {}


# Schedules


@given(SONGS, SONGS, st.integers(0, 127))
@settings(max_examples=25)
def test_a_program_sounds_the_same_in_every_song(one: Notes, other: Notes, program: int) -> None:
    config = InstrumentsConfig(programs={7: "h"})
    heard = {}
    for song_id, notes in (("one", one), ("other", other), ("solo", make_notes((60, 0, 1, 100, program)))):
        schedule = make_schedule(notes, config, BANK, song_id)
        assert (schedule.fraction == 0).all()
        for n, found in enumerate(plan_latents(schedule)):
            key = int(notes.program[n])
            assert np.array_equal(heard.setdefault(key, found), found)
            row = 7 if key == 7 else 2 if key == 5 else key % 8
            assert np.array_equal(found, BANK.latents[row])
            assert schedule.names[schedule.left[n]] == BANK.names[row]


def test_drums_have_a_program_of_their_own() -> None:
    notes = make_notes((60, 0, 1, 100, 3, 0), (60, 0, 1, 100, 3, 1))
    schedule = make_schedule(notes, InstrumentsConfig(programs={DRUMS: "f"}), BANK, "x")
    assert [schedule.names[row] for row in schedule.left] == ["d", "f"]
    assert len(default_bank(InstrumentsConfig(), 4)) == 129
    assert len(default_bank(InstrumentsConfig(mode="random", count=3), 4)) == 3


def test_fixed() -> None:
    notes = make_notes((60, 0, 1), (61, 1, 2, 100, 9))
    for instruments in (("c",), (2, "unused")):
        schedule = make_schedule(notes, InstrumentsConfig(mode="fixed", instruments=instruments), BANK, "x")
        assert np.array_equal(plan_latents(schedule), BANK.latents[[2, 2]])
        assert schedule.names == ("c",)


def test_interpolate_is_the_notebooks() -> None:
    config = InstrumentsConfig(mode="interpolate", instruments=(0, 2, 4, 0), times=(0.0, 0.3, 0.6, 1.0))
    notes = make_notes(*((60, float(t), t + 1.0) for t in (0, 3, 4.5, 6, 9)))
    schedule = make_schedule(notes, config, BANK, "x")
    assert schedule.names == ("a", "c", "e", "a")
    assert schedule.left.tolist() == [0, 0, 1, 1, 2]  # a note at an instrument's time still belongs to the one before
    assert schedule.fraction == pytest.approx([0.01 / 3.01, 1, 0.5, 1, 0.75])
    found = plan_latents(schedule)
    assert np.allclose(found[1], BANK.latents[2])
    assert np.allclose(found[2], slerp(BANK.latents[2], BANK.latents[4], 0.5))
    # The ends are forced, whatever they are set to.
    other = InstrumentsConfig(mode="interpolate", instruments=(0, 2, 4, 0), times=(0.2, 0.3, 0.6, 0.7))
    assert np.array_equal(plan_latents(make_schedule(notes, other, BANK, "x")), found)


def test_span_is_the_latest_end_not_the_last_notes() -> None:
    config = InstrumentsConfig(mode="interpolate", instruments=("a", "b"), times=(0, 1))
    one = make_schedule(make_notes((60, 0, 10), (60, 5, 6)), config, BANK, "x")
    other = make_schedule(make_notes((60, 5, 6), (60, 0, 10)), config, BANK, "x")
    assert one.fraction[1] == other.fraction[0] == pytest.approx(0.5, abs=1e-3)


@settings(max_examples=40)
@given(SONGS, st.floats(0.5, 20), st.integers(0, 2**32 - 1))
def test_random_depends_on_seed_and_song_alone(notes: Notes, seconds: float, seed: int) -> None:
    config = InstrumentsConfig(mode="random", secs_per_instrument=seconds, seed=seed)
    schedule = make_schedule(notes, config, BANK, "a/x.mid")
    again = make_schedule(notes, config, random_bank(3, 4, 77), "a/x.mid")
    assert np.array_equal(schedule.latents, again.latents)
    assert np.array_equal(schedule.fraction, again.fraction)
    assert len(schedule.latents) == max(2, int(notes.span / seconds)) == len(schedule.names)
    # A longer song of the same name begins with the same instruments.
    longer = make_schedule(make_notes((60, 0, notes.span + 100)), config, BANK, "a/x.mid")
    assert np.array_equal(longer.latents[: len(schedule.latents)], schedule.latents)
    assert not np.array_equal(make_schedule(notes, config, BANK, "b/x.mid").latents, schedule.latents)
    other = config.model_copy(update={"seed": seed ^ 1})
    assert not np.array_equal(make_schedule(notes, other, BANK, "a/x.mid").latents, schedule.latents)
    assert (schedule.fraction >= 0).all()
    assert (schedule.fraction <= 1).all()
    assert np.isfinite(plan_latents(schedule)).all()


def test_song_seeds_never_change() -> None:
    assert song_seed(0, "a/x.mid") == song_seed(0, "a/x.mid")
    assert len({song_seed(0, "a"), song_seed(1, "a"), song_seed(0, "b"), song_seed(10, ":a")}) == 4
    assert all(0 <= word < 2**32 for word in song_seed(5, "\udcff broken name"))


@pytest.mark.parametrize("mode", ["per_program", "random", "interpolate", "fixed"])
@pytest.mark.parametrize(
    "notes",
    [
        pytest.param(make_notes((60, 0, 1)), id="one note"),
        pytest.param(make_notes((60, 0, 0)), id="no length"),
        pytest.param(make_notes((60, 0, 0.01), (62, 0, 0.02)), id="shorter than an instrument"),
        pytest.param(make_notes((60, 500, 500)), id="late"),
    ],
)
def test_songs_that_break_the_reference(mode: str, notes: Notes) -> None:
    plan, chunks = score_of(notes, sound(instruments={"mode": mode, "secs_per_instrument": 6}))
    assert len(plan.notes) == len(notes)
    assert np.isfinite(played_latents(chunks)).all()
    assert np.abs(played_latents(chunks)).max() > 0
    assert plan.samples > 0


@pytest.mark.parametrize("name", ["a", "b", "c", "d", "e", "melody", "range_overlap", "order"])
def test_interpolation_equals_the_references(name: str, data: Path) -> None:
    golden = np.load(data / "goldens" / "z_notes.npz")
    latents, times, start = (golden[f"{name}_{part}"] for part in ("z_instruments", "t_instruments", "start_times"))
    schedule = interpolate(start, latents, times, ())
    assert np.abs(plan_latents(schedule) - golden[f"{name}_z_notes"]).max() <= 1e-12


def test_two_instruments_at_one_time() -> None:
    schedule = interpolate(np.array([0.0, 1, 2]), BANK.latents[:3], np.array([0.0, 1, 1]), ())
    assert np.isfinite(plan_latents(schedule)).all()


def test_unknown_instruments() -> None:
    for config in (
        InstrumentsConfig(mode="fixed", instruments=("oboe",)),
        InstrumentsConfig(mode="interpolate", instruments=(0, 8), times=(0, 1)),
        InstrumentsConfig(programs={0: "oboe"}),
    ):
        with pytest.raises(ConfigError, match="no instrument"):
            make_schedule(make_notes((60, 0, 1)), config, BANK, "x")


# Settings


@pytest.mark.parametrize(
    "section",
    [
        {"notes": {"min_pitch": 60, "max_pitch": 50}},
        {"notes": {"time_stretch": 0}},
        {"notes": {"time_stretch": float("nan")}},
        {"notes": {"max_notes": 0}},
        {"notes": {"pedal": True}},
        {"instruments": {"instruments": ()}},
        {"instruments": {"mode": "interpolate", "times": (0, 1)}},
        {"instruments": {"mode": "interpolate", "times": (0, 0.6, 0.3, 1)}},
        {"instruments": {"programs": {129: "a"}}},
        {"instruments": {"seed": -1}},
        {"instruments": {"secs_per_instrument": 0}},
        {"envelope": {"attack": -1}},
        {"envelope": {"max_sustain": 0}},
        {"mix": {"peak": 0}},
        {"mix": {"peak": 1.5}},
        {"colour": {}},
    ],
)
def test_settings_that_make_no_sense(section: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        SoundConfig.model_validate(section)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        EnvelopeConfig().attack = 1


def test_levels_and_releases_are_those_of_the_instrument_at_a_pitch_and_of_the_program() -> None:
    bank = Bank(
        ("organ", "flute"),
        np.eye(2, 4),
        programs={16: 0, 19: 0, 73: 1},
        levels={"organ": 2.0},
        pitch_levels={"organ": {36: 0.0, 84: -12.0}},
        releases={"organ": 1.0},
        program_releases={16: 0.25},
    )
    spec = SynthSpec(range(24, 85), 16000, 64000, bank)
    played = [(36, 19), (84, 19), (60, 16), (60, 73)]
    notes = make_notes(*((pitch, n, n + 0.5, 127, program) for n, (pitch, program) in enumerate(played)))
    config = sound(instruments={"mode": "per_program", "variation": 0}, mix={"velocity": "linear"})
    plan, chunks = score_of(notes, config, spec=spec)
    gains = np.concatenate([chunk.notes.gains for chunk in chunks])
    assert (20 * np.log10(gains)).tolist() == pytest.approx([2, -10, -4, 0])
    assert (plan.notes.tails / 16000).tolist() == [1.0, 1.0, 0.25, 0.3]
    fixed = sound(instruments={"mode": "fixed", "instruments": ["flute"]}, mix={"velocity": "linear"})
    plan, _ = score_of(notes, fixed, spec=spec)
    assert (plan.notes.tails / 16000).tolist() == [0.3] * 4
