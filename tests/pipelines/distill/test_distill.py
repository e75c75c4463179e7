"""From the command line to the result, and what is said to a user's mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from torch import nn

from datamodules import Digits, Preprocessing
from lightning_modules import Classifier, DivergedError, Tuning, load_classifier
from lightning_modules.distillation import DistillationRecipe
from pipelines import distill
from pipelines.distill import command as module
from pipelines.distill import controls, opened
from pipelines.distill.answers import answer_test, clean_rows
from pipelines.distill.controls import CONTROLS, TITLES
from pipelines.distill.plan import make_plan, usual_attack
from pipelines.study.arguments import parse

Assay = Callable[..., tuple[int, str, str]]


def words(lenet: Path, *more: str) -> list[str]:
    return [
        *("distill", "--teacher", f"checkpoint:{lenet}", "--arch", "lenet", "--student", "lenet"),
        *("--data", "Digits", "--data.limit", "60", "--chunk", "32"),
        *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
        *("--trainer.enable_progress_bar", "false", *more),
    ]


def runs(home: Path) -> list[Any]:
    store = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    return store.search_runs([store.get_experiment_by_name("assay").experiment_id])


def test_everything_from_the_command_line(assay: Assay, lenet: Path, home: Path) -> None:
    code, out, err = assay(*words(lenet, "--seeds", "0", "1"))
    assert code == 0, err
    (folder,) = (home / "mlruns" / "results").iterdir()
    table = pd.read_json(folder / "tables" / "models.json", orient="split")
    assert list(table["model"]) == ["teacher", "student"]
    assert list(table["seeds"]) == [1, 2]
    assert table["robust"].notna().all()
    assert (table[["bytes", "latency", "throughput"]] > 0).all(axis=None)
    paired = pd.read_json(folder / "tables" / "paired.json", orient="split")
    assert {"clean", "fgsm_linf", "pgd_linf", "zero", "bit_flip"} == set(paired["setting"])
    assert "The student gets" in out
    page = (folder / "report.html").read_text()
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", ""), "needs nothing beside it"
    drawn = {file.stem for file in (folder / "figures").iterdir()}
    of_both = {"accuracy_size", "robustness_size"}
    assert drawn == of_both | {"confusion", "reliability", "examples_0"}
    found = {run.info.run_name: run for run in runs(home)}
    parent = found.pop("distill-lenet-from-lenet-Digits-s0")
    assert set(found) == {"teacher", "student s0", "student s1"}
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent.info.run_id}
    assert {run.info.status for run in (parent, *found.values())} == {"FINISHED"}
    assert all(key.count("/") == 1 for run in found.values() for key in run.data.metrics)
    assert "summary/student_acc" in parent.data.metrics
    assert [one.dataset.name for one in parent.inputs.dataset_inputs] == ["Digits"]
    assert parent.data.params["distillation.temperature"] == "4.0"
    assert "adversarial/pgd_linf_acc" in parent.data.metrics, "curves where the experiment shows"
    store = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    accuracies = store.get_metric_history(parent.info.run_id, "distillation/student_acc")
    assert sorted(point.step for point in accuracies) == [0, 1]
    # Training and evaluation of a model are one run, with its curves and the model itself.
    student = found["student s0"]
    assert {"train/loss", "val/agreement", "adversarial/pgd_linf_acc"} <= set(student.data.metrics)
    assert student.outputs.model_outputs
    assert student.info.run_id in page, "the page says which run"
    weights = next((home / "mlruns" / "checkpoints").glob("*-student-s0-*"))
    assert load_classifier(f"checkpoint:{weights}").architecture == "builtin:lenet"
    # Other settings have a folder and runs of their own; what was trained is not trained again.
    code, _, err = assay(*words(lenet, "--seeds", "0", "--evaluation", "none"))
    assert code == 0, err
    assert len(list((home / "mlruns" / "results").iterdir())) == 2
    assert len(list((home / "mlruns" / "checkpoints").iterdir())) == 2, "a seed each"
    assert (folder / "report.html").read_text() == page
    again = [run for run in runs(home) if run.info.run_name == "student s0"]
    assert len(again) == 2
    assert all("train/loss" in run.data.metrics for run in again), "with its curves"
    # The same from what MLflow keeps, beside itself on disk.
    code, out, err = assay("report", parent.info.run_id, str(folder), "--out", "both.html")
    assert code == 0, err
    assert out.count("The student gets") == 2
    assert "At a glance" in (home / "both.html").read_text()


def test_what_is_saved_is_what_was_measured(teacher: Classifier, quiet: Any, home: Path) -> None:
    data = Digits(limit=80)
    before = data.preprocessing
    result = distill(teacher, "lenet", data, seeds=[3], **quiet)
    assert data.preprocessing == before, "the data are left as they were found"
    (folder,) = (home / "mlruns" / "checkpoints").iterdir()
    student = load_classifier(f"checkpoint:{folder}")
    other = distill(
        teacher, "lenet", data, DistillationRecipe(temperature=2), seeds=[3], **quiet
    )  # fmt: skip
    assert other.models[1].digest != result.models[1].digest, "another recipe, another training"
    own, its = (answer_test([model], data) for model in (student, teacher))
    columns = ["index", "prediction", "loss", "kl"]
    rows = clean_rows(*own, its[2])[columns]
    pd.testing.assert_frame_equal(rows, result.models[1].rows[columns])
    assert sorted(own[0].tolist()) == sorted(data.test_index.tolist())


def test_every_control_takes_its_place(teacher: Classifier, quiet: Any, home: Path) -> None:
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    of_one_task = [name for name in CONTROLS if name != "single_task"]
    result = distill([teacher], "lenet", Digits(limit=40), controls=of_one_task, **quiet)  # type: ignore[arg-type]
    comparison = result.comparison
    assert comparison.names == ["teacher", "student", *(TITLES[name] for name in of_one_task)]
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    taken = {model.name: model.footprint for model in result.models}
    assert taken["pruned teacher"].macs <= taken["student"].macs
    assert taken["int8 teacher"].bytes < 0.27 * taken["teacher"].bytes
    assert comparison.number("int8 teacher", "agreement").value > 0.95, "hardly another model"
    pruned = load_classifier(result.models[-2].source)
    zeros = sum(int((p == 0).sum()) for p in pruned.parameters())
    left = taken["teacher"].parameters - zeros
    assert left == taken["pruned teacher"].parameters, "saved with its zeros, and loads"


def test_several_teachers_and_few_labels(quiet: Any) -> None:
    result = distill(["lenet", "lenet"], "lenet", Digits(limit=80), labelled=20, **quiet)
    assert result.comparison.teacher.footprint.parameters == 2 * 44_426
    assert result.comparison.radii == {}, "attacks are of single models"
    assert any("Labels of 20 training images" in note for note in result.about.notes)
    assert [model["name"] for model in result.about.models] == [
        "student lenet", "teacher lenet", "teacher lenet",
    ]  # fmt: skip


def test_teachers_of_other_sizes_and_channels(teacher: Classifier, quiet: Any) -> None:
    wanted = Preprocessing(channels=3, resize=(16, 16), mean=(0.0,) * 3, std=(1.0,) * 3)
    body = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.Flatten(), nn.Linear(36, 10))
    other = Classifier(body, classes=10, preprocessing=wanted, architecture="test")
    result = distill([teacher, other], "lenet", Digits(limit=80), **quiet)
    data = Digits(limit=80)
    index, _, own = answer_test([teacher], data)
    data.adopt(wanted)
    *_, its = answer_test([other], data)
    mean = (own.softmax(1) + its.softmax(1)) / 2
    rows = result.comparison.teacher.rows
    assert rows["index"].tolist() == index.tolist()
    # Grey images that were made larger, copied to three channels and made grey again, differ in
    # their last digits from those that never were.
    agree = (rows["prediction"].to_numpy() == mean.argmax(1).numpy()).mean()
    assert agree > 0.9


def test_a_random_teacher_keeps_no_parameter(teacher: Classifier, quiet: Any) -> None:
    """Also not one that belongs to no layer, such as an embedding of positions."""

    class Positioned(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.position = inner, nn.Parameter(torch.linspace(0, 1, 64).view(8, 8))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.inner(image + self.position)

    seen: list[dict[str, torch.Tensor]] = []
    teacher.model = Positioned(teacher.model)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}

    def spied(study: Any, plan: Any, seed: int, name: str, teachers: Any) -> Any:
        seen.append(teachers.classifiers[0].state_dict())
        raise DivergedError("enough")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(controls, "train_student", spied)
        distill([teacher], "lenet", Digits(limit=40), controls=["random_teacher"], **quiet)
    (drawn,) = seen
    assert all(not bool((drawn[name] == before[name]).any()) for name in before)


@pytest.mark.parametrize("loads", [True, False], ids=["loads weights", "draws them"])
def test_a_student_like_its_teacher_starts_with_fresh_weights(
    quiet: Any, home: Path, monkeypatch: pytest.MonkeyPatch, loads: bool
) -> None:
    """Also where the function that makes the teacher loads its trained weights."""
    code = f"""
