"""The classifier, where it comes from, and what trains it."""

from lightning_modules.architectures import ARCHITECTURES, build
from lightning_modules.averaging import weight_average
from lightning_modules.checkpoint_inspection import Inspection, inspect_checkpoint
from lightning_modules.chunks import in_chunks
from lightning_modules.classifier import Classifier
from lightning_modules.examination import examine
from lightning_modules.fine_tuning import DivergedError, FineTuning
from lightning_modules.input_contract import InputContract
from lightning_modules.perturb import GaussianNoise, Perturb
from lightning_modules.regularisers import Regularisation
from lightning_modules.saved_model import load_saved, save_classifier
from lightning_modules.sources import SOURCES, load_classifier
from lightning_modules.tuning import Tuning

__all__ = [
    "ARCHITECTURES",
    "SOURCES",
    "Classifier",
    "DivergedError",
    "FineTuning",
    "GaussianNoise",
    "InputContract",
    "Inspection",
    "Perturb",
    "Regularisation",
    "Tuning",
    "build",
    "examine",
    "in_chunks",
    "inspect_checkpoint",
    "load_classifier",
    "load_saved",
    "save_classifier",
    "weight_average",
]
