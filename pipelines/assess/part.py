"""How far each question of an assessment has come."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["answered", "not yet", "not tested", "failed"]


@dataclass(frozen=True)
class AssessedPart:
    """One question of an assessment.

    Args:
        question: its name.
        status: how far it has come.
        why: it was not tested, or failed.
        settings: what was asked, in words.
        predicted: seconds, before anything ran.
        seconds: that it took; not a number before it has.
    """

    question: str
    status: Status = "not yet"
    why: str = ""
    settings: str = ""
    predicted: float = float("nan")
    seconds: float = float("nan")

    @property
    def told(self) -> str:
        """Status and reason, for tables."""
        return f"{self.status}: {self.why}" if self.why else self.status
