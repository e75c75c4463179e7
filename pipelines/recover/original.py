"""A model before any damage: its data, and what was stored of it beforehand."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from callbacks.damage import Selection, stored_as
from callbacks.damage.signatures import Signatures
from callbacks.digests import answers_digest, model_digest
from callbacks.rows import is_answer
from callbacks.shards import fingerprint
from datamodules import Batch, ImageDataModule
from lightning_modules import Classifier, in_chunks
from lightning_modules.duplication import duplicate
from lightning_modules.recovery import Ranges
from pipelines.recover.cost import UnitCost
from pipelines.report.about import model_facts

_GROUP = {"float32": 256, "float16": 512, "bfloat16": 512, "int8": 1024, "int4": 2048}
"""Weights in a signed group: the signatures stay below half a per cent of the weights."""
_PROFILED = 512
"""Training images that tell the ranges of the activations."""
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Original:
    """An undamaged model, its data, and what repairs may have stored of it.

    Args:
        classifier: rounded to its number format, in evaluation mode.
        data: to repair with.
        test: images that decide, never trained on.
        signatures: checksums of its stored weights.
        ranges: of its activations.
        cost: of one image.
        label: for tables.
    """

    classifier: Classifier
    data: ImageDataModule
    test: Batch
    signatures: Signatures
    ranges: Ranges
    cost: UnitCost
    label: str

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        data: ImageDataModule,
        stored_in: str = "float32",
        limit: int = 2000,
        label: str = "",
    ) -> "Original":
        """Rounds a copy of a classifier to its number format and stores what repairs may ask for.

        Args:
            classifier: undamaged, left as it is.
            data: to repair with and to test on.
            stored_in: number format of the weights.
            limit: test images at most.
            label: for tables; default: model and data.
        """
        own = duplicate(classifier).eval()  # a user's network keeps its weights and mode
        # Integers would round biases and norms too coarsely: they stay as they are, unsigned.
        signed = "all" if stored_in == "float32" else "weights"
        names = Selection(parameters=signed).names(own)
        own.load_state_dict(stored_as(own.state_dict(), names, stored_in))
        weights = {name: own.state_dict()[name] for name in names}
        test, profiled = data.taken("test", limit), data.taken("train", _PROFILED).image
        return cls(
            own,
            data,
            test,
            Signatures.of(weights, stored_in, _GROUP[stored_in]),
            Ranges.measured(own, profiled.to(own.device).split(128)),
            UnitCost.of(own, test.image[:128], test.label[:128]),
            label or f"{model_facts(own)['name']}/{data.title}",
        )

    @cached_property
    def answers(self) -> "Answers":
        """To the test images."""
        return answers(self.classifier, self.test)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Everything about model and data that may change a row."""
        data, model = self.data, self.classifier
        with torch.no_grad():  # of a network whose source has changed the weights tell nothing
            example = in_chunks(model, self.test.image[:8].to(model.device), model.chunk)
        return {
            "label": self.label, "model": model_digest(model), "answers": answers_digest(example),
            "architecture": model.architecture, "chunk": model.chunk,
            "signatures": self.signatures.format, "train": data.training_digest(),
            "test": [data.manifest_digest(), fingerprint({"index": self.test.index.tolist()})],
            "loader": [data.batch_size, data.augment, data.seed, repr(data.preprocessing)],
        }  # fmt: skip


class Answers(NamedTuple):
    """What a model says to images.

    Args:
        prediction: `(N,)` classes; -1 where there is no answer, see `is_answer`.
        correct: `(N,)`.
        loss: `(N,)` cross-entropy in nats; not finite where the label's logit is not.
    """

    prediction: Tensor
    correct: Tensor
    loss: Tensor


@torch.no_grad()
def answers(classifier: Classifier, batch: Batch) -> Answers:
    """Asks a classifier and compares with the labels.

    Args:
        classifier: asked in evaluation mode and in chunks of one shape.
        batch: images and labels.
    """
    training = classifier.training
    image = batch.image.to(classifier.device)
    logits = in_chunks(classifier.eval(), image, classifier.chunk).cpu()
    classifier.train(training)
    prediction, label = logits.argmax(1), batch.label.cpu()
    prediction = prediction.masked_fill(~is_answer(logits), -1)
    loss = F.cross_entropy(logits.float(), label, reduction="none")
    return Answers(prediction, prediction == label, loss)


def redrawn(module: Module, seed: int) -> Module:
    """A copy whose parameters are all drawn anew, by their layers' own initialisers.

    What no initialiser sets (embeddings and other parameters that a network keeps itself, and the
    originals of parametrised layers) is normal with the mean and deviation that it had.
    """
    fresh = duplicate(module)
    drawable = {
        name: _real(parameter)
        for name, parameter in fresh.named_parameters()
        if parameter.is_floating_point() or parameter.is_complex()
    }
    before = {name: numbers.detach().clone() for name, numbers in drawable.items()}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for numbers in drawable.values():
            numbers.fill_(torch.nan)  # what is left of this was not set
        for part in fresh.modules():
            for reset in ("reset_parameters", "_reset_parameters"):  # the second is attention's
                if hasattr(part, reset):
                    getattr(part, reset)()
        for name, parameter in fresh.named_parameters():
            numbers = _real(parameter)
            if name in drawable and numbers.isnan().any():
                old = before[name].float()
                spread = old.std() if old.numel() > 1 else old.abs().mean()
                drawn = torch.randn(old.shape).to(old.device)
                numbers.copy_(old.mean() + spread * drawn)
    return fresh


def _real(parameter: Tensor) -> Tensor:
    """Its numbers, of complex ones both parts; a view."""
    parameter = parameter.detach()
    return torch.view_as_real(parameter) if parameter.is_complex() else parameter
