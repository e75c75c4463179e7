import pytest
import torch
from torch import Tensor

from lightning_modules import build, in_chunks


@pytest.mark.parametrize("architecture", ["lenet", "cifar_resnet20"])
def test_answers_do_not_depend_on_the_batch(architecture: str) -> None:
    torch.manual_seed(0)
    model, image = build(architecture, 10).eval(), torch.rand(23, 3, 32, 32)
    with torch.no_grad():
        whole = in_chunks(model, image, 16)
        for size in (1, 7, 16, 23):
            parts = [in_chunks(model, part, 16) for part in image.split(size)]
            assert torch.equal(torch.cat(parts), whole), f"batches of {size}"
        order = torch.randperm(23)
        assert torch.equal(in_chunks(model, image[order], 16), whole[order])


@pytest.mark.parametrize(("rows", "calls"), [(1, 1), (4, 1), (5, 2), (12, 3)])
def test_every_call_has_the_same_shape(rows: int, calls: int) -> None:
    seen = []

    def forward(image: Tensor) -> Tensor:
        seen.append(len(image))
        return image * 2

    image = torch.arange(float(rows))[:, None]
    assert torch.equal(in_chunks(forward, image, 4), image * 2)
    assert seen == [4] * calls
