"""One model of an audit: the teacher, a student, or what it competes with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from callbacks.fidelity import kl_to_teacher
from callbacks.rows import DISCRETE_COLUMNS, outcome_columns
from datamodules import ImageDataModule
from datamodules.preprocessing import Preprocessing, in_unit_range
from lightning_modules import Classifier, in_chunks
from pipelines.distill.footprint import Footprint
from pipelines.evaluate.result import Evaluation


class Answered(NamedTuple):
    """A model's answers to all test images, on the CPU.

    Args:
        index: `(N,)` ascending.
        label: `(N,)`.
        logits: `(N, K)`.
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index, as a batch does
    label: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Member:
    """One model of an audit.

    Args:
        name: "teacher", "student", "label only", ...; members of one name differ by their seed.
        kind: what it is there for.
        seed: of its training.
        rows: one line a test image, with `kl` to the teacher.
        footprint: what it takes; of one that is measured in full.
        evaluation: probes of the preset, where it was measured in full.
        note: what a reader must know.
    """

    name: str
    kind: Literal["teacher", "student", "control"]
    seed: int
    rows: pd.DataFrame = field(repr=False)
    footprint: Footprint
    evaluation: Evaluation | None = field(default=None, repr=False)
    note: str = ""


@torch.no_grad()
def answer_test(
    classifiers: Sequence[Classifier],
    data: ImageDataModule,
    wanted: Preprocessing,
    weights: Sequence[float] = (1.0,),
    device: str = "cpu",
) -> Answered:
    """Asks a model, or the mean of several, about every test image as the model wants to see it.

    Args:
        classifiers: one; of several, probabilities are averaged.
        data: adopts `wanted`.
        wanted: size and channels of the images.
        weights: of the classifiers, adding up to 1.
        device: where to compute; the classifiers come back to the CPU.
    """
    data.adopt(wanted)
    images = data.images("test")
    for one in classifiers:
        one.eval().to(device)
    parts: list[Answered] = []
    # Not the loader: after a training on several devices it would serve this process's share.
    for rows in torch.arange(len(images)).split(data.batch_size):
        batch = images.__getitems__(rows.tolist())
        image = in_unit_range(batch.image.to(device))
        logits = [in_chunks(one, image, one.chunk).float().cpu() for one in classifiers]
        parts.append(Answered(batch.index, batch.label, _mean(logits, weights)))
    for one in classifiers:
        one.cpu()
    index, label, logits = (torch.cat(column) for column in zip(*parts, strict=True))
    order = index.argsort()
    return Answered(index[order], label[order], logits[order])


def clean_rows(own: Answered, teacher: Answered) -> pd.DataFrame:
    """One line a test image: the columns every probe has, and `kl` to the teacher in nats."""
    columns = {
        "index": own.index,
        **outcome_columns(own.logits, own.label),
        "kl": kl_to_teacher(own.logits, teacher.logits),
    }
    frame = pd.DataFrame({name: column.double().numpy() for name, column in columns.items()})
    return frame.astype({name: "int64" for name in frame if name in DISCRETE_COLUMNS})


def _mean(logits: list[Tensor], weights: Sequence[float]) -> Tensor:
    if len(logits) == 1:
        return logits[0]
    weighted = [w * one.softmax(1) for w, one in zip(weights, logits, strict=True)]
    return torch.stack(weighted).sum(0).clamp_min(torch.finfo(torch.float32).tiny).log()
