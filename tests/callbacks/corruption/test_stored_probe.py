"""Prepared sets: rows are those of a loop by hand over the stored files."""

from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch

from callbacks import Budget, Clean, brought
from callbacks.corruption import CORRUPTIONS
from callbacks.corruption.alexnet import ERRORS
from callbacks.corruption.stored import StoredProbe, stored_probes
from callbacks.corruption.summary import against_alexnet, summarise
from callbacks.grid import Grid
from callbacks.randomness import Draw
from callbacks.results import ProbeResult
from datamodules import CIFAR10, Digits, ImageDataModule, Prepared
from lightning_modules import Classifier, load_classifier


def stored(root: Path, clean: ImageDataModule, names: tuple[str, ...]) -> Path:
    """Writes a set in the layout of CIFAR-10-C, made by the engine, whose grey levels are whole."""
    images = clean.images("test")
    batch = images.__getitems__(list(range(len(images))))
    whole = int(batch.index.max()) + 1
    label = np.zeros(whole, np.uint8)
    label[batch.index] = batch.label
    np.save(root / "labels.npy", np.tile(label, 5))
    for name in names:
        shape = (5, whole, *batch.image.shape[2:], batch.image.shape[1])
        arrays = np.zeros(shape, np.uint8)
        for severity in range(1, 6):
            image = batch.image if batch.image.is_floating_point() else batch.image.float() / 255
            made = CORRUPTIONS[name]()(image, severity, Draw(0, batch.index))
            levels = (255 * made).round().to(torch.uint8).movedim(1, -1)
            arrays[severity - 1, batch.index.numpy()] = levels.numpy()
        np.save(root / f"{name}.npy", arrays.reshape(-1, *shape[2:]))
    return root


