"""Robust training: what is minimised beside attacked images, and which epoch is kept."""

from lightning_modules.robust.losses import mart_loss, trades_loss
from lightning_modules.robust.recipe import RobustRecipe
from lightning_modules.robust.training import RobustFineTuning, Withstands

__all__ = ["RobustFineTuning", "RobustRecipe", "Withstands", "mart_loss", "trades_loss"]
