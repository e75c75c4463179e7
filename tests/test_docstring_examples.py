"""The examples of docstrings answer what they say."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

HOME = Path(__file__).resolve().parents[1]
PACKAGES = ("datamodules", "lightning_modules", "callbacks", "pipelines")
MODULES = [
    ".".join(file.relative_to(HOME).with_suffix("").parts)
    for package in PACKAGES
    for file in sorted((HOME / package).rglob("*.py"))
    if ">>>" in file.read_text()
]
USUAL = {"torch": torch, "nn": nn, "np": np}
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_answer_what_they_say(name: str) -> None:
    module = importlib.import_module(name)
    tried = doctest.testmod(module, extraglobs=USUAL, optionflags=FLAGS)
    assert tried.attempted
    assert not tried.failed