def rows_of(
    data: Prepared, classifier: Classifier, limit: int | None = None
) -> dict[str, pd.DataFrame]:
    probes = [Clean(), *brought(data, Budget(limit, chunk=16))]
    data.adopt(classifier.preprocessing)
    trainer = L.Trainer(
        accelerator="cpu", devices=1, logger=False, callbacks=[*probes],
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.test(classifier, data, verbose=False)
    return {probe.name: probe.rows for probe in probes}


def by_hand(root: Path, name: str, severity: int, index: list[int], model: Classifier) -> list[int]:
    """What anybody would write for CIFAR-10-C: `np.load`, a slice, a forward."""
    n = len(np.load(root / "labels.npy")) // 5
    block = np.load(root / f"{name}.npy")[(severity - 1) * n : severity * n][index]
    with torch.no_grad():
        return model(torch.from_numpy(block).permute(0, 3, 1, 2).float() / 255).argmax(1).tolist()


def check(root: Path, classifier: Classifier, rows: dict[str, pd.DataFrame]) -> None:
    for name in ("contrast", "gaussian_noise"):
        for severity, part in rows[name].groupby("severity"):
            index = part["index"].tolist()
            expected = by_hand(root, name, int(severity), index, classifier)  # type: ignore[arg-type]
            assert part["prediction"].tolist() == expected
            assert part["value"].unique().tolist() == [severity]
    assert set(rows["contrast"]["severity"]) == {1, 2, 3, 4, 5}


def test_rows_are_those_of_a_loop_by_hand(tmp_path: Path, classifier: Classifier) -> None:
    clean = Digits(limit=40)
    root = stored(tmp_path, clean, ("contrast", "gaussian_noise"))
    rows = rows_of(Prepared(root, clean=Digits(limit=40), limit=23, batch_size=7), classifier)
    check(root, classifier, rows)
    assert len(rows["contrast"]) == 5 * 23
    assert set(rows["contrast"]["index"]) == set(rows["clean"]["index"])
    images = clean.images("test")
    row = {int(i): n for n, i in enumerate(images.index)}
    first = rows["contrast"].iloc[0]
    batch = images.__getitems__([row[int(first["index"])]])
    made = CORRUPTIONS["contrast"]()(batch.image, 1, Draw(0, batch.index))
    change = float((made - batch.image).square().mean().sqrt())
    assert first["change"] == pytest.approx(change, abs=1e-6)


def test_rows_of_cifar10_are_those_of_a_loop_by_hand(tmp_path: Path, shared_data: Path) -> None:
    clean = CIFAR10(root=shared_data / "cifar10", limit=30)
    (weights,) = (shared_data / "weights").glob("resnet20-*.th")
    model = load_classifier(f"checkpoint:{weights}", arch="cifar_resnet20").eval()
    model.chunk = 16
    root = stored(tmp_path, clean, ("contrast", "gaussian_noise"))
    check(root, model, rows_of(Prepared(root, clean=clean), model))


def test_a_limit_is_the_probes_own(tmp_path: Path, classifier: Classifier) -> None:
    root = stored(tmp_path, Digits(limit=40), ("contrast", "gaussian_noise"))
    rows = rows_of(Prepared(root, clean=Digits(limit=40)), classifier, limit=11)
    check(root, classifier, rows)
    assert rows["contrast"]["index"].nunique() == 11


def test_other_data_sets_bring_nothing() -> None:
    assert stored_probes(Digits(), Budget()) == []


def test_a_key_has_the_content(tmp_path: Path, classifier: Classifier) -> None:
    root = stored(tmp_path, Digits(limit=20), ("contrast",))

    def algorithm() -> str:
        data = Prepared(root, clean=Digits(limit=20))
        data.adopt(classifier.preprocessing)
        (probe,) = stored_probes(data, Budget())
        assert isinstance(probe, StoredProbe)
        probe.prepare(classifier, data)
        return probe.algorithm

    before = algorithm()
    assert before.endswith("; 10 classes")
    assert "at 8x8 px" in before
    array = np.load(root / "contrast.npy")
    np.save(root / "contrast.npy", array[::-1].copy())
    assert algorithm() != before


# -- what they amount to ---------------------------------------------------------------------------


def result(name: str, severities: int = 5, side: int = 224, classes: int = 1000) -> ProbeResult:
    rows = pd.DataFrame(
        {
            "index": i, "setting": name, "severity": s, "value": float(s), "label": i % 5,
            "prediction": 0, "correct": float(i % 3 == 0), "loss": 1.0, "brier": 1.0,
            "confidence": 0.5 + 0.01 * (i % 7), "forwards": 1, "backwards": 0, "seconds": 0.0,
        }
        for s in range(1, severities + 1) for i in range(12)
    )  # fmt: skip
    said = f"stored {name} of Prepared:C at {side}x{side} px, content 0a; {classes} classes"
    return ProbeResult(name, "corruption", name.title(), "severity", said, 3.0, rows)


@pytest.mark.parametrize(("side", "classes", "told"), [(224, 1000, True), (32, 10, False)])
def test_alexnet_stands_beside_stored_imagenet_c_alone(side: int, classes: int, told: bool) -> None:
    results = [result(name, side=side, classes=classes) for name in ERRORS]
    numbers = against_alexnet(Grid([*results, result("spatter")]), None)
    assert ("mce" in numbers) == told
    assert "relative_mce" not in numbers  # there are no undisturbed images
    if told:
        alone = against_alexnet(Grid(results), None)
        assert numbers["mce"].interval == alone["mce"].interval  # without the held-out one
        assert "the stored images" in numbers["mce"].note


def test_the_held_out_four_are_not_in_the_mean_of_the_fifteen() -> None:
    results = [result(name, severities=1) for name in ERRORS]
    assert "corruption_fifteen_acc" not in summarise(results, None).numbers
    perfect = result("spatter", severities=1)
    perfect = replace(perfect, rows=perfect.rows.assign(correct=1.0))
    numbers = summarise([*results, perfect], None).numbers
    assert numbers["corruption_fifteen_acc"].interval.value == pytest.approx(4 / 12)
    assert numbers["corruption_acc"].interval.value == pytest.approx((15 * 4 / 12 + 1) / 16)


def test_a_partial_set_says_so() -> None:
    summary = summarise([result("fog"), result("snow", severities=3)], None)
    said = " ".join(summary.sentences)
    assert "Means are over severities 1, 2, 3 alone, as snow lack 4, 5." in said
    assert "lacks 13 of the fifteen" in said
    assert "mce" not in summary.numbers
    assert "corruption_pictures" not in summary.figures  # none of the engine's, which are others


def test_computed_and_stored_are_told_apart() -> None:
    computed = replace(result("fog"), algorithm="Fog(), constants for 32 px: (1); 10 classes")
    note = summarise([computed, result("snow")], None).numbers["corruption_acc"].note
    assert "stored at and constants for 224 and 32 px" in note
