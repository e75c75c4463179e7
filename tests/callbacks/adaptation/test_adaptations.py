"""Adaptations against networks edited by hand, on batch norms as people write them."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from callbacks.adaptation import BatchNorm, Tent, Unadapted
from callbacks.adaptation.adaptation import Adaptation, StreamBatch
from callbacks.adaptation.norms import batch_norms, is_frozen
from callbacks.digests import weights_digest
from callbacks.queries import Queries
from datamodules.errors import UserError


def conv(inputs: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, 6, 3, padding=1)


def ended(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))


class Aliased(nn.Module):
    """One batch norm under two names, called twice in a forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = conv(), nn.BatchNorm2d(6), nn.Linear(6, 4)
        self.again = self.norm

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.norm(self.conv(x)).relu() * 2)
        return self.head(x.mean((2, 3)))


class Shared(nn.Module):
    """Two batch norms with one scale."""

    def __init__(self) -> None:
        super().__init__()
        self.body = ended(conv(), nn.BatchNorm2d(6), nn.ReLU(), conv(6), nn.BatchNorm2d(6))
        self.body[4].weight = self.body[1].weight  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class NormAct(nn.BatchNorm2d):
    """A batch norm with a rectifier in its own forward, as timm's."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        return super().forward(input).relu()


class Named(nn.Module):
    """Calls its layers by the names of their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.frozen, self.tail = nn.BatchNorm2d(6), FrozenBatchNorm2d(6), ended()
        self.conv = conv()

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.frozen(x=self.norm(input=self.conv(x)).relu()))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: ended(conv(), nn.BatchNorm2d(6), nn.ReLU()),
    "in place": lambda: ended(conv(), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout(0.5)),
    "nested": lambda: ended(
        nn.Sequential(conv(), nn.Sequential(nn.BatchNorm2d(6, eps=0.1), nn.ReLU())),
        conv(6), nn.BatchNorm2d(6, momentum=None),
    ),
    "one dimension": lambda: nn.Sequential(
        conv(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(6), nn.Linear(6, 4)
    ),
    "aliased": Aliased,
    "shared": Shared,
    "named": Named,
    "of its own": lambda: ended(conv(), NormAct(6), conv(6), nn.SyncBatchNorm(6)),
    "frozen": lambda: ended(conv(), FrozenBatchNorm2d(6), nn.ReLU(), conv(6), nn.BatchNorm2d(6)),
    "no statistics": lambda: ended(
        conv(), nn.BatchNorm2d(6, track_running_stats=False), nn.ReLU(), conv(6), nn.BatchNorm2d(6)
    ),
    "not affine": lambda: ended(
        conv(), nn.BatchNorm2d(6, affine=False), conv(6), nn.BatchNorm2d(6)
    ),
}  # fmt: skip
EACH = pytest.mark.parametrize("name", NETWORKS)


def network(name: str) -> nn.Module:
    """With statistics and affine parameters that are not those of a fresh layer."""
    torch.manual_seed(0)
    model = NETWORKS[name]()
    for part in model.modules():
        for kind, (low, high) in {
            "running_mean": (-1, 1), "running_var": (0.5, 2), "weight": (0.5, 2), "bias": (-1, 1)
        }.items():  # fmt: skip
            tensor = getattr(part, kind, None)
            if isinstance(tensor, Tensor) and tensor.ndim == 1:
                nn.init.uniform_(tensor, low, high)
    return model.eval().requires_grad_(False)


def batches(sizes: tuple[int, ...] = (5, 4, 5)) -> list[StreamBatch]:
    generator = torch.Generator().manual_seed(1)
    image = [torch.rand(n, 3, 8, 8, generator=generator) * (i + 1) for i, n in enumerate(sizes)]
    return [StreamBatch(one, one.flip(2) * 3 + 1) for one in image]


def answers(adaptation: Adaptation, model: nn.Module, stream: list[StreamBatch]) -> list[Tensor]:
    return list(adaptation(Queries(model, 2), stream))  # which would pad, were it asked to


def formula(norm: Any, x: Tensor, share: float) -> Tensor:
    """Batch norm written out, with mixed statistics where the layer has any."""
    axes = [0, *range(2, x.ndim)]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    mean, variance = x.mean(axes), (x**2).mean(axes) - x.mean(axes) ** 2
    if norm.running_mean is not None:
        mean = share * norm.running_mean + (1 - share) * mean
        variance = share * norm.running_var + (1 - share) * variance
    z = (x - mean.view(shape)) / (variance.view(shape) + norm.eps) ** 0.5
    if getattr(norm, "weight", None) is not None:
        z = z * norm.weight.view(shape) + norm.bias.view(shape)
    return z.relu() if isinstance(norm, NormAct) else z


