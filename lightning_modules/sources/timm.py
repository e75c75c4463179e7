"""timm's models."""

from datamodules.errors import UserError
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
    try:
        model = timm.create_model(name, pretrained=not random_weights, **classes)
    except RuntimeError as error:
        raise UserError(f"timm has no model {name!r}: see timm.list_models('*...*').") from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"The weights of timm:{name} cannot be downloaded: {error}. Use checkpoint:FILE with "
            f"--arch timm:{name}, or timm:{name}@none for random weights."
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
