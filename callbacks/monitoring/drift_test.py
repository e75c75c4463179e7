"""A test for drift of activations with a false-alarm rate that was tried on clean windows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from callbacks.monitoring.thresholds import alarm_threshold, check_rate
from datamodules.errors import UserError

Order = Literal["shuffled", "stream"]
_FOLDS = 10
"""Stretches of a stream, each compared with the mean of all the others."""
_HALVES = 20
"""Random halves of the clean images: one is the reference, windows come from the other."""
CLEAN_WINDOWS = 2000
"""Clean windows that the threshold is read from."""


def standardised_shift(mean: Tensor, reference: Tensor, spread: Tensor) -> Tensor:
    """Distance of means in units of the images' spread, root mean square over channels.

    Args:
        mean: `(..., C)` of windows.
        reference: `(C,)` mean over clean images.
        spread: `(C,)` standard deviation over clean images; channels without any are left out.

    Returns:
        `(...)`, >= 0; for a window of n independent clean images about 1/√n.
    """
    living = spread > 0
    # A choice of channels by mask would make the host wait for how many there are.
    z = torch.where(living, (mean - reference) / spread.where(living, 1), 0)
    return (z.square().sum(-1) / living.sum().clamp(min=1)).sqrt()


@dataclass(frozen=True)
class DriftTest:
    """Watches windows of images through their mean activations, layer by layer.

    The score of a window is the largest, over layers, of the standardised shift, itself in units
    of how it scatters over clean windows; one threshold holds for all layers together.

    Args:
        window: images in a window.
        false_alarms: rate at which clean windows exceed the threshold.
        threshold: of the score.
        reference: `(C,)` mean over clean images, by layer.
        spread: `(C,)` standard deviation over clean images, by layer.
        centre: mean shift of clean windows, by layer.
        scale: its standard deviation, by layer.
        order: what the rate is stated for; see `fit`.
    """

    window: int
    false_alarms: float
    threshold: float
    reference: Mapping[str, Tensor]
    spread: Mapping[str, Tensor]
    centre: Mapping[str, float]
    scale: Mapping[str, float]
    order: Order = "shuffled"

    @classmethod
    def fit(
        cls,
        images: Mapping[str, Tensor],
        window: int,
        false_alarms: float = 0.01,
        seed: int = 0,
        order: Order = "shuffled",
    ) -> "DriftTest":
        """Learns from clean images how far windows of them lie apart.

        Shuffled: windows are drawn, with replacement, from one random half of the images and
        compared with the mean of the other half, twenty times over: so the error of the reference
        itself counts. The rate then holds for windows of independent images only. A stream whose
        neighbours are alike (frames, one class after another, morning and evening) has windows that
        lie further apart: there windows are blocks of neighbours, each compared with the mean of
        the other nine tenths of the stream (moving blocks, Kuensch 1989).

        Args:
            images: `(N, C)` mean activations of the same N images, by layer.
            window: images in a window.
            false_alarms: to be stated.
            seed: of the halves and windows.
            order: `shuffled` states the rate for independent images, `stream` for images in the
                order they are given in.

        Raises:
            UserError: fewer than four windows of images, or too short a stream for the rate.
        """
        check_rate(false_alarms)
        n = len(next(iter(images.values())))
        if n < 4 * window:
            raise UserError(
                f"Expected at least {4 * window} clean images for windows of {window}, but got {n}:"
                " give more images or a smaller `window`."
            )
        if order == "shuffled":
            generator = torch.Generator().manual_seed(seed)
            weights = [_halves(n, window, generator) for _ in range(_HALVES)]
        else:
            _check_length(n, window, false_alarms)
            weights = _blocks(n, window)
        shifts = {name: _clean_shifts(values, weights) for name, values in images.items()}
        centre = {name: float(shift.mean()) for name, shift in shifts.items()}
        scale = {name: float(shift.std().clamp(min=1e-12)) for name, shift in shifts.items()}
        scores = torch.stack([(shifts[name] - centre[name]) / scale[name] for name in shifts])
        return cls(
            window,
            false_alarms,
            alarm_threshold(scores.amax(0), false_alarms),
            {name: values.double().mean(0) for name, values in images.items()},
            {name: _spread(values.double()) for name, values in images.items()},
            centre,
            scale,
            order,
        )

    def to(self, device: torch.device | str) -> "DriftTest":
        """The same test on a device."""
        reference, spread = (
            {name: value.to(device) for name, value in part.items()}
            for part in (self.reference, self.spread)
        )
        return replace(self, reference=reference, spread=spread)

    def shifts(self, means: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scores of windows by layer; see the class.

        Args:
            means: `(..., C)` mean activations over the images of windows, by layer; on the device
                of the test, see `to`.
        """
        found = {}
        for name, mean in means.items():
            if name in self.reference:
                shift = standardised_shift(mean.double(), self.reference[name], self.spread[name])
                found[name] = (shift - self.centre[name]) / self.scale[name]
        return found

    def rescored(self, layers: Mapping[str, float], other: "DriftTest") -> float:
        """The score that another calibration on the same images gives a window.

        Args:
            layers: its scores by layer, of this one.
            other: with the same reference and spread.
        """
        shifts = {
            name: value * self.scale[name] + self.centre[name] for name, value in layers.items()
        }
        return max((shifts[n] - other.centre[n]) / other.scale[n] for n in shifts)

    def score(self, means: Mapping[str, Tensor]) -> Tensor:
        """`(...)` score of windows, to be compared with `threshold`; not finite means alarm."""
        scores = torch.stack(list(self.shifts(means).values()))
        return scores.nan_to_num(nan=torch.inf).amax(0)


