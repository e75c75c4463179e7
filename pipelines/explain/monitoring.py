"""Learns a monitor of activations, then tries it on clean test images and on drift."""

import math
from collections.abc import Iterator, Mapping
from itertools import chain, cycle
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from callbacks.monitoring import Monitor, MonitorReport, Order
from callbacks.monitoring.dead_units import dead_unit_table
from callbacks.monitoring.drift_test import stream_length
from callbacks.monitoring.noise_images import SHIFTS, Made
from callbacks.monitoring.overhead import overhead
from callbacks.results import records
from callbacks.statistics import Interval, rate
from callbacks.words import rate_with_ends
from pipelines.explain.cell import Stage
from pipelines.explain.inputs import Inputs, batches

FILE = "monitor.safetensors"
"""The monitor, to be attached to the deployed model."""
_CLEAN_WINDOWS = 200
"""At most, to measure the false-alarm rate on."""
_AFFORDABLE = 0.05
"""Share of the forward that the saved monitor may take; it watches fewer batches if need be."""
_RUN = 10
"""Windows of neighbours that are learnt from or served one after another, at least."""
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
        images`; delay and images as served to the saved monitor, which watches each k-th batch),
        `alarms` (`stated_for served windows rate ...`: false alarms of each calibration on shuffled
        images and on those in the data's order) and `layers`, the facts `alarms` and `cost` with
        their intervals, and as arrays the share of zeros of every unit by layer.
    """
    classifier, data, plan = inputs.classifier, inputs.data, inputs.plan
    split, available, window = plan.learning_split(data)
    size = min(classifier.chunk, window)

    def images(name: str, count: int | None, run: int | None = None) -> Iterator[Tensor]:
        taken = batches(data, name, count, size, run)
        return (batch.image.to(inputs.device) for batch in taken)

    # Of the network itself, so that it can be attached to that, too; the classifier normalises.
    monitor = Monitor(classifier.model, window=window, false_alarms=plan.false_alarms)
    in_order = data.has_val or split == "train"
    streamed = in_order and available >= stream_length(window, plan.false_alarms)
    learnt = images(split, plan.train_limit, _RUN * window if in_order else None)
    monitor.fit(learnt, inputs.seed, "stream" if streamed else "shuffled", through=classifier)
    monitor.test = monitor.calibrations[plan.order]
    dead = dead_unit_table(dict(monitor.profile), monitor.profile_images)
    layers = dead[["layer", "units", "silent", "constant", "bound"]].merge(
        monitor.report().layers(), on="layer"
    )
    served: dict[Order, MonitorReport] = {
        "shuffled": _watched(monitor, classifier, images("test", _CLEAN_WINDOWS * window)),
        "stream": _watched(
            monitor, classifier, images("test", _CLEAN_WINDOWS * window, _RUN * window)
        ),
    }
    clean, alarms = served[plan.order], _false_alarms(monitor, served)
    timelines, drifts = [], []
    for name, shift in SHIFTS.items():
        generator = torch.Generator().manual_seed(inputs.seed)
        looped = chain.from_iterable(images("test", None) for _ in cycle([0]))
        report, onset = drifting(monitor, looped, shift, generator, classifier)
        timelines.append(report.timeline().assign(shift=name, onset=onset))
        drifts.append({"shift": name, **_noticed(report, onset, window)})
    cost = overhead(monitor, next(images("test", size)), repeats=7, through=classifier)
    monitor.every = max(1, math.ceil(cost.value / _AFFORDABLE))
    monitor.save(folder / FILE)
    table = pd.DataFrame(drifts).astype({"delay": float})
    table[["delay", "images"]] *= monitor.every
    short = (
        f"Drift is tested in windows of {window} images, not {plan.window:,}, as there are only "
        f"{available:,} {split} images to learn from."
    )
    (own,) = [
        line for line in records(alarms) if line["stated_for"] == line["served"] == plan.order
    ]
    notes = [*[short] * (window < plan.window), *_alarm_notes(monitor, streamed, in_order)]
    if monitor.left_out:
        notes.append(
            "Not watched, as they answer clean images with infinity or NaN (classes that are ruled "
            f"out?): {', '.join(monitor.left_out)}."
        )
    if own["rate_low"] > plan.false_alarms:
        notes.append(
            f"More false alarms than stated, {rate_with_ends(_rate_of(own))} % and not "
            f"{100 * plan.false_alarms:g} %: the test images are not like the {split} images that "
            f"were learnt{_where(clean)}. Learn from the stream that is to be watched."
        )
    return Stage(
        {
            "drift": pd.concat(timelines, ignore_index=True), "drifts": table, "alarms": alarms,
            "layers": layers,
        },
        {
            "alarms": list(_rate_of(own)),
            "order": plan.order, "cost": list(cost), "every": monitor.every, "window": window,
            "windows": len(clean.windows), "threshold": clean.threshold,
            "false_alarms": clean.false_alarms,
        },
        {name: part.zero_rate.cpu().numpy() for name, part in monitor.profile.items()},
        _method(monitor, clean, split),
        [*notes, *clean.problems],
    )  # fmt: skip


def _where(report: MonitorReport) -> str:
    """In which half of what was served the alarms are: in one of them only, it is a drift."""
    alarms = [seen.alarm for seen in report.windows]
    halves = alarms[: len(alarms) // 2], alarms[len(alarms) // 2 :]
    first, second = (f"{sum(half)} of {len(half)}" for half in halves)
    return f" (alarms in {first} windows of the first half served, {second} of the second)"


def _rate_of(line: Mapping[str, float]) -> Interval:
    """The rate of a line of the table of alarms."""
    return Interval(*(float(line[end]) for end in ("rate", "rate_low", "rate_high")))


def _false_alarms(monitor: Monitor, served: dict[Order, MonitorReport]) -> pd.DataFrame:
    """False alarms of every calibration in every order; the same windows are judged by each."""
    lines = []
    for stated, test in monitor.calibrations.items():
        for order, report in served.items():
            assert monitor.test is not None, "it has learnt"
            scores = [monitor.test.rescored(seen.layers, test) for seen in report.windows]
            found = rate(sum(score > test.threshold for score in scores), len(scores))
            lines.append({"stated_for": stated, "served": order, "windows": len(scores)})
            lines[-1] |= found.columns("rate")
    return pd.DataFrame(lines)


def _alarm_notes(monitor: Monitor, streamed: bool, in_order: bool) -> list[str]:
    """Why the rate is stated for shuffled images only, where it is."""
    if streamed:
        return []
    least = stream_length(monitor.window, monitor.false_alarms)
    why = (
        f"it takes at least {least:,} images to learn from, and there are "
        f"{monitor.profile_images:,} (--train_limit, or a larger --false_alarms)"
        if in_order
        else "give --order stream, which learns from neighbours"
    )
    return [
        "The rate of false alarms is stated for shuffled images only: for a stream in its own "
        f"order {why}."
    ]


def _method(monitor: Monitor, clean: MonitorReport, split: str) -> dict[str, str]:
    """How it was learnt, and what the saved monitor promises."""
    stated = {"shuffled": "shuffled images", "stream": "a stream in the data's own order"}
    return {
        "monitor": f"{len(monitor.profile)} layers, about {monitor.places} places of a channel, "
        f"sampling rate {clean.sampling_rate:.0%} of images; profile of {clean.profile_images:,} "
        f"{split} images; windows of {clean.window}; the saved monitor watches one batch in "
        f"{monitor.every}",
        "alarms": f"threshold {clean.threshold:.2f} at a false-alarm rate of "
        f"{clean.false_alarms:g}, stated for {stated[clean.order]}: one in "
        f"{clean.images_between_false_alarms:,.0f} clean images; "
        f"the least delay is {clean.shortest_delay * monitor.every} served images",
    }


def _noticed(report: MonitorReport, onset: int, window: int) -> dict[str, float | None]:
    """Share of wholly drifted windows with an alarm, and images until the first one."""
    late = [seen.alarm for seen in report.windows if seen.end > onset + window - 1]
    power = sum(late) / len(late) if late else float("nan")
    delay, images = report.detection_delay(onset), report.served - onset
    return {"power": power, "delay": delay, "images": images}


@torch.no_grad()
def _watched(monitor: Monitor, model: nn.Module, images: Iterator[Tensor]) -> MonitorReport:
    monitor.reset()
    with monitor:
        for image in images:
            model(image)
    return monitor.report()


@torch.no_grad()
def drifting(
    monitor: Monitor,
    images: Iterator[Tensor],
    shift: Made,
    generator: torch.Generator,
    through: nn.Module | None = None,
) -> tuple[MonitorReport, int]:
    """Serves twelve windows or a little more as they are, then as many shifted.

    Args:
        monitor: learnt, not attached.
        images: batches without end, of any sizes.
        shift: of a batch.
        generator: of what is random in it.
        through: sends images to the watched model; None: itself.

    Returns:
        The report, and how many images had been served when the drift began.
    """
    model = through or monitor.model
    monitor.reset()
    wanted = _SHOWN_WINDOWS * monitor.window
    with monitor:
        while monitor.served < wanted:
            model(next(images))
        onset = monitor.served
        while monitor.served < onset + wanted:
            model(shift(next(images), generator))
    return monitor.report(), onset
