"""The same image's explanation before and after: attack, damage, fine-tuning, distillation."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pandas as pd
import torch
from matplotlib.figure import Figure
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
from lightning_modules import Classifier, load_classifier
from pipelines.explain.features import batches
from pipelines.explain.picture_figures import gallery_figure

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


@dataclass(frozen=True)
class Changes:
    """How far explanations of the class that was predicted before stay what they were.

    Args:
        table: one line a version: `version kind n`, `agreement` (rank correlation with the map
            before), `srg` and `changed` (share of predictions) with their intervals.
        figure: the first images with the map of every version.
        note: how it was measured.
        notes: versions that could not be explained.
    """

    table: pd.DataFrame
    figure: Figure = field(repr=False)
    note: str
    notes: list[str]


def others(
    compare: Mapping[str, str] | None, classifier: Classifier, arch: str | None, trust_pickle: bool
) -> dict[str, Classifier]:
    """Loads the models that the first one became, or came from.

    Args:
        compare: sources by name, such as `{"distilled": "checkpoint:FOLDER"}`.
        classifier: the first one, whose classes and kind of images they share.
        arch: of bare checkpoints.
        trust_pickle: load files that can execute code.

    Raises:
        UserError: a model has other classes, or wants other images.
    """
    found = {}
    for name, source in (compare or {}).items():
        one = load_classifier(
            source, arch=arch, data_classes=classifier.classes,
            preprocessing=classifier.preprocessing, trust_pickle=trust_pickle,
        )  # fmt: skip
        mean_std = {"mean": classifier.preprocessing.mean, "std": classifier.preprocessing.std}
        if replace(one.preprocessing, **mean_std) != classifier.preprocessing:
            raise UserError(
                f"Expected `--compare.{name}` to see the same images as the model, but it wants "
                f"{one.preprocessing.as_dict()} and not {classifier.preprocessing.as_dict()}."
            )
        one.chunk = classifier.chunk
        found[name] = one.eval()
    return found


def changes(
    classifier: Classifier,
    compare: Mapping[str, Classifier],
    data: ImageDataModule,
    explainer: Explainer,
    budget: float,
    device: torch.device,
    seed: int,
) -> Changes:
    """Explains the same test images before and after each change.

    The controls say what a change has to be compared with: noise of the attack's size moves maps
    too, and with all weights drawn anew nothing of a map should be left.

    Args:
        classifier: on `device`, in evaluation mode.
        compare: other models by name.
        data: whose test images are explained.
        explainer: of every version, for instance the most faithful one.
        budget: forwards of the score, of which a tenth is spent here once more.
        device: of the models.
        seed: of attack, damage and noise.
    """
    gain, attack = SymmetricRelevanceGain(), PGD(20)
    cost = explainer.forwards + 2 * explainer.backwards + gain.forwards + 1
    count = int(_SHARE * budget / (cost * (5 + len(compare)) + 3 * attack.steps))
    batch = next(batches(data, "test", min(_MOST, max(_FEWEST, count)), _MOST))
    image, draw = batch.image.to(device), Draw(seed, batch.index.to(device))
    radius = data.epsilon["Linf"]
    lines, maps, captions, notes = [], {}, {}, []
    with leave_no_trace(classifier):
        before = Queries(classifier, classifier.chunk)(image).argmax(1)
        for one in _versions(classifier, compare, image, before, radius, attack, draw, notes):
            try:
                found, line = _explained(one, classifier.chunk, before, explainer, gain, draw)
            except UserError as error:  # another network may have a part that it has no rule for
                notes.append(f"{one.name}: {error}")
                continue
            maps[one.name] = found
            line["agreement"] = spearman(found.flatten(1), maps["before"].flatten(1))
            lines.append(_summed(one, line))
            captions[one.name] = _captions(line, classifier.classes)
    titles = [classifier.classes[k] for k in batch.label[:_SHOWN].tolist()]
    shown = {name: found[:_SHOWN, 0].cpu().numpy() for name, found in maps.items()}
    picture = gallery_figure(
        image[:_SHOWN].movedim(1, -1).cpu().numpy(), shown, captions, titles, width=1.75
    )
    note = (
        f"{len(image)} test images; {explainer!r} of the class predicted before; {attack!r} at "
        f"{radius:.3g}, {_ZEROED:.0%} of the weights set to zero"
    )
    return Changes(pd.DataFrame(lines), picture, note, notes)


def _versions(
    classifier: Classifier,
    compare: Mapping[str, Classifier],
    image: Tensor,
    target: Tensor,
    radius: float,
    attack: PGD,
    draw: Draw,
    notes: list[str],
) -> Iterator[Version]:
    """Yields every version that there is; of one that there is not, a note says why."""
    yield Version("before", "before", classifier, image)
    threat = Linf(radius)
    model = Queries(classifier, classifier.chunk)
    disturbed = attack(model, image, target, threat, draw).image
    yield Version("attacked", "attack", classifier, disturbed)
    corner = draw.uniform("noise of the attack's size", 0, tuple(image.shape[1:])).to(image) - 0.5
    noisy = (image + radius * corner.sign()).clamp(0, 1)
    yield Version("noise (control)", "control", classifier, noisy)
    damaged = copy.deepcopy(classifier)
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
    one: Version, chunk: int, target: Tensor, explainer: Explainer, gain: SymmetricRelevanceGain,
    draw: Draw,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    with leave_no_trace(one.model):
        model = Queries(one.model, chunk)
        logits = model(one.image)
        found = explainer(model, one.image, target, draw)
        line = {
            "prediction": logits.argmax(1),
            "changed": logits.argmax(1) != target,
            "srg": gain(model, one.image, target, found, draw),
        }
    return found, line


def _summed(one: Version, line: Mapping[str, Tensor]) -> dict[str, object]:
    changed, found = line["changed"], {"version": one.name, "kind": one.kind}
    numbers = {name: mean(line[name].double().cpu().numpy()) for name in ("agreement", "srg")}
    numbers["changed"] = rate(int(changed.sum()), len(changed))
    for name, number in numbers.items():
        found |= number.columns(name)
    return {**found, "n": len(changed)}


def _captions(line: Mapping[str, Tensor], classes: tuple[str, ...] | list[str]) -> list[str]:
    """`r = 0.83, says cat` under a map: agreement with the map before, and the answer now."""
    found = zip(
        *(line[name][:_SHOWN].tolist() for name in ("agreement", "prediction")), strict=True
    )
    return [f"r = {r:.2f}, says {classes[k]}" for r, k in found]
