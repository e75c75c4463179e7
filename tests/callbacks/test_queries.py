"""One batch shape for every call, and honest counts."""

import pytest
import torch
from torch import Tensor, nn

from callbacks.queries import Queries
from datamodules.errors import UserError


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.Flatten()]
    return nn.Sequential(*layers, nn.LazyLinear(10))


def squares(logits: Tensor, weight: Tensor) -> Tensor:
    return logits.square().sum(1) * weight


@pytest.mark.parametrize("size", [1, 7, 15, 16, 17, 40])
def test_answers_do_not_depend_on_the_company(size: int) -> None:
    model = network()
    image = torch.rand(40, 1, 28, 28)
    model(image)
    queries = Queries(model, chunk=16)
    weight = torch.rand(40)
    logits, losses, gradient = queries.gradient(image, squares, weight)
    for start in range(0, 40, size):
        rows = slice(start, start + size)
        part = queries.gradient(image[rows], squares, weight[rows])
        assert torch.equal(part[0], logits[rows])
        assert torch.equal(part[1], losses[rows])
        assert torch.equal(part[2], gradient[rows])
        assert torch.equal(queries(image[rows]), logits[rows])


def test_counts_leave_padding_out() -> None:
    shapes = []

    def model(image: Tensor) -> Tensor:
        shapes.append(len(image))
        return image.flatten(1)

    queries = Queries(model, chunk=4)
    queries(torch.rand(6, 1, 2, 2))
    queries.gradient(torch.rand(3, 1, 2, 2), lambda logits: logits.sum(1))
    assert (queries.forwards, queries.backwards) == (9, 3)
    assert shapes == [4, 4, 4]


def test_gradient_of_a_quadratic() -> None:
    queries = Queries(lambda image: image.flatten(1))
    image = torch.rand(5, 1, 2, 2)
    logits, losses, gradient = queries.gradient(image, squares, torch.arange(5.0))
    scale = torch.arange(5.0)[:, None, None, None]
    torch.testing.assert_close(gradient, 2 * image * scale)
    torch.testing.assert_close(losses, (image * image).sum((1, 2, 3)) * scale.flatten())
    assert not any(part.requires_grad for part in (logits, losses, gradient))


def test_works_in_inference_free_grad_disabled_regions() -> None:
    queries = Queries(network().eval(), chunk=4)
    image = torch.rand(4, 1, 28, 28)
    queries(image)
    with torch.no_grad():
        assert queries.gradient(image, lambda z: z.sum(1))[2].abs().sum() > 0


def test_a_network_that_writes_over_its_own_gradient_is_one_sentence() -> None:
    layer = nn.Conv2d(1, 2, 1)
    queries = Queries(lambda image: layer(image).relu().mul_(2).mean((2, 3)))
    assert queries(torch.rand(2, 1, 3, 3)).shape == (2, 2), "it answers"
    with pytest.raises(UserError, match="writes over a value that its gradient needs"):
        queries.gradient(torch.rand(2, 1, 3, 3), lambda logits: logits.sum(1))
