"""What every architecture promises; a new one gets these tests by a line in `CASES`."""

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from datamodules import Preprocessing, UserError
from lightning_modules import (
    ARCHITECTURES,
    Classifier,
    build,
    load_classifier,
    load_saved,
    save_classifier,
)

# architecture, channels, side
CASES = [
    *((name, channels, 32) for name in ARCHITECTURES for channels in (1, 3)),
    ("lenet", 1, 8),
    ("lenet", 1, 28),
    ("lenet", 3, 65),
    ("torchvision:resnet18", 3, 32),
    ("torchvision:squeezenet1_1", 3, 32),
    ("torchvision:googlenet", 3, 64),
    ("python:my_networks:tiny", 1, 8),
    ("python:my_networks:Wrapped", 1, 8),  # every name begins with `model.`
]


@pytest.fixture(autouse=True)
def my_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own module in the folder that Assay is started in."""
    code = (
        "from torch import nn\n"
        "tiny = lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))\n"
        "class Wrapped(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.model = tiny()\n"
        "    def forward(self, image):\n"
        "        return self.model(image)\n"
        "number = 7\n"
        "def wrong(): return 'a string'\n"
    )
    (tmp_path / "my_networks.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)


def made(architecture: str, channels: int, classes: int = 7) -> Classifier:
    torch.manual_seed(0)
    preprocessing = Preprocessing(channels, mean=(0.4,) * channels, std=(0.2,) * channels)
    model = build(architecture, classes, channels)
    count = 3 if "python" in architecture else classes
    return Classifier(
        model, classes=count, preprocessing=preprocessing, architecture=architecture
    ).eval()


@pytest.mark.parametrize(("architecture", "channels", "side"), CASES)
def test_answers_and_survives_saving(
    architecture: str, channels: int, side: int, tmp_path: Path
) -> None:
    classifier = made(architecture, channels)
    image = torch.rand(2, channels, side, side, requires_grad=True)
    logits = classifier(image)
    assert logits.shape == (2, classifier.num_classes)
    assert torch.equal(logits, classifier(image)), "not deterministic"
    (gradient,) = torch.autograd.grad(logits.sum(), image)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0

    again = load_saved(save_classifier(classifier, tmp_path / "saved")).eval()
    assert torch.equal(again(image), logits), "not bit-equal after saving"
    assert (again.classes, again.preprocessing) == (classifier.classes, classifier.preprocessing)

    file = tmp_path / "state.pt"
    torch.save(classifier.model.state_dict(), file)
    loaded = load_classifier(f"checkpoint:{file}", arch=architecture)
    assert loaded.num_classes == classifier.num_classes
    state = loaded.model.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in torch.load(file, weights_only=True).items())


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [
        ("lenet", 44_426),  # LeCun et al. 1998 with ReLU: 156 + 2,416 + 30,840 + 10,164 + 850
        ("lenet_wide", 696_074),  # 624 + 38,464 + 492,000 + 161,616 + 3,370
        ("cifar_resnet20", 269_722),  # akamaster/pytorch_resnet_cifar10
        ("cifar_resnet32", 464_154),
        ("cifar_resnet44", 658_586),
        ("cifar_resnet56", 853_018),
    ],
)
def test_has_the_published_number_of_parameters(architecture: str, parameters: int) -> None:
    model = build(architecture, 10, 1 if "lenet" in architecture else 3)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_uses_every_activation_module_once(architecture: str) -> None:
    model = build(architecture, 10)
    calls: Counter[str] = Counter()
    for name, part in model.named_modules():
        if isinstance(part, nn.ReLU):
            part.register_forward_hook(lambda *_, name=name: calls.update([name]))
    model.eval()(torch.rand(1, 3, 32, 32))
    assert calls
    assert set(calls.values()) == {1}, "hooks and attributions need a module a use"


def test_lenet_sees_small_images_as_interpolate_would_show_them() -> None:
    model, image = build("lenet", 10, 1).eval(), torch.rand(4, 1, 8, 8)
    large = nn.functional.interpolate(image, (28, 28), mode="bilinear", antialias=True)
    torch.testing.assert_close(model(image), model(large), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_gone(name: str) -> None:
    with torch.device("meta"):
        model = build(f"torchvision:{name}", 5).train()
        side = 299 if name == "inception_v3" else 64
        assert model(torch.rand(2, 3, side, side)).shape == (2, 5)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("lenett", "There is no built-in architecture 'lenett'. Did you mean 'lenet'?"),
        ("torchvision:resnet19", "torchvision has no classifier 'resnet19'. Did you mean"),
        ("touchvision:resnet18", "got 'touchvision:resnet18'. Did you mean 'torchvision'?"),
        ("python:my_networks:number", "Expected python:my_networks:number to be callable, but"),
        ("python:my_networks:wrong", "to return a torch module, but got str."),
        ("python:my_networks:absent", "has no attribute 'absent'"),
        ("python:absent:make", "No module named 'absent'"),
        ("python:my_networks", "Expected python:MODULE:CALLABLE"),
    ],
)
def test_unknown_architectures(architecture: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build(architecture, 10)
    assert message in str(caught.value)


def test_the_users_folder_hides_nothing() -> None:
    build("python:my_networks:tiny", 3)
    assert sys.path[-1] == str(Path.cwd())


def test_saved_weights_are_named_as_in_the_network(tmp_path: Path) -> None:
    folder = save_classifier(made("lenet", 1), tmp_path / "x")
    assert "fc3.weight" in load_file(folder / "model.safetensors")
