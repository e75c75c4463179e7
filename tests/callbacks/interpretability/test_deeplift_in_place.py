"""DeepLIFT of models that write over what activations were given or answered."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model

from callbacks import Draw, Queries
from callbacks.interpretability import DeepLift
from callbacks.interpretability.methods.deeplift import differences
from datamodules.errors import UserError


class Middle(nn.Module):
    """Any function between a convolution and what is read."""

    def __init__(self, middle: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.head, self.middle = nn.Conv2d(1, 4, 3), nn.Linear(4, 5), middle

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.middle(self.conv(image)).mean((2, 3)))


def twice_the_answer(y: Tensor) -> Tensor:
    r = F.gelu(y)
    r *= 2
    return r


def skip_onto_the_answer(y: Tensor) -> Tensor:
    r = F.relu(y)
    r += y
    return r


def relu_as_a_statement(y: Tensor) -> Tensor:
    F.relu_(y)
    return y


def module_as_a_statement(y: Tensor) -> Tensor:
    return nn.ReLU(inplace=True)(y) + 3 * y


def positional_flag(y: Tensor) -> Tensor:
    F.elu(y, 1.0, True)
    return y


def ones_are_no_flags(y: Tensor) -> Tensor:
    return F.elu(y, 1.0) + y


def given_written_later(y: Tensor) -> Tensor:
    r = F.silu(y)
    y += 1
    return r * 2 + y


def half_of_the_answer(y: Tensor) -> Tensor:
    r = torch.tanh(y)
    r[:, :2] = r[:, :2] * 3
    return r


def answer_into_a_view(y: Tensor) -> Tensor:
    r = F.softplus(y)
    r.view(-1).mul_(2)
    return r


def chain_in_place(y: Tensor) -> Tensor:
    r = F.relu(y)
    F.silu(r, inplace=True)
    return torch.sigmoid_(r) + r


def one_given_to_three(y: Tensor) -> Tensor:
    r = F.gelu(y)
    return F.max_pool2d(r, 2) + F.max_pool2d(torch.tanh(r), 2) + F.max_pool2d(r.relu(), 2)


def by_name(y: Tensor) -> Tensor:
    return F.relu(input=y, inplace=True) + y


MIDDLES = [
    twice_the_answer, skip_onto_the_answer, relu_as_a_statement, module_as_a_statement,
    positional_flag, ones_are_no_flags, given_written_later, half_of_the_answer,
    answer_into_a_view, chain_in_place, one_given_to_three, by_name,
]  # fmt: skip


@pytest.mark.parametrize("middle", MIDDLES)
@pytest.mark.parametrize("chunk", [None, 2])
def test_contributions_add_up_whatever_is_overwritten(middle: Callable, chunk: int | None) -> None:
    """The rescale rule's own theorem, with the model's own answers as truth."""
    torch.manual_seed(0)
    model = Middle(middle).double().eval()
    image, start = torch.rand(2, 5, 1, 12, 12, dtype=torch.float64)
    label, draw = torch.tensor([0, 1, 2, 3, 4]), (image.clone(), start.clone())
    with torch.no_grad():
        gain = (model(image) - model(start)).gather(1, label[:, None])[:, 0]
    queries = Queries(model, chunk)
    found = differences(queries, image, start, label)
    torch.testing.assert_close(found.sum((1, 2, 3)), gain, rtol=1e-5, atol=1e-6)  # float32 logits
    assert torch.equal(image, draw[0])
    assert torch.equal(start, draw[1])
    torch.testing.assert_close(differences(queries, image, start, label), found)


def test_writing_changes_no_contribution() -> None:
    """In place and out of place are the same function, hence have the same contributions."""
    torch.manual_seed(0)
    conv = Middle(lambda y: F.relu(y) + 3 * F.relu(y)).double().eval()
    image, start = torch.rand(2, 3, 1, 12, 12, dtype=torch.float64)
    label = torch.tensor([0, 1, 2])
    truth = differences(Queries(conv), image, start, label)
    conv.middle = module_as_a_statement
    found = differences(Queries(conv), image, start, label)
    torch.testing.assert_close(found, truth, rtol=1e-12, atol=1e-12)


def test_parameters_are_not_written_to() -> None:
    model = Middle(lambda y: y)
    assert model.conv.bias is not None
    bias = model.conv.bias
    model.middle = lambda y: y * F.softplus(bias)[:, None, None]
    before = {name: one.clone() for name, one in model.state_dict().items()}
    DeepLift()(Queries(model), torch.rand(2, 1, 12, 12), torch.tensor([0, 1]), _draw(2))
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


BENT = {
    "clamp": lambda y: y.clamp(0, 1),
    "clamp_min": lambda y: y.clamp_min_(0),
    "abs": lambda y: abs(y),
    "threshold": lambda y: F.threshold(y, 0.1, 0.0),
    "maximum": lambda y: torch.maximum(y, -y),
    "exp": lambda y: y.exp(),
    "pow": lambda y: y**2,
}


@pytest.mark.parametrize("name", BENT)
def test_bends_without_a_rule_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"no rule for {name}, "):
        DeepLift()(Queries(Middle(BENT[name])), torch.rand(1, 1, 8, 8), torch.tensor([0]), _draw(1))


def test_products_pass_on_derivatives_and_do_not_add_up() -> None:
    """As the docstring says; of f = g(y)·g(y), 2·g(y) is not the slope from the baseline."""
    torch.manual_seed(0)
    model = Middle(lambda y: torch.sigmoid(y) * torch.sigmoid(y)).double().eval()
    image, label = torch.rand(2, 1, 8, 8, dtype=torch.float64), torch.tensor([0, 1])
    found = DeepLift()(Queries(model), image, label, _draw(2)).sum((1, 2, 3))
    gain = (model(image) - model(0 * image)).gather(1, label[:, None])[:, 0]
    assert ((found - gain).abs() > 1e-3).all()


CONVOLUTIONAL = (
    "alexnet densenet121 googlenet mobilenet_v2 resnet18 shufflenet_v2_x0_5 squeezenet1_1 vgg11"
).split()


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_networks_are_not_refused_and_add_up(name: str) -> None:
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    model = get_model(name, weights=None, num_classes=5, **options).double().eval()
    model.requires_grad_(False)
    image, start = torch.rand(2, 1, 3, 64, 64, dtype=torch.float64)
    label = torch.tensor([1])
    with torch.no_grad():
        gain = (model(image) - model(start))[:, 1]
    found = differences(Queries(model, 2), image, start, label).sum((1, 2, 3))
    torch.testing.assert_close(found, gain, rtol=1e-6, atol=1e-9)


def _draw(count: int) -> Draw:
    return Draw(0, torch.arange(count))
