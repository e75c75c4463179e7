"""`lenet`, `cifar_resnet20`, ...: built in, with random weights."""

from lightning_modules.architectures import build
from lightning_modules.classifier import Classifier
from lightning_modules.sources.bare import fresh_classifier
from lightning_modules.sources.request import Request


def from_builtin(request: Request) -> Classifier:
    """`builtin:NAME` or bare `NAME`: a small network with random weights, to be fine-tuned.

    It is made for the channels of the data, by default grey (LeNet) or colour, and sees images in
    [0, 1] as they are unless a mean and std are said; what it is trained with is kept with it.
    """
    channels = request.channels or (1 if request.rest.startswith("lenet") else 3)
    network = build(request.rest, request.classes or 10, channels)
    return fresh_classifier(network, f"builtin:{request.rest}", request, channels)
