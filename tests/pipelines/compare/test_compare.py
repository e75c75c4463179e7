"""`assay compare`: what it refuses, what it says, what it keeps, and what MLflow gets."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datamodules.errors import UserError
from pipelines.compare.command import by_question, compare
from pipelines.compare.question import compared
from pipelines.evaluate.result import Evaluation
from pipelines.report.page import as_html
from pipelines.report.result import load_result, save_result
from pipelines.tasks.result import TaskEvaluation
from pipelines.tracking import Tracking, open_store

MakeEvaluation = Callable[..., Evaluation]
Assay = Callable[..., tuple[int, str, str]]


@pytest.fixture
def two(made_evaluation: MakeEvaluation) -> dict[str, Evaluation]:
    return {
        "A": made_evaluation("a", 1.0, run_id="1"),
        "B": made_evaluation("b", 0.5, run_id="2"),
    }


def with_algorithm(evaluation: Evaluation, algorithm: str) -> Evaluation:
    *others, last = evaluation.results
    return replace(evaluation, results=[*others, replace(last, algorithm=algorithm)])


def test_another_budget_is_refused_and_named(two: dict[str, Evaluation]) -> None:
    two["B"] = with_algorithm(two["B"], "pgd_linf(steps=20)")
    with pytest.raises(UserError) as caught:
        compared(two)
    assert "\n  PGD (L∞): steps=10 in A, steps=20 in B.\n" in str(caught.value)
    assert "--common" in str(caught.value)
    question = compared(two, common=True)
    assert set(question.differences["probe"]) == {"clean", "fgsm_linf"}
    assert "Left out: PGD (L∞): steps=10 in A, steps=20 in B." in question.notes


def test_other_settings_and_images_are_named(made_evaluation: MakeEvaluation) -> None:
    one = made_evaluation(run_id="1")
    other = made_evaluation(run_id="2", epsilons=(0.1, 0.2, 0.3), probes=("pgd_linf",))
    cut = [replace(r, rows=r.rows[r.rows["index"] < 150]) for r in other.results]
    with pytest.raises(UserError) as caught:
        compared({"A": one, "B": replace(other, results=cut)})
    assert str(caught.value).splitlines()[1:-1] == [
        "  Clean images: 200 images in A, 150 in B, 150 in both.",
        "  FGSM (L∞) is in A, not in B.",
        "  PGD (L∞) 0.05 is only in A.",
        "  PGD (L∞) 0.1: 200 images in A, 150 in B, 150 in both.",
        "  PGD (L∞) 0.2: 200 images in A, 150 in B, 150 in both.",
        "  PGD (L∞) 0.3 is only in B.",
    ]
    table = compared({"A": one, "B": replace(other, results=cut)}, common=True).differences
    assert list(table["n"]) == [150, 150, 150]


def test_other_images_and_classes_are_refused_whatever_is_asked(
    two: dict[str, Evaluation],
) -> None:
    model, data = two["B"].about.model, two["B"].about.dataset
    splits = {"test": {"samples": 100, "digest": "f" * 64}}
    turned = {**model, "classes": model["classes"][::-1]}
    about = replace(two["B"].about, models=[turned], data=[{**data, "splits": splits}])
    two["B"] = replace(two["B"], about=about)
    with pytest.raises(UserError) as caught:
        compared(two, common=True)
    kept = "digest of files, names and labels dddddddddddd"
    told = f"Other test images: Digits, 200 images, {kept} in A; Digits, 100"
    assert told in str(caught.value)
    assert "Classes in another order: class 0, class 1, class 2, class 3 and 6 more in A" in str(
        caught.value
    )


def test_one_run_twice_is_refused(two: dict[str, Evaluation]) -> None:
    with pytest.raises(UserError, match="A and B are one run"):
        compared({"A": two["A"], "B": two["A"]})


def test_what_differs_besides_is_said(two: dict[str, Evaluation]) -> None:
    about = replace(two["B"].about, seed=1, interrupted=True)
    notes = compared({"A": two["A"], "B": replace(two["B"], about=about)}).notes
    assert "Other seed: 0 in A; 1 in B." in notes
    assert "B was interrupted: only the rows so far are compared." in notes
    assert "A and B have the same weights." in notes  # the digests of the make-believe are equal


def test_the_conclusion_says_what_is_known_and_what_is_not(
    two: dict[str, Evaluation], tmp_path: Path
) -> None:
    result = compare([*two.values()], root=tmp_path, tracking=Tracking(enabled=False))
    line = result.questions[0].differences.query("probe == 'pgd_linf' and headline").iloc[0]
    said = " ".join(result.sentences())
    low, high = 100 * line["low"], 100 * line["high"]
    points = 100 * line["difference"]
    assert (
        f"b is better than a under PGD (L∞) 0.2 by {points:.1f} points [{low:.1f}, {high:.1f}] "
        f"on the same 200 images ({line['fixed']} fixed, {line['broken']} broken;"
    ) in said
    assert "after Holm's correction for 10 comparisons" in said
    assert "On clean images b and a cannot be told apart: +0.0 points" in said


def test_saved_and_read_again_it_is_the_same(
    made_evaluation: MakeEvaluation, tmp_path: Path
) -> None:
    runs = [made_evaluation(f"m{i}", 1 + 0.3 * i, run_id=str(i)) for i in range(3)]
    result = compare(runs, root=tmp_path, tracking=Tracking(enabled=False))
    (file,) = (tmp_path / "mlruns" / "results").glob("compare-*/result.json")
    again = load_result(file.parent)
    assert again.sentences() == result.sentences()
    assert again.metrics() == result.metrics()
    page, before = (
        re.sub("<svg.*?</svg>", "", as_html([one]), flags=re.S) for one in (again, result)
    )
    assert page == before
    assert "nan" not in page.replace("finance", "")
    changed = pd.read_parquet(file.parent / "rows" / "evaluate.changed.parquet")
    assert set(changed["model"]) == {"m1", "m2"}
    assert "Leaderboard" in page
    assert any(name.startswith("compared_adversarial") for name in again.figures())


def test_the_baseline_comes_first(two: dict[str, Evaluation], home: Path, assay: Assay) -> None:
    for name, one in two.items():
        save_result(one, home / name)
    code, out, err = assay("compare", "A", "B", "--baseline", "B", "--tracking.enabled", "false")
    assert (code, err) == (0, "")
    assert "a is worse than b under PGD" in out
    assert (home / "compare.html").read_text().count("<svg") > 2
    assert not (home / "mlruns" / "artifacts").exists()


def test_the_two_newest(two: dict[str, Evaluation], home: Path, assay: Assay) -> None:
    assert "but there are 0" in assay("compare")[2]
    for name, one in two.items():
        save_result(one, home / "mlruns" / "results" / name)
    code, out, _ = assay("compare", "--tracking.enabled", "false")
    assert code == 0
    assert "Against a" in out
    code, _, err = assay("compare", "newest", "newest")
    assert code == 2
    assert "Expected different runs" in err
    code, _, err = assay("compare", "newest")
    assert code == 2
    assert "at least two runs" in err


def test_what_mlflow_gets(two: dict[str, Evaluation], home: Path) -> None:
    result = compare([*two.values()], root=home)
    client = open_store(None, home, "assay").client
    run = client.get_run(str(result.about.run_id))
    assert run.info.status == "FINISHED"
    assert run.data.tags["question"] == "compare"
    assert (run.data.tags["compared.0"], run.data.tags["compared.1"]) == ("1", "2")
    assert "[b](#/experiments/" in run.data.tags["mlflow.note.content"]
    line = result.questions[0].differences.query("probe == 'pgd_linf' and headline").iloc[0]
    points = client.get_metric_history(run.info.run_id, "compare/pgd_linf_difference")
    assert {p.step: p.value for p in points}[200] == pytest.approx(100 * line["difference"])
    assert run.data.metrics["summary/pgd_linf_difference"] == points[-1].value
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"report.html", "result.json", "rows", "tables", "figures"} <= files
    tables = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert [table["path"] for table in tables] == ["tables/differences.json"]


def test_runs_without_one_pass_are_compared_by_what_their_own_room_pairs(
    two: dict[str, Evaluation], tmp_path: Path
) -> None:
    runs = []
    for one in two.values():
        clean = one.results[0].rows[["index", "correct", "setting", "severity", "value"]]
        rows = clean.assign(task="digit", attacked="", family="test", draw=0)
        runs.append(TaskEvaluation(one.about, rows, {}, {}))
    result = compare(runs, root=tmp_path, tracking=Tracking(enabled=False))
    assert "compared by what all were asked alike" in " ".join(result.sentences())
    (file,) = (tmp_path / "mlruns" / "results").glob("compare-*/result.json")
    page = as_html([load_result(file.parent)])
    assert page == as_html([result])
    assert "difference (points)" in page


class Held:
    """A stand-in for a result that holds those of several questions."""

    def __init__(self, **by_question: Evaluation) -> None:
        self.by_question = by_question


def test_results_of_several_questions_are_compared_question_by_question(
    two: dict[str, Evaluation],
) -> None:
    a, b = two.values()
    groups = by_question({"A": Held(evaluate=a, explain=a), "B": Held(evaluate=b)})  # type: ignore[dict-item]
    assert groups == [{"A": a, "B": b}]
    with pytest.raises(UserError, match="runs of one question"):
        by_question({"A": Held(explain=a), "B": b})  # type: ignore[dict-item]


def test_images_that_changed_sides_are_named_by_their_files(assay: Assay, home: Path) -> None:
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (home / "photos" / name).mkdir(parents=True)
        for number in range(20):
            pixels = draw.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(pixels).save(home / "photos" / name / f"{number:02}.png")
    line = (
        "evaluate --model lenet --data ImageFolder:photos --data.channels 1 --probes clean "
        "--masking false --tracking.enabled false --trainer.accelerator cpu"
    )
    for seed in ("0", "1", "2"):
        code, _, err = assay(*line.split(), "--seed", seed)
        assert code == 0, err
    runs = [str(file.parent) for file in (home / "mlruns" / "results").glob("*/result.json")]
    comparison = compare(runs, root=home, tracking=Tracking(enabled=False))
    changed = comparison.questions[0].changed
    kept = json.loads((Path(runs[0]) / "files.json").read_text())
    ((_, names),) = kept.items()
    assert len(changed)
    assert changed["file"].tolist() == [names[str(index)] for index in changed["index"]]
    label = {"cat": 0, "dog": 1}
    assert changed["label"].tolist() == [label[Path(file).parts[0]] for file in changed["file"]]
