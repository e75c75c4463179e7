"""What missing input costs: `python tests/benchmarks/missing_speed.py`.

Processor time of all kinds at ten rates, over that of as many bare forwards of the same network, in
turn, in one process with one thread. Predictions, written before the first run: at most 1.2 for ten
kinds on a ResNet-20 (the draws of a chunk are made once for all rates); more on a LeNet, whose
forward costs hardly more than to replace some pixels.
"""

import statistics
import time
from collections.abc import Callable

import torch

from callbacks.measurement import Samples
from callbacks.missing import MISSING, MissingProbe
from callbacks.queries import Queries
from lightning_modules import build

_CHUNK, _TURNS = 100, 3
_TEN = [name for name in MISSING if name not in ("scaled_twice", "inverted", "wrong_range",
                                                 "channel_order", "not_a_number")]  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    """Processor time: other programs on the machine do not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ratio(arch: str, channels: int, side: int, images: int) -> list[float]:
    """Time of the probes over that of the forwards alone, in turn."""
    model = build(arch, 10, channels).eval()
    image = torch.rand(images, channels, side, side)
    queries = Queries(model, _CHUNK)
    logits = queries(image)
    samples = Samples(image, torch.zeros(images, dtype=torch.long), torch.arange(images), logits)
    probes = [MissingProbe(MISSING[name](), chunk=_CHUNK) for name in _TEN]

    def measured() -> None:
        for probe in probes:
            for _ in probe.measure(queries, samples, probe.settings()):
                pass

    def bare() -> None:
        for _ in range(10 * len(probes)):
            queries(image)

    measured(), bare()
    return [seconds(measured) / seconds(bare) for _ in range(_TURNS)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"{len(_TEN)} kinds x 10 rates over as many bare forwards (bar 1.2)")
    for arch, channels, side, images in (("cifar_resnet20", 3, 32, 100), ("lenet", 1, 28, 300)):
        turns = ratio(arch, channels, side, images)
        spread = f"{min(turns):.2f}-{max(turns):.2f}"
        print(f"  {arch:<16} {statistics.median(turns):.2f} ({spread})")
