"""Files that are no good, and the exact words about them; `FILE` stands for the path."""

import os
import pickle
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from datamodules import UserError
from lightning_modules import build, inspect_checkpoint, load_classifier

Write = Callable[[Path], None]


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.mark}'",)


def good() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build("lenet", 10, 1).state_dict()


def _saved(change: Callable[[dict[str, Any]], Any]) -> Write:
    """Writes LeNet's weights after a change."""

    def write(path: Path) -> None:
        state = good()
        torch.save(change(state) or state, path)

    return write


def _cut(suffix: str, share: float) -> Write:
    def write(path: Path) -> None:
        if suffix == "safetensors":
            safetensors.torch.save_file(good(), path)
        else:
            torch.save(good(), path, _use_new_zipfile_serialization=suffix == "zip")
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return write


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Attack(path.with_suffix(".mark"))))


_CUT = "'FILE' (BYTES bytes) is cut off or no checkpoint: expected a .safetensors file or what "
_CUT += "torch.save writes. Copy it again."
_TRUST = (
    "'FILE' is a pickle of more than tensors (it calls 'CALL'): loading it could execute code, "
)
_TRUST += (
    "so it was not loaded. Save its state_dict() instead, or say `--trust_pickle true` if the "
)
_TRUST += "file is your own."
_OTHER = "The weights in 'FILE' are not of 'lenet' (WHAT). `assay inspect FILE` guesses the "
_OTHER += "architecture."

SYSTEM = "posix.system" if os.name == "posix" else "nt.system"
CASES: dict[str, tuple[str, Write, str]] = {
    "empty": ("x.pt", lambda path: path.write_bytes(b"") and None, _CUT),
    "text": ("x.pt", lambda path: path.write_text("404: Not Found\n") and None, _CUT),
    "cut off zip": ("x.pt", _cut("zip", 0.6), _CUT),
    "cut off legacy": ("x.th", _cut("legacy", 0.6), _CUT),
    "cut off legacy early": ("x.th", _cut("legacy", 0.01), _CUT),
    "cut off safetensors": ("x.safetensors", _cut("safetensors", 0.6), _CUT),
    "cut off safetensors early": ("x.safetensors", _cut("safetensors", 0.0001), _CUT),
    "attack in a zip": (
        "x.pt",
        lambda path: torch.save({"state_dict": Attack(path.with_suffix(".mark"))}, path),
        _TRUST.replace("CALL", SYSTEM),
    ),
    "attack in a pickle": ("x.pkl", _pickled, _TRUST.replace("CALL", SYSTEM)),
    "training arguments": (
        "x.pt",
        _saved(lambda state: {"state_dict": state, "args": Namespace(lr=0.1)}),
        _TRUST.replace("CALL", "argparse.Namespace"),
    ),
    "whole module": (
        "x.pt",
        lambda path: torch.save(nn.Sequential(nn.Linear(2, 2)), path),
        _TRUST.replace("CALL", "torch.nn.modules.container.Sequential"),
    ),
    "no tensors": (
        "x.pt",
        _saved(lambda _: {"epoch": 3, "lr": 0.1}),
        "Expected a state dict in 'FILE', but got dict with epoch, lr.",
    ),
    "a list": (
        "x.pt",
        _saved(lambda state: list(state.values())),
        "Expected a state dict in 'FILE', but got list.",
    ),
    "missing": (
        "x.pt",
        _saved(lambda state: state.pop("fc2.bias") is None),
        _OTHER.replace("WHAT", "1 missing: fc2.bias"),
    ),
    "unexpected": (
        "x.pt",
        _saved(lambda state: state.update({"fc4.bias": torch.zeros(2)})),
        _OTHER.replace("WHAT", "1 unexpected: fc4.bias"),
    ),
    "other shape": (
        "x.pt",
        _saved(lambda state: state.update({"fc2.weight": torch.zeros(84, 100)})),
        _OTHER.replace("WHAT", "1 of another shape: fc2.weight (84, 100) instead of (84, 120)"),
    ),
    "another architecture": (
        "x.pt",
        lambda path: torch.save({"a.weight": torch.zeros(3, 2), "a.bias": torch.zeros(3)}, path),
        _OTHER.replace(
            "WHAT",
            "10 missing: conv1.weight, conv1.bias, conv2.weight, ...; "
            "2 unexpected: a.weight, a.bias",
        ),
    ),
    "nan": (
        "x.pt",
        _saved(lambda state: state["fc1.weight"][:3, 0].fill_(float("nan")) is None),
        "3 of 30720 numbers in 'fc1.weight' of 'checkpoint:FILE' are NaN or infinite: the training "
        "that wrote it diverged.",
    ),
    "infinite": (
        "x.pt",
        _saved(lambda state: state["fc3.bias"][0].fill_(float("inf")) is None),
        "1 of 10 numbers in 'fc3.bias' of 'checkpoint:FILE' are NaN or infinite: the training that "
        "wrote it diverged.",
    ),
}


