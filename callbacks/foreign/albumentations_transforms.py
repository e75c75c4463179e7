"""The transforms of Albumentations."""

import importlib
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from callbacks.foreign.library import Kind, to_array, to_tensor


@dataclass(frozen=True)
class AlbumentationsTransforms:
    """Transforms of Albumentations, by their own names and parameters (extra: albumentations)."""

    package: ClassVar[str] = "albumentations"
    extra: ClassVar[str] = "albumentations"
    bytes_only: ClassVar[bool] = True

    def names(self) -> list[str]:
        """See `Library`."""
        package = importlib.import_module(self.package)
        base = package.BasicTransform
        return [
            name
            for name, kind in vars(package).items()
            if isinstance(kind, type) and issubclass(kind, base) and kind is not base
        ]

    def find(self, name: str) -> Kind | None:
        """See `Library`."""
        known = name in self.names()
        return getattr(importlib.import_module(self.package), name) if known else None

    def apply(self, kind: Kind, arguments: dict[str, Any], image: Tensor, seed: int) -> Tensor:
        """See `Library`; a transform has generators of its own, which can be seeded."""
        transform = kind(**arguments)
        transform.set_random_seed(seed)
        return to_tensor(transform(image=to_array(image))["image"])
