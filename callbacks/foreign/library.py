"""Another library of transforms: how its classes are found and how one is applied to an image."""

import importlib.metadata
import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from callbacks.foreign.specification import Specification
from datamodules.errors import UserError, suggestion

Kind = Callable[..., Any]
"""The class of a transform."""


class Library(Protocol):
    """A library of transforms that work on one image on the CPU."""

    package: ClassVar[str]
    """That is imported."""
    extra: ClassVar[str]
    """Of Assay's that brings it; "" where Assay needs it anyway."""
    bytes_only: ClassVar[bool]
    """Whether it is given uint8 values only; else float32, and uint8 where these are refused."""

    def names(self) -> list[str]:
        """Of its transforms; the package is installed."""
        ...

    def find(self, name: str) -> Kind | None:
        """The class of a name; None where there is none."""
        ...

    def apply(self, kind: Kind, arguments: dict[str, Any], image: Tensor, seed: int) -> Tensor:
        """Makes a transform and changes one image.

        Args:
            kind: its class.
            arguments: of the class.
            image: `(C, H, W)` float32 in [0, 1], or uint8.
            seed: of generators of its own; the global ones are seeded already.

        Returns:
            What the transform answers, which need not be an image.
        """
        ...


@cache  # looks at everything that is installed
def version(package: str) -> str:
    """The distributions that a package is of, with their versions."""
    owners = importlib.metadata.packages_distributions().get(package, [package])
    return " ".join(f"{owner} {importlib.metadata.version(owner)}" for owner in sorted({*owners}))


def completed(wanted: Specification, library: Library) -> Specification:
    """Checks a specification against the class, and makes it do something to every image.

    Transforms that toss a coin whether they do anything (`p=0.5`) get `p=1` unless it is given.

    Raises:
        UserError: the library is missing, or has no such class or parameter.
    """
    if importlib.util.find_spec(library.package) is None:
        raise UserError(
            f"`{wanted}` needs {library.package}, which is not installed: pip install "
            f"'assay[{library.extra}]'"
        )
    kind = library.find(wanted.name)
    if kind is None:
        names = library.names()
        raise UserError(
            f"{library.package} has no transform {wanted.name!r}."
            + (_near(wanted.name, names) or f" It has: {', '.join(sorted(names))}")
        )
    known = inspect.signature(kind).parameters
    open_ended = any(one.kind is one.VAR_KEYWORD for one in known.values())
    for name in () if open_ended else wanted.levels[0]:
        if name not in known:
            raise UserError(
                f"{library.package}'s {wanted.name} has no parameter {name!r}."
                f"{_near(name, list(known))} It has: {', '.join(known) or 'none'}"
            )
    if "p" in known and "p" not in wanted.levels[0]:
        return replace(wanted, fixed=(*wanted.fixed, ("p", 1.0)))
    return wanted


def _near(word: str, known: list[str]) -> str:
    """A suggestion, where there is one."""
    return suggestion(word, known).partition(" Known:")[0]


def to_array(image: Tensor) -> np.ndarray:
    """`(H, W, C)`, contiguous and of its own: transforms may write into it."""
    return image.movedim(0, -1).contiguous().clone().numpy()


def to_tensor(array: Any) -> Any:
    """`(C, H, W)` of what `to_array` makes; anything else stays what it is."""
    if not isinstance(array, np.ndarray) or array.ndim != 3:
        return array
    return torch.from_numpy(np.ascontiguousarray(array)).movedim(-1, 0)
