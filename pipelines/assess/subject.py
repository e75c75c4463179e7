"""What an assessment is about: the model, its data, the data it is moved to, and its student."""

import copy
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from callbacks.digests import model_digest
from datamodules import Digits, ImageDataModule, open_data
from datamodules.errors import UserError
from pipelines.fine_tune.command import fine_tune
from pipelines.study import DataLike, ModelLike, Options
from pipelines.tracking import Tracking

_EPOCHS, _BATCH = 8, 64
"""Of the default model: enough for nearly all digits."""
_SMALL = 64
"""Pixels; larger images are too much for the small built-in networks."""
_OTHER = "RotatedDigits"


@dataclass(frozen=True)
class Subject:
    """Every question opens model and data anew, as if it were asked alone.

    Args:
        given_model: a source or network.
        given_data: a name, data module, loader or data set.
        transfer_to: names of other data sets.
        student: a source; empty until the images are known.
        said: what was chosen because the user said nothing.
    """

    given_model: ModelLike
    given_data: DataLike
    transfer_to: Sequence[str]
    student: ModelLike
    said: Sequence[str] = ()

    @property
    def contents(self) -> dict[str, Any]:
        """What the data it is moved to and the student are, not only what they are called."""
        moved = [_data_contents(name) for name in self.transfer_to]
        return {"transfer_to": moved, "student": _student_contents(self.student)}

    def model(self) -> ModelLike:
        """The model; of a network a copy, which no question before has seen."""
        network = isinstance(self.given_model, nn.Module)
        return copy.deepcopy(self.given_model) if network else self.given_model

    def data(self) -> DataLike:
        """The data; of a data module a copy that nobody has opened."""
        module = isinstance(self.given_data, ImageDataModule)
        return copy.deepcopy(self.given_data) if module else self.given_data


def make_subject(
    model: ModelLike | None, data: DataLike | None, transfer_to: Sequence[str] | None,
    student: ModelLike | None, chosen: Collection[str], options: Options,
) -> Subject:  # fmt: skip
    """Fills in what the user left out, and says it.

    Args:
        model: None trains one on the default data, in seconds.
        data: None takes the digits inside scikit-learn.
        transfer_to: None takes the same digits, turned.
        student: None takes a small network that fits the images.
        chosen: the questions that are asked; what only others would take is not said.
        options: of the command.

    Raises:
        UserError: a model without its data, or data without a model.
    """
    if (model is None) != (data is None):
        missing, given = ("data", "model") if data is None else ("model", "data")
        raise UserError(
            f"Expected `{missing}` with `{given}`: give both, or neither, which takes a LeNet that "
            "is trained on scikit-learn's digits."
        )
    said = []
    if model is None or data is None:
        data = Digits(batch_size=_BATCH)
        model = _default_model(data, options)
        said.append(
            "No model was named: this is a LeNet, trained for this on scikit-learn's digits "
            f"({_EPOCHS} epochs)."
        )
    if transfer_to is None:
        transfer_to = [_OTHER]
        told = (
            "No `transfer_to` was named: it is moved to scikit-learn's digits turned by 90 degrees."
        )
        said += [told] * ("variability" in chosen)
    return Subject(model, data, transfer_to, student or "", said)


def _data_contents(name: str) -> str:
    data = open_data(name)
    try:
        return f"{name} {data.training_digest()} {data.manifest_digest()}"
    except UserError as error:  # a failed cell, which takes no other down
        return f"{name} {error}"


def _student_contents(student: ModelLike) -> str:
    if isinstance(student, nn.Module):
        return model_digest(student)
    kind, _, place = student.partition(":")
    if kind != "checkpoint":
        return student
    file = Path(place).expanduser()
    files = sorted(file.rglob("*")) if file.is_dir() else [file]
    bits = [hashlib.sha256(one.read_bytes()).hexdigest() for one in files if one.is_file()]
    return f"{student} {' '.join(bits)}"


def small_student(channels: int, side: int) -> str:
    """A built-in network for images; the teacher's own where they are too large for those.

    Args:
        channels: of the images that the teacher takes.
        side: of them, in pixels.
    """
    if side > _SMALL:
        return "self"
    return "lenet" if channels == 1 else "cifar_resnet20"


def _default_model(data: ImageDataModule, options: Options) -> str:
    """Trains the LeNet, or finds it trained; its run would be none of the user's questions."""
    flags: dict[str, Any] = {**(options.get("trainer") or {}), "max_epochs": _EPOCHS}
    quiet = {**flags, "enable_progress_bar": False}
    own: Options = {**options, "trainer": quiet, "config": "", "tracking": Tracking(enabled=False)}
    return fine_tune("lenet", copy.deepcopy(data), evaluation="none", **own).source
