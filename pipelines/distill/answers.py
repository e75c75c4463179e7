"""A model's answers to all undisturbed test images, and how far they are from its teacher's."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from callbacks.fidelity import kl_to_teacher
from callbacks.rows import DISCRETE_COLUMNS, outcome_columns
from datamodules import ImageDataModule
from datamodules.preprocessing import in_unit_range
from lightning_modules import Classifier, in_chunks
from lightning_modules.distillation import shown


@torch.no_grad()
def answer_test(
    classifiers: Sequence[Classifier],
    data: ImageDataModule,
    weights: Sequence[float] = (1.0,),
    device: torch.device | str = "cpu",
    native: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Asks a model, or several together, about every test image as the data serve it.

    Args:
        classifiers: one; of several, probabilities are averaged.
        data: whose test split is asked about, on every process the whole of it.
        weights: of the classifiers, adding up to 1.
        device: where to compute; the classifiers come back to the CPU.
        native: size of the data, which those of several that state none are shown; see `shown`.

    Returns:
        Indices `(N,)` in ascending order, labels `(N,)` and logits `(N, K)`, on the CPU.
    """
    images = data.images("test")
    for classifier in classifiers:
        classifier.eval().to(device)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    # Not the loader: after a training on several devices it would serve this process's share.
    for rows in torch.arange(len(images)).split(data.batch_size):
        batch = images.__getitems__(rows.tolist())
        image = in_unit_range(batch.image.to(device))
        seen = [image]  # by one model as it is served
        if len(classifiers) > 1:
            seen = [shown(image, model.preprocessing, native) for model in classifiers]
        pairs = zip(classifiers, seen, strict=True)
        logits = [in_chunks(model, its, model.chunk).float().cpu() for model, its in pairs]
        parts.append((batch.index, batch.label, _mean(logits, weights)))
    for classifier in classifiers:
        classifier.cpu()
    index, label, logits = (torch.cat(column) for column in zip(*parts, strict=True))
    order = index.argsort()
    return index[order], label[order], logits[order]


def clean_rows(index: Tensor, label: Tensor, logits: Tensor, teacher: Tensor) -> pd.DataFrame:
    """Reduces answers to a row a test image: every probe's columns, and `kl` in nats.

    Args:
        index: `(N,)`.
        label: `(N,)`.
        logits: `(N, K)` of any model.
        teacher: logits `(N, K)` of its teacher, for the same images in the same order.
    """
    columns = {
        "index": index,
        **outcome_columns(logits, label),
        "kl": kl_to_teacher(logits, teacher),
    }
    frame = pd.DataFrame({name: column.double().numpy() for name, column in columns.items()})
    return frame.astype({name: "int64" for name in frame if name in DISCRETE_COLUMNS})


def _mean(logits: list[Tensor], weights: Sequence[float]) -> Tensor:
    if len(logits) == 1:
        return logits[0]
    shares = [weight * part.softmax(1) for weight, part in zip(weights, logits, strict=True)]
    return torch.stack(shares).sum(0).clamp_min(torch.finfo(torch.float32).tiny).log()