@pytest.mark.parametrize(("name", "write", "message"), CASES.values(), ids=CASES)
def test_says_what_is_wrong(name: str, write: Write, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(UserError) as caught:
        load_classifier(f"checkpoint:{path}", arch="lenet")
    size = f"{path.stat().st_size:,}"
    assert str(caught.value) == message.replace("FILE", str(path)).replace("BYTES", size)
    assert not path.with_suffix(".mark").exists(), "the pickle was executed"


@pytest.mark.parametrize("case", ["attack in a zip", "attack in a pickle"])
def test_inspection_executes_nothing_either(case: str, tmp_path: Path) -> None:
    name, write, _ = CASES[case]
    write(tmp_path / name)
    with pytest.raises(UserError, match="could execute code"):
        inspect_checkpoint(tmp_path / name)
    assert not list(tmp_path.glob("*.mark"))


def test_the_attack_is_a_real_one(tmp_path: Path) -> None:
    _pickled(tmp_path / "x.pkl")
    with pytest.raises(UserError):
        load_classifier(f"checkpoint:{tmp_path / 'x.pkl'}", arch="lenet", trust_pickle=True)
    assert (tmp_path / "x.mark").exists()


def test_a_trusted_module_is_taken_whole(tmp_path: Path) -> None:
    model = build("lenet", 10, 1).eval()
    torch.save(model, tmp_path / "x.pt")
    source = f"checkpoint:{tmp_path / 'x.pt'}"
    image = torch.rand(2, 1, 28, 28)
    for arch in (None, "lenet"):
        taken = load_classifier(source, arch=arch, trust_pickle=True).eval()
        assert torch.equal(taken.model(image), model(image))


def test_a_class_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(nn.Linear):
        pass

    Own.__module__, Own.__qualname__ = "their_package", "Own"
    import sys
    import types

    package = types.ModuleType("their_package")
    package.Own = Own  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "their_package", package)
    torch.save(Own(2, 2), tmp_path / "x.pt")
    monkeypatch.delitem(sys.modules, "their_package")
    with pytest.raises(UserError, match="needs code that is not here: No module named 'their_pack"):
        load_classifier(f"checkpoint:{tmp_path / 'x.pt'}", trust_pickle=True)


@pytest.mark.parametrize("arch", [None, "lenett"])
def test_the_architecture_must_be_known(arch: str | None, tmp_path: Path) -> None:
    torch.save(good(), tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"Expected `--arch`|Did you mean 'lenet'"):
        load_classifier(f"checkpoint:{tmp_path / 'x.pt'}", arch=arch)


def test_too_few_classes(tmp_path: Path) -> None:
    torch.save(good(), tmp_path / "x.pt")
    with pytest.raises(UserError) as caught:
        load_classifier(f"checkpoint:{tmp_path / 'x.pt'}", arch="lenet", data_classes=["a", "b"])
    assert "Expected a model of the data's 2 classes (a, b), but" in str(caught.value)
    assert "has 10" in str(caught.value)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}},
        lambda state: {f"model._orig_mod.{k}": v for k, v in state.items()},
        lambda state: {f"classifier.model.{k}": v for k, v in state.items()},
        lambda state: {
            "n_averaged": torch.tensor(3),
            **{f"module.{k}": v for k, v in state.items()},
        },
    ],
)
def test_usual_wrappings_are_taken_off(wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    state = {
        k: v for k, v in build("cifar_resnet20", 10).state_dict().items() if "tracked" not in k
    }
    torch.save(wrap(state), tmp_path / "x.pt")
    loaded = load_classifier(f"checkpoint:{tmp_path / 'x.pt'}", arch="cifar_resnet20")
    found = loaded.model.state_dict()
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())


@pytest.mark.parametrize("broken", ["classifier.json", "model.safetensors"])
def test_half_a_folder(broken: str, tmp_path: Path) -> None:
    (tmp_path / broken).write_text("{}")
    with pytest.raises(UserError, match="as Assay writes them in"):
        load_classifier(f"checkpoint:{tmp_path}")
