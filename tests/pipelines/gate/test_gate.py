"""`assay gate`: what passes, what fails and is told, and what build server and MLflow get."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.dom import minidom

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, LoggedModelStatus
from scipy import stats

from callbacks.statistics import rate
from pipelines.evaluate.result import Evaluation
from pipelines.gate.check import Check
from pipelines.gate.command import gate
from pipelines.gate.numbers import number_of
from pipelines.gate.registry import JUDGED
from pipelines.report.result import Result, save_result
from pipelines.tracking import open_store

MakeEvaluation = Callable[..., Evaluation]
Assay = Callable[..., tuple[int, str, str]]


@pytest.fixture
def strong(made_evaluation: MakeEvaluation) -> Evaluation:
    return made_evaluation("strong", 0.5, n=400)


@pytest.fixture
def weak(made_evaluation: MakeEvaluation) -> Evaluation:
    return made_evaluation("weak", 2.0, n=400)


def checks(run: Result, policy: dict, baseline: Result | None = None) -> dict[str, Check]:
    verdict = gate(run, policy, baseline, uri="sqlite:////nowhere/mlflow.db")
    return {check.name: check for check in verdict.checks}


def test_a_number_is_judged_by_the_end_of_its_interval(strong: Evaluation) -> None:
    right = int(strong.results[0].rows["correct"].sum())
    share = rate(right, 400)
    between = (share.low + share.value) / 2
    rules = [{"at_least": between}, {"at_least": between, "by": "point"}]
    found = gate(strong, {"thresholds": {"test/clean": rules}}, uri="sqlite:////nowhere/m.db")
    assert [one.passed for one in found.checks] == [True, False, True]  # it finished, first
    assert found.checks[1].found == pytest.approx(tuple(share))
    assert "not at least" in found.checks[1].said
    above = {"at_most": (share.high + share.value) / 2}
    assert not gate(strong, {"thresholds": {"test/clean": above}}, uri="sqlite:////no/m.db").passed


@pytest.mark.parametrize("name", ["adversarial/pgd_linf@0.1", "adversarial/pgd_linf@1/10"])
def test_a_number_at_a_severity(strong: Evaluation, name: str) -> None:
    rows = strong.results[2].at(100)
    assert number_of(strong, name) == pytest.approx(tuple(rate(int(rows["correct"].sum()), 400)))
    worst = number_of(strong, "adversarial/pgd_linf_worst_loss@0.1")
    assert worst.value == pytest.approx(rows["worst_loss"].mean())
    own = number_of(strong, "summary/adversarial_acc")
    assert own == strong.headline()["adversarial_acc"].interval


def test_the_worst_class_has_ends_that_hold_for_all(strong: Evaluation) -> None:
    rows = strong.results[2].at(200)
    groups = [part["correct"] for _, part in rows.groupby("label")]
    found = number_of(strong, "adversarial/pgd_linf", "worst")
    assert found.value == min(part.mean() for part in groups)
    ends = [
        stats.binomtest(int(part.sum()), len(part))
        .proportion_ci(1 - 0.05 / len(groups), method="wilson").low
        for part in groups
    ]  # fmt: skip
    assert found.low == pytest.approx(min(ends), abs=0.01)
    only = number_of(strong, "adversarial/pgd_linf", "class 3")
    assert only.value == groups[3].mean()


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"thresholds": {"adversarial_ac": {"at_least": 0}}}, "Did you mean 'adversarial_acc'?"),
        ({"thresholds": {"corruption/fog": {"at_least": 0}}}, "has not measured 'corruption/fog'"),
        (
            {"thresholds": {"adversarial/pgd_linf@0.3": {"at_least": 0}}},
            "not measured at 0.3",
        ),
        ({"thresholds": {"adversarial/pgd_linf@x": {"at_least": 0}}}, "'x' is no severity"),
        ({"thresholds": {"adversarial/pgd_linf@1e400": {"at_least": 0}}}, "'1e400' is no severity"),
        (
            {"thresholds": {"test/clean": {"at_least": 0, "class": "cat"}}},
            "image of class 'cat'",
        ),
        ({"required": {"masking": "clean"}}, "not looked for under linf"),
        ({"required": {"budget": {"pgd": {"steps": 1}}}}, "Did you mean 'pgd_linf'?"),
        ({"required": {"budget": {"pgd_linf": {"restarts": 1}}}}, "no 'restarts' in what it did"),
    ],
)
def test_what_was_not_measured_fails(strong: Evaluation, policy: dict, said: str) -> None:
    verdict = gate(strong, policy, uri="sqlite:////nowhere/mlflow.db")
    (failed,) = verdict.failed
    assert not failed.measured
    assert said in failed.said
    assert not verdict.passed


def test_conditions_of_the_run(strong: Evaluation) -> None:
    policy = {
        "required": {
            "data_digest": "d" * 10, "min_images": 400, "budget": {"pgd_linf": {"steps": 10}}
        }
    }  # fmt: skip
    assert all(check.passed for check in checks(strong, policy).values())
    policy = {
        "required": {
            "data_digest": "e" * 10, "min_images": 401, "budget": {"pgd_linf": {"steps": 11}}
        }
    }  # fmt: skip
    cut = replace(strong, about=replace(strong.about, interrupted=True))
    found = checks(cut, policy)
    assert len(found) == 4
    assert not any(check.passed for check in found.values())
    assert "PGD (L∞): 400 images" in found["min_images"].said


def test_worse_than_the_baseline(strong: Evaluation, weak: Evaluation) -> None:
    found = checks(weak, {"baseline": {}}, strong)
    failed = {name for name, check in found.items() if not check.passed}
    assert "pgd_linf@0.2 not worse than the baseline" in failed
    assert "worst_linf@0.2 not worse than the baseline" in failed
    assert found["clean not worse than the baseline"].passed  # the same answers
    assert "would be found 4 times in 5" in found["clean not worse than the baseline"].said
    assert all(check.passed for check in checks(strong, {"baseline": {}}, weak).values())
    wide = checks(weak, {"baseline": {"margin": 90, "probes": ["pgd_linf@all"]}}, strong)
    assert len(wide) == 4
    assert all(check.passed for check in wide.values())


def test_one_line_by_hand(strong: Evaluation, weak: Evaluation) -> None:
    policy = {"baseline": {"probes": ["pgd_linf@0.05"]}}
    check = checks(weak, policy, strong)["pgd_linf@0.05 not worse than the baseline"]
    a, b = (one.results[2].at(50).set_index("index")["correct"] == 1 for one in (strong, weak))
    test = stats.binomtest(int((a & ~b).sum()), int((a != b).sum()), alternative="greater")
    assert f"p {test.pvalue:.2g} for a loss" in check.said
    assert check.found.value == pytest.approx(100 * (b.mean() - a.mean()))


def test_what_cannot_be_compared_fails(strong: Evaluation, made_evaluation: MakeEvaluation) -> None:
    *others, last = made_evaluation("other", 0.5, n=400).results
    about = replace(strong.about, seed=1)
    other = replace(
        strong, about=about, results=[*others, replace(last, algorithm="pgd_linf(steps=9)")]
    )
    found = checks(strong, {"baseline": {"probes": ["clean", "pgd_linf", "fog"]}}, other)
    assert (
        "Not asked alike: PGD (L∞): steps=9 in the baseline"
        in found["pgd_linf not worse than the baseline"].said
    )
    assert "was not measured in the baseline" in found["fog not worse than the baseline"].said
    assert [check.passed for check in found.values()] == [True, False, False, True]
    fewer = made_evaluation("other", n=300)
    splits = {"test": {"samples": 300, "digest": "f" * 64}}
    fewer = replace(
        fewer, about=replace(fewer.about, data=[{**fewer.about.dataset, "splits": splits}])
    )
    found = checks(strong, {"baseline": {}}, fewer)
    assert "Other test images" in found["comparable with the baseline"].said


class Held:
    """A stand-in for a result that holds those of several questions."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.room, self.about, self.title = "assess", evaluation.about, evaluation.title
        self.answers = {"robustness": evaluation}

    def headline(self) -> dict:
        return {"own": next(iter(self.answers.values())).headline()["adversarial_acc"]}


