from pathlib import Path

import pytest
import torch

from datamodules import Digits, ImageDataModule, Joined
from datamodules.digits import RotatedDigits
from datamodules.errors import UserError
from datamodules.tasks import label_table


def two(**options: object) -> Joined:
    return Joined(Path("digit=Digits,turned=RotatedDigits"), limit=40, **options)  # type: ignore[arg-type]


def test_every_image_is_its_own_data_sets_under_a_label_of_its_own() -> None:
    data = two()
    alone = {"digit": Digits(limit=40), "turned": RotatedDigits(limit=40)}
    images = data.images("test")
    assert len(images) == 80
    rows = torch.randperm(80, generator=torch.Generator().manual_seed(0)).tolist()
    batch = images.__getitems__(rows)
    table = label_table(data.tasks, data.classes)
    assert data.classes[11] == "turned/1"
    for p, (name, own) in enumerate(alone.items()):
        mine = batch.index % 2 == p
        its = own.images("test")
        place = [its.index.tolist().index(i) for i in (batch.index[mine] // 2).tolist()]
        wanted = its.__getitems__(place)
        assert batch.image[mine].equal(wanted.image), name
        assert table[batch.label[mine], p].equal(wanted.label)
        assert (table[batch.label[mine], 1 - p] == -1).all()


def test_smaller_data_sets_are_repeated_only_when_asked() -> None:
    parts: dict[str, ImageDataModule] = {"few": Digits(limit=30), "many": two().parts["turned"]}
    by_size, equal = Joined(parts=parts), Joined(parts=parts, balance="equal")
    assert by_size.images("train").label.bincount(minlength=20)[:10].sum() == 30
    shown = equal.images("train")
    assert (shown.index % 2).bincount().tolist() == [40, 40]
    assert set(shown.index[shown.index % 2 == 0].unique(return_counts=True)[1].tolist()) == {1, 2}
    assert len(equal.images("test")) == 70
    assert "40 of few, 40 of many (smaller data sets repeated)" in " ".join(equal.notes)
    assert by_size.training_digest() != equal.training_digest()


def test_options_that_parts_would_not_hear_of_are_refused() -> None:
    parts: dict[str, ImageDataModule] = {"few": Digits(limit=30), "turned": RotatedDigits()}
    with pytest.raises(UserError, match=r"no `data\.limit` beside"):
        Joined(parts=parts, limit=5)
    with pytest.raises(UserError, match=r"no `data\.root` beside"):
        Joined(Path("a=Digits"), parts=parts)
    assert Joined(parts=parts, seed=0, batch_size=8).images("test").label.max() == 19


def test_sizes_are_stated_or_refused(mnist_files: Path) -> None:
    said = Path(f"digit=MNIST:{mnist_files},small=Digits")
    with pytest.raises(UserError, match=r"28x28 \(digit\) and 8x8 \(small.*`--data.resize`"):
        Joined(said).train_dataloader()
    batch = Joined(said, resize=(12, 12)).images("train").__getitems__([0, 59])
    assert batch.image.shape == (2, 1, 12, 12)


def test_the_least_usual_radius_is_for_all_and_told(mnist_files: Path) -> None:
    data = Joined(Path(f"digit=MNIST:{mnist_files},small=Digits"), resize=8)
    assert data.epsilon == {"Linf": 0.2, "L2": 1.0}
    part, place = data.part_of([0, 9]) or pytest.fail("of one data set")
    assert (part.title, part.epsilon, place) == ("MNIST", data.epsilon, slice(0, 10))
    assert data.parts["digit"].epsilon["Linf"] == 0.3
    assert data.part_of([9, 10]) is None
    assert "Linf 0.2" in data.notes[0]


@pytest.mark.parametrize(
    ("said", "options", "told"),
    [
        ("digit=Digits", {}, "1 data set: name it alone"),
        ("Digits,MNIST", {}, "a task's name for each data set, but got 'Digits'"),
        ("a=Digits,a=RotatedDigits", {}, "'a' twice"),
        ("a=Digits,b=Digits", {}, "different names, but got Digits, Digits"),
        ("a=Digits,joint=RotatedDigits", {}, "other than joint"),
        ("a=Digits,b=CIFAR10", {}, r"equal channels, but got 1 \(a\), 3 \(b\)"),
        ("a=Digits,b=Nothing", {}, "There is no data set 'Nothing'"),
        ("a=Digits,b=RotatedDigits", {"limit": [3, 4]}, "a count or first:N"),
        ("a=Digits,b=RotatedDigits", {"balance": "even"}, "size or equal, but got 'even'"),
    ],
)
def test_what_cannot_be_is_told(said: str, options: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        Joined(Path(said), **options)  # type: ignore[arg-type]
