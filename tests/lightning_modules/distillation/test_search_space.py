"""What an automatic distillation chooses from."""

from typing import Any

import pytest

from datamodules import UserError
from lightning_modules.distillation import DistillationRecipe, Search


def test_the_recipes_are_the_product_of_their_settings() -> None:
    base = DistillationRecipe(select="agreement")
    recipes = Search(layers=("conv1", "conv2")).recipes(base)
    assert len(set(recipes)) == len(recipes) == 4 * 3 + 4 * 2 + 3 * 2 * 2
    assert {one.select for one in recipes} == {"agreement"}, "what is not searched stays"
    kd = next(one for one in recipes if one.loss == "kd" and one.soft_weight == 0.9)
    assert kd.hard_weight == pytest.approx(0.1)
    scales = {one.filled().feature_weight for one in recipes if one.loss == "attention"}
    assert scales == {100.0, 1000.0}


def test_every_beginning_holds_every_loss() -> None:
    recipes = Search(layers=("conv1",)).recipes(DistillationRecipe(), seed=4)
    assert {one.loss for one in recipes[:13]} == {"kd", "dkd", "fitnets", "attention", "rkd"}
    assert recipes != Search(layers=("conv1",)).recipes(DistillationRecipe(), seed=5)


def test_losses_of_layers_are_left_out_without_them() -> None:
    assert Search().known == ("kd", "dkd", "rkd")
    assert {one.loss for one in Search().recipes(DistillationRecipe())} == {"kd", "dkd", "rkd"}


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "trials": ({"trials": -1}, "`auto.trials` of at least 0, but got -1"),
    "reduction": ({"reduction": 1}, "`auto.reduction` of at least 2, but got 1"),
    "nothing": ({"scales": ()}, "at least one of `auto.scales`"),
    "shares": ({"shares": (1.5,)}, r"`auto.shares` in \(0, 1\], but got \[1.5\]"),
    "temperatures": ({"temperatures": (0.0,)}, r"`auto.temperatures` above 0, but got \[0.0\]"),
    "no layers": ({"losses": ("fitnets",)}, "Expected `auto.layers` for fitnets, but got none"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str) -> None:
    facts, message = MISTAKES[case]
    with pytest.raises(UserError, match=message):
        Search(**facts)


def test_what_is_searched_cannot_be_given() -> None:
    with pytest.raises(UserError, match=r"Got `distillation\.temperature` with `auto\.trials`"):
        Search(trials=2).recipes(DistillationRecipe(temperature=2))