def test_results_that_hold_others(strong: Evaluation, weak: Evaluation) -> None:
    names = ("own", "adversarial_acc", "adversarial/pgd_linf@0.1")
    policy = {"thresholds": {name: {"at_least": 0} for name in names}, "baseline": {}}
    found = checks(Held(weak), policy, Held(strong))  # type: ignore[arg-type]
    assert all(found[f"{name} >= 0"].passed for name in names)
    assert not found["pgd_linf@0.2 not worse than the baseline"].passed


POLICY = (
    "thresholds: {adversarial_acc: {at_least: 0.01}, test/clean: {at_least: 0.5}}\nbaseline: {}\n"
)


def logged(evaluation: Evaluation, home: Path) -> tuple[Evaluation, MlflowClient]:
    """A run with a registered model, as an evaluation leaves it."""
    store = open_store(None, home, "assay")
    run = store.client.create_run(store.experiment_id).info.run_id
    evaluation = replace(evaluation, about=replace(evaluation.about, run_id=run))
    save_result(evaluation, home / run)
    store.client.log_artifacts(run, str(home / run))
    return evaluation, store.client


def test_the_command(strong: Evaluation, weak: Evaluation, home: Path, assay: Assay) -> None:
    (home / "policy.yaml").write_text(POLICY)
    (good, client), (bad, _) = logged(strong, home), logged(weak, home)
    client.create_registered_model("digits")
    for run in (good, bad):
        client.create_model_version("digits", "file:///none", run.about.run_id)
    first = [str(good.about.run_id), "--policy", "policy.yaml", "--baseline", str(bad.about.run_id)]
    code, out, err = assay("gate", *first, "--alias", "champion", "--tag", "gate=passed")
    assert (code, err) == (0, "")
    assert "The run passes: 7 of 7 rules are kept" in out
    assert client.get_model_version_by_alias("digits", "champion").version in (1, "1")
    tags = client.get_model_version("digits", "1").tags
    assert tags == {"gate": "passed", JUDGED: good.about.run_id}
    assert client.get_run(first[0]).data.tags["gate"] == "passed"

    words = [str(bad.about.run_id), "--policy", "policy.yaml", "--alias", "champion"]
    words += ["--baseline", "models:/digits@champion", "--junit", "out/gate.xml"]
    code, out, err = assay("gate", *words)
    assert (code, err) == (1, "")
    assert "FAIL pgd_linf@0.2 not worse than the baseline: Worse than the baseline" in out
    assert "version 2 of digits stays as it was" in out
    assert client.get_model_version_by_alias("digits", "champion").run_id == first[0]
    assert client.get_run(words[0]).data.tags["gate"] == "failed"
    kept = client.download_artifacts(words[0], "gate/gate.json", str(home))
    assert json.loads(Path(kept).read_text())["passed"] is False
    assert_junit(home / "out" / "gate.xml")


