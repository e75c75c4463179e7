"""What explaining costs: `python tests/benchmarks/explanation_speed.py [repeats] [row part]`.

Ratios are taken in one process, in turn: the time of an explainer or metric over what the forwards
and backwards that it counts would take in full batches of 128. Predictions, written before the
first run: gradients and integrated gradients 1.05; occlusion, RISE, KernelSHAP 1.1 (they make a
picture for every forward); LIME 1.1; DeepLIFT 1.5 (Captum sends image and baseline through every
activation together and hooks them); metrics 1.1; ranks of small maps cost more than LeNet's own
forward; the monitor 3 % of a ResNet-18.
"""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torchvision
from damage_speed import subjects, timed
from memory import peak
from torch import Tensor, nn

from callbacks.interpretability import EXPLAINERS, METRICS, metric
from callbacks.interpretability.explainer import target_logit
from callbacks.monitoring import Monitor
from callbacks.monitoring.overhead import overhead
from callbacks.queries import Queries
from callbacks.randomness import Draw

Row = tuple[str, str, str]
_IMAGES = 128


def many(work: Callable[[], object]) -> tuple[Callable[[], None], int]:
    """The work as often as takes a tenth of a second, and how often that is."""
    work()
    start = time.perf_counter()
    work()
    times = max(1, round(0.1 / (time.perf_counter() - start)))

    def again() -> None:
        for _ in range(times):
            work()

    return again, times


def rows(repeats: int) -> Iterator[tuple[str, Callable[[], Row]]]:
    for name, model, image, _ in subjects():
        image = image[:_IMAGES].contiguous()
        for key in EXPLAINERS:
            yield f"{key} {name}", partial(_explainer, key, name, model, image, repeats)
        for key in METRICS:
            yield f"{key} {name}", partial(_metric, key, name, model, image, repeats)
    yield "memory", _memory
    yield "monitor", _monitor


def _explainer(key: str, name: str, model: nn.Module, image: Tensor, repeats: int) -> Row:
    explainer = EXPLAINERS[key]()
    image = _fewer(image, explainer.forwards)
    target, draw = _asked(model, image)
    queries = Queries(model, _IMAGES)
    return _ratio(
        f"{key}, {name}",
        lambda: explainer(queries, image, target, draw),
        (explainer.forwards, explainer.backwards), model, image, repeats,
    )  # fmt: skip


def _metric(key: str, name: str, model: nn.Module, image: Tensor, repeats: int) -> Row:
    explainer = EXPLAINERS["integrated_gradients"](points=16)
    measured = metric(key, explainer)
    image = _fewer(image, measured.forwards)
    target, draw = _asked(model, image)
    queries = Queries(model, _IMAGES)
    saliency = explainer(queries, image, target, draw)
    return _ratio(
        f"metric {key}, {name}",
        lambda: measured(queries, image, target, saliency, draw),
        (measured.forwards, measured.backwards), model, image, repeats,
    )  # fmt: skip


def _fewer(image: Tensor, forwards: int) -> Tensor:
    """Of dear methods few images fill the batches as well."""
    return image if forwards < _IMAGES // 4 else image[:16]


def _asked(model: nn.Module, image: Tensor) -> tuple[Tensor, Draw]:
    with torch.no_grad():
        return model(image).argmax(1), Draw(0, torch.arange(len(image)))


def _ratio(
    what: str,
    work: Callable[[], object],
    counts: tuple[int, int],
    model: nn.Module,
    image: Tensor,
    repeats: int,
) -> Row:
    """Time over that of the counted forwards and backwards; of what asks nothing, in forwards."""
    queries, target = Queries(model, _IMAGES), torch.zeros(_IMAGES, dtype=torch.long)
    full = image.repeat(_IMAGES // len(image), 1, 1, 1)
    works = (work, lambda: queries(full), lambda: queries.gradient(full, target_logit, target))
    loops, times = zip(*map(many, works), strict=True)
    seconds = timed(*loops, repeats=repeats)
    ours, forward, both = (one / n for one, n in zip(seconds, times, strict=True))
    forwards, backwards = counts
    limit = ((forwards - backwards) * forward + backwards * both) * len(image) / _IMAGES
    if not forwards:
        return f"{what}: in forwards", f"{ours / forward:.2f}", "-"
    return f"{what}: {forwards:,} + {backwards:,}", f"{ours / limit:.2f}", "<= 1.5"


def _memory() -> Row:
    """What four times the images need beyond their own maps: nothing, if the chunk sets it."""
    *_, (_, model, image, _) = subjects()
    worst = 0.0
    for key in ("occlusion", "integrated_gradients", "deeplift"):
        explainer, most = EXPLAINERS[key](), []
        for count in (64, 256):
            target, draw = _asked(model, image[:count])
            queries, some = Queries(model, 64), image[:count].contiguous()
            most.append(peak(partial(explainer, queries, some, target, draw)))
        worst = max(worst, most[1] / most[0])
    return "peak memory, ResNet-20, chunks of 64: 256 images / 64 images", f"{worst:.2f}", "<= 1.5"


def _monitor() -> Row:
    torch.manual_seed(0)
    model = torchvision.models.resnet18().eval()
    image = torch.rand(32, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    monitor = Monitor(model, window=64)
    monitor.fit([image[i : i + 32].flip(3) + 0.01 * i for i in range(1) for _ in range(8)])
    cost = overhead(monitor, image, repeats=21)
    text = f"{100 * cost.value:.1f} % [{100 * cost.low:.1f}, {100 * cost.high:.1f}]"
    return "monitor on every batch of 32, ResNet-18 at 224: added to the forward", text, "<= 5 %"


if __name__ == "__main__":
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    threads = torch.get_num_threads()
    print(f"CPU, {threads} threads, torch {torch.__version__}, median of {repeats}\n")
    print("| what: forwards + backwards an image | time / their cost | bar |\n| --- | --- | --- |")
    for name, work in rows(repeats):
        if wanted in name:
            print("| " + " | ".join(work()) + " |", flush=True)