def by_formula(model: nn.Module, share: float) -> nn.Module:
    twin = copy.deepcopy(model)
    for part in twin.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) or is_frozen(part):
            part.forward = lambda x=None, part=part, **named: formula(
                part, named.get("input", x), share
            )
    return twin


@EACH
@pytest.mark.parametrize("prior", [0.0, 4.0, 1e9])
def test_batch_norm_is_the_formula(name: str, prior: float) -> None:
    model, stream = network(name), batches()
    for found, batch in zip(answers(BatchNorm(prior), model, stream), stream, strict=True):
        n = len(batch.image)
        expected = by_formula(model, prior / (prior + n))(batch.image)
        # E[x^2] - E[x]^2 of the formula loses digits that torch's own way keeps.
        assert torch.allclose(found, expected, atol=1e-4)


@EACH
def test_without_a_prior_it_is_training_mode(name: str) -> None:
    model, stream = network(name), batches()
    twin = copy.deepcopy(model)
    frozen = any(is_frozen(part) for part in twin.modules())
    for norm in batch_norms(twin):
        norm.train()
    for found, batch in zip(answers(BatchNorm(0), model, stream), stream, strict=True):
        if not frozen and name != "of its own":  # SyncBatchNorm trains on GPUs only
            assert torch.allclose(found, twin(batch.image), atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "in place", "nested", "one dimension"])
def test_foreign_statistics_are_those_of_the_other_images(name: str) -> None:
    """Torch's own running statistics, of one forward with momentum 1, made biased."""
    model, stream = network(name), batches()
    for found, batch in zip(answers(BatchNorm(0, True), model, stream), stream, strict=True):
        twin = copy.deepcopy(model)
        counts: dict[Any, int] = {}
        for norm in batch_norms(twin):
            norm.train().momentum = 1.0  # type: ignore[assignment]
            norm.register_forward_hook(
                lambda part, given, _, counts=counts: counts.update({part: given[0].numel() // 6})
            )
        twin(batch.reference)
        for norm, count in counts.items():
            norm.running_var *= (count - 1) / count
        assert torch.allclose(found, twin.eval()(batch.image), atol=1e-4)


def tented(model: nn.Module, stream: list[StreamBatch], tent: Tent) -> Iterator[Tensor]:
    """As the authors' script, but for dropout: the network edited in place by torch's optimizer."""
    twin = copy.deepcopy(model)
    learning = []
    for part in list(twin.modules()):
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.track_running_stats, part.running_mean, part.running_var = False, None, None
        elif is_frozen(part):
            weight, bias = (nn.Parameter(part._buffers.pop(kind)) for kind in ("weight", "bias"))
            part.weight, part.bias = weight, bias
            part.forward = lambda x, part=part: F.batch_norm(
                x, None, None, part.weight, part.bias, True, 0.0, part.eps
            )
        else:
            continue
        learning += [p.requires_grad_() for p in part.parameters(recurse=False)]
    learning = list(dict.fromkeys(learning))
    adam, sgd = torch.optim.Adam, torch.optim.SGD
    optimizer = (
        adam(learning, tent.lr)
        if tent.optimizer == "adam"
        else sgd(learning, tent.lr, momentum=0.9)
    )
    for batch in stream:
        for _ in range(tent.steps):
            logits = twin(batch.image)
            loss = torch.distributions.Categorical(logits=logits).entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield logits.detach()


@EACH
@pytest.mark.parametrize("tent", [Tent(0.05), Tent(0.5, "sgd", 2)], ids=repr)
def test_tent_is_the_network_edited_in_place(name: str, tent: Tent) -> None:
    model, stream = network(name), batches()
    found, expected = answers(tent, model, stream), list(tented(model, stream, tent))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-4)  # Adam divides by small gradients
    still = answers(Tent(1e-9), model, stream)
    assert not torch.allclose(found[2], still[2], atol=1e-3), "it moved"
    again = answers(tent, model, stream)
    assert all(torch.equal(*pair) for pair in zip(found, again, strict=True)), "from the source on"


def test_tent_adapts_layer_norm_too() -> None:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(192, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 4)]
    model, stream, tent = nn.Sequential(*layers).requires_grad_(False), batches(), Tent(0.1)
    assert tent.check(model) == "12 scales and shifts of 1 normalising layers"
    found = answers(tent, model, stream)
    twin = copy.deepcopy(model)
    learning = [p.requires_grad_() for p in twin[2].parameters()]
    optimizer = torch.optim.Adam(learning, 0.1)
    for one, batch in zip(found, stream, strict=True):
        logits = twin(batch.image)
        assert torch.allclose(one, logits, atol=1e-5)
        optimizer.zero_grad()
        torch.distributions.Categorical(logits=logits).entropy().mean().backward()
        optimizer.step()