import torch
def made():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    if {loads}:
        torch.nn.init.eye_(net[1].weight)
    return net
"""
    name = f"loading_{loads}"
    (home / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(home))
    seen: list[torch.Tensor] = []

    def spied(*of: Any) -> Any:
        plan = make_plan(*of)
        seen.extend(plan.make_student(one).model[1].weight.detach() for one in (0, 1))
        raise DivergedError("enough")

    monkeypatch.setattr(opened, "make_plan", spied)
    with pytest.raises(DivergedError, match="enough"):
        distill(f"python:{name}:made", "self", Digits(limit=40), **quiet)
    assert not torch.equal(*seen)
    assert all(float(weight.std()) < 0.08 for weight in seen), "uniform in 1/8: 0.072; eye: 0.12"


def test_robust_losses_bring_their_attack(teacher: Classifier, quiet: Any) -> None:
    """And a seed's student is the same whichever were trained before it in this process."""
    recipe, data = DistillationRecipe(loss="rslad"), Digits(limit=40)
    result = distill([teacher], "self", data, recipe, seeds=[1], **quiet)
    assert result.comparison.number("student", "agreement").value >= 0
    assert any("against one attack" in note for note in result.about.notes)
    both = distill([teacher], "self", data, recipe, seeds=[0, 1], fresh=True, **quiet)
    assert both.models[2].digest == result.models[1].digest
    attack = usual_attack(DistillationRecipe(loss="ard"), Digits())
    assert repr(attack).startswith("AdversarialTraining(PGD(steps=10, step_size=0.05"), "eps / 4"
    assert usual_attack(DistillationRecipe(), Digits()) is None


