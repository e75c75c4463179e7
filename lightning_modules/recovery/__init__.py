"""What brings a damaged classifier back: training of chosen parts, and repairs without training."""

from lightning_modules.recovery.batch_norm import reestimate
from lightning_modules.recovery.clipping import Ranges, clipped
from lightning_modules.recovery.recovery import Recovery, Trainable

__all__ = ["Ranges", "Recovery", "Trainable", "clipped", "reestimate"]
