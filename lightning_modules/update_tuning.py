"""Fine-tuning that leaves the weights alone and learns what is added to them."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.heads import head_name
from lightning_modules.lora import LowRank
from lightning_modules.perturb import Perturb
from lightning_modules.regularisers import Regularisation
from lightning_modules.residual_adapters import ParallelAdapter, adapts
from lightning_modules.tuning import Tuning
from lightning_modules.weight_updates import WeightUpdate, add_updates, merge_updates

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)
LORA_RANK = 8
"""As in Hugging Face's peft."""


class UpdateTuning(FineTuning):
    """Fits a new last layer, and updates of all other weights: low-rank ones, or adapters.

    `lora`: all linear layers, convolutions and attentions; nothing else changes, and statistics
    of norms stay. `adapter`: all convolutions larger than 1x1; norms learn too, as published.
    `finish` makes one network of it, with the names of the one that it started from.

    Args:
        classifier: trained in place.
        tuning: the recipe.
        perturb: see `FineTuning`.
        regularisation: see `FineTuning`.

    Raises:
        UserError: nothing can be updated, or a weight is computed from others.
    """

    modes = ("lora", "adapter")

    def __init__(
        self,
        classifier: Classifier,
        tuning: Tuning,
        perturb: Perturb | None = None,
        regularisation: Regularisation = Regularisation(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(classifier, tuning, perturb, regularisation)
        model, total = classifier.model, sum(p.numel() for p in classifier.model.parameters())
        updated = add_updates(model, self._update)
        if not updated:
            kinds = {
                "lora": "linear layer or convolution",
                "adapter": "convolution of 3x3 or more",
            }
            raise UserError(
                f"Expected a {kinds[tuning.mode]} before the last layer for mode {tuning.mode}, "
                "but the network has none: take mode linear_probe or full."
            )
        if tuning.mode == "lora":
            self._frozen = _with_statistics(model)
        else:
            for norm in (part for part in model.modules() if isinstance(part, _NORMS)):
                norm.requires_grad_(True)
        learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.told = (
            f"{learning:,} parameters learn, beside {total:,} of the network, {len(updated)} of "
            "whose weights are updated"
        )

    def finish(self) -> None:
        """Writes the updates into the weights."""
        merge_updates(self.classifier.model)

    def _update(self, layer: nn.Module, weight: Tensor) -> WeightUpdate | None:
        if self.tuning.mode == "adapter":
            return ParallelAdapter(weight) if adapts(layer) else None
        rank = self.tuning.lora_rank or LORA_RANK
        alpha = rank if self.tuning.lora_alpha is None else self.tuning.lora_alpha
        return LowRank(weight, rank, alpha)


def _with_statistics(model: nn.Module) -> tuple[nn.Module, ...]:
    """Layers before the head that hold more than weights, such as a batch norm's statistics."""
    head = set(model.get_submodule(head_name(model)).modules())
    return tuple(
        x for x in model.modules() if x not in head and any(True for _ in x.buffers(recurse=False))
    )
