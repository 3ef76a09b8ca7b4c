"""Reads GANSynth checkpoints in Magenta's layout: experiment.json, stage_*/checkpoint, stage_*/model.ckpt-N.*"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from gansynth import storage
from gansynth.errors import CheckpointError

MAGENTA_BUCKET = "gs://magentadata/models/gansynth"
PUBLISHED = ("acoustic_only", "all_instruments")
BUNDLED = {"mini": Path(__file__).parent / "mini"}
PITCHES = range(24, 85)
"""The MIDI pitches of NSynth's acoustic subset, in the order of the network's one-hot labels."""

_NORMALIZERS = {
    "none": None,
    "specgrams_prespecified_normalizer": None,
    "specgrams_simple_normalizer": "assets/specgrams_simple_normalizer.npz",
    "specgrams_freq_normalizer": "assets/specgrams_freq_normalizer.npz",
}
_MAX_IMAGE = 1 << 22


class ModelConfig(BaseModel):
    """The part of experiment.json that inference needs, with the reference's defaults.

    Source: magenta/models/gansynth/lib/model.py, set_flags. Unknown keys (training, data) are ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    data_type: Literal["mel", "linear", "phase", "wave"] = "mel"
    audio_length: PositiveInt = 64000
    sample_rate: PositiveInt = 16000
    data_normalizer: Literal[
        "specgrams_prespecified_normalizer", "specgrams_simple_normalizer", "specgrams_freq_normalizer", "none"
    ] = "specgrams_prespecified_normalizer"
    mag_normalizer_a: float = 0.0661371661726
    mag_normalizer_b: float = 0.113718730221
    p_normalizer_a: float = 0.8
    p_normalizer_b: float = 0.0
    stable_stage_num_images: PositiveInt = 32
    transition_stage_num_images: PositiveInt = 32
    train_progressive: bool = True
    train_time_limit: PositiveFloat | None = None
    train_time_stage_multiplier: PositiveFloat = 1.0
    latent_vector_size: PositiveInt = 256
    kernel_size: PositiveInt = 3
    start_height: PositiveInt = 4
    start_width: PositiveInt = 8
    scale_mode: Literal["ALL", "H"] = "ALL"
    scale_base: int = Field(2, ge=2)
    num_resolutions: int = Field(7, ge=1, le=16)
    simple_arch: bool = False
    to_rgb_activation: Literal["tanh", "linear"] = "tanh"
    fmap_base: PositiveInt = 512
    fmap_decay: float = 1.0
    fmap_max: PositiveInt = 128

    @classmethod
    def from_json(cls, text: str, source: str) -> ModelConfig:
        """Reads the text of an experiment.json found at `source`.

        Raises:
            CheckpointError: not JSON, or a value of the wrong type or outside what the reference knows.
        """
        try:
            config = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise CheckpointError(f"{source}: {where + ': ' if where else ''}{first['msg']}.") from None
        if np.prod(config.output_resolution) > _MAX_IMAGE:
            raise CheckpointError(f"{source}: an output larger than {_MAX_IMAGE} pixels is refused.")
        return config

    def resolution(self, block: int) -> tuple[int, int]:
        """Height (time) and width (frequency) of the output of `block` (1-based)."""
        factor = self.scale_base ** (block - 1)
        return self.start_height * factor, self.start_width * (factor if self.scale_mode == "ALL" else 1)

    @property
    def output_resolution(self) -> tuple[int, int]:
        """Height (time) and width (frequency) of the network's output."""
        return self.resolution(self.num_resolutions)


@dataclass(frozen=True)
class Checkpoint:
    """A generator's weights and all that inference needs to know about them.

    Attributes:
        config: the flags it was trained with.
        source: where it was read from, for messages.
        num_blocks: how many blocks the generator of this stage has.
        progress: training progress in 0 .. num_blocks - 1; its fraction blends two blocks' outputs.
        weights: float32 arrays by variable name relative to the generator's scope, EMA shadows only.
        scale, offset: the normalizer's a and b, float64, broadcast against [height, width, 2].
        digest: sha256 of everything above but the source.
    """

    config: ModelConfig
    source: str
    num_blocks: int
    progress: float
    weights: dict[str, NDArray[np.float32]] = field(repr=False)
    scale: NDArray[np.float64] = field(repr=False)
    offset: NDArray[np.float64] = field(repr=False)
    digest: str

    def block_weight(self, block: int) -> float:
        """How much the rgb output of `block` (1-based) counts at this progress; all of them add to 1."""
        return _block_weight(block, self.progress)


