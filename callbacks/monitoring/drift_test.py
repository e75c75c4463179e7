"""A test for drift of activations with a false-alarm rate that was tried on clean windows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from callbacks.monitoring.thresholds import alarm_threshold, check_rate
from datamodules.errors import UserError

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
    """

    window: int
    false_alarms: float
    threshold: float
    reference: Mapping[str, Tensor]
    spread: Mapping[str, Tensor]
    centre: Mapping[str, float]
    scale: Mapping[str, float]

    @classmethod
    def fit(
        cls, images: Mapping[str, Tensor], window: int, false_alarms: float = 0.01, seed: int = 0
    ) -> "DriftTest":
        """Learns from clean images how far windows of them lie apart.

        Windows are drawn, with replacement, from one random half of the images and compared with
        the mean of the other half, twenty times over: so the error of the reference itself counts.

        Args:
            images: `(N, C)` mean activations of the same N images, by layer.
            window: images in a window.
            false_alarms: to be stated.
            seed: of the halves and windows.

        Raises:
            UserError: fewer than four windows of images.
        """
        check_rate(false_alarms)
        n = len(next(iter(images.values())))
        if n < 4 * window:
            raise UserError(
                f"Expected at least {4 * window} clean images for windows of {window}, but got {n}:"
                " give more images or a smaller `window`."
            )
        generator = torch.Generator().manual_seed(seed)
        weights = [_halves(n, window, generator) for _ in range(_HALVES)]
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


def _clean_shifts(values: Tensor, halves: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """`(2000,)` shifts of clean windows of one layer."""
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
