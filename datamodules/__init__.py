"""Data sets: images in [0, 1] with label and index, split, limited and loaded in one way."""

from typing import Any

from datamodules import opening
from datamodules.batch import Batch
from datamodules.cifar10 import CIFAR10
from datamodules.cifar10_halves import CIFAR10Animals, CIFAR10Vehicles
from datamodules.csv_manifest import CSV
from datamodules.digits import Digits, RotatedDigits
from datamodules.errors import UserError
from datamodules.hf_dataset import HFDataset
from datamodules.image_datamodule import ImageDataModule
from datamodules.image_folder import ImageFolder
from datamodules.joined import Joined
from datamodules.maite_data import MAITE
from datamodules.mnist import MNIST
from datamodules.mnist_variants import InvertedMNIST, MNISTSubset, PermutedMNIST, RotatedMNIST
from datamodules.prepared import Prepared
from datamodules.preprocessing import Preprocessing
from datamodules.torchvision_data import Torchvision
from datamodules.webdataset import WebDataset

# `torch_data.TorchData` is for notebooks: imported here, the command line would list it.
DATA: dict[str, type[ImageDataModule]] = {
    "Digits": Digits,
    "RotatedDigits": RotatedDigits,
    "MNIST": MNIST,
    "CIFAR10": CIFAR10,
    "ImageFolder": ImageFolder,
    "CSV": CSV,
    "WebDataset": WebDataset,
    "HFDataset": HFDataset,
    "Torchvision": Torchvision,
    "MAITE": MAITE,
    "Prepared": Prepared,
    "RotatedMNIST": RotatedMNIST,
    "PermutedMNIST": PermutedMNIST,
    "InvertedMNIST": InvertedMNIST,
    "MNISTSubset": MNISTSubset,
    "CIFAR10Animals": CIFAR10Animals,
    "CIFAR10Vehicles": CIFAR10Vehicles,
    "Joined": Joined,
}


def open_data(data: Any) -> ImageDataModule:
    """Opens a data set of `DATA` by `NAME` or `NAME:FOLDER`, or what PyTorch gives."""
    return opening.open_data(data, DATA)


__all__ = [
    "CIFAR10",
    "CSV",
    "DATA",
    "MAITE",
    "MNIST",
    "Batch",
    "Digits",
    "HFDataset",
    "ImageDataModule",
    "ImageFolder",
    "Joined",
    "Prepared",
    "Preprocessing",
    "Torchvision",
    "UserError",
    "WebDataset",
    "open_data",
]
