"""Files that are no good, and the exact words about them; `FILE` stands for the path."""

import os
import pickle
import tarfile
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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
    "text": (
        "x.pt",
        lambda path: path.write_text("404: Not Found\n") and None,
        "'FILE' (BYTES bytes) is text, not weights: it begins with \"404: Not Found\"; fetch it "
        "again.",
    ),
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
    "attack beside the weights": (
        "x.pt",
        _saved(lambda state: {"state_dict": state, "hook": Attack(Path("never"))}),
        _TRUST.replace("CALL", SYSTEM),
    ),
    "attack in the old format": (
        "x.th",
        lambda path: torch.save(
            {"model": good(), "hook": Attack(path.with_suffix(".mark"))},
            path,
            _use_new_zipfile_serialization=False,
        ),
        _TRUST.replace("CALL", SYSTEM),
    ),
    "only arguments": (
        "x.pt",
        lambda path: torch.save({"args": Namespace(lr=0.1)}, path),
        _TRUST.replace("CALL", "argparse.Namespace"),
    ),
    "whole module": (
        "x.pt",
        lambda path: torch.save(nn.Sequential(nn.Linear(2, 2)), path),
        _OTHER.replace(
            "WHAT",
            "10 missing: conv1.weight, conv1.bias, conv2.weight, ...; "
            "2 unexpected: 0.weight, 0.bias",
        ),
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


def _bytes(content: bytes, size: int = 600) -> Write:
    return lambda path: path.write_bytes(content.ljust(size, b"\0")) and None


def _archive(kind: str, *names: str) -> Write:
    def write(path: Path) -> None:
        if kind == "tar":
            with tarfile.open(path, "w") as archive:
                for name in names:
                    archive.addfile(tarfile.TarInfo(name))
            return
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"x")

    return write


def _cut_script(path: Path) -> None:
    torch.jit.script(nn.Sequential(nn.Linear(2, 2))).save(path)
    path.write_bytes(path.read_bytes()[:-700])


def _one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((2, 3)))


def _objects(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=True, x=np.array([Attack(path.with_suffix(".mark"))], object))


