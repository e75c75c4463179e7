"""The libraries whose transforms can be corruptions, by name."""

from callbacks.foreign.albumentations_transforms import AlbumentationsTransforms
from callbacks.foreign.library import Library
from callbacks.foreign.nrtk_perturbers import NRTKPerturbers
from callbacks.foreign.torchvision_transforms import TorchvisionTransforms

LIBRARIES: dict[str, type[Library]] = {
    "torchvision": TorchvisionTransforms,
    "albumentations": AlbumentationsTransforms,
    "nrtk": NRTKPerturbers,
}
"""By the word before the colon of a specification."""
