"""What is added to frozen weights: by hand, against Hugging Face's peft, and when it is merged."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm
from torchvision.models import VisionTransformer

from datamodules import Preprocessing, UserError
from lightning_modules import Classifier, Tuning, build, load_saved, save_classifier
from lightning_modules.features import head_features
from lightning_modules.lora import LowRank
from lightning_modules.lwf import LwFTuning, kept_answers
from lightning_modules.modes import tuned_module
from lightning_modules.probe_tuning import ProbeTuning
from lightning_modules.residual_adapters import ParallelAdapter
from lightning_modules.update_tuning import UpdateTuning
from lightning_modules.weight_updates import add_updates, merge_updates

Fit = Callable[..., Any]
GREY = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))


class Tied(nn.Module):
    """One layer under two names, one weight in two layers, and activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.layer, self.other = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.again, self.other.weight = self.layer, self.layer.weight
        self.norm, self.act = nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.act(self.norm(self.first(image)))
        x = self.act(self.other(self.act(self.again(self.layer(x)))))
        return self.head(x.mean((2, 3)))


class Grouped(nn.Module):
    """Attention that reads its weights itself, and a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth = nn.Conv2d(1, 8, 3, stride=2), nn.Conv2d(8, 8, 3, groups=8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.depth(self.stem(image)).flatten(2).mT
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


class Aliased(nn.Module):
    """A weight that is a parameter of the network's own too, and one that an embedding reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(1, 8, 3, stride=2), nn.Linear(8, 8)
        self.own, self.table = self.inner.weight, nn.Embedding(8, 8)
        self.code = nn.Linear(8, 8, bias=False)
        self.code.weight = self.table.weight
        self.head = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image).relu().mean((2, 3))
        x = self.inner(x) + nn.functional.linear(x, self.own).relu()
        return self.head(torch.cat([x, self.table(self.code(x).argmax(1))], 1))


class SumHead(nn.Linear):
    """A layer that does more than a linear one, once it has learnt."""

    def __init__(self) -> None:
        super().__init__(8, 10)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        return super().forward(input) + self.gate * input.square().sum(1, keepdim=True).sin()


def vit() -> nn.Module:
    return VisionTransformer(28, 14, 2, 2, 8, 16, num_classes=10)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "lenet": (lambda: build("lenet", 10, 1), 1),
    "cifar_resnet20": (lambda: build("cifar_resnet20", 10, 3), 3),
    "vit": (vit, 3),
    "tied": (Tied, 1),
    "attention": (Grouped, 1),
    "aliased": (Aliased, 1),
}


