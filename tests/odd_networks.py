"""Networks as people write them, each with its answer computed by hand from the same weights.

One line of `ODD` a network. Every test with an argument `odd` runs over all of them (see
`tests/conftest.py`), so probes, damages, explainers and sources are held to the same table: the
value of the twin, or one sentence. All take `(N, 3, 8, 8)` images, unless `channels` or `side` say
otherwise, and tell 4 classes apart, unless `classes` does.
"""
# ruff: noqa: E501  (one line a network)

import re
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

K, WIDTH = 4, 6
Pair = namedtuple("Pair", ["embedding", "logits"])


@dataclass
class Output:
    hidden: Tensor
    logits: Tensor


class Base(nn.Module):
    """Convolution, rectifier, mean, linear layer; `answer` turns the logits into something else."""

    def __init__(self, answer: Callable[[Tensor], Any] = lambda z: z, outputs: int = K) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, 3, 2, 1)
        self.head = nn.Linear(WIDTH, outputs)
        self.answer = answer

    def features(self, x: Tensor) -> Tensor:
        return self.conv(x).relu().mean((2, 3))

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.head(self.features(x)))


def base_by_hand(net: Any, x: Tensor) -> Tensor:
    """Of everything that has `conv` and `head` with weights of those names."""
    hidden = F.conv2d(x, net.conv.weight, net.conv.bias, 2, 1).clamp_min(0).flatten(2).mean(2)
    return hidden @ net.head.weight.T + net.head.bias


def inner_by_hand(net: Any, x: Tensor) -> Tensor:
    """Of a wrapper round a base network."""
    return base_by_hand(net.net, x)


def stacked_by_hand(net: Any, x: Tensor) -> Tensor:
    """Of a Sequential of convolution, rectifier, pooling, flattening, linear layer."""
    return base_by_hand(SimpleNamespace(conv=net[0], head=net[4]), x)


def stacked(**options: Any) -> nn.Sequential:
    parts = [nn.Conv2d(3, WIDTH, 3, 2, 1), nn.ReLU(**options), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(WIDTH, K))


class Aliased(Base):
    """One convolution under two names, called twice; the head under two names, called by one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
        self.second, self.classifier = self.first, self.head

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(self.conv(x).relu()).relu()).relu()
        return self.classifier(x.mean((2, 3)))


def aliased_by_hand(net: Any, x: Tensor) -> Tensor:
    x = F.conv2d(x, net.conv.weight, net.conv.bias, 2, 1).relu()
    for _ in range(2):
        x = F.conv2d(x, net.first.weight, net.first.bias, 1, 1).relu()
    return F.linear(x.mean((2, 3)), net.head.weight, net.head.bias)


class Tied(Aliased):
    """Two convolutions with one weight and biases of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
        self.second.weight = self.first.weight


def tied_by_hand(net: Any, x: Tensor) -> Tensor:
    x = F.conv2d(x, net.conv.weight, net.conv.bias, 2, 1).relu()
    for bias in (net.first.bias, net.second.bias):
        x = F.conv2d(x, net.first.weight, bias, 1, 1).relu()
    return F.linear(x.mean((2, 3)), net.head.weight, net.head.bias)