class Bomb(Classifier):
    """Answers NaN in training once `explodes` says so."""

    explodes: Callable[[], bool]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = super().forward(image)
        return logits * float("nan") if self.training and self.explodes() else logits


def test_a_loss_that_is_no_number_stops_at_the_last_good_epoch(
    teacher: Classifier, quiet: Any
) -> None:
    """The learning rate explodes in the third epoch, after two that were kept."""
    student = load_classifier("lenet", preprocessing=Digits.native)
    student.__class__ = Bomb
    calls = {"n": 0}

    def exploded() -> bool:
        calls["n"] += 1
        return calls["n"] > 2  # one batch an epoch

    student.explodes = exploded  # type: ignore[attr-defined]
    quiet["trainer"] |= {"max_epochs": 9}
    with pytest.raises(DivergedError, match="The best epoch before is kept in") as caught:
        distill([teacher], student, Digits(limit=40), **quiet)
    folder = Path(str(caught.value).split("'")[-2])
    state = load_classifier(f"checkpoint:{folder}").state_dict()
    assert all(bool(value.isfinite().all()) for value in state.values())


def test_a_control_that_diverges_is_shown_and_tried_again(
    teacher: Classifier, quiet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(*_: object) -> None:
        raise DivergedError("The training loss became nan.")

    given = ([teacher], "lenet", Digits(limit=40))
    with monkeypatch.context() as patched:
        patched.setitem(CONTROLS, "label_only", diverging)  # type: ignore[arg-type]
        result = distill(*given, controls=["label_only"], **quiet)
    assert result.comparison.names == ["teacher", "student"]
    assert result.failed == {"label only s0": "The training loss became nan."}
    assert any("label only s0 failed" in note for note in result.about.notes)
    again = distill(*given, controls=["label_only"], **quiet)
    assert again.failed == {}
    assert again.comparison.names == ["teacher", "student", "label only"]


MISTAKES = {
    "unknown loss": ("--distillation.loss kdd", "distillation.loss"),
    "unknown layer": (
        "--distillation.loss fitnets --distillation.layers conv9",
        "There is no layer 'conv9' in the model. Did you mean 'conv",
    ),
    "unknown teacher": ("--teacher checkpoint:nothing.pt", "There is no file 'nothing.pt'"),
    "unknown control": ("--controls label", "controls"),
    "seeds": ("--seeds 1 1", "different `seeds`"),
    "labelled": ("--labelled 3", "Expected `labelled` from 10 (one image a class) to"),
    "cache": ("--distillation.cache true --data.augment crop", "another random image"),
    "class spaces": ("--data ImageFolder:two", "but 'checkpoint:"),
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
    flags, expected = MISTAKES[case]
    epochs = ("--trainer.max_epochs", "3", "--data.batch_size", "16") if case == "diverges" else ()
    code, _, err = assay(
        *words(lenet, *epochs, *flags.split(), "--evaluation", "none"),
        *("--tracking.enabled", "false"),
    )
    assert code == 2, err
    assert expected in err
    assert "Traceback" not in err


@pytest.mark.parametrize("form", ["0 1", "[0,1]", "[0, 1]"])
def test_lists_are_given_in_both_forms(form: str) -> None:
    numbers = [form] if form.startswith("[") else form.split()
    given = parse(
        module.distill,
        [
            *("--teacher", "a", "b", "--student", "lenet", "--data", "Digits"),
            *("--seeds", *numbers, "--distillation.teacher_weights", *numbers),
            *("--controls", "pruned", "int8", "--distillation.init_from", "conv1"),
        ],
        {},
    )
    assert given["teacher"] == ["a", "b"]
    assert given["seeds"] == [0, 1]
    assert given["controls"] == ["pruned", "int8"]
    assert given["distillation"].teacher_weights == (0.0, 1.0)
    assert given["distillation"].init_from == ("conv1",)


def test_typed_call_with_features(teacher: Classifier, quiet: Any) -> None:
    recipe = DistillationRecipe(loss="fitnets", layers=("conv2",), init_from=("conv1",))
    data = Digits(limit=40)
    result = distill([teacher], "lenet", data, recipe, Tuning(lr=0.001), **quiet)
    assert result.comparison.names == ["teacher", "student"]
    assert result.parameters()["distillation.layers"] == ["conv2"]


def test_networks_and_names_from_python(quiet: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A plain network teaches a plain network, on a data set by its name."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    result = distill(network, network, "Digits", **quiet)
    assert result.comparison.names == ["teacher", "student"]
    assert result.title == "Sequential from Sequential by kd on Digits"
    assert "cpu" not in capsys.readouterr().err.lower()
