"""LeNet."""

from collections import OrderedDict

from torch import nn


class LeNet(nn.Sequential):
    """LeNet-5 with ReLU and max pooling for 28x28 images (LeCun et al. 1998), 44,426 parameters.

    Every activation is a module of its own, so that hooks and attribution methods find it.

    Args:
        classes: outputs.
        channels: 1 or 3.
        dropout: probability before the last layer.
    """

    def __init__(self, classes: int = 10, channels: int = 1, dropout: float = 0.0) -> None:
        layers = {
            "conv1": nn.Conv2d(channels, 6, 5),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(6, 16, 5),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(256, 120),
            "relu3": nn.ReLU(),
            "fc2": nn.Linear(120, 84),
            "relu4": nn.ReLU(),
            "dropout": nn.Dropout(dropout),
            "fc3": nn.Linear(84, classes),
        }
        super().__init__(OrderedDict(layers))
