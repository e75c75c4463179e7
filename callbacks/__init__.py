"""Probes: what is measured in the one pass over the test data, in families.

A new family is a folder and a line in `FAMILIES`; its probes, numbers, sentences and figures are
found there by `assay list`, `--probes`, presets, tables, plots, metric keys and contract tests.
"""

from collections.abc import Sequence

from callbacks import (
    adaptation,
    adversarial,
    camera,
    clean,
    corruption,
    damage,
    foreign,
    interpretability,
    missing,
    stability,
)
from callbacks.adaptation import AdaptationProbe
from callbacks.adversarial import (
    FGSM,
    PGD,
    AdversarialProbe,
    AdversarialTraining,
    FreeTraining,
    RandomStartFGSM,
    SoftLabelTraining,
)
from callbacks.budget import Budget
from callbacks.camera import CameraProbe
from callbacks.clean import Clean
from callbacks.corruption import AugMix, CorruptionProbe, CorruptionTraining
from callbacks.damage import DamageProbe
from callbacks.family import Entries, Entry, Family
from callbacks.foreign import ForeignProbe
from callbacks.interpretability import ExplanationProbe
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.missing import MissingProbe
from callbacks.probe import Probe
from callbacks.progress import EvaluationProgress
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.stability import StabilityProbe
from datamodules.image_datamodule import ImageDataModule

FAMILIES: dict[str, Family] = {
    "test": clean.FAMILY,
    "adversarial": adversarial.FAMILY,
    "corruption": corruption.FAMILY,
    "adaptation": adaptation.FAMILY,
    "camera": camera.FAMILY,
    "foreign": foreign.FAMILY,
    "missing": missing.FAMILY,
    "stability": stability.FAMILY,
    "damage": damage.FAMILY,
    "interpretability": interpretability.FAMILY,
}
"""By the prefix of their metric keys, in the order of the page."""


def probe_entries() -> Entries:
    """The probes of all families by name."""
    return {name: entry for family in FAMILIES.values() for name, entry in family.probes.items()}


def preset_probes(preset: str) -> list[str]:
    """Names of the probes that the families give to a preset."""
    return [name for family in FAMILIES.values() for name in family.presets.get(preset, ())]


def companions(probes: Sequence[Probe], budget: Budget) -> list[Probe]:
    """What the families measure beside these probes, so that their numbers can be believed."""
    return [one for family in FAMILIES.values() for one in family.companions(probes, budget)]


def brought(data: ImageDataModule, budget: Budget) -> list[Probe]:
    """The probes of the disturbed images that a data set brings with it."""
    return [one for family in FAMILIES.values() for one in family.brought(data, budget)]


__all__ = [
    "FAMILIES",
    "FGSM",
    "PGD",
    "AdaptationProbe",
    "AdversarialProbe",
    "AdversarialTraining",
    "AugMix",
    "Budget",
    "CameraProbe",
    "Clean",
    "CorruptionProbe",
    "CorruptionTraining",
    "DamageProbe",
    "Draw",
    "Entry",
    "EvaluationProgress",
    "ExplanationProbe",
    "Family",
    "ForeignProbe",
    "FreeTraining",
    "Measurement",
    "MissingProbe",
    "Probe",
    "Queries",
    "RandomStartFGSM",
    "Samples",
    "Setting",
    "SoftLabelTraining",
    "StabilityProbe",
    "brought",
    "companions",
    "preset_probes",
    "probe_entries",
]