def load(name_or_path: str) -> Checkpoint:
    """Reads the generator from a checkpoint.

    Args:
        name_or_path: "mini" (bundled), "acoustic_only" or "all_instruments" (Magenta's, fetched once), a local
            folder, or any fsspec URL of a folder that holds experiment.json and stage_* folders.

    Raises:
        CheckpointError: names the file and what is wrong with it.
    """
    folder = localize(name_or_path)
    config = _read_config(folder)
    stage = _latest_stage(folder)
    return _read_generator(folder, config, stage, _checkpoint_prefix(stage))


def outline(name_or_path: str) -> tuple[Path, ModelConfig, int]:
    """What can be known of a checkpoint without its weights: its folder, its flags, and its generator's blocks.

    Raises:
        CheckpointError: see load.
    """
    folder = localize(name_or_path)
    return folder, _read_config(folder), _blocks(_stage_id(_latest_stage(folder)) or 0)


def _blocks(stage_id: int) -> int:
    return (stage_id + 1) // 2 + 1


def _read_config(folder: Path) -> ModelConfig:
    path = folder / "experiment.json"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({_reason(error)}); a GANSynth checkpoint folder holds experiment.json "
            "and stage_* folders."
        ) from None
    return ModelConfig.from_json(text, str(path))


def _latest_stage(folder: Path) -> Path:
    stages = sorted(p for p in folder.glob("stage_*") if p.is_dir() and _stage_id(p) is not None)
    if not stages:
        raise CheckpointError(f"{folder}: no stage_* folder; is this the folder of a trained GANSynth?")
    return stages[-1]


def _stage_id(path: Path | str) -> int | None:
    match = re.fullmatch(r"stage_(\d+)", str(path).rstrip("/").rsplit("/", 1)[-1])
    return int(match[1]) if match else None


def _named_save(text: str) -> str:
    """The save that a TensorFlow `checkpoint` file names: a path or a file name, as written."""
    match = re.search(r'^model_checkpoint_path:\s*"((?:[^"\\]|\\.)*)"', text, re.MULTILINE)
    return match[1].replace("\\\\", "\\").replace('\\"', '"') if match else ""


def _checkpoint_prefix(stage: Path) -> Path:
    """The save to restore, as tf.train.latest_checkpoint chooses it.

    Deviation: where the named place does not exist (a folder that was moved), a save of that name beside the
    `checkpoint` file is taken; the reference fails.
    """
    state = stage / "checkpoint"
    try:
        named = _named_save(state.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{state}: cannot be read ({_reason(error)}).") from None
    if not named:
        raise CheckpointError(f"{state}: names no model_checkpoint_path.")
    candidates = [Path(named) if os.path.isabs(named) else stage / named, stage / Path(named).name]
    for prefix in candidates:
        if prefix.with_name(prefix.name + ".index").is_file():
            return prefix
    raise CheckpointError(f"{state}: names {named}, but {candidates[-1]}.index is not there.")


def _read_generator(folder: Path, config: ModelConfig, stage: Path, prefix: Path) -> Checkpoint:
    from gansynth._tensorflow import tf

    stage_id = _stage_id(stage)
    assert stage_id is not None
    if stage_id > 2 * config.num_resolutions - 2:
        raise CheckpointError(
            f"{stage}: {config.num_resolutions} resolutions have stages 0 to {2 * config.num_resolutions - 2}."
        )
    num_blocks = _blocks(stage_id)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
    except Exception as error:  # the reader raises whatever Python error is nearest to its own
        raise CheckpointError(f"{prefix}: not a readable TensorFlow checkpoint ({_reason(error)}).") from None

    def read(name: str) -> NDArray[Any]:
        if name not in shapes:
            raise CheckpointError(f"{prefix}: has no variable {name}; is this a GANSynth generator?")
        try:
            return np.asarray(reader.get_tensor(name))
        except Exception as error:
            raise CheckpointError(
                f"{prefix}: variable {name} cannot be read ({_reason(error)}); the file may be truncated."
            ) from None

    def read_number(name: str) -> float:
        value = read(name)
        if value.shape or value.dtype.kind not in "iuf" or not 0 <= value < np.inf:
            raise CheckpointError(f"{prefix}: {name} is not a number 0 or more.")
        return float(value)

    progress = _progress(config, stage_id, num_blocks, read_number)
    scope = "Generator/progressive_gan_generator/"
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in _variable_shapes(config, num_blocks, progress).items():
        value = read(f"{scope}{name}/ExponentialMovingAverage")
        if value.shape != shape:
            raise CheckpointError(
                f"{prefix}: {name} has shape {list(value.shape)}, experiment.json asks for {list(shape)}."
            )
        if value.dtype.kind != "f":
            raise CheckpointError(f"{prefix}: {name} holds {value.dtype}, not floating-point numbers.")
        weights[name] = value.astype(np.float32)
        if not np.isfinite(weights[name]).all():
            raise CheckpointError(f"{prefix}: {name} holds values that are not finite.")
    scale, offset = _normalizer(folder, config)

    digest = hashlib.sha256(json.dumps([config.model_dump(), num_blocks, progress]).encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].tobytes())
    digest.update(scale.tobytes() + offset.tobytes())
    return Checkpoint(config, str(folder), num_blocks, progress, weights, scale, offset, "sha256:" + digest.hexdigest())


