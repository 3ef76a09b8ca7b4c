"""The network, compared with Magenta's output, with its own truncated output, and with a plain float64 version."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gansynth.errors import ConfigError
from gansynth.model import checkpoint, mel
from gansynth.model.network import Network, configure
from tests.support import plain_network
from tests.support.checkpoints import SMALL, random_variables, write_checkpoint
from tests.support.notes import snr

Find = Callable[[str], Path]
KINDS = (
    "tiny",
    "tiny8",
    "tiny_transition",
    "tiny_early_transition",
    "tiny_linear",
    "tiny_phase",
    "tiny_wave",
    "tiny_simple_arch",
    "tiny_nonprog",
    "tiny_freqnorm",
    "tiny_scaleH",
)
TIGHT = ("tiny8",)
"""The well conditioned kind: its two-filter brothers magnify rounding where a pixel's features nearly vanish."""


@pytest.fixture(scope="module")
def network(oracle_checkpoint: Find) -> Callable[[str], Network]:
    return functools.cache(lambda name: Network(checkpoint.load(str(oracle_checkpoint(name)))))


def labels(pitches: Any) -> np.ndarray:
    return (np.asarray(pitches) - 24).astype(np.int32)


@pytest.mark.parametrize("kind", KINDS)
def test_sounds_like_the_reference(kind: str, network: Callable[[str], Network], data: Path) -> None:
    golden = np.load(data / "goldens" / f"{kind}.npz")
    net = network(kind)
    audio = net.waves(golden["z"], labels(golden["pitches"]), net.rows)
    assert audio.shape == (len(golden["z"]), 64000)
    assert audio.dtype == np.float32
    decibels, error = (60, 1e-3) if kind in TIGHT else (45, 5e-3)
    kept = np.concatenate([audio[:, : golden["head"].shape[1]], audio[:, -golden["tail"].shape[1] :]], axis=1)
    for note, expected in enumerate(np.concatenate([golden["head"], golden["tail"]], axis=1)):
        assert snr(expected, kept[note]) >= decibels
        assert np.abs(kept[note] - expected).max() <= error * golden["peak"][note]
        assert np.abs(audio[note]).max() == pytest.approx(golden["peak"][note], rel=2 * error)


@pytest.mark.parametrize("kind", ["tiny", "tiny8"])
def test_specgrams_are_the_references(kind: str, network: Callable[[str], Network], data: Path) -> None:
    golden = np.load(data / "goldens" / f"{kind}.npz")
    net, n = network(kind), len(golden["fake_data"])
    found = net.specgrams(golden["z"][:n], labels(golden["pitches"][:n]), net.rows)
    assert found.shape == (n, 128, 1024, 2)
    for channel in range(2):
        expected = golden["fake_data"][..., channel]
        assert snr(expected, found[:, golden["fake_data_rows"]][..., channel]) >= 85


@functools.cache
def _first_samples(net: Network, rows: int) -> np.ndarray:
    """Renders the same two notes with a number of rows; cached, since tracing is slow."""
    z = np.random.RandomState(3).normal(size=[2, 16]).astype(np.float32)
    return net.waves(z, labels([24, 84]), rows)


@pytest.mark.parametrize("kind", ["tiny8", "tiny_transition", "tiny_scaleH"])
@settings(max_examples=6)
@given(data=st.data())
def test_first_rows_are_the_whole_notes(kind: str, network: Callable[[str], Network], data: st.DataObject) -> None:
    net = network(kind)
    rows = data.draw(st.sampled_from([7, 8, 16, 20, 31, 48, 64, 127]))
    part, whole = _first_samples(net, rows), _first_samples(net, net.rows)
    assert part.shape[1] == net.samples_of(rows) == rows * 512 - 3072
    # Measured: equal but for the rounding of other blockings of the same sums.
    for note in range(len(part)):
        assert snr(whole[note, : part.shape[1]], part[note]) >= (120 if kind == "tiny8" else 60)


@given(samples=st.integers(0, 64000))
def test_rows_for_covers_the_samples(samples: int, network: Callable[[str], Network]) -> None:
    net = network("tiny8")
    rows = net.rows_for(samples)
    assert 1 <= rows <= net.rows
    assert net.samples_of(rows) >= samples
    assert rows == net.rows or (rows - 1) * 512 - 3072 < samples


