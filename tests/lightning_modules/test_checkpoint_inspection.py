"""What a look into a file tells, and that it executes nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    monkeypatch.setattr("lightning_modules.architecture_guess.zoo", lambda: FEW)  # seconds less
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
    monkeypatch.setattr("lightning_modules.architecture_guess.zoo", lambda: FEW)
    torch.save(nn.Sequential(nn.Linear(5, 3)).state_dict(), tmp_path / "x.pt")
    found = inspect_checkpoint(tmp_path / "x.pt")
    assert (found.architecture, found.alternatives, found.classes) == (None, [], 3)


class ViT(nn.Module):
    """Patches of 8x8 pixels, 32 numbers a token, 3 classes: its last matrix by name is no head."""

    def __init__(self, head: str = "head") -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 32))
        self.zz_position = nn.Parameter(torch.zeros(17, 32))
        layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.add_module(head, nn.Linear(32, 3))


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 6))


def _projected() -> nn.Module:
    """A projection that is registered after the head and used before it."""
    return nn.ModuleDict(
        {"conv": nn.Conv2d(3, 8, 3), "fc": nn.Linear(16, 5), "proj": nn.Linear(8, 16)}
    )


HEADS: dict[str, tuple[Callable[[], nn.Module], int | None]] = {
    "vit, head": (ViT, 3),
    "vit, fc": (lambda: ViT("fc"), 3),
    "vit, mlp_head": (lambda: ViT("mlp_head"), 3),
    "vit, classifier": (lambda: ViT("classifier"), 3),
    "vit, a name of one's own": (lambda: ViT("answer"), 3),
    "layers by number": (_mlp, 6),
    "a projection after the head": (_projected, 5),
    "a convolution as head": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1)),
        4,
    ),
    "no head at all": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), None),
}


@pytest.mark.parametrize(("make", "classes"), HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_classes_come_from_the_head(
    make: Callable[[], nn.Module],
    classes: int | None,
    suffix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lightning_modules.architecture_guess.zoo", lambda: FEW)
    save = torch.save if suffix == "pt" else safetensors.torch.save_file
    save(make().state_dict(), tmp_path / f"x.{suffix}")
    found = inspect_checkpoint(tmp_path / f"x.{suffix}")
    assert (found.architecture, found.classes) == (None, classes)
    assert "no layer is clearly the head" in str(found) or classes


def _sets(state: dict[str, Any], path: Path) -> None:
    torch.save({"state_dict": {n: v * 0.5 for n, v in state.items()}, "ema": state}, path)


def _beside(state: dict[str, Any], path: Path) -> None:
    state = {f"model.{name}": value for name, value in state.items()}
    torch.save({"state_dict": {**state, "criterion.weight": torch.ones(3)}}, path)


def _whole(state: dict[str, Any], path: Path) -> None:
    network = build("lenet_wide", 10, 1)
    network.load_state_dict(state)
    torch.save(network, path)


def _half(state: dict[str, Any], path: Path) -> None:
    torch.save({name: value.to(torch.float8_e4m3fn) for name, value in state.items()}, path)


def _script(_: dict[str, Any], path: Path) -> None:
    torch.jit.trace(build("lenet_wide", 10, 1).eval(), torch.rand(1, 1, 28, 28)).save(path)


def _export(_: dict[str, Any], path: Path) -> None:
    network = build("lenet_wide", 10, 1).eval()
    torch.export.save(torch.export.export(network, (torch.rand(2, 1, 28, 28),)), path)


FILES: dict[str, tuple[Callable[[dict[str, Any], Path], None], str, list[str], str]] = {
    "bare": (torch.save, "torch.save", [""], ""),
    "several sets": (_sets, "torch.save", ["ema", "state_dict"], "took 'ema', the average"),
    "a loss beside": (_beside, "torch.save", ["state_dict"], "left out criterion.weight"),
    "float8": (_half, "torch.save", [""], ""),
    "a whole module": (
        _whole,
        "torch.save",
        [""],
        "a whole pickled network (lightning_module",
    ),
    "TorchScript": (_script, "TorchScript", [""], "runs as a black box: TorchScript does not say"),
    "torch.export": (_export, "torch.export", [""], "from 2x1x28x28 to 2x10 (26 nodes)"),
}


@pytest.mark.parametrize(("write", "kind", "sets", "note"), FILES.values(), ids=FILES)
@pytest.mark.filterwarnings("ignore")
def test_tells_the_kind_and_the_sets(
    write: Callable[[dict[str, Any], Path], None],
    kind: str,
    sets: list[str],
    note: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lightning_modules.architecture_guess.zoo", lambda: FEW)
    write(build("lenet_wide", 10, 1).state_dict(), tmp_path / "a file.pt")
    found = inspect_checkpoint(tmp_path / "a file.pt")
    assert (found.kind, found.sets) == (kind, sets)
    assert (found.architecture, found.classes, found.channels) == ("lenet_wide", 10, 1)
    assert found.parameters == 696_074
    assert note.split("(26")[0] in "; ".join(found.notes)
    assert f"'checkpoint:{tmp_path / 'a file.pt'}'" in found.command, "blanks are quoted"
    assert ("--trust_pickle true" in found.command) == (kind in ("TorchScript", "torch.export"))
    told = json.loads(json.dumps(found.facts()))
    assert set(told) == {*found.__dataclass_fields__, "command"}


def test_folders_say_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_modules.architecture_guess.zoo", lambda: FEW)
    config = {"model_type": "vit", "image_size": 32, "id2label": {"0": "a", "1": "b", "2": "c"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(ViT().state_dict(), tmp_path / "model.safetensors")
    found = inspect_checkpoint(tmp_path)
    assert (found.kind, found.classes, found.size) == ("folder of Hugging Face", 3, 32)
    assert found.command.startswith(f"assay evaluate --model checkpoint:{tmp_path} --data CIFAR10")
