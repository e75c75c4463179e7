"""Damage: a new one is a file and a line in `DAMAGES`; probes, `assay recover` and tests follow."""

from collections.abc import Callable
from typing import Any

from callbacks.damage.activation_fault import ActivationFault, FaultyNeurons
from callbacks.damage.bit_flip import BitError, BitFlip, StuckAt
from callbacks.damage.bit_flip_attack import BitFlipAttack
from callbacks.damage.channels import RemoveChannels
from callbacks.damage.formats import FORMATS, stored_as
from callbacks.damage.kind import Damage
from callbacks.damage.layers import RemovedLayers, RemoveLayers
from callbacks.damage.noise import Noise
from callbacks.damage.probe import DamageProbe, damaged_by
from callbacks.damage.pruning import Prune, Pruned
from callbacks.damage.quantise import Quantise
from callbacks.damage.randomise import Randomise
from callbacks.damage.record import Record
from callbacks.damage.selection import Selection
from callbacks.damage.shuffle import Shuffle
from callbacks.damage.sign_flip import SignFlip
from callbacks.damage.zero import Zero

DAMAGES: dict[str, Callable[..., Damage]] = {
    "zero": Zero,
    "randomise": Randomise,
    "shuffle": Shuffle,
    "noise": Noise,
    "sign_flip": SignFlip,
    "bit_flip": BitFlip,
    "bit_error": BitError,
    "stuck_at": StuckAt,
    "quantise": Quantise,
    "bit_flip_attack": BitFlipAttack,
}
"""Damage of parameters by name."""

STRUCTURE: dict[str, Callable[..., Any]] = {
    "prune": Prune,
    "remove_channels": RemoveChannels,
    "remove_layers": RemoveLayers,
}
"""Damage of structure by name; called as `Damage`, their records apply and undo in the same way."""

__all__ = [
    "DAMAGES",
    "FORMATS",
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
    "Pruned",
    "Quantise",
    "Randomise",
    "Record",
    "RemoveChannels",
    "RemoveLayers",
    "RemovedLayers",
    "Selection",
    "Shuffle",
    "SignFlip",
    "StuckAt",
    "Zero",
    "damaged_by",
    "stored_as",
]
