"""LoRA, adapters and learning without forgetting as modes, and labels needed, by the command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from datamodules import UserError
from datamodules.fractions import Fraction
from lightning_modules import Tuning, load_classifier
from pipelines.report.result import load_result
from pipelines.study import Study
from pipelines.transfer.command import TRAINER
from pipelines.transfer.pair import Pair, make_pair
from pipelines.transfer.recipe import Recipe
from pipelines.transfer.tasks import open_models, open_tasks
from pipelines.transfer.training import tuned

Assay = Callable[..., tuple[int, str, str]]
FLAGS = {"accelerator": "cpu"}


@pytest.fixture
def pair(lenet: Path, tmp_path: Path) -> Pair:
    options: Any = {"root": tmp_path, "arch": ["lenet"], "trainer": FLAGS}
    study = Study("transfer", "variability", options, TRAINER)
    tasks = open_tasks(study, ["Digits"], 100)
    (model,) = open_models(study, [f"checkpoint:{lenet}"], tasks)
    return make_pair(study, model, tasks[0], [Fraction("200")], [0])


LEARNT = {
    # LeNet by hand: convolutions 6x25 and 16x150, linear 120x256 and 84x120, head 84 -> 10.
    "lora": 2 * (6 + 25 + 16 + 150 + 120 + 256 + 84 + 120) + 850,
    "adapter": 6 + 16 * 6 + 850,
    "full": 44426,
    "lwf": 44426,
}


@pytest.mark.parametrize("mode", LEARNT)
def test_a_mode_gives_what_full_gives(mode: str, pair: Pair, tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, min_steps=1, lora_rank=2, flags=FLAGS)
    start = pair.model.classifier.state_dict()
    result = tuned(pair, mode, "200", 0, recipe, tmp_path)
    state = result.classifier.state_dict()
    assert list(state) == list(start)
    assert result.learnt == LEARNT[mode]
    moved = {name for name in state if not torch.equal(state[name], start[name])}
    biases = {name for name in state if name.endswith("bias") and "fc3" not in name}
    assert moved == set(state) - (biases if mode in ("lora", "adapter") else set()) - (
        {n for n in state if "fc1" in n or "fc2" in n} if mode == "adapter" else set()
    )
    assert (result.old is not None) == (mode == "lwf")
    again = tuned(pair, mode, "200", 0, recipe, tmp_path).classifier.state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)


@pytest.mark.parametrize("mode", ["full", "l2_sp", "lwf"])
def test_an_average_acts(mode: str, pair: Pair, tmp_path: Path) -> None:
    """From the second step on: the average begins with the weights of the first."""
    made = [
        tuned(pair, mode, "200", 0, Recipe(Tuning(ema=ema), 1, 1, flags=FLAGS), tmp_path)
        for ema in (0.0, 0.9)
    ]
    one, other = (result.classifier.state_dict() for result in made)
    assert not any(torch.equal(one[name], other[name]) for name in one if "weight" in name)


def test_labels_needed_on_the_page(assay: Assay, home: Path, lenet: Path) -> None:
    line = f"transfer --models checkpoint:{lenet} --arch lenet --data Digits --wanted_acc 0.99 "
    line += "--fractions 1/class 20 40 80 --seeds 0 1 2 --limit 200 --tracking.enabled false"
    code, out, err = assay(*line.split())
    assert (code, "Traceback" in err) == (0, False), out + err
    said = " ".join(out.replace("\xa0", " ").split())
    assert "For 99.0 % right on Digits by a new last layer" in said
    (folder,) = (file.parent for file in home.glob("mlruns/results/*/result.json"))
    page = (folder / "report.html").read_text()
    assert "How many labels it needs" in page
    assert "wanted 99 %" in page
    found = json.loads((folder / "tables" / "sufficiency.json").read_text())
    (told,) = pd.DataFrame(found["data"], columns=found["columns"]).to_dict("records")
    assert told["refused"] or told["needed_low"] <= told["needed"] <= told["needed_high"]
    assert load_result(folder).grid.wanted == 0.99  # type: ignore[attr-defined]


def test_fine_tuning_by_lora_saves_the_merged_network(assay: Assay, home: Path) -> None:
    line = "fine-tune --model lenet --data Digits --tuning.mode lora --tuning.lora_rank 3 "
    line += "--trainer.max_epochs 1 --evaluation none --tracking.enabled false"
    code, out, err = assay(*line.split())
    assert (code, "Traceback" in err) == (0, False), out + err
    assert "parameters learn, beside 44,426 of the network" in out
    (folder,) = (file.parent for file in home.glob("mlruns/checkpoints/*/model.safetensors"))
    loaded = load_classifier(f"checkpoint:{folder}")
    assert sum(p.numel() for p in loaded.parameters()) == 44426
    assert assay(*line.split())[0] == 0, "known already"
    code, _, err = assay(*line.replace("mode lora", "mode full").split())
    assert (code, "lora_rank" in err) == (2, True)


@pytest.mark.parametrize("options", [{"momentum": 0.5}, {"nesterov": False}])
def test_options_of_sgd_are_refused_elsewhere(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="optimizer adamw"):
        Recipe(Tuning(**options))
    Recipe(Tuning(optimizer="sgd", **options))
