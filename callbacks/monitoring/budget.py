"""The best panel in N forwards an image: which measurement on how many images, known beforehand.

A smaller budget measures fewer images, never a cheaper definition. So the estimate does not move,
only its interval widens.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from callbacks.statistics import LEAST_ROWS
from datamodules.errors import UserError

BUDGETS = (57, 500, 5000)
"""Forwards an image: deletion and insertion once, the usual panel, everything."""
_FEWEST = LEAST_ROWS
"""Items of any part: fewer have no interval."""


@dataclass(frozen=True)
class Item:
    """One measurement of a panel.

    Args:
        name: of the part.
        cost: forwards for one image (or unit); a backward counts as two.
        available: images (or units) there are.
        spread: standard deviation from image to image, roughly, on the part's 0..1 scale.
    """

    name: str
    cost: int
    available: int
    spread: float = 0.3


@dataclass(frozen=True)
class Plan:
    """How many images of each measurement, and what that will cost.

    Args:
        items: of the panel.
        counts: images (or units) of each, by name.
        images: the budget is for.
        forwards: allowed for an image on average.
        fixed: forwards that are spent whatever the counts.
    """

    items: tuple[Item, ...]
    counts: Mapping[str, int]
    images: int
    forwards: float
    fixed: int = 0

    @property
    def predicted(self) -> int:
        """Forwards in all, before anything is measured."""
        return self.fixed + sum(one.cost * self.counts[one.name] for one in self.items)

    @property
    def predicted_per_image(self) -> float:
        """Forwards an image, at most `forwards`."""
        return self.predicted / self.images

    @property
    def half_width(self) -> float:
        """Predicted half-width of the score's 95 % interval, parts taken as independent."""
        variance = sum(one.spread**2 / self.counts[one.name] for one in self.items)
        return 1.96 * variance**0.5 / len(self.items)


def best_panel(items: Sequence[Item], images: int, forwards: float, fixed: int = 0) -> Plan:
    """Spends a budget where it narrows the score's interval most.

    Neyman's allocation (1934) with costs: counts in proportion to spread/√cost, nobody above what
    there is and nobody below what makes an interval. Items that cost nothing take all images.

    Args:
        items: the whole panel; every one is measured.
        images: that the budget is for.
        forwards: allowed for an image on average.
        fixed: forwards that are spent first, for instance on natural activations.

    Raises:
        UserError: not even the smallest panel fits.
    """
    fewest = {one.name: min(_FEWEST, one.available) for one in items}
    allowed = forwards * images - fixed
    least = sum(one.cost * fewest[one.name] for one in items)
    if least > allowed:
        raise UserError(
            f"Expected at least {math.ceil((least + fixed) / images)} forwards an image as budget "
            f"for {images} images, but got {forwards:g}: give more, or more images."
        )

    def counts(scale: float) -> dict[str, int]:
        wanted = {
            one.name: scale * one.spread / one.cost**0.5 if one.cost else math.inf for one in items
        }
        return {
            one.name: int(min(one.available, max(fewest[one.name], wanted[one.name])))
            for one in items
        }

    def cost(scale: float) -> float:
        found = counts(scale)
        return sum(one.cost * found[one.name] for one in items)

    low, high = 0.0, 1.0
    while cost(high) <= allowed and any(
        one.cost and counts(high)[one.name] < one.available for one in items
    ):
        low, high = high, 2 * high
    for _ in range(60):  # bisection to the last image
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) <= allowed else (low, middle)
    best = high if cost(high) <= allowed else low
    return Plan(tuple(items), counts(best), images, forwards, fixed)


def check_count(plan: Plan, forwards: float, backwards: float) -> None:
    """Compares what was predicted with what was counted.

    Args:
        plan: made before.
        forwards: counted images sent forward.
        backwards: counted images differentiated; one counts as two forwards.

    Raises:
        RuntimeError: they differ, which is a defect of the cost model.
    """
    counted = forwards + 2 * backwards
    if counted != plan.predicted:
        raise RuntimeError(f"Predicted {plan.predicted:,} forwards, but counted {counted:,.0f}.")