ADAPTATIONS = [Unadapted(), BatchNorm(), BatchNorm(0, True), Tent()]


@EACH
@pytest.mark.parametrize("adaptation", ADAPTATIONS, ids=repr)
def test_it_leaves_no_trace(name: str, adaptation: Adaptation) -> None:
    model = network(name)
    before = trace(model)
    found = answers(adaptation, model, batches())
    assert all(not one.requires_grad for one in found)
    assert trace(model) == before

    def failing() -> Iterator[StreamBatch]:
        yield batches()[0]
        assert trace(model) == before, "also between batches"
        yield StreamBatch(torch.rand(2, 7, 8, 8), torch.rand(2, 7, 8, 8))

    with pytest.raises(RuntimeError):
        list(adaptation(Queries(model), failing()))
    assert trace(model) == before


def trace(model: nn.Module) -> list:
    return [
        weights_digest(model),
        [id(tensor) for tensor in [*model.parameters(), *model.buffers()]],
        [part.training for part in model.modules()],
        [(p.requires_grad, p.grad) for p in model.parameters()],
        [list(part._forward_pre_hooks) for part in model.modules()],
    ]


def test_what_it_costs_is_counted() -> None:
    for adaptation in ADAPTATIONS:
        queries = Queries(network("plain"))
        list(adaptation(queries, batches()))
        assert queries.forwards == 14 * adaptation.forwards
        assert queries.backwards == 14 * adaptation.backwards


class Unseen(nn.Module):
    """Calls what its batch norm does, but not the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm.forward(x).mean((2, 3))


class Functional(nn.Module):
    """Two batch norms, one of which is not called as a module."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        one, x = self.norm, self.first(x)
        x = F.batch_norm(x, one.running_mean, one.running_var, one.weight, one.bias)
        return x.mean((2, 3))


class Unused(nn.Identity):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(6)


class NoGradient(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


@pytest.mark.parametrize(
    ("adaptation", "model", "said"),
    [
        (BatchNorm(), Unseen(), "does not call 1 of its batch norms as modules"),
        (BatchNorm(), Functional(), "does not call 1 of its batch norms as modules"),
        (Tent(), Functional(), "does not call its batch norms as modules"),
        (Tent(), NoGradient(ended(conv(), nn.BatchNorm2d(6))), "Tent cannot adapt it"),
    ],
)
def test_what_cannot_be_seen_is_refused(
    adaptation: Adaptation, model: nn.Module, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        answers(adaptation, model.eval(), batches())


def test_a_batch_norm_that_is_not_used_is_no_mistake() -> None:
    """An auxiliary head answers in training only."""
    model = network("plain")
    expected = answers(BatchNorm(), model, batches())
    model.add_module("head", Unused())
    assert all(map(torch.equal, answers(BatchNorm(), model, batches()), expected))


def test_nobody_has_statistics_of_a_single_number() -> None:
    with pytest.raises(UserError, match="so that none is alone"):
        answers(Tent(), network("one dimension"), batches((1,)))


@pytest.mark.parametrize("adaptation", [BatchNorm(), Tent()])
def test_what_has_nothing_to_adapt_is_refused(adaptation: Adaptation) -> None:
    with pytest.raises(UserError, match="leave out adaptation_"):
        adaptation.check(ended(conv(), nn.ReLU()))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: BatchNorm(-1), "`prior` of at least 0"),
        (lambda: BatchNorm(float("inf")), "`prior` of at least 0"),
        (lambda: Tent(lr=0), "`lr` to be positive"),
        (lambda: Tent(steps=0), "`steps` of at least 1"),
        (lambda: Tent(optimizer="lion"), "adam or sgd"),  # type: ignore[arg-type]
    ],
)
def test_mistakes(made: Callable[[], Adaptation], said: str) -> None:
    with pytest.raises(UserError, match=said):
        made()
