"""Averages of networks, and the fit to a consensus, against FedMD's and FedDF's formulae."""

from typing import Any

import pytest
import torch
from torch import nn

from datamodules import Batch, Preprocessing, UserError
from lightning_modules import Classifier
from lightning_modules.distillation import ConsensusFitting, FederatedRecipe, fused

INDEX = torch.tensor([2, 5, 9, 30])
CONSENSUS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    plain = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))
    return Classifier(network, classes=3, preprocessing=plain, architecture="test")


def test_a_linear_average_answers_the_average() -> None:
    """Of linear layers the mean network gives the mean answer; counters are not averaged."""
    networks = [nn.Linear(5, 3) for _ in range(2)]
    mean = nn.Linear(5, 3)
    mean.load_state_dict(fused([n.state_dict() for n in networks], [1, 3]))
    x = torch.randn(7, 5)
    torch.testing.assert_close(mean(x), 0.25 * networks[0](x) + 0.75 * networks[1](x))
    states = [classifier(seed).model.state_dict() for seed in (0, 1)]
    states[0]["1.num_batches_tracked"] += 7
    assert int(fused(states, [1, 1])["1.num_batches_tracked"]) == 7


@pytest.mark.parametrize("method", ["fedmd", "feddf"])
def test_the_loss_is_the_published_one_and_sees_no_label(method: Any) -> None:
    model = classifier().eval()
    recipe = FederatedRecipe(method=method, temperature=2.0 if method == "feddf" else 1.0)
    module = ConsensusFitting(model, INDEX, CONSENSUS, recipe).eval()
    image, order = torch.rand(3, 1, 4, 4), [3, 0, 2]
    losses = [
        module.batch_loss(Batch(image, label, INDEX[order]))
        for label in (torch.zeros(3).long(), torch.full((3,), -1))
    ]
    own, its = model(image), CONSENSUS[order]
    if method == "fedmd":
        expected = (own - its).abs().mean()
    else:
        kl = nn.KLDivLoss(reduction="batchmean")
        expected = 4 * kl((own / 2).log_softmax(1), (its / 2).softmax(1))
    for loss in losses:
        torch.testing.assert_close(loss, expected)


MISTAKES = {
    "rounds": ({"rounds": 0}, "`federated.rounds` of at least 1, but got 0"),
    "temperature": ({"temperature": 0}, "`federated.temperature` above 0"),
    "of fedmd": ({"method": "fedmd", "temperature": 2}, "fedmd fits logits and has none"),
    "alpha": ({"alpha": 1.0}, "the split 'halves' has none"),
    "share": ({"public_share": 1}, r"in \(0, 1\), but got 1"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str) -> None:
    facts, message = MISTAKES[case]
    with pytest.raises(UserError, match=message):
        FederatedRecipe(**facts)  # type: ignore[arg-type]
