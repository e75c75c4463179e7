"""`assay explain --image FILE...`: the user's own images, explained by the methods they name."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.interpretability import Completeness
from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.regions.fill import FillName
from callbacks.interpretability.registry import named_explainer
from callbacks.leave_no_trace import leave_no_trace
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.words import number
from datamodules.decoding import decoded
from datamodules.errors import UserError, suggestion
from datamodules.preprocessing import in_unit_range
from lightning_modules import Classifier, load_classifier
from pipelines.explain.inputs import as_bytes
from pipelines.explain.methods import method_title
from pipelines.explain.picture_figures import gallery_figure
from pipelines.report.figures import save_png
from pipelines.study import ModelLike, Study

METHODS = ("grad_cam", "integrated_gradients", "rise")
"""Explained by when nobody names any."""
_COMPLETE = ("integrated_gradients", "deeplift", "kernel_shap")
"""Methods whose map is to add up to what the image changes of the logit."""
_CHUNK = 8
"""Copies of one image at a time: what asks about a single one pays for all of them."""
_NEED_OTHERS = ("permutation",)


class OwnImage(NamedTuple):
    """One image of the user, explained.

    Args:
        file: it is in.
        image: `(H, W, C)` uint8, as the model is shown it.
        target: the class that is explained.
        prediction: the class that is answered.
        probability: of the target, in [0, 1].
        maps: `(H, W)` by method.
        gaps: of complete methods, what is missing of the change of the logit, and that change.
        notes: why a method has no map.
    """

    file: Path
    image: np.ndarray
    target: str
    prediction: str
    probability: float
    maps: dict[str, np.ndarray]
    gaps: dict[str, tuple[float, float]]
    notes: list[str]

    def figure(self) -> Figure:
        """The image beside its maps."""
        captions = {method_title(name): [self._caption(name)] for name in self.maps}
        title = f"{self.prediction}" + (
            "" if self.target == self.prediction else f", explained: {self.target}"
        )
        maps = np.stack(list(self.maps.values()))[:, None]
        return gallery_figure(
            self.image[None], maps, captions, [f"{title} {self.probability:.0%}"], 2.2
        )

    def _caption(self, name: str) -> str:
        if name not in self.gaps:
            return ""
        gap, gain = self.gaps[name]
        return f"adds up to {number(gain - gap)} of {number(gain)}"

    def facts(self) -> dict[str, Any]:
        """What is no array, for JSON."""
        gaps = {name: {"gap": gap, "of": gain} for name, (gap, gain) in self.gaps.items()}
        return {
            "file": str(self.file), "prediction": self.prediction, "target": self.target,
            "probability": self.probability, "completeness": gaps, "notes": self.notes,
        }  # fmt: skip


def explain_images(
    study: Study, model: ModelLike, files: Sequence[str], target: str | None,
    methods: Sequence[str] | None,
) -> list[OwnImage]:  # fmt: skip
    """Explains images of the user, and writes maps as pictures and arrays into the results folder.

    Args:
        study: whose options say how model and images are read.
        model: where it comes from.
        files: of images.
        target: name or number of the class to explain; None: what the model answers.
        methods: names in `EXPLAINERS`.

    Returns:
        One line an image.

    Raises:
        UserError: a file is no image, or there is no such class or method.
    """
    explainers = _explainers(methods or METHODS)
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
    settings = {
        "images": [str(file) for file in pictures], "target": wanted,
        "methods": [repr(explainer) for explainer in explainers.values()],
    }  # fmt: skip
    with study.running(study.name(), settings) as run:
        found = []
        for i, (file, pixels) in enumerate(pictures.items()):
            study.say(f"explain  {file}")
            shown = in_unit_range(classifier.preprocessing.apply(pixels[None]))
            draw = Draw(study.seed, torch.tensor([i], device=study.device))
            found.append(
                _explained(classifier, file, shown.to(study.device), wanted, explainers, draw)
            )
        for line in write_images(found, study.folder):
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


def write_images(found: Sequence[OwnImage], folder: Path) -> list[str]:
    """Writes `NAME.png`, `NAME.npz` with the image and the map of each method, and `images.json`.

    Returns:
        A line for each image and note, for the terminal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines, taken = [], set()
    for i, one in enumerate(found):
        name = one.file.stem if one.file.stem not in taken else f"{one.file.stem}-{i}"
        taken.add(name)
        np.savez_compressed(folder / f"{name}.npz", image=one.image, **one.maps)  # type: ignore[arg-type]
        if one.maps:
            save_png(one.figure(), folder / f"{name}.png")
        lines.append(
            f"{one.file}: {one.target} {one.probability:.1%}  ->  {folder / name}.png, .npz"
        )
        lines += [f"NOTE     {note}" for note in one.notes]
    facts = [one.facts() for one in found]
    (folder / "images.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False))
    return lines


def _explainers(methods: Sequence[str]) -> dict[str, Explainer]:
    for name in methods:
        if name in _NEED_OTHERS:
            raise UserError(
                f"{name} compares an image with others of its data, and `--image` has none: leave "
                "it out, or explain with --data."
            )
    return {name: named_explainer(name) for name in methods}


def _decoded(file: Path) -> Tensor:
    try:
        return decoded(file)
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"Expected an image in {str(file)!r}, but: {error}.") from error


def _explained(
    classifier: Classifier, file: Path, image: Tensor, wanted: int | None,
    explainers: dict[str, Explainer], draw: Draw,
) -> OwnImage:  # fmt: skip
    maps, gaps, notes = {}, {}, []
    with leave_no_trace(classifier):
        model = Queries(classifier, min(classifier.chunk, _CHUNK))
        probability = model(image).softmax(1)
        answer = int(probability.argmax(1))
        target = torch.tensor([answer if wanted is None else wanted], device=image.device)
        for name, explainer in explainers.items():
            try:
                saliency = explainer(model, image, target, draw)
            except UserError as error:
                notes.append(f"{name}: {error}")
                continue
            maps[name] = saliency[0, 0].float().cpu().numpy()
            if name in _COMPLETE:
                gaps[name] = _gap(explainer, model, image, target, saliency, draw)
    return OwnImage(
        file, as_bytes(image)[0], classifier.classes[int(target)], classifier.classes[answer],
        float(probability[0, target]), maps, gaps, notes,
    )  # fmt: skip


def _gap(
    explainer: Explainer, model: Queries, image: Tensor, target: Tensor, saliency: Tensor,
    draw: Draw,
) -> tuple[float, float]:  # fmt: skip
    """What the map lacks of f(x) - f(x0), and f(x) - f(x0), in logits."""
    own: FillName = getattr(explainer, "baseline", getattr(explainer, "fill", "black"))
    gain = Completeness(own).gain(model, image, target, draw)
    return float(gain - saliency.flatten(1).sum(1)), float(gain)
