"""`assay explain --image FILE...`: the user's own images, explained by the methods they name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.registry import named_explainer
from callbacks.interpretability.sampling_error import estimated, rivals
from callbacks.leave_no_trace import leave_no_trace
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.decoding import decoded
from datamodules.errors import UserError, suggestion
from datamodules.preprocessing import in_unit_range
from lightning_modules import Classifier, examine, load_classifier
from pipelines.explain.completeness import COMPLETE, gap
from pipelines.explain.inputs import as_bytes
from pipelines.explain.own_image import OwnImage, write_images, write_unit
from pipelines.explain.own_layer import (
    check_unit,
    layer_name,
    maps_of_layer,
    maximised_unit,
)
from pipelines.study import ModelLike, Study

METHODS = ("grad_cam", "integrated_gradients", "rise")
"""Explained by when nobody names any."""
_CHUNK = 8
"""Copies of one image at a time: what asks about a single one pays for all of them."""
_NEED_OTHERS = ("permutation",)
_PATCHES = 7
"""Along each side, that maps of pixels are compared in."""


def explain_images(
    study: Study, model: ModelLike, files: Sequence[str], target: str | None = None,
    methods: Sequence[str] | None = None, layer: str | None = None, unit: int | None = None,
) -> list[OwnImage]:  # fmt: skip
    """Explains images of the user, and writes maps as pictures and arrays into the results folder.

    Args:
        study: whose options say how model and images are read.
        model: where it comes from.
        files: of images.
        target: name or number of the class to explain; None: what the model answers.
        methods: names in `EXPLAINERS`, one by one or with commas.
        layer: whose maps are shown, and at which methods look that take a layer.
        unit: channel of the layer, for which an image is maximised.

    Returns:
        One line an image.

    Raises:
        UserError: a file is no image, the model cannot answer it, or there is no such class,
            method, layer or unit.
    """
    explainers = named_explainers(METHODS if methods is None else methods)
    pictures = {Path(file): _decoded(Path(file)) for file in files}
    study.name_store(model)
    classifier = load_classifier(
        model, arch=study.arch, trust_pickle=study.trust_pickle, said=study.said,
        classes=study.classes, scale=study.answers, weights=study.weights,
    )  # fmt: skip
    study.models.append(classifier)
    wanted = None if target is None else class_number(target, classifier)
    study.say(f"input    {classifier.input_line}")
    classifier.to(study.device).eval()
    where = layer_name(layer, unit, classifier)
    explainers = {name: at_layer(explainer, where) for name, explainer in explainers.items()}
    shown = [
        in_unit_range(classifier.preprocessing.apply(pixels[None])).to(study.device)
        for pixels in pictures.values()
    ]
    for image in shown:
        examine(classifier, image)
    for note in classifier.notes:
        study.say(f"WARNING  {note}")
    with leave_no_trace(classifier):
        model_of = Queries(classifier, min(classifier.chunk, _CHUNK))
        if where is not None:
            check_unit(model_of, shown[0], where, unit)
        settings = {
            "images": [str(file) for file in pictures], "target": wanted, "layer": layer,
            "unit": unit, "methods": [repr(explainer) for explainer in explainers.values()],
        }  # fmt: skip
        with study.running(study.name(), settings) as run:
            found = []
            for i, (file, image) in enumerate(zip(pictures, shown, strict=True)):
                study.say(f"explain  {file}")
                draw = Draw(study.seed, torch.tensor([i], device=study.device))
                asked = Question(wanted, explainers, where, unit)
                found.append(_explained(model_of, classifier.classes, file, image, asked, draw))
            lines = write_images(found, study.folder)
            if where is not None and unit is not None:
                best = maximised_unit(model_of, shown, where, unit, study.seed)
                lines.append(write_unit(best, study.folder))
            for line in lines:
                study.say(line)
            run.log_folder(study.folder)
    return found


def class_number(name: str, classifier: Classifier) -> int:
    """The number of a class by its name, or by its number.

    Raises:
        UserError: there is no such class.
    """
    classes = classifier.classes
    if name in classes:
        return classes.index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    raise UserError(
        f"There is no class {name!r} among the model's {len(classes):,}."
        f"{suggestion(name, classes)} Give a name, or a number from 0 to {len(classes) - 1}."
    )


def named_explainers(methods: Sequence[str]) -> dict[str, Explainer]:
    """Explainers by their names, which may be joined by commas.

    Raises:
        UserError: there is none, or no such one, or it needs more than one image.
    """
    names = [name.strip() for words in methods for name in words.split(",") if name.strip()]
    if not names:
        raise UserError("Expected names of `methods`, such as grad_cam,rise, but got none.")
    for name in names:
        if name in _NEED_OTHERS:
            raise UserError(
                f"{name} compares an image with others of its data, and `--image` has none: leave "
                "it out, or explain with --data."
            )
    return {name: named_explainer(name) for name in names}


def at_layer(explainer: Explainer, layer: str | None) -> Explainer:
    """Lets an explainer that looks at a layer look at this one."""
    if layer is None or not hasattr(explainer, "layer"):
        return explainer
    return replace(explainer, layer=layer)  # type: ignore[type-var]


def _decoded(file: Path) -> Tensor:
    try:
        return decoded(file)
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"Expected an image in {str(file)!r}, but: {error}.") from error


class Question(NamedTuple):
    """What is asked about each image: the class, by which explainers, at which layer and unit."""

    target: int | None
    explainers: dict[str, Explainer]
    layer: str | None
    unit: int | None


def _explained(
    model: Queries, classes: Sequence[str], file: Path, image: Tensor, asked: Question, draw: Draw
) -> OwnImage:
    maps, errors, close, gaps, notes, layer = {}, {}, {}, {}, [], None
    logits = model(image)
    probability, answer = logits.softmax(1), int(logits.argmax(1))
    chosen = answer if asked.target is None else asked.target
    target, explainers = torch.tensor([chosen], device=image.device), asked.explainers
    if not logits[0, chosen].isfinite():
        explainers = {}
        notes.append(
            f"{file}: the model's logit of {classes[chosen]} is {float(logits[0, chosen])}, which "
            "nothing in the image can explain: choose another --target."
        )
    for name, explainer in explainers.items():
        try:
            estimate = estimated(explainer, model, image, target, draw)
        except UserError as error:
            notes.append(f"{name}: {error}")
            continue
        maps[name] = estimate.map[0, 0].float().cpu().numpy()
        if estimate.standard_error is not None:
            errors[name] = estimate.standard_error[0, 0].float().cpu().numpy()
            close[name] = int(rivals(estimate, getattr(explainer, "grid", _PATCHES)))
        if name in COMPLETE:
            ends = gap(name, explainer, model, image, target, estimate.map, draw)
            gaps[name] = (float(ends[0]), float(ends[1]))
    if asked.layer is not None:
        try:
            layer = maps_of_layer(model, image, asked.layer, asked.unit)
        except UserError as error:
            notes.append(str(error))
    return OwnImage(
        file, as_bytes(image)[0], classes[chosen], classes[answer], float(probability[0, chosen]),
        maps, errors, close, gaps, layer, notes,
    )  # fmt: skip
