"""The probe, and what its rows amount to."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from callbacks import FAMILIES, CameraProbe
from callbacks.camera import CAMERAS
from callbacks.corruption import CORRUPTIONS, FAMILY, CorruptionProbe
from callbacks.corruption.alexnet import ERRORS, mean_corruption_error, relative_corruption_error
from callbacks.corruption.figures import picture_sheet, scene
from callbacks.corruption.summary import against_alexnet, summarise
from callbacks.grid import Grid
from callbacks.randomness import Draw
from callbacks.results import ProbeResult
from datamodules import Digits
from datamodules.errors import UserError
from lightning_modules import Classifier

# torchvision's ResNet-50 (V1) on ImageNet-C, correct at severities 1 to 5, and its mCE, of which
# RobustBench measured both models on 5,000 images (robustness-reference.md, 18.6).
RESNET50 = (
    (0.602, 0.488, 0.312, 0.142, 0.029), (0.583, 0.449, 0.286, 0.103, 0.035),
    (0.485, 0.386, 0.290, 0.113, 0.024), (0.591, 0.515, 0.381, 0.275, 0.182),
    (0.536, 0.397, 0.171, 0.131, 0.103), (0.636, 0.534, 0.375, 0.216, 0.145),
    (0.526, 0.430, 0.356, 0.284, 0.219), (0.547, 0.312, 0.349, 0.234, 0.165),
    (0.611, 0.437, 0.306, 0.286, 0.226), (0.609, 0.560, 0.467, 0.402, 0.236),
    (0.736, 0.722, 0.696, 0.650, 0.589), (0.643, 0.582, 0.466, 0.210, 0.054),
    (0.668, 0.451, 0.546, 0.412, 0.170), (0.638, 0.643, 0.460, 0.293, 0.209),
    (0.664, 0.623, 0.600, 0.479, 0.325),
)  # fmt: skip
RESNET50_MCE = 0.7638


def result(name: str, correct: np.ndarray, side: int = 224, classes: int = 1000) -> ProbeResult:
    """Rows of `(severities, N)` answers."""
    rows = pd.DataFrame(
        {
            "index": i, "setting": name, "severity": s + 1, "value": s + 1.0, "label": i % 5,
            "prediction": 0, "correct": float(right), "loss": 1.0 - right, "brier": 2.0 - 2 * right,
            "confidence": 0.5 + 0.01 * (i % 7), "forwards": 1, "backwards": 0, "seconds": 0.0,
        }
        for s, line in enumerate(correct) for i, right in enumerate(line)
    )  # fmt: skip
    said = f"X(), constants for {side} px: (1); {classes} classes"
    return ProbeResult(name, "corruption", name.title(), "severity", said, 3.0, rows)


def test_rows_are_those_of_the_corrupted_images(one_pass: Callable, classifier: Classifier) -> None:
    probe = CorruptionProbe(CORRUPTIONS["gaussian_noise"](), (1, 5), chunk=16)
    rows = one_pass(probe)["gaussian_noise"]
    batch = Digits(limit=23).taken("test", 23)
    for severity, part in rows.groupby("value"):
        draw = Draw(0, batch.index)
        image = CORRUPTIONS["gaussian_noise"]()(batch.image, float(severity), draw)  # type: ignore[arg-type]
        with torch.no_grad():
            expected = dict(
                zip(batch.index.tolist(), classifier(image).argmax(1).tolist(), strict=True)
            )
        assert dict(zip(part["index"], part["prediction"], strict=True)) == expected
        assert set(part["severity"]) == {severity}
        change = (image - batch.image).square().mean((1, 2, 3)).sqrt()
        assert part["change"].mean() == pytest.approx(float(change.mean()), rel=1e-5)
    assert "constants for 32 px: (0.04) (0.1); 10 classes" in probe.algorithm


def test_rows_do_not_depend_on_batches(one_pass: Callable, same_rows: Callable) -> None:
    tables = [
        one_pass(CorruptionProbe(CORRUPTIONS["fog"](), (3,), chunk=8, pool=2), batch_size=size)
        for size in (5, 23)
    ]
    same_rows(tables[0]["fog"], tables[1]["fog"])


def test_severities_between_are_steps_by_place() -> None:
    probe = CorruptionProbe(CORRUPTIONS["fog"](), (1, 2.5, 4))
    assert [(s.severity, s.value) for s in probe.settings()] == [(1, 1), (2, 2.5), (3, 4)]
    assert probe.headline == 2.5


@pytest.mark.parametrize("options", [{"severities": (0, 1)}, {"severities": ()},
                                     {"constants_for": 100}])  # fmt: skip
def test_mistakes(options: dict) -> None:
    with pytest.raises(UserError):
        CorruptionProbe(CORRUPTIONS["fog"](), **options)


def test_a_name_stands_for_its_corruption() -> None:
    assert CorruptionProbe("fog", (2,)).corruption == CORRUPTIONS["fog"]()
    assert CameraProbe("rain").name == "camera_rain"
    with pytest.raises(UserError, match="Did you mean 'fog'"):
        CorruptionProbe("fogg")


def test_grey_images_have_no_colour_and_the_probe_says_so(one_pass: Callable) -> None:
    probe = CorruptionProbe(CORRUPTIONS["saturate"](), (5,), chunk=16)
    rows = one_pass(probe)["saturate"]
    assert (rows["change"] < 1 / 255).all()  # the cast to 8 bits
    assert "grey" in probe.note


def test_presets_are_the_fifteen_and_all() -> None:
    assert FAMILY.presets["regular"] == tuple(ERRORS)
    assert FAMILY.presets["full"] == tuple(CORRUPTIONS)
    assert FAMILIES["camera"].presets["full"] == tuple(f"camera_{name}" for name in CAMERAS)


# -- what they amount to ---------------------------------------------------------------------------


def test_alexnet_is_1_and_resnet50_as_published() -> None:
    alexnet = np.array([*ERRORS.values()])[:, :, None].repeat(30, 2)
    assert mean_corruption_error(alexnet).value == pytest.approx(1)
    assert relative_corruption_error(alexnet, np.full(30, 0.4348)).value == pytest.approx(1)
    resnet = 1 - np.array(RESNET50)[:, :, None].repeat(30, 2)
    # AlexNet on 5,000 images differs from that on 50,000 by up to some tenths of a point
    assert mean_corruption_error(resnet).value == pytest.approx(RESNET50_MCE, abs=0.005)


def test_numbers_by_hand() -> None:
    right = np.random.default_rng(0).random((2, 5, 40)) > np.linspace(0.1, 0.9, 5)[:, None]
    results = [result("fog", right[0], 32), result("snow", right[1], 32)]
    summary = summarise(results, None)
    acc = summary.numbers["corruption_acc"]
    assert acc.interval.value == pytest.approx(right.mean())
    # images are what is sampled: the interval is as wide as that of the images' own means
    half = 1.96 * right.mean((0, 1)).std(ddof=1) / 40**0.5
    assert acc.interval.high - acc.interval.low == pytest.approx(2 * half, rel=0.2)
    assert "constants for 32 px" in acc.note
    assert summary.numbers["corruption_brier"].interval.value == pytest.approx(2 - 2 * right.mean())
    by_class = [right[..., k::5].mean() for k in range(5)]
    worst = summary.numbers["corruption_worst_class_acc"]
    assert worst.interval.value == pytest.approx(min(by_class))
    assert f"class {int(np.argmin(by_class))}" in worst.note
    (table,) = summary.tables.values()
    assert list(table["acc"]) == pytest.approx(right.mean((0, 2)))
    assert {"corruption_error", "corruption_pictures"} == set(summary.figures)


def test_half_is_gone_where_the_curve_crosses() -> None:
    # right at severities 1 to 5: 80, 60, 40, 20, 0 of 100; undisturbed all: half at severity 2.5
    right = np.arange(100) < np.array([80, 60, 40, 20, 0])[:, None]
    clean = result("clean", np.ones((1, 100)))
    summary = summarise([result("fog", right, 32)], clean)
    half = summary.numbers["corruption_half_severity"].interval
    assert half.value == pytest.approx(2.5)
    assert half.low < 2.5 < half.high
    assert any("1 of 1 corruptions take half" in said for said in summary.sentences)


def test_no_half_is_told_between_values_that_a_user_names() -> None:
    """Between no transform and its first value there is no scale to tell a place of."""
    right = np.arange(100) < np.array([30, 20])[:, None]
    summary = FAMILIES["foreign"].summarise(
        [result("soft", right), result("dark", right)], result("clean", np.ones((1, 100)))
    )
    assert summary.numbers["foreign_acc"].interval.value == pytest.approx(0.25)
    assert "foreign_half_severity" not in summary.numbers
    assert "half" not in " ".join(summary.sentences)


def test_cameras_have_a_mean_of_their_own() -> None:
    results = [result(f"camera_{name}", np.full((5, 12), 0.5)) for name in ("rain", "haze")]
    summary = FAMILIES["camera"].summarise(results, None)
    acc = summary.numbers["camera_acc"]
    assert (acc.title, acc.interval.value) == ("Accuracy under what cameras do", 0.5)
    assert "mean of 2 camera corruptions" in acc.note
    assert not {"corruption_acc", "mce"} & set(summary.numbers)
    assert {"camera_error", "camera_pictures"} == set(summary.figures)


@pytest.mark.parametrize(("side", "classes", "told"), [(224, 1000, True), (224, 10, False),
                                                       (32, 1000, False)])  # fmt: skip
def test_alexnet_only_where_it_stood(side: int, classes: int, told: bool) -> None:
    right = np.ones((5, 12))
    results = [result(name, right, side, classes) for name in ERRORS]
    numbers = against_alexnet(Grid(results), result("clean", np.ones((1, 12))))
    assert ("mce" in numbers) == told
    assert ("relative_mce" in numbers) == told
    assert not against_alexnet(Grid(results[:-1]), None)


def test_only_images_of_every_cell_count() -> None:
    results = [result("fog", np.ones((5, 12))), result("snow", np.ones((5, 9)))]
    assert len(Grid(results).images) == 9


def test_steps_and_answers_that_are_no_numbers() -> None:
    fog, snow = result("fog", np.ones((5, 12))), result("snow", np.ones((5, 12)))
    fog.rows.loc[fog.rows["index"] == 3, "loss"] = np.nan
    kept = fog.rows[fog.rows["severity"].isin([1, 5])]
    grid = Grid([replace(fog, rows=kept), snow])
    assert (grid.severities, grid.steps) == ([1, 5], [1, 5])
    assert grid.cells("loss").shape == (2, 2, 12)
    assert grid.over_all("loss", (0, np.inf)).value == 0


def test_corruptions_are_pictured_by_name() -> None:
    shown = [CORRUPTIONS[name]() for name in ("fog", "snow", "frost")]
    titles = {axes.get_title(loc="left") for axes in picture_sheet(shown, 32).axes}
    assert {corruption.title for corruption in shown} <= titles
    assert 0 <= float(scene(32).min()) <= float(scene(32).max()) <= 1
