"""What damage costs: `python tests/benchmarks/damage_speed.py [repeats] [row part]`.

Ratios are taken in one process, in turn. Predictions, written before the first run: K variants cost
K forwards and next to nothing more (1.02); with late damage only the suffix (1.05 of it); the
tutorial way copies the model and loops a loader over batches of 32 (twice the forwards' time, and
the copies); PyTorchFI copies the model for every injection and flips through Python.
"""

import copy
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torchvision
from models import SHARED, images_of_mnist, lenet_on_mnist
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from callbacks.damage import BitFlip, DamageProbe, Selection, Zero
from callbacks.digests import weights_digest
from callbacks.measurement import Samples
from callbacks.queries import Queries
from datamodules import CIFAR10
from lightning_modules import build

K = 32
Row = tuple[str, str, str]


def timed(*works: Callable[[], object], repeats: int = 3) -> list[float]:
    """Median seconds of each, taken in turn, so that a slow minute hits all of them."""
    found: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    for _ in range(repeats):
        for seconds, work in zip(found, works, strict=True):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(one) for one in found]


def subjects() -> Iterator[tuple[str, nn.Module, Tensor, tuple[str, ...]]]:
    """Name, model, images, and the layers of the late damage."""
    lenet, _ = lenet_on_mnist()
    yield "LeNet", lenet, images_of_mnist(512)[0], ("net.fc2", "net.fc3")
    if (SHARED / "cifar10").is_dir():
        image = CIFAR10(root=SHARED / "cifar10").taken("test", 256).image
    else:
        image = torch.rand(256, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model = build("cifar_resnet20", 10, 3).eval().requires_grad_(False)
    yield "ResNet-20", model, image, ("layer3.2", "linear")


def measured(model: nn.Module, probe: DamageProbe, image: Tensor) -> Callable[[], list[Tensor]]:
    """The probe's own way: all variants of every chunk of images."""
    label = torch.zeros(len(image), dtype=torch.long)
    with torch.no_grad():
        logits = model(image)
    samples = Samples(image, label, torch.arange(len(image)), logits)
    queries = Queries(model, probe.chunk)
    return lambda: [one.logits for one in probe.measure(queries, samples, probe.settings())]


@torch.no_grad()
def forwards(model: nn.Module, image: Tensor, times: int) -> None:
    for _ in range(times):
        for part in image.split(128):
            model(part)


@torch.no_grad()
def tutorial(model: nn.Module, image: Tensor, names: Sequence[str], draws: int) -> None:
    """Copies the model, edits it weight by weight, and loops over a loader."""
    data = TensorDataset(image, torch.zeros(len(image)))
    for seed in range(draws):
        other = copy.deepcopy(model)
        for name in names:
            flat = other.get_parameter(name).data.view(-1)
            order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))
            for position in order[: round(0.1 * len(flat))].tolist():
                flat[position] = 0
        for part, _ in DataLoader(data, batch_size=32):
            other(part)


def rows(repeats: int) -> Iterator[tuple[str, Callable[[], Row]]]:
    for name, model, image, late in subjects():
        yield f"all {name}", partial(_all_layers, name, model, image, repeats)
        yield f"late {name}", partial(_late, name, model, image, late, repeats)
        for layers in ((), late):
            again = partial(_against_tutorial, name, model, image, layers, repeats)
            yield f"tutorial {name}", again
    yield "flips", partial(_flips, repeats)
    if _peer() is not None:
        yield "peer", partial(_against_peer, repeats)


def _all_layers(name: str, model: nn.Module, image: Tensor, repeats: int) -> Row:
    probe = DamageProbe(Zero(), (0.1,), draws=K)
    ours, limit = timed(
        measured(model, probe, image), lambda: forwards(model, image, K), repeats=repeats
    )
    return f"{K} damaged variants, {name}: time / {K} forwards", f"{ours / limit:.2f}", "<= 1.10"


def _late(name: str, model: nn.Module, image: Tensor, late: Sequence[str], repeats: int) -> Row:
    """The suffix is measured by replaying everything before it, as the probe does."""
    from callbacks.damage.prefix import Prefix

    probe = DamageProbe(Zero(Selection(layers=tuple(late))), (0.1,), draws=K)
    names = Selection(layers=tuple(late)).names(model)
    prefix = Prefix(model, names, image[:1])

    @torch.no_grad()
    def suffix() -> None:
        for part in image.split(128):
            prefix.record(part)
            with prefix.replayed():
                for _ in range(K):
                    model(part)

    ours, limit = timed(measured(model, probe, image), suffix, repeats=repeats)
    whole, _ = timed(lambda: forwards(model, image, K), lambda: None, repeats=repeats)
    what = f"late layers only, {name}: time / the suffix ({limit / whole:.2f} of a forward)"
    return what, f"{ours / limit:.2f}", "<= 1.20"


def _against_tutorial(
    name: str, model: nn.Module, image: Tensor, layers: Sequence[str], repeats: int
) -> Row:
    selection = Selection(layers=tuple(layers))
    probe = DamageProbe(Zero(selection), (0.1,), draws=8)
    names = selection.names(model)
    ours, theirs = timed(
        measured(model, probe, image), lambda: tutorial(model, image, names, 8), repeats=repeats
    )
    where = "late layers" if layers else "all layers"
    return (
        f"against the tutorial way, {name}, {where}: times faster",
        f"{theirs / ours:.1f}",
        ">= 7",
    )


def _flips(repeats: int) -> Row:
    model = torchvision.models.resnet50()
    before = weights_digest(model)

    def inject() -> None:
        record = BitFlip()(model, 100_000)
        record.undo(record.apply(model))

    (seconds,) = timed(inject, repeats=repeats)
    assert weights_digest(model) == before
    what = "100,000 flips drawn, injected and undone in a ResNet-50: part of half a second"
    return what, f"{seconds / 0.5:.2f}", "<= 1"


def _peer() -> object | None:
    try:
        from pytorchfi.core import fault_injection
    except ImportError:
        return None
    return fault_injection


@torch.no_grad()
def _against_peer(repeats: int) -> Row:
    """One random weight set to zero per variant, as PyTorchFI declares weight faults."""
    fault_injection = _peer()
    assert fault_injection is not None
    _, model, image, _ = next(iter(subjects()))
    shape = next(part.weight.shape for part in model.modules() if isinstance(part, nn.Conv2d))
    probe = DamageProbe(BitFlip(), (1,), draws=K)

    def theirs() -> None:
        options = {"layer_types": [nn.Conv2d], "use_cuda": False}
        tool = fault_injection(model, 128, [1, 28, 28], **options)  # type: ignore[operator]
        for i in range(K):
            spot = dict(zip(("k", "dim1", "dim2", "dim3"), ([i % n] for n in shape), strict=True))
            other = tool.declare_weight_fi(layer_num=[0], value=[0.0], **spot)
            for part in image.split(128):
                other(part)

    ours, peer = timed(measured(model, probe, image), theirs, repeats=repeats)
    return f"against PyTorchFI, LeNet, {K} single faults: times faster", f"{peer / ours:.1f}", "-"


if __name__ == "__main__":
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    threads = torch.get_num_threads()
    print(f"CPU, {threads} threads, torch {torch.__version__}, median of {repeats}\n")
    print("| what | measured | bar |\n| --- | --- | --- |")
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    for name, work in rows(repeats):
        if wanted not in name:
            continue
        print("| " + " | ".join(work()) + " |", flush=True)
