"""How a checkpoint's notes are computed: rows, samples and operations. All of a network that planning needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from gansynth.errors import ConfigError
from gansynth.model import checkpoint
from gansynth.model.layout import ModelConfig

WAVE_MARGIN = 768
LADDER = (16, 24, 32, 48, 64, 112, 128)
"""Rows that notes are rendered with, of a whole note's 128: a finer ladder saves rows, a coarser one lets more notes
share a sound. 112 is the longest that the default envelope lets sound."""


@dataclass(frozen=True)
class NoteShape:
    """The size of a note, whole or in part.

    Args:
        config: the checkpoint's flags.
        source: where they are from, for messages.

    Raises:
        ConfigError: they fit no sound.

    """

    config: ModelConfig
    source: str

    def __post_init__(self) -> None:
        if self.config.data_type == "wave":
            if self.audio_samples < 1:
                raise ConfigError(f"{self.source}: {self.rows} rows are too few for data_type wave.")
            return
        if self.bins & (self.bins - 1):
            raise ConfigError(f"{self.source}: {self.bins} frequency bins are not a power of two.")
        if self.cropped < 0:
            raise ConfigError(
                f"{self.source}: audio_length {self.config.audio_length} is longer than {self.rows} frames."
            )

    @cached_property
    def rows(self) -> int:
        """Time steps of a whole note."""
        return self.config.output_resolution[0]

    @cached_property
    def bins(self) -> int:
        """Frequencies of each."""
        return self.config.output_resolution[1]

    @cached_property
    def hop(self) -> int:
        """Samples from one row to the next."""
        return 1 if self.config.data_type == "wave" else self.bins // 2

    @cached_property
    def cropped(self) -> int:
        """Samples that the rows cover in front of the note."""
        if self.config.data_type == "wave":
            return WAVE_MARGIN
        return self.hop * (self.rows - 1) + 2 * self.bins - self.audio_samples

    @property
    def note_samples(self) -> int:
        """Samples of a whole note."""
        return self.audio_samples

    @cached_property
    def audio_samples(self) -> int:
        """Samples of a whole note."""
        return self.rows - 2 * WAVE_MARGIN if self.config.data_type == "wave" else self.config.audio_length

    @cached_property
    def ladder(self) -> dict[int, int]:
        """Rows that notes are rendered with, ascending, and the samples that each is enough for."""
        return {rows: self.samples_of(rows) for rows in sorted({max(1, self.rows * step // 128) for step in LADDER})}

    def rows_for(self, samples: int) -> int:
        """How many rows the first `samples` samples of a note depend on."""
        return min(self.rows, -(-(samples + self.cropped) // self.hop))

    def samples_of(self, rows: int) -> int:
        """How many samples the first `rows` rows are enough for; 0 when they end before the note begins."""
        if rows >= self.rows:
            return self.audio_samples
        return min(self.audio_samples, max(0, rows * self.hop - self.cropped))

    def bucket(self, samples: int) -> int:
        """Rows to render a note of `samples` samples with: the smallest of the ladder to cover it, or the largest."""
        return next((rows for rows, covered in self.ladder.items() if covered >= samples), max(self.ladder))

    def flop(self, rows: int, blocks: int | None = None) -> float:
        """Floating-point operations that the convolutions need for a note's first `rows` rows.

        An upscaling and the convolution after it count as one, in which each output pixel has 2x2 different inputs.

        Args:
            rows: time steps of the output.
            blocks: how many the generator has; all resolutions if None.
        """
        config = self.config
        blocks = blocks or config.num_resolutions
        base, taps = config.scale_base, config.kernel_size**2
        after_upscaling = 4 if config.kernel_size == 3 and base == 2 else taps
        if config.scale_mode != "ALL" and after_upscaling == 4:
            after_upscaling = 6  # 2x3
        filters = [int(min(config.fmap_base / 2.0 ** (b * config.fmap_decay), config.fmap_max)) for b in range(99)]
        multiplications, needed = 0, -(-rows // base ** (config.num_resolutions - blocks))
        for block in range(blocks, 0, -1):
            height, width = config.resolution(block)
            needed = min(needed, height)
            if not config.simple_arch:
                multiplications += taps * filters[block] ** 2 * needed * width
            if block > 1:
                between = min(needed + config.kernel_size // 2, height)
                multiplications += after_upscaling * filters[block - 1] * filters[block] * between * width
                needed = between // base + 1
        return 2.0 * multiplications


def shape_of(name_or_path: str) -> tuple[NoteShape, int]:
    """The shape of a checkpoint's notes and the number of its generator's blocks; fetches it where it is not here.

    Raises:
        CheckpointError, ConfigError: it cannot be found or used.
    """
    folder, config, blocks = checkpoint.outline(name_or_path)
    return NoteShape(config, str(folder)), blocks