def _progress(config: ModelConfig, stage_id: int, num_blocks: int, read: Any) -> float:
    """Source: magenta/models/gansynth/lib/networks.py, compute_progress and compute_progress_from_time."""
    if not config.train_progressive:
        return num_blocks - 1.0
    if config.train_time_limit is not None:
        stages = 2 * config.num_resolutions - 1
        times = float(config.train_time_stage_multiplier) ** np.arange(stages)
        times = np.cumsum(times * (config.train_time_limit / times.sum()))
        elapsed = read("Variable")
        done = [np.clip((elapsed - times[i - 1]) / (times[i] - times[i - 1]), 0, 1) for i in range(1, stages, 2)]
        return float(min(sum(done), num_blocks - 1))
    stable, transition = config.stable_stage_num_images, config.transition_stage_num_images
    last = num_blocks * stable + (num_blocks - 1) * transition - 1
    whole, rest = divmod(min(int(read("global_step")), last), stable + transition)
    return whole + max(0.0, (rest - stable) / transition)


def _block_weight(block: int, progress: float) -> float:
    return max(0.0, min(progress - (block - 2), block - progress))


def _variable_shapes(config: ModelConfig, num_blocks: int, progress: float) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the variables that the output depends on at this progress."""

    def filters(block: int) -> int:
        return int(min(config.fmap_base / 2.0 ** (block * config.fmap_decay), config.fmap_max))

    inputs = config.latent_vector_size + len(PITCHES)
    height, width, k = config.start_height, config.start_width, config.kernel_size
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(1, num_blocks + 1):
        scope, out = f"progressive_gan_block_{block}", filters(block)
        into = filters(max(block - 1, 1))
        if config.simple_arch:
            if block == 1:
                shapes[f"{scope}/dense/kernel"] = (inputs, height * width * out)
                shapes[f"{scope}/dense/bias"] = (height * width * out,)
            else:
                shapes[f"{scope}/conv2d_transpose/kernel"] = (k, k, out, into)
                shapes[f"{scope}/conv2d_transpose/bias"] = (out,)
            rgb = f"{scope}/to_rgb/kernel"
        else:
            first = (height, width, inputs, out) if block == 1 else (k, k, into, out)
            shapes[f"{scope}/conv0/conv2d/kernel"], shapes[f"{scope}/conv0/bias"] = first, (out,)
            shapes[f"{scope}/conv1/conv2d/kernel"], shapes[f"{scope}/conv1/bias"] = (k, k, out, out), (out,)
            rgb = f"{scope}/to_rgb/conv2d/kernel"
        if _block_weight(block, progress) > 0:
            shapes[rgb], shapes[f"{scope}/to_rgb/bias"] = (1, 1, out, 2), (2,)
    return shapes


def _normalizer(folder: Path, config: ModelConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The a and b of the reference's data_normalizer, to undo x * a + b."""
    asset = _NORMALIZERS[config.data_normalizer]
    if config.data_normalizer == "none":
        return np.ones(2), np.zeros(2)
    if asset is None:
        a = np.array([config.mag_normalizer_a, config.p_normalizer_a])
        b = np.array([config.mag_normalizer_b, config.p_normalizer_b])
    else:
        path = folder / asset
        width = config.output_resolution[1]
        shape = (4,) if "simple" in config.data_normalizer else (width, 4)
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
                values = np.asarray(archive["normalizer"], np.float64)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise CheckpointError(f"{path}: cannot be read ({_reason(error)}).") from None
        if values.shape != shape:
            raise CheckpointError(f"{path}: has shape {list(values.shape)} instead of {list(shape)}.")
        a, b = values[..., 0::2], values[..., 1::2]
    if not (np.isfinite(a).all() and np.isfinite(b).all() and (a != 0).all()):
        raise CheckpointError(f"{folder / (asset or 'experiment.json')}: the normalizer is zero or not finite.")
    return a, b


