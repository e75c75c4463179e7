import pytest
import torch
import torch.nn.functional as F
from torch import nn

from callbacks.adversarial.soft_label_training import SoftLabelTraining
from datamodules import UserError


def linear() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    return model, 0.4 + 0.2 * torch.rand(6, 1, 4, 4)


def test_reaches_the_corner_that_is_worst_for_a_linear_model() -> None:
    """Two classes: the divergence grows along one direction, so the optimum is a corner."""
    model, image = linear()
    certain = torch.tensor([[1.0, 0.0]]).expand(6, 2)
    found = SoftLabelTraining(0.1)(model, image, certain)
    weight = model[1].weight
    corner = image + 0.1 * (weight[1] - weight[0]).sign().view(1, 1, 4, 4)
    torch.testing.assert_close(found, corner)


def test_stays_in_ball_and_box_and_hurts() -> None:
    model, image = linear()
    image = (image - 0.45).clamp(0, 1)
    wanted = model(image).softmax(1).detach()
    found = SoftLabelTraining(0.05, steps=5)(model, image, wanted)
    assert float((found - image).abs().max()) <= 0.05 + 1e-6
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    with torch.no_grad():
        before, after = (
            float(F.kl_div(model(x).log_softmax(1), wanted, reduction="batchmean"))
            for x in (image, found)
        )
    assert after > before + 1e-4, "left the point where the gradient is 0"


def test_takes_labels_too() -> None:
    model, image = linear()
    label = torch.tensor([0, 1, 0, 1, 0, 1])
    one_hot = F.one_hot(label, 2).float()
    hard, soft = (SoftLabelTraining(0.1)(model, image, y) for y in (label, one_hot))
    torch.testing.assert_close(hard, soft)


def test_refuses_an_empty_ball() -> None:
    with pytest.raises(UserError, match="Expected `epsilon` to be positive"):
        SoftLabelTraining(0)
