"""The score of the same network with random weights, which has learnt nothing."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from callbacks.interpretability.metrics.parameter_randomisation import randomised
from callbacks.leave_no_trace import leave_no_trace
from callbacks.monitoring import FailureEvidence, monitorability
from callbacks.monitoring.failure import certainty
from callbacks.monitoring.panel import PER_IMAGE, Panel
from callbacks.statistics import LEAST_ROWS
from pipelines.explain.cell import Stage
from pipelines.explain.inputs import Inputs
from pipelines.explain.score_parts import evidence_of, measure_part
from pipelines.explain.units import Units

_SHARE = 0.25
"""Of the images and units of the score, that its twin is measured on."""


def measure_twin(
    inputs: Inputs, panel: Panel, units: Units, counts: Mapping[str, int], rows: pd.DataFrame,
    natural: Tensor, _: Path,
) -> Stage:  # fmt: skip
    """Measures every part once more, with all weights drawn anew.

    Args:
        inputs: model and data.
        panel: of the score.
        units: of the score.
        counts: images, or units, of each part of the score, a quarter of which are taken.
        rows: test images of the score, the first ones first.
        natural: `(N, C, H, W)` images that maximised ones have to beat.

    Returns:
        A stage with the table `twin` as `MonitorabilityScore.table` has it.
    """
    some = {name: _fewer(count) for name, count in counts.items()}
    twin = replace(inputs, classifier=randomised(inputs.classifier, inputs.seed).eval())
    with leave_no_trace(twin.classifier):
        own = _answered(twin, rows)
        stages = {
            part: measure_part(panel, part, twin, own.iloc[: some[part]], Path())
            for part in PER_IMAGE
        }
        stages["units"] = units.measure(twin.queries(), natural, some["units"])
    evidence = {name: evidence_of(stage) for name, stage in stages.items()}
    failure = FailureEvidence(certainty(own), own["correct"], own["index"])
    score = monitorability({**evidence, "failure": failure}, seed=inputs.seed)
    return Stage({"twin": score.table()})


def _fewer(count: int) -> int:
    return min(count, max(LEAST_ROWS, round(_SHARE * count)))


@torch.no_grad()
def _answered(inputs: Inputs, rows: pd.DataFrame) -> pd.DataFrame:
    """What the network answers to test images: `index prediction correct confidence logsumexp`."""
    parts, model = [], inputs.queries()
    size = inputs.classifier.chunk
    for start in range(0, len(rows), size):
        some = rows.iloc[start : start + size]
        image, _draw = inputs.images_at(some["index"].to_numpy())
        logits = model(image).double().cpu()
        confidence, prediction = logits.softmax(1).max(1)
        label = torch.tensor(some["label"].to_numpy())
        columns = {
            "prediction": prediction, "correct": (prediction == label).double(),
            "confidence": confidence.float(), "logsumexp": logits.logsumexp(1),
        }  # fmt: skip
        plain = {name: column.numpy() for name, column in columns.items()}
        parts.append(pd.DataFrame({"index": some["index"].to_numpy(), **plain}))
    return pd.concat(parts, ignore_index=True)
