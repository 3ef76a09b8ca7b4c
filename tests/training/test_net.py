"""The training tool's generator equals the package's; needs PyTorch, which only the tool's environment has."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is in training/.venv alone")

import numpy as np  # noqa: E402

from training import targets  # noqa: E402
from training.losses import Loss, pooled  # noqa: E402
from training.net import Generator, Shape, grow, load_variables, start_identity, variables  # noqa: E402

SMALL = Shape(latent_vector_size=4, start_height=1, num_resolutions=8, fmap_base=512, fmap_max=8)


@pytest.fixture
def net() -> Generator:
    torch.manual_seed(0)
    made = Generator(SMALL)
    start_identity(made, 0)
    with torch.no_grad():
        made.first.normal_(1.0, 0.3)
    return made


def test_variables_there_and_back(net: Generator) -> None:
    other = Generator(SMALL)
    load_variables(other, variables(net))
    z, labels = torch.randn(2, 4), torch.tensor([0, 60])
    with torch.no_grad():
        np.testing.assert_allclose(other(z, labels, 3)[0], net(z, labels, 3)[0], atol=1e-5)


def test_a_block_that_joins_draws_what_the_one_below_drew_without_its_steps() -> None:
    torch.manual_seed(0)
    # Two rows at the start, so that there is a step in the middle of every image.
    net = Generator(Shape(latent_vector_size=4, start_height=2, num_resolutions=7, fmap_base=512, fmap_max=16))
    assert [net.shape.filters(block) for block in (3, 4, 5, 6, 7)] == [16, 16, 16, 8, 4]
    start_identity(net, 0)
    with torch.no_grad():
        net.first.normal_(1.0, 0.2)
    z, labels, onset_block = torch.randn(6, 4), torch.arange(0, 60, 10), 5
    for block in (4, 5, 6, 7):
        with torch.no_grad():
            power, phase, onset = net(z, labels, block - 1)
            grow(net, block, z, labels, onset_block, 0)
            got_power, got_phase, _ = net(z, labels, block)
        rows = power.shape[1]
        step, level = slice(rows - 1, rows + 1), slice(3, rows // 2)
        quarters = torch.tensor([0.25, 0.75])[:, None]
        before, after = power[:, rows // 2 - 1 : rows // 2], power[:, rows // 2 : rows // 2 + 1]
        size = (after - before).std()
        # Repeated rows would be 0.25 off; what is left is the norm's, between rows that differ by chance.
        assert (got_power[:, step] - before - quarters * (after - before)).std() < 0.2 * size, block
        held_power, held = power.repeat_interleave(2, dim=1), phase.repeat_interleave(2, dim=1)
        if block == onset_block:
            held[:, 0] = onset[:, 0]
            assert (got_phase - held)[:, 0].std() < 0.16 * held.std()
        assert (got_power - held_power)[:, level].std() < 0.1 * held_power.std(), block
        assert (got_phase - held)[:, level].std() < 0.1 * held.std(), block


def test_a_block_too_small_for_the_images_is_refused(net: Generator) -> None:
    with pytest.raises(ValueError, match="block 8 has 2 filters; its images alone need 4"):
        grow(net, 8, torch.randn(2, 4), torch.tensor([0, 60]), 6, 0)


def test_perfect_images_cost_nothing(net: Generator) -> None:
    loss = Loss(16, np.stack([targets.frequency_images(pitch) for pitch in targets.PITCHES]))
    labels = torch.tensor([12, 36])
    wanted = torch.randn(2, 16, 1024)
    power = wanted * 0.0661371661726 + 0.113718730221
    parts = loss(power, loss.phase(labels) * 0.8, loss.images[labels][:, :1].expand(2, 16, 1024) * 0.8, labels, wanted)
    assert all(float(part) < 1e-3 for part in parts.values()), parts


def test_pooling_keeps_the_mean_magnitude() -> None:
    image = np.log(np.random.RandomState(0).uniform(0.1, 1.0, [128, 1024]) ** 2)
    np.testing.assert_allclose(
        np.exp(pooled(image, 8).double().numpy() / 2).mean(), np.exp(image / 2).mean(), rtol=1e-3
    )
