"""A model with several heads teaches nobody yet: it is refused, however it is named."""

from pathlib import Path
from typing import Any

import pytest

from datamodules import Digits
from datamodules.errors import UserError
from datamodules.tasks import read_tasks
from lightning_modules import Classifier, build
from lightning_modules.saved_model import save_classifier
from lightning_modules.tasks import head_names
from pipelines import distill
from pipelines.cli import main
from pipelines.tracking import Tracking

REFUSED = "with one head for `assay distill`, but got .* with the tasks digit, parity: .*--tasks"


@pytest.fixture
def two_heads(home: Path) -> Classifier:
    """Untrained, with a head for the digit and one for its parity."""
    (home / "tasks.yaml").write_text(
        "digit: same\nparity: {even: [0, 2, 4, 6, 8], odd: [1, 3, 5, 7, 9]}\n"
    )
    tasks = read_tasks(home / "tasks.yaml", [str(digit) for digit in range(10)])
    names = head_names(tasks)
    made = Classifier(
        build("lenet", len(names), 1), classes=names, preprocessing=Digits.native,
        architecture="builtin:lenet", source="two heads",
    )  # fmt: skip
    made.tasks = tasks
    return made


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "second of two"])
def test_teacher_in_memory_is_refused(two_heads: Classifier, alone: bool) -> None:
    teachers: Any = two_heads if alone else ["lenet", two_heads]
    with pytest.raises(UserError, match=REFUSED):
        distill(teachers, "lenet", Digits(limit=60), tracking=Tracking(enabled=False))


def test_teacher_on_disk_is_refused_before_anything_is_trained(
    two_heads: Classifier, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_classifier(two_heads, home / "saved")
    said = ["--teacher", f"checkpoint:{folder}", "--student", "self", "--data", "Digits"]
    assert main(["distill", *said]) == 2
    error = capsys.readouterr().err
    assert "with the tasks digit, parity" in error
    assert "Traceback" not in error
    assert not (home / "mlruns" / "checkpoints").exists()
