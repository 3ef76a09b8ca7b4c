"""What the training tool draws is what the package plays; needs PyTorch, which only the tool's own environment has."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is in training/.venv alone")

import numpy as np  # noqa: E402

from training.losses import Loss, pooled  # noqa: E402
from training.net import Generator, Shape, load_variables, start_identity, variables  # noqa: E402

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


def test_perfect_images_cost_nothing(net: Generator) -> None:
    loss = Loss(16)
    labels = torch.tensor([12, 36])
    wanted = torch.randn(2, 16, 1024)
    power = wanted * 0.0661371661726 + 0.113718730221
    parts = loss(power, loss.phase(labels) * 0.8, loss.images[labels][:, :1].expand(2, 16, 1024) * 0.8, labels, wanted)
    assert all(float(part) < 1e-3 for part in parts.values()), parts


def test_pooling_keeps_the_mean_magnitude() -> None:
    image = np.log(np.random.RandomState(0).uniform(0.1, 1.0, [128, 1024]) ** 2)
    np.testing.assert_allclose(np.exp(pooled(image, 8).astype(float) / 2).mean(), np.exp(image / 2).mean(), rtol=1e-3)
