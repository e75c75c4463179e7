"""Peak memory of a piece of work: torch's profiler on a CPU, its allocator on a GPU."""

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def peak(work: Callable[[], object]) -> float:
    """Bytes allocated at most at one time, above what was allocated before."""
    work()
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    now = most = 0.0
    for event in sorted(
        (e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"),
        key=lambda e: e.start_ns(),
    ):
        now += event.nbytes()
        most = max(most, now)
    return most
