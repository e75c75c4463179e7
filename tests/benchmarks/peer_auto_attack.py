"""The parts of AutoAttack beside torchattacks and adv-lib, image by image (`make bench`).

Every peer is set to the full budget, 100 steps and 5,000 queries. On a robust network two runs of
one implementation agree on 92 to 98 % of the images, so torchattacks' APGD is given our random
starts: then it is the same algorithm or it is not. The others draw their own.
`python tests/benchmarks/peer_auto_attack.py [images] [part of a row]`.
"""

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import torch
import torchattacks
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from models import images_of_mnist, small_on_mnist

from callbacks.adversarial import (
    APGD,
    L1,
    L2,
    Attack,
    Linf,
    Square,
    TargetedAPGD,
    TargetedFAB,
)
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.queries import Queries
from callbacks.randomness import Draw

sys.modules["visdom"] = ModuleType("visdom")  # adv-lib imports it, for plots, and it rarely builds
attacks_of_adv_lib = importlib.import_module("adv_lib.attacks")
N = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
WANTED = sys.argv[2] if len(sys.argv) > 2 else ""
Peer = Callable[[Tensor, Tensor], Tensor]


def cases(model: nn.Module, ball: ThreatModel) -> Iterator[tuple[str, Attack, str, Peer]]:
    """(name, ours, whose the other is, theirs)."""
    eps, adv = ball.epsilon, attacks_of_adv_lib
    if ball.norm != "l1":
        options = {"norm": {"linf": "Linf", "l2": "L2"}[ball.norm], "eps": eps}
        ta = torchattacks
        yield "APGD-CE", APGD(), "torchattacks", ta.APGD(model, steps=100, **options)
        yield (
            "APGD-DLR", APGD(loss="dlr"), "torchattacks",
            ta.APGD(model, steps=100, loss="dlr", **options),
        )  # fmt: skip
        yield (
            "APGD-T", TargetedAPGD(), "torchattacks",
            ta.APGDT(model, steps=100, n_classes=10, **options),
        )  # fmt: skip
        square = ta.Square(model, n_queries=5000, **options)
        yield "Square", Square(rescale=True), "torchattacks", square
    norm = {"linf": torch.inf, "l2": 2, "l1": 1}[ball.norm]
    large = {"use_large_reps": True} if ball.norm == "l1" else {}
    yield (
        "APGD-CE", APGD(), "adv-lib",
        lambda x, y: adv.apgd(model, x, y, eps, norm, n_iter=100, loss_function="ce", **large),
    )  # fmt: skip
    yield (
        "APGD-T", TargetedAPGD(), "adv-lib",
        lambda x, y: adv.apgd_targeted(
            model, x, y, eps, norm, n_iter=100, loss_function="dlr", num_targets=9, **large
        ),
    )  # fmt: skip
    yield (
        "FAB-T", TargetedFAB(), "adv-lib",
        lambda x, y: adv.fab(
            model, x, y, norm, n_iter=100, restarts=9, targeted_restarts=True, ε=eps
        ),
    )  # fmt: skip


@contextlib.contextmanager
def starts(draw: Draw, shape: torch.Size, purpose: str) -> Iterator[None]:
    """Lets `torch.rand` and `torch.randn` give the numbers that our APGD starts from."""
    real = torch.rand, torch.randn

    def numbers(kind: str, fallback: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def drawn(*size: object, **options: object) -> Tensor:
            if size and tuple(size[0] if len(size) == 1 else size) == tuple(shape):  # type: ignore[arg-type]
                return getattr(draw, kind)(purpose, 0, tuple(shape[1:]))
            return fallback(*size, **options)

        return drawn

    torch.rand, torch.randn = numbers("uniform", real[0]), numbers("normal", real[1])
    try:
        yield
    finally:
        torch.rand, torch.randn = real


def row(model: nn.Module, image: Tensor, label: Tensor, case: tuple, ball: ThreatModel) -> str:
    name, attack, whose, theirs = case

    def ours(x: Tensor, y: Tensor) -> Tensor:
        return attack(Queries(model, 128), x, y, ball, Draw(0, torch.arange(len(x)))).image

    left, seconds = [], []
    draw, purpose = Draw(0, torch.arange(len(image))), f"apgd {getattr(attack, 'loss', '')}"
    for run in (ours, theirs):
        start = time.perf_counter()
        with starts(draw, image.shape, purpose) if run is theirs else contextlib.nullcontext():
            moved = run(image, label)
        seconds.append(time.perf_counter() - start)
        inside = ball.contains(moved, image)
        moved = torch.where(inside[:, None, None, None], moved, image)
        left.append(model(moved).argmax(1) == label)
    same = (left[0] == left[1]).float().mean()
    accuracy = [100 * int(part.sum()) / N for part in left]
    return (
        f"| {name} {ball} | {whose} | {accuracy[0]:.1f} % | {accuracy[1]:.1f} % "
        f"| {100 * (1 - (1 - same) * len(label) / N):.2f} % | {seconds[0] / seconds[1]:.2f} |"
    )


def main() -> None:
    image, label, data = images_of_mnist(N)
    print(f"{N} images of {data}, the network of Wong et al. 2020, torch {torch.__version__}\n")
    print(
        "| attack | peer | accuracy left by ours | by the peer's | same verdict | time, ours in "
        "units of theirs |\n| --- | --- | --- | --- | --- | --- |"
    )
    for robust in (False, True):
        model, kind = small_on_mnist(robust)
        right = model(image).argmax(1) == label
        print(f"| *{kind}*, {100 * right.float().mean():.1f} % clean | | | | | |", flush=True)
        balls = (Linf(0.3), L2(1.5), L1(10.0)) if robust else (Linf(0.1), L2(1.5), L1(10.0))
        for ball in balls:
            for case in cases(model, ball):
                if WANTED in f"{case[0]} {ball} {case[2]} {robust}":
                    print(row(model, image[right], label[right], case, ball), flush=True)


if __name__ == "__main__":
    main()