def test_wave_needs_a_row_per_sample(network: Callable[[str], Network]) -> None:
    net = network("tiny_wave")
    assert (net.rows, net.audio_samples) == (65536, 64000)
    z = np.random.RandomState(3).normal(size=[1, 16]).astype(np.float32)
    rows = net.rows_for(1000)
    part = net.waves(z, labels([84]), rows)
    assert part.shape == (1, 1000)
    assert snr(net.waves(z, labels([84]), net.rows)[:, :1000], part) >= 60


@pytest.mark.parametrize("kind", ["tiny8", "tiny_simple_arch", "tiny_scaleH"])
def test_place_in_the_batch_does_not_matter(kind: str, network: Callable[[str], Network]) -> None:
    net = network(kind)
    random = np.random.RandomState(5)
    z, note = random.normal(size=[8, 16]).astype(np.float32), random.normal(size=16).astype(np.float32)
    rendered = []
    for place in (0, 3, 7):
        batch, pitches = z.copy(), np.array([24, 36, 60, 84, 60, 84, 36, 24])
        batch[place], pitches[place] = note, 60
        rendered.append(net.waves(batch, labels(pitches), 16)[place].tobytes())
    assert len(set(rendered)) == 1
    assert np.frombuffer(rendered[0], np.float32).any()


@pytest.mark.parametrize("kind", ["tiny8", "tiny_simple_arch"])
def test_size_of_the_batch_does_not_matter(kind: str, network: Callable[[str], Network]) -> None:
    # Full batches and small ones for the rest share a song: which note falls into which must not be heard.
    net = network(kind)
    z, note = np.random.RandomState(6).normal(size=[64, 16]).astype(np.float32), np.arange(64, dtype=np.int32) % 61
    small = [net.waves(z[i : i + 8], note[i : i + 8], 16) for i in range(0, 64, 8)]
    assert np.concatenate(small).tobytes() == net.waves(z, note, 16).tobytes()


SIMPLE = {"data_normalizer": "specgrams_simple_normalizer"}
OTHER = {"mag_normalizer_a": 0.1, "mag_normalizer_b": -0.2, "p_normalizer_a": 0.9, "p_normalizer_b": 0.05}
TIMED = {"train_time_limit": 50.0, "train_time_stage_multiplier": 1.5}
# Sixteen filters: a pixel norm over few features magnifies rounding.
EIGHT = {
    "latent_vector_size": 16,
    "fmap_base": 1024,
    "fmap_max": 8,
    "stable_stage_num_images": 800000,
    "transition_stage_num_images": 800000,
}
FULL = {**EIGHT, "start_height": 2, "start_width": 16}
"""128 x 1024, as tiny8."""


@pytest.mark.parametrize(
    ("flags", "stage", "step", "progress"),
    [
        pytest.param(FULL | SIMPLE, 12, 10**7, 6.0, id="simple normalizer"),
        pytest.param(FULL | {"data_normalizer": "none"}, 12, 10**7, 6.0, id="no normalizer"),
        pytest.param(FULL | {"to_rgb_activation": "linear"}, 12, 10**7, 6.0, id="linear to_rgb"),
        pytest.param(EIGHT, 12, 10**7, 6.0, id="256x512"),
        pytest.param(FULL | OTHER, 12, 10**7, 6.0, id="other constants"),
        pytest.param(FULL, 6, 5_000_000, 3.0, id="stable early stage"),
        pytest.param(FULL, 0, 100, 0.0, id="first stage"),
        pytest.param(FULL, 9, 7_600_000, 4.5, id="transition"),
        pytest.param(FULL, 3, 2_400_000, 1.0, id="transition begins"),
    ],
)
def test_kinds_without_a_golden(flags: dict[str, Any], stage: int, step: int, progress: float, tmp_path: Path) -> None:
    blocks = (stage + 1) // 2 + 1
    variables = random_variables(flags, blocks, seed=stage)
    folder = write_checkpoint(tmp_path, flags, stage=stage, step=step, variables=variables)
    normalizer = None
    if flags.get("data_normalizer") == "specgrams_simple_normalizer":
        normalizer = np.array([0.07, 0.1, 0.7, -0.03])
        (folder / "assets").mkdir()
        np.savez(folder / "assets" / "specgrams_simple_normalizer.npz", normalizer=normalizer)
    loaded = checkpoint.load(str(folder))
    assert loaded.progress == progress
    check_against_plain(loaded, flags, variables, progress, normalizer)


