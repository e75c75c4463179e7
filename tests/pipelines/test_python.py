"""The commands as typed functions: names or objects in, a result that shows itself out."""

import inspect
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import pipelines
from datamodules.errors import UserError
from pipelines import evaluate, fine_tune
from pipelines.evaluate.result import Evaluation


def network(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


def loader() -> DataLoader:
    image = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(image, torch.arange(24) % 3), batch_size=5)


@pytest.mark.parametrize("name", pipelines._COMMANDS)
def test_every_command_is_a_documented_function(name: str) -> None:
    function = getattr(pipelines, name)
    assert inspect.isfunction(function)
    assert "Args:" in (function.__doc__ or "")


@pytest.mark.usefixtures("home")
def test_a_network_and_a_loader(capsys: pytest.CaptureFixture[str]) -> None:
    model, data = network(), loader()
    evaluation = evaluate(model, data, probes=["clean", "fgsm"], masking=False, chunk=8)
    assert capsys.readouterr().out == "", "a notebook gets the result, not a terminal's table"
    image, label = data.dataset.tensors  # type: ignore[attr-defined]
    right = (model(image).argmax(1) == label).double().mean()
    assert evaluation.headline()["clean_acc"].interval.value == pytest.approx(float(right))
    assert isinstance(evaluation.to_frame(), pd.DataFrame)
    assert "Clean accuracy" in evaluation._repr_html_()
    assert evaluation.figures()


@pytest.mark.usefixtures("home")
def test_labels_that_do_not_occur_are_classes_still() -> None:
    evaluation = evaluate(network(5), loader(), probes=["clean"], chunk=8)
    assert evaluation.classes == list("01234")


@pytest.mark.usefixtures("home")
def test_names_as_the_command_line_has_them() -> None:
    evaluation = evaluate("lenet", "Digits", probes=["clean"], seed=3)
    assert isinstance(evaluation, Evaluation)
    assert evaluation.about.seed == 3


def test_fine_tuned_and_evaluated_again(home: Path) -> None:
    flags: dict[str, Any] = {"max_epochs": 1, "enable_progress_bar": False}
    tuned = fine_tune("lenet", "Digits", evaluation="none", trainer=flags)
    evaluation = evaluate(tuned, "Digits", probes=["clean"])
    assert evaluation.about.model["source"] == tuned.source
    assert Path(tuned.source.removeprefix("checkpoint:")).is_relative_to(home)


def test_a_misspelt_option_is_told() -> None:
    with pytest.raises(UserError, match=r"no option 'sed'\. Did you mean 'seed'"):
        evaluate("lenet", "Digits", sed=3)  # type: ignore[call-arg]