def made(name: str) -> tuple[Classifier, Tensor]:
    torch.manual_seed(0)
    build_it, channels = NETWORKS[name]
    norm: tuple[float, ...] = (0.0,) * channels
    shown = Preprocessing(channels=channels, mean=norm, std=(1.0,) * channels)
    net = Classifier(build_it(), classes=10, preprocessing=shown, architecture="test").eval()
    return net, torch.rand(4, channels, 28, 28)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (name, mode)
        for name in NETWORKS
        for mode in ("lora", "adapter")
        if name + mode not in ("vitadapter", "aliasedadapter")
    ],
)
def test_merged_weights_give_the_same_answers(name: str, mode: Any) -> None:
    classifier, image = made(name)
    start, keys = classifier(image), list(classifier.state_dict())
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    module = UpdateTuning(classifier, Tuning(mode=mode)).eval()
    torch.testing.assert_close(classifier(image), start, rtol=0, atol=1e-6)  # sums in other order
    learning = {n: p for n, p in classifier.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for parameter in learning.values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    moved = classifier(image)
    assert (moved - start).abs().max() > 1e-3
    module.finish()
    module.finish()  # again does nothing
    torch.testing.assert_close(classifier(image), moved, rtol=1e-5, atol=1e-5)
    assert list(classifier.state_dict()) == keys
    assert not any("Parametrized" in type(part).__name__ for part in classifier.modules())
    changed = {k for k, v in classifier.state_dict().items() if not torch.equal(v, before[k])}
    weights = {k for k in changed if k.endswith("weight")}
    assert len(weights) >= 2


def test_tied_weights_stay_tied() -> None:
    classifier, image = made("tied")
    module = UpdateTuning(classifier, Tuning(mode="lora", lora_rank=2))
    net: Any = classifier.model
    assert module.told.startswith(f"{2 * (9 + 4) + 2 * (36 + 4) + 50 - 2 * 0:,} parameters learn")
    with torch.no_grad():
        for parameter in (p for p in net.parameters() if p.requires_grad):
            parameter.add_(0.1)
    moved = classifier.eval()(image)
    module.finish()
    assert net.other.weight is net.layer.weight
    assert net.again is net.layer
    torch.testing.assert_close(classifier(image), moved, rtol=1e-5, atol=1e-5)


def test_counted_and_by_hand() -> None:
    """LeNet: conv 6x25 and 16x150, linear 120x256 and 84x120, head 10x84 + 10; W + 2/4 B A."""
    classifier, image = made("lenet")
    plain = copy.deepcopy(classifier.model)
    module = UpdateTuning(classifier, Tuning(mode="lora", lora_rank=4, lora_alpha=2))
    shapes = [tuple(p.flatten(1).shape) for n, p in plain.named_parameters() if p.ndim > 1][:-1]
    wanted = sum(4 * (o + i) for o, i in shapes) + 10 * 84 + 10
    learning = [p for p in classifier.parameters() if p.requires_grad]
    assert sum(p.numel() for p in learning) == wanted
    assert f"{wanted:,} parameters learn" in module.told
    with torch.no_grad():
        for name, layer in classifier.model.named_modules():
            if hasattr(layer, "parametrizations"):
                update = layer.parametrizations.weight[0]
                update.up.normal_()
                own = plain.get_parameter(f"{name}.weight")
                own += 0.5 * (update.up @ update.down).view(own.shape)
    torch.testing.assert_close(classifier.model(image), plain(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["linear", "conv", "pointwise", "attention"])
def test_as_peft_computes_it(case: str) -> None:
    """Hugging Face's peft with the same factors."""
    peft = pytest.importorskip("peft", reason="a peer, not a dependency: pip install peft")
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            made = {
                "linear": lambda: nn.Linear(6, 5),
                "conv": lambda: nn.Conv2d(6, 5, 3, stride=2, padding=1),
                "pointwise": lambda: nn.Conv2d(6, 5, 1),
                "attention": lambda: nn.MultiheadAttention(6, 2, batch_first=True),
            }
            self.layer = made[case]()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x, x, x)[0] if case == "attention" else self.layer(x)

    net = Net().eval()
    x = torch.rand(2, 6, 8, 8) if "layer.weight" in net.state_dict() and case != "linear" else None
    x = torch.rand(2, 6, 6) if x is None else x
    config = peft.LoraConfig(r=3, lora_alpha=2, target_modules=["layer"], init_lora_weights=False)
    theirs = peft.get_peft_model(copy.deepcopy(net), config).eval()
    found = theirs.state_dict()
    for key in found:
        if "out_proj.lora_B" in key:  # peft 0.21 adds that of out_proj twice, merged or not
            found[key].zero_()
    a, b = (found[f"base_model.model.layer.lora_{f}.default.weight"] for f in "AB")
    tensor = "layer.in_proj_weight" if case == "attention" else "layer.weight"
    update = LowRank(net.get_parameter(tensor), 3, 2)
    update.load_state_dict({"down": a.flatten(1), "up": b.flatten(1)})
    merged = {**net.state_dict(), tensor: update(net.get_parameter(tensor)).detach()}
    ours = torch.func.functional_call(net, merged, (x,))
    assert (ours - net(x)).abs().max() > 1e-3
    torch.testing.assert_close(ours, theirs(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_an_adapter_is_a_convolution_beside(stride: int) -> None:
    torch.manual_seed(0)
    conv, beside = nn.Conv2d(3, 5, 3, stride, 1), nn.Conv2d(3, 5, 1, stride, bias=False)
    adapter, image = ParallelAdapter(conv.weight), torch.rand(2, 3, 9, 9)
    adapter.middle.data.copy_(beside.weight)
    wanted = conv(image) + beside(image)
    found = torch.func.functional_call(conv, {"weight": adapter(conv.weight)}, (image,))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["lora", "adapter"])
def test_a_training_changes_what_learns_and_saves_the_merged(
    mode: Any, classifier: Classifier, fit: Fit, digits: Any
) -> None:
    """The test network: convolution 0, batch norm 1, head 5."""
    start = copy.deepcopy(classifier.model.state_dict())
    module = tuned_module(classifier, Tuning(mode=mode, ema=0.5), 2)
    fit(module, max_epochs=2)
    before = classifier.eval()(digits.image)
    module.finish()
    torch.testing.assert_close(classifier(digits.image), before, rtol=1e-5, atol=1e-5)
    state = classifier.model.state_dict()
    changed = {k for k, v in state.items() if not torch.equal(v, start[k])}
    norm = {k for k in start if k.startswith("1.")} if mode == "adapter" else set()
    assert changed == {"0.weight", "5.weight", "5.bias"} | norm


def test_what_is_saved_loads_as_the_architecture(tmp_path: Any) -> None:
    net = Classifier(
        build("lenet", 10, 1), classes=10, preprocessing=GREY, architecture="builtin:lenet"
    ).eval()
    module = UpdateTuning(net, Tuning(mode="lora"))
    with torch.no_grad():
        for parameter in (p for p in net.parameters() if p.requires_grad):
            parameter.add_(0.05)
    image = torch.rand(3, 1, 28, 28)
    answers = net(image)
    module.finish()
    loaded = load_saved(save_classifier(net, tmp_path)).eval()
    torch.testing.assert_close(loaded(image), answers, rtol=1e-5, atol=1e-5)


def named(net: nn.Module) -> Classifier:
    return Classifier(net, classes=10, preprocessing=GREY, architecture="test")


def normed(old: bool) -> Classifier:
    make = weight_norm if old else parametrizations.weight_norm
    net = nn.Sequential(make(nn.Conv2d(1, 4, 3)), nn.Flatten(), nn.Linear(4 * 36, 10))
    return named(net)


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "weight norm": (
        lambda: UpdateTuning(normed(old=True), Tuning(mode="lora")),
        "computed from other weights",
    ),
    "parametrised": (
        lambda: UpdateTuning(normed(old=False), Tuning(mode="lora")),
        "computed from other weights",
    ),
    "only a head": (
        lambda: UpdateTuning(
            named(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))), Tuning(mode="lora")
        ),
        "mode linear_probe or full",
    ),
    "no large convolution": (
        lambda: UpdateTuning(
            named(nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 10))),
            Tuning(mode="adapter"),
        ),
        "convolution of 3x3 or more",
    ),
    "rank elsewhere": (lambda: Tuning(lora_rank=3), "mode lora"),
    "no rank": (lambda: Tuning(mode="lora", lora_rank=0), "lora_rank"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str) -> None:
    make, said = MISTAKES[case]
    with pytest.raises(UserError, match=said):
        make()


