"""A module is given back as it was, also after an exception."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from callbacks.leave_no_trace import leave_no_trace


def model() -> nn.Sequential:
    made = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten())
    made[0].weight.requires_grad_(False)
    made[0].bias.grad = torch.ones(2)
    made[1].eval()
    made[3].register_forward_hook(lambda *_: None)
    return made


def state(module: nn.Module) -> tuple:
    return (
        [part.training for part in module.modules()],
        [
            (p.requires_grad, None if p.grad is None else p.grad.tolist())
            for p in module.parameters()
        ],
        [list(part._forward_hooks) + list(part._backward_hooks) for part in module.modules()],
        [tensor.tolist() for tensor in module.state_dict().values()],
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
        random.getstate(),
    )


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(fails: bool) -> None:
    module = model()
    before = state(module)
    try:
        with leave_no_trace(module):
            assert not any(part.training for part in module.modules())
            assert not any(parameter.requires_grad for parameter in module.parameters())
            torch.rand(3), np.random.rand(3), random.random()
            module[0].register_forward_pre_hook(lambda *_: None)
            module[0].register_full_backward_hook(lambda *_: None)
            next(iter(module[3]._forward_hooks))
            module[3]._forward_hooks.clear()
            module[0].bias.grad = torch.zeros(2)
            module.train()
            if fails:
                raise RuntimeError
    except RuntimeError:
        assert fails
    assert state(module) == before