def localize(name_or_path: str) -> Path:
    """The local folder of a checkpoint, fetched into the cache first where it is not local.

    Raises:
        CheckpointError: unknown name, missing folder, or a fetch that failed with nothing in the cache.
    """
    if name_or_path in BUNDLED:
        return BUNDLED[name_or_path]
    if name_or_path in PUBLISHED:
        return _fetch(f"{MAGENTA_BUCKET}/{name_or_path}", frozen=True, token="anon")
    if not storage.is_local(name_or_path):
        return _fetch(name_or_path.rstrip("/"), frozen=False)
    folder = Path(storage.local_path(name_or_path))
    if not folder.is_dir():
        names = ", ".join([*BUNDLED, *PUBLISHED])
        raise CheckpointError(f"{name_or_path}: no such folder, and not a known name ({names}).")
    return folder


def cache_folder() -> Path:
    """Where fetched checkpoints are kept: $XDG_CACHE_HOME/gansynth-beam, or ~/.cache/gansynth-beam."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "gansynth-beam" / "checkpoints"


def _fetch(url: str, *, frozen: bool, **options: Any) -> Path:
    """Copies what inference needs of `url` into the cache; one process at a time does so.

    A `frozen` checkpoint that is complete in the cache is used without asking the network; any other is
    compared with its source by size first, and used as it is when the source cannot be reached.
    """
    key = hashlib.sha256(url.encode()).hexdigest()[:12]
    folder = cache_folder() / f"{url.rsplit('/', 1)[-1]}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder / ".lock"):
        complete = _is_complete(folder)
        if frozen and complete:
            return folder
        try:
            sizes = _fetch_files(url, folder, options)
        except CheckpointError:
            raise
        except Exception as error:
            if complete:
                return folder
            raise CheckpointError(
                f"{url}: cannot be fetched ({_reason(error)}); check the network and permissions, or give the "
                "path of a local copy."
            ) from error
        storage.write_bytes(str(folder / ".complete.json"), json.dumps(sizes).encode())
    return folder


def _is_complete(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / ".complete.json").read_text())
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _fetch_files(url: str, folder: Path, options: dict[str, Any]) -> dict[str, int]:
    sizes: dict[str, int] = {}

    def size_of(name: str) -> int:
        return storage.size(f"{url}/{name}", **options)

    def read(name: str) -> bytes:
        sizes[name], data = size_of(name), storage.read_bytes(f"{url}/{name}", **options)
        if len(data) != sizes[name]:
            raise CheckpointError(f"{url}/{name}: {len(data)} of {sizes[name]} bytes arrived; try again.")
        return data

    def fetch(name: str) -> Path:
        storage.write_bytes(str(folder / name), read(name))
        return folder / name

    try:
        experiment = fetch("experiment.json")
        stages = [name for name in storage.names(url, **options) if _stage_id(name) is not None]
        if not stages:
            raise CheckpointError(f"{url}: no stage_* folder; is this the folder of a trained GANSynth?")
        state = fetch(f"{stages[-1]}/checkpoint")
        save = _named_save(state.read_text(encoding="utf-8", errors="replace")).replace("\\", "/").rsplit("/", 1)[-1]
        if not re.fullmatch(r"[\w.\-]+", save):
            raise CheckpointError(f"{url}/{stages[-1]}/checkpoint: names no model_checkpoint_path.")
        files = storage.names(f"{url}/{stages[-1]}", **options)
        parts = [name for name in files if re.fullmatch(re.escape(save) + r"\.(index|data-\d{5}-of-\d{5})", name)]
        if len(parts) < 2:
            raise CheckpointError(f"{url}/{stages[-1]}: {save}.index and .data-* are not both there.")
        # The index holds the checksums of the data: where it is as it was, so are they. It is written last.
        index_name = f"{stages[-1]}/{save}.index"
        index, kept = read(index_name), folder / index_name
        same = kept.is_file() and kept.read_bytes() == index
        for name in (f"{stages[-1]}/{part}" for part in parts if not part.endswith(".index")):
            if same and (folder / name).is_file() and (folder / name).stat().st_size == size_of(name):
                sizes[name] = size_of(name)
            else:
                fetch(name)
        storage.write_bytes(str(kept), index)
        config = ModelConfig.from_json(experiment.read_text(encoding="utf-8", errors="replace"), str(experiment))
        asset = _NORMALIZERS[config.data_normalizer]
        if asset:
            fetch(asset)
    except FileNotFoundError as error:
        raise CheckpointError(f"{url}: {_reason(error)} is not there; is this a GANSynth checkpoint?") from None
    return sizes


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _reason(error: BaseException) -> str:
    """The first line of an error's message, or its class name."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0][:300]
