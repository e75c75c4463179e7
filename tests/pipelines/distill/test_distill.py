"""From the command line to the audit, and what is said to a user's mistakes."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from callbacks.statistics import Interval
from datamodules import Digits
from lightning_modules import Classifier, DivergedError, Tuning, load_classifier
from lightning_modules.distillation import DistillationRecipe
from pipelines.distill.command import distill, listed
from pipelines.distill.controls import CONTROLS, TITLES
from pipelines.distill.figures import audit_figures, front, spread
from pipelines.distill.footprint import Footprint
from pipelines.distill.lesson_plan import usual_attack
from pipelines.distill.member import Member, answer_test, clean_rows
from pipelines.distill.page import write_audit
from pipelines.distill.result import Audit
from pipelines.distill.verdict import verdict
from pipelines.tracking import Tracking

Assay = Callable[..., tuple[int, str, str]]
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "max_epochs": 1,
    "enable_progress_bar": False,
}


def command(lenet: Path, *more: str) -> list[str]:
    return [
        *("distill", "--teacher", f"checkpoint:{lenet}", "--arch", "lenet", "--student", "lenet"),
        *("--data", "Digits", "--data.limit", "60", "--chunk", "32"),
        *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
        *("--trainer.enable_progress_bar", "false", *more),
    ]


def test_everything_from_the_command_line(assay: Assay, lenet: Path, home: Path) -> None:
    code, out, err = assay(*command(lenet, "--seeds", "0", "1", "--controls", "label_only"))
    assert code == 0, err
    (folder,) = (home / "mlruns" / "distillations").iterdir()
    table = pd.read_json(folder / "tables" / "members.json", orient="split")
    assert list(table["model"]) == ["teacher", "student", "label only"]
    assert list(table["seeds"]) == [1, 2, 2]
    assert table["robust"].notna().all()
    assert (table["bytes"] > 0).all()
    paired = pd.read_json(folder / "tables" / "paired.json", orient="split")
    assert {"clean", "fgsm_linf", "pgd_linf", "zero", "bit_flip"} == set(paired["setting"])
    assert "The student keeps" in out
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", ""), "needs nothing beside it"
    assert {one.stem for one in (folder / "figures").iterdir()} == {
        "accuracy_size", "robustness_size",
    }  # fmt: skip
    store = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    runs = store.search_runs([store.get_experiment_by_name("assay").experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all(key.count("/") == 1 for run in runs for key in run.data.metrics)
    assert "summary/student_kept" in parent.data.metrics
    accuracies = store.get_metric_history(parent.info.run_id, "distillation/student_acc")
    assert sorted(point.step for point in accuracies) == [0, 1]
    student = next(one for one in (home / "mlruns" / "checkpoints").glob("*-student-s0-*"))
    assert load_classifier(f"checkpoint:{student}").architecture == "builtin:lenet"


def test_what_is_saved_is_what_was_measured(home: Path, lenet: Path) -> None:
    teacher = load_classifier(f"checkpoint:{lenet}", arch="lenet", preprocessing=Digits.native)
    data = Digits(limit=80)
    audit = distill(
        [teacher], "lenet", data, seeds=[3], evaluation="none", tracking=Tracking(enabled=False),
        trainer=QUIET,
    )  # fmt: skip
    (folder,) = (home / "mlruns" / "checkpoints").iterdir()
    saved = load_classifier(f"checkpoint:{folder}")
    own, its = (answer_test([one], data, one.preprocessing) for one in (saved, teacher))
    columns = ["index", "prediction", "loss", "kl"]
    pd.testing.assert_frame_equal(clean_rows(own, its)[columns], audit.members[1].rows[columns])
    assert sorted(own.index.tolist()) == sorted(data.test_index.tolist())


def test_every_control_takes_its_place(home: Path, lenet: Path) -> None:
    teacher = load_classifier(f"checkpoint:{lenet}", arch="lenet", preprocessing=Digits.native)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    audit = distill(
        [teacher], "lenet", Digits(limit=40), evaluation="none", trainer=QUIET,
        controls=list(CONTROLS), tracking=Tracking(enabled=False),  # type: ignore[arg-type]
    )  # fmt: skip
    assert audit.names == ["teacher", "student", *TITLES.values()]
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    taken = {one.name: one.footprint for one in audit.members}
    assert taken["pruned teacher"].macs <= taken["student"].macs
    assert taken["int8 teacher"].bytes < 0.27 * taken["teacher"].bytes
    assert audit.number("int8 teacher", "agreement").value > 0.95, "hardly another model"


def test_several_teachers_and_few_labels(home: Path) -> None:
    data = Digits(limit=80)
    audit = distill(
        ["lenet", "lenet"], "lenet", data, labelled=20, evaluation="none",
        tracking=Tracking(enabled=False), trainer=QUIET,
    )  # fmt: skip
    assert audit.teacher.footprint.parameters == 2 * 44_426
    assert audit.radii == {}, "attacks are of single teachers"
    assert any("Labels of 20 training images" in note for note in audit.notes)


def test_robust_losses_bring_their_attack(home: Path, lenet: Path) -> None:
    teacher = load_classifier(f"checkpoint:{lenet}", arch="lenet", preprocessing=Digits.native)
    audit = distill(
        [teacher], "self", Digits(limit=40), DistillationRecipe(loss="rslad"),
        evaluation="none", tracking=Tracking(enabled=False), trainer=QUIET,
    )  # fmt: skip
    assert audit.number("student", "agreement").value >= 0
    assert any("against one attack" in note for note in audit.notes)
    attack = usual_attack(DistillationRecipe(loss="ard"), Digits())
    assert repr(attack).startswith("AdversarialTraining(PGD(steps=10, step_size=0.05"), "eps / 4"
    assert usual_attack(DistillationRecipe(), Digits()) is None


def test_a_loss_that_is_no_number_stops_at_the_last_good_epoch(home: Path, lenet: Path) -> None:
    """The learning rate explodes in the second epoch, after one that was kept."""

    class Bomb(Classifier):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits = super().forward(image)
            trainer = getattr(self, "bomb", None)
            return logits * float("nan") if trainer and trainer() and self.training else logits

    teacher = load_classifier(f"checkpoint:{lenet}", arch="lenet", preprocessing=Digits.native)
    student = load_classifier("lenet", preprocessing=Digits.native)
    student.__class__ = Bomb
    calls = {"n": 0}

    def exploded() -> bool:
        calls["n"] += 1
        return calls["n"] > 2  # one batch an epoch

    student.bomb = exploded  # type: ignore[assignment]
    with pytest.raises(DivergedError, match="The best epoch before is kept in") as caught:
        distill(
            [teacher], student, Digits(limit=40), evaluation="none",
            tracking=Tracking(enabled=False), trainer={**QUIET, "max_epochs": 9},
        )  # fmt: skip
    folder = Path(str(caught.value).split("'")[-2])
    state = load_classifier(f"checkpoint:{folder}").state_dict()
    assert all(bool(value.isfinite().all()) for value in state.values())


MISTAKES = {
    "unknown loss": ("--distillation.loss kdd", "distillation.loss"),
    "unknown layer": (
        "--distillation.loss fitnets --distillation.layers conv9",
        "There is no layer 'conv9' in the model. Did you mean 'conv",
    ),
    "unknown teacher": ("--teacher checkpoint:nothing.pt", "There is no checkpoint 'nothing.pt'"),
    "unknown control": ("--controls label", "controls"),
    "seeds": ("--seeds 1 1", "different `seeds`"),
    "labelled": ("--labelled 3", "Expected `labelled` from 10 (one image a class) to"),
    "cache": ("--distillation.cache true --data.augment crop", "another random image"),
    "class spaces": ("--data ImageFolder --data.root two", "but 'checkpoint:"),
    "diverges": ("--tuning.lr 1e30 --tuning.optimizer sgd --tuning.warmup 0", "no good checkpoint"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str, assay: Assay, lenet: Path, home: Path) -> None:
    from PIL import Image

    for label in "ab":
        (home / "two" / label).mkdir(parents=True)
        for i in range(6):
            pixels = np.full((28, 28, 3), 40 * i, dtype=np.uint8)
            Image.fromarray(pixels).save(home / "two" / label / f"{i}.png")
    words, expected = MISTAKES[case]
    epochs = ("--trainer.max_epochs", "3", "--data.batch_size", "16") if case == "diverges" else ()
    code, _, err = assay(
        *command(lenet, *epochs, *words.split(), "--evaluation", "none"),
        *("--tracking.enabled", "false"),
    )
    assert code == 2, err
    assert expected in err
    assert "Traceback" not in err


def test_lists_are_given_as_words() -> None:
    assert listed("--seeds 0 1 --student lenet".split()) == ["--seeds=[0, 1]", "--student", "lenet"]
    assert listed("--teacher a:b --controls pruned int8".split()) == [
        "--teacher=a:b",
        '--controls=["pruned", "int8"]',
    ]
    assert listed(["--distillation.teacher_weights", "0.5", "1.5"]) == [
        "--distillation.teacher_weights=[0.5, 1.5]"
    ]
    assert listed(["--seeds=[1]", "--help"]) == ["--seeds=[1]", "--help"]


def member(
    name: str, right: float, size: int, seed: int = 0, kind: str = "control", n: int = 4000
) -> Member:
    random = np.random.default_rng(7 * seed + size)
    correct = (np.arange(n) < 0.95 * n).astype(int)
    if kind != "teacher":
        correct = np.where(random.random(n) < (0.95 - right) / 0.95, 0, correct)
    columns = {
        "index": np.arange(n), "label": 0, "prediction": 1 - correct, "correct": correct,
        "confidence": 0.9, "kl": 0.1 * (1 - correct), "loss": 0.1,
    }  # fmt: skip
    taken = Footprint(size // 4, size, size, 128, 10 * size, 1e-3, 1e5)
    return Member(name, kind, seed, pd.DataFrame(columns), taken)  # type: ignore[arg-type]


def made_up() -> Audit:
    members = [
        member("teacher", 0.95, 9_000_000, kind="teacher"),
        *(member("student", 0.93, 1_000_000, seed, "student") for seed in (0, 1, 2)),
        *(member("label only", 0.85, 1_000_000, 10 + seed) for seed in (0, 1, 2)),
        member("pruned teacher", 0.80, 900_000),
    ]
    manifest = {"name": "Digits", "splits": {"test": {"samples": 4000, "digest": "0" * 32}}}
    return Audit(members, manifest, "small from large by kd", "assay distill", "2026-01-01")


def test_the_verdict_says_what_is_kept() -> None:
    audit = made_up()
    first, second, third = verdict(audit)
    kept = audit.number("student", "kept")
    assert first.startswith(f"The student keeps {100 * kept.value:.1f} ± ")
    assert "of accuracy at 1/9 of the size; label-only training keeps" in first
    assert "which is beyond chance" in second
    assert "errs on" in third
    assert kept.low < kept.value < kept.high
    gain = audit.gain("label only")
    assert gain is not None
    assert gain[0].value == pytest.approx(0.08, abs=0.01)


def test_an_audit_without_attacks_is_written(tmp_path: Path) -> None:
    audit = made_up()
    folder = write_audit(audit, tmp_path / "audit")
    assert json.loads((folder / "audit.json").read_text())["recipe"] == "small from large by kd"
    assert set(audit_figures(audit)) == {"accuracy_size"}
    assert len(list((folder / "rows").iterdir())) == 8
    assert {key.count("/") for key, *_ in audit.metrics()} == {1}


def test_the_front_is_what_nothing_dominates() -> None:
    size = np.array([4.0, 1.0, 2.0, 2.0, 3.0])
    value = np.array([9.0, 5.0, 7.0, 6.0, np.nan])
    assert front(size, value).tolist() == [1, 2, 0]


def test_names_of_points_are_moved_apart() -> None:
    assert spread([1.0, 5.0, 9.0], 1.0) == [1.0, 5.0, 9.0]
    assert spread([1.0, 1.0], 1.0) == [0.5, 1.5]


def test_robust_numbers_are_at_the_radius_the_teacher_stands() -> None:
    def attacks(rates: dict[int, float]) -> SimpleNamespace:
        def worst(step: int) -> pd.DataFrame:
            correct = (np.arange(100) < 100 * rates[step]).astype(int)
            columns = {"index": np.arange(100), "correct": correct, "margin": correct - 0.5}
            return pd.DataFrame({**columns, "prediction": 0, "confidence": 0.5})

        values = {step: step / 1000 for step in rates}
        return SimpleNamespace(norm="linf", sign="L∞", values=values, worst=worst)

    from dataclasses import replace

    audit = made_up()
    rates = {75: 0.9, 150: 0.8, 300: 0.02}
    standing = replace(audit.teacher, evaluation=SimpleNamespace(attacks=[attacks(rates)]))  # type: ignore[arg-type]
    weak = {75: 0.6, 150: 0.2, 300: 0.0}
    student = replace(audit.members[1], evaluation=SimpleNamespace(attacks=[attacks(weak)]))  # type: ignore[arg-type]
    found = replace(audit, members=[standing, student])
    assert found.radii == {"linf": 150}
    assert found.ball == "L∞ 0.15"
    assert found.number("student", "kept_robust").value == pytest.approx(0.25)
    assert isinstance(found.number("student", "robust"), Interval)
    assert "25.0 ± " in verdict(found)[0]
    hopeless = replace(standing, evaluation=SimpleNamespace(attacks=[attacks({75: 0.01, 150: 0})]))  # type: ignore[arg-type]
    said = verdict(replace(audit, members=[hopeless, student]))
    assert "there is no robustness to keep" in said[-1]
    assert "robust" not in said[0]


def test_typed_call_with_features(home: Path, lenet: Path) -> None:
    teacher = load_classifier(f"checkpoint:{lenet}", arch="lenet", preprocessing=Digits.native)
    recipe = DistillationRecipe(loss="fitnets", layers=("conv2",), init_from=("conv1",))
    audit = distill(
        [teacher], "lenet", Digits(limit=40), recipe, Tuning(lr=0.001), evaluation="none",
        tracking=Tracking(enabled=False), trainer=QUIET,
    )  # fmt: skip
    assert audit.names == ["teacher", "student"]