_TF = "is a model of TensorFlow: export it to ONNX (tf2onnx) and give that file."
_HTML = "is a web page, not weights: the download met a login or an error; fetch it again."
_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
WHAT: dict[str, tuple[str, Write, str]] = {
    "git-lfs": (
        "x.safetensors",
        _bytes(_LFS, 0),
        "is a pointer of git-lfs, the file itself",
    ),
    "git-lfs for ONNX": ("x.onnx", _bytes(_LFS, 0), "is a pointer of git-lfs, the file itself"),
    "git-annex": ("x.pt", _bytes(b"/annex/objects/MD5", 0), "git annex get"),
    "dvc": ("x.pt", _bytes(b"outs:\n- md5: 1\n", 0), "run `dvc pull`"),
    "html": ("x.pth", _bytes(b"\n<!DOCTYPE html><html>", 0), _HTML),
    "html in capitals": ("x.pth", _bytes(b"<HTML><HEAD>", 0), _HTML),
    "xml": ("x.pth", _bytes(b"<?xml version='1.0'?><Error><Code>AccessDenied", 0), _HTML),
    "json": ("x.pth", _bytes(b'{"error": "not found"}', 0), 'begins with "{"error": "not found"}"'),
    "zeros": ("x.pth", _bytes(b"", 900), "(900 bytes) is filled with zeros: copy it again."),
    "h5": ("x.h5", _bytes(b"\x89HDF\r\n\x1a\n"), "is a Keras or TensorFlow file (HDF5): export"),
    "h5 under another name": ("x.pth", _bytes(b"\x89HDF\r\n\x1a\n"), "is a Keras or Tens"),
    "keras": (
        "x.keras",
        _archive("zip", "config.json", "model.weights.h5"),
        "file (.keras)",
    ),
    "tensorflow": ("x.pb", _bytes(b"\x08\x01\xff\xff"), _TF),
    "tensorflow lite": ("x.tflite", _bytes(b"\x1c\0\0\0TFL3"), "is a model of TensorFlow Lite"),
    "caffe": ("x.caffemodel", _bytes(b"\x0a\x07\xff"), "is a model of Caffe, which torch cannot"),
    "flax": ("x.msgpack", _bytes(b"\x81\xa6params"), "is a model of Flax, which torch cannot read"),
    "core ml": ("x.mlmodel", _bytes(b"\x08\x05\xff"), "is a model of Core ML"),
    "mxnet": ("x.params", _bytes(b"\x12\x01\0\0\0\0\0\0"), "is a model of MXNet"),
    "gguf": ("x.gguf", _bytes(b"GGUF\x03"), "is a model of llama.cpp (GGUF)"),
    "tensorrt": ("x.engine", _bytes(b"ftrt"), "is a model of TensorRT"),
    "executorch": ("x.pte", _bytes(b"\x1c\0\0\0ET12"), "is a model of ExecuTorch"),
    "gzip": ("x.pth.gz", _bytes(b"\x1f\x8b\x08"), "is packed (gzip): unpack it and give the file"),
    "xz": ("x.pth", _bytes(b"\xfd7zXZ\0"), "is packed (xz)"),
    "7z": ("x.7z", _bytes(b"7z\xbc\xaf"), "is packed (7z)"),
    "rar": ("x.rar", _bytes(b"Rar!"), "is packed (rar)"),
    "zstd": ("x.zst", _bytes(b"\x28\xb5\x2f\xfd"), "is packed (zstd)"),
    "tar": (
        "x.pth.tar",
        _archive("tar", "a.pt", "b.txt"),
        "is a tar archive of a.pt, b.txt: ",
    ),
    "tar of torch 0.1": (
        "x.pth",
        _archive("tar", "sys_info", "pickle", "storages"),
        "before 0.1.10",
    ),
    "zip": ("x.zip", _archive("zip", "a.pt", "b.pt"), "is a zip archive of a.pt, b.pt: unpack it"),
    "empty zip": ("x.zip", _bytes(b"PK\x05\x06", 22), "is cut off or no checkpoint"),
    "aotinductor": (
        "x.pt2",
        _archive("zip", "x/archive_format", "x/data/aotinductor/model/a.so"),
        "was compiled by AOTInductor for one kind of machine",
    ),
    "torch.package": ("x.pt", _archive("zip", "x/.data/version", "x/model.py"), "a torch.package"),
    "picture": ("x.pt", _bytes(b"\x89PNG\r\n"), "is a picture (PNG), not weights."),
    "pdf": ("x.pt", _bytes(b"%PDF-1.4"), "is a PDF document, not weights."),
    "program": ("x.pt", _bytes(b"\x7fELF"), "is a program or library, not weights."),
    "database": ("x.pt", _bytes(b"SQLite format 3\0"), "is a SQLite database, not weights."),
    "one array": ("x.npy", _one_array, "is one array (2, 3), without the names of weights."),
    "arrays of objects": ("x.npz", _objects, "is cut off or no checkpoint"),
    "cut off TorchScript": ("x.pt", _cut_script, "is cut off or no checkpoint"),
    "cut off pickle": (
        "x.pkl",
        lambda p: p.write_bytes(pickle.dumps({"a": 1})[:9]) and None,
        "cut off",
    ),
    "random bytes": ("x.pt", _bytes(bytes(range(7, 256))), "is cut off or no checkpoint"),
    "index without files": (
        "x.safetensors.index.json",
        lambda path: path.write_text('{"weight_map": {"a": "b.safetensors"}}') and None,
        "names 1 files, but 1 of them are not there: b.safetensors. Copy them beside it.",
    ),
    "index of another kind": (
        "x.safetensors.index.json",
        lambda path: path.write_text("[]") and None,
        'is no index of shards: expected {"weight_map": {...}}.',
    ),
}


