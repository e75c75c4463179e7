"""A function of the user's own."""

from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import build
from lightning_modules.classifier import Classifier
from lightning_modules.heads import output_count
from lightning_modules.sources.request import Request


def from_python(request: Request) -> Classifier:
    """`python:MODULE:CALLABLE`: calls your function, which returns a torch module or a Classifier.

    A plain module gets the data's own normalisation off: it receives images in [0, 1].
    """
    model = build(f"python:{request.rest}", request.classes or 10)
    if isinstance(model, Classifier):
        return model
    channels = request.preprocessing.channels if request.preprocessing else 3
    plain = Preprocessing(channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels)
    return Classifier(
        model,
        classes=output_count(model, request.preprocessing or plain),
        preprocessing=plain,
        architecture=f"python:{request.rest}",
    )
