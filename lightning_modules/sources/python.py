"""A function of the user's own."""

from lightning_modules.architectures import build
from lightning_modules.classifier import Classifier
from lightning_modules.sources.bare import bare_classifier
from lightning_modules.sources.request import Request


def from_python(request: Request) -> Classifier:
    """`python:MODULE:CALLABLE`: calls your function, which returns a torch module or a Classifier.

    A plain module gets images in [0, 1] as they are, unless you say what it wants.
    """
    architecture = f"python:{request.rest}"
    model = build(architecture, request.classes or 10)
    return model if isinstance(model, Classifier) else bare_classifier(model, architecture, request)
