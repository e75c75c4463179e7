"""A network that takes images in [0, 1] and answers logits."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from typing_extensions import Self

from datamodules.batch import Batch
from datamodules.preprocessing import Preprocessing
from datamodules.tasks import Task
from lightning_modules.answer_rule import AnswerRule, Scale
from lightning_modules.chunks import in_chunks
from lightning_modules.input_contract import SAID, WEIGHTS, all_fields, input_line
from lightning_modules.trial import as_taken


class Classifier(L.LightningModule):
    """Normalises inside, so that every epsilon is in pixel units, and answers logits.

    Args:
        model: from normalised images `(N, C, H, W)` to logits `(N, K)`, or to what `answers` reads.
        classes: their names, or how many.
        preprocessing: what the model wants to see; mean, std and the order of the colours are
            applied here, sizes by the data.
        architecture: what rebuilds the network, e.g. `builtin:lenet`; kept with saved weights.
        source: where the weights came from.
        chunk: images in every call of the test step, so that answers do not depend on the loader.
        reasons: why the preprocessing holds, by field; see `input_contract`.
        answers: how the model's answers become logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        classes: Sequence[str] | int,
        preprocessing: Preprocessing,
        architecture: str,
        source: str = "",
        chunk: int = 128,
        reasons: Mapping[str, str] | None = None,
        answers: AnswerRule | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        names = [str(i) for i in range(classes)] if isinstance(classes, int) else classes
        self.classes = tuple(names)
        self.architecture, self.source, self.chunk = architecture, source, chunk
        self.answers = answers or AnswerRule()
        self.scale: Scale | None = None
        """What the model's scores are, where somebody says so; None lets `examine` recognise it."""
        self.pretrained = True
        """Whether its weights were trained, or loaded; a new head alone does not count."""
        self.tasks: tuple[Task, ...] = ()
        """What its heads answer, where it has several; `classes` then names all their outputs."""
        self._notes: dict[str, str] = {}
        self.facts: dict[str, Any] = {}
        """What was found out about the network, in plain values; see `examine`."""
        self.show(preprocessing, reasons or all_fields(SAID))

    def show(self, preprocessing: Preprocessing, reasons: Mapping[str, str]) -> None:
        """Sets what the model is shown, and why."""
        self.preprocessing, self.reasons = preprocessing, dict(reasons)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name), device=self.device)[:, None, None]
            self.register_buffer(name, values, persistent=False)

    @property
    def num_classes(self) -> int:
        """How many classes it tells apart."""
        return len(self.classes)

    @property
    def title(self) -> str:
        """Its source, or else its architecture, for a sentence."""
        return self.source or self.architecture

    @property
    def input_line(self) -> str:
        """What the model is shown and why, in one line."""
        return input_line(self.preprocessing, self.reasons)

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers must know of the model."""
        return [text for text in self._notes.values() if text]

    def note(self, text: str, about: str = "") -> None:
        """Keeps a sentence, once, instead of an earlier one about the same; "" takes that away."""
        self._notes[about or text] = text

    def forward(self, image: Tensor) -> Tensor:
        """From `(N, C, H, W)` in [0, 1] to logits `(N, K)`."""
        return self.answered(self.shown(image))

    def shown(self, image: Tensor) -> Tensor:
        """From images in [0, 1] to what the network itself takes."""
        shown = (image - self.mean) / self.std
        return shown.flip(1) if self.preprocessing.bgr else shown

    def answered(self, shown: Tensor) -> Tensor:
        """From images as the network takes them to logits, in the type of the images."""
        given = as_taken(self.model, shown)
        logits = self.answers(self.model(given))
        return logits if given is shown else logits.to(shown.dtype)

    def test_step(self, batch: Batch, batch_idx: int) -> Any:
        """Answers the clean logits, which all probes share."""
        return in_chunks(self, batch.image, self.chunk)

    def kept(self) -> dict[str, Any]:
        """What is saved beside the weights, in plain values; the inverse of `rebuilt`."""
        return {
            "architecture": self.architecture,
            "source": self.source,
            "classes": list(self.classes),
            "preprocessing": self.preprocessing.as_dict(),
            "reasons": self.reasons,
            "answers": asdict(self.answers),
            "pretrained": self.pretrained,
            **({"tasks": [asdict(task) for task in self.tasks]} if self.tasks else {}),
        }

    @classmethod
    def rebuilt(cls, model: nn.Module, kept: Mapping[str, Any]) -> Self:
        """Makes a classifier of a network and what was saved beside its weights.

        Args:
            model: with its weights.
            kept: from `kept`; older files lack what comes after the preprocessing.

        Raises:
            KeyError: a fact is absent.
        """
        rule = kept.get("answers") or {}
        made = cls(
            model,
            classes=tuple(kept["classes"]),
            preprocessing=Preprocessing.from_dict(kept["preprocessing"]),
            architecture=kept["architecture"],
            source=kept.get("source", ""),
            reasons=kept.get("reasons") or all_fields(WEIGHTS),
            answers=AnswerRule(
                tuple(rule.get("place", ())),
                rule.get("scale", "logits"),
                tuple(rule.get("order", ())),
            ),
        )
        made.pretrained = bool(kept.get("pretrained", True))
        tasks = kept.get("tasks", ())
        made.tasks = tuple(Task(t["name"], tuple(t["classes"]), t["of"]) for t in tasks)
        return made
