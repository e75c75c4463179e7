"""A student that begins with chosen layers of its teacher."""

from collections.abc import Sequence

from torch import nn

from datamodules.errors import UserError
from lightning_modules.distillation.answers import layer


def pairs(layers: Sequence[str]) -> list[tuple[str, str]]:
    """Reads `NAME`, the same layer in both, or `STUDENTS=TEACHERS`."""
    return [(pair.partition("=")[0], pair.rpartition("=")[2]) for pair in layers]


def initialise_from(student: nn.Module, teacher: nn.Module, layers: Sequence[str]) -> None:
    """Copies weights and statistics of layers into a student.

    Args:
        student: network, changed in place.
        teacher: network.
        layers: names, or `STUDENTS=TEACHERS`.

    Raises:
        UserError: a layer is not there, or of another shape.
    """
    for own, its in pairs(layers):
        target, source = layer(student, own).state_dict(), layer(teacher, its).state_dict()
        shapes, given = ({k: tuple(v.shape) for k, v in s.items()} for s in (target, source))
        if shapes != given:
            raise UserError(
                f"Expected layers of one shape for `distillation.init_from` {own}={its}, but the "
                f"student's has {_said(shapes)} and the teacher's {_said(given)}."
            )
        layer(student, own).load_state_dict(source)


def _said(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in list(shapes.items())[:3]) or "no weights"
