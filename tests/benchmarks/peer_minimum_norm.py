"""Minimum-norm attacks beside Foolbox, adv-lib and ART at equal cost (`make bench`).

Every attack is run on the same images that the model gets right, in one process and in turn with
its peer; what it returns is put in the box, asked again and measured here. Ours take as many
gradients and forwards as the peer, or fewer: a gradient counts as three forwards. ART is not among
the requirements of `make bench`; where it is not installed its lines are left out.
`python tests/benchmarks/peer_minimum_norm.py [images] [part of a row]`.
"""

import importlib
import importlib.util
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import foolbox
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from models import SHARED, images_of_cifar10, images_of_mnist, lenet_on_mnist, resnet20_on_cifar10

from callbacks.adversarial.minimum_norm import (
    DDN,
    FMN,
    CarliniWagner,
    DeepFool,
    Distance,
    MinimumNormAttack,
)
from callbacks.adversarial.minimum_norm.nearest import measure
from callbacks.queries import Queries
from callbacks.randomness import Draw

sys.modules["visdom"] = ModuleType("visdom")  # adv-lib imports it, for plots, and it rarely builds
adv = importlib.import_module("adv_lib.attacks")
N = int(sys.argv[1]) if len(sys.argv) > 1 else 200
WANTED = sys.argv[2] if len(sys.argv) > 2 else ""
ORDER = {"l0": 0, "l1": 1, "l2": 2, "linf": math.inf}
OF_FOOLBOX = {"l0": "L0", "l1": "L1", "l2": "L2", "linf": "LInf"}
SEARCHED = 100  # steps of each search of Carlini & Wagner, at a rate of 0.1


