import json
from pathlib import Path

import pandas as pd
import pytest

from pipelines.cli import main
from pipelines.report.result import load_result
from pipelines.tasks.result import TaskEvaluation

TASKS = (
    "digit: same\nparity: {even: [0, 2, 4, 6, 8], odd: [1, 3, 5, 7, 9]}\nends: {low: 0, high: 9}\n"
)


@pytest.mark.slow
def test_trained_saved_and_evaluated(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "tasks.yaml").write_text(TASKS)
    data = ["--data", "Digits", "--data.limit", "60"]
    assert not main(
        ["fine-tune", "--model", "lenet", *data, "--tasks", "tasks.yaml", "--evaluation", "none",
         "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
    )  # fmt: skip
    (folder,) = (home / "mlruns" / "checkpoints").iterdir()
    assert [t["name"] for t in json.loads((folder / "classifier.json").read_text())["tasks"]] == [
        "digit", "parity", "ends",
    ]  # fmt: skip
    model = ["--model", f"checkpoint:{folder}"]
    attack = ["--attack", "pgd", "--steps", "2", "--epsilon", "0.1", "--masking", "false"]
    assert not main(["evaluate", *model, *data, *attack])
    assert "Task ends: 48 of 60 test images have no label" in capsys.readouterr().out
    (saved,) = (home / "mlruns" / "results").glob("evaluate-*/")
    result = load_result(saved)
    assert isinstance(result, TaskEvaluation)
    assert result.tasks == ["digit", "parity", "ends"]
    table = result.table.set_index(["setting", "attacked", "task"])
    # Of one perturbation all tasks are right at most as often as the worst of them.
    across = table.loc["tasks_pgd_linf"].loc["joint_sum"]
    assert across.loc["joint", "acc"] <= across.loc["any", "acc"]
    assert across.loc["ends", "n"] == 12
    assert table.loc["tasks_pgd_linf"].loc["ends"].loc["digit", "n"] == 12  # the images attacked
    assert {key.count("/") for key, *_ in result.metrics()} == {1}
    keys = {key for key, *_ in result.metrics()}
    assert {"test/parity_clean_acc", "adversarial/parity_tasks_pgd_linf_on_digit_acc"} <= keys
    assert "task" in pd.read_parquet(saved / "rows" / "tasks.parquet")
    one, other, sections = result.beside(result)
    assert len(one.rows) == len(other.rows) == len(result.rows)
    assert all(cell.tone == "" for line in sections[0].sheets[0].cells for cell in line)
    assert main(["recover", *model, *data]) == 2
    assert "only evaluate and distill know several" in capsys.readouterr().err
