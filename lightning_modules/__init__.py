"""The classifier, where it comes from, and what trains it."""

from lightning_modules.classifier import Classifier

__all__ = ["Classifier"]