def test_a_network_without_updates_is_merged_into_itself() -> None:
    net = build("lenet", 10, 1)
    before = copy.deepcopy(net.state_dict())
    merge_updates(net)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert add_updates(net, lambda layer, weight: None) == []


def test_kept_answers_by_hand() -> None:
    """The paper's form: probabilities to the power 1/T, made to sum to one; T = 2."""
    torch.manual_seed(0)
    now, old = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    p, q = (z.softmax(1).sqrt() for z in (now, old))
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    wanted = -(q * p.log()).sum(1).mean()
    torch.testing.assert_close(kept_answers(now, old), wanted)


def test_lwf_keeps_old_answers_where_they_weigh(
    classifier: Classifier, fit: Fit, digits: Any
) -> None:
    """Distance of the old classes' answers on these images, for two weights."""
    far = []
    for weight in (0.0, 20.0):
        old, new = copy.deepcopy(classifier).eval(), copy.deepcopy(classifier)
        wanted = old(digits.image).softmax(1).detach()
        module = LwFTuning(new, old, Tuning(lr=0.03), weight)
        fit(module, max_epochs=5)
        kept = module.old_classifier()
        head: Any = kept.model.get_submodule("5")
        with head_features(new.eval().model) as seen, torch.no_grad():
            new(digits.image)
        answers = torch.nn.functional.linear(seen[-1], head.weight, head.bias).softmax(1)
        far.append(float((answers - wanted).abs().mean().detach()))
        assert all(
            torch.equal(p, q)
            for p, q in zip(old.parameters(), classifier.parameters(), strict=True)
        )
    assert far[1] < 0.7 * far[0]  # a network that was never trained: it answers nothing yet


def test_a_probe_of_a_layer_that_does_more_asks_the_network() -> None:
    """Its answer is linear in the beginning only: features that are kept would go stale."""
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), SumHead())
    shown = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))
    module = ProbeTuning(
        Classifier(network, classes=10, preprocessing=shown, architecture="test"),
        Tuning(mode="linear_probe"),
    )
    assert module._head is None


def test_a_head_that_is_tied_to_the_backbone_is_refused() -> None:
    stem = [nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*stem, nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 10))
    network[5].weight = network[3].weight
    shown = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))
    classifier = Classifier(network, classes=10, preprocessing=shown, architecture="test")
    with pytest.raises(UserError, match=r"of '5' are '3.weight' too"):
        ProbeTuning(classifier, Tuning(mode="linear_probe"))
