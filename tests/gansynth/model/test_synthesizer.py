"""The synthesizer: shapes, batches, buckets, errors; a note's sound does not depend on its batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gansynth
from gansynth.config import EnvelopeConfig, InstrumentsConfig
from gansynth.errors import CheckpointError, ConfigError
from gansynth.model.sounds import SoundCache
from gansynth.model.synthesizer import Synthesizer
from gansynth.score.spec import check_envelope, synth_spec
from tests.support.checkpoints import SMALL, write_checkpoint
from tests.support.notes import snr


@pytest.fixture(scope="module")
def tiny8(oracle_checkpoint: Callable[[str], Path]) -> Synthesizer:
    return Synthesizer.from_checkpoint(oracle_checkpoint("tiny8"), batch_rows=256)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Synthesizer:
    """Returns a model with 40 samples per note, for tests that do not depend on the sound."""
    folder = write_checkpoint(tmp_path_factory.mktemp("small"), SMALL)
    return Synthesizer.from_checkpoint(folder, batch_rows=1024)


def test_what_it_says_of_itself(tiny8: Synthesizer) -> None:
    assert isinstance(tiny8, gansynth.Synthesizer)
    assert (tiny8.latent_size, tiny8.sample_rate, tiny8.note_samples) == (16, 16000, 64000)
    assert list(tiny8.pitches) == list(range(24, 85))
    assert tiny8.digest.startswith("sha256:")


def test_sounds_like_the_reference(tiny8: Synthesizer, data: Path) -> None:
    golden = np.load(data / "goldens" / "tiny8.npz")
    audio = tiny8.synthesize(golden["z"], golden["pitches"])
    assert audio.shape == (3, 64000)
    assert audio.dtype == np.float32
    for note in range(3):
        assert snr(golden["head"][note], audio[note, :12000]) >= 60
        assert snr(golden["tail"][note], audio[note, -4000:]) >= 60
        assert np.abs(audio[note, :12000] - golden["head"][note]).max() <= 1e-3 * golden["peak"][note]


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 130])
@pytest.mark.parametrize("samples", [None, 0, 1, 17, 40])
def test_any_number_of_notes(n: int, samples: int | None, small: Synthesizer) -> None:
    z, pitches = gansynth.random_latents(n, 5, seed=1), np.arange(n) % 61 + 24
    audio = small.synthesize(z, pitches, samples)
    assert audio.shape == (n, 40 if samples is None else samples)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    if n and audio.size:
        alone = small.synthesize(z[n - 1 : n], pitches[n - 1 : n], samples)
        assert (audio[n - 1] == alone[0]).all()


@given(samples=st.integers(0, 40))
def test_samples_are_the_first_ones(samples: int, small: Synthesizer) -> None:
    z = gansynth.random_latents(3, 5, seed=2)
    part, whole = small.synthesize(z, [30, 40, 50], samples), small.synthesize(z, [30, 40, 50])
    # The tiny network's few filters magnify the rounding of another blocking.
    assert np.abs(part - whole[:, :samples]).max(initial=0) <= 1e-4 * np.abs(whole).max()


@pytest.mark.parametrize("samples", [1, 5000, 5120, 5121, 20000, 63999])
def test_buckets_do_not_change_the_sound(samples: int, tiny8: Synthesizer, data: Path) -> None:
    golden = np.load(data / "goldens" / "tiny8.npz")
    part = tiny8.synthesize(golden["z"][:1], golden["pitches"][:1], samples)
    kept = min(samples, 12000)
    assert part.shape == (1, samples)
    assert np.abs(part[0, :kept] - golden["head"][0, :kept]).max() <= 1e-3 * golden["peak"][0]


def test_inputs_of_many_types(small: Synthesizer) -> None:
    z = gansynth.random_latents(2, 5, seed=3)
    expected = small.synthesize(z, [60, 64])
    for other in (z.astype(np.float32), z.tolist(), np.asfortranarray(z)):
        assert (small.synthesize(other, np.array([60, 64], np.int64)) == expected).all()
    for pitches in ((60, 64), np.array([60, 64], np.uint8), range(60, 65, 4), np.array([60.0, 64.0])):
        assert (small.synthesize(z, pitches) == expected).all()


@pytest.mark.parametrize(
    ("z", "pitches", "samples", "says"),
    [
        (np.zeros([2, 5]), [60], None, r"\(2, 5\).*\(1, 5\)"),
        (np.zeros([1, 5]), [60, 61], None, "2 pitches"),
        (np.zeros([1, 6]), [60], None, r"\(1, 6\)"),
        (np.zeros(5), [60], None, r"\(5,\)"),
        (np.zeros([1, 5]), [23], None, r"\[23\].*24..84"),
        (np.zeros([1, 5]), [85], None, r"\[85\]"),
        (np.zeros([1, 5]), [60.5], None, "60.5"),
        (np.zeros([1, 5]), [-60], None, "-60"),
        (np.zeros([1, 5]), [60], -1, "samples is -1"),
        (np.zeros([1, 5]), [60], 41, "samples is 41; it must be in 0..40"),
    ],
)
def test_refusals(z: Any, pitches: Any, samples: int | None, says: str, small: Synthesizer) -> None:
    with pytest.raises(ValueError, match=says):
        small.synthesize(z, pitches, samples)


def test_nan_latent_costs_only_its_own_note(small: Synthesizer) -> None:
    z = gansynth.random_latents(4, 5, seed=4)
    good = small.synthesize(z, [60] * 4)
    z[2] = np.nan
    bad = small.synthesize(z, [60] * 4)
    assert not np.isfinite(bad[2]).any()
    assert (bad[[0, 1, 3]] == good[[0, 1, 3]]).all()


def test_repeatable_and_the_callers_arrays_stay_as_they_are(small: Synthesizer) -> None:
    z, pitches = gansynth.random_latents(9, 5, seed=5).astype(np.float32), np.arange(24, 33)
    before = z.copy()
    assert small.synthesize(z, pitches).tobytes() == small.synthesize(z, pitches).tobytes()
    assert (z == before).all()


@settings(max_examples=5)
@given(order=st.permutations(range(10)))
def test_company_does_not_matter(order: list[int], tiny8: Synthesizer) -> None:
    z, pitches = gansynth.random_latents(10, 16, seed=6), np.array([24, 84, 60, 61, 36, 48, 72, 50, 55, 66])
    some = order[:7]
    assert tiny8.synthesize(z[some], pitches[some], 2000).tobytes() == _reference(tiny8)[some].tobytes()


_KEPT: dict[int, np.ndarray] = {}


def _reference(synth: Synthesizer) -> np.ndarray:
    if not _KEPT:
        z, pitches = gansynth.random_latents(10, 16, seed=6), [24, 84, 60, 61, 36, 48, 72, 50, 55, 66]
        _KEPT[0] = np.concatenate([synth.synthesize(z[i : i + 1], pitches[i : i + 1], 2000) for i in range(10)])
    return _KEPT[0]


@given(samples=st.integers(0, 64000))
def test_a_bucket_is_the_smallest_that_covers(samples: int, tiny8: Synthesizer) -> None:
    bucket = tiny8.bucket(samples)
    assert bucket * 512 - 3072 >= samples or bucket == 128
    assert bucket == tiny8.bucket(max(0, samples - 1)) or tiny8.bucket(max(0, samples - 1)) < bucket
    sizes = list(tiny8.batch_sizes(bucket, 101))
    assert all(size % 8 == 0 for size in sizes)
    assert all(size * bucket <= 1024 or size == 8 for size in sizes)
    assert 101 <= sum(sizes) < 109


def test_the_longest_note_that_can_be_asked_for_has_a_bucket(tiny8: Synthesizer) -> None:
    assert tiny8.bucket(tiny8.note_samples) == 128
    assert tiny8.bucket(0) == 16


def test_batches_are_of_few_shapes(small: Synthesizer) -> None:
    z = gansynth.random_latents(200, 5, seed=7).astype(np.float32)
    pitches = np.full(200, 60, np.int32)
    bucket = small.bucket(40)
    pieces = list(small.batches(z, pitches, bucket))
    assert np.cumsum([0, *small.batch_sizes(bucket, 200)])[:-1].tolist() == [where.start for where, _ in pieces]
    assert sum(len(audio) for _, audio in pieces) == 200
    assert all(len(audio) == where.stop - where.start for where, audio in pieces)
    assert list(small.batches(z[:0], pitches[:0], bucket)) == []


def test_batch_rows_do_not_change_the_sound(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, SMALL)
    z = gansynth.random_latents(20, 5, seed=8)
    few, many = (Synthesizer.from_checkpoint(folder, batch_rows=rows) for rows in (1, 4096))
    assert list(few.batch_sizes(8, 20)) == [8, 8, 8]
    assert next(iter(many.batch_sizes(8, 10_000))) > 8
    assert few.synthesize(z, [60] * 20).tobytes() == many.synthesize(z, [60] * 20).tobytes()


def test_errors_of_loading(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"experiment\.json"):
        Synthesizer.from_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder"):
        Synthesizer.from_checkpoint("nothing_of_this_name")


@pytest.mark.parametrize("room", [8, 24])
def test_a_batch_that_does_not_fit_in_memory_is_halved(room: int, oracle_checkpoint: Callable[[str], Path]) -> None:
    from gansynth.model.network import ResourceExhaustedError

    synth = Synthesizer.from_checkpoint(oracle_checkpoint("tiny8"), batch_rows=512)
    z, pitches = np.random.RandomState(3).normal(size=[40, synth.latent_size]).astype(np.float32), np.arange(30, 70)
    wanted, waves, sizes = synth.synthesize(z, pitches, 4000), synth._network.waves, []

    def cramped(z: np.ndarray, labels: np.ndarray, rows: int) -> np.ndarray:
        sizes.append(len(z))
        if len(z) > room:
            raise ResourceExhaustedError(None, None, "out of memory")
        return waves(z, labels, rows)

    synth._network.waves = cramped  # type: ignore[method-assign]
    assert np.array_equal(synth.synthesize(z, pitches, 4000), wanted)
    assert max(sizes) == 32 > room >= min(sizes)
    room = 0
    with pytest.raises(ResourceExhaustedError):
        synth.synthesize(z, pitches, 4000)


# The cache


def test_the_cache_keeps_what_was_used_last() -> None:
    cache, sound = SoundCache(100), np.arange(10, dtype=np.float32)
    assert cache.get("a") is None
    cache.put("a", sound)
    cache.put("b", sound)
    assert cache.get("a") is not None
    cache.put("c", sound)
    assert cache.get("b") is None
    assert cache.get("a") is not None
    cache.put("big", np.zeros(26, np.float32))  # larger than all of it: nothing makes room
    assert cache.get("big") is None
    assert cache.get("a") is not None
    sound[:] = 7
    assert cache.get("c").tolist() == list(range(10))  # a copy, not a piece of a batch


def test_the_cache_keeps_the_longest_of_a_sound() -> None:
    cache, sound = SoundCache(100), np.arange(20, dtype=np.float32)
    cache.put("a", sound[:10])
    assert cache.get("a", 11) is None
    assert not cache.has("a", 11)
    cache.put("a", sound)
    cache.put("a", sound[:5])
    found = cache.get("a", 11)
    assert found is not None
    assert found.tolist() == sound.tolist()
    cache.put("b", sound[:6])  # 104 bytes in all
    assert not cache.has("a", 1)
    assert cache.has("b", 6)


def test_the_cache_counts_a_sound_once() -> None:
    cache, sound = SoundCache(100), np.zeros(10, np.float32)
    for _ in range(5):
        cache.put("a", sound)
    cache.put("b", sound)
    assert cache.get("a") is not None
    nothing = SoundCache(0)
    nothing.put("a", sound)
    assert nothing.get("a") is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30)), max_size=60), st.integers(0, 300))
def test_the_cache_never_holds_more_than_its_limit(puts: list[tuple[int, int]], limit: int) -> None:
    cache, sizes = SoundCache(limit), {}
    for key, length in puts:
        if cache.get(key) is None:
            sizes[key] = 4 * length
        cache.put(key, np.zeros(length, np.float32))
        assert sum(size for key, size in sizes.items() if cache.get(key) is not None) <= limit


# The spec


def write_instruments(folder: Path, text: str) -> None:
    (folder / "instruments.yaml").write_text(text)


def test_spec_has_the_checkpoints_own_instruments(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, SMALL)
    synth = Synthesizer.from_checkpoint(folder)
    assert len(synth_spec(synth.shape, InstrumentsConfig()).bank) == 129
    assert len(synth_spec(synth.shape, InstrumentsConfig(mode="interpolate", count=7)).bank) == 7
    write_instruments(
        folder, "instruments:\n- {name: flute, latent: [1, 2, 3, 4, 5]}\n- {name: bell, latent: [5, 4, 3, 2, 1]}\n"
    )
    spec = synth_spec(synth.shape, InstrumentsConfig())
    assert spec.bank.names == ("flute", "bell")
    assert (spec.pitches, spec.sample_rate, spec.note_samples) == (range(24, 85), 16000, 40)
    assert len(synth_spec(synth.shape, InstrumentsConfig(bank="random")).bank) == 129
    assert synth_spec(synth.shape, InstrumentsConfig(bank=str(folder / "instruments.yaml"))).bank.names == (
        "flute",
        "bell",
    )


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (InstrumentsConfig(mode="fixed", instruments=("oboe",)), "oboe"),
        (InstrumentsConfig(mode="interpolate"), "no instrument 2"),
        (InstrumentsConfig(programs={0: "oboe"}), "oboe"),
        (InstrumentsConfig(bank="nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_spec_refuses_what_the_bank_has_not(config: InstrumentsConfig, says: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, SMALL)
    write_instruments(folder, "instruments:\n- {name: flute, latent: [1, 2, 3, 4, 5]}\n")
    with pytest.raises(ConfigError, match=says):
        synth_spec(Synthesizer.from_checkpoint(folder).shape, config)


def test_spec_checks_only_what_will_be_played(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, SMALL)
    write_instruments(folder, "instruments:\n- {name: flute, latent: [1, 2, 3, 4, 5]}\n")
    synth = Synthesizer.from_checkpoint(folder)
    for config in (
        InstrumentsConfig(mode="random"),
        InstrumentsConfig(mode="fixed", instruments=("flute", "oboe")),
        InstrumentsConfig(mode="per_program", instruments=("oboe",)),
    ):
        assert synth_spec(synth.shape, config).bank.names == ("flute",)


def test_envelope_longer_than_a_note(tiny8: Synthesizer) -> None:
    spec = synth_spec(tiny8.shape, InstrumentsConfig())
    check_envelope(EnvelopeConfig(release=0.3, max_sustain=3.0), spec)
    check_envelope(EnvelopeConfig(release=1.0, max_sustain=3.0), spec)
    check_envelope(EnvelopeConfig(release=1.1, max_sustain=3.0), spec)
    with pytest.raises(ConfigError, match=r"max_sustain 3\.0"):
        check_envelope(EnvelopeConfig(release=1.1, max_sustain=3.0, long_notes="cut"), spec)
