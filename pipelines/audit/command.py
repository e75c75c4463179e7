"""`assay audit`: looks at images, labels and splits before a number of them is believed."""

from dataclasses import asdict

from typing_extensions import Unpack  # Python 3.10 has none

from pipelines.audit.duplicates import NearRule
from pipelines.audit.measure import measure
from pipelines.audit.result import DataAudit
from pipelines.cli import COMMANDS
from pipelines.study import DataLike, ModelLike, Options, Study
from pipelines.study.arguments import parse
from pipelines.study.trainer_flags import check_where

_TRAINER = {"enable_model_summary": False}


def main(words: list[str]) -> int:
    """Runs the command line."""
    audit(**parse(audit, words, _TRAINER, COMMANDS["audit"].example))
    return 0


def audit(
    data: DataLike,
    model: ModelLike | None = None,
    near: NearRule = NearRule(),  # noqa: B008  (frozen)
    **options: Unpack[Options],
) -> DataAudit:
    """Audits a data set: duplicates, suspected labels, imbalance, shift, images that are none.

    Args:
        data: whose training, validation and test images are compared; without training images the
            test images alone are looked at.
        model: judges the labels of test images, gives the features that a probe judges the others
            by, and shows what twins do to its accuracy; without it a probe learns from pixels.
        near: when two images are near-duplicates.
        **options: see `Options`.

    Returns:
        Every finding as a row, and what they amount to.

    Raises:
        UserError: something the user can mend, such as data that do not fit the model.
    """
    study = Study("audit", "data", options, _TRAINER)
    check_where(study.flags, "`audit` trains nothing and reads the images itself")
    study.on_one_device("a data audit compares all images with all others in one place.")
    opened = study.open_data(data)
    if model is None:
        study.tell_data(opened)
    classifier = None if model is None else study.open_model(model, opened)
    settings = {f"near.{name}": value for name, value in asdict(near).items()}
    with study.running(study.name(), settings):
        found = measure(opened, classifier, near, study.seed, study.device, study.say)
        study.notes += found.facts["notes"]
        result = DataAudit(study.about(), found, settings)
        study.finish(result)
    return result
