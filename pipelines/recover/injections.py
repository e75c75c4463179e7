"""How often a single damage silently changes a single answer, injected until it is known."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.func import functional_call

from callbacks.damage import Damage
from callbacks.damage.injections import sample_size, until_known
from callbacks.damage.probe import SilentErrors
from pipelines.recover.original import Original


def silent_error_rate(
    original: Original, damage: Damage, severity: float, error: float, seed: int = 0
) -> dict[str, Any]:
    """Injects damage, every time another draw and another image, until the rate is known.

    Args:
        original: model and images.
        damage: random and of parameters; see `Plan.check`.
        severity: in its unit.
        error: half-width of Wilson's 95 % interval to stop at.
        seed: of the draws.

    Returns:
        `severity sdc sdc_low sdc_high injections`, and `needed`: what a fixed sample of all weights
        or bits would take at the worst rate (Leveugle et al., DATE 2009).
    """
    outcomes = _outcomes(original, damage, severity, seed)
    share, injections = until_known(outcomes, error)
    population = sum(weight.numel() for weight in original.classifier.parameters())
    if hasattr(damage, "population"):
        population = damage.population(original.classifier)  # type: ignore[attr-defined]
    counts = {"injections": injections, "needed": sample_size(population, error)}
    return {"severity": severity, **share.columns("sdc"), **counts}


@torch.no_grad()
def _outcomes(original: Original, damage: Damage, severity: float, seed: int) -> Iterator[bool]:
    """Yields whether an injection changed an answer without a sign; without end."""
    classifier, images = original.classifier, original.test.image
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    draw = 0
    while True:
        record = damage(classifier, severity, seed + draw)
        row = order[draw % len(order)]
        image = images[row : row + 1].to(classifier.device)
        answer = functional_call(classifier, record.damaged(classifier.state_dict()), (image,))
        yield bool(SilentErrors(classifier(image))(answer)["sdc"])
        draw += 1
