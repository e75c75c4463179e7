"""What stands beside an adaptation, so that its gain can be believed."""

from collections.abc import Sequence
from dataclasses import replace

from callbacks.adaptation.adaptation import Adaptation, Unadapted, is_foreign
from callbacks.adaptation.batch_norm import BatchNorm
from callbacks.adaptation.probe import AdaptationProbe
from callbacks.adaptation.stream import Order
from callbacks.budget import Budget
from callbacks.probe import Probe

SMALL = 8
"""Images in a small batch."""


def controls_beside(probes: Sequence[Probe], budget: Budget) -> list[Probe]:
    """The controls of every adaptation that is measured without one of its own.

    These are the network as it is, the same adaptation on a stream that comes class after class,
    in batches of `SMALL`, and, of batch norm, with statistics of another corruption. All are
    measured on the same images and cells, the clean ones among them.

    Args:
        probes: of a run; an adaptation with a `label` brings controls of that name.
        budget: not asked for: what the adaptation may spend, its controls may.
    """
    beside: dict[str, Probe] = {}
    for probe in probes:
        if isinstance(probe, AdaptationProbe) and is_plain(probe):
            for control in _of(probe):
                beside.setdefault(control.name, control)
    there = {probe.name for probe in probes}
    return [control for name, control in beside.items() if name not in there]


def is_plain(probe: AdaptationProbe) -> bool:
    """Whether it is an adaptation, and not itself a control."""
    adaptation = probe.adaptation
    adapts = not isinstance(adaptation, Unadapted) and not is_foreign(adaptation)
    return adapts and probe.order == "mixed" and probe.batch > SMALL


def _of(probe: AdaptationProbe) -> list[AdaptationProbe]:
    name, adaptation = probe.name, probe.adaptation
    controls = [
        _like(probe, Unadapted(), "adaptation_none"),
        _like(probe, adaptation, f"{name}_sorted", order="sorted"),
        _like(probe, adaptation, f"{name}_small", batch=SMALL),
    ]
    if isinstance(adaptation, BatchNorm) and len(probe.corruptions) > 1:
        controls.append(_like(probe, replace(adaptation, foreign=True), f"{name}_foreign"))
    return controls


def _like(
    probe: AdaptationProbe,
    adaptation: Adaptation,
    label: str,
    order: Order = "mixed",
    batch: int | None = None,
) -> AdaptationProbe:
    return AdaptationProbe(
        adaptation,
        probe.corruptions,
        probe.severities,
        batch or probe.batch,
        order,
        label,
        limit=probe.limit,
        chunk=probe.most,
        pool=probe.pool,
        seed=probe.seed,
    )
