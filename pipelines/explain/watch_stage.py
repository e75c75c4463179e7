"""Watching: learns a monitor, then tries it on clean test images and on drift."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, cycle

import pandas as pd
import torch
from torch import Tensor

from callbacks.monitoring import Monitor, MonitorReport
from callbacks.monitoring.dead_units import dead_unit_table
from callbacks.monitoring.noise_images import SHIFTS, Made
from callbacks.monitoring.overhead import overhead
from callbacks.statistics import Interval, rate
from datamodules import ImageDataModule
from lightning_modules import Classifier
from pipelines.explain.features import batches

_CLEAN_WINDOWS = 200
"""At most, to measure the false-alarm rate on."""
_AFFORDABLE = 0.05
"""Share of the forward that the saved monitor may take; it watches fewer batches if need be."""
LEAST_IMAGES = 16
"""A monitor cannot learn from fewer: four windows of four."""
_SHOWN_WINDOWS = 12
"""Clean ones before a drift, and drifted ones, in the timeline."""


@dataclass(frozen=True)
class WatchStage:
    """A monitor and what it is worth.

    Args:
        monitor: learnt, not attached.
        layers: clean statistics by layer.
        dead: dead units by layer.
        timeline: `shift end score alarm layer onset`, clean windows first; ends and onset in
            images, every batch of which was watched.
        drifts: `shift power delay images` of each drift; delay and drifted images as served to the
            monitor as it is saved, of which it watches each k-th batch.
        alarms: measured false-alarm rate on the test images.
        cost: share of the forward that watching every batch takes.
        report: after the clean test images.
        profile_split: where the profile comes from.
        notes: what a reader must know.
    """

    monitor: Monitor
    layers: pd.DataFrame
    dead: pd.DataFrame
    timeline: pd.DataFrame
    drifts: pd.DataFrame
    alarms: Interval
    cost: Interval
    report: MonitorReport
    profile_split: str
    notes: list[str]


def run_watch(
    classifier: Classifier,
    data: ImageDataModule,
    images: int,
    window: int,
    false_alarms: float,
    device: torch.device,
    seed: int,
) -> WatchStage:
    """Learns from validation images (training images where those are too few), tries on test ones.

    Args:
        classifier: on `device`.
        data: any.
        images: for the profile, at most.
        window: images in a window.
        false_alarms: stated rate.
        device: of the model.
        seed: of noise and windows.
    """
    split = "val" if len(data.images("val")) >= 8 * window else "train"
    wanted, learnt = window, min(images, len(data.images(split)))
    window = max(4, min(wanted, learnt // 8))
    short = (
        f"Drift is tested in windows of {window} images, not {wanted:,}, as there are only "
        f"{learnt:,} {split} images to learn from."
    )
    notes = [short] if window < wanted else []
    size = min(classifier.chunk, window)

    def images_of(name: str, count: int | None) -> Iterator[Tensor]:
        return (one.image.to(device) for one in batches(data, name, count, size))

    monitor = Monitor(classifier, window=window, false_alarms=false_alarms)
    monitor.fit(images_of(split, images), seed)
    layers = monitor.report().layers()
    dead = dead_unit_table(dict(monitor.profile), monitor.profile_images)
    clean = _watched(monitor, images_of("test", _CLEAN_WINDOWS * window))
    alarms = rate(sum(one.alarm for one in clean.windows), len(clean.windows))
    timelines, drifts = [], []
    for name, make in SHIFTS.items():
        generator = torch.Generator().manual_seed(seed)
        looped = chain.from_iterable(images_of("test", None) for _ in cycle([0]))
        report, onset = _drifting(monitor, looped, make, generator)
        timelines.append(report.timeline().assign(shift=name, onset=onset))
        late = [one.alarm for one in report.windows if one.end > onset + window - 1]
        drifts.append(
            {
                "shift": name,
                "power": sum(late) / len(late) if late else float("nan"),
                "delay": report.detection_delay(onset),
                "images": report.served - onset,
            }
        )
    batch = next(images_of("test", size))
    cost = overhead(monitor, batch, repeats=7)
    monitor.every = max(1, math.ceil(cost.value / _AFFORDABLE))
    table = pd.DataFrame(drifts).astype({"delay": float})
    table[["delay", "images"]] *= monitor.every
    return WatchStage(
        monitor, layers, dead, pd.concat(timelines, ignore_index=True), table,
        alarms, cost, clean, split, notes,
    )  # fmt: skip


@torch.no_grad()
def _watched(monitor: Monitor, images: Iterator[Tensor]) -> MonitorReport:
    monitor.reset()
    with monitor:
        for image in images:
            monitor.model(image)
    return monitor.report()


@torch.no_grad()
def _drifting(
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
