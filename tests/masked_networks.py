"""Networks that look robust and are not, and sound ones that must raise no alarm.

Every defence is wrapped round the same trained network, which any attack breaks. Loaded by
`tests/conftest.py`, so that `python:masked_networks:NAME` and tests find it by this name.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Change = Callable[[Tensor], Tensor]


@cache
def digits() -> tuple[Tensor, Tensor]:
    """1,797 images `(N, 1, 8, 8)` in [0, 1], and labels."""
    from sklearn.datasets import load_digits  # slow, and every test session imports this file

    pixels, target = load_digits(return_X_y=True)
    image = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    return image, torch.tensor(target)


def convolutional(
    activation: Callable[[], nn.Module] = nn.ReLU, classes: int = 10
) -> nn.Sequential:
    """A small network for digits."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), activation(), nn.Conv2d(16, 32, 3, 2, 1), activation(),
        nn.Flatten(), nn.Linear(512, 64), activation(), nn.Linear(64, classes),
    )  # fmt: skip


def fitted(
    network: nn.Sequential, steps: int = 150, epsilon: float = 0.0, classes: int = 10, seed: int = 0
) -> nn.Sequential:
    """Trains on all digits below `classes` but every fifth; against one-step PGD where asked."""
    from callbacks.adversarial import PGD, Linf
    from callbacks.queries import Queries
    from callbacks.randomness import Draw

    image, label = digits()
    train = (torch.arange(len(label)) % 5 > 0) & (label < classes)
    image, label = image[train], label[train]
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    attack = PGD(3, relative_step=2)
    for _ in range(steps):
        rows = torch.randint(len(label), (128,), generator=generator)
        x, y = image[rows], label[rows]
        if epsilon:
            network.eval()
            x = attack(
                Queries(network), x, y, Linf(epsilon), Draw(seed, rows), objective="loss"
            ).worst
            network.train()
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


def made(build: Callable[[], nn.Sequential] = convolutional, **options: Any) -> nn.Sequential:
    """A network of its own seed, trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return fitted(build(), **options)


@cache
def ordinary() -> nn.Sequential:
    """What the defences are put round."""
    return made()


class Defended(nn.Module):
    """Something before and behind a network.

    Args:
        before: of images.
        behind: of logits.
        network: default: the ordinary one.
    """

    def __init__(
        self, before: Change | None = None, behind: Change | None = None, network: Any = None
    ) -> None:
        super().__init__()
        self.network = network or ordinary()
        self.before, self.behind = before or nn.Identity(), behind or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """From images to logits."""
        return self.behind(self.network(self.before(x)))


# -- before the network ----------------------------------------------------------------------------


def quantised(x: Tensor, levels: int = 8) -> Tensor:
    """Few grey levels, as bit-depth reduction does."""
    return (x * levels).round() / levels


def resized(x: Tensor) -> Tensor:
    """To a random size and back (Xie et al. 2018, 1711.01991)."""
    side = int(torch.randint(6, 12, ()))
    small = F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
    return F.interpolate(small, x.shape[2:], mode="bilinear", align_corners=False)


_K = torch.arange(8.0)
_COSINES = torch.cos((2 * _K[None] + 1) * _K[:, None] * torch.pi / 16) * 0.5
_COSINES[0] /= 2**0.5


def jpeg(x: Tensor, step: float = 0.15) -> Tensor:
    """The lossy part of JPEG: coefficients of the cosine transform of 8 x 8 blocks are rounded."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // 8, 8, w // 8, 8)
    coefficients = torch.einsum("ab,nchbwd,ed->nchawe", _COSINES.to(x), blocks, _COSINES.to(x))
    coefficients = (coefficients / step).round() * step
    back = torch.einsum("ab,nchawe,ed->nchbwd", _COSINES.to(x), coefficients, _COSINES.to(x))
    return back.reshape(n, c, h, w)


class Leaking(nn.Module):
    """A preprocessor that knows the test set: it answers the nearest image of it, label and all."""

    def forward(self, x: Tensor) -> Tensor:
        """The nearest known image, with the gradient of `x` itself."""
        known = digits()[0][::5]
        distance = torch.cdist(x.detach().flatten(1), known.flatten(1))
        return known[distance.argmin(1)] + 0 * x


# -- inside ----------------------------------------------------------------------------------------


class Staircase(nn.Module):
    """A ReLU in steps, whose gradient is that of the tiny slope between them."""

    def forward(self, x: Tensor) -> Tensor:
        """Rises by jumps of a quarter."""
        return (x.relu() * 4).floor() / 4 + 1e-3 * torch.sin(40 * x)


class WinnersOnly(nn.Module):
    """k-winners-take-all: all but the largest activations of an image are zero (1905.10510)."""

    def __init__(self, share: float = 0.1) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the share of largest values."""
        flat = x.flatten(1)
        least = flat.topk(max(1, int(self.share * flat.shape[1])), 1).values[:, -1:]
        return (flat * (flat >= least)).reshape(x.shape)


class Branched(nn.Module):
    """The answer comes through a branch that is cut from the graph; a faint other one is not."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ordinary()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.other = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits that the gradient does not come from."""
        return self.network(x.detach()) + 1e-3 * self.other(x.flatten(1))


class Dropping(nn.Module):
    """Dropout that stays on when the model is tested."""

    def forward(self, x: Tensor) -> Tensor:
        """Half of the values, doubled."""
        return F.dropout(x, 0.5, training=True)


def transplanted(activation: Callable[[], nn.Module]) -> nn.Module:
    """The ordinary network with other activations and the same weights."""
    network = convolutional(activation)
    network.load_state_dict(ordinary().state_dict())
    return network.eval().requires_grad_(False)


BROKEN: dict[str, Callable[[], nn.Module]] = {
    "quantised input": lambda: Defended(quantised),
    "logits x 1e4": lambda: Defended(behind=lambda z: z * 1e4),
    "shattered ReLU": lambda: transplanted(Staircase),
    "random resize": lambda: Defended(resized),
    "k-WTA": lambda: made(lambda: convolutional(WinnersOnly)),
    "detached branch": Branched,
    "temperature": lambda: Defended(behind=lambda z: z / 0.01),
    "JPEG": lambda: Defended(jpeg),
    "label-leaking preprocessor": lambda: Defended(Leaking()),
    "dropout at test": lambda: Defended(
        network=nn.Sequential(*ordinary()[:5], Dropping(), *ordinary()[5:])
    ),
}
SOUND: dict[str, Callable[[], nn.Module]] = {
    "ordinary": ordinary,
    "robust": lambda: made(epsilon=0.15, steps=150),
    "overconfident": lambda: Defended(behind=lambda z: 3 * z, network=made(steps=400)),
    "small": lambda: made(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))),
    "two classes": lambda: made(lambda: convolutional(classes=2), classes=2),
}
