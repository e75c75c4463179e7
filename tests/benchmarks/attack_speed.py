"""PGD against the physical limit, the active set, and what Lightning, rows and MLflow add.

Ratios of times taken in turn in one process (median of the pairs), so that a machine whose speed
drifts does no harm: `python tests/benchmarks/attack_speed.py [images] [repeats] [part of a row]`.
"""

import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from models import SHARED, data_module, images_of_mnist, lenet_on_mnist

from callbacks import AdversarialProbe
from callbacks.adversarial import PGD, Attack, Linf
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules import Preprocessing
from lightning_modules import Classifier, build

STEPS, CHUNK = 40, 128
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def seconds(work: Callable[[], object]) -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def paired(one: Callable[[], object], other: Callable[[], object], repeats: int) -> float:
    """Median over pairs of the time of `one` in units of `other`, after a warm-up of both."""
    one(), other()
    return statistics.median(seconds(one) / seconds(other) for _ in range(repeats))


def limit(model: nn.Module, image: Tensor, label: Tensor, steps: int) -> None:
    """Forward and backward to the input alone, in chunks, `steps` times."""
    for _ in range(steps):
        for x, y in zip(image.split(CHUNK), label.split(CHUNK), strict=True):
            leaf = x.detach().requires_grad_()
            loss = F.cross_entropy(model(leaf), y, reduction="sum")
            torch.autograd.grad(loss, leaf)


def attack(
    attacked: Attack, model: nn.Module, image: Tensor, label: Tensor, objective: str
) -> Tensor:
    draw = Draw(0, torch.arange(len(image), device=image.device))
    queries = Queries(model, CHUNK)
    result = attacked(queries, image, label, Linf(0.2), draw, objective=objective)  # type: ignore[arg-type]
    return result.image


def fixed_steps(model: nn.Module, image: Tensor, label: Tensor, repeats: int) -> float:
    pgd = PGD(STEPS)
    return paired(
        lambda: attack(pgd, model, image, label, "loss"),
        lambda: limit(model, image, label, STEPS),
        repeats,
    )


def active_set(model: nn.Module, image: Tensor, label: Tensor, repeats: int) -> tuple[float, bool]:
    pgd = PGD(STEPS)

    def run(objective: str) -> Tensor:
        found = [
            attack(pgd, model, x, y, objective)
            for x, y in zip(image.split(8 * CHUNK), label.split(8 * CHUNK), strict=True)
        ]
        return torch.cat(found)

    with torch.no_grad():
        same = bool((model(run("verdict")).argmax(1) == model(run("loss")).argmax(1)).all())
    return 1 / paired(lambda: run("verdict"), lambda: run("loss"), repeats), same


def resnet20() -> nn.Module:
    return build("cifar_resnet20", 10, 3).eval().requires_grad_(False)


def overhead(model: nn.Module, n: int, repeats: int) -> float:
    """`assay evaluate` with PGD-40 in a warm store, in units of the attack's own time."""
    from pipelines.evaluate.command import evaluate
    from pipelines.tracking import Tracking

    data = type(data_module())(root=SHARED, limit=n, resize=28)
    preprocessing = Preprocessing(1, (28, 28), mean=(0.1307,), std=(0.3081,))
    classifier = Classifier(
        model.net, classes=10, preprocessing=preprocessing, architecture="lenet", chunk=CHUNK
    )
    images = data.images("test")
    batch = images.__getitems__(list(range(len(images))))
    image, label = (batch.image.float() / 255).to(DEVICE), batch.label.to(DEVICE)
    moved = classifier.to(DEVICE).eval().requires_grad_(False)

    def bare() -> None:
        for x, y, rows in zip(
            image.split(8 * CHUNK),
            label.split(8 * CHUNK),
            torch.arange(len(label), device=DEVICE).split(8 * CHUNK),
            strict=True,
        ):
            queries = Queries(moved, CHUNK)
            PGD(STEPS)(queries, x, y, Linf(0.2), Draw(0, rows), objective="loss")

    with tempfile.TemporaryDirectory() as root:

        def full() -> None:
            probe = AdversarialProbe(PGD(STEPS), epsilons=[0.2], objective="loss")
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                evaluate(
                    classifier, data, [probe], fresh=True, root=Path(root), tracking=Tracking()
                )

        return paired(full, bare, repeats) - 1


def peak_memory(model: nn.Module, image: Tensor, label: Tensor) -> float:
    """Peak of an attack in units of one forward and backward at the same batch."""
    from memory import peak  # type: ignore[import-not-found]

    one = peak(lambda: limit(model, image[:CHUNK], label[:CHUNK], 1))
    return peak(lambda: attack(PGD(3), model, image[:CHUNK], label[:CHUNK], "verdict")) / one


def rows(n: int, repeats: int) -> Iterator[tuple[str, Callable[[], str], str]]:
    """(what, how to measure it, bar)."""
    image, label, _ = images_of_mnist(n)
    image, label = image.to(DEVICE), label.to(DEVICE)
    colour = F.pad(image[:256].repeat(1, 3, 1, 1), [2] * 4)
    plain, robust = (lenet_on_mnist(kind)[0].to(DEVICE) for kind in (False, True))
    residual = resnet20().to(DEVICE)
    few = image[:1024], label[:1024]
    coloured = colour, label[:256]

    def faster(model: nn.Module) -> str:
        times, same = active_set(model, image, label, repeats)
        return f"{times:.2f} ({'same verdicts' if same else 'VERDICTS DIFFER'})"

    yield (
        "PGD, LeNet: time / (steps x forward and backward)",
        lambda: f"{fixed_steps(plain, *few, repeats):.2f}",
        "<= 1.10",
    )
    yield (
        "PGD, ResNet-20: the same",
        lambda: f"{fixed_steps(residual, *coloured, repeats):.2f}",
        "<= 1.10",
    )
    yield "active set, undefended LeNet: times faster", lambda: faster(plain), ">= 2"
    yield "active set, robust LeNet: times faster", lambda: faster(robust), ">= 0.97"
    yield (
        "peak memory, ResNet-20: attack / one forward and backward",
        lambda: f"{peak_memory(residual, *coloured):.2f}",
        "<= 1.1",
    )
    yield (
        "Lightning, rows and MLflow: added to the attack's time",
        lambda: f"{100 * overhead(plain, n, repeats):.1f} %",
        "<= 5 % at 10,000 images",
    )


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    wanted = sys.argv[3] if len(sys.argv) > 3 else ""
    cpu = f"CPU, {torch.get_num_threads()} threads"
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else cpu
    print(f"{n} images of {data_module().name}, PGD-{STEPS}, chunks of {CHUNK}, {device}, ", end="")
    print(f"torch {torch.__version__}, median of {repeats}\n")
    print("| what | measured | bar |\n| --- | --- | --- |")
    for what, measure, bar in rows(n, repeats):
        if wanted in what:
            print(f"| {what} | {measure()} | {bar} |", flush=True)


if __name__ == "__main__":
    main()
