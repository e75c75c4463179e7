"""timm's models."""

from typing import Any

from datamodules.errors import UserError, suggestion
from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import imported
from lightning_modules.classifier import Classifier
from lightning_modules.heads import stem_inputs
from lightning_modules.input_contract import WEIGHTS, all_fields
from lightning_modules.sources.bare import fresh_classifier
from lightning_modules.sources.request import Request


def from_timm(request: Request) -> Classifier:
    """`timm:NAME[@none]`: needs `pip install 'assay[timm]'`; @none has random weights."""
    timm = imported("timm", "timm")
    name, _, choice = request.rest.partition("@")
    random_weights = choice == "none"
    classes = {"num_classes": request.classes} if random_weights and request.classes else {}
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise UserError(f"timm has no model {name!r}.{suggestion(name, known)}")
    try:
        model = timm.create_model(name, pretrained=not random_weights, **classes)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"The weights of timm:{name} cannot be had: {str(error).splitlines()[0]} Use "
            f"checkpoint:FILE with --arch timm:{name}, or timm:{name}@none for random weights."
        ) from error
    if random_weights:
        return fresh_classifier(model, f"timm:{name}", request, stem_inputs(model))
    return Classifier(
        model,
        classes=getattr(model, "pretrained_cfg", {}).get("label_names") or model.num_classes,
        preprocessing=_preprocessing(timm.data.resolve_model_data_config(model)),
        architecture=f"timm:{name}",
        reasons=all_fields(WEIGHTS),
    )


def _preprocessing(settings: dict[str, Any]) -> Preprocessing:
    """Reads sizes and normalisation off the weights' own configuration."""
    channels, size = settings["input_size"][0], settings["input_size"][-1]
    resized = int(size / settings["crop_pct"])
    squashed = settings.get("crop_mode") == "squash"
    return Preprocessing(
        channels=channels,
        resize=(resized, resized) if squashed else resized,
        crop=size,
        interpolation=settings["interpolation"],
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
    )
