"""What watching costs, as a share of the forward."""

import time

import torch
from torch import Tensor, nn

from callbacks.monitoring.monitor import Monitor
from callbacks.statistics import Interval


@torch.no_grad()
def overhead(
    monitor: Monitor, image: Tensor, repeats: int = 15, through: nn.Module | None = None
) -> Interval:
    """Extra time of a watched forward over an unwatched one, e.g. 0.05 for 5 %.

    Both are timed in turn, in pairs, and the median of the pairs' ratios is taken with the interval
    of the median (order statistics, 95 %). On a CPU the time is that of this process alone, so
    that load from elsewhere does not count. What a complete window costs is spread over its
    batches, as it is in use.

    Args:
        monitor: learnt, not attached; what it has seen is forgotten.
        image: one batch `(N, C, H, W)`.
        repeats: pairs; odd.
        through: sends images to the watched model; None: itself.
    """
    model = through or monitor.model
    monitor.reset()
    each = max(1, round(monitor.window * monitor.every / len(image)))  # batches to a window

    clock = time.perf_counter if image.is_cuda else time.process_time

    def seconds() -> float:
        start = clock()
        for _ in range(each):
            model(image)
        if image.is_cuda:
            torch.cuda.synchronize()
        return clock() - start

    seconds()  # warms up
    ratios = []
    for i in range(repeats):
        pair = {}
        for watched in (i % 2 == 0, i % 2 == 1):  # who goes first alternates
            if watched:
                with monitor:
                    pair[True] = seconds()
            else:
                pair[False] = seconds()
        ratios.append(pair[True] / pair[False] - 1)
    monitor.reset()
    ordered = sorted(ratios)
    reach = max(1, round(0.98 * repeats**0.5))  # 1.96 √n / 2 ranks from the middle
    middle = repeats // 2
    low, high = max(0, middle - reach), min(repeats - 1, middle + reach)
    return Interval(ordered[middle], ordered[low], ordered[high])