def check_against_plain(
    loaded: checkpoint.Checkpoint,
    flags: Mapping[str, Any],
    variables: Mapping[str, np.ndarray],
    progress: float,
    normalizer: np.ndarray | None = None,
) -> None:
    net = Network(loaded)
    z = np.random.RandomState(1).normal(size=[1, flags["latent_vector_size"]]).astype(np.float32)
    pitches = np.array([57])
    expected = plain_network.specgrams(flags, variables, progress, z, pitches, normalizer)
    found = net.specgrams(z, labels(pitches), net.rows)
    assert found.shape == expected.shape
    assert snr(expected, found) >= 85
    sound = plain_network.waves(expected, flags)
    audio = net.waves(z, labels(pitches), net.rows)
    assert audio.shape == sound.shape
    assert snr(sound, audio) >= 60
    assert np.abs(audio - sound).max() <= 1e-3 * np.abs(sound).max()


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="plain"),
        pytest.param({"kernel_size": 5}, id="kernel 5"),
        pytest.param({"kernel_size": 2}, id="even kernel"),
        pytest.param({"kernel_size": 1}, id="kernel 1"),
        pytest.param({"scale_base": 4, "num_resolutions": 2}, id="scale by 4"),
        pytest.param({"start_height": 3}, id="odd height"),
        pytest.param({"scale_mode": "H", "start_width": 16}, id="scale H"),
        pytest.param({"scale_mode": "H", "start_width": 16, "kernel_size": 5}, id="scale H, kernel 5"),
        pytest.param({"simple_arch": True}, id="simple"),
        pytest.param({"simple_arch": True, "scale_mode": "H", "start_width": 16}, id="simple, scale H"),
        pytest.param({"simple_arch": True, "kernel_size": 4}, id="simple, kernel 4"),
        pytest.param({"simple_arch": True, "kernel_size": 1}, id="simple, kernel 1"),
        pytest.param({"fmap_decay": 0.5}, id="slow decay"),
        pytest.param({"data_type": "linear"}, id="linear"),
        pytest.param({"data_type": "phase"}, id="phase"),
        pytest.param({"num_resolutions": 1}, id="one block"),
        pytest.param({"sample_rate": 22050}, id="other rate"),
    ],
)
def test_every_flag_of_the_architecture(more: dict[str, Any], tmp_path: Path) -> None:
    flags = {**SMALL, "fmap_base": 64, "fmap_max": 16, "audio_length": 8, **more}
    variables = random_variables(flags, flags["num_resolutions"], seed=4)
    folder = write_checkpoint(tmp_path, flags, variables=variables)
    loaded = checkpoint.load(str(folder))
    progress = flags["num_resolutions"] - 1.0
    check_against_plain(loaded, flags, variables, progress)
    net = Network(loaded)
    whole = net.specgrams(np.ones([1, 5], np.float32), labels([57]), net.rows)
    for rows in (1, net.rows // 2 + 1):
        part = net.specgrams(np.ones([1, 5], np.float32), labels([57]), rows)
        assert snr(whole[:, :rows], part) >= 80


@pytest.mark.parametrize(
    ("elapsed", "progress"), [(0.0, 0.0), (3.0, 0.0), (8.0, None), (27.0, None), (50.0, 2.0), (80.0, 2.0)]
)
def test_time_limited_training(elapsed: float, progress: float | None, tmp_path: Path) -> None:
    flags = SMALL | TIMED | {"fmap_base": 64, "fmap_max": 16}
    variables = random_variables(flags, 3, seed=2)
    folder = write_checkpoint(tmp_path, flags, variables=variables, extra={"Variable": np.float32(elapsed)})
    loaded = checkpoint.load(str(folder))
    if progress is None:
        # networks.compute_progress_from_time, by hand: five stages, each half as long again as the one before.
        ends = np.cumsum(1.5 ** np.arange(5))
        ends *= 50.0 / ends[-1]
        progress = sum(float(np.clip((elapsed - ends[i - 1]) / (ends[i] - ends[i - 1]), 0, 1)) for i in (1, 3))
        assert progress % 1
    assert loaded.progress == pytest.approx(progress)
    check_against_plain(loaded, flags, variables, progress)


def test_plain_network_is_the_reference_too(oracle_checkpoint: Find, data: Path) -> None:
    # What the other kinds are compared with has to hold against the recordings itself.
    import tensorflow as tf

    golden = np.load(data / "goldens" / "tiny8.npz")
    folder = oracle_checkpoint("tiny8")
    reader = tf.train.load_checkpoint(str(folder / "stage_00012" / "model.ckpt-10500000"))
    variables = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    flags = {"start_height": 2, "start_width": 16}
    image = plain_network.specgrams(flags, variables, 6.0, golden["z"][:1], golden["pitches"][:1])
    assert snr(golden["fake_data"], image[:, golden["fake_data_rows"]]) >= 85
    sound = plain_network.waves(image, flags)
    assert snr(golden["head"][:1], sound[:, :12000]) >= 60
    assert snr(golden["tail"][:1], sound[:, -4000:]) >= 60


@pytest.mark.parametrize(("bins", "rate"), [(16, 16000), (512, 16000), (1024, 16000), (64, 44100)])
def test_mel_matrices(bins: int, rate: int) -> None:
    assert np.allclose(mel.linear_to_mel(bins, rate), plain_network.linear_to_mel(bins, rate), atol=1e-9)
    assert np.allclose(mel.mel_to_linear(bins, rate), plain_network.mel_to_linear(bins, rate), atol=1e-9)


def test_latents_of_any_size_stay_finite(network: Callable[[str], Network]) -> None:
    # What the reference does with them, says the oracle's model_crash_table.
    net = network("tiny8")
    z = np.stack([np.full(16, value, np.float32) for value in (0.0, 1e18, 1e-30, -1e9, np.nan, 0, 0, 0)])
    finite = np.isfinite(net.waves(z, labels([60] * 8), 16)).all(axis=1)
    assert finite.tolist() == [True, True, True, True, False, True, True, True]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"start_width": 3}, "power of two"),
        ({"audio_length": 89}, "audio_length 89"),
        ({"data_type": "wave"}, "too few"),
    ],
)
def test_impossible_shapes_are_refused(flags: dict[str, Any], says: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, SMALL | flags)
    loaded = checkpoint.load(str(folder))
    with pytest.raises(ConfigError, match=says) as caught:
        Network(loaded)
    assert str(folder) in str(caught.value)


