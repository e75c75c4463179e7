"""AutoAttack: four attacks that fail in different ways, one after another on what is left."""

import time
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.adversarial.active import Active
from callbacks.adversarial.apgd import APGD, TargetedAPGD
from callbacks.adversarial.attack import About, Attack, AttackResult, Objective, about
from callbacks.adversarial.fab import FAB, TargetedFAB
from callbacks.adversarial.square import Square
from callbacks.adversarial.threat_models import ThreatModel, beside
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

Version = Literal["standard", "plus", "rand"]
_COSTS = ("forwards", "backwards", "seconds")


@dataclass(frozen=True)
class AutoAttack:
    """The ensemble that robust accuracy is reported by (Croce & Hein 2020, 2003.01690).

    Each stage starts from the clean images that no stage before it has broken. A verdict after the
    first two stages is close to the last one at a fraction of the time; the others certify it. Only
    at the budgets of the definition is it called by its name.

    Args:
        version: "standard"; "plus", with more restarts and both untargeted losses; "rand", which
            averages 20 answers, for models that answer at random.
        steps: of each run of APGD and FAB, 100.
        queries: of the square attack, 5000.
        targets: classes that APGD-T and FAB-T move towards, 9 (APGD-T in L1: 5).
        eot: answers averaged by "rand", 20.
    """

    keeps_budget: ClassVar[bool] = True
    """Presets do not change what it spends."""
    version: Version = "standard"
    steps: int = 100
    queries: int = 5000
    targets: int = 9
    eot: int = 20

    def __post_init__(self) -> None:
        """Refuses versions that there are not, and budgets of nothing."""
        if self.version not in ("standard", "plus", "rand"):
            raise UserError(
                f"Expected `version` to be one of standard, plus, rand, but got {self.version!r}."
            )
        self.stages("linf")  # each refuses what it cannot do

    @property
    def about(self) -> About:
        """Called by the version only where nothing was changed."""
        changed = self._changed()
        name, title = f"autoattack_{self.version}", f"AutoAttack {self.version}"
        if changed:
            less = any(getattr(self, field) < full for field, full in changed.items())
            word = "reduced" if less else "enlarged"
            parts = ", ".join(f"{getattr(self, field):,} {field}" for field in changed)
            name, title = f"autoattack_{word}", f"AutoAttack ({word}: {parts})"
        stages = self.stages("l1") + self.stages("linf")
        forwards = sum(1 + about(attack).forwards for attack in self.stages("linf"))
        names = dict.fromkeys(about(attack).name for attack in stages)
        columns = [f"{stage}_{cost}" for stage in names for cost in _COSTS]
        return About(
            name.removesuffix("_standard"), title, targeted=False, climbs=False, forwards=forwards,
            columns=("stage", *columns),
        )  # fmt: skip

    @property
    def gradients(self) -> int:
        """Those of all stages, for Linf and L2."""
        return sum(attack.gradients for attack in self.stages("linf"))

    def certificate(self, norm: str) -> str:
        """What is spent at most on an image, stage by stage."""
        return "; ".join(_spelt(attack) for attack in self.stages(norm))

    def fitted(self, classes: int, deterministic: bool) -> tuple["AutoAttack", str]:
        """What becomes of it for a model, and what has to be said of that.

        Args:
            classes: of the model.
            deterministic: whether it gives one answer to an image asked about twice.
        """
        notes = []
        version = self.version
        if not deterministic:
            version = "rand"
            notes.append(
                "The model answers at random, so AutoAttack rand was run, which averages "
                f"{self.eot} answers at every step; its rows are not the same in every run."
            )
        if classes < 4:
            notes.append(
                f"The DLR losses need 3 classes, the targeted one 4: with {classes} AutoAttack "
                "follows margins between logits instead."
            )
        if version != "rand" and classes <= self.targets:
            notes.append(
                f"AutoAttack moves towards {classes - 1} other classes, all that there are, not "
                f"{self.targets}."
            )
        return replace(self, version=version), " ".join(notes)

    def stages(self, norm: str) -> list[Attack]:
        """The attacks, in their order."""
        runs = 5 if norm == "l1" or self.version == "plus" else 1
        ce, dlr = APGD(self.steps, runs), APGD(self.steps, runs, "dlr")
        if self.version == "rand":
            return [replace(attack, restarts=1, eot=self.eot) for attack in (ce, dlr)]
        targets = min(self.targets, 5) if norm == "l1" else self.targets
        towards, fab = TargetedAPGD(self.steps, targets), TargetedFAB(self.steps, self.targets)
        square = Square(self.queries)
        if self.version == "plus":
            return [ce, dlr, FAB(self.steps, restarts=5), square, towards, fab]
        return [ce, towards, fab, square]

    def __call__(
        self,
        model: Queries,
        image: Tensor,
        label: Tensor,
        threat: ThreatModel,
        draw: Draw,
        *,
        target: Tensor | None = None,
        objective: Objective = "verdict",
    ) -> AttackResult:
        """Runs every stage on what is left; for objective "loss", on everything."""
        so_far = _SoFar(image, label, objective)
        for attack in self.stages(threat.norm):
            rows = so_far.left()
            start = time.perf_counter()
            if len(rows):
                part = image[rows], label[rows], threat, draw.select(rows)
                so_far.take(model, rows, attack(model, *part, objective=objective))
            so_far.close(about(attack).name, rows, time.perf_counter() - start)
        return so_far.result(self.about.columns)

    def _changed(self) -> dict[str, int]:
        """The budgets that are not those of the definition, with what they would be."""
        names = ("steps", "eot") if self.version == "rand" else ("steps", "queries", "targets")
        full = AutoAttack.__dataclass_fields__
        return {n: full[n].default for n in names if getattr(self, n) != full[n].default}


