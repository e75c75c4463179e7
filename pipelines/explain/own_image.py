"""An own image explained, and how it is written: pictures, arrays, sentences."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from callbacks.words import number
from pipelines.explain.completeness import OF_THE_LOGIT
from pipelines.explain.methods import method_title
from pipelines.explain.own_figures import layer_figure, maps_figure, unit_figure
from pipelines.explain.own_layer import LayerMaps, MaximisedUnit
from pipelines.report.figures import save_png


class OwnImage(NamedTuple):
    """One image of the user, explained.

    Args:
        file: it is in.
        image: `(H, W, C)` uint8, as the model is shown it.
        target: the class that is explained.
        prediction: the class that is answered.
        probability: of the target, in [0, 1].
        maps: `(H, W)` by method.
        errors: standard errors `(H, W)` of maps that are drawn.
        rivals: of those, how many patches might be the largest as well.
        gaps: of complete methods, what is missing of the change of the logit, and that change.
        layer: what the layer makes of it that was asked for.
        notes: why a method has no map.
    """

    file: Path
    image: np.ndarray
    target: str
    prediction: str
    probability: float
    maps: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    rivals: dict[str, int]
    gaps: dict[str, tuple[float, float]]
    layer: LayerMaps | None
    notes: list[str]

    @property
    def title(self) -> str:
        """File, class and probability."""
        answer = "" if self.target == self.prediction else f" (answered: {self.prediction})"
        return f"{self.file.name}: {self.target}, probability {self.probability:.1%}{answer}"

    def figure(self) -> Figure:
        """The image beside its maps."""
        maps = {method_title(name): saliency for name, saliency in self.maps.items()}
        captions = {method_title(name): "\n".join(self.captions(name)) for name in self.maps}
        return maps_figure(self.image, self.title, maps, captions)

    def captions(self, name: str) -> list[str]:
        """What there is to be said of a method's map: completeness, sampling error."""
        lines = []
        if name in self.gaps:
            gap, gain = self.gaps[name]
            what = "the logit " if name in OF_THE_LOGIT else ""
            lines.append(f"adds up to {number(gain - gap)} of {what}{number(gain)}")
        if name in self.errors:
            most, rivals = float(np.abs(self.maps[name]).max()), self.rivals[name]
            share = f" (± {float(self.errors[name].mean()) / most:.0%})" if most > 0 else ""
            others = f"not told apart from {rivals} other{'s' if rivals > 1 else ''}"
            lines.append(f"top patch {others if rivals else 'told apart'}{share}")
        return lines

    def facts(self) -> dict[str, Any]:
        """What is no array, for JSON."""
        gaps = {name: {"gap": gap, "of": gain} for name, (gap, gain) in self.gaps.items()}
        return {
            "file": str(self.file), "prediction": self.prediction, "target": self.target,
            "probability": self.probability, "completeness": gaps, "rivals": self.rivals,
            "notes": self.notes,
        }  # fmt: skip

    def arrays(self) -> dict[str, np.ndarray]:
        """The image, each map by its method, `METHOD_standard_error`, and the layer's maps."""
        errors = {f"{name}_standard_error": error for name, error in self.errors.items()}
        layer = {} if self.layer is None else {"layer": self.layer.maps}
        return {"image": self.image, **self.maps, **errors, **layer}


def write_images(found: Sequence[OwnImage], folder: Path) -> list[str]:
    """Writes `NAME.png`, `NAME.npz` with the image and the map of each method, and `images.json`.

    Returns:
        A line for each image, each doubt and each note, for the terminal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, one in zip(_names(found), found, strict=True):
        np.savez_compressed(folder / f"{name}.npz", **one.arrays())  # type: ignore[arg-type]
        if one.maps:
            save_png(one.figure(), folder / f"{name}.png")
        if one.layer is not None:
            save_png(layer_figure(one.image, one.title, one.layer), folder / f"{name}-layer.png")
        written = ".png, .npz" if one.maps else ".npz"
        lines.append(
            f"{one.file}: {one.target} {one.probability:.1%}  ->  {folder / name}{written}"
        )
        lines += [f"         {m}: {said}" for m in one.maps for said in one.captions(m)]
        lines += [f"NOTE     {note}" for note in one.notes]
    facts = [one.facts() for one in found]
    (folder / "images.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False))
    return lines


def _names(found: Sequence[OwnImage]) -> list[str]:
    """Names of the files of each image, which none of the others writes too."""
    names: list[str] = []
    taken = {"unit"}  # of `write_unit`
    for one in found:
        stem, name, again = one.file.stem, one.file.stem, 1
        while not taken.isdisjoint((name, f"{name}-layer")):
            name, again = f"{stem}-{again}", again + 1
        names.append(name)
        taken |= {name, f"{name}-layer"}
    return names


def write_unit(unit: MaximisedUnit, folder: Path) -> str:
    """Writes `unit.png` and `unit.npz`; returns a line for the terminal."""
    np.savez_compressed(folder / "unit.npz", image=unit.image)
    save_png(unit_figure(unit), folder / "unit.png")
    return (
        f"unit {unit.unit} of {unit.layer}: activation {number(unit.activation)}, of your images "
        f"{number(unit.own)} at most  ->  {folder / 'unit'}.png, .npz"
    )
