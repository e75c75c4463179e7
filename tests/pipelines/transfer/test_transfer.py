"""`assay transfer` from the words on the command line to the page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from mlflow import MlflowClient
from torch import nn

from datamodules import Digits, UserError
from datamodules.fractions import Fraction, held_out
from datamodules.torch_data import TorchData
from lightning_modules import DivergedError, FineTuning, Tuning, load_classifier
from pipelines import report, transfer
from pipelines.report.result import load_result
from pipelines.study import Study
from pipelines.tracking import Tracking
from pipelines.transfer import cell as cell_module
from pipelines.transfer import source
from pipelines.transfer.cell import Outcome, Transfer, measured
from pipelines.transfer.command import TRAINER
from pipelines.transfer.pair import Pair, make_pair
from pipelines.transfer.recipe import MODES, Recipe
from pipelines.transfer.result import Matrix
from pipelines.transfer.source import with_head_of
from pipelines.transfer.tasks import open_models, open_tasks
from pipelines.transfer.training import tuned

Assay = Callable[..., tuple[int, str, str]]
QUICK = "--seeds 0 --limit 60 --min_steps 4 --trainer.max_epochs 2 --trainer.accelerator cpu"
UNTRACKED = "--tracking.enabled false"


@pytest.fixture
def no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than measuring here."""
    monkeypatch.setattr("pipelines.study.study.write_page", lambda results, file: file)
    monkeypatch.setattr("pipelines.study.study.save_png", lambda figure, file: None)


def words(lenet: Path, more: str) -> list[str]:
    return f"transfer --models checkpoint:{lenet} --arch lenet {QUICK} {more}".split()


def results(home: Path) -> list[Path]:
    return sorted(file.parent for file in home.glob("mlruns/results/*/result.json"))


def runs(home: Path) -> dict[str, Any]:
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("assay")
    assert experiment is not None
    return {str(run.info.run_name): run for run in client.search_runs([experiment.experiment_id])}


