"""Checkpoints: Magenta's layout, errors that name the wrong file, and downloads that are cached and verified."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from gansynth.errors import CheckpointError
from gansynth.io import files, retry, urls
from gansynth.model import download
from gansynth.model.checkpoint import load
from gansynth.model.layout import ModelConfig
from tests.support.checkpoints import EMA, SCOPE, SMALL, random_variables, write_checkpoint, write_save, write_state

ROOT = Path(__file__).parents[3]
KERNEL = "progressive_gan_block_1/conv1/conv2d/kernel"


def kernel_of(variables: dict[str, Any]) -> np.ndarray:
    return variables[f"{SCOPE}{KERNEL}{EMA}"]


def fails(folder: Path | str, *says: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(str(folder))
    message = str(caught.value)
    for text in says:
        assert text in message
    assert "\n" not in message


# The layout


def test_what_a_checkpoint_holds(oracle_checkpoint: Callable[[str], Path]) -> None:
    loaded = load(str(oracle_checkpoint("tiny")))
    assert loaded.num_blocks == 7
    assert loaded.progress == 6.0
    assert loaded.config.latent_vector_size == 16
    assert loaded.config.output_resolution == (128, 1024)
    assert loaded.digest.startswith("sha256:")
    assert loaded.digest == load(str(oracle_checkpoint("tiny"))).digest
    assert loaded.digest != load(str(oracle_checkpoint("tiny_phase"))).digest  # same sizes, other flags
    assert {value.dtype for value in loaded.weights.values()} == {np.dtype(np.float32)}
    # Only the last block's colours are heard in a final stage.
    assert [name for name in loaded.weights if "to_rgb" in name] == [
        f"progressive_gan_block_7/to_rgb/{part}" for part in ("conv2d/kernel", "bias")
    ]
    assert sum(loaded.block_weight(block) for block in range(1, 8)) == 1


@pytest.mark.parametrize(
    ("kind", "blocks", "progress"),
    [
        ("tiny_transition", 7, 5.375),  # beside a decoy stage and a decoy save of another step
        ("tiny_early_transition", 4, 2.25),
        ("tiny_nonprog", 7, 6.0),  # global_step 4,000,000 would be 2.5
    ],
)
def test_stage_and_progress(kind: str, blocks: int, progress: float, oracle_checkpoint: Callable[[str], Path]) -> None:
    loaded = load(str(oracle_checkpoint(kind)))
    assert (loaded.num_blocks, loaded.progress) == (blocks, progress)
    assert sum(loaded.block_weight(block) for block in range(1, blocks + 1)) == pytest.approx(1)


def test_relative_path_in_checkpoint_file(tmp_path: Path) -> None:
    variables = random_variables(SMALL, 3)
    folder = write_checkpoint(tmp_path, variables=variables)
    assert (load(str(folder)).weights[KERNEL] == kernel_of(variables)).all()


def test_absolute_path_in_checkpoint_file_wins(tmp_path: Path) -> None:
    elsewhere, variables = tmp_path / "elsewhere", random_variables(SMALL, 3, seed=1)
    write_checkpoint(elsewhere, variables=variables)
    folder = write_checkpoint(tmp_path / "here", named=f"{elsewhere}/stage_00004/model.ckpt-{{step}}")
    assert (load(str(folder)).weights[KERNEL] == kernel_of(variables)).all()


@pytest.mark.parametrize("named", ["/home/someone/gone/stage_00004/model.ckpt-{step}", "gone/model.ckpt-{step}"])
def test_vanished_path_falls_back_to_the_files_beside(named: str, tmp_path: Path) -> None:
    variables = random_variables(SMALL, 3)
    folder = write_checkpoint(tmp_path, variables=variables, named=named)
    assert (load(str(folder)).weights[KERNEL] == kernel_of(variables)).all()


def test_escaped_path_in_checkpoint_file(tmp_path: Path) -> None:
    # TensorFlow writes it as a quoted protobuf string.
    odd = tmp_path / 'odd "name"'
    folder = write_checkpoint(odd)
    write_state(folder / "stage_00004", str(folder / "stage_00004" / "model.ckpt-1000000").replace('"', '\\"'))
    assert load(str(folder)).num_blocks == 3


def test_highest_stage_counts(tmp_path: Path) -> None:
    right = random_variables(SMALL, 3, seed=1)
    write_checkpoint(tmp_path, stage=3, variables=random_variables(SMALL, 3, seed=2))
    folder = write_checkpoint(tmp_path, stage=4, variables=right)
    (folder / "stage_00009.tmp").mkdir()
    (folder / "stage_later").mkdir()
    (folder / "stage_00010").write_text("a file")
    assert (load(str(folder)).weights[KERNEL] == kernel_of(right)).all()


def test_stages_are_numbers_not_words(tmp_path: Path) -> None:
    # The reference sorts names; with its five digits that is the same order.
    right = random_variables(SMALL, 3, seed=1)
    folder = write_checkpoint(tmp_path, stage=4, variables=right)
    write_checkpoint(tmp_path, stage=0)
    assert load(str(folder)).num_blocks == 3


def test_the_named_save_counts_not_the_latest(tmp_path: Path) -> None:
    right = random_variables(SMALL, 3, seed=1)
    folder = write_checkpoint(tmp_path, variables=right, step=100)
    write_save(folder / "stage_00004" / "model.ckpt-900", random_variables(SMALL, 3, seed=2))
    assert (load(str(folder)).weights[KERNEL] == kernel_of(right)).all()


def test_ema_not_raw(tmp_path: Path) -> None:
    shadows = random_variables(SMALL, 3)
    raw = {name.removesuffix(EMA): value + 1 for name, value in shadows.items()}
    loaded = load(str(write_checkpoint(tmp_path, variables=shadows, extra=raw)))
    for name, value in loaded.weights.items():
        assert (value == shadows[f"{SCOPE}{name}{EMA}"]).all()
    shutil.rmtree(tmp_path)
    fails(write_checkpoint(tmp_path, variables=raw), "stage_00004", EMA, "is this a GANSynth generator?")


def test_float16_on_disk(tmp_path: Path) -> None:
    variables = {name: value.astype(np.float16) for name, value in random_variables(SMALL, 3).items()}
    loaded = load(str(write_checkpoint(tmp_path, variables=variables)))
    assert loaded.weights[KERNEL].dtype == np.float32
    assert (loaded.weights[KERNEL] == kernel_of(variables).astype(np.float32)).all()


def test_missing_flags_have_the_references_defaults() -> None:
    config = ModelConfig.from_json("{}", "x")
    assert (config.latent_vector_size, config.fmap_base, config.fmap_max, config.fmap_decay) == (256, 512, 128, 1.0)
    assert (config.start_height, config.start_width, config.num_resolutions) == (4, 8, 7)
    assert (config.stable_stage_num_images, config.transition_stage_num_images) == (32, 32)
    assert (config.mag_normalizer_a, config.mag_normalizer_b) == (0.0661371661726, 0.113718730221)
    assert (config.p_normalizer_a, config.p_normalizer_b) == (0.8, 0.0)
    assert (config.audio_length, config.sample_rate, config.data_type) == (64000, 16000, "mel")
    assert (config.train_progressive, config.train_time_limit, config.simple_arch) == (True, None, False)
    assert (config.to_rgb_activation, config.scale_mode, config.scale_base) == ("tanh", "ALL", 2)
    assert config.output_resolution == (256, 512)


def test_defaults_hold_for_a_nearly_empty_experiment(tmp_path: Path) -> None:
    flags = {"latent_vector_size": 3, "fmap_base": 4, "fmap_max": 2}
    folder = write_checkpoint(tmp_path, flags, stage=1, step=47)
    loaded = load(str(folder))
    assert loaded.config.start_width == 8
    assert loaded.progress == 15 / 32  # 32 stable images, then 15 of 32 of the transition


def test_unknown_flags_are_ignored(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, SMALL | {"generator_learning_rate": "fast", "batch_size_schedule": [8]})
    assert load(str(folder)).config.latent_vector_size == 5


@pytest.mark.parametrize(
    ("stage", "step", "progress"),
    [
        (0, 0, 0),
        (0, 99, 0),
        (0, 5000, 0),
        (1, 100, 0),
        (1, 150, 0.5),
        (1, 299, 1),
        (2, 299, 1),
        (3, 325, 1.25),
        (4, 9999, 2),
    ],
)
def test_progress_from_the_step(stage: int, step: int, progress: float, tmp_path: Path) -> None:
    assert load(str(write_checkpoint(tmp_path, stage=stage, step=step))).progress == progress


def test_progress_from_time(tmp_path: Path) -> None:
    # networks.compute_progress_from_time: five stages of ten seconds, every second one a transition.
    flags = SMALL | {"train_time_limit": 50.0}
    for elapsed, progress in [(0.0, 0.0), (10.0, 0.0), (15.0, 0.5), (25.0, 1.0), (37.0, 1.7), (99.0, 2.0)]:
        folder = write_checkpoint(tmp_path, flags, extra={"Variable": np.float32(elapsed)})
        assert load(str(folder)).progress == pytest.approx(progress)
    # The time goes on in the stage before: its blocks are all there is.
    folder = write_checkpoint(tmp_path / "early", flags, stage=2, extra={"Variable": np.float32(45)})
    assert load(str(folder)).progress == 1.0


def test_progress_from_time_needs_the_time(tmp_path: Path) -> None:
    fails(write_checkpoint(tmp_path, SMALL | {"train_time_limit": 50.0}), "model.ckpt-1000000", "no variable Variable")


def test_not_progressive(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, SMALL | {"train_progressive": False}, step=10)
    assert load(str(folder)).progress == 2.0


def test_no_global_step_is_needed_where_progress_does_not_come_from_it(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, SMALL | {"train_progressive": False})
    write_save(folder / "stage_00004" / "model.ckpt-1000000", random_variables(SMALL, 3))
    assert load(str(folder)).progress == 2.0


# Normalizers


def test_normalizers(tmp_path: Path) -> None:
    assert load(str(write_checkpoint(tmp_path))).scale.tolist() == [0.0661371661726, 0.8]
    folder = write_checkpoint(tmp_path, SMALL | {"data_normalizer": "none"})
    assert load(str(folder)).scale.tolist() == [1, 1]
    (tmp_path / "assets").mkdir()
    folder = write_checkpoint(tmp_path, SMALL | {"data_normalizer": "specgrams_simple_normalizer"})
    np.savez(tmp_path / "assets" / "specgrams_simple_normalizer.npz", normalizer=np.array([2.0, 3, 4, 5]))
    loaded = load(str(folder))
    assert (loaded.scale.tolist(), loaded.offset.tolist()) == ([2, 4], [3, 5])
    folder = write_checkpoint(tmp_path, SMALL | {"data_normalizer": "specgrams_freq_normalizer"})
    by_bin = np.arange(1.0, 65).reshape(16, 4)
    np.savez(tmp_path / "assets" / "specgrams_freq_normalizer.npz", normalizer=by_bin)
    loaded = load(str(folder))
    assert (loaded.scale == by_bin[:, [0, 2]]).all()
    assert (loaded.offset == by_bin[:, [1, 3]]).all()


class Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path(__file__).with_name("pickle-was-loaded"),))


@pytest.mark.parametrize(
    "how", ["object array", "bare pickle", "missing", "text", "npy", "truncated", "shape", "zero", "nan", "key"]
)
def test_bad_normalizers_are_named(how: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, SMALL | {"data_normalizer": "specgrams_simple_normalizer"})
    path = folder / "assets" / "specgrams_simple_normalizer.npz"
    path.parent.mkdir()
    good = np.array([2.0, 3, 4, 5])
    if how == "object array":
        np.savez(path, normalizer=np.array([Bomb()], object))
    elif how == "bare pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif how == "text":
        path.write_text("not an archive")
    elif how == "npy":
        with path.open("wb") as f:
            np.save(f, good)
    elif how == "key":
        np.savez(path, other=good)
    elif how != "missing":
        value = {"shape": good[:3], "zero": good * 0, "nan": good * np.nan}.get(how, good)
        np.savez(path, normalizer=value)
        if how == "truncated":
            path.write_bytes(path.read_bytes()[:-40])
    fails(folder, str(path))
    assert not Path(__file__).with_name("pickle-was-loaded").exists()


# Errors


def test_missing_folder(tmp_path: Path) -> None:
    fails(tmp_path / "nowhere", "nowhere", "no such folder", "acoustic_only")
    fails("acoustic_onyl", "acoustic_onyl", "acoustic_only")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    fails(tmp_path / "x", str(tmp_path / "x"))


def test_no_experiment(tmp_path: Path) -> None:
    fails(tmp_path, "experiment.json", "No such file")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[1, 2]", "object"),
        (b"\xff\xfe", "cannot be read"),
        (b'{"latent_vector_size": 0}', "latent_vector_size"),
        (b'{"latent_vector_size": "many"}', "latent_vector_size"),
        (b'{"scale_mode": "W"}', "scale_mode"),
        (b'{"data_type": "cqt"}', "data_type"),
        (b'{"data_normalizer": "mine"}', "data_normalizer"),
        (b'{"to_rgb_activation": "relu"}', "to_rgb_activation"),
        (b'{"mag_normalizer_a": NaN}', "mag_normalizer_a"),
        (b'{"mag_normalizer_a": Infinity}', "mag_normalizer_a"),
        (b'{"num_resolutions": 99}', "num_resolutions"),
        (b'{"train_time_limit": -5}', "train_time_limit"),
        (b'{"scale_base": 1}', "scale_base"),
        (b'{"num_resolutions": 16}', "larger than"),
        (b'{"start_height": 4194304}', "larger than"),
        (b'{"start_height": 99999999999999999999}', "start_height"),
        (b'{"num_resolutions": 16, "scale_base": 1000000}', "larger than"),
    ],
)
def test_bad_experiment(text: bytes, says: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    (folder / "experiment.json").write_bytes(text)
    fails(folder, str(folder / "experiment.json"), says)


def test_zero_prespecified_normalizer(tmp_path: Path) -> None:
    fails(write_checkpoint(tmp_path, SMALL | {"mag_normalizer_a": 0.0}), "experiment.json", "normalizer is zero")


def test_no_stage(tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text("{}")
    fails(tmp_path, str(tmp_path), "no stage_* folder")


def test_stage_that_cannot_be(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    (folder / "stage_00004").rename(folder / "stage_00005")
    fails(folder, "stage_00005", "0 to 4")


def test_no_checkpoint_file(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    (folder / "stage_00004" / "checkpoint").unlink()
    fails(folder, str(folder / "stage_00004" / "checkpoint"), "No such file")


def test_checkpoint_file_that_names_nothing(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    for text in (b"", b"hello", b'model_checkpoint_path: ""', b"\xff\xff"):
        (folder / "stage_00004" / "checkpoint").write_bytes(text)
        fails(folder, str(folder / "stage_00004" / "checkpoint"))


def test_missing_index(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    (folder / "stage_00004" / "model.ckpt-1000000.index").unlink()
    fails(folder, str(folder / "stage_00004" / "checkpoint"), "model.ckpt-1000000.index", "is missing")


def test_missing_data(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    (folder / "stage_00004" / "model.ckpt-1000000.data-00000-of-00001").unlink()
    fails(folder, "model.ckpt-1000000")


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_truncated_data(keep: int, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    path = folder / "stage_00004" / "model.ckpt-1000000.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:keep])
    fails(folder, "model.ckpt-1000000")


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_truncated_index(keep: int, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    path = folder / "stage_00004" / "model.ckpt-1000000.index"
    path.write_bytes(path.read_bytes()[:keep])
    fails(folder, "model.ckpt-1000000", "not a readable TensorFlow checkpoint")


def test_flipped_bit(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    path = folder / "stage_00004" / "model.ckpt-1000000.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    fails(folder, "model.ckpt-1000000", "cannot be read")


def test_foreign_checkpoint(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, variables={"conv1/weights": np.ones(3, np.float32)})
    fails(folder, "model.ckpt-1000000", "has no variable Generator/", "is this a GANSynth generator?")


def test_wrong_shapes(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, variables=random_variables(SMALL, 3))
    (folder / "experiment.json").write_text(json.dumps(SMALL | {"latent_vector_size": 6}))
    fails(folder, "model.ckpt-1000000", "block_1/conv0/conv2d/kernel has shape [2, 4, 66, 4]", "[2, 4, 67, 4]")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(value: float, tmp_path: Path) -> None:
    variables = random_variables(SMALL, 3)
    kernel_of(variables).flat[7] = value
    fails(write_checkpoint(tmp_path, variables=variables), "model.ckpt-1000000", KERNEL, "not finite")


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    variables = random_variables(SMALL, 3)
    variables[f"{SCOPE}{KERNEL}{EMA}"] = np.full(kernel_of(variables).shape, "x")
    fails(write_checkpoint(tmp_path, variables=variables), "model.ckpt-1000000", KERNEL)


@pytest.mark.parametrize("step", [-5, [1, 2]])
def test_odd_global_step(step: Any, tmp_path: Path) -> None:
    fails(write_checkpoint(tmp_path, extra={"global_step": np.int64(step)}), "model.ckpt-1000000", "global_step")


# Fetching


class CountingFileSystem(MemoryFileSystem):
    """An in-memory file system like a bucket, which counts reads and can fail."""

    protocol = "counting"
    store: dict[str, Any] = {}  # noqa: RUF012 a class variable by fsspec's design
    pseudo_dirs = [""]  # noqa: RUF012
    reads: list[str] = []  # noqa: RUF012
    gone = False
    cut = ""

    def cat_file(self, path: str, start: Any = None, end: Any = None, **kwargs: Any) -> bytes:
        self.check()
        CountingFileSystem.reads.append(path.split("://")[-1].lstrip("/"))
        content = super().cat_file(path, start, end, **kwargs)
        return content[:-3] if self.cut and self.cut in path else content

    def info(self, path: str, **kwargs: Any) -> Any:
        self.check()
        return super().info(path, **kwargs)

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        self.check()
        return super().ls(path, detail, **kwargs)

    def check(self) -> None:
        if CountingFileSystem.gone:
            raise ConnectionError("the network is down")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[CountingFileSystem]]:
    """Creates an empty bucket at counting://, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(retry, "SECONDS", 0)
    monkeypatch.setattr(retry, "WORKER_SECONDS", 0)
    fsspec.register_implementation("counting", CountingFileSystem, clobber=True)
    CountingFileSystem.store.clear()
    CountingFileSystem.reads.clear()
    CountingFileSystem.gone, CountingFileSystem.cut = False, ""
    yield CountingFileSystem
    CountingFileSystem.gone = False


