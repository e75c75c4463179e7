"""One rule of a policy, held against a run."""

from dataclasses import dataclass
from typing import Literal

from callbacks.statistics import NOTHING, Interval

Kind = Literal["thresholds", "baseline", "required"]


@dataclass(frozen=True)
class Check:
    """Whether a rule is kept.

    Args:
        kind: part of the policy.
        name: of the rule, once in a policy.
        passed: whether it is kept.
        said: a sentence: what was found, and why that is not enough where it is not.
        found: the number with its interval, where it is one.
        asked: what the rule asks for, in a few words.
        measured: whether there was anything to judge; what was not measured never passes.
    """

    kind: Kind
    name: str
    passed: bool
    said: str
    found: Interval = NOTHING
    asked: str = ""
    measured: bool = True


def not_measured(kind: Kind, name: str, why: str) -> Check:
    """A rule that fails because nothing was measured that it could be held against."""
    return Check(kind, name, False, why, measured=False)
