"""Fine-tuning that frees a network from the head towards the image, or only its last blocks."""

from dataclasses import dataclass

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from datamodules.errors import UserError
from lightning_modules.blocks import blocks, latest_blocks
from lightning_modules.classifier import Classifier
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.perturb import Perturb
from lightning_modules.regularisers import Regularisation
from lightning_modules.tuning import Tuning


@dataclass(frozen=True)
class Unfreezing:
    """How many blocks learn in an epoch: a function of it alone, so a resume changes nothing.

    Args:
        first: blocks that learn from the start, counted from the head, which is one of them.
        more: further blocks that each following stage frees; 0 never frees any.
        every: epochs of a stage.
    """

    first: int = 1
    more: int = 1
    every: int = 1

    def __post_init__(self) -> None:
        """Refuses what would train nothing."""
        for name, low in (("first", 1), ("more", 0), ("every", 1)):
            if getattr(self, name) < low:
                raise UserError(
                    f"Expected `{name}` of the unfreezing to be at least {low}, but got "
                    f"{getattr(self, name)}."
                )

    def learning(self, epoch: int) -> int:
        """Blocks that learn in an epoch, from 0."""
        return self.first + self.more * (epoch // self.every)


def unfrozen_by(model: nn.Module, epochs: int) -> Unfreezing:
    """Frees a network evenly, so that all of it learns in the last third of the epochs.

    Gradual unfreezing (Howard & Ruder 2018, 1801.06146) frees a layer an epoch, which a deep
    network's training would not live to see.

    Args:
        model: from images to logits.
        epochs: of the training.
    """
    stages = max(1, round(2 * epochs / 3))
    return Unfreezing(1, -(-(len(blocks(model)) - 1) // stages), 1)


class StagedTuning(FineTuning):
    """Fits the last blocks of a classifier, and more of them from stage to stage.

    What is frozen stays bit-equal: it has no gradient, so the optimizer passes it by, weight decay
    included, and its modules are in inference mode, so that norms keep their statistics. What
    occurs in several blocks (a shared layer, a tied weight) learns with the last of them.

    Args:
        classifier: trained in place.
        tuning: the recipe, of mode `staged`, `last_k` or `full`.
        unfreezing: the stages; default: those of `Unfreezing`.
        perturb: see `FineTuning`.
        regularisation: see `FineTuning`.
    """

    modes = ("full", "staged", "last_k")

    def __init__(
        self,
        classifier: Classifier,
        tuning: Tuning | None = None,
        unfreezing: Unfreezing | None = None,
        perturb: Perturb | None = None,
        regularisation: Regularisation = Regularisation(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(classifier, tuning, perturb, regularisation)
        self.unfreezing = unfreezing or Unfreezing()
        self._blocks = blocks(classifier.model)
        self.free(0)

    @property
    def learning(self) -> tuple[str, ...]:
        """Names of the blocks that learn now."""
        return tuple(
            dict.fromkeys(
                name
                for parameter, name in latest_blocks(self.classifier.model, self._blocks).items()
                if parameter.requires_grad
            )
        )

    def free(self, epoch: int) -> None:
        """Frees the blocks of an epoch and freezes all others."""
        count = self.unfreezing.learning(epoch)
        model = self.classifier.model
        everything = count >= len(self._blocks)
        kept = set(self._blocks[-count:]) if not everything else set(self._blocks)
        for parameter, name in latest_blocks(model, self._blocks).items():
            parameter.requires_grad_(name in kept)
        trained = {part for name in kept for part in model.get_submodule(name).modules()}
        held = () if everything else (part for part in model.modules() if part not in trained)
        self._frozen = tuple(held)
        self.train(self.training)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Gives the optimizer every parameter at once: what has no gradient is passed by."""
        self.classifier.requires_grad_(True)
        optimizers = super().configure_optimizers()
        self.free(self.current_epoch)
        return optimizers

    def on_train_epoch_start(self) -> None:
        """Begins a stage, also in the middle of a resumed training."""
        self.free(self.current_epoch)
