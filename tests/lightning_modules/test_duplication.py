import threading
import warnings

import pytest
import torch
from torch import nn

from datamodules import UserError
from lightning_modules.duplication import duplicate


def test_computed_weights_are_copied_after_a_forward_with_a_graph() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.utils.weight_norm(nn.Linear(3, 2))
    image = torch.rand(4, 3)
    answer = model(image)
    twin = duplicate(model)
    assert torch.equal(twin(image), answer)
    with torch.no_grad():
        twin.weight_g.mul_(2)
    assert torch.equal(model(image), answer)
    assert not torch.equal(twin(image), answer)


class Locked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head, self.lock = nn.Linear(3, 2), threading.Lock()


def test_what_cannot_be_copied_is_told() -> None:
    with pytest.raises(UserError, match=r"but Locked cannot .TypeError: cannot pickle"):
        duplicate(Locked())