def upload(folder: Path, url: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            files.write_bytes(f"{url}/{path.relative_to(folder)}", path.read_bytes())
    return url


def make_remote(tmp_path: Path, url: str = "counting://bucket/voice", seed: int = 0, **options: Any) -> str:
    local = tmp_path / f"local{seed}"
    blocks = (options.get("stage", 4) + 1) // 2 + 1
    write_checkpoint(local, variables=random_variables(SMALL, blocks, seed), **options)
    return upload(local, url)


def cached(tmp_path: Path) -> list[str]:
    root = tmp_path / "cache" / "gansynth-beam" / "checkpoints"
    return sorted(str(p.relative_to(next(root.iterdir()))) for p in root.rglob("*") if p.is_file())


def test_only_what_inference_needs_is_fetched(bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    url = make_remote(tmp_path)
    for more in (
        "stage_00004/model.ckpt-1000000.meta",
        "stage_00004/model.ckpt-900.index",
        "stage_00004/model.ckpt-900.data-00000-of-00001",
        "stage_00004/events.out.tfevents.1",
        "stage_00003/checkpoint",
        "stage_00003/model.ckpt-1.data-00000-of-00001",
        "assets/specgrams_simple_normalizer.npz",
        "readme.txt",
    ):
        files.write_bytes(f"{url}/{more}", b"not needed")
    loaded = load(url)
    assert loaded.digest == load(str(tmp_path / "local0")).digest
    needed = [
        "experiment.json",
        "stage_00004/checkpoint",
        "stage_00004/model.ckpt-1000000.data-00000-of-00001",
        "stage_00004/model.ckpt-1000000.index",
    ]
    assert sorted(bucket.reads) == [f"bucket/voice/{name}" for name in needed]
    assert cached(tmp_path) == sorted([*needed, ".complete.json", ".lock"])


def test_the_normalizer_is_fetched_where_it_is_needed(bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "local", SMALL | {"data_normalizer": "specgrams_simple_normalizer"})
    (tmp_path / "local" / "assets").mkdir()
    np.savez(tmp_path / "local" / "assets" / "specgrams_simple_normalizer.npz", normalizer=np.array([2.0, 3, 4, 5]))
    url = upload(tmp_path / "local", "counting://bucket/voice")
    assert load(url).scale.tolist() == [2, 4]
    assert "bucket/voice/assets/specgrams_simple_normalizer.npz" in bucket.reads


def test_works_offline_once_it_is_there(bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    url = make_remote(tmp_path)
    first = load(url)
    bucket.gone = True
    bucket.reads.clear()
    assert load(url).digest == first.digest
    assert load(url + "/").digest == first.digest
    assert not bucket.reads


def test_no_network_and_no_copy(bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    url = make_remote(tmp_path)
    bucket.gone = True
    fails(url, url, "the network is down")
    bucket.gone = False
    assert load(url).num_blocks == 3


def test_a_source_that_does_not_answer_is_known_at_once(
    bucket: type[CountingFileSystem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_remote(tmp_path)
    download.check_reachable(url)
    with pytest.raises(CheckpointError, match=r"has no experiment\.json"):
        download.check_reachable("counting://bucket/empty")
    bucket.gone = True
    with pytest.raises(CheckpointError, match=r"network is down.*checkpoint=/path/to/voice.*mini needs no network"):
        download.check_reachable(url)
    bucket.gone = False
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(download.listing, "size", lambda *_, **__: time.sleep(1))
    with pytest.raises(CheckpointError, match=r"not answered for 0.05 s\);"):
        download.check_reachable(url)


def test_a_complete_copy_needs_no_answer(bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    url = make_remote(tmp_path)
    download.localize(url)
    bucket.gone = True
    download.check_reachable(url)
    download.check_reachable("mini")
    download.check_reachable(str(tmp_path))


def test_the_weights_are_not_fetched_twice(bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    url = make_remote(tmp_path)
    load(url)
    bucket.reads.clear()
    load(url)
    assert not [path for path in bucket.reads if ".data-" in path]


@pytest.mark.parametrize("part", ["experiment.json", "checkpoint", ".index", ".data-"])
def test_truncated_transfer(part: str, bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    url = make_remote(tmp_path)
    bucket.cut = part
    fails(url, url, part, "bytes arrived")
    assert not [name for name in cached(tmp_path) if part in name]
    bucket.cut = ""
    assert load(url).num_blocks == 3


def test_a_damaged_copy_is_fetched_again(bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    url = make_remote(tmp_path)
    first = load(url)
    for path in (tmp_path / "cache").rglob("*.data-*"):
        path.write_bytes(path.read_bytes()[:-10])
    assert load(url).digest == first.digest


def test_a_new_stage_at_the_same_url_is_picked_up(bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    url = make_remote(tmp_path, stage=2)
    assert load(url).num_blocks == 2
    make_remote(tmp_path, seed=1, stage=4)
    assert load(url).num_blocks == 3


def test_a_new_save_of_the_same_stage_is_picked_up(bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    url = make_remote(tmp_path, step=100)
    first = load(url)
    make_remote(tmp_path, seed=1, step=200)
    assert load(url).digest == load(str(tmp_path / "local1")).digest != first.digest


def test_a_replaced_save_of_the_same_name_is_picked_up(bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    # Somebody trained again and uploaded over the old save: same names, same sizes, other weights.
    url = make_remote(tmp_path)
    load(url)
    make_remote(tmp_path, seed=1)
    assert load(url).digest == load(str(tmp_path / "local1")).digest


def test_same_name_in_two_places_is_kept_apart(bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    one = make_remote(tmp_path, "counting://bucket/a/voice")
    two = make_remote(tmp_path, "counting://bucket/b/voice", seed=1)
    assert load(one).digest != load(two).digest
    assert load(one).digest == load(str(tmp_path / "local0")).digest


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("experiment.json", "experiment.json"),
        ("stage_00004/checkpoint", "checkpoint"),
        ("stage_00004/model.ckpt-1000000.index", ".index"),
        ("stage_00004/model.ckpt-1000000.data-00000-of-00001", ".data-"),
    ],
)
def test_a_remote_that_lacks_a_file(missing: str, says: str, bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    url = make_remote(tmp_path)
    fs, root = urls.filesystem(url)
    fs.rm_file(f"{root}/{missing}")
    fails(url, url, says)


def test_a_remote_without_stages(bucket: type[CountingFileSystem]) -> None:
    files.write_bytes("counting://bucket/x/experiment.json", b"{}")
    fails("counting://bucket/x", "counting://bucket/x", "no stage_* folder")


@pytest.mark.parametrize("named", ["", "..", "../../other", "/", "a\\\\..\\\\.."])
def test_a_remote_checkpoint_file_leads_nowhere_else(
    named: str, bucket: type[CountingFileSystem], tmp_path: Path
) -> None:
    url = make_remote(tmp_path)
    files.write_bytes(f"{url}/stage_00004/checkpoint", f'model_checkpoint_path: "{named}"\n'.encode())
    fails(url, url)
    outside = [name for name in cached(tmp_path) if not name.startswith((".", "experiment", "stage_00004/"))]
    assert not outside


def test_unknown_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fails("nosuch://bucket/voice", "nosuch://bucket/voice")


def test_threads_fetch_once(bucket: type[CountingFileSystem], tmp_path: Path) -> None:
    url = make_remote(tmp_path)
    digests: list[str] = []
    threads = [threading.Thread(target=lambda: digests.append(load(url).digest)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 4
    assert len(set(digests)) == 1
    assert len([path for path in bucket.reads if ".data-" in path]) == 1


PROCESS = """
import sys, time
import fsspec
from fsspec.implementations.local import LocalFileSystem

class Slow(LocalFileSystem):
    protocol = "slow"
    @classmethod
    def _strip_protocol(cls, path):
        return LocalFileSystem._strip_protocol(path.removeprefix("slow://"))
    def cat_file(self, path, *args, **kwargs):
        with open(sys.argv[2], "a") as log:
            log.write(path + "\\n")
        time.sleep(0.2)
        return super().cat_file(path, *args, **kwargs)

fsspec.register_implementation("slow", Slow)
from gansynth.model import download
print(download.localize("slow://" + sys.argv[1]))
"""


def test_processes_fetch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    remote, log = write_checkpoint(tmp_path / "voice"), tmp_path / "log"
    command = [sys.executable, "-c", PROCESS, str(remote), str(log)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(3)]
    found = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(found) == 1
    read = log.read_text().splitlines()
    assert len([path for path in read if ".data-" in path]) == 1
    assert load(found.pop().decode().strip()).num_blocks == 3


@pytest.mark.parametrize("name", ["acoustic_only", "all_instruments"])
def test_published_names(
    name: str, bucket: type[CountingFileSystem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_remote(tmp_path, f"counting://magentadata/models/gansynth/{name}")
    asked: list[tuple[str, dict[str, Any]]] = []
    real = urls.filesystem

    def stand_in(url: str, **options: Any) -> Any:
        if not url.startswith("gs://"):
            return real(url, **options)
        asked.append((url, options))
        return real(url.replace("gs://", "counting://"))

    monkeypatch.setattr(urls, "filesystem", stand_in)
    first = load(name)
    assert asked
    assert all(url.startswith(f"gs://magentadata/models/gansynth/{name}") for url, _ in asked)
    assert all(options == {"token": "anon"} for _, options in asked)
    # What is published does not change: the second time the network is not even asked.
    bucket.gone = True
    asked.clear()
    assert load(name).digest == first.digest
    assert not asked


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert download.cache_folder() == tmp_path / "gansynth-beam" / "checkpoints"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.cache_folder() == tmp_path / ".cache" / "gansynth-beam" / "checkpoints"


def test_file_urls_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "voice")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    digests = {load(url).digest for url in (f"file://{tmp_path}/voice", "~/voice", "voice", f"{tmp_path}/voice/")}
    assert len(digests) == 1


def test_memory_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_checkpoint(tmp_path / "voice")
    url = upload(tmp_path / "voice", "memory://checkpoint-test/voice")
    try:
        assert load(url).digest == load(str(tmp_path / "voice")).digest
    finally:
        fsspec.filesystem("memory").rm("/checkpoint-test", recursive=True)


def test_bundled_checkpoint_loads() -> None:
    loaded = load("mini")
    assert loaded.config.output_resolution == (128, 1024)
    assert loaded.progress == loaded.num_blocks - 1
