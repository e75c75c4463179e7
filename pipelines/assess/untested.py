"""What an assessment did not test, so that silence is not read as health."""

from collections.abc import Iterator, Sequence

from callbacks import FAMILIES
from pipelines.assess.part import AssessedPart
from pipelines.assess.questions import QUESTIONS
from pipelines.assess.verdict import Answers
from pipelines.distill.controls import CONTROLS
from pipelines.evaluate.result import Evaluation
from pipelines.recover.damages import known_damages
from pipelines.recover.strategies import STRATEGIES
from pipelines.report.sections import Section
from pipelines.transfer.recipe import MODES

_ALWAYS = ("nothing", "untouched")
"""What stands beside everything that is tried."""
_NO_DAMAGE = ("test", "adaptation", "foreign", "interpretability")
"""Families that are no disturbance, or that the monitorability question asks."""


def untested_section(
    answers: Answers, parts: Sequence[AssessedPart], settings: dict[str, dict[str, object]]
) -> Section:
    """Questions left out, families and methods not tried, and samples left out.

    Args:
        answers: by question.
        parts: of all questions.
        settings: what the preset asks of each question.
    """
    notes = [f"{QUESTIONS[part.question].title}: {part.told}" for part in parts if part.why]
    waiting = [QUESTIONS[part.question].title for part in parts if part.status == "not yet"]
    notes += [f"Not yet: {', '.join(waiting)}."] if waiting else []
    asked = [settings.get(question, {}) for question in ("recoverability", "variability")]
    left = [question for question in QUESTIONS if question not in {p.question for p in parts}]
    notes += [f"Not asked: {', '.join(left)}."] if left else []
    if isinstance(pass_ := answers.get("robustness"), Evaluation):
        notes += _families(pass_)
    if "recoverability" in answers:
        notes += _others("Damages", known_damages(), [asked[0].get("damage", "zero")])
        notes += _others("Repairs", STRATEGIES, asked[0].get("strategies") or [*STRATEGIES])
    if "variability" in answers:
        notes += _others("Ways to transfer", MODES, asked[1].get("modes", ["probe"]))
    if "distillation" in answers:
        tried = settings.get("distillation", {}).get("controls", [])
        notes += _others("Controls of the distillation", CONTROLS, tried)
    samples = [
        f"{QUESTIONS[question].title}: {note}"
        for question, answer in answers.items()
        for note in answer.about.notes
        if "measured on" in note and "samples" in note
    ]
    text = "What no number of this page speaks of."
    return Section("What was not tested", text, notes=[*notes, *samples])


def _families(evaluation: Evaluation) -> Iterator[str]:
    """Families of disturbances without a probe, and how many probes of the others were not run."""
    names = {result.name for result in evaluation.results}
    missing = [
        family.title.lower()
        for name, family in FAMILIES.items()
        if name not in evaluation.families and name not in _NO_DAMAGE and family.probes
    ]
    if missing:
        yield f"No probe at all: {', '.join(missing)}."
    for name in evaluation.families:
        known = FAMILIES[name].probes if name in FAMILIES and name != "test" else {}
        if left := [one for one in known if not {one, f"{one}_linf"} & names]:
            few = ", ".join(left[:6]) + (", ..." if len(left) > 6 else "")
            yield f"Of {FAMILIES[name].title.lower()} {len(left)} probes were not run: {few}"


def _others(what: str, known: object, tried: object) -> Iterator[str]:
    left = [str(name) for name in known if name not in tried and name not in _ALWAYS]  # type: ignore[attr-defined,operator]
    if left:
        few = ", ".join(left[:8]) + (", ..." if len(left) > 8 else "")
        yield f"{what} not tried: {few}"