class _SoFar:
    """What the stages have found, and what each has spent on every image."""

    def __init__(self, image: Tensor, label: Tensor, objective: Objective) -> None:
        self.label, self.objective = label, objective
        self.image, self.worst = image.clone(), image.clone()
        self.highest = torch.full((len(image),), -torch.inf, device=image.device)
        self.stage = torch.zeros_like(label)
        self.number = 1
        self.steps, self.forwards, self.backwards = (torch.zeros_like(label) for _ in range(3))
        self.columns: dict[str, Tensor] = {}

    def left(self) -> Tensor:
        """Positions of the images for the next stage."""
        left = self.stage == 0 if self.objective == "verdict" else torch.ones_like(self.stage) > 0
        return left.nonzero().squeeze(1)

    def take(self, model: Queries, rows: Tensor, result: AttackResult) -> None:
        """Asks the model about what a stage returned for the images `rows`."""
        logits, label = model(result.image), self.label[rows]
        broken = Active.all(result.image, label).broken(logits)
        first = broken & (self.stage[rows] == 0)
        keep = first | (self.number == 1)  # where nothing breaks an image, that of highest loss
        self.image[rows] = torch.where(beside(keep), result.image, self.image[rows])
        self.stage[rows] = torch.where(first, self.number, self.stage[rows])
        self.steps[rows] += result.steps
        self.forwards[rows] += result.forwards + 1
        if result.backwards is not None:
            self.backwards[rows] += result.backwards
        if self.objective == "loss":
            loss = F.cross_entropy(model(result.worst), label, reduction="none")
            higher = loss > self.highest[rows]
            self.worst[rows] = torch.where(beside(higher), result.worst, self.worst[rows])
            self.highest[rows] = torch.where(higher, loss, self.highest[rows])
            self.forwards[rows] += 1

    def close(self, name: str, rows: Tensor, seconds: float) -> None:
        """Ends a stage: what it cost is what all cost, less what the stages before did."""
        each = torch.zeros(len(self.label), device=self.label.device)
        each[rows] = seconds / max(len(rows), 1)
        totals = (self.steps + self.forwards, self.steps + self.backwards)
        for cost, total in zip(_COSTS, totals, strict=False):
            earlier = sum(column for n, column in self.columns.items() if n.endswith(cost))
            self.columns[f"{name}_{cost}"] = total - earlier
        self.columns[f"{name}_seconds"] = each
        self.number += 1

    def result(self, columns: tuple[str, ...]) -> AttackResult:
        """What the whole returns."""
        worst = self.worst if self.objective == "loss" else self.image
        told = {"stage": self.stage, **self.columns}
        return AttackResult(
            self.image, worst, self.steps, self.forwards, self.backwards,
            {name: told[name] for name in columns},
        )  # fmt: skip


def _spelt(attack: Attack) -> str:
    """`APGD-T 9 targets x 100 steps`."""
    counts = {
        name: getattr(attack, name)
        for name in ("restarts", "targets", "steps", "queries", "eot")
        if getattr(attack, name, 1) > 1
    }
    words = {"restarts": "runs", "eot": "answers averaged"}
    return f"{about(attack).title} " + " x ".join(
        f"{count:,} {words.get(name, name)}" for name, count in counts.items()
    )
