"""The recipes that an automatic distillation chooses from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from datamodules.errors import UserError
from datamodules.splits import stratified_order
from lightning_modules.distillation.recipe import USUAL, DistillationRecipe

Searched = Literal["kd", "dkd", "fitnets", "attention", "rkd"]
_NEED_LAYERS = ("fitnets", "attention")
_SEARCHED = ("loss", "temperature", "hard_weight", "soft_weight", "feature_weight", "layers")


@dataclass(frozen=True)
class Search:
    """Recipes to choose from on validation images, and how many of them are tried.

    Args:
        trials: how many recipes are tried; 0 searches nothing and takes `distillation` as it is.
        losses: to choose from.
        temperatures: of kd and dkd.
        shares: of kd: the weight of the teacher's probabilities; the labels have the rest.
        scales: of the others: by what the published weight of the teacher's term is multiplied.
        layers: of the feature losses, one at a time: `NAME` or `STUDENTS=TEACHERS`; fitnets and
            attention are left out without, rkd takes the heads' inputs.
        reduction: one of so many recipes goes on to so many times the epochs.
    """

    trials: int = 0
    losses: tuple[Searched, ...] = ("kd", "dkd", "fitnets", "attention", "rkd")
    temperatures: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    shares: tuple[float, ...] = (0.5, 0.9, 1.0)
    scales: tuple[float, ...] = (0.1, 1.0)
    layers: tuple[str, ...] = ()
    reduction: int = 3

    def __post_init__(self) -> None:
        """Refuses what leaves nothing to choose from."""
        for name, low in (("trials", 0), ("reduction", 2)):
            if getattr(self, name) < low:
                raise UserError(
                    f"Expected `auto.{name}` of at least {low}, but got {getattr(self, name)}."
                )
        for name in ("losses", "temperatures", "shares", "scales"):
            if not getattr(self, name):
                raise UserError(f"Expected at least one of `auto.{name}`, but got none.")
        if not all(0 < share <= 1 for share in self.shares):
            raise UserError(f"Expected `auto.shares` in (0, 1], but got {list(self.shares)}.")
        for name in ("temperatures", "scales"):
            if not all(0 < value < float("inf") for value in getattr(self, name)):
                raise UserError(
                    f"Expected `auto.{name}` above 0, but got {list(getattr(self, name))}."
                )
        if not self.known:
            raise UserError(
                f"Expected `auto.layers` for {' and '.join(self.losses)}, but got none: name "
                "layers of both, like layer2, or pairs STUDENTS=TEACHERS."
            )

    @property
    def known(self) -> tuple[Searched, ...]:
        """The losses that have what they need."""
        return tuple(name for name in self.losses if self.layers or name not in _NEED_LAYERS)

    def recipes(self, base: DistillationRecipe, seed: int = 0) -> list[DistillationRecipe]:
        """All recipes, in an order whose every beginning holds each loss in its share.

        Args:
            base: gives what is not searched, such as `select`.
            seed: of the order.

        Raises:
            UserError: `base` says what is to be searched.
        """
        for name in _SEARCHED:
            if getattr(base, name) != getattr(DistillationRecipe(), name):
                raise UserError(
                    f"Got `distillation.{name}` with `auto.trials`, which search it: leave one of "
                    "them out."
                )
        made = [
            (place, replace(base, loss=loss, **settings))
            for place, loss in enumerate(self.known)
            for settings in self._settings(loss)
        ]
        order = stratified_order(torch.tensor([place for place, _ in made]), seed)
        return [made[i][1] for i in order.tolist()]

    def _settings(self, loss: Searched) -> Iterator[dict[str, Any]]:
        """Of one loss: temperature and weight, or layer and weight."""
        term = "soft_weight" if loss == "dkd" else "feature_weight"
        weights = [{term: scale * getattr(USUAL[loss], term)} for scale in self.scales]
        if loss == "kd":
            weights = [{"soft_weight": s, "hard_weight": 1 - s} for s in self.shares]
        if loss in ("kd", "dkd"):
            firsts: list[dict[str, Any]] = [{"temperature": t} for t in self.temperatures]
        else:
            firsts = [{"layers": (layer,)} for layer in self.layers] or [{}]
        yield from ({**first, **weight} for first in firsts for weight in weights)
