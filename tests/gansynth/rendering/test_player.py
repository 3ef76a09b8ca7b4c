"""Whole songs: clips equal to the reference's, bytes that do not depend on grouping, and notes that are not finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import gansynth
from gansynth.audio.mix import SparseMix, finish, merged
from gansynth.config import EnvelopeConfig, SoundConfig
from gansynth.midi.load import load_midi
from gansynth.midi.notes import Channel, Notes, Song, Timeline
from gansynth.model.sounds import Tally
from gansynth.rendering.performance import render
from gansynth.rendering.player import ChunkMix, distinct_sounds, play
from gansynth.score import plan as plan_module
from gansynth.score import schedule as schedule_module
from gansynth.score.instruments import Bank
from gansynth.score.plan import NoteChunk, plan_song
from gansynth.score.schedule import interpolate
from gansynth.score.spec import SynthSpec, synth_spec
from tests.support import midi_bytes
from tests.support.fakes import FakeSynthesizer
from tests.support.notes import make_notes, snr

DATA = Path(__file__).parents[2] / "data"
_PRESET = yaml.safe_load((Path(__file__).parents[3] / "configs" / "magenta.yaml").read_text())
REFERENCE = SoundConfig.model_validate({key: _PRESET[key] for key in ("notes", "instruments", "envelope", "mix")})
"""Settings that play like gansynth_generate."""


@pytest.fixture(scope="module")
def tiny(oracle_checkpoint: Callable[[str], Path]) -> gansynth.Synthesizer:
    return gansynth.Synthesizer.from_checkpoint(oracle_checkpoint("tiny"))


@pytest.mark.parametrize("name", ["fourteen_seconds", "order", "sustain"])
def test_gansynth_generates_own_clips(name: str, tiny: gansynth.Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = np.load(DATA / "goldens" / "e2e_cli_tiny.npz")
    latents, times = golden[f"{name}_z_instruments"], golden[f"{name}_t_instruments"]
    # The recorded instruments stand in for the ones that mode random would draw.
    monkeypatch.setattr(
        schedule_module, "make_schedule", lambda notes, *_: interpolate(notes.start, latents, times, ())
    )
    clip = render(str(DATA / "midi" / f"{name}.mid"), tiny, REFERENCE)
    expected, first = golden[f"{name}_wav"], int(golden[f"{name}_first"])
    assert clip.shape == (golden[f"{name}_length"],)
    kept = np.concatenate([clip[:first], clip[first:][len(clip) - len(expected) :]])
    assert kept.shape == expected.shape
    assert snr(expected, kept) >= 60
    assert np.abs(kept - expected).max() <= 2**-11  # measured: half of it


NOTES = st.lists(
    st.tuples(st.integers(24, 84), st.floats(0, 6), st.floats(0, 2), st.integers(1, 127), st.integers(0, 3)),
    min_size=1,
    max_size=12,
).map(lambda rows: make_notes(*((p, s, s + d, v, program) for p, s, d, v, program in rows)))


def chunks_of(notes: Notes, synth: FakeSynthesizer, song_id: str = "x") -> list[NoteChunk]:
    config = SoundConfig.model_validate({"instruments": {"variation": 0}})
    return plan_song(song_id, Song(notes, ""), config, synth_spec(synth.shape, config.instruments))[1]


def mix_bytes(chunk_mixes: list[ChunkMix]) -> dict[int, bytes]:
    return {
        block: values.tobytes()
        for block, values in merged(chunk_mix.mix for chunk_mix in chunk_mixes).packed().blocks.items()
    }


@settings(max_examples=15)
@given(NOTES, NOTES, st.integers(1, 9), st.integers(1, 9))
def test_grouping_does_not_change_bytes(one: Notes, other: Notes, size: int, batch: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        quantize = chunks_of(one, FakeSynthesizer())
        patch.setattr(plan_module, "CHUNK_NOTES", size)
        cut = chunks_of(one, FakeSynthesizer())
        company = chunks_of(other, FakeSynthesizer(), "y")
    assert len(cut) == -(-len(one) // size)
    expected = mix_bytes(play(quantize, FakeSynthesizer(), EnvelopeConfig()))
    synth = FakeSynthesizer(batch=batch)
    chunk_mixes = play([*company, *cut[::-1]], synth, EnvelopeConfig())
    assert mix_bytes([chunk_mix for chunk_mix in chunk_mixes if chunk_mix.song_id == "x"]) == expected
    assert mix_bytes([play([chunk], synth, EnvelopeConfig())[0] for chunk in cut]) == expected


def test_bars_come_in_order_and_say_whose_they_are() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "CHUNK_NOTES", 2)
        chunks = chunks_of(make_notes(*((60 + i, i, i + 1) for i in range(5))), FakeSynthesizer())
    chunk_mixes = play(chunks, FakeSynthesizer(), EnvelopeConfig())
    assert [(chunk_mix.song_id, chunk_mix.index, chunk_mix.notes) for chunk_mix in chunk_mixes] == [
        ("x", 0, 2),
        ("x", 1, 2),
        ("x", 2, 1),
    ]
    assert play([], FakeSynthesizer(), EnvelopeConfig()) == []


def clip_of(*events: midi_bytes.Event | list[midi_bytes.Event]) -> np.ndarray:
    """Plays a track of MIDI events with the fake network, unscaled."""
    config = SoundConfig.model_validate({"mix": {"clip_peak": "none"}, "instruments": {"variation": 0}})
    synth, song = FakeSynthesizer(), load_midi(midi_bytes.midi(midi_bytes.track(*events)))
    plan, chunks = plan_song("x", song, config, synth_spec(synth.shape, config.instruments))
    return finish(merged(m.mix for m in play(chunks, synth, config.envelope)), plan.samples, config.mix)


def test_what_a_channel_is_set_to_in_a_notes_tick_counts_from_its_first_sample() -> None:
    """Tick 961 falls between two samples, and later changes make gain and bend move within the note."""
    cc, bend, note = midi_bytes.cc, midi_bytes.bend, midi_bytes.note(961, 2000, 60)
    later = cc(1400, 11, 60)
    late = clip_of(cc(0, 11, 127), cc(961, 11, 20), note, later)
    np.testing.assert_array_equal(late, clip_of(cc(0, 11, 20), note, later))
    assert 0 < np.abs(late[:16400]).max() < 0.2 * np.abs(clip_of(note)).max()
    later = bend(1400, 4000)
    late = clip_of(bend(0, 8000), bend(961, 0), note, later)
    np.testing.assert_array_equal(late, clip_of(note, later))


def test_a_hit_follows_its_channels_volume_for_as_long_as_it_sounds() -> None:
    """A cymbal rings for seconds after its note is over, and fades with its channel."""
    cc, hit = midi_bytes.cc, midi_bytes.note(0, 100, 49, 9)
    plain, faded = clip_of(hit), clip_of(hit, cc(960, 7, 50, 9))
    assert len(plain) == len(faded) > 24000
    np.testing.assert_array_equal(faded[:16000], plain[:16000])
    np.testing.assert_allclose(faded[16080:], plain[16080:] / 4, atol=2**-20)
    assert np.abs(plain[16080:]).max() > 0.001


def test_equal_notes_are_rendered_once() -> None:
    synth, tally = FakeSynthesizer(), Tally()
    notes = make_notes(*((60 + i % 3, i * 0.5, i * 0.5 + 0.1, 1 + i) for i in range(20)))
    chunks = chunks_of(notes, synth)
    play([*chunks, *chunks_of(notes, synth, "y")], synth, EnvelopeConfig(), tally)
    assert synth.calls == [3]
    assert replace(tally, network_microseconds=0) == Tally(notes=40, rendered=3, cached=0, slots=8, batches=1)
    play(chunks, synth, EnvelopeConfig(), tally)
    assert replace(tally, network_microseconds=0) == Tally(notes=60, rendered=6, cached=0, slots=16, batches=2)


def test_the_longest_note_serves_the_shorter_ones() -> None:
    synth, tally = FakeSynthesizer(cache_bytes=10**9), Tally()
    short, long = chunks_of(make_notes((60, 0, 0.2)), synth), chunks_of(make_notes((60, 0, 2), (60, 3, 3.1)), synth)
    play(short, synth, EnvelopeConfig(), tally)
    play(long, synth, EnvelopeConfig(), tally)
    play([*short, *long], synth, EnvelopeConfig(), tally)
    assert (tally.notes, tally.rendered, tally.cached) == (6, 2, 1)
    play([*short, *long], once := FakeSynthesizer(), EnvelopeConfig(), first := Tally())
    assert (once.calls, first.rendered) == ([1], 1)


def test_short_notes_fill_the_batches_of_long_ones() -> None:
    synth, tally = FakeSynthesizer(), Tally()
    chunks = chunks_of(make_notes((60, 0, 2), (61, 0, 2), *((62 + i, 0, 0.1) for i in range(6))), synth)
    play(chunks, synth, EnvelopeConfig(), tally)
    assert synth.calls == [8]
    assert (tally.rendered, tally.slots) == (8, 8)


class Uneven(FakeSynthesizer):
    """A synthesizer whose sounds are of another level in each bucket."""

    serves_shorter = False

    def sound(self, z: np.ndarray, pitch: int, bucket: int) -> np.ndarray:
        return super().sound(z, pitch, bucket) * np.float32(bucket)


@settings(max_examples=10)
@given(NOTES, st.booleans())
def test_company_of_longer_notes_changes_no_byte(notes: Notes, uneven: bool) -> None:
    make: Callable[..., FakeSynthesizer] = Uneven if uneven else FakeSynthesizer
    bend = Channel(bend=Timeline(np.array([0.0, 0.05]), np.array([0.0, 1.5])))
    config = SoundConfig(envelope=EnvelopeConfig(note_peak="none"))
    longer = replace(notes, end=notes.end + 2.5)
    chunks, company = (
        plan_song(name, Song(part, "", channels={0: bend}), config, synth_spec(make().shape, config.instruments))[1]
        for name, part in (("x", notes), ("y", longer))
    )
    expected = mix_bytes([play([chunk], make(), config.envelope)[0] for chunk in chunks])
    synth = make(cache_bytes=10**9)
    for _ in range(2):
        mixes = play([*company, *chunks], synth, config.envelope)
        assert mix_bytes([mix for mix in mixes if mix.song_id == "x"]) == expected


@settings(max_examples=10)
@given(NOTES, st.sampled_from([100_000, 10**9]))
def test_the_cache_changes_no_byte(notes: Notes, limit: int) -> None:
    chunks = chunks_of(notes, FakeSynthesizer())
    expected = mix_bytes(play(chunks, FakeSynthesizer(), EnvelopeConfig()))
    synth, first, second = FakeSynthesizer(cache_bytes=limit), Tally(), Tally()
    assert mix_bytes(play(chunks[:1], synth, EnvelopeConfig(), first)) == expected
    assert mix_bytes(play(chunks, synth, EnvelopeConfig(), second)) == expected
    assert second.notes == first.notes == len(notes)
    assert first.cached == 0
    assert second.cached + second.rendered == first.rendered
    if limit == 10**9:
        assert second.rendered == 0


def test_a_broken_note_stays_broken_in_the_cache() -> None:
    synth = FakeSynthesizer(nan=(61,), cache_bytes=10**9)
    chunks = chunks_of(make_notes((60, 0, 1), (61, 1, 2)), synth)
    assert [play(chunks, synth, EnvelopeConfig())[0].broken for _ in range(2)] == [(1,), (1,)]


def test_velocity_and_placement() -> None:
    synth = FakeSynthesizer()
    chunk_mixes = play(chunks_of(make_notes((60, 1, 1.5, 127), (60, 3, 3.5, 64)), synth), synth, EnvelopeConfig())
    clip = np.zeros(5 * 16000)
    for block, values in chunk_mixes[0].mix.blocks.items():
        piece = clip[block * 16384 : (block + 1) * 16384]
        piece[:] = values[: len(piece)] / 2**20
    assert not clip[:16000].any()
    assert np.abs(clip[16000:32000]).max() == pytest.approx(1, abs=1e-5)
    assert np.abs(clip[48000:]).max() == pytest.approx((64 / 127) ** 2, abs=1e-5)  # 40 log10(v / 127) dB
    assert not clip[16000 + 8000 + 4800 : 48000].any()


def rendered(chunk_mixes: list[ChunkMix]) -> np.ndarray:
    return finish(merged(chunk_mix.mix for chunk_mix in chunk_mixes), 6 * 16000, SoundConfig().mix)


def test_a_broken_note_costs_only_itself() -> None:
    notes = make_notes((60, 0, 1), (61, 1, 2), (62, 2, 3), (61, 3, 4))
    bad, good = FakeSynthesizer(nan=(61,)), FakeSynthesizer()
    (chunk_mix,) = play(chunks_of(notes, bad), bad, EnvelopeConfig())
    assert (chunk_mix.notes, chunk_mix.broken, chunk_mix.silent) == (4, (1, 3), ())
    clip = rendered([chunk_mix])
    assert np.isfinite(clip).all()
    rest = play(chunks_of(notes[np.array([0, 2])], good), good, EnvelopeConfig())
    assert (clip == rendered(rest)).all()


def test_a_silent_note_stays_silent() -> None:
    notes = make_notes((60, 0, 1), (61, 1, 2))
    synth = FakeSynthesizer(silent=(61,))
    (chunk_mix,) = play(chunks_of(notes, synth), synth, EnvelopeConfig())
    assert (chunk_mix.broken, chunk_mix.silent) == ((), (1,))
    assert np.isfinite(rendered([chunk_mix])).all()
    synth = FakeSynthesizer(silent=(60, 61))
    (chunk_mix,) = play(chunks_of(notes, synth), synth, EnvelopeConfig())
    assert chunk_mix.silent == (0, 1)
    assert not rendered([chunk_mix]).any()


def test_broken_notes_are_numbered_in_the_song() -> None:
    synth = FakeSynthesizer(nan=(62,), silent=(63,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "CHUNK_NOTES", 2)
        chunks = chunks_of(make_notes(*((60 + i, i, i + 1) for i in range(4))), synth)
    chunk_mixes = play(chunks, synth, EnvelopeConfig())
    assert [(chunk_mix.broken, chunk_mix.silent) for chunk_mix in chunk_mixes] == [((), ()), ((2,), (3,))]


def test_notes_without_a_peak_measure() -> None:
    synth = FakeSynthesizer()
    (chunk_mix,) = play(chunks_of(make_notes((60, 0, 1, 127)), synth), synth, EnvelopeConfig(note_peak="none"))
    assert 2 < np.abs(chunk_mix.mix.blocks[0]).max() / 2**20 < 3  # the fake plays at 3


def test_a_note_of_no_length_and_no_release() -> None:
    synth, config = FakeSynthesizer(), SoundConfig.model_validate({"envelope": {"release": 0}})
    for seconds, samples in ((0.0, 0), (1.0, 16000)):
        song = Song(make_notes((60, 0, seconds)), "")
        plan, chunks = plan_song("x", song, config, synth_spec(synth.shape, config.instruments))
        (chunk_mix,) = play(chunks, synth, config.envelope)
        assert chunk_mix.silent == ((0,) if not samples else ())
        assert finish(chunk_mix.mix, plan.samples, config.mix).shape == (samples,)


# render


@pytest.mark.parametrize("mode", ["per_program", "interpolate", "random", "fixed"])
def test_render(mode: str) -> None:
    config = SoundConfig.model_validate({"instruments": {"mode": mode}})
    path = DATA / "midi" / "melody.mid"
    clip = gansynth.render(str(path), FakeSynthesizer(), config)
    assert clip.dtype == np.float32
    assert np.abs(clip).max() == pytest.approx(0.9)
    assert (gansynth.render(path.read_bytes(), FakeSynthesizer(), config) == clip).all()
    assert (render(str(path), FakeSynthesizer(batch=3), config) == clip).all()
    same = (render(str(path), FakeSynthesizer(), config, song_id="a/melody.mid") == clip).all()
    assert same == (mode != "random")


def test_render_is_what_the_stages_do() -> None:
    path, synth, config = DATA / "midi" / "order.mid", FakeSynthesizer(), SoundConfig()
    song = gansynth.load_midi(path)
    plan, chunks = plan_song("", song, config, synth_spec(synth.shape, config.instruments))
    chunk_mixes = play(chunks, synth, config.envelope)
    assert sum(chunk_mix.notes for chunk_mix in chunk_mixes) == len(plan.notes)
    clip = finish(merged(chunk_mix.mix for chunk_mix in chunk_mixes), plan.samples, config.mix)
    assert (render(str(path), synth, config) == clip).all()


def test_render_takes_a_path() -> None:
    path: Any = DATA / "midi" / "one_note.mid"
    assert len(render(path, FakeSynthesizer())) > 0


def test_a_real_voice_plays_a_song(tiny: gansynth.Synthesizer) -> None:
    clip = gansynth.render(str(DATA / "midi" / "seven_seconds.mid"), tiny)
    assert np.isfinite(clip).all()
    assert np.abs(clip).max() == pytest.approx(0.9)


def test_same_latent_is_the_same_sound_in_every_mode() -> None:
    # A fixed instrument is not rounded on its way through slerp.
    synth = FakeSynthesizer()
    bank = Bank(("a", "b"), np.random.RandomState(0).normal(size=[2, 4]))
    spec = SynthSpec(synth.pitches, 16000, 64000, bank)
    clips = []
    sliding = {"mode": "interpolate", "instruments": ["a", "a"], "times": [0, 1]}
    for instruments in ({"mode": "fixed", "instruments": ["a"]}, sliding):
        config = SoundConfig.model_validate({"instruments": instruments})
        plan, chunks = plan_song("x", Song(make_notes((60, 0, 1), (64, 1, 2)), ""), config, spec)
        mix: SparseMix = merged(chunk_mix.mix for chunk_mix in play(chunks, synth, config.envelope))
        clips.append(finish(mix, plan.samples, config.mix))
    assert np.abs(clips[0] - clips[1]).max() < 1e-5


def test_empty_slots_are_given_to_sounds_that_will_be_needed() -> None:
    synth, tally = FakeSynthesizer(cache_bytes=1 << 30), Tally()
    notes = {pitch: make_notes((pitch, 0.0, 0.2, 100, 0)) for pitch in (60, 62, 59, 70)}
    play(chunks_of(notes[60], synth), synth, EnvelopeConfig(), tally)
    assert (synth.calls, tally.rendered, tally.slots) == ([8], 1, 8)
    play(chunks_of(notes[62], synth), synth, EnvelopeConfig(), tally)
    play(chunks_of(notes[59], synth), synth, EnvelopeConfig(), tally)
    assert (synth.calls, tally.rendered, tally.cached, tally.slots) == ([8], 3, 0, 8)
    play(chunks_of(notes[59], synth), synth, EnvelopeConfig(), tally)
    assert (synth.calls, tally.rendered, tally.cached) == ([8], 3, 1)
    play(chunks_of(notes[70], synth), synth, EnvelopeConfig(), tally)
    assert (synth.calls, tally.rendered, tally.slots, tally.notes) == ([8, 8], 4, 16, 5)


def test_no_sound_is_rendered_ahead_where_none_is_kept() -> None:
    synth = FakeSynthesizer()
    play(chunks_of(make_notes((60, 0.0, 0.2, 100, 0)), synth), synth, EnvelopeConfig())
    assert synth.calls == [1]


def test_long_notes_weigh_more_than_short_ones() -> None:
    def weight(seconds: float, apart: float) -> int:
        notes = make_notes(*((60, apart * n, apart * n + seconds, 100, 0) for n in range(60)))
        (chunk,) = chunks_of(notes, FakeSynthesizer())
        return chunk.weight

    assert weight(0.1, 0.1) == 60
    # 60 notes of 3 s: their mix holds 180 s
    assert 2 * 180 * 16000 / 2**14 - 10 < weight(3.0, 3.0) < 2 * 180 * 16000 / 2**14 + 10
    assert weight(0.1, 1000.0 / 60) <= 2 * 60 * 2


def test_slots_that_stay_empty_go_to_neighbours() -> None:
    synth, tally = FakeSynthesizer(cache_bytes=1 << 30), Tally()
    play(chunks_of(make_notes((60, 0.0, 0.9), (61, 0.0, 0.9)), synth), synth, EnvelopeConfig(), tally)
    assert (tally.rendered, tally.slots, synth.calls) == (2, 8, [8])
    near = make_notes(*((pitch, 0.0, 0.9) for pitch in range(57, 65)))
    play(chunks_of(near, synth), synth, EnvelopeConfig(), tally)
    assert (tally.rendered, tally.cached, tally.slots) == (8, 2, 8)


def test_expected_sounds_are_rendered_as_long_as_expected_and_come_before_neighbours() -> None:
    synth, tally = FakeSynthesizer(cache_bytes=1 << 30), Tally()
    short, other, long = (make_notes((pitch, 0.0, seconds)) for pitch, seconds in ((60, 0.2), (84, 0.2), (24, 3.0)))
    songs = [chunks_of(notes, synth) for notes in (short, other, long)]
    wanted = {sound: max(rows) for chunks in songs for sound, rows in distinct_sounds(chunks, synth).items()}
    (latest,) = distinct_sounds(songs[0], synth)
    synth.expect({**wanted, latest: 5})
    play(songs[0], synth, EnvelopeConfig(), tally)
    cached = synth.cache.get(latest)
    assert cached is not None
    assert len(cached) == synth.samples_of(5)
    play(songs[1], synth, EnvelopeConfig(), tally)
    assert (tally.batches, tally.rendered) == (1, 2)
    play(songs[2], synth, EnvelopeConfig(), tally)  # would have been too long for the first batch
    assert (tally.batches, tally.rendered) == (2, 3)
