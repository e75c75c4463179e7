"""Learns a monitor of activations, then tries it on clean test images and on drift."""

import math
from collections.abc import Iterator
from itertools import chain, cycle
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from callbacks.monitoring import Monitor, MonitorReport
from callbacks.monitoring.dead_units import dead_unit_table
from callbacks.monitoring.noise_images import SHIFTS, Made
from callbacks.monitoring.overhead import overhead
from callbacks.statistics import rate
from pipelines.explain.cell import Stage
from pipelines.explain.inputs import Inputs, batches

FILE = "monitor.safetensors"
"""The monitor, to be attached to the deployed model."""
_CLEAN_WINDOWS = 200
"""At most, to measure the false-alarm rate on."""
_AFFORDABLE = 0.05
"""Share of the forward that the saved monitor may take; it watches fewer batches if need be."""
_SHOWN_WINDOWS = 12
"""Clean ones before a drift, and drifted ones, in the timeline."""


def measure_monitor(inputs: Inputs, folder: Path) -> Stage:
    """Learns from validation images (training images where those are too few), tries on test ones.

    Args:
        inputs: model and data.
        folder: for `FILE`.

    Returns:
        A stage with the tables `drift` (`shift end score alarm layer onset`, clean windows first;
        ends and onset in images, every batch of which was watched), `drifts` (`shift power delay
        images`; delay and images as served to the saved monitor, which watches each k-th batch)
        and `layers`, the facts `alarms` and `cost` with their intervals, and as arrays the share of
        zeros of every unit by layer.
    """
    classifier, data, plan = inputs.classifier, inputs.data, inputs.plan
    split = "val" if len(data.images("val")) >= 8 * plan.window else "train"
    available = min(plan.train_limit, len(data.images(split)))
    window = max(4, min(plan.window, available // 8))
    size = min(classifier.chunk, window)

    def images(name: str, count: int | None) -> Iterator[Tensor]:
        return (batch.image.to(inputs.device) for batch in batches(data, name, count, size))

    monitor = Monitor(classifier, window=window, false_alarms=plan.false_alarms)
    monitor.fit(images(split, plan.train_limit), inputs.seed)
    dead = dead_unit_table(dict(monitor.profile), monitor.profile_images)
    layers = dead[["layer", "units", "silent", "constant", "bound"]].merge(
        monitor.report().layers(), on="layer"
    )
    clean = _watched(monitor, images("test", _CLEAN_WINDOWS * window))
    alarms = rate(sum(seen.alarm for seen in clean.windows), len(clean.windows))
    timelines, drifts = [], []
    for name, shift in SHIFTS.items():
        generator = torch.Generator().manual_seed(inputs.seed)
        looped = chain.from_iterable(images("test", None) for _ in cycle([0]))
        report, onset = drifting(monitor, looped, shift, generator)
        timelines.append(report.timeline().assign(shift=name, onset=onset))
        drifts.append({"shift": name, **_noticed(report, onset, window)})
    cost = overhead(monitor, next(images("test", size)), repeats=7)
    monitor.every = max(1, math.ceil(cost.value / _AFFORDABLE))
    monitor.save(folder / FILE)
    table = pd.DataFrame(drifts).astype({"delay": float})
    table[["delay", "images"]] *= monitor.every
    short = (
        f"Drift is tested in windows of {window} images, not {plan.window:,}, as there are only "
        f"{available:,} {split} images to learn from."
    )
    return Stage(
        {"drift": pd.concat(timelines, ignore_index=True), "drifts": table, "layers": layers},
        {
            "alarms": list(alarms), "cost": list(cost), "every": monitor.every, "window": window,
            "windows": len(clean.windows), "threshold": clean.threshold,
            "false_alarms": clean.false_alarms,
        },
        {name: part.zero_rate.cpu().numpy() for name, part in monitor.profile.items()},
        _method(monitor, clean, split),
        [short] * (window < plan.window),
    )  # fmt: skip


def _method(monitor: Monitor, clean: MonitorReport, split: str) -> dict[str, str]:
    """How it was learnt, and what the saved monitor promises."""
    return {
        "monitor": f"{len(monitor.profile)} layers, about {monitor.places} places of a channel, "
        f"sampling rate {clean.sampling_rate:.0%} of images; profile of {clean.profile_images:,} "
        f"{split} images; windows of {clean.window}; the saved monitor watches one batch in "
        f"{monitor.every}",
        "alarms": f"threshold {clean.threshold:.2f} at a stated false-alarm rate of "
        f"{clean.false_alarms:g}: one in {clean.images_between_false_alarms:,.0f} clean images; "
        f"the least delay is {clean.shortest_delay * monitor.every} served images",
    }


def _noticed(report: MonitorReport, onset: int, window: int) -> dict[str, float | None]:
    """Share of wholly drifted windows with an alarm, and images until the first one."""
    late = [seen.alarm for seen in report.windows if seen.end > onset + window - 1]
    power = sum(late) / len(late) if late else float("nan")
    delay, images = report.detection_delay(onset), report.served - onset
    return {"power": power, "delay": delay, "images": images}


@torch.no_grad()
def _watched(monitor: Monitor, images: Iterator[Tensor]) -> MonitorReport:
    monitor.reset()
    with monitor:
        for image in images:
            monitor.model(image)
    return monitor.report()


@torch.no_grad()
def drifting(
    monitor: Monitor, images: Iterator[Tensor], shift: Made, generator: torch.Generator
) -> tuple[MonitorReport, int]:
    """Serves twelve windows or a little more as they are, then as many shifted.

    Args:
        monitor: learnt, not attached.
        images: batches without end, of any sizes.
        shift: of a batch.
        generator: of what is random in it.

    Returns:
        The report, and how many images had been served when the drift began.
    """
    monitor.reset()
    wanted = _SHOWN_WINDOWS * monitor.window
    with monitor:
        while monitor.served < wanted:
            monitor.model(next(images))
        onset = monitor.served
        while monitor.served < onset + wanted:
            monitor.model(shift(next(images), generator))
    return monitor.report(), onset
