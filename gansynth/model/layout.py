"""Layout of a checkpoint folder: experiment.json, stage folders, and the save that a stage refers to."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gansynth.errors import CheckpointError
from gansynth.io import structured

NORMALIZER_ASSETS = {
    "none": None,
    "specgrams_prespecified_normalizer": None,
    "specgrams_simple_normalizer": "assets/specgrams_simple_normalizer.npz",
    "specgrams_freq_normalizer": "assets/specgrams_freq_normalizer.npz",
}
_MAX_IMAGE = 1 << 22
_Count = Annotated[int, Field(ge=1, le=1 << 40)]
_Size = Annotated[int, Field(ge=1, le=1 << 22)]
_Bounded = Annotated[float, Field(ge=-1e6, le=1e6)]


class ModelConfig(BaseModel):
    """The part of experiment.json that inference needs, with the reference's defaults.

    Source: magenta/models/gansynth/lib/model.py, set_flags. Unknown keys (training, data) are ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    data_type: Literal["mel", "linear", "phase", "wave"] = "mel"
    audio_length: _Size = 64000
    sample_rate: _Size = 16000
    data_normalizer: Literal[
        "specgrams_prespecified_normalizer", "specgrams_simple_normalizer", "specgrams_freq_normalizer", "none"
    ] = "specgrams_prespecified_normalizer"
    mag_normalizer_a: _Bounded = 0.0661371661726
    mag_normalizer_b: _Bounded = 0.113718730221
    p_normalizer_a: _Bounded = 0.8
    p_normalizer_b: _Bounded = 0.0
    stable_stage_num_images: _Count = 32
    transition_stage_num_images: _Count = 32
    train_progressive: bool = True
    train_time_limit: float | None = Field(None, gt=0, le=1e12)
    train_time_stage_multiplier: float = Field(1.0, ge=0.01, le=100)
    latent_vector_size: _Size = 256
    kernel_size: _Size = 3
    start_height: _Size = 4
    start_width: _Size = 8
    scale_mode: Literal["ALL", "H"] = "ALL"
    scale_base: int = Field(2, ge=2, le=1 << 22)
    num_resolutions: int = Field(7, ge=1, le=16)
    simple_arch: bool = False
    to_rgb_activation: Literal["tanh", "linear"] = "tanh"
    fmap_base: _Size = 512
    fmap_decay: float = Field(1.0, ge=-16, le=16)
    fmap_max: _Size = 128

    @classmethod
    def from_json(cls, text: str, source: str) -> ModelConfig:
        """Parses the text of an experiment.json.

        Args:
            text: content of the file.
            source: path or URL of the file, for messages.

        Raises:
            CheckpointError: it is not JSON, a value has the wrong type or is not supported by the reference, or the
                output is too large.
        """
        try:
            flags = structured.parse_json(text)
            if not isinstance(flags, dict):
                raise CheckpointError(f"{source}: holds no JSON object of flags.")
            config = cls.model_validate(flags)
        except ValidationError as error:
            raise CheckpointError(f"{source}: {structured.first_problem(error)}.") from None
        except ValueError as error:
            raise CheckpointError(f"{source}: Invalid JSON: {error}.") from None
        if math.prod(config.output_resolution) > _MAX_IMAGE:
            raise CheckpointError(
                f"{source}: the network's output is larger than {_MAX_IMAGE} pixels; check start_height, start_width, "
                "scale_base and num_resolutions."
            )
        return config

    def resolution(self, block: int) -> tuple[int, int]:
        """Returns height (time steps) and width (frequency bins) of the output of `block`, counted from 1."""
        factor = self.scale_base ** (block - 1)
        return self.start_height * factor, self.start_width * (factor if self.scale_mode == "ALL" else 1)

    @property
    def output_resolution(self) -> tuple[int, int]:
        """Returns height (time steps) and width (frequency bins) of the network's output."""
        return self.resolution(self.num_resolutions)


def stage_number(path: Path | str) -> int | None:
    """Returns N of a folder called stage_N; None for any other name."""
    match = re.fullmatch(r"stage_(\d+)", str(path).rstrip("/").rsplit("/", 1)[-1])
    return int(match[1]) if match else None


def named_save(text: str) -> str:
    """Extracts the path of the save from the text of a TensorFlow `checkpoint` file; "" if it has none."""
    match = re.search(r'^model_checkpoint_path:\s*"((?:[^"\\]|\\.)*)"', text, re.MULTILINE)
    return match[1].replace("\\\\", "\\").replace('\\"', '"') if match else ""


def reason_of(error: BaseException) -> str:
    """Returns the first line of an error's message, at most 300 characters, or its class name."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0][:300]
