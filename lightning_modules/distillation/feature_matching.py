"""The learnt part of a feature loss: which layers, and how one is brought to the other's shape."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.distillation.answers import Answers, answered
from lightning_modules.distillation.objectives import FEATURE_TERMS
from lightning_modules.distillation.projection import projection, same_places
from lightning_modules.distillation.recipe import DistillationRecipe
from lightning_modules.distillation.sizes import final_size, shown
from lightning_modules.distillation.teachers import Teachers


class FeatureMatching(nn.Module):
    """Adds up a feature loss over pairs of layers; FitNets' regressors are learnt with the student.

    Args:
        recipe: its loss is a key of `FEATURE_TERMS`.
        layers: pairs of the student's and the teacher's layer.
        student: is asked about one image to learn its shapes.
        teachers: the same.
        example: `(1, C, H, W)` as the loader serves it; None takes an empty image of the size that
            the student's preprocessing states.

    Raises:
        UserError: unknown layers, or features that the loss cannot compare.
    """

    def __init__(
        self,
        recipe: DistillationRecipe,
        layers: Sequence[tuple[str, str]],
        student: Classifier,
        teachers: Teachers,
        example: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.recipe, self.layers = recipe, list(layers)
        image = _empty(student) if example is None else example
        with torch.no_grad():
            own = [name for name, _ in layers]
            seen = shown(image, student.preprocessing, teachers.native)
            ours = answered(student.eval(), student.model, seen, own)
        theirs = teachers(image)
        self.projections = nn.ModuleList(
            self._projection(ours.features[one], theirs.features[other]) for one, other in layers
        )

    def forward(self, student: Answers, teacher: Answers) -> Tensor:
        """The sum over the pairs of layers."""
        losses = []
        for (own, its), project in zip(self.layers, self.projections, strict=True):
            ours, theirs = student.features[own], teacher.features[its]
            if self.recipe.loss != "rkd":  # which compares samples, wherever they lie
                ours, theirs = same_places(ours, theirs)
            losses.append(FEATURE_TERMS[self.recipe.loss](project(ours), theirs, self.recipe))
        return torch.stack(losses).sum()

    def _projection(self, ours: Tensor, theirs: Tensor) -> nn.Module:
        if self.recipe.loss == "fitnets":
            return projection(*same_places(ours, theirs))
        if self.recipe.loss == "attention" and not ours.ndim == theirs.ndim == 4:
            raise UserError(
                "Expected `distillation.layers` that have places, (N, C, H, W), for attention, but "
                f"got {tuple(ours.shape)} and {tuple(theirs.shape)}."
            )
        return nn.Identity()


def _empty(student: Classifier) -> Tensor:
    size = final_size(student.preprocessing)
    if size is None:
        raise UserError("Expected an `example` image, because the student states no input size.")
    return torch.zeros(1, student.preprocessing.channels, *size)
