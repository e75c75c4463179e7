"""Adversarial images as 8-bit files: inside the ball, the same however they come, judged alone."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from callbacks.adversarial import (
    FGSM,
    PGD,
    AdversarialPictures,
    AdversarialProbe,
    MinimumNormProbe,
    Patch,
    SpatialProbe,
    UniversalProbe,
)
from callbacks.adversarial.minimum_norm import FMN
from callbacks.adversarial.pictures import eight_bit
from callbacks.adversarial.pictures.summary import saved_as_png
from callbacks.results import ProbeResult
from callbacks.statistics import rate
from datamodules.errors import UserError
from lightning_modules import Classifier

LEVELS = torch.randint(256, (6, 3, 12, 12), generator=torch.Generator().manual_seed(0)) / 255
RESIZED = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(1))
BALLS = [("linf", 8 / 255), ("linf", 0.3), ("l2", 0.5), ("l1", 12.0), ("l0", 24.0)]


def moved(origin: torch.Tensor, norm: str, radius: float) -> torch.Tensor:
    """A point on the sphere of a norm, by numpy's norms, inside the box."""
    change = torch.randn(origin.shape, generator=torch.Generator().manual_seed(2))
    if norm == "l0":
        flat = torch.zeros_like(change).flatten(1)
        flat[:, : int(radius)] = change.flatten(1)[:, : int(radius)]
        return (origin + flat.reshape(change.shape)).clamp(0, 1)
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    size = np.linalg.norm(change.flatten(1).numpy(), order, axis=1)
    return (origin + change * torch.tensor(radius / size)[:, None, None, None]).clamp(0, 1)


def distance(one: torch.Tensor, other: torch.Tensor, norm: str) -> np.ndarray:
    """Of two pictures as whoever reads the files would reckon it."""
    change = (one.double() - other.double()).flatten(1).numpy() / 255
    order = {"linf": np.inf, "l2": 2, "l1": 1, "l0": 0}[norm]
    return np.array([np.linalg.norm(row, order) for row in change])


@pytest.mark.parametrize(("norm", "radius"), BALLS)
@pytest.mark.parametrize("origin", [LEVELS, RESIZED], ids=["whole levels", "resized"])
def test_the_rounded_change_stays_in_the_ball(
    origin: torch.Tensor, norm: str, radius: float
) -> None:
    wished = moved(origin, norm, radius)
    found = eight_bit(wished, origin, norm, radius)
    sizes = distance(found.image, found.origin, norm)
    assert (sizes <= radius * (1 + 1e-6)).all()
    # what the ball allows is used: of a sphere of 432 coordinates halving leaves no tenth
    assert (sizes >= 0.9 * distance(255 * wished, found.origin, norm).clip(max=radius)).all()
    assert (found.origin == (255 * origin).round().byte()).all()
    assert found.rounded.tolist() == [origin is RESIZED] * 6


def test_a_radius_of_whole_levels_loses_nothing() -> None:
    wished = (LEVELS + 8 / 255 * torch.sign(RESIZED - 0.5)).clamp(0, 1)
    found = eight_bit(wished, LEVELS, "linf", 8 / 255)
    assert torch.equal(found.image.float() / 255, (255 * wished).round() / 255)
    assert not found.drawn.any()
    none = eight_bit(wished, LEVELS, "linf", 0.5 / 255)
    assert torch.equal(none.image, none.origin), "no level lies within half a level"
    assert none.drawn.all()


def probes() -> list[AdversarialProbe | MinimumNormProbe]:
    """Of the three kinds: within a ball with and without restarts of chance, and the nearest."""
    return [
        AdversarialProbe(FGSM(), epsilons=[0.1, 0.3], chunk=16),
        AdversarialProbe(PGD(steps=5), norm="l2", epsilons=[1.0], chunk=16),
        MinimumNormProbe(FMN(steps=20), epsilons=[0.6, 1.2], chunk=16),
    ]


@pytest.fixture
def saved(one_pass: Callable, tmp_path: Path) -> Callable:
    def run(count: int, name: str = "files", **options: object) -> AdversarialPictures:
        made = probes()
        pictures = AdversarialPictures(made, count, tmp_path / name)
        pictures.name = "pictures"  # type: ignore[attr-defined]
        one_pass(*made, pictures, **options)
        pictures.rows = {p.name: p.rows for p in made}  # type: ignore[attr-defined]
        return pictures

    return run


