"""What every damage of training data promises, and the rates of the reference."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from datamodules import Digits, ImageDataModule, ImageFolder, UserError
from datamodules.images import MemoryImages
from datamodules.input_noise import InputNoise
from datamodules.label_noise import MAPPINGS, AsymmetricLabelNoise, SymmetricLabelNoise
from datamodules.poisoning import (
    BadNets,
    attack_success_rate,
    defence_effectiveness,
    robust_accuracy,
)
from datamodules.removal import DropClasses, DropSamples
from datamodules.spoiled import DataDamage, SpoiledImages, restored, spoiled

DAMAGES: list[DataDamage] = [
    DropSamples(0.3),
    DropSamples(0.3, stratified=False),
    DropClasses((1, 2)),
    InputNoise(0.2, 0.5),
    SymmetricLabelNoise(0.3),
    SymmetricLabelNoise(0.3, exclusive=False),
    AsymmetricLabelNoise(0.3),
    AsymmetricLabelNoise(0.3, {0: 1, 1: 0}),
    BadNets(),
]
"""A new one gets the tests of `EACH` for a line here."""
EACH = pytest.mark.parametrize("damage", DAMAGES, ids=repr)


def digits() -> ImageDataModule:
    return Digits()


@pytest.fixture(params=["memory", "files"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> ImageDataModule:
    if request.param == "memory":
        return Digits()
    from PIL import Image

    for place in range(60):
        file = tmp_path / f"class{place % 3}" / f"{place}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), (place, 2 * place, 3 * place)).save(file)
    return ImageFolder(root=tmp_path, num_workers=0)


def everything(data: ImageDataModule, split: str) -> tuple[Tensor, ...]:
    images = data.images(split)
    return tuple(images.__getitems__(list(range(len(images)))))


def same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@EACH
def test_only_training_images_change_and_undo_is_exact(
    damage: DataDamage, data: ImageDataModule
) -> None:
    before = {split: everything(data, split) for split in ("train", "val", "test")}
    made, record = spoiled(data, damage, 1)
    assert len(record.index) > 0
    for split in ("train", "val", "test"):
        assert same(everything(data, split), before[split]), "the data set is left as it is"
        assert same(everything(made, split), before[split]) == (split != "train")
    assert same(everything(restored(made), "train"), before["train"])
    assert restored(made).manifest()["notes"] == data.manifest()["notes"]
    image, label, index = everything(made, "train")
    rest = ~torch.isin(before["train"][2], record.index)
    others = tuple(part[rest] for part in before["train"])
    left = ~torch.isin(index, record.index)
    assert same((image[left], label[left], index[left]), others), "all others are as they were"


@EACH
def test_the_same_sample_is_spoiled_whatever_the_order(damage: DataDamage) -> None:
    draw = torch.Generator().manual_seed(0)
    label, pixels = torch.randint(10, (500,), generator=draw), torch.rand(500, 1, 8, 8)
    turn = torch.randperm(500, generator=draw)
    one, other = MemoryImages(pixels, label), MemoryImages(pixels[turn], label[turn], turn)
    found = []
    for images in (one, other):
        hurt = SpoiledImages(images, damage(images.label, images.index, 10, 3))
        batch = hurt.__getitems__(hurt.index.argsort().tolist())
        found.append(tuple(batch))
    assert same(*found)


@EACH
def test_seeds_decide(damage: DataDamage) -> None:
    state = torch.get_rng_state()
    one, again, other = (spoiled(digits(), damage, seed)[0] for seed in (1, 1, 2))
    assert same(everything(one, "train"), everything(again, "train"))
    if not isinstance(damage, DropClasses):
        assert not same(everything(one, "train"), everything(other, "train"))
    assert torch.equal(torch.get_rng_state(), state)


@EACH
def test_what_was_done_is_recorded(damage: DataDamage) -> None:
    data = digits()
    made, record = spoiled(data, damage, 1)
    assert json.loads(json.dumps(record.facts)) == record.facts
    source = made.manifest()["splits"]["train"]
    assert source["spoiled"] == record.facts
    assert any("spoiled" in note for note in made.manifest()["notes"])
    assert "spoiled" not in data.manifest()["splits"]["train"]
    train = data.images("train")
    true = dict(zip(train.index.tolist(), train.label.tolist(), strict=True))
    assert [true[one] for one in record.index.tolist()] == record.old_label.tolist()


@EACH
def test_spoiled_data_is_served_in_batches(damage: DataDamage) -> None:
    made, record = spoiled(digits(), damage, 1)
    batches = list(made.train_dataloader())
    index, label = torch.cat([b.index for b in batches]), torch.cat([b.label for b in batches])
    if getattr(made.images("train"), "spoiling").dropped:  # noqa: B009
        assert not bool(torch.isin(index, record.index).any())
    else:
        place = {one: row for row, one in enumerate(index.tolist())}
        rows = torch.tensor([place[one] for one in record.index.tolist()])
        assert torch.equal(label[rows], record.new_label)


def labels(classes: int, n: int) -> tuple[Tensor, Tensor]:
    return torch.arange(n) % classes, torch.arange(n)


@pytest.mark.parametrize(
    ("rate", "classes", "expected"), [(0.2, 10, 0.18), (0.5, 10, 0.45), (0.4, 100, 0.396)]
)
def test_rates_of_wrong_labels(rate: float, classes: int, expected: float) -> None:
    """The effective rates of reference 3.3."""
    label, index = labels(classes, 100_000)
    for exclusive, wanted in ((True, rate), (False, expected)):
        spoiling = SymmetricLabelNoise(rate, exclusive)(label, index, classes, 0)
        assert spoiling.label is not None
        wrong = (spoiling.label != label[spoiling.index]).double().mean() * rate
        # exact if exclusive; else 4 standard errors of a share of 100,000 samples
        assert float(wrong) == pytest.approx(wanted, abs=1e-9 if exclusive else 0.0063)
        counts = spoiling.label.bincount(minlength=classes).double()
        # chi-square over classes: mean C - 1, standard deviation sqrt(2 (C - 1))
        mean = counts.mean()
        assert float(((counts - mean) ** 2 / mean).sum()) < classes + 5 * (2 * classes) ** 0.5


def test_pair_flip_and_look_alikes() -> None:
    label, index = labels(10, 1000)
    spoiling = AsymmetricLabelNoise(0.4)(label, index, 10)
    assert spoiling.label is not None
    assert torch.equal(spoiling.label, (label[spoiling.index] + 1) % 10)
    assert label[spoiling.index].bincount().tolist() == [40] * 10
    spoiling = AsymmetricLabelNoise(0.4, "cifar10")(label, index, 10)
    assert spoiling.label is not None
    pairs = set(zip(label[spoiling.index].tolist(), spoiling.label.tolist(), strict=True))
    assert pairs == set(MAPPINGS["cifar10"].items()) == {(9, 1), (2, 0), (4, 7), (3, 5), (5, 3)}


def test_removal() -> None:
    label = torch.tensor([0] * 90 + [1] * 10)
    index = torch.arange(100)
    dropped = DropSamples(0.5)(label, index, 2).index
    assert label[dropped].bincount().tolist() == [45, 5]
    assert len(DropSamples(0.333, stratified=False)(label, index, 2).index) == 33
    fewer = set(DropSamples(0.2)(label, index, 2).index.tolist())
    assert fewer < set(dropped.tolist()), "a larger rate drops what a smaller one does"
    made, _ = spoiled(digits(), DropClasses((3,)))
    assert made.manifest()["splits"]["train"]["per_class"][3] == 0
    assert made.num_classes == 10


def test_the_trigger_is_white_and_in_the_corner() -> None:
    made, record = spoiled(digits(), BadNets(target=7, rate=0.25))
    train = digits().images("train")
    assert len(record.index) == round(0.25 * len(train))
    assert set(record.new_label.tolist()) == {7}
    image, label, index = everything(made, "train")
    hit = torch.isin(index, record.index)
    top = 255 if image.dtype == torch.uint8 else 1
    assert bool((image[hit][..., -3:, -3:] == top).all())
    assert torch.equal(image[hit][..., :-3, :], everything(digits(), "train")[0][hit][..., :-3, :])
    assert bool((label[hit] == 7).all())


def test_attack_success_leaves_the_target_class_out() -> None:
    label = torch.tensor([0, 0, 1, 1, 2, 2])
    answer = torch.tensor([0, 0, 0, 1, 0, 1])
    assert attack_success_rate(answer, label, 0) == 0.5
    assert robust_accuracy(answer, label, 0) == 0.25
    assert math.isnan(attack_success_rate(label[:2], label[:2], 0))
    # a clean model that is right everywhere: 0, not the prior of the class
    assert attack_success_rate(label, label, 0) == 0


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1, 0, 0.9, 0.9), 1),
        ((1, 1, 0.9, 0.9), 0.5),
        ((1, 1, 1, 0), 0),
        ((0.9, 0.1, 0.9, 0.8), 0.85),
    ],
)
def test_defence_effectiveness(numbers: tuple[float, ...], expected: float) -> None:
    assert defence_effectiveness(*numbers) == pytest.approx(expected)


MISTAKES: list[tuple[Callable[[], object], str]] = [
    (lambda: DropSamples(1.0), r"Expected `rate` to be a share in \[0, 1\), but got 1"),
    (lambda: SymmetricLabelNoise(1.2), r"Expected `rate` to be a share in \[0, 1\]"),
    (lambda: BadNets(rate=math.nan), "Expected `rate`"),
    (lambda: BadNets(size=0), "Expected `size` to be at least 1"),
    (lambda: InputNoise(-1), "Expected `std`"),
    (lambda: AsymmetricLabelNoise(0.1, "cifar"), "Expected `mapping`"),  # type: ignore[arg-type]
    (lambda: spoiled(digits(), DropClasses((10,))), "Expected `classes` from 0 to 9, but got 10"),
    (lambda: spoiled(digits(), DropClasses(tuple(range(10)))), "nothing would be left"),
    (lambda: spoiled(digits(), BadNets(target=10)), "Expected `target` from 0 to 9"),
    (lambda: spoiled(digits(), AsymmetricLabelNoise(0.1, {0: 10})), "it names 10"),
    (lambda: BadNets(size=9).trigger(torch.rand(1, 1, 8, 8)), "to fit into images 8x8"),
    (lambda: restored(digits()), "Expected training data that was spoiled"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES)
def test_mistakes(mistake: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mistake()