def assert_junit(file: Path) -> None:
    """As Jenkins' schema has it."""
    page = minidom.parse(str(file))
    (suite,) = page.getElementsByTagName("testsuite")
    cases = suite.getElementsByTagName("testcase")
    failed = suite.getElementsByTagName("failure")
    counts = {name: int(suite.getAttribute(name)) for name in ("tests", "failures", "errors")}
    assert counts == {"tests": len(cases), "failures": len(failed), "errors": 0}
    assert len({case.getAttribute("name") for case in cases}) == len(cases)
    assert all(node.parentNode in cases for node in failed)
    assert 0 < len(failed) < len(cases)


def test_a_foreign_parser_reads_the_file(
    strong: Evaluation, weak: Evaluation, tmp_path: Path
) -> None:
    junitparser = pytest.importorskip("junitparser")
    file = tmp_path / "gate.xml"
    verdict = gate(weak, {"baseline": {}}, strong, junit=file, uri="sqlite:////nowhere/m.db")
    (suite,) = junitparser.JUnitXml.fromfile(str(file))
    assert (suite.tests, suite.failures) == (len(verdict.checks), len(verdict.failed))
    assert [case.name for case in suite if not case.is_passed] == [c.name for c in verdict.failed]
    assert all(case.result[0].message == c.said for case, c in zip(
        (case for case in suite if not case.is_passed), verdict.failed, strict=True
    ))  # fmt: skip


def test_mistakes_are_one_line(strong: Evaluation, home: Path, assay: Assay) -> None:
    (home / "policy.yaml").write_text(POLICY)
    (home / "few.yaml").write_text("thresholds: {test/clean: {at_least: 0.5}}\n")
    run, client = logged(strong, home)
    own = str(run.about.run_id)
    for words, said in (
        (["--policy", "absent.yaml"], "There is no policy 'absent.yaml'"),
        (["--policy", "policy.yaml"], "Expected a baseline run as well"),
        (["--policy", "few.yaml", "--baseline", own], "Expected `baseline` in the policy as well"),
        (["--policy", "few.yaml", "--alias", "a"], "no registered model version of run"),
        (["--policy", "few.yaml", "--tag", "a"], "as NAME=VALUE"),
        (["--policy", "few.yaml", "--model_version", "a/1"], "`--alias` or `--tag`"),
        (["--policy", "policy.yaml", "--baseline", "models:/no@champion"], "no model version 'no@"),
    ):
        code, out, err = assay("gate", own, *words)
        assert (code, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1
    client.create_registered_model("other")
    client.create_model_version("other", "file:///none", client.create_run("0").info.run_id)
    words = ["--policy", "few.yaml", "--alias", "a", "--model_version", "other/1"]
    assert "is not the model of run" in assay("gate", own, *words)[2]
    assert "There is no run" in assay("gate", "0" * 32, "--policy", "few.yaml")[2]


def test_the_version_of_a_model_that_another_run_made(
    strong: Evaluation, home: Path, assay: Assay
) -> None:
    (home / "few.yaml").write_text("thresholds: {test/clean: {at_least: 0.5}}\n")
    run, client = logged(strong, home)
    own, place = str(run.about.run_id), client.get_run(str(run.about.run_id)).info.experiment_id
    trained = client.create_run(place).info.run_id
    model = client.create_logged_model(place, name="lenet", source_run_id=trained)
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_inputs(own, models=[LoggedModelInput(model.model_id)])
    client.create_registered_model("digits")
    client.create_model_version("digits", model.artifact_location, trained)
    code, _, err = assay("gate", own, "--policy", "few.yaml", "--alias", "champion")
    assert (code, err) == (0, "")
    assert client.get_model_version_by_alias("digits", "champion").tags[JUDGED] == own


def test_a_folder_that_mlflow_does_not_know(strong: Evaluation, home: Path, assay: Assay) -> None:
    (home / "few.yaml").write_text("thresholds: {test/clean: {at_least: 0.5}}\n")
    about = replace(strong.about, run_id="0" * 32)
    save_result(replace(strong, about=about), home / "run")
    code, out, err = assay("gate", "run", "--policy", "few.yaml")
    assert (code, err) == (0, "")
    assert "does not know the run" in out