class Attention(nn.Module):
    """Patches, torch's own attention, mean over tokens, head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


def attention_by_hand(net: Any, x: Tensor) -> Tensor:
    x = F.conv2d(x, net.embed.weight, net.embed.bias, 4).flatten(2).transpose(1, 2)
    return F.linear(_attended(net.attention, x).mean(1), net.head.weight, net.head.bias)


def _attended(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Scaled dot products of two heads (Vaswani et al. 2017, 1706.03762), written out."""
    n, tokens, width = x.shape
    parts = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1)
    q, k, v = (part.view(n, tokens, 2, width // 2).transpose(1, 2) for part in parts)
    mixed = (q @ k.mT / (width // 2) ** 0.5).softmax(-1) @ v
    out = attention.out_proj
    return F.linear(mixed.transpose(1, 2).reshape(n, tokens, width), out.weight, out.bias)


class Encoder(nn.Module):
    """torch's TransformerEncoder, whose fast path calls no submodule."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.head = nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x).flatten(2).transpose(1, 2)).mean(1))


def encoder_by_hand(net: Any, x: Tensor) -> Tensor:
    layer = net.encoder.layers[0]
    x = F.conv2d(x, net.embed.weight, net.embed.bias, 4).flatten(2).transpose(1, 2)
    x = layer.norm1(x + _attended(layer.self_attn, x))
    hidden = F.linear(x, layer.linear1.weight, layer.linear1.bias).relu()
    x = layer.norm2(x + F.linear(hidden, layer.linear2.weight, layer.linear2.bias))
    return F.linear(x.mean(1), net.head.weight, net.head.bias)


class ExtraState(Base):
    def get_extra_state(self) -> dict[str, int]:
        return {"version": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


class Wrapped(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        return self.net(x)


class InPlace(Base):
    """Works in place on the image that it is given, and on its own logits."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x.sub_(0.25))).add_(1)


class Auxiliary(Base):
    """Answers a tuple in training mode only, as GoogLeNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.Linear(WIDTH, K)

    def forward(self, x: Tensor) -> Any:
        x = self.features(x)
        return (self.head(x), self.extra(x)) if self.training else self.head(x)


class HeadFirst(nn.Module):
    """The layer that is used last is registered first, and an inner one has as many outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(K, K)
        self.conv = nn.Conv2d(3, WIDTH, 3, 2, 1)
        self.inner = nn.Linear(WIDTH, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.inner(self.conv(x).relu().mean((2, 3))).relu())


def head_first_by_hand(net: Any, x: Tensor) -> Tensor:
    inner = base_by_hand(SimpleNamespace(conv=net.conv, head=net.inner), x).clamp_min(0)
    return inner @ net.classifier.weight.T + net.classifier.bias


class Projection(Base):
    """A layer for another loss is registered behind the head and not used."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Linear(WIDTH, K)


class OneWeight(Base):
    """A layer with a single weight."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Conv2d(1, 1, 1, bias=False)

    def features(self, x: Tensor) -> Tensor:
        return super().features(self.gain(x.flatten(0, 1)[:, None]).view_as(x))


def one_weight_by_hand(net: Any, x: Tensor) -> Tensor:
    return base_by_hand(net, x * net.gain.weight.view(()))


class Borrowed(Base):
    """Convolves with the weight of a module that is itself never called."""

    def features(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.conv.weight, self.conv.bias, 2, 1).relu().mean((2, 3))


class FunctionalHead(Base):
    """Computes its logits with a parameter, without a layer."""

    def __init__(self) -> None:
        super().__init__()
        del self.head
        self.weight = nn.Parameter(torch.randn(K, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.features(x), self.weight)


def functional_head_by_hand(net: Any, x: Tensor) -> Tensor:
    return F.conv2d(x, net.conv.weight, net.conv.bias, 2, 1).relu().mean((2, 3)) @ net.weight.T


class TiedHead(Base):
    """Computes its logits with the weight of an inner layer, as language models do."""

    def __init__(self) -> None:
        super().__init__()
        del self.head
        self.embed = nn.Linear(WIDTH, K, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.embed(self.features(x)).tanh() @ self.embed.weight
        return F.linear(hidden, self.embed.weight)


def tied_head_by_hand(net: Any, x: Tensor) -> Tensor:
    w = net.embed.weight
    hidden = F.conv2d(x, net.conv.weight, net.conv.bias, 2, 1).relu().mean((2, 3))
    return ((hidden @ w.T).tanh() @ w) @ w.T


class Temperature(Base):
    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(2.5))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / self.temperature


class ByKeyword(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(input=self.features(x))


class Cosine(nn.Linear):
    """A linear layer that normalises its weight and what it sees."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (named so by nn.Linear)
        return 10 * F.linear(F.normalize(input), F.normalize(self.weight))


class CosineHead(Base):
    def __init__(self) -> None:
        super().__init__()
        self.head = Cosine(WIDTH, K, bias=False)


def cosine_by_hand(net: Any, x: Tensor) -> Tensor:
    hidden = F.conv2d(x, net.conv.weight, net.conv.bias, 2, 1).relu().mean((2, 3))
    weight = net.head.weight
    return (
        10
        * (hidden / hidden.norm(dim=1, keepdim=True))
        @ (weight / weight.norm(dim=1, keepdim=True)).T
    )


class TwoHeads(Base):
    """The mean of two heads, as a distilled DeiT has."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(WIDTH, K)

    def forward(self, x: Tensor) -> Tensor:
        return (self.head(self.features(x)) + self.other(self.features(x))) / 2


def two_heads_by_hand(net: Any, x: Tensor) -> Tensor:
    other = SimpleNamespace(conv=net.conv, head=net.other)
    return (base_by_hand(net, x) + base_by_hand(other, x)) / 2


class NormBehind(Base):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(K)
        self.norm.running_mean.uniform_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


def norm_behind_by_hand(net: Any, x: Tensor) -> Tensor:
    norm = net.norm
    moved = (base_by_hand(net, x) - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    return moved * norm.weight + norm.bias


class NoGradient(Base):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Inference(Base):
    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Detached(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class Rounding(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x * 8).round() / 8)


class Dropping(Base):
    """Forgets that dropout is for training."""

    def features(self, x: Tensor) -> Tensor:
        return F.dropout(super().features(x), 0.5, training=True)


class BatchStatistics(Base):
    """A norm without running statistics: an answer depends on its neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm(x))


def batch_statistics_by_hand(net: Any, x: Tensor) -> Tensor:
    centred = x - x.mean((0, 2, 3), keepdim=True)
    return base_by_hand(
        net, centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    )


class Counting(Base):
    """Counts its own calls in a buffer, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class Unregistered(Base):
    """Keeps its convolution in a plain list, where no optimizer finds it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [self.conv]
        del self.conv

    def features(self, x: Tensor) -> Tensor:
        return self.hidden[0](x).relu().mean((2, 3))


def unregistered_by_hand(net: Any, x: Tensor) -> Tensor:
    return base_by_hand(SimpleNamespace(conv=net.hidden[0], head=net.head), x)


class Tokens(nn.Module):
    """A head for every patch, then the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.head = nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x).flatten(2).transpose(1, 2).relu()).mean(1)


def tokens_by_hand(net: Any, x: Tensor) -> Tensor:
    x = F.conv2d(x, net.embed.weight, net.embed.bias, 4).relu().flatten(2).mean(2)
    return x @ net.head.weight.T + net.head.bias


class OwnLayer(nn.Module):
    """A linear layer of somebody's own, no nn.Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(WIDTH, K))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix


class OwnHead(Base):
    def __init__(self) -> None:
        super().__init__()
        self.head = OwnLayer()


def own_head_by_hand(net: Any, x: Tensor) -> Tensor:
    return F.conv2d(x, net.conv.weight, net.conv.bias, 2, 1).relu().mean((2, 3)) @ net.head.matrix


def changed(net: nn.Module, change: Callable[[Any], Any]) -> nn.Module:
    """A network after something was done to it in place."""
    change(net)
    return net


def _normed(norm: Callable[[nn.Module], Any]) -> Callable[[Any], None]:
    def change(net: Any) -> None:
        norm(net.conv), norm(net.head)

    return change


def _strided(net: Any) -> None:
    """Weights that are views with gaps between their numbers."""
    for layer in (net.conv, net.head):
        wide = torch.stack([layer.weight.detach(), torch.zeros_like(layer.weight)], -1)
        layer.weight = nn.Parameter(wide[..., 0])
        assert not layer.weight.is_contiguous()


def _pruned(net: Any) -> None:
    prune.l1_unstructured(net.conv, "weight", 0.5)
    prune.l1_unstructured(net.head, "weight", 0.5)


def _hooked(net: Any) -> None:
    net.head.register_forward_hook(lambda part, given, output: output * 2)


def _conv_head(pool: bool) -> nn.Module:
    body = [nn.Conv2d(3, WIDTH, 3, 2, 1), nn.ReLU()]
    if pool:
        return nn.Sequential(*body, nn.Conv2d(WIDTH, K, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*body, nn.Conv2d(WIDTH, K, 4))  # sees the whole 4x4 map


def _squeeze() -> nn.Module:
    """The end of SqueezeNet: a 1x1 convolution, a rectifier in place, the mean."""
    body = [nn.Conv2d(3, WIDTH, 3, 2, 1), nn.ReLU(), nn.Conv2d(WIDTH, K, 1)]
    return nn.Sequential(*body, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _convolved(net: Any, x: Tensor) -> Tensor:
    x = F.conv2d(x, net[0].weight, net[0].bias, 2, 1).relu()
    return F.conv2d(x, net[2].weight, net[2].bias)


def _lazy() -> nn.Module:
    body = [nn.LazyConv2d(WIDTH, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*body, nn.LazyLinear(K))


def _flat(channels: int, side: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, K))


def _flat_by_hand(net: Any, x: Tensor) -> Tensor:
    return x.reshape(len(x), -1) @ net[1].weight.T + net[1].bias


def _in_type(kind: torch.dtype) -> Callable[[Any, Tensor], Tensor]:
    def by_hand(net: Any, x: Tensor) -> Tensor:
        return base_by_hand(net, x.to(kind)).to(x.dtype)

    return by_hand


def _binary_by_hand(net: Any, x: Tensor) -> Tensor:
    z = base_by_hand(net, x)
    return torch.cat([torch.zeros_like(z), z], 1)


@dataclass(frozen=True)
class Odd:
    """A network and what is right for it.

    Args:
        name: of the kind.
        make: draws it, with the current seed.
        by_hand: its logits `(N, K)` from the network's weights and the images as it takes them;
            None where they are random.
        head: name of the layer whose output is the logits; None where there is none.
        linear: whether fitted weights can be put into the head as they are.
        notes: parts of the sentences that must be said of it.
        refused: a part of the one sentence that must end it, instead of everything else.
        gradient: whether it gives one to the image.
        repeats: whether two calls agree.
        channels: of its images.
        side: of its images.
        classes: that it tells apart.
        tolerance: of its answers; half precision rounds coarser, and by the order of sums.
    """

    name: str
    make: Callable[[], nn.Module]
    by_hand: Callable[[Any, Tensor], Tensor] | None = base_by_hand
    head: str | None = "head"
    linear: bool = True
    notes: tuple[str, ...] = ()
    refused: str = ""
    gradient: bool = True
    repeats: bool = True
    channels: int = 3
    side: int = 8
    classes: int = K
    tolerance: float = 1e-5
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", (self.channels, self.side, self.side))

    def __str__(self) -> str:
        return self.name

    @property
    def source(self) -> str:
        """For `load_classifier` and `--model`: the name with `_` for every other sign."""
        return "python:odd_networks:" + re.sub(r"\W+", "_", self.name)

    def network(self, seed: int = 0) -> nn.Module:
        """Draws it in eval mode, without moving the global generator."""
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            return self.make().eval()

    def images(self, count: int = 6, seed: int = 1) -> Tensor:
        """Images `(N, C, H, W)` in [0, 1]."""
        return torch.rand(count, *self.shape, generator=torch.Generator().manual_seed(seed))


def _log(z: Tensor) -> Tensor:
    return z.log_softmax(1)


ODD: tuple[Odd, ...] = (
    Odd("plain", Base),
    # layers that are shared, or not what they seem
    Odd("aliases", Aliased, aliased_by_hand),
    Odd("tied", Tied, tied_by_hand),
    Odd("weight_norm", lambda: changed(Base(), _normed(parametrizations.weight_norm))),
    Odd("spectral_norm", lambda: changed(Base(), _normed(parametrizations.spectral_norm))),
    Odd("old weight_norm", lambda: changed(Base(), _normed(nn.utils.weight_norm))),
    Odd("pruned", lambda: changed(Base(), _pruned)),
    Odd("attention", Attention, attention_by_hand),
    Odd("transformer encoder", Encoder, encoder_by_hand),
    Odd("lazy", _lazy, stacked_by_hand, "4"),
    Odd("extra state", ExtraState),
    Odd("unregistered", Unregistered, unregistered_by_hand),
    Odd("one weight", OneWeight, one_weight_by_hand),
    Odd("borrowed weight", Borrowed),
    Odd("own hook", lambda: changed(Base(), _hooked), lambda n, x: 2 * base_by_hand(n, x), linear=False),
    # wrappers
    Odd("compiled", lambda: torch.compile(Base(), backend="eager")),  # type: ignore[arg-type, return-value]
    Odd("compiled inside", lambda: Wrapped(torch.compile(Base(), backend="eager")), inner_by_hand, "net.head"),  # type: ignore[arg-type]
    Odd("compiled in place", lambda: changed(Base(), lambda n: n.compile(backend="eager"))),
    Odd("data parallel", lambda: nn.DataParallel(Base())),
    # memory
    Odd("channels last", lambda: Base().to(memory_format=torch.channels_last)),  # type: ignore[call-overload]
    Odd("not contiguous", lambda: changed(Base(), _strided)),
    Odd("in place", InPlace, lambda n, x: base_by_hand(n, x - 0.25) + 1, None),
    Odd("rectifier in place", lambda: stacked(inplace=True), stacked_by_hand, "4"),
    Odd("counts its calls", Counting),
    # types
    Odd("half", lambda: Base().half(), _in_type(torch.half), notes=("float16",), tolerance=3e-3),
    Odd("bfloat16", lambda: Base().bfloat16(), _in_type(torch.bfloat16), notes=("bfloat16",), tolerance=3e-2),
    Odd("double", lambda: Base().double(), _in_type(torch.double), notes=("float64",)),
    # answers
    Odd("auxiliary", Auxiliary),
    Odd("tuple", lambda: Base(lambda z: (z, z.mean(1))), notes=("its `0` is read",)),
    Odd("features first", lambda: Base(lambda z: (torch.cat([z, z], 1), z)), notes=("its `1` is",)),
    Odd("list", lambda: Base(lambda z: [z]), notes=("answers a list",)),
    Odd("dict", lambda: Base(lambda z: {"loss": z.sum(), "logits": z}), notes=("its `logits`",)),
    Odd("other key", lambda: Base(lambda z: {"result": z}), notes=("its `result` is read",)),
    Odd("ordered dict", lambda: Base(lambda z: OrderedDict(out=z, aux=z * 0)), notes=("its `out`",)),
    Odd("data class", lambda: Base(lambda z: Output(z * 0, z)), notes=("its `logits` is read",)),
    Odd("named tuple", lambda: Base(lambda z: Pair(z * 0, z)), notes=("its `logits` is read",)),
    Odd("nested", lambda: Base(lambda z: {"out": (z, z)}), notes=("its `out.0` is read",)),
    Odd("object", lambda: Base(lambda z: SimpleNamespace(logits=z)), notes=("its `logits` is",)),
    Odd("map-shaped", lambda: Base(lambda z: z[:, :, None, None])),
    Odd("squeezed", lambda: Base(lambda z: z[:, None])),
    Odd("probabilities", lambda: Base(lambda z: z.softmax(1)), lambda n, x: _log(base_by_hand(n, x)), notes=("probabilities: their log",)),
    Odd("log-probabilities", lambda: Base(_log), lambda n, x: _log(base_by_hand(n, x)), notes=("log-probabilities",)),
    Odd("sigmoid", lambda: Base(lambda z: z.sigmoid()), lambda n, x: -(1 + (-base_by_hand(n, x)).exp()).log(), linear=False, notes=("probabilities: their log",)),
    Odd("one logit", lambda: Base(outputs=1), _binary_by_hand, notes=("one number an image",), classes=2),
    Odd("one probability", lambda: Base(lambda z: z.sigmoid(), 1), lambda n, x: _log(_binary_by_hand(n, x)), linear=False, notes=("probabilities", "one number"), classes=2),
    # heads
    Odd("head first", HeadFirst, head_first_by_hand, "classifier"),
    Odd("unused projection", Projection),
    Odd("functional head", FunctionalHead, functional_head_by_hand, None),
    Odd("tied head", TiedHead, tied_head_by_hand, None),
    Odd("temperature", Temperature, lambda n, x: base_by_hand(n, x) / n.temperature),
    Odd("head by keyword", ByKeyword),
    Odd("cosine head", CosineHead, cosine_by_hand, linear=False),
    Odd("own layer as head", OwnHead, own_head_by_hand, linear=False),
    Odd("two heads", TwoHeads, two_heads_by_hand, None),
    Odd("norm behind the head", NormBehind, norm_behind_by_hand, None),
    Odd("head of tokens", Tokens, tokens_by_hand),
    Odd("convolution as head", lambda: _conv_head(True), lambda n, x: _convolved(n, x).mean((2, 3)), "2"),
    Odd("large kernel as head", lambda: _conv_head(False), lambda n, x: _convolved(n, x).flatten(1), "2"),
    Odd("end of SqueezeNet", _squeeze, lambda n, x: _convolved(n, x).relu().mean((2, 3)), "2", linear=False),
    Odd("grey, one layer", lambda: _flat(1, 8), _flat_by_hand, "1", channels=1),
    Odd("odd size, one layer", lambda: _flat(3, 13), _flat_by_hand, "1", side=13),
    # gradients and repetition
    Odd("no gradient", NoGradient, notes=("no gradient",), gradient=False),
    Odd("inference mode", Inference, notes=("no gradient",), gradient=False),
    Odd("detached", Detached, notes=("no gradient",), gradient=False),
    Odd("rounding", Rounding, lambda n, x: base_by_hand(n, (x * 8).round() / 8), notes=("gradient by the image is zero",), gradient=False),
    Odd("dropout in tests", Dropping, None, notes=("not deterministic",), repeats=False),
    Odd("batch statistics", BatchStatistics, batch_statistics_by_hand, notes=("depends on the other",)),
    # one sentence
    Odd("decisions", lambda: Base(lambda z: z.argmax(1)), refused="decisions: return the scores"),
    Odd("segmentation", lambda: nn.Conv2d(3, K, 1), refused="a map of shape"),
    Odd("text", lambda: Base(lambda z: "cat"), refused="but got str"),
    Odd("empty dict", lambda: Base(lambda z: {}), refused="but got dict"),
    Odd("two unnamed", lambda: Base(lambda z: {"a": z, "b": z}), refused="dict with a, b"),
    Odd("not a number", lambda: Base(lambda z: z * float("nan")), refused="NaN or infinity"),
    Odd("four channels", lambda: nn.Sequential(nn.Conv2d(4, K, 8), nn.Flatten()), refused="channels"),
    Odd("raises", lambda: Base(lambda z: z.nonsense), refused="cannot answer images of 3x8x8"),
)  # fmt: skip
"""All of them."""

BY_NAME = {odd.source.rpartition(":")[2]: odd for odd in ODD}


def __getattr__(name: str) -> Callable[[], nn.Module]:
    """Makes `python:odd_networks:weight_norm` a model source."""
    if name not in BY_NAME:
        raise AttributeError(name)
    return BY_NAME[name].network


ANSWERING = tuple(odd for odd in ODD if not odd.refused)
"""Those that answer logits."""
