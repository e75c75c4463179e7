"""Hugging Face image classifiers."""

from typing import Any

from torch import Tensor, nn

from datamodules.errors import UserError
from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import imported
from lightning_modules.classifier import Classifier
from lightning_modules.input_contract import WEIGHTS, all_fields
from lightning_modules.sources.request import Request

_INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # as Pillow counts them


class Logits(nn.Module):
    """Unwraps the logits from the output object of a transformers model.

    Args:
        model: an image classifier of transformers.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """From `(N, C, H, W)` to logits `(N, K)`."""
        return self.model(pixel_values=image).logits


def from_huggingface(request: Request) -> Classifier:
    """`hf:OWNER/NAME`: an image classifier of the hub; needs `pip install 'assay[hf]'`."""
    transformers = imported("transformers", "hf")
    try:
        model = transformers.AutoModelForImageClassification.from_pretrained(request.rest)
        processor = transformers.AutoImageProcessor.from_pretrained(request.rest)
    except (OSError, ValueError) as error:
        raise UserError(
            f"hf:{request.rest} cannot be loaded: {str(error).splitlines()[0]} "
            "Expected a folder or a hub name of an image classifier."
        ) from error
    labels = model.config.id2label
    return Classifier(
        Logits(model),
        classes=[str(labels[key]) for key in sorted(labels)],
        preprocessing=_preprocessing(processor),
        architecture=f"hf:{request.rest}",
        reasons=all_fields(WEIGHTS),
    )


def _preprocessing(processor: Any) -> Preprocessing:
    """Reads sizes and normalisation off the processor's own fields."""
    size, crop = processor.size, getattr(processor, "crop_size", None)
    square = "shortest_edge" not in size
    side = None if square else size["shortest_edge"]
    resize = (size["height"], size["width"]) if square else side
    crop = crop["height"] if crop and getattr(processor, "do_center_crop", False) else None
    share = getattr(processor, "crop_pct", None)
    if side and share and side < 384:  # ConvNeXt's processor: a larger resize, then a crop
        resize, crop = int(side / share), side
    # Of images in [0, 1]; some processors leave 0 to 255, or scale to something else.
    factor = getattr(processor, "rescale_factor", 1 / 255)
    top = 255 * factor if getattr(processor, "do_rescale", True) else 255.0
    normalised = getattr(processor, "do_normalize", True)
    mean = processor.image_mean if normalised else (0.0,) * 3
    std = processor.image_std if normalised else (1.0,) * 3
    return Preprocessing(
        channels=len(mean),
        resize=resize,
        crop=crop,
        interpolation=_INTERPOLATIONS.get(int(getattr(processor, "resample", 2)), "bilinear"),
        mean=tuple(value / top for value in mean),
        std=tuple(value / top for value in std),
    )
