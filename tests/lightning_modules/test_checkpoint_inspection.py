from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from lightning_modules import build, inspect_checkpoint


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize(
    ("architecture", "classes", "channels", "size"),
    [
        ("lenet", 10, 1, 28),
        ("lenet", 3, 3, 28),
        ("cifar_resnet32", 100, 3, 32),
        ("torchvision:resnet18", 7, 3, 224),
        ("torchvision:squeezenet1_1", 7, 3, 224),
        ("torchvision:mobilenet_v3_small", 2, 3, 224),
        # sorted by name, as safetensors are, its last matrix is not its head
        pytest.param("torchvision:convnext_tiny", 5, 3, 224, marks=pytest.mark.slow),
        pytest.param("torchvision:regnet_y_400mf", 5, 3, 224, marks=pytest.mark.slow),
    ],
)
def test_guesses(
    architecture: str, classes: int, channels: int, size: int, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x.{suffix}"
    state = build(architecture, classes, channels).state_dict()
    save = torch.save if suffix == "pt" else safetensors.torch.save_file
    save({f"module.{key}": tensor for key, tensor in state.items()}, path)
    found = inspect_checkpoint(path)
    assert (found.architecture, found.alternatives) == (architecture, [])
    assert (found.classes, found.channels, found.size) == (classes, channels, size)
    assert f"--model checkpoint:{path} --arch {architecture} " in found.command
    assert found.facts()["command"] == found.command


def test_parameters_are_torchvisions(tmp_path: Path) -> None:
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), tmp_path / "x.pt")
    weights = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT
    assert inspect_checkpoint(tmp_path / "x.pt").parameters == weights.meta["num_params"]


FEW = ["squeezenet1_0", "squeezenet1_1", "mobilenet_v2", "resnet18"]


def test_names_the_closest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_modules.checkpoint_inspection.zoo", lambda: FEW)  # seconds less
    model = build("torchvision:squeezenet1_1", 4)
    state = model.state_dict()
    state["extra"] = torch.tensor([float("nan")])
    torch.save(state, tmp_path / "x.pt")
    found = inspect_checkpoint(tmp_path / "x.pt")
    assert found.architecture is None
    assert found.alternatives[0] == "torchvision:squeezenet1_1"
    assert (found.classes, found.not_finite) == (4, 1)
    text = str(found)
    assert "none fits exactly (closest: torchvision:squeezenet1_1" in text
    assert "1 numbers are NaN or infinite" in text
    assert "more" in text


def test_something_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_modules.checkpoint_inspection.zoo", lambda: FEW)
    torch.save(nn.Sequential(nn.Linear(5, 3)).state_dict(), tmp_path / "x.pt")
    found = inspect_checkpoint(tmp_path / "x.pt")
    assert (found.architecture, found.alternatives, found.classes) == (None, [], 3)