@pytest.mark.parametrize(("name", "write", "message"), WHAT.values(), ids=WHAT)
@pytest.mark.filterwarnings("ignore")
def test_says_what_a_file_is(name: str, write: Write, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path)
    told = []
    for ask in (
        lambda: load_classifier(f"checkpoint:{path}", arch="lenet"),
        lambda: inspect_checkpoint(path),
    ):
        with pytest.raises(UserError) as caught:
            ask()
        told.append(str(caught.value))
    assert message in told[0]
    assert str(path) in told[0]
    assert told[0] == told[1]
    assert "Traceback" not in told[0]
    assert not list(tmp_path.glob("*.mark")), "something was executed"


FOLDERS: dict[str, tuple[dict[str, bytes], str]] = {
    "empty": ({}, "is an empty folder: name the file with the weights."),
    "of a trainer": (
        {"checkpoints/a.ckpt": b"", "checkpoints/b.ckpt": b"", "hparams.yaml": b""},
        "is a folder with checkpoints/a.ckpt, checkpoints/b.ckpt: name one of them.",
    ),
    "without weights": ({"notes.txt": b""}, "is a folder without weights (it has notes.txt): name"),
    "tensorflow": ({"saved_model.pb": b"", "variables/x": b""}, _TF),
    "unpacked": (
        {"data.pkl": b"", "version": b"3", "data/0": b""},
        "is an unpacked file of",
    ),
    "deepspeed": ({"latest": b"", "zero_to_fp32.py": b""}, "is a checkpoint of DeepSpeed: run the"),
    "mlflow of scikit-learn": (
        {"MLmodel": b"flavors:\n  python_function:\n    x: 1\n  sklearn:\n    x: 1\n"},
        "is a logged model of python_function, sklearn: expected one of mlflow.pytorch, mlflow.onn",
    ),
    "a configuration alone": (
        {"config.json": b'{"model_type": "vit"}'},
        "has none of the files model.safetensors, model.safetensors.index.json, pytorch_model.bin",
    ),
    "sharded without metadata": ({"__0_0.distcp": b""}, "is a folder without weights"),
    "sharded, cut off": ({".metadata": b"\x80\x04"}, "is cut off or no checkpoint"),
}


@pytest.mark.parametrize(("files", "message"), FOLDERS.values(), ids=FOLDERS)
def test_says_what_a_folder_is(files: dict[str, bytes], message: str, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    for ask in (
        lambda: load_classifier(f"checkpoint:{folder}", arch="lenet"),
        lambda: inspect_checkpoint(folder),
    ):
        with pytest.raises(UserError) as caught:
            ask()
        assert message in str(caught.value)


def test_a_whole_module_needs_a_word(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "x.pt")
    named = r"is a whole pickled network \(torch\.nn\.modules\.container\.Sequential\), and loading"
    with pytest.raises(
        UserError, match=rf"{named} it .*give `--arch` to take its weights only, or"
    ):
        load_classifier(f"checkpoint:{tmp_path / 'x.pt'}")


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


def test_a_pickle_cannot_change_what_it_names(tmp_path: Path) -> None:
    # GLOBAL _rebuild_tensor_v2, then BUILD with the state (None, {"spoiled": 1}) on it.
    content = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN(X\x07\0\0\0spoiledK\x01d\x86b."
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(UserError, match="cut off or no checkpoint"):
        load_classifier(f"checkpoint:{tmp_path / 'x.pkl'}", arch="lenet")
    function: Any = torch._utils._rebuild_tensor_v2  # type: ignore[attr-defined]
    assert not hasattr(function, "spoiled")
    pickle.loads(content)
    assert function.spoiled == 1, "the attack is a real one"
    del function.spoiled


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


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("classifier.json", "as Assay writes them in"),
        ("model.safetensors", r"model\.safetensors' \(2 bytes\) is text, not weights"),
    ],
)
def test_half_a_folder(broken: str, message: str, tmp_path: Path) -> None:
    (tmp_path / broken).write_text("{}")
    with pytest.raises(UserError, match=message):
        load_classifier(f"checkpoint:{tmp_path}")
