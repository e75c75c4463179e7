"""What a file is: told from its first bytes and its folder, never from its name alone."""

import json
import zipfile
from enum import Enum
from pathlib import Path

from datamodules.errors import UserError
from lightning_modules.checkpoint_files.onnx_header import looks_like_onnx
from lightning_modules.checkpoint_files.refusals import KERAS, TENSORFLOW, refusal


class Kind(Enum):
    """What can be read or run."""

    TORCH = "torch.save"
    PICKLE = "pickle"
    SAFETENSORS = "safetensors"
    ARRAYS = "NumPy arrays"
    INDEX = "index of shards"
    TORCHSCRIPT = "TorchScript"
    EXPORT = "torch.export"
    ONNX = "ONNX"
    ASSAY = "folder of Assay"
    HUGGING_FACE = "folder of Hugging Face"
    MLFLOW = "folder of mlflow.pytorch"
    SHARDED = "torch.distributed.checkpoint"

    @property
    def a(self) -> str:
        """For a sentence: "a TorchScript file"."""
        if self is Kind.MLFLOW or "folder" in self.value:
            return f"a {self.value}"
        return f"{'an' if self.value[0] in 'OiE' else 'a'} {self.value} file"


NETWORKS = (Kind.TORCHSCRIPT, Kind.EXPORT, Kind.ONNX)
"""Files that hold their own network, which runs as a black box."""

_HEADER = 2**27  # safetensors' own limit on the size of its header is 100 MB
_LEGACY = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # torch's magic number inside a pickle


def file_kind(path: Path) -> Kind:
    """Tells what a file or folder is, without executing anything in it.

    Raises:
        UserError: there is nothing, or nothing that can be read, and what it is instead.
    """
    try:
        if path.is_dir():
            return _folder_kind(path)
        if not path.is_file():
            raise UserError(f"There is no checkpoint {str(path)!r}.")
        with path.open("rb") as file:
            start = file.read(4096)
    except PermissionError as error:
        raise UserError(
            f"The checkpoint {str(path)!r} cannot be read: permission denied."
        ) from error
    known = _known_kind(path, start)
    if known is not None:
        return known
    words = refusal(path, start)
    if words is None and path.suffix.lower() == ".onnx":
        return Kind.ONNX  # a broken one, for onnxruntime to say where
    raise UserError(f"{str(path)!r} {words}." if words else cut_off(path))


def _known_kind(path: Path, start: bytes) -> Kind | None:
    if start[:4] == b"PK\x03\x04" and zipfile.is_zipfile(path):
        return _zip_kind(path)
    if path.name.endswith(".index.json"):
        return Kind.INDEX
    if start[:6] == b"\x93NUMPY":
        return Kind.ARRAYS
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < _HEADER:
        return Kind.SAFETENSORS
    if start[:1] == b"\x80" and start[1:2] <= b"\x05":
        return Kind.TORCH if _LEGACY in start[:32] else Kind.PICKLE
    return Kind.ONNX if looks_like_onnx(path) else None


def _zip_kind(path: Path) -> Kind:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    inside = {name.partition("/")[2] for name in names}
    if any(name.startswith("code/") for name in inside) and "data.pkl" in inside:
        return Kind.TORCHSCRIPT
    if any("aotinductor" in name for name in inside):
        raise UserError(
            f"{str(path)!r} was compiled by AOTInductor for one kind of machine: give the file of "
            "torch.export that it was made of."
        )
    if "archive_format" in inside or "serialized_exported_program.json" in {*names, *inside}:
        return Kind.EXPORT
    if "data.pkl" in inside:
        return Kind.TORCH
    if names and all(name.endswith(".npy") for name in names):
        return Kind.ARRAYS
    if "model.weights.h5" in names:
        raise UserError(f"{str(path)!r} {KERAS.replace('HDF5', '.keras')}.")
    if any(name.startswith(".data/") for name in inside):
        raise UserError(
            f"{str(path)!r} is a torch.package, which holds code: save the model's state_dict()."
        )
    listed = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}" if names else "nothing"
    raise UserError(f"{str(path)!r} is a zip archive of {listed}: unpack it and give the file.")


def cut_off(path: Path) -> str:
    """The sentence for files that begin well and end too early."""
    return f"{str(path)!r} {_CUT.replace('SIZE', f'{path.stat().st_size:,}')}"


_CUT = (
    "(SIZE bytes) is cut off or no checkpoint: expected a .safetensors file or what torch.save "
    "writes. Copy it again."
)

# -- folders -----------------------------------------------------------------------------------

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The names of Hugging Face and Accelerate."""
INDEXES = tuple(f"{name}.index.json" for name in WEIGHTS)


def _folder_kind(path: Path) -> Kind:
    names = {entry.name for entry in path.iterdir()}
    if "classifier.json" in names:
        return Kind.ASSAY
    if "MLmodel" in names:
        return Kind.MLFLOW
    if "config.json" in names and _is_model_config(path / "config.json"):
        return Kind.HUGGING_FACE
    if names & {*WEIGHTS, *INDEXES}:
        return Kind.INDEX
    if ".metadata" in names:
        return Kind.SHARDED
    raise UserError(f"{str(path)!r} {_no_weights(path, names)}.")


def _is_model_config(path: Path) -> bool:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    known = ("model_type", "architectures", "architecture")
    return isinstance(config, dict) and any(key in config for key in known)


def _no_weights(path: Path, names: set[str]) -> str:
    if not names:
        return "is an empty folder: name the file with the weights"
    if "saved_model.pb" in names:
        return TENSORFLOW
    if {"data.pkl", "version"} <= names:
        return "is an unpacked file of torch.save: zip the folder again, without compression"
    if "latest" in names or "zero_to_fp32.py" in names:
        return (
            "is a checkpoint of DeepSpeed: run the `zero_to_fp32.py` inside and give the file that "
            "it writes"
        )
    endings = (".pt", ".pth", ".th", ".ckpt", ".bin", ".safetensors", ".onnx", ".pt2")
    files = sorted(p.relative_to(path) for p in path.rglob("*") if p.name.endswith(endings))
    if files:
        named = ", ".join(str(file) for file in files[:4])
        return f"is a folder with {named}{', ...' if len(files) > 4 else ''}: name one of them"
    return f"is a folder without weights (it has {', '.join(sorted(names)[:3])}): name a file"
