"""`lenet`, `cifar_resnet20`, ...: built in, with random weights."""

from lightning_modules.architectures import build, preprocessing_of
from lightning_modules.classifier import Classifier
from lightning_modules.sources.request import Request


def from_builtin(request: Request) -> Classifier:
    """`builtin:NAME` or bare `NAME`: a small network with random weights, to be fine-tuned."""
    preprocessing = preprocessing_of(request.rest, request.preprocessing)
    classes = request.classes or 10
    model = build(request.rest, classes, preprocessing.channels)
    return Classifier(
        model, classes=classes, preprocessing=preprocessing, architecture=f"builtin:{request.rest}"
    )
