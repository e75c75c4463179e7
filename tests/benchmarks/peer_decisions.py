"""HopSkipJump beside Foolbox's, on a LeNet of MNIST: how near, and the time a question takes.

The distance of the nearest point found after equal steps; the two ask nearly equally often.
`python tests/benchmarks/peer_decisions.py [images] [steps]` (24 images, 40 steps: ten minutes).
"""

import sys
import time
from pathlib import Path

import foolbox
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from models import images_of_mnist, lenet_on_mnist

from callbacks.adversarial import L2, HopSkipJump, Linf
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.queries import Queries
from callbacks.randomness import Draw

N, STEPS = (int(sys.argv[i]) if len(sys.argv) > i else usual for i, usual in ((1, 24), (2, 40)))


class Asked(nn.Module):
    """Counted answers, for Foolbox, which wants a module."""

    def __init__(self, queries: Queries) -> None:
        super().__init__()
        self.queries = queries

    def forward(self, image: Tensor) -> Tensor:
        return self.queries(image)


def ours(model: Queries, image: Tensor, label: Tensor, ball: ThreatModel) -> Tensor:
    """Distances: of a ball without radius the walk never gets inside, and asks every question."""
    near: list[Tensor] = []
    measured = ball.measure

    class Point(type(ball)):  # type: ignore[misc]
        """A ball that keeps the distances it is asked for."""

        def measure(self, image: Tensor, origin: Tensor) -> Tensor:
            distance = measured(image, origin)
            if len(distance) == N:
                near.append(distance)
            return distance

    HopSkipJump(steps=STEPS)(model, image, label, Point(0.0), Draw(0, torch.arange(N)))
    return torch.stack(near).amin(0)


def foolboxes(model: Queries, image: Tensor, label: Tensor, ball: ThreatModel) -> Tensor:
    """Distances; infinity where nothing was found."""
    attack = foolbox.attacks.HopSkipJumpAttack(steps=STEPS, constraint=ball.norm)  # type: ignore[arg-type]
    wrapped = foolbox.PyTorchModel(Asked(model).eval(), bounds=(0, 1))
    found = attack.run(wrapped, image, foolbox.criteria.Misclassification(label))
    return torch.where(model(found).argmax(1) != label, ball.measure(found, image), torch.inf)


def main() -> None:
    torch.set_num_threads(1)
    model, kind = lenet_on_mnist()
    image, label, data = images_of_mnist(2 * N)
    right = model(image).argmax(1) == label
    image, label = image[right][:N], label[right][:N]
    print(f"{N} images of {data}, {kind}, {STEPS} steps\n")
    print("| ball | whose | median distance | mean | questions an image | us a question |")
    print("| --- | --- | --- | --- | --- | --- |")
    for ball in (L2(0.0), Linf(0.0)):
        for whose, run in (("ours", ours), ("Foolbox", foolboxes)):
            queries, start = Queries(model, 128 if run is ours else None), time.process_time()
            distance = run(queries, image, label, ball)
            each = 1e6 * (time.process_time() - start) / queries.forwards
            print(
                f"| {ball.norm} | {whose} | {distance.median():.4f} | {distance.mean():.4f} "
                f"| {queries.forwards / N:,.0f} | {each:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
