"""One teacher or several, asked in the same way, and never changed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from datamodules.errors import UserError
from lightning_modules.chunks import padded
from lightning_modules.classifier import Classifier
from lightning_modules.distillation.answers import Answers, answered
from lightning_modules.distillation.cache import AnswerCache
from lightning_modules.distillation.sizes import shown


class Teachers:
    """Frozen classifiers in eval mode, whose probabilities are averaged where they are several.

    No module, so that no `train()`, optimizer or checkpoint of the student's training reaches them.

    Args:
        classifiers: at least one; all of the same classes.
        weights: of several, by default equal; they are divided by their sum.
        temperature: at which probabilities of several are averaged.
        layers: whose features are wanted; of one teacher only.
        chunk: images in every call, so that an answer does not depend on its batch.
        native: size of the data, which models that state none are shown; see `shown`.

    Raises:
        UserError: class spaces or numbers that do not fit together.
    """

    def __init__(
        self,
        classifiers: Sequence[Classifier],
        weights: Sequence[float] = (),
        temperature: float = 1.0,
        layers: Sequence[str] = (),
        chunk: int = 128,
        native: tuple[int, int] | None = None,
    ) -> None:
        if not classifiers:
            raise UserError("Expected at least one `teacher`, but got none.")
        self.classifiers = tuple(network.eval() for network in classifiers)
        self.temperature, self.layers, self.chunk = temperature, tuple(layers), chunk
        self.native = native
        self.weights = _normalised(weights, len(self.classifiers))
        self.caches = {"train": AnswerCache(), "val": AnswerCache()}
        self._check()

    @property
    def classes(self) -> tuple[str, ...]:
        """Of all of them."""
        return self.classifiers[0].classes

    @property
    def parameters(self) -> int:
        """Of all of them together."""
        return sum(p.numel() for network in self.classifiers for p in network.parameters())

    def to(self, device: torch.device) -> None:
        """Moves them."""
        for network in self.classifiers:
            network.to(device)

    def cached(self, split: str, image: Tensor, index: Tensor) -> Answers:
        """Answers from the cache of "train" or "val" where all of `index` is known; fills it."""
        known = self.caches[split].get(index)
        if known is None:
            known = self(image)
            self.caches[split].put(index, known)
        return known

    def __call__(self, image: Tensor) -> Answers:
        """Answers `(N, C, H, W)` images in [0, 1], of any size, without a gradient.

        The logits of several teachers are T · log of their mean probabilities at temperature T: the
        softmax at T gives the mean back.
        """
        # Also under Lightning's inference mode, whose tensors no loss could differentiate past.
        with torch.inference_mode(False), torch.no_grad():
            image = image.clone() if image.is_inference() else image
            answers = [self._asked(network, image) for network in self.classifiers]
            if len(answers) == 1:
                return answers[0]
            logits = torch.stack([answer.logits for answer in answers])
            weights = torch.tensor(self.weights, device=logits.device)[:, None, None]
            mean = (weights * (logits / self.temperature).softmax(2)).sum(0)
            tiny = torch.finfo(mean.dtype).tiny
            return Answers(self.temperature * mean.clamp_min(tiny).log())

    def _asked(self, classifier: Classifier, image: Tensor) -> Answers:
        parts = []
        for part in shown(image, classifier.preprocessing, self.native).split(self.chunk):
            given = padded(part, self.chunk)
            answer = answered(classifier, classifier.model, given, self.layers)
            cut = {name: feature[: len(part)] for name, feature in answer.features.items()}
            parts.append(Answers(answer.logits[: len(part)], cut))
        features = {
            name: torch.cat([answer.features[name] for answer in parts]) for name in self.layers
        }
        return Answers(torch.cat([answer.logits for answer in parts]), features)

    def _check(self) -> None:
        for network in self.classifiers[1:]:
            if network.classes != self.classes:
                raise UserError(
                    "Expected teachers of the same classes, but got "
                    f"{_few(self.classes)} and {_few(network.classes)}."
                )
        if self.layers and len(self.classifiers) > 1:
            raise UserError(
                f"Features are taken from one teacher, but got {len(self.classifiers)}: choose "
                "--distillation.loss kd or dkd for several."
            )


def check_classes(teachers: Teachers, student: Classifier) -> None:
    """Refuses a student of other classes than its teachers'.

    Raises:
        UserError: number, names or order differ.
    """
    if teachers.classes != student.classes:
        raise UserError(
            f"Expected a student of the teacher's {len(teachers.classes)} classes "
            f"({_few(teachers.classes)}), but got {len(student.classes)} "
            f"({_few(student.classes)}): give it a head for them, or choose another teacher."
        )


def _normalised(weights: Sequence[float], teachers: int) -> tuple[float, ...]:
    weights = tuple(weights) or (1.0,) * teachers
    if len(weights) != teachers or min(weights) < 0 or not sum(weights) > 0:
        raise UserError(
            f"Expected `distillation.teacher_weights` of {teachers} numbers >= 0, one a teacher, "
            f"but got {list(weights)}."
        )
    return tuple(weight / sum(weights) for weight in weights)


def _few(classes: Sequence[str]) -> str:
    return ", ".join(classes[:4]) + (", ..." if len(classes) > 4 else "")
