"""The models and images that the benchmarks share; trained once, kept in the user's cache."""

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from callbacks.adversarial import PGD, Linf
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules import CIFAR10, MNIST, Digits, ImageDataModule
from lightning_modules import build, load_classifier

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "assay" / "benchmarks"


def data_module() -> ImageDataModule:
    """MNIST where it lies beside the project, else the digits of scikit-learn."""
    return MNIST(root=SHARED) if (SHARED / "MNIST").is_dir() else Digits(resize=28)


def split(name: str) -> tuple[Tensor, Tensor]:
    data = data_module()
    images = data.images(name)
    batch = images.__getitems__(list(range(len(images))))
    return batch.image.float() / 255, batch.label


def images_of_mnist(n: int) -> tuple[Tensor, Tensor, str]:
    """The first `n` test images, repeated if there are fewer, with the data set's name."""
    image, label = split("test")
    rows = torch.arange(n) % len(label)
    return image[rows].contiguous(), label[rows], data_module().name


def images_of_cifar10(n: int) -> tuple[Tensor, Tensor, str]:
    """The first `n` lossless test images that lie beside the project, with the data set's name."""
    images = CIFAR10(root=SHARED / "cifar10").images("test")
    batch = images.__getitems__(list(range(min(n, len(images)))))
    return batch.image.float() / 255, batch.label, "CIFAR-10"


def resnet20_on_cifar10() -> tuple[nn.Module, str]:
    """The published ResNet-20 that lies beside the project, with its normalisation inside."""
    (file,) = (SHARED / "weights").glob("resnet20-*.th")
    model = load_classifier(f"checkpoint:{file}", arch="cifar_resnet20")
    return model.eval().requires_grad_(False), "published weights"


class Normalised(nn.Module):
    """LeNet with the normalisation inside."""

    def __init__(self) -> None:
        super().__init__()
        self.net = build("lenet", 10, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.net((image - 0.1307) / 0.3081)


def lenet_on_mnist(robust: bool = False) -> tuple[nn.Module, str]:
    """A LeNet trained for two epochs, or adversarially for six, in evaluation mode and frozen."""
    epsilon, epochs = 0.2, 6 if robust else 2
    name = f"lenet-{data_module().name}-{'robust' if robust else 'plain'}-{epochs}.pt"
    model = Normalised()
    if (CACHE / name).is_file():
        model.load_state_dict(torch.load(CACHE / name, weights_only=True))
    else:
        _train(model, epochs, epsilon if robust else 0.0)
        CACHE.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), CACHE / name)
    kind = f"PGD-7 training at {epsilon}" if robust else "ordinary training"
    return model.eval().requires_grad_(False), f"{kind}, {epochs} epochs"


class SmallConvNet(nn.Sequential):
    """The MNIST network of Wong et al. 2020 (2001.03994)."""

    def __init__(self) -> None:
        first, second = nn.Conv2d(1, 16, 4, 2, 1), nn.Conv2d(16, 32, 4, 2, 1)
        features = [first, nn.ReLU(), second, nn.ReLU(), nn.Flatten()]
        super().__init__(*features, nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10))


def small_on_mnist(robust: bool = False) -> tuple[nn.Module, str]:
    """The small network after two ordinary epochs, or eight of fast adversarial training at 0.3."""
    name = f"small-{data_module().name}-{'fast' if robust else 'plain'}.pt"
    model = SmallConvNet()
    if (CACHE / name).is_file():
        model.load_state_dict(torch.load(CACHE / name, weights_only=True))
    else:
        _train_small(model, *(8, 0.3) if robust else (2, 0.0))
        CACHE.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), CACHE / name)
    kind = "fast adversarial training at 0.3" if robust else "ordinary training"
    return model.eval().requires_grad_(False), kind


def _train_small(model: nn.Module, epochs: int, epsilon: float) -> None:
    """Uniform start, one step of 1.25 epsilon (Wong et al. 2020)."""
    torch.manual_seed(0)
    image, label = split("train")
    steps = epochs * len(label) // 100
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    peak = (2 * steps) // 5
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / peak, (steps - step) / (steps - peak))
    )
    for _ in range(steps):
        rows = torch.randint(len(label), (100,))
        x, y = image[rows], label[rows]
        if epsilon:
            leaf = (x + epsilon * (2 * torch.rand_like(x) - 1)).requires_grad_()
            loss = F.cross_entropy(model(leaf.clamp(0, 1)), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, leaf)
            moved = leaf.detach() + 1.25 * epsilon * gradient.sign()
            x = (x + (moved - x).clamp(-epsilon, epsilon)).clamp(0, 1)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()


def _train(model: nn.Module, epochs: int, epsilon: float) -> None:
    torch.manual_seed(0)
    image, label = split("train")
    steps = epochs * len(label) // 128
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    attack = PGD(7, relative_step=2.0, returns="last")
    for step in range(steps):
        rows = torch.randint(len(label), (128,))
        x, y = image[rows], label[rows]
        if epsilon:
            model.requires_grad_(False).eval()
            reached = epsilon * min(
                1, 2 * step / steps
            )  # a growing radius, or LeNet learns nothing
            x = attack(Queries(model), x, y, Linf(reached), Draw(step, rows)).image
            model.requires_grad_(True).train()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()
