import math

import pytest
import torch
import torch.nn.functional as F

from lightning_modules.losses import LOSSES, cross_entropy, mse
from lightning_modules.mixing import mixed

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-3.0, 1.0, 4.0]])
LABEL = torch.tensor([0, 1, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs(smoothing: float) -> None:
    expected = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(LOGITS, LABEL)
    torch.testing.assert_close(cross_entropy(LOGITS, LABEL, smoothing), expected)


def test_mse_is_torchs_summed_over_classes() -> None:
    one_hot = F.one_hot(LABEL, 3).float()
    expected = torch.nn.MSELoss()(LOGITS.softmax(1), one_hot) * 3
    torch.testing.assert_close(mse(LOGITS, LABEL), expected)


def test_mse_in_closed_form() -> None:
    even = torch.zeros(1, 4)  # p = 1/4 each: (3/4)^2 + 3 (1/4)^2
    assert math.isclose(mse(even, torch.tensor([2])).item(), 0.75, rel_tol=1e-6)
    assert mse(even, torch.tensor([2]), 0.5).item() == pytest.approx(0.1875)  # half of the distance


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_labels_and_their_one_hot_form_agree(loss: object, smoothing: float) -> None:
    assert callable(loss)
    one_hot = F.one_hot(LABEL, 3).float()
    torch.testing.assert_close(loss(LOGITS, LABEL, smoothing), loss(LOGITS, one_hot, smoothing))


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_mixed_labels_say_what_is_in_the_image(mixup: float, cutmix: float) -> None:
    torch.manual_seed(0)
    label = torch.arange(6)
    image = label.float()[:, None, None, None].expand(6, 1, 8, 8).clone()
    made, target = mixed(image, label, 6, mixup, cutmix)
    assert target.shape == (6, 6)
    torch.testing.assert_close(target.sum(1), torch.ones(6))
    # The mean of an image of constant k's is the mean of k under its mixed label.
    torch.testing.assert_close(made.mean((1, 2, 3)), target @ label.float(), rtol=1e-4, atol=1e-4)


def test_nothing_is_mixed_by_default() -> None:
    image, label = torch.rand(2, 1, 4, 4), torch.tensor([0, 1])
    assert mixed(image, label, 2, 0, 0) == (image, label)
