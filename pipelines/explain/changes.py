"""The same image's explanation before and after: attack, damage, fine-tuning, distillation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from callbacks.adversarial import PGD, Linf
from callbacks.damage import Zero
from callbacks.interpretability import SymmetricRelevanceGain
from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.metrics.parameter_randomisation import randomised
from callbacks.interpretability.metrics.rank_correlation import spearman
from callbacks.leave_no_trace import leave_no_trace
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.statistics import mean, rate
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier
from lightning_modules.duplication import duplicate
from pipelines.explain.cell import Stage
from pipelines.explain.inputs import Inputs, as_bytes
from pipelines.explain.methods import spent_by
from pipelines.study import Study

_SHARE = 0.1
"""Of the budget of the score, which this view may spend once more."""
_FEWEST, _MOST, _SHOWN = 16, 256, 5
_ZEROED = 0.1


class Version(NamedTuple):
    """What answers and what it is shown.

    Args:
        name: of the change.
        kind: `before`, `control`, `attack`, `damage` or `model`.
        model: answers.
        image: `(N, C, H, W)`, the same ones, disturbed or not.
    """

    name: str
    kind: str
    model: nn.Module
    image: Tensor


def compared_models(
    study: Study, compare: Mapping[str, str] | None, data: ImageDataModule
) -> dict[str, Classifier]:
    """Opens the models that the first one became, or came from.

    Args:
        study: that opens them.
        compare: sources by name, such as `{"distilled": "checkpoint:FOLDER"}`.
        data: as the first model is shown it.

    Raises:
        UserError: a model has other classes, or wants other images.
    """
    opened = {}
    for name, source in (compare or {}).items():
        shown = data.preprocessing
        opened[name] = study.open_model(source, data).eval()
        wanted = data.preprocessing
        data.adopt(shown)
        if replace(wanted, mean=shown.mean, std=shown.std) != shown:
            raise UserError(
                f"Expected `--compare.{name}` to see the same images as the model, but it wants "
                f"{wanted.as_dict()} and not {shown.as_dict()}."
            )
    return opened


def measure_changes(
    inputs: Inputs, compare: Mapping[str, Classifier], explainer: Explainer, _: Path
) -> Stage:
    """Explains the same test images before and after each change.

    The controls say what a change has to be compared with: noise of the attack's size moves maps
    too, and with all weights drawn anew nothing of a map should be left.

    Args:
        inputs: model, data and the budget, of which a tenth is spent here once more.
        compare: other models by name.
        explainer: of every version, for instance the most faithful one.

    Returns:
        A stage with the table `changes`, one line a version: `version kind n`, `agreement` (rank
        correlation with the map before), `srg` and `changed` (share of predictions) with their
        intervals; and the first images with the map of every version.
    """
    gain, attack, classifier = SymmetricRelevanceGain(), PGD(20), inputs.classifier
    cost = spent_by(explainer) + gain.forwards + 1
    count = int(_SHARE * inputs.budget / (cost * (5 + len(compare)) + 3 * attack.steps))
    image, label, draw = inputs.images("test", min(_MOST, max(_FEWEST, count)))
    radius = inputs.data.epsilon["Linf"]
    lines, maps, captions, notes = [], {}, {}, []
    with leave_no_trace(classifier):
        before = inputs.queries()(image).argmax(1)
        for version in _versions(inputs, compare, image, before, attack, draw, notes):
            try:
                saliency, columns = _explained(
                    version, classifier.chunk, before, explainer, gain, draw
                )
            except UserError as error:  # another network may have a part that it has no rule for
                notes.append(f"{version.name}: {error}")
                continue
            maps[version.name] = saliency
            columns["agreement"] = spearman(saliency.flatten(1), maps["before"].flatten(1))
            lines.append(_summed(version, columns))
            captions[version.name] = _captions(columns, classifier.classes)
    method = (
        f"{len(image)} test images; {explainer!r} of the class predicted before; {attack!r} at "
        f"{radius:.3g}, {_ZEROED:.0%} of the weights set to zero"
    )
    shown = [saliency[:_SHOWN, 0] for saliency in maps.values()]
    return Stage(
        {"changes": pd.DataFrame(lines)},
        {
            "titles": [classifier.classes[k] for k in label[:_SHOWN].tolist()],
            "captions": captions,
        },
        {"images": as_bytes(image[:_SHOWN]), "maps": torch.stack(shown).cpu().numpy()},
        {"before and after": method},
        notes,
    )


def _versions(
    inputs: Inputs, compare: Mapping[str, Classifier], image: Tensor, target: Tensor, attack: PGD,
    draw: Draw, notes: list[str],
) -> Iterator[Version]:  # fmt: skip
    """Yields every version that there is; of one that there is not, a note says why."""
    classifier, radius = inputs.classifier, inputs.data.epsilon["Linf"]
    yield Version("before", "before", classifier, image)
    disturbed = attack(inputs.queries(), image, target, Linf(radius), draw).image
    yield Version("attacked", "attack", classifier, disturbed)
    corner = draw.uniform("noise of the attack's size", 0, tuple(image.shape[1:])).to(image) - 0.5
    noisy = (image + radius * corner.sign()).clamp(0, 1)
    yield Version("noise (control)", "control", classifier, noisy)
    damaged = duplicate(classifier)
    try:
        Zero()(damaged, _ZEROED, draw.seed).apply(damaged)
    except UserError as error:  # no layer of weights, nothing to damage
        notes.append(f"damaged: {error}")
    else:
        yield Version("damaged", "damage", damaged, image)
    for name, other in compare.items():
        yield Version(name, "model", other.to(image.device), image)
    yield Version("random weights (control)", "control", randomised(classifier, draw.seed), image)


def _explained(
    version: Version, chunk: int, target: Tensor, explainer: Explainer,
    gain: SymmetricRelevanceGain, draw: Draw,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """The map `(N, 1, H, W)` of a version, and a number for each image by name."""
    with leave_no_trace(version.model):
        model = Queries(version.model, chunk)
        prediction = model(version.image).argmax(1)
        saliency = explainer(model, version.image, target, draw)
        return saliency, {
            "prediction": prediction,
            "changed": prediction != target,
            "srg": gain(model, version.image, target, saliency, draw),
        }


def _summed(version: Version, columns: Mapping[str, Tensor]) -> dict[str, object]:
    """The line of a version in the table."""
    changed = columns["changed"]
    line: dict[str, object] = {"version": version.name, "kind": version.kind}
    for name in ("agreement", "srg"):
        line |= mean(columns[name].double().cpu().numpy()).columns(name)
    return {**line, **rate(int(changed.sum()), len(changed)).columns("changed"), "n": len(changed)}


def _captions(columns: Mapping[str, Tensor], classes: Sequence[str]) -> list[str]:
    """`r = 0.83, says cat` under a map: agreement with the map before, and the answer now."""
    shown = (columns[name][:_SHOWN].tolist() for name in ("agreement", "prediction"))
    return [f"r = {round(r, 2) + 0:.2f}, says {classes[k]}" for r, k in zip(*shown, strict=True)]