def test_files_are_what_the_index_says(
    saved: Callable, tmp_path: Path, classifier: Classifier
) -> None:
    pictures = saved(3)
    index = pd.DataFrame(json.loads((tmp_path / "files" / "index.json").read_text()))
    tables = pd.concat(pictures.tables.values(), ignore_index=True)
    assert index["sha256"].tolist() == tables["sha256"].tolist()
    for line in index.to_dict("records"):
        file, clean = tmp_path / "files" / line["file"], tmp_path / "files" / line["clean_file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == line["sha256"]
        assert hashlib.sha256(clean.read_bytes()).hexdigest() == line["clean_sha256"]
        both = [torch.tensor(np.array(Image.open(one)))[None, None] for one in (clean, file)]
        norm = distance(both[1], both[0], line["norm"])[0]
        assert norm == pytest.approx(line["distance"], rel=1e-5)
        assert norm <= line["epsilon"] * (1 + 1e-6)
        # judged by nobody but the network itself
        answers = [int(classifier(one.float() / 255).argmax(1)) for one in both]
        assert answers == [line["png_clean_prediction"], line["png_prediction"]]
        assert line["fools"] == (answers[0] == line["label"] != answers[1])
    for (name, severity), part in index.groupby(["probe", "severity"]):
        rows = pictures.rows[name]
        rows = rows[(rows["severity"] == severity) & (rows["clean_correct"] == 1)]
        broken = rows.loc[rows["correct"] == 0, "index"]
        assert part["index"].tolist() == sorted(broken)[:3], "the first, by index"


@pytest.mark.parametrize("options", [{"batch_size": 5}, {"batch_size": 64}])
def test_the_same_pictures_whatever_the_batches(saved: Callable, options: dict) -> None:
    same(saved(3), saved(3, "again", **options))


def test_pictures_of_rows_that_are_known_are_made_again_alike(
    saved: Callable, tmp_path: Path
) -> None:
    """First none are kept; then more are wanted than are at hand; then all are there."""
    kept = tmp_path / "resume"
    first = saved(0, resume=kept)
    assert not first.tables
    saved(2, "few", resume=kept)
    new = saved(5, "new")
    for _ in range(2):
        known = saved(5, "known", resume=kept)
        same(known, new)
        for name, rows in first.rows.items():
            pd.testing.assert_frame_equal(rows, known.rows[name])  # not touched


def same(one: AdversarialPictures, other: AdversarialPictures) -> None:
    assert one.tables.keys() == other.tables.keys()
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other.tables[name], rtol=1e-5)
        for side, array in one.shown[name].items():
            assert (array == other.shown[name][side]).all()


def test_what_rounding_alone_flips_is_credited_to_no_attack(
    saved: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The original is spoiled in the file: the model errs there whatever was done to it."""
    from callbacks.adversarial.pictures import probe as module

    def spoilt(*asked: object) -> object:
        found = eight_bit(*asked)  # type: ignore[arg-type]
        return found._replace(origin=torch.zeros_like(found.origin))

    monkeypatch.setattr(module, "eight_bit", spoilt)
    table = pd.concat(saved(3).tables.values())
    errs = table["png_clean_prediction"] != table["label"]
    assert errs.any()
    assert not table.loc[errs, "fools"].any()


def test_the_sentence_counts_and_has_an_interval() -> None:
    """By hand: three of four pictures of two images; per image 1 and 1/2, 75 % on average."""
    table = pd.DataFrame(
        {"index": [1, 1, 2, 2], "fools": [1, 1, 1, 0], "png_clean_correct": [1, 1, 1, 0]}
    )
    result = ProbeResult("pgd", "adversarial", "PGD", "none", "", None, table, pictures=table)
    numbers, (told,) = saved_as_png([result])
    found = numbers["adversarial_png_fooled"].interval
    assert found.value == 0.75
    assert found.low < 0.5 < 0.75 < found.high
    assert told.startswith("Of 4 adversarial images that were saved")
    assert "3 still fool the model: 75.0 % on average over 2 images" in told
    assert "1 do not count" in told
    assert saved_as_png([]) == ({}, [])


def test_attacks_without_pictures_are_named(tmp_path: Path) -> None:
    others = [SpatialProbe(), UniversalProbe(Patch())]
    (told,) = AdversarialPictures([AdversarialProbe(FGSM()), *others], 3, tmp_path).notes
    assert told.startswith("Rotation and shift, worst of 775, Adversarial patch: adversarial im")
    assert not AdversarialPictures(others, 0, tmp_path).notes


def test_fewer_than_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`adversarials` to be at least 0, but got -1"):
        AdversarialPictures([], -1, tmp_path)


def test_one_picture_an_image_has_the_interval_of_the_table() -> None:
    table = pd.DataFrame({"index": range(8), "fools": True, "png_clean_correct": 1})
    (number,) = saved_as_png([SimpleNamespace(pictures=table)])[0].values()  # type: ignore[list-item]
    assert number.interval == rate(8, 8)
