"""What is shown to a model: a few test images of each data set, on the page of every question."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from datamodules import ImageDataModule
from datamodules.preprocessing import in_unit_range
from datamodules.splits import stratified_order
from pipelines.report.about import About
from pipelines.report.figures import LOOK
from pipelines.report.sections import Section

_EXAMPLES = 8
_SIDE = 128
"""Larger images are kept smaller: eight of them must not weigh more than the page."""


def examples_of(data: ImageDataModule) -> dict[str, Any]:
    """Some test images as they leave the data set, as files in base64, and their classes.

    Large ones are made smaller; they may be of different sizes where nothing resizes them.
    """
    images = data.images("test")
    rows = stratified_order(images.label, data.seed)[:_EXAMPLES].tolist()
    batches = [images.__getitems__([row]) for row in rows]
    return {
        "files": [_file(in_unit_range(batch.image)[0]) for batch in batches],
        "classes": [str(data.classes[int(batch.label)]) for batch in batches],
    }


def _file(image: Tensor) -> str:
    pixels = (255 * image.movedim(0, -1)).round().byte().cpu().numpy()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    kind = "JPEG" if max(picture.size) > _SIDE else "PNG"
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def image_sections(about: About) -> list[Section]:
    """The images of every data set with their classes; none of a result that kept none."""
    shown = {str(data.get("title", data["name"])): data for data in about.data}
    shown = {title: data for title, data in shown.items() if title in about.examples}
    if not shown:
        return []
    pictures = {
        f"examples_{i}": _strip(about.examples[t], t if len(shown) > 1 else "")
        for i, t in enumerate(shown)
    }
    prepared = [f"{title}: {_prepared(data)}" for title, data in shown.items()]
    return [
        Section(
            "The images",
            "Some test images with their classes, as they leave the data set, before a model's own "
            f"normalisation. {'. '.join(prepared)}.",
            pictures=pictures,
        )
    ]


def _prepared(data: Mapping[str, Any]) -> str:
    """`grey, resized to 32 (bilinear), centre crop of 32`."""
    asked = data.get("preprocessing", {})
    parts = [{1: "grey", 3: "RGB"}.get(asked.get("channels"), "channels as they are")]
    if resize := asked.get("resize"):
        parts.append(f"resized to {_size(resize)} ({asked.get('interpolation', 'bilinear')})")
    if crop := asked.get("crop"):
        parts.append(f"centre crop of {_size(crop)}")
    if not (resize or crop):
        parts.append("of the size that they have")
    return ", ".join([*parts, *([data["conversion"]] if data.get("conversion") else [])])


def _size(side: int | Sequence[int]) -> str:
    return str(side) if isinstance(side, int) else "x".join(str(part) for part in side)


def _strip(kept: Mapping[str, Any], title: str) -> Figure:
    """Every image with its class under it; of several data sets each has its title."""
    files = [io.BytesIO(base64.b64decode(file)) for file in kept["files"]]
    images = [np.asarray(Image.open(file)) for file in files]
    with mpl.rc_context({**LOOK, "axes.grid": False}):
        figure = Figure(
            figsize=(1.32 * max(len(images), 6), 1.8 if title else 1.55), layout="constrained"
        )
        if title:
            figure.suptitle(title, x=0.004, ha="left", fontsize=11, fontweight="bold")
        places = figure.subplots(1, max(len(images), 6), squeeze=False)[0]
        for axes in places:
            axes.axis("off")
        for axes, image, name in zip(places, images, kept["classes"], strict=False):
            axes.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=255)
            axes.set_title(shortened(name), loc="center", fontsize=8, fontweight="normal", y=-0.22)
    return figure


def shortened(name: str, most: int = 18) -> str:
    """A long name with its middle left out; tables have it whole."""
    half = most // 2
    return name if len(name) <= most else f"{name[:half]}…{name[1 - half :]}"
