"""What a gate says of a run: every rule with what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from callbacks.words import DASH, ends, number
from pipelines.gate.check import Check
from pipelines.gate.policy import Policy
from pipelines.gate.regression import baseline_checks
from pipelines.gate.thresholds import required_checks, threshold_check
from pipelines.report.result import Result, strict_json
from pipelines.report.sections import Cell, Sheet


@dataclass(frozen=True)
class Verdict:
    """Every rule of a policy, held against a run.

    Args:
        title: of the run.
        run: its MLflow id, or the folder that it was read from.
        baseline: the same of what it was compared with; empty where with nothing.
        checks: a rule each.
    """

    title: str
    run: str
    baseline: str
    checks: Sequence[Check]

    @property
    def passed(self) -> bool:
        """Whether every rule is kept."""
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> list[Check]:
        """Rules that are not kept."""
        return [check for check in self.checks if not check.passed]

    @property
    def sheet(self) -> Sheet:
        """For the terminal."""
        columns = ["rule", "", "value", "asked"]
        lines = [[check.name, _word(check), _value(check), check.asked] for check in self.checks]
        kinds = [check.kind for check in self.checks]
        groups = frozenset(i for i, kind in enumerate(kinds) if kind != kinds[i - 1])
        return Sheet(columns, lines, f"Gate: {self.title}", in_terminal=True, groups=groups)

    def sentences(self) -> list[str]:
        """What failed and why, what the comparisons could have shown, and the verdict."""
        told = [check for check in self.checks if not check.passed or check.kind == "baseline"]
        against = f" against {self.baseline}" if self.baseline else ""
        kept = len(self.checks) - len(self.failed)
        word = "passes" if self.passed else "fails"
        return [
            *(f"{_word(check).upper()} {check.name}: {check.said}" for check in told),
            f"The run {word}: {kept} of {len(self.checks)} rules are kept{against}.",
        ]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return strict_json({**asdict(self), "passed": self.passed})


def judged(
    policy: Policy, result: Result, base: Result | None, names: Mapping[str, str]
) -> Verdict:
    """Holds a run against a policy.

    Args:
        policy: with a baseline only where `base` is given.
        result: of any question.
        base: to compare with.
        names: `run` and `baseline`: what they were read from.
    """
    checks = [*required_checks(policy.required, result)]
    checks += [threshold_check(one, result) for one in policy.thresholds]
    if policy.baseline is not None and base is not None:
        checks += baseline_checks(policy.baseline, base, result)
    return Verdict(result.title, names["run"], names.get("baseline", ""), checks)


def _word(check: Check) -> str:
    return "pass" if check.passed else "fail" if check.measured else "not measured"


def _value(check: Check) -> Cell:
    value, low, high = check.found
    if value != value:
        return Cell(DASH)
    digits = 1 if check.kind == "baseline" else 3
    return Cell(number(value, digits), ends(low, high, digits=digits))
