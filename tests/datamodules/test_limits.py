"""Counts, first parts and lists of indices; every mistake in one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from datamodules import CIFAR10, Digits, ImageDataModule, UserError
from datamodules.limits import Limit, parsed_limit

LABEL = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
INDEX = torch.tensor([9, 1, 4, 0, 7, 5, 2, 30])

# what is given, rows of test, rows of train
CHOSEN = {
    "all": (None, None, None),
    "first": ("first:3", [1, 3, 6], None),
    "more than there are": ("first:100", list(range(8)), None),
    "list": ([30, 0, 9], [0, 3, 7], None),
    "tuple": ((4,), [2], None),
    "array": (np.array([4, 5]), [2, 5], None),
    "tensor": (torch.tensor([4, 5]), [2, 5], None),
    "range": (range(3), [1, 3, 6], None),
    "large count": (8, None, None),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_which_rows(name: str) -> None:
    given, test, train = CHOSEN[name]
    limit = parsed_limit(given)
    for split, wanted in (("test", test), ("train", train), ("val", train)):
        rows = limit.rows(LABEL, INDEX, split, seed=0)
        assert (rows if rows is None else rows.tolist()) == wanted


@pytest.mark.parametrize(
    "text", ["30 0 9", "30\n0\n9\n", "30,0, 9", "[30, 0, 9]", '{"test": [30, 0, 9]}']
)
def test_files_of_indices(text: str, tmp_path: Path) -> None:
    (tmp_path / "a:b").write_text(text)
    assert parsed_limit(f"indices:{tmp_path / 'a:b'}") == Limit(index=(0, 9, 30))


FORMS = "a count, first:N, a list like [0, 5, 7], or indices:FILE"
WRONG = {
    "zero": (0, "Expected `data.limit` to be at least 1, but got 0."),
    "negative": (-5, "Expected `data.limit` to be at least 1, but got -5."),
    "truth": (True, f"Expected `data.limit` to be {FORMS}, but got True."),
    "fraction": (0.5, f"Expected `data.limit` to be {FORMS}, but got 0.5."),
    "word": ("many", f"Expected `data.limit` to be {FORMS}, but got 'many'."),
    "first": ("first", f"Expected `data.limit` to be {FORMS}, but got 'first'."),
    "first of none": ("first:", f"Expected `data.limit` to be {FORMS}, but got 'first:'."),
    "first half": ("first:0.5", f"Expected `data.limit` to be {FORMS}, but got 'first:0.5'."),
    "first zero": (
        "first:0",
        "Expected the N of `data.limit first:N` to be at least 1, but got 0.",
    ),
    "none": ([], "Expected `data.limit` to be at least one, but got none."),
    "below": ([3, -1], "Expected `data.limit` to be whole numbers from 0, but got -1."),
    "parts": ([0.5], "Expected `data.limit` to be whole numbers from 0, but got 0.5."),
    "words": (["a"], "Expected `data.limit` to be whole numbers from 0, but got 'a'."),
    "truths": ([True], "Expected `data.limit` to be whole numbers from 0, but got True."),
    "twice": ([4, 4], "Expected `data.limit` to name every image once, but got 4 twice."),
    "no file": (
        "indices:nowhere.txt",
        "Expected `data.limit indices:FILE` to name a file of numbers, but 'nowhere.txt' cannot be "
        "read (No such file or directory).",
    ),
    "no name": ("indices:", f"Expected `data.limit` to be {FORMS}, but got 'indices:'."),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes(name: str) -> None:
    given, message = WRONG[name]
    with pytest.raises(UserError) as error:
        Digits(limit=given)  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize("content", [b"", b"one two", b"\xff\xfe\x00", b'{"train": [1]}', b"1.5"])
def test_files_that_list_no_indices(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(UserError, match=r"^Expected "):
        Digits(limit=f"indices:{tmp_path / 'list'}")


def test_an_index_that_no_image_has() -> None:
    known = Digits().images("test").index
    absent = next(index for index in range(1797) if index not in known)
    with pytest.raises(UserError) as error:
        Digits(limit=[int(known[0]), absent, 5000]).setup("test")
    assert str(error.value) == (
        "Expected `data.limit` to list indices of test images, but 2 of 3 are none, the first "
        f"{absent}: there are 540 images, with indices from {int(known.min())} to "
        f"{int(known.max())}."
    )


def test_a_chosen_part_is_of_the_test_images_only() -> None:
    whole = Digits()
    index = whole.images("test").index
    first = Digits(limit="first:10")
    assert torch.equal(first.images("test").index, index[:10])
    assert len(first.images("train")) == len(whole.images("train"))
    listed = Digits(limit=index[[5, 100]].tolist())
    assert torch.equal(listed.images("test").index, index[[5, 100]])
    assert len({data.manifest_digest() for data in (whole, first, listed, Digits(limit=7))}) == 1, (
        "a row means the same under every limit"
    )
    assert json.loads(json.dumps(first.manifest()))["limit"] == "first:10"
    assert listed.manifest()["splits"]["test"]["samples"] == 2


def test_the_first_images_are_the_official_first(shared_data: Path) -> None:
    data = CIFAR10(shared_data / "cifar10", limit="first:10")
    assert data.images("test").label.tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    again = CIFAR10(shared_data / "cifar10", limit=[1000, 3])
    assert again.test_index.tolist() == [3, 1000]


WORDS = {
    "7": 7,
    "first:12": "first:12",
    "[3, 5]": [3, 5],
    "[3]": [3],
    "null": None,
}


@pytest.mark.parametrize("word", WORDS)
def test_the_command_line_and_yaml(word: str, tmp_path: Path) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(ImageDataModule, "data")
    (tmp_path / "c.yaml").write_text(
        f"data:\n  class_path: datamodules.Digits\n  init_args:\n    limit: {word}\n"
    )
    for words in (
        ["--data", "Digits", "--data.limit", word],
        ["--config", str(tmp_path / "c.yaml")],
    ):
        parsed = parser.parse_args(words)
        assert parsed.data.init_args.limit == WORDS[word]
