"""Damage of parameters, neurons and structure.

A new one is a file and a line in `DAMAGES`; probes, `assay recover` and the tests follow.
"""

from collections.abc import Callable
from typing import Any

from callbacks.damage.activation_fault import ActivationFault, FaultyNeurons
from callbacks.damage.bit_flip import BitError, BitFlip, StuckAt, StuckAtOne
from callbacks.damage.bit_flip_attack import BitFlipAttack
from callbacks.damage.channels import RemoveChannels, RemoveRandomChannels
from callbacks.damage.formats import FORMATS, stored_as
from callbacks.damage.kind import Damage
from callbacks.damage.layers import RemovedLayers, RemoveLayers
from callbacks.damage.noise import Noise
from callbacks.damage.probe import DamageProbe
from callbacks.damage.pruning import Prune, Pruned, PruneRandom
from callbacks.damage.quantise import Quantise
from callbacks.damage.randomise import Randomise
from callbacks.damage.record import Record
from callbacks.damage.selection import Selection
from callbacks.damage.shuffle import Shuffle
from callbacks.damage.sign_flip import SignFlip
from callbacks.damage.summary import summarise
from callbacks.damage.zero import Zero, ZeroEverywhere, ZeroLargest
from callbacks.family import Entries, Entry, Family, each

DAMAGES: dict[str, Callable[..., Damage]] = {
    "zero": Zero,
    "zero_largest": ZeroLargest,
    "zero_everywhere": ZeroEverywhere,
    "randomise": Randomise,
    "shuffle": Shuffle,
    "noise": Noise,
    "sign_flip": SignFlip,
    "bit_flip": BitFlip,
    "bit_error": BitError,
    "stuck_at": StuckAt,
    "stuck_at_one": StuckAtOne,
    "quantise": Quantise,
    "bit_flip_attack": BitFlipAttack,
}
"""Damage of parameters by name."""

STRUCTURE: dict[str, Callable[..., Any]] = {
    "prune": Prune,
    "prune_random": PruneRandom,
    "remove_channels": RemoveChannels,
    "remove_random_channels": RemoveRandomChannels,
    "remove_layers": RemoveLayers,
}
"""Damage of structure by name; called as `Damage`, their records apply and undo in the same way."""

PROBES: Entries = {
    **each(DAMAGES, DamageProbe, "damage"),
    "prune": Entry(DamageProbe, damage=Prune),
    "prune_random": Entry(DamageProbe, damage=PruneRandom),
    "bit_flip_by_bit": Entry(DamageProbe, damage=BitFlip, severities=(100,), by="bit"),
    "bit_flip_by_layer": Entry(DamageProbe, damage=BitFlip, severities=(10,), by="layer"),
    "activation_fault": Entry(DamageProbe, damage=ActivationFault),
}

FAMILY = Family(
    name="damage",
    title="Damaged",
    text=(
        "Weights or neurons are damaged at random and the same images are answered again. Bands "
        "are 95 % intervals over images and random draws, thin lines single draws."
    ),
    probes=PROBES,
    summarise=summarise,
    terms={
        "Silent errors": (
            "Silent data corruption: share of answers whose class differs from the undamaged "
            "model's, without any sign of it (Li et al. 2017)."
        ),
        "Detected errors": "Share of answers that are not finite, which a check would notice.",
    },
    headings={"sdc": "silent errors", "due": "detected errors"},
    presets={
        "regular": ("zero", "bit_flip"),
        "full": ("zero", "noise", "sign_flip", "bit_flip", "bit_error", "activation_fault"),
    },
)

__all__ = [
    "DAMAGES",
    "FAMILY",
    "FORMATS",
    "PROBES",
    "STRUCTURE",
    "ActivationFault",
    "BitError",
    "BitFlip",
    "BitFlipAttack",
    "Damage",
    "DamageProbe",
    "FaultyNeurons",
    "Noise",
    "Prune",
    "PruneRandom",
    "Pruned",
    "Quantise",
    "Randomise",
    "Record",
    "RemoveChannels",
    "RemoveLayers",
    "RemoveRandomChannels",
    "RemovedLayers",
    "Selection",
    "Shuffle",
    "SignFlip",
    "StuckAt",
    "StuckAtOne",
    "Zero",
    "ZeroEverywhere",
    "ZeroLargest",
    "stored_as",
]
