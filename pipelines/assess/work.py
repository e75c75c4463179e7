"""The questions of an assessment one after the other, with a valid result after each."""

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from callbacks.words import duration
from datamodules.disk import DiskError, disk_errors
from datamodules.errors import UserError
from lightning_modules import Classifier
from lightning_modules.trainer import device_flags
from pipelines.assess.part import AssessedPart
from pipelines.assess.plan import corrected, seconds_in_all
from pipelines.assess.presets import PRESETS
from pipelines.assess.questions import QUESTIONS, answer
from pipelines.assess.result import Assessment
from pipelines.assess.subject import Subject
from pipelines.engine import Engine
from pipelines.report.result import Result, load_result
from pipelines.study import Options, Study
from pipelines.study.log import log_result
from pipelines.tracking import TrackingError

TRAINER = {"enable_progress_bar": False, "enable_model_summary": False}
_ENOUGH = 60.0
"""Seconds of work after which the prediction is held to account."""


class Work:
    """The questions one after the other, with a valid result after each.

    Args:
        study: of the assessment.
        classifier: logged with the result.
        subject: that is asked about.
        preset: its name.
        settings: what it asks of each question.
        options: of the user.
        engine: for the questions that have cells.
    """

    def __init__(
        self, study: Study, classifier: Classifier, subject: Subject, preset: str,
        settings: Mapping[str, Mapping[str, Any]], options: Options, engine: Engine = Engine(),  # noqa: B008
    ) -> None:  # fmt: skip
        self.study, self.classifier, self.subject = study, classifier, subject
        self.preset, self.options = preset, options
        self.settings, self.engine = settings, engine
        self.anew = 0.0
        """Seconds in all as they were predicted once something had been measured for a minute."""

    def done(self, parts: Sequence[AssessedPart]) -> Assessment:
        """Answers what is not answered yet, and writes everything that there is each time."""
        first = seconds_in_all(parts)
        answers, known = self._known()
        parts = [known.get(part.question, part) for part in parts]
        for i, part in enumerate(parts):
            if part.status != "not yet":
                self.study.say(f"{part.question:<15} {_read(part, known)}")
                continue
            parts[i], result = self._asked(part)
            if result is not None:
                answers[part.question] = result
            if any(one.status == "not yet" for one in parts):
                self._write(self._assessment(answers, parts, interrupted=True))
                self._tell_anew(parts)
        took = sum(part.seconds for part in parts if part.seconds == part.seconds)
        anew = f", then {duration(self.anew)}" if self.anew else ""
        self.study.say(f"\ntook     {duration(took)}, predicted {duration(first)}{anew}")
        assessment = self._assessment(answers, parts, interrupted=False)
        self.study.finish(assessment, self.classifier)
        return assessment

    def _asked(self, part: AssessedPart) -> tuple[AssessedPart, Result | None]:
        """Asks one question; what goes wrong in it is no matter of the others."""
        start, result = time.perf_counter(), None
        try:
            with disk_errors(self.study.root / "mlruns"):
                result = self._answer(part.question)
            part = replace(part, status="answered")
        except DiskError:
            raise  # the others would find the same disk
        except UserError as error:
            part = replace(part, status="failed", why=str(error))
        except Exception as error:
            self._keep_traceback(part.question)
            said = str(error).strip().partition("\n")[0]
            part = replace(part, status="failed", why=f"{type(error).__name__} {said}")
        part = replace(part, seconds=time.perf_counter() - start)
        said = duration(part.seconds) if result is not None else f"FAILED {part.why}"
        self.study.say(f"{part.question:<15} {said} (predicted {duration(part.predicted)})")
        return part, result

    def _answer(self, question: str) -> Result:
        """The result of one question; where the store is gone, it stays on disk."""
        try:
            return self._run(question)
        except TrackingError as error:
            self.study.say(f"WARNING  {error}")
            self.study.lose_store(error)
            return self._run(question)

    def _run(self, question: str) -> Result:
        given: dict[str, Any] = dict(self.options)
        flags = self.study.flags
        if QUESTIONS[question].trains:
            flags = {"max_epochs": PRESETS[self.preset].epochs, **flags}
        else:
            flags = {**device_flags(flags), **TRAINER}
        if QUESTIONS[question].has_cells:
            given["engine"] = self.engine
        parent = self.study.as_parent()
        given |= {"trainer": flags, "config": "", "parent": parent}
        return answer(question, self.subject, self.settings[question], given)

    def _known(self) -> tuple[dict[str, Result], dict[str, AssessedPart]]:
        """What this very run has answered before it was stopped."""
        file, run_id = self.study.folder / "result.json", self.study.run.run_id
        if self.study.fresh or not file.is_file():
            return {}, {}
        try:
            before = load_result(self.study.folder)
        except UserError:  # spoiled: cells and rows are there still
            return {}, {}
        if not isinstance(before, Assessment) or before.about.run_id != run_id:
            return {}, {}
        if run_id is None and not before.about.interrupted:
            return {}, {}
        parts = {part.question: part for part in before.asked if part.question in before.answers}
        return dict(before.answers), parts

    def _write(self, assessment: Assessment) -> None:
        """The page and the numbers so far, in the folder and in the run."""
        study = self.study
        study.write(assessment, study.folder)
        try:
            log_result(study.run, assessment, study.folder)
        except TrackingError as error:
            study.say(f"WARNING  {error}")
            study.lose_store(error)

    def _assessment(
        self, answers: Mapping[str, Result], parts: Sequence[AssessedPart], interrupted: bool
    ) -> Assessment:
        about = self.study.about(self.classifier, interrupted=interrupted)
        in_order = {part.question: answers[part.question] for part in parts
                    if part.question in answers}  # fmt: skip
        settings = {name: _in_words(asked) for name, asked in self.settings.items()}
        return Assessment(about, in_order, parts, self.preset, settings)

    def _tell_anew(self, parts: Sequence[AssessedPart]) -> None:
        """Says what is predicted with what was measured; the plan itself stays as it was."""
        anew = seconds_in_all(corrected(parts))
        taken = sum(part.seconds for part in parts if part.status == "answered")
        self.anew = self.anew or (anew if taken >= _ENOUGH else 0.0)
        self.study.say(f"{'':<15} about {duration(anew)} in all, {duration(anew - taken)} left")

    def _keep_traceback(self, question: str) -> None:
        """For a report of the defect."""
        self.study.folder.mkdir(parents=True, exist_ok=True)
        file = self.study.folder / f"{question}.traceback.txt"
        file.write_text(traceback.format_exc())


def _read(part: AssessedPart, known: Mapping[str, AssessedPart]) -> str:
    return "answered before it was stopped" if part.question in known else part.told


def _in_words(asked: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-able settings."""
    plain = (str, int, float, list)
    return {k: v if isinstance(v, plain) else repr(v) for k, v in asked.items()}
