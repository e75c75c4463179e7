"""A function of the user's own."""

from dataclasses import replace

from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import build
from lightning_modules.classifier import Classifier
from lightning_modules.heads import head_outputs
from lightning_modules.sources.request import Request


def from_python(request: Request) -> Classifier:
    """`python:MODULE:CALLABLE`: calls your function, which returns a torch module or a Classifier.

    A plain module gets images of the data's size in [0, 1], not normalised.
    """
    model = build(f"python:{request.rest}", request.classes or 10)
    if isinstance(model, Classifier):
        return model
    like = request.preprocessing or Preprocessing()
    return Classifier(
        model,
        classes=head_outputs(model),
        preprocessing=replace(like, mean=(0.0,) * like.channels, std=(1.0,) * like.channels),
        architecture=f"python:{request.rest}",
    )
