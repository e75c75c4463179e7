"""Which output is which class: by name, and what is said or refused where names differ."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from datamodules import Preprocessing, UserError
from lightning_modules import Classifier
from lightning_modules.class_names import are_names, match, same_task
from lightning_modules.sources import load_classifier, match_classes

TWELVE = tuple(str(i) for i in range(12))
BY_TEXT = tuple(sorted(TWELVE))  # 0, 1, 10, 11, 2, ...
WITH_ZEROS = tuple(f"{i:03}" for i in range(12))
ZERO_TO_NINE = tuple("0123456789")

# own, data, the model's output of each class of the data
MATCHED: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]] = {
    "equal": (("cat", "dog"), ("cat", "dog"), (0, 1)),
    "another order": (("cat", "dog"), ("dog", "cat"), (1, 0)),
    "three in another order": (("a", "b", "c"), ("c", "a", "b"), (2, 0, 1)),
    "case": (("Cat", "Dog"), ("dog", "cat"), (1, 0)),
    "spelling": (("tabby_cat", "Sea-Lion"), ("sea lion", "tabby cat"), (1, 0)),
    "article": (("a cat", "the dog"), ("dog", "cat"), (1, 0)),
    "some of the model's": (("cat", "dog", "puss"), ("puss", "cat"), (2, 0)),
    "only numbered": (("0", "1"), ("cat", "dog"), (0, 1)),
    "labels of transformers": (("LABEL_0", "LABEL_1"), ("cat", "dog"), (0, 1)),
    "numbered data": (("cat", "dog"), ("0", "1"), (0, 1)),
    "numbered data by text": (tuple("abcdefghijkl"), BY_TEXT, (0, 1, 10, 11, *range(2, 10))),
    "numbers, folders by text": (TWELVE, BY_TEXT, (0, 1, 10, 11, *range(2, 10))),
    "numbers by text, folders by number": (BY_TEXT, TWELVE, (0, 1, *range(4, 12), 2, 3)),
    "from one": (TWELVE, tuple(str(i) for i in range(1, 13)), tuple(range(12))),
    "with zeros": (TWELVE, WITH_ZEROS, tuple(range(12))),
    "doubled names": (("crane", "crane", "dog"), ("crane", "crane", "dog"), (0, 1, 2)),
}


@pytest.mark.parametrize(("own", "data", "order"), MATCHED.values(), ids=MATCHED)
def test_matched(own: tuple[str, ...], data: tuple[str, ...], order: tuple[int, ...]) -> None:
    found = match(own, data, "model.pt", new_head=False)
    assert found.order == order
    same = order == tuple(range(len(own))) and (own == data or data == WITH_ZEROS)
    assert bool(found.note) != same
    assert match(own, data, "model.pt", new_head=True).order == order, "no head is thrown away"


REFUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "partly equal": (("cat", "dog"), ("dog", "puss"), "only dog in common"),
    "other words": (("tabby", "hound"), ("cat", "dog"), "no name in common"),
    "fewer": (("cat", "dog"), ("bird", "cat", "dog"), "only cat, dog in common"),
    "other numbers": (TWELVE, ZERO_TO_NINE, "12 outputs are not 10 classes"),
    "more, without names": (("0", "1", "2"), ("cat", "dog"), "3 outputs are not 2 classes"),
    "doubled names": (("crane", "crane", "dog"), ("crane", "dog"), "only crane, dog in common"),
    "two spellings of one": (("Cat", "cat", "dog"), ("CAT", "dog"), "only dog in common"),
}


@pytest.mark.parametrize(("own", "data", "why"), REFUSED.values(), ids=REFUSED)
def test_refused_with_both_lists(own: tuple[str, ...], data: tuple[str, ...], why: str) -> None:
    with pytest.raises(UserError) as caught:
        match(own, data, "model.pt", new_head=False)
    message = str(caught.value)
    assert f"the data's {len(data)} classes ({', '.join(data)})" in message
    assert f"'model.pt' has {len(own)} ({', '.join(own)}): {why}." in message
    found = match(own, data, "model.pt", new_head=True)
    assert (found.order, found.names) == (None, data)


def test_bare_numbers_are_no_names() -> None:
    """So MNIST's head is not KMNIST's own, however equal their classes look."""
    assert not are_names(ZERO_TO_NINE)
    assert not are_names(("class_1", "Class 2", "LABEL_3", "04"))
    assert are_names(("0", "1", "other"))
    assert are_names(("3 o'clock", "4 o'clock"))
    assert not same_task(ZERO_TO_NINE, ZERO_TO_NINE)
    assert same_task(ZERO_TO_NINE, ZERO_TO_NINE, "MNIST", "MNIST")
    assert not same_task(ZERO_TO_NINE, ZERO_TO_NINE, "MNIST", "KMNIST")
    assert same_task(("cat", "dog"), ("cat", "dog"))
    assert not same_task(("cat", "dog"), ("dog", "cat"))


class Functional(nn.Module):
    """Without a layer that could be put into another order."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(12, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.matrix