def test_device_gpu_is_an_error_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(ConfigError, match="finds no GPU"):
        configure(device="gpu")
    configure(threads=1, device="cpu")  # TensorFlow may be running already: harmless


# Other ways to compute


def test_xla_computes_the_same(oracle_checkpoint: Find, network: Callable[[str], Network], data: Path) -> None:
    golden = np.load(data / "goldens" / "tiny8.npz")
    compiled = Network(checkpoint.load(str(oracle_checkpoint("tiny8"))), xla=True)
    given = golden["z"][:8], labels(golden["pitches"][:8]), 16
    for expected, found in zip(network("tiny8").waves(*given), compiled.waves(*given), strict=True):
        assert snr(expected, found) >= 60


def test_bfloat16_keeps_levels_and_spectra() -> None:
    mini = checkpoint.load("mini")
    size = mini.config.latent_vector_size
    z, pitches = np.random.RandomState(0).normal(size=[8, size]).astype(np.float32), labels(range(40, 80, 5))
    exact, rough = (Network(mini, precision).specgrams(z, pitches, 64) for precision in ("float32", "bfloat16"))
    loud = exact[..., 0] > exact[..., 0].max(axis=(1, 2), keepdims=True) - np.log(10) * 4  # within 40 dB
    decibels = np.abs(exact - rough)[..., 0][loud] * 10 / np.log(10)
    assert 0 < np.median(decibels) < 1
    assert np.percentile(decibels, 95) < 4


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True), ("bfloat16", False)])
def test_tensor_cores_round_only_where_they_were_asked_to(precision: str, allowed: bool) -> None:
    from gansynth.model._tensorflow import tf

    Network(checkpoint.load("mini"), precision)
    assert tf.config.experimental.tensor_float_32_execution_enabled() is allowed
    Network(checkpoint.load("mini"))
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


_RENDER = """
import sys
from gansynth.model.synthesizer import Synthesizer
import numpy as np
synth = Synthesizer.from_checkpoint("mini", threads=int(sys.argv[1]), device="cpu")
z = np.random.RandomState(4).normal(size=[9, synth.latent_size])
for samples in 5000, 30000:
    sys.stdout.buffer.write(synth.synthesize(z, range(30, 39), samples).tobytes())
"""


def test_threads_do_not_change_a_note() -> None:
    # In processes of their own, since TensorFlow's threads cannot be changed later.
    one, three = (subprocess.run([sys.executable, "-c", _RENDER, n], capture_output=True, check=True) for n in "13")
    assert len(one.stdout) == 4 * 9 * 35000
    assert one.stdout == three.stdout