class Counting(nn.Module):
    """A model that counts the images that go forward and back."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.forwards, self.backwards = model, 0, 0

    def forward(self, image: Tensor) -> Tensor:
        self.forwards += len(image)
        logits = self.model(image)
        if logits.requires_grad:
            logits.register_hook(lambda _: self._back(len(image)))
        return logits

    def _back(self, count: int) -> None:
        self.backwards += count


class Outcome(NamedTuple):
    """What a run found and spent, an image."""

    distance: Tensor
    forwards: float
    backwards: float
    seconds: float


Run = Callable[[nn.Module, Tensor, Tensor], Tensor]


def ours(attack: MinimumNormAttack, norm: Distance) -> Run:
    def run(model: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        draw = Draw(0, torch.arange(len(image)))
        return attack(Queries(model), image, label, norm, draw).image

    return run


def of_foolbox(attack: object) -> Run:
    def run(model: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        return attack(wrapped, image, label, epsilons=None)[0]  # type: ignore[operator]

    return run


def of_art(name: str, **options: object) -> Run:
    def run(model: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        estimators = importlib.import_module("art.estimators.classification")
        loss, shape = nn.CrossEntropyLoss(), tuple(image.shape[1:])
        wrapped = estimators.PyTorchClassifier(model, loss, shape, 10, clip_values=(0, 1))
        kind = getattr(importlib.import_module("art.attacks.evasion"), name)
        attack = kind(wrapped, batch_size=len(image), verbose=False, **options)
        found = attack.generate(image.numpy(), label.numpy())
        model.requires_grad_(False)
        return torch.from_numpy(found)

    return run


def cases() -> Iterator[tuple[str, Distance, MinimumNormAttack, list[tuple[str, Run]]]]:
    """(name, norm, ours, peers by name)."""
    fb = foolbox.attacks
    norms: tuple[Distance, ...] = ("l2", "linf")
    for norm, kind in zip(norms, (fb.L2DeepFoolAttack, fb.LinfDeepFoolAttack), strict=True):
        peers = [
            ("Foolbox", of_foolbox(kind())),
            ("adv-lib", lambda m, x, y, p=ORDER[norm]: adv.df(m, x, y, steps=50, norm=p)),
        ]
        if norm == "l2":
            peers.append(("ART", of_art("DeepFool", max_iter=50)))
        yield "DeepFool", norm, DeepFool(), peers
    # 97 gradients, the last point and 8 halvings are 300 forwards, as 100 gradients are.
    yield (
        "DDN", "l2", DDN(steps=97),
        [
            ("Foolbox", of_foolbox(fb.DDNAttack())),
            ("adv-lib", lambda m, x, y: adv.ddn(m, x, y, steps=100, levels=None)),
        ],
    )  # fmt: skip
    four: tuple[Distance, ...] = ("l2", "linf", "l1", "l0")
    for norm in four:
        kind = getattr(fb, f"{OF_FOOLBOX[norm]}FMNAttack")
        peers = [
            ("Foolbox", of_foolbox(kind(steps=100))),
            ("adv-lib", lambda m, x, y, p=ORDER[norm]: adv.fmn(m, x, y, p, steps=100)),
        ]
        yield "FMN", norm, FMN(steps=97), [*peers, *_others(norm)]
    rate, steps = 0.1, SEARCHED
    yield (
        "Carlini-Wagner", "l2", CarliniWagner(steps=steps),
        [
            ("Foolbox", of_foolbox(fb.L2CarliniWagnerAttack(steps=steps, stepsize=rate))),
            (
                "adv-lib",
                lambda m, x, y: adv.carlini_wagner_l2(
                    m, x, y, learning_rate=rate, max_iterations=steps
                ),
            ),
            (
                "ART",
                of_art(
                    "CarliniL2Method", learning_rate=rate, max_iter=steps, binary_search_steps=9,
                    initial_const=0.001,
                ),
            ),
        ],
    )  # fmt: skip


def _others(norm: str) -> list[tuple[str, Run]]:
    """Other attacks of adv-lib at 100 gradients: is there any that FMN has to fear?"""
    if norm == "l0":
        return [("adv-lib sigma-zero", lambda m, x, y: adv.sigma_zero(m, x, y, num_steps=100))]
    if norm == "l2":
        return [
            ("adv-lib ALMA", lambda m, x, y: adv.alma(m, x, y, num_steps=100, distance="l2")),
            ("adv-lib PDGD", lambda m, x, y: adv.pdgd(m, x, y, num_steps=100)),
        ]
    if norm == "l1":
        return [("adv-lib ALMA", lambda m, x, y: adv.alma(m, x, y, num_steps=100, distance="l1"))]
    return [("adv-lib PDPGD", lambda m, x, y: adv.pdpgd(m, x, y, norm=math.inf, num_steps=100))]


def judged(run: Run, model: nn.Module, image: Tensor, label: Tensor, norm: str) -> Outcome:
    """Runs an attack, asks the model again and measures; infinite where it does not err."""
    torch.manual_seed(0)
    counting = Counting(model).eval()
    start = time.perf_counter()
    found = run(counting, image, label)
    seconds = time.perf_counter() - start
    found = found.detach().clamp(0, 1)
    wrong = model(found).argmax(1) != label
    distance = measure(found, image, norm).masked_fill(~wrong, math.inf)
    n = len(image)
    return Outcome(distance, counting.forwards / n, counting.backwards / n, seconds)


def line(name: str, norm: str, whose: str, mine: Outcome, peer: Outcome) -> str:
    ratio = (mine.distance / peer.distance).nan_to_num(1.0).median()  # inf / inf: both nothing
    success = [100 * one.distance.isfinite().float().mean() for one in (mine, peer)]
    medians = [one.distance.median() for one in (mine, peer)]
    cost = [f"{one.forwards:.0f} + {one.backwards:.0f}" for one in (mine, peer)]
    return (
        f"| {name} {norm} | {whose} | {medians[0]:.4g} | {medians[1]:.4g} "
        f"| {medians[0] / medians[1]:.3f} | {ratio:.3f} | {success[0]:.1f} / {success[1]:.1f} "
        f"| {cost[0]} / {cost[1]} | {mine.seconds / peer.seconds:.2f} |"
    )


def main() -> None:
    print(
        "| attack | peer | median, ours | the peer's | ratio | ratio image by image | found, % "
        f"| forwards + backwards | time |\n|{' --- |' * 9}"
    )
    networks = [("lenet", *lenet_on_mnist(), *images_of_mnist(N))]
    if SHARED.is_dir():
        networks.append(("resnet20", *resnet20_on_cifar10(), *images_of_cifar10(N // 2)))
    for short, model, kind, image, label, data in networks:
        right = model(image).argmax(1) == label
        x, y = image[right], label[right]
        print(f"| *{short}, {kind}, {len(x)} images of {data}* | | | | | | | | |", flush=True)
        for name, norm, attack, peers in cases():
            for whose, run in peers:
                if whose == "ART" and importlib.util.find_spec("art") is None:
                    continue
                if WANTED in f"{short} {name} {norm} {whose}":
                    mine = judged(ours(attack, norm), model, x, y, norm)
                    peer = judged(run, model, x, y, norm)
                    print(line(name, norm, whose, mine, peer), flush=True)


if __name__ == "__main__":
    main()
