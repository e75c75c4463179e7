"""The classifier, where it comes from, and what trains it."""

from lightning_modules.architectures import ARCHITECTURES, build
from lightning_modules.checkpoint_inspection import Inspection, inspect_checkpoint
from lightning_modules.chunks import in_chunks
from lightning_modules.classifier import Classifier
from lightning_modules.saved_model import load_saved, save_classifier
from lightning_modules.sources import SOURCES, load_classifier

__all__ = [
    "ARCHITECTURES",
    "SOURCES",
    "Classifier",
    "Inspection",
    "build",
    "in_chunks",
    "inspect_checkpoint",
    "load_classifier",
    "load_saved",
    "save_classifier",
]