def _halves(n: int, window: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of two random halves, and windows `(B, n/2)` of the second as weights of a mean."""
    order = torch.randperm(n, generator=generator)
    one, other = order[: n // 2], order[n // 2 :]
    drawn = torch.randint(len(other), (CLEAN_WINDOWS // _HALVES, window), generator=generator)
    weights = torch.zeros(len(drawn), len(other), dtype=torch.float64)
    weights.scatter_add_(1, drawn, torch.full_like(drawn, 1, dtype=torch.float64))
    return one, other, weights / window


def stream_length(window: int, false_alarms: float) -> int:
    """Images in order that a rate can be read from: blocks side by side, as many as it takes."""
    return window * max(4, math.ceil(round(1 / false_alarms, 9)) - 1)


def _check_length(n: int, window: int, false_alarms: float) -> None:
    if n < (least := stream_length(window, false_alarms)):
        raise UserError(
            f"Expected at least {least:,} images in order for a false-alarm rate of "
            f"{false_alarms:g} in windows of {window}, but got {n:,}: give more images, a smaller "
            "`window` or a larger rate."
        )


def _blocks(n: int, window: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Indices of all but one stretch, of the stretch, and its blocks as weights `(B, n/10)`."""
    places = torch.arange(n)
    found = []
    for other in places.chunk(min(_FOLDS, n // (2 * window))):
        stride = max(1, (len(other) - window) * _FOLDS // CLEAN_WINDOWS)
        first = torch.arange(0, len(other) - window + 1, stride)
        weights = torch.zeros(len(first), len(other), dtype=torch.float64)
        weights.scatter_(1, first[:, None] + torch.arange(window), 1 / window)
        found.append((places[(places < other[0]) | (places > other[-1])], other, weights))
    return found


def _clean_shifts(values: Tensor, halves: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """`(B,)` shifts of clean windows of one layer, about 2,000."""
    values = values.double().cpu()
    found = []
    for one, other, weights in halves:
        reference = values[one]
        means = weights @ values[other]
        found.append(standardised_shift(means, reference.mean(0), _spread(reference)))
    return torch.cat(found)


def _spread(values: Tensor) -> Tensor:
    """Standard deviation `(C,)`; what float32 rounding alone would make counts as none."""
    spread = values.std(0)
    noise = values.abs().amax(0) * 1e-6
    return torch.where(spread > noise, spread, torch.zeros_like(spread))
