"""FGSM and PGD beside Foolbox and torchattacks, image by image, in one process (`make bench`).

Without a random start all three do the same arithmetic, so the images can be compared.
"""

import sys
from pathlib import Path

import foolbox
import torch
import torchattacks
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from models import images_of_mnist, lenet_on_mnist

from callbacks.adversarial import FGSM, L2, PGD, Attack, Linf
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.queries import Queries
from callbacks.randomness import Draw

N = int(sys.argv[1]) if len(sys.argv) > 1 else 1000


def pgd(steps: int, size: float) -> PGD:
    return PGD(steps, step_size=size, random_start=False, returns="last")


def cases(model: nn.Module) -> list[tuple[str, Attack, ThreatModel, object, object]]:
    """(name, ours, threat model, Foolbox's, torchattacks')."""
    fb = foolbox.attacks
    return [
        ("FGSM linf 0.1", FGSM(), Linf(0.1), fb.FGSM(random_start=False),
         torchattacks.FGSM(model, eps=0.1)),
        ("FGSM l2 1.5", FGSM(), L2(1.5), fb.FGM(random_start=False), None),
        ("PGD-40 linf 0.3, step 0.01", pgd(40, 0.01), Linf(0.3),
         fb.LinfPGD(abs_stepsize=0.01, steps=40, random_start=False),
         torchattacks.PGD(model, eps=0.3, alpha=0.01, steps=40, random_start=False)),
        ("PGD-50 l2 1.5, step 0.0375", pgd(50, 0.0375), L2(1.5),
         fb.L2PGD(abs_stepsize=0.0375, steps=50, random_start=False),
         torchattacks.PGDL2(model, eps=1.5, alpha=0.0375, steps=50, random_start=False)),
    ]  # fmt: skip


def row(model: nn.Module, image: Tensor, label: Tensor, case: tuple) -> str:
    name, attack, threat, theirs, other = case
    ours = attack(Queries(model), image, label, threat, Draw(0, torch.arange(len(image)))).image
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    _, peer, _ = theirs(wrapped, image, label, epsilons=threat.epsilon)
    difference = (ours - peer).abs().flatten(1).amax(1)
    verdicts = [model(x).argmax(1) == label for x in (ours, peer)]
    third = "-"
    if other is not None:
        agree = (model(other(image, label)).argmax(1) == label) == verdicts[0]
        third = f"{100 * agree.float().mean():.2f} %"
    same = (verdicts[0] == verdicts[1]).float().mean()
    close = (difference <= 1e-5).float().mean()
    accuracy = 100 * verdicts[0].float().mean()
    return f"| {name} | {accuracy:.1f} % | {100 * close:.2f} % | {100 * same:.2f} % | {third} |"


def main() -> None:
    model, source = lenet_on_mnist()
    image, label, data = images_of_mnist(N)
    print(f"{N} images of {data}, LeNet ({source}), torch {torch.__version__}\n")
    print("| attack | accuracy left | images equal to Foolbox's (1e-5) | same verdict as Foolbox "
          "| same verdict as torchattacks |")  # fmt: skip
    print("| --- | --- | --- | --- | --- |")
    for case in cases(model):
        print(row(model, image, label, case), flush=True)


if __name__ == "__main__":
    main()