class Rated(nn.Module):
    """One number an image, by a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


def _softmaxed() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Softmax(1))


def _linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))


@pytest.mark.parametrize("make", [_linear, _softmaxed, Functional])
@pytest.mark.parametrize("data", [("c", "a", "b"), ("b", "c"), ("a", "b", "c")])
def test_outputs_are_put_into_the_datas_order(
    make: Callable[[], nn.Module], data: tuple[str, ...]
) -> None:
    torch.manual_seed(0)
    image = torch.rand(9, 3, 2, 2)
    classifier = load_classifier(make(), classes=("a", "b", "c"))
    with torch.no_grad():
        before = classifier(image).clone()
        match_classes(classifier, data)
        after = classifier(image)
    assert classifier.classes == data
    expected = before[:, ["abc".index(name) for name in data]]
    torch.testing.assert_close(after.softmax(1), expected.softmax(1))
    moved = data != ("a", "b", "c")
    assert any("order by name" in n or "only these compete" in n for n in classifier.notes) == moved


def test_two_classes_of_one_number_change_their_sign() -> None:
    classifier = load_classifier(Rated(), classes=("cat", "dog"))
    image = torch.rand(5, 3, 2, 2)
    with torch.no_grad():
        before = classifier(image).softmax(1)
        match_classes(classifier, ("dog", "cat"))
        torch.testing.assert_close(classifier(image).softmax(1), before.flip(1))


def test_twice_in_another_order_is_where_it_was() -> None:
    for make in (_linear, Functional):
        classifier = load_classifier(make(), classes=("a", "b", "c"))
        image = torch.rand(5, 3, 2, 2)
        with torch.no_grad():
            before = classifier(image).clone()
            match_classes(classifier, ("c", "a", "b"))
            match_classes(classifier, ("a", "b", "c"))
            torch.testing.assert_close(classifier(image), before)


def test_a_new_head_gets_the_new_names() -> None:
    """Not the old head and the old names, where only the number is equal."""
    classifier = load_classifier(_linear(), classes=("a", "b", "c"))
    old = classifier.model[1].weight.clone()  # type: ignore[index, union-attr]
    match_classes(classifier, ("x", "y", "z"), new_head=True)
    assert classifier.classes == ("x", "y", "z")
    assert not torch.equal(classifier.model[1].weight, old)  # type: ignore[index, union-attr]
    assert "New head" in classifier.notes[0]


def test_what_the_user_says_the_outputs_are() -> None:
    said, data = ("dog", "cat", "bird"), ("bird", "cat", "dog")
    assert load_classifier(_linear(), classes=said, data_classes=data).classes == data
    with pytest.raises(UserError, match="the 3 outputs of 'python:Sequential', but got 2"):
        load_classifier(_linear(), classes=("dog", "cat"))


def test_a_named_load_classifier_ones_own() -> None:
    plain = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)
    made = Classifier(_linear(), classes=("a", "b", "c"), preprocessing=plain, architecture="own")
    assert load_classifier(made, data_classes=("b", "a", "c")) is made
    assert made.classes == ("b", "a", "c")
