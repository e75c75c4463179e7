"""The perturbers of NRTK."""

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, ClassVar

from torch import Tensor

from callbacks.foreign.library import Kind, to_array, to_tensor
from datamodules.errors import UserError

_END = "Perturber"
_ROOT = "nrtk.impls.perturb_image"


@dataclass(frozen=True)
class NRTKPerturbers:
    """Perturbers of NRTK, by their own names and parameters (extra: nrtk)."""

    package: ClassVar[str] = "nrtk"
    extra: ClassVar[str] = "nrtk"
    bytes_only: ClassVar[bool] = True

    def names(self) -> list[str]:
        """See `Library`: those that can be used, with and without the ending `Perturber`."""
        full = {name for module in _modules() for name in dir(module) if name.endswith(_END)}
        return [*full, *(name.removesuffix(_END) for name in full)]

    def find(self, name: str) -> Kind | None:
        """See `Library`.

        Raises:
            UserError: it needs an extra of nrtk's, which its own sentence names.
        """
        full = name.removesuffix(_END) + _END
        try:  # modules answer for what they lack by an ImportError
            found = (getattr(module, full, None) for module in _modules())
            return next((kind for kind in found if kind is not None), None)
        except ImportError as error:
            raise UserError(f"nrtk:{name}: {str(error).splitlines()[0]}") from None

    def apply(self, kind: Kind, arguments: dict[str, Any], image: Tensor, seed: int) -> Tensor:
        """See `Library`; random perturbers are seeded when they are made.

        A seed that the user gives is the user's: then all images get the same numbers.
        """
        seeded = {"seed": seed} if "seed" in inspect.signature(kind).parameters else {}
        array = to_array(image)
        grey = array.shape[-1] == 1
        answer, _ = kind(**{**seeded, **arguments})(image=array[..., 0] if grey else array)
        return to_tensor(answer[..., None] if grey else answer)


@cache
def _modules() -> list[ModuleType]:
    """The public modules that have perturbers."""
    found = pkgutil.walk_packages(importlib.import_module(_ROOT).__path__, f"{_ROOT}.")
    public = [module.name for module in found if "._" not in module.name]
    return [importlib.import_module(name) for name in (_ROOT, *public)]