def test_from_words_to_a_page(
    assay: Assay, home: Path, lenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_LABELLED", 200)
    monkeypatch.setattr(source, "_TEST", 100)
    modes = " ".join(MODES)
    line = f"--data Digits --sources Digits --modes {modes} --fractions 1/class --probes fgsm"
    code, out, err = assay(*words(lenet, line))
    assert (code, "Traceback" in err) == (0, False), out
    assert f"Plan: {len(MODES)} cells, 0 known, about" in out
    assert max(map(len, out.partition("Accuracy, and")[2].splitlines())) < 160
    (folder,) = results(home)
    page = (folder / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", ""), "self-contained"
    for text in (
        "Where it can go", "Before and after", "forgotten, old head", "Predicted transfer",
        "How well the old head", "By class", "lenet moved to Digits", "fgsm linf",
    ):  # fmt: skip
        assert text in page
    assert "over 1 data sets" not in page
    tables = {file.stem: file for file in folder.glob("tables/*.json")}
    assert {"cells", "comparison", "by_class", "variability", "predicted"} <= set(tables)
    found = json.loads(tables["comparison"].read_text())
    table = pd.DataFrame(found["data"], columns=found["columns"]).set_index(["mode", "fraction"])
    assert len(table) == len(MODES)
    assert table.loc["untouched", "all"]["acc"] > 0.6, "the fixture knows digits fairly well"
    assert table.loc["probe", "1/class"]["forgot_old_head"] == 0
    full = table.loc["full", "1/class"]
    assert full["distance"] > 0
    assert full["forgot_old_head_low"] <= full["forgot_old_head"] <= full["forgot_old_head_high"]
    assert table["fgsm_linf_acc"].notna().all()
    assert f"{100 * full['acc']:.1f}" in page
    (run,) = runs(home).values()
    assert run.info.status == "FINISHED", "one model, one run"
    assert run.info.run_name == "transfer-lenet-Digits-s0"
    assert run.data.metrics["transfer/Digits_full_acc"] == pytest.approx(full["acc"])
    low, high = (run.data.metrics[f"summary/full_mean_acc_{end}"] for end in ("low", "high"))
    assert low < full["acc"] < high, "the interval of one data set is that of its images"
    assert run.data.params["cells"] == str(len(MODES))
    assert run.data.tags["question"] == "variability"
    assert run.inputs.dataset_inputs[0].dataset.name == "Digits"
    assert len(list(home.glob("mlruns/cells/*/evaluation/rows/fgsm_linf.parquet"))) == len(MODES)
    assert not list(home.rglob("*.ckpt")), "a cell keeps no checkpoint"


def test_several_models_have_a_run_each_and_stand_side_by_side(
    assay: Assay, home: Path, lenet: Path
) -> None:
    more = f"checkpoint:{lenet} --data Digits --modes probe --fractions 2/class"
    line = f"transfer --arch none lenet --models lenet {more} {QUICK}".split()
    code, out, err = assay(*line)
    assert code == 0, out + err
    named = runs(home)
    parent = named.pop("transfer-lenet-1-lenet-2-Digits-s0")
    assert set(named) == {"lenet-1", "lenet-2"}
    assert {run.data.tags["mlflow.parentRunId"] for run in named.values()} == {parent.info.run_id}
    assert {run.info.status for run in (parent, *named.values())} == {"FINISHED"}
    assert "summary/lenet-1_probe_mean_acc" in parent.data.metrics
    child = named["lenet-2"].data.metrics["transfer/Digits_probe_acc"]
    assert parent.data.metrics["transfer/lenet-2_Digits_probe_acc"] == child
    (folder,) = results(home)
    passport = (folder / "stages" / "lenet-2" / "report.html").read_text()
    assert "lenet-2 moved to Digits" in passport
    assert " of 2<" in passport, "its rank among both"
    both = [str(folder / "stages" / name) for name in ("lenet-1", "lenet-2")]
    one, other = report(both, home / "both.html")
    assert "lenet-2 moved to Digits against lenet-1" in (home / "both.html").read_text()
    shared = one.beside(other)[2][0].sheets[0].cells
    rows = [result.to_frame().set_index("mode")["acc"] for result in (one, other)]  # type: ignore[attr-defined]
    points = {str(line[1]): str(line[4]).split()[0] for line in shared}
    for mode in ("untouched", "probe"):
        assert points[mode] == f"{100 * (rows[1][mode] - rows[0][mode]):+.1f}"


def test_two_settings_do_not_overwrite_each_other_nor_stand_side_by_side(
    assay: Assay, home: Path, lenet: Path, no_pages: None
) -> None:
    line = f"--data Digits --modes last_k --fractions 2/class {UNTRACKED}"
    for more in ("", "--min_steps 2", "--tuning.ema 0.9"):
        assert assay(*words(lenet, f"{line} {more}"))[0] == 0
    folders = results(home)
    assert len(folders) == 3
    loaded = [load_result(folder) for folder in folders]
    losses = [result.tables()["comparison"].set_index("mode")["loss"] for result in loaded]
    assert len({float(table.loc["untouched"]) for table in losses}) == 1
    assert len({float(table.loc["last_k"]) for table in losses}) == 3, "every option acts, ema too"
    one, other, sections = loaded[0].beside(loaded[1])
    assert [o.transfer.mode for o in (*one.grid.outcomes, *other.grid.outcomes)] == [
        "untouched"
    ] * 2
    assert "last_k is left out" in sections[0].notes[0]


def test_an_interrupted_matrix_goes_on(
    assay: Assay, lenet: Path, no_pages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real = cell_module._measure

    def watched(outcome: Outcome, *rest: Any) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(str(outcome.transfer))
        real(outcome, *rest)

    monkeypatch.setattr(cell_module, "_measure", watched)
    asked = "--data Digits --sources Digits --modes probe --fractions 1/class 60"
    line = words(lenet, f"{asked} {UNTRACKED}")
    code, _, err = assay(*line)
    assert (code, "the same command goes on" in err) == (130, True)
    monkeypatch.setattr(
        cell_module, "_measure", lambda o, *r: done.append(str(o.transfer)) or real(o, *r)
    )
    assert assay(*line)[0] == 0
    assert len(done) == len(set(done)) == 3
    code, out, _ = assay(*line)
    assert (code, len(done), "3 known" in out) == (0, 3, True)
    code, out, _ = assay(*line, "--seeds", "0", "1")
    assert (code, len(done), "3 known" in out) == (0, 5, True), "a further seed keeps the others"
    assay(*line, "--fresh", "true")
    assert len(done) == 8


def test_a_failing_cell_takes_no_other_down(
    assay: Assay, home: Path, lenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cell_module.tuned

    def broken(pair: Pair, mode: str, *rest: Any) -> Any:
        if mode == "last_k":
            raise RuntimeError("no memory left")
        return real(pair, mode, *rest)

    monkeypatch.setattr(cell_module, "tuned", broken)
    line = words(lenet, f"--data Digits --modes last_k full --fractions 20 {UNTRACKED}")
    code, out, _ = assay(*line)
    assert code == 0
    assert "last_k 20 s0" in out
    assert "RuntimeError: no memory left" in out
    assert "1 of 3 cells failed" in out
    (folder,) = results(home)
    page = (folder / "report.html").read_text()
    assert "Failed cells" in page
    assert page.count("no memory left") == 1
    assert not list(home.glob("mlruns/cells/*.part"))
    monkeypatch.setattr(cell_module, "tuned", real)
    code, out, _ = assay(*line)
    assert (code, "2 known" in out, "failed" in out) == (0, True, False), "it is tried again"
    assert results(home) == [folder]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    options: Any = {"root": tmp_path, "arch": ["lenet"], "trainer": {"accelerator": "cpu"}}
    return Study("transfer", "variability", options, TRAINER)


@pytest.fixture
def pair(lenet: Path, study: Study) -> Pair:
    tasks = open_tasks(study, ["Digits"], 100)
    (model,) = open_models(study, [f"checkpoint:{lenet}"], tasks)
    return make_pair(study, model, tasks[0], [Fraction("200")], [0])


def test_the_values_of_a_callback_are_in_the_key() -> None:
    one, same, other = (
        Recipe(flags={"callbacks": [GradientAccumulationScheduler({0: every})]}).facts("full")
        for every in (1, 1, 8)
    )
    assert one == same
    assert one != other


RECIPE = Recipe(epochs=3, min_steps=1, flags={"accelerator": "cpu"})


def test_a_nan_loss_ends_at_the_last_good_checkpoint(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FineTuning._check

    def bad(self: FineTuning, loss: torch.Tensor) -> None:
        real(self, loss * torch.nan if self.current_epoch == 2 else loss)

    monkeypatch.setattr(FineTuning, "_check", bad)
    result = tuned(pair, "full", "200", 0, RECIPE, tmp_path)
    assert "it ends with the best epoch before it diverged" in result.notes[0]
    assert result.val_acc > 0
    assert all(bool(weight.isfinite().all()) for weight in result.classifier.parameters())
    monkeypatch.setattr(FineTuning, "_check", lambda self, loss: real(self, loss * torch.nan))
    with pytest.raises(DivergedError):
        tuned(pair, "full", "200", 0, RECIPE, tmp_path)


def test_of_equal_epochs_the_one_of_lower_loss_is_kept(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten images select: accuracies are equal, and the later epoch is better by its loss."""
    losses = []
    real = FineTuning.on_validation_epoch_end

    def watched(self: FineTuning) -> None:
        losses.append((float(self.val_acc.compute()), -float(self.val_loss.compute())))
        real(self)

    monkeypatch.setattr(FineTuning, "on_validation_epoch_end", watched)
    recipe = Recipe(tuning=Tuning(lr=1e-4), epochs=4, min_steps=1, flags={"accelerator": "cpu"})
    result = tuned(pair, "full", "200", 0, recipe, tmp_path)
    best = max(losses)
    assert [accuracy for accuracy, _ in losses].count(best[0]) > 1, "epochs that are equally good"
    assert losses.index(best) > [accuracy for accuracy, _ in losses].index(best[0])
    assert result.val_acc == pytest.approx(best[0])
    rows = pair.chosen["200", 0]
    _, select = held_out(pair.pool.label[rows], 0)
    chosen = pair.extracted(result.classifier, pair.pool.subset(rows[select]))
    loss = torch.nn.functional.cross_entropy(chosen.logits, chosen.label)
    assert float(loss) == pytest.approx(-best[1], abs=1e-5)  # another batch shape


@pytest.mark.parametrize("mode", ["last_k", "staged", "l2_sp", "full"])
def test_a_training_leaves_the_model_alone_and_repeats(
    pair: Pair, tmp_path: Path, mode: str
) -> None:
    before = {k: v.clone() for k, v in pair.model.classifier.state_dict().items()}
    first, again = (tuned(pair, mode, "200", 0, RECIPE, tmp_path) for _ in range(2))
    for name, weight in pair.model.classifier.state_dict().items():
        assert torch.equal(weight, before[name])
    for name, weight in first.classifier.state_dict().items():
        assert torch.equal(weight, again.classifier.state_dict()[name])
    assert first.samples == 200
    assert 0 < first.val_acc <= 1
    assert not first.classifier.training
    assert not list(tmp_path.glob("*.ckpt"))


def test_frozen_blocks_are_bit_equal(pair: Pair, tmp_path: Path) -> None:
    recipe = Recipe(Tuning(ema=0.9), epochs=3, min_steps=1, flags={"accelerator": "cpu"})
    before = pair.model.classifier.state_dict()
    for one in (RECIPE, recipe):  # an average must not move what is frozen either
        after = tuned(pair, "last_k", "200", 0, one, tmp_path).classifier.state_dict()
        moved = {n.split(".")[1] for n in before if not torch.equal(before[n], after[n])}
        assert moved == {"fc2", "fc3"}


def test_the_old_head_on_the_new_backbone(pair: Pair, tmp_path: Path) -> None:
    after = tuned(pair, "full", "200", 0, RECIPE, tmp_path).classifier
    original = pair.model.classifier
    restored = with_head_of(after, original)
    for name, weight in restored.state_dict().items():
        expected = (original if "fc3" in name else after).state_dict()[name]
        assert torch.equal(weight, expected), name


def test_classes_that_differ_get_a_new_head_and_are_said(pair: Pair, study: Study) -> None:
    model = pair.model
    model.classifier.classes = tuple("abcdefghij")
    other = make_pair(study, model, pair.task, [Fraction("20")], [0])
    assert not other.own_head
    assert "10 source classes, other than these 10" in other.notes()[-1]
    head = other.copied(0).model.get_submodule("fc3").weight
    assert not torch.equal(head, model.classifier.model.get_submodule("fc3").weight)  # type: ignore[arg-type]
    outcome = measured(study, Transfer("m", "d", "untouched"), other, None, RECIPE)
    assert outcome.status == "ok", outcome.error
    assert outcome.rows["correct"].mean() > 0.2, "LEEP's conditional reads the old head"


def test_the_same_classes_in_another_order_keep_their_head(pair: Pair, study: Study) -> None:
    """By hand: what the network called class k is class 9 - k of the data, image by image."""
    classifier, data = pair.model.classifier, pair.task.data
    image = pair.data.taken("test", 100)
    before = classifier(image.image).argmax(1)
    data.classes, classifier.classes = tuple("abcdefghij"), tuple("jihgfedcba")
    other = make_pair(study, pair.model, pair.task, [Fraction("20")], [0])
    assert other.own_head
    assert other.notes()[0].startswith("Outputs put into the data's order by name")
    assert classifier.classes == tuple("jihgfedcba"), "the model itself stays"
    outcome = measured(study, Transfer("m", "d", "untouched"), other, None, RECIPE)
    prediction = outcome.rows.set_index("index").loc[image.index.tolist(), "prediction"]
    assert prediction.tolist() == (9 - before).tolist()


def test_data_of_another_size_are_one_failed_cell(study: Study) -> None:
    """The second data set, which no meeting of model and data has seen."""

    def images(side: int) -> TorchData:
        return TorchData(*[(torch.rand(40, 1, side, side), torch.arange(40) % 4)] * 2, classes=4)

    network = nn.Sequential(nn.Flatten(), nn.Linear(100, 4))
    flags = {"accelerator": "cpu"}
    matrix = transfer(network, [images(10), images(8)], root=study.root, trainer=flags)
    assert matrix is not None
    (failed,) = matrix.grid.failed
    assert "cannot answer images of 1x8x8" in failed.error
    with pytest.raises(UserError, match="cannot answer images of 1x8x8"):
        transfer(network, [images(8)], root=study.root, trainer=flags)


def test_from_python_with_objects(home: Path, lenet: Path, no_pages: None) -> None:
    """A network and a data module, which are left as they were; a result that shows itself."""
    network = load_classifier(f"checkpoint:{lenet}", arch="lenet").model
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    data = Digits(limit=200)
    seen = data.preprocessing
    matrix = transfer(
        network, data, ["probe"], fractions=["60"], limit=50, tracking=Tracking(enabled=False),
        trainer={"accelerator": "cpu"},
    )  # fmt: skip
    assert isinstance(matrix, Matrix)
    assert not matrix.grid.failed
    assert data.preprocessing == seen
    assert len(data.images("test")) > 50
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    assert len(matrix.grid.outcomes[0].rows) == 50
    shown = matrix._repr_html_()
    assert f"{100 * matrix.to_frame()['acc'].iloc[1]:.1f}" in shown
    (folder,) = results(home)
    loaded = load_result(folder)
    assert isinstance(loaded, Matrix)
    for name, table in matrix.tables().items():
        pd.testing.assert_frame_equal(table, loaded.tables()[name])
    assert loaded.sentences() == matrix.sentences()
    assert loaded.about == matrix.about
    assert repr(loaded.headline()) == repr(matrix.headline())
    assert np.isfinite([number.interval.value for number in loaded.headline().values()]).all()


CASES = {
    "unknown data": ("--data Digitss", "There is no data set 'Digitss'. Did you mean 'Digits'?"),
    "unknown mode": ("--data Digits --modes ful", "There is no mode 'ful'. Did you mean 'full'?"),
    "unknown source": ("--data Digits --sources MNISTT", "Did you mean 'MNIST'?"),
    "unknown probe": ("--data Digits --probes fgsmm", "Did you mean 'fgsm'?"),
    "unknown option": ("--data Digits --fractionss 5", "Did you mean '--fractions'?"),
    "too small": ("--data Digits --fractions 9", "at least one image a class, but got 9 for 10"),
    "too large": (
        "--data Digits --fractions 500/class",
        "for `fractions` 500/class, but one class",
    ),
    "no fraction": ("--data Digits --fractions half", "like 5/class, 1000 or all, but got 'half'"),
    "architectures": ("--data Digits --arch lenet lenet", "`arch` once for all models or 1 times"),
    "no epochs": ("--data Digits --trainer.max_epochs -1", "`epochs` to be at least 1, but got -1"),
    "no steps": ("--data Digits --min_steps 0", "`min_steps` to be at least 1, but got 0"),
    "a mode twice": ("--data Digits --tuning.mode linear_probe", "say --modes probe"),
    "no such folder": ("--data ImageFolder:nowhere", "There is no folder 'nowhere'"),
    "no such file": ("--models lenet checkpoint:no.pt --data Digits", "'no.pt' (`--models`"),
    "no seed": ("--data Digits --seeds one", "seeds"),
    "no model": ("--data Digits --models lennet", "Did you mean 'lenet'?"),
    "several devices": (
        "--data Digits --trainer.devices 2",
        "`trainer.devices` 1: cells are small",
    ),
}


@pytest.mark.parametrize(("line", "message"), CASES.values(), ids=CASES)
def test_mistakes(assay: Assay, home: Path, line: str, message: str) -> None:
    first = [] if "--models" in line else ["--models", "lenet"]
    more = [] if "accelerator" in line else ["--trainer.accelerator", "cpu"]
    code, out, err = assay("transfer", *first, *line.split(), *more)
    assert (code, message in err, "Traceback" in out + err) == (2, True, False), err
    assert not results(home)
