"""From the command line to the page, with a model and without, and what goes wrong at the door."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from datamodules import CIFAR10, Digits
from datamodules.torch_data import TorchData
from pipelines import audit
from pipelines.audit.duplicates import NearRule, find_duplicates
from pipelines.audit.fingerprints import fingerprints
from pipelines.report.result import load_result
from pipelines.tracking import Tracking

Assay = Callable[..., tuple[int, str, str]]


@pytest.fixture
def quiet(home: Path) -> dict[str, Any]:
    return {"tracking": Tracking(enabled=False), "trainer": {"accelerator": "cpu"}}


def spoiled_digits() -> TorchData:
    """Digits of which five test images were learnt from, two of them under another label."""
    digits = Digits(limit=200)
    train, test = digits.images("train"), digits.images("test")
    image, label = test.image.clone(), test.label.clone()  # type: ignore[attr-defined]
    image[:5], label[:5] = train.image[20:25], train.label[20:25]  # type: ignore[attr-defined]
    label[:2] = (label[:2] + 1) % 10
    image[7] = 0.5
    pairs = (train.image, train.label)  # type: ignore[attr-defined]
    return TorchData((image, label), pairs, classes=list("0123456789"), name="Spoiled")


def test_everything_from_the_command_line(assay: Assay, home: Path, lenet: Path) -> None:
    words = (
        f"audit --data Digits --data.limit 300 --model checkpoint:{lenet} --arch lenet "
        "--trainer.accelerator cpu --chunk 64"
    ).split()
    code, out, err = assay(*words)
    assert code == 0, err
    assert "A classifier cannot tell train and test images apart" in out
    assert "With `limit` 300 only a part of every split was read" in out
    (folder,) = (home / "mlruns" / "results").iterdir()
    result: Any = load_result(folder)
    assert list(result.tables()["splits"]["split"]) == ["train", "val", "test"]
    page = (folder / "report.html").read_text()
    assert "Labels that are suspected" in page
    assert " nan" not in page.lower()
    store = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    (run,) = store.search_runs([store.get_experiment_by_name("assay").experiment_id])
    assert {"summary/test_twins", "audit/train_test_auroc"} <= set(run.data.metrics)
    assert all(key.count("/") == 1 for key in run.data.metrics)
    assert (run.info.status, run.data.tags["question"]) == ("FINISHED", "data")
    answers = result.found.answers
    accuracy = result.accuracy.set_index("images")["value"]
    assert accuracy["all"] == pytest.approx((answers["prediction"] == answers["label"]).mean())
    for name, table in result.tables().items():
        pd.testing.assert_frame_equal(table, load_result(folder).tables()[name])


def test_planted_findings_are_told_without_a_model(quiet: Any) -> None:
    result = audit(spoiled_digits(), near=NearRule(turned=False), **quiet)
    rows = result.to_frame()
    exact = rows[(rows["finding"] == "exact") & (rows["split"] == "test")]
    assert sorted(exact["index"]) == [0, 1, 2, 3, 4]
    assert int((exact["label"] != exact["partner_label"]).sum()) == 2
    assert set(exact["partner_split"]) <= {"train", "val"}
    assert rows.loc[rows["finding"] == "constant", "index"].tolist() == [7]
    said = " ".join(result.sentences())
    assert "exactly" in said
    assert result.accuracy is None
    twins = result.headline()["test_twins"].interval
    near = rows[(rows["split"] == "test") & (rows["partner_split"] == "train")]
    assert twins.value == pytest.approx(near["index"].nunique() / 200)


def test_labels_that_nobody_can_judge_are_not_suspected(quiet: Any) -> None:
    draw = torch.Generator().manual_seed(0)
    images = [(torch.rand(n, 1, 8, 8, generator=draw), torch.arange(n) % 4) for n in (80, 160)]
    result = audit(TorchData(*images, classes=4, name="Noise"), **quiet)
    assert "label" not in set(result.to_frame()["finding"])
    assert "The test labels could not be judged" in " ".join(result.sentences())
    assert "test_suspects" not in result.headline()
    assert len(result.to_frame()) == 0, "noise has no twins either"


def test_test_images_alone(quiet: Any) -> None:
    digits = Digits(limit=120).images("test")
    pair = (digits.image, digits.label)  # type: ignore[attr-defined]
    result = audit(TorchData(pair, classes=10, name="Alone"), **quiet)
    assert any("Only test images were audited" in note for note in result.about.notes)
    assert list(result.headline()) == ["test_suspects", "imbalance"]
    assert "cross-validated" in " ".join(result.sentences())


@pytest.mark.slow
def test_jpeg_copies_of_cifar_are_found(shared_data: Path) -> None:
    """CIFAR-10's first test images among all of them as JPEG files of quality 75."""
    root = shared_data / "cifar10"
    png = CIFAR10(root).images("test")
    jpeg = CIFAR10(root, test_archive="jpeg75").images("test")
    splits = {"test": fingerprints(png), "train": fingerprints(jpeg)}
    found = find_duplicates(splits, NearRule(turned=False))
    pairs = found.pairs.query("split == 'test' and partner_split == 'train'")
    assert pairs["index"].nunique() / len(png) > 0.99
    assert (pairs["label"] == pairs["partner_label"]).mean() > 0.999
    rows = torch.tensor([int((png.index == i).nonzero()) for i in pairs["index"]])
    partners = torch.tensor([int((jpeg.index == i).nonzero()) for i in pairs["partner_index"]])
    apart = png.image[rows].float() - jpeg.image[partners].float()  # type: ignore[attr-defined]
    error = apart.square().mean((1, 2, 3)).sqrt()
    assert (error < 25).float().mean() > 0.99, "partners are copies and not look-alikes"


MISTAKES = {
    "radius": ("--near.radius 90", "Expected `near.radius` from 0 to 63 bits, but got 90"),
    "ratio": ("--near.ratio 2", "Expected `near.ratio` between 0 and 1, but got 2"),
    "data": ("--data Digit", "There is no data set 'Digit'"),
    "devices": ("--trainer.accelerator cpu --trainer.devices 2", "a data audit compares all"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str, assay: Assay) -> None:
    flags, expected = MISTAKES[case]
    data = () if "--data" in flags else ("--data", "Digits")
    code, _, err = assay("audit", *data, *flags.split(), "--tracking.enabled", "false")
    assert code == 2, err
    assert expected in err
    assert "Traceback" not in err
