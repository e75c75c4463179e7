"""How often a single damage silently changes a single answer, injected until it is known."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.func import functional_call

from callbacks.damage import Damage, Record
from callbacks.damage.injections import sample_size, until_known
from callbacks.damage.probe import SilentErrors
from datamodules.errors import UserError
from pipelines.recover.subject import Subject, TrainingData


def silent_error_rate(
    subject: Subject, damage: Damage | TrainingData, severity: float, error: float, seed: int = 0
) -> dict[str, Any]:
    """Injects damage, every time another draw and another image, until the rate is known.

    Args:
        subject: model and images.
        damage: of parameters.
        severity: in its unit.
        error: half-width of Wilson's 95 % interval to stop at.
        seed: of the draws.

    Returns:
        `severity sdc sdc_low sdc_high injections`, and `needed`: what a fixed sample of all weights
        or bits would take at the worst rate (Leveugle et al., DATE 2009).

    Raises:
        UserError: damage that is not of parameters.
    """
    if not 0 < error < 0.5:
        raise UserError(f"Expected `inject_until` in (0, 0.5), but got {error:g}.")
    outcomes = _outcomes(subject, damage, severity, seed)
    found, n = until_known(outcomes, error)
    population = sum(p.numel() for p in subject.stored.original.parameters())
    if hasattr(damage, "population"):
        population = damage.population(subject.stored.original)  # type: ignore[union-attr]
    ends = dict(zip(("sdc", "sdc_low", "sdc_high"), found, strict=True))
    needed = sample_size(population, error)
    return {"severity": severity, **ends, "injections": n, "needed": needed}


@torch.no_grad()
def _outcomes(
    subject: Subject, damage: Damage | TrainingData, severity: float, seed: int
) -> Iterator[bool]:
    """Yields whether an injection changed an answer without a sign; without end."""
    original, images = subject.stored.original.eval(), subject.judged.image
    if isinstance(damage, TrainingData) or damage.name == "bit_flip_attack":
        raise UserError(f"Only random damage of weights can be injected, not {damage.name!r}.")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    draw = 0
    while True:
        record = damage(original, severity, seed + draw)
        if not isinstance(record, Record):
            raise UserError(f"Only random damage of weights can be injected, not {damage.name!r}.")
        row = order[draw % len(order)]
        image = images[row : row + 1].to(original.device)
        answer = functional_call(original, record.damaged(original.state_dict()), (image,))
        yield bool(SilentErrors(original(image))(answer)["sdc"])
        draw += 1
