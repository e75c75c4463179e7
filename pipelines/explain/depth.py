"""What each layer still knows: a linear probe on its answers, and units that repeat others."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from callbacks.interpretability.layers import first_tensor
from callbacks.monitoring.layers import watchable
from callbacks.monitoring.redundancy import redundant
from callbacks.monitoring.sampling import channels_last, sampled
from callbacks.rows import outcome_columns
from callbacks.statistics import mcnemar, paired_difference, rate
from datamodules.errors import UserError
from lightning_modules.chunks import padded
from lightning_modules.heads import head_name
from lightning_modules.linear_probe import fit_linear_probe
from pipelines.explain.cell import Stage
from pipelines.explain.inputs import Inputs, batches

_LEARNT = 2000
"""Training images that probes are fitted on, at most."""
_PLACES = 16
_MOST = 1024
"""Numbers of an image that a probe is given; of wider layers the mean over places."""


class Answers(NamedTuple):
    """What the layers of a network answer.

    Args:
        layers: `(N, P, C)` at some places, by layer, in the order of their calls.
        label: `(N,)`.
        correct: `(N,)` whether the network is right.
    """

    layers: Mapping[str, Tensor]
    label: Tensor
    correct: Tensor


def measure_depth(inputs: Inputs, _: Path) -> Stage:
    """Fits a linear probe on each of some layers, tries it on test images beside the network.

    Returns:
        A stage with the table `depth`, a line a layer in the order of their calls: `layer units
        redundant n`, `probe` (accuracy) and `gain` (probe - network, paired) with their intervals,
        and McNemar's `p`; and the facts `trained`, how many training images each class has, and
        `head`, the name of that layer.
    """
    plan, train = inputs.plan, inputs.data.images("train")
    learnt = _answers(inputs, "train", min(_LEARNT, plan.train_limit))
    tried = _answers(inputs, "test", plan.limit)
    lines = [
        {"layer": name, **_line(values, learnt, tried.layers[name], tried, inputs)}
        for name, values in learnt.layers.items()
        if name in tried.layers and bool(values.isfinite().all())
    ]
    counts = torch.bincount(train.label, minlength=len(inputs.classifier.classes))
    return Stage(
        {"depth": pd.DataFrame(lines)},
        {"trained": counts.tolist(), "images": len(learnt.label), "head": _head(inputs)},
        method={
            "linear probes": f"logistic regression on {len(learnt.label):,} training images, of at "
            f"most {_PLACES} places of a layer, of their mean where that is over {_MOST:,} numbers"
        },
    )


def _line(
    values: Tensor, learnt: Answers, seen: Tensor, tried: Answers, inputs: Inputs
) -> dict[str, object]:
    """How a layer fares; without a probe where all training images are of one class."""
    line: dict[str, object] = {
        "units": values.shape[2], "redundant": int(redundant(values).sum()), "n": len(seen),
    }  # fmt: skip
    try:
        probe = fit_linear_probe(_flat(values), learnt.label, len(inputs.classifier.classes))
    except UserError:
        return line
    right, own = (
        part.numpy()
        for part in (probe(_flat(seen)).argmax(1) == tried.label, tried.correct)
    )  # fmt: skip
    gain = paired_difference(own, right).columns("gain")
    share = rate(int(np.sum(right)), len(right)).columns("probe")
    return {**line, **share, **gain, "p": mcnemar(own, right)}


def _head(inputs: Inputs) -> str:
    """Name of the layer whose answer is the network's; empty where there is none."""
    try:
        return head_name(inputs.classifier.model)
    except UserError:
        return ""


def _flat(values: Tensor) -> Tensor:
    flat = values.flatten(1)
    return flat if flat.shape[1] <= _MOST else values.mean(1)


@torch.no_grad()
def _answers(inputs: Inputs, split: str, count: int) -> Answers:
    classifier, parts, labels, right = inputs.classifier, [], [], []
    for image, label, _index in batches(inputs.data, split, count, classifier.chunk):
        with _watched(classifier.model, classifier.chunk) as seen:
            logits = classifier(padded(image.to(inputs.device), classifier.chunk))[: len(image)]
        parts.append({name: value[: len(image)].cpu() for name, value in seen.items()})
        labels.append(label)
        right.append(outcome_columns(logits.cpu(), label)["correct"])
    always = [name for name in parts[0] if all(_alike(name, part, parts[0]) for part in parts)]
    layers = {name: torch.cat([part[name] for part in parts]).float() for name in always}
    return Answers(layers, torch.cat(labels), torch.cat(right))


def _alike(name: str, part: Mapping[str, Tensor], first: Mapping[str, Tensor]) -> bool:
    return name in part and part[name].shape[1:] == first[name].shape[1:]


@contextmanager
def _watched(network: nn.Module, images: int) -> Iterator[dict[str, Tensor]]:
    """Copies what layers answer, the last time where they are called again."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, layer: nn.Module, output: Any) -> None:
        value = first_tensor(output)
        if value is None:
            return
        rows = sampled(value, images, channels_last(layer, value), _PLACES)
        if rows is not None:
            seen.pop(name, None)
            seen[name] = rows

    modules = dict(network.named_modules())
    handles = [
        modules[name].register_forward_hook(lambda layer, _, out, name=name: keep(name, layer, out))
        for name in watchable(network)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
