from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gansynth import load_bank
from gansynth.model import checkpoint
from training.export import export, half
from training.instruments import BUNDLED, latents

EXPERIMENT = {
    "latent_vector_size": 16,
    "start_height": 1,
    "start_width": 8,
    "num_resolutions": 3,
    "fmap_base": 16,
    "fmap_max": 4,
    "fmap_decay": 1.0,
    "scale_mode": "H",
    "to_rgb_activation": "linear",
}


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    random = np.random.RandomState(0)
    shapes: dict[str, tuple[int, ...]] = {}
    for block, into, out in ((1, 4, 4), (2, 4, 4), (3, 4, 2)):
        scope = f"progressive_gan_block_{block}"
        shapes[f"{scope}/conv0/conv2d/kernel"] = (1, 8, 77, out) if block == 1 else (3, 3, into, out)
        shapes[f"{scope}/conv1/conv2d/kernel"] = (3, 3, out, out)
        shapes[f"{scope}/to_rgb/conv2d/kernel"] = (1, 1, out, 2)
        shapes |= {f"{scope}/{layer}/bias": (out,) for layer in ("conv0", "conv1")} | {f"{scope}/to_rgb/bias": (2,)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("full", [False, True])
def test_what_is_exported_is_what_the_package_loads(weights: dict[str, np.ndarray], tmp_path: Path, full: bool) -> None:
    export(weights, EXPERIMENT, BUNDLED, tmp_path, full)
    found = checkpoint.load(str(tmp_path))
    assert found.config.resolution(3) == (4, 8)
    assert found.block_weight(3) == 1.0
    assert {name for name in weights if "to_rgb" not in name} < set(found.weights)
    for name, value in found.weights.items():
        np.testing.assert_array_equal(value, weights[name].astype(np.float16))
    bank = load_bank(str(tmp_path / "instruments.yaml"), 16)
    assert bank.names == tuple(entry.name for entry in BUNDLED if entry.programs)
    listed = [bool(entry.programs) for entry in BUNDLED]
    np.testing.assert_allclose(bank.latents, latents(len(BUNDLED), 16)[listed], atol=1e-6)
    assert sorted(bank.programs) == list(range(129))


def test_the_full_export_has_the_references_variables(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    import tensorflow as tf

    export(weights, EXPERIMENT, BUNDLED, tmp_path, full=True)
    shapes = tf.train.load_checkpoint(str(tmp_path / "stage_00004")).get_variable_to_shape_map()
    # As in the reference's own: both networks, two Adam slots of each, the generator's averages, six counters.
    generator, discriminator = 6 * 3, 6 * 3 + 4
    assert len(shapes) == 4 * generator + 3 * discriminator + 6
    block = "Discriminator/progressive_gan_discriminator/progressive_gan_block_1"
    assert shapes[f"{block}/conv0/conv2d/kernel"] == [3, 3, 5, 4]
    assert shapes[f"{block}/conv1/conv2d/kernel"] == [1, 8, 4, 4]


def test_what_float16_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel does not fit float16"):
        half("kernel", np.array([1e6]))
