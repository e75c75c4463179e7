"""A transform of another library as a corruption."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.foreign.library import Library, completed, version
from callbacks.foreign.registry import LIBRARIES
from callbacks.foreign.specification import Specification, specification
from callbacks.randomness import Draw
from datamodules.errors import UserError, suggestion

_SLACK = 1e-3
"""By which values may miss [0, 1]: sums of float32."""


@dataclass(frozen=True)
class ForeignTransform:
    """A transform of another library, applied to one image at a time on the CPU.

    Its random numbers belong to the sample: before every image all generators that it may use are
    seeded by the run's seed and the sample's index, and set back afterwards.

    Args:
        specification: of the transform, completed.
        as_bytes: whether it is given uint8 values in place of float32 ones.
    """

    specification: Specification
    as_bytes: bool

    @classmethod
    def of(cls, text: str) -> Self:
        """Reads a specification and looks the transform up.

        Raises:
            UserError: there is no such library, class or parameter, or it cannot be made.
        """
        wanted = specification(text)
        if wanted.library not in LIBRARIES:
            raise UserError(
                f"Expected a transform of {', '.join(LIBRARIES)}, as torchvision:GaussianBlur, but "
                f"got {text!r}.{suggestion(wanted.library, LIBRARIES)}"
            )
        library = LIBRARIES[wanted.library]()
        return cls(completed(wanted, library), library.bytes_only)

    @property
    def library(self) -> Library:
        """That it is of."""
        return LIBRARIES[self.specification.library]()

    def __repr__(self) -> str:
        """Everything that decides its answers."""
        kind = "8-bit" if self.as_bytes else "float"
        return f"{self.specification}, {version(self.library.package)}, given {kind} images"

    def __call__(
        self, image: Tensor, severity: float, draw: Draw, constants_for: int | None = None
    ) -> Tensor:
        """Returns `(N, C, H, W)` images in whole grey levels k/255, rounded.

        Args:
            image: `(N, C, H, W)` float32 in [0, 1].
            severity: 0 returns the images as they are; else the place of a value, from 1.
            draw: of the N samples.
            constants_for: not asked for, there are none.

        Raises:
            UserError: the transform fails, or its answer is no image of this size and type.
        """
        levels = self.specification.levels
        if severity == 0:
            return image
        if severity not in range(1, len(levels) + 1):
            raise UserError(
                f"Expected `severity` to be a whole number from 0 to {len(levels)}, the values of "
                f"{self.specification}, but got {severity:g}."
            )
        arguments, cpu = levels[int(severity) - 1], image.detach().cpu()
        seeds = _seeds(draw)
        changed = [self._one(*pair, arguments) for pair in zip(cpu, seeds, strict=True)]
        return torch.stack(changed).to(image) if changed else image

    def fitting(self, image: Tensor) -> Self:
        """Tries all severities on an image, and 8-bit values where float ones are refused.

        Args:
            image: `(1, C, H, W)`.

        Raises:
            UserError: it fails on both.
        """
        draw = Draw(0, torch.zeros(1, dtype=torch.long, device=image.device))
        severities = range(1, len(self.specification.levels) + 1)
        try:
            for severity in severities:
                self(image, severity, draw)
        except UserError as first:
            if self.as_bytes:
                raise
            try:
                return replace(self, as_bytes=True).fitting(image)
            except UserError:
                raise first from None
        return self

    def _one(self, image: Tensor, seed: int, arguments: dict[str, Any]) -> Tensor:
        """Transforms one image `(C, H, W)` with the arguments of a severity."""
        given = (255 * image).round().byte() if self.as_bytes else image.clone()
        kind = self.library.find(self.specification.name)
        assert kind is not None, "`completed` has found it"
        try:
            with seeded(seed), torch.no_grad():
                answer = self.library.apply(kind, arguments, given.clone(), seed)
        except UserError:
            raise
        except Exception as error:  # whatever a library raises, the user's words made it
            said = (str(error).strip(" .\n") or type(error).__name__).splitlines()
            raise self._mistake(given, arguments, f"it fails: {' '.join(said)[:300]}") from None
        self._check(given, arguments, answer)
        return ((answer.float() if self.as_bytes else 255 * answer).round() / 255).clamp(0, 1)

    def _check(self, given: Tensor, arguments: dict[str, Any], answer: Any) -> None:
        """Refuses what is no image like the one given."""
        if not isinstance(answer, Tensor):
            raise self._mistake(
                given, arguments, f"it answers no image but {type(answer).__name__}"
            )
        if answer.shape != given.shape or answer.dtype != given.dtype:
            raise self._mistake(
                given, arguments, f"it answers {answer.dtype} {tuple(answer.shape)}, and a "
                "corruption must keep size and type",
            )  # fmt: skip
        if self.as_bytes:
            return
        low, high = float(answer.min()), float(answer.max())
        if not (low >= -_SLACK and high <= 1 + _SLACK):  # NaN too
            raise self._mistake(
                given, arguments, f"it answers values from {low:g} to {high:g}, and a corruption "
                "must keep to [0, 1]",
            )  # fmt: skip

    def _mistake(self, given: Tensor, arguments: dict[str, Any], why: str) -> UserError:
        told = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        what = f"{self.specification.library}:{self.specification.name}({told})"
        return UserError(f"{what} on an image of {given.dtype} {tuple(given.shape)}: {why}.")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds the global generators of Python, numpy and torch's CPU, and sets them back at the end.

    Args:
        seed: in [0, 2³²).
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # not those of GPUs, which `torch.manual_seed` seeds
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _seeds(draw: Draw) -> list[int]:
    """A seed of 32 bits for every sample, from its seed and index."""
    high, low = (draw.uniform("foreign", 0, (2,)).double() * 2**16).long().unbind(1)
    return (high * 2**16 + low).tolist()
