"""timm's models."""

from datamodules.errors import UserError, suggestion
from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import imported
from lightning_modules.classifier import Classifier
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
    settings = timm.data.resolve_model_data_config(model)
    channels, size = settings["input_size"][0], settings["input_size"][-1]
    preprocessing = Preprocessing(
        channels=channels,
        resize=int(size / settings["crop_pct"]),
        crop=size,
        interpolation=settings["interpolation"],
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
    )
    return Classifier(
        model,
        classes=model.num_classes,
        preprocessing=preprocessing,
        architecture=f"timm:{name}",
    )
