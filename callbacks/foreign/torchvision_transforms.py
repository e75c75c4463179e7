"""The transforms of torchvision."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torchvision.transforms import v2

from callbacks.foreign.library import Kind


@dataclass(frozen=True)
class TorchvisionTransforms:
    """Transforms of torchvision.transforms.v2, by their own names and parameters."""

    package: ClassVar[str] = "torchvision"
    extra: ClassVar[str] = ""
    bytes_only: ClassVar[bool] = False

    def names(self) -> list[str]:
        """See `Library`."""
        return [
            name
            for name, kind in vars(v2).items()
            if isinstance(kind, type) and issubclass(kind, v2.Transform) and kind != v2.Transform
        ]

    def find(self, name: str) -> Kind | None:
        """See `Library`."""
        return getattr(v2, name) if name in self.names() else None

    def apply(self, kind: Kind, arguments: dict[str, Any], image: Tensor, seed: int) -> Tensor:
        """See `Library`; its randomness is that of torch's global generator."""
        return kind(**arguments)(image)
