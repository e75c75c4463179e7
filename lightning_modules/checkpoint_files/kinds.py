"""What a file is: told from its first bytes and its folder, never from its name alone."""

import json
import tarfile
import zipfile
from enum import Enum
from pathlib import Path

from datamodules.errors import UserError
from lightning_modules.checkpoint_files.onnx_header import looks_like_onnx


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

_LFS = "is a pointer of git-lfs, the file itself was not fetched: run `git lfs pull`"
_PAGE = "is a web page, not weights: the download met a login or an error; fetch it again"
_KERAS = "is a Keras or TensorFlow file (HDF5): export it to ONNX (tf2onnx) and give that file"
_TENSORFLOW = "is a model of TensorFlow: export it to ONNX (tf2onnx) and give that file"
_PACKED = "is packed (WHAT): unpack it and give the file inside"
_OTHER = "is a model of WHAT, which torch cannot read: export it to ONNX"
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", _LFS),
    (0, b"/annex/objects", "is a pointer of git-annex, not the file: run `git annex get`"),
    (0, b"outs:", "is a pointer of DVC, not the file: run `dvc pull`"),
    (0, b"\x89HDF\r\n\x1a\n", _KERAS),
    (4, b"TFL3", "is a model of TensorFlow Lite: export the original to ONNX (tf2onnx)"),
    (4, b"ET12", _OTHER.replace("WHAT", "ExecuTorch")),
    (0, b"GGUF", _OTHER.replace("WHAT", "llama.cpp (GGUF)")),
    (0, b"ftrt", _OTHER.replace("WHAT", "TensorRT")),
    (0, b"ptrt", _OTHER.replace("WHAT", "TensorRT")),
    (0, b"\x12\x01\0\0\0\0\0\0", _OTHER.replace("WHAT", "MXNet")),
    (0, b"MATLAB 5.0", _OTHER.replace("WHAT", "MATLAB")),
    (0, b"\x1f\x8b", _PACKED.replace("WHAT", "gzip")),
    (0, b"BZh", _PACKED.replace("WHAT", "bzip2")),
    (0, b"\xfd7zXZ", _PACKED.replace("WHAT", "xz")),
    (0, b"7z\xbc\xaf", _PACKED.replace("WHAT", "7z")),
    (0, b"Rar!", _PACKED.replace("WHAT", "rar")),
    (0, b"\x28\xb5\x2f\xfd", _PACKED.replace("WHAT", "zstd")),
    (0, b"\x89PNG", "is a picture (PNG), not weights"),
    (0, b"\xff\xd8\xff", "is a picture (JPEG), not weights"),
    (0, b"%PDF", "is a PDF document, not weights"),
    (0, b"SQLite format 3", "is a SQLite database, not weights"),
    (0, b"\x7fELF", "is a program or library, not weights"),
)
_SUFFIXES = {
    ".pb": _TENSORFLOW,
    ".index": _TENSORFLOW,
    ".data-00000-of-00001": _TENSORFLOW,
    ".caffemodel": _OTHER.replace("WHAT", "Caffe"),
    ".mlmodel": _OTHER.replace("WHAT", "Core ML"),
    ".msgpack": _OTHER.replace("WHAT", "Flax"),
    ".pdparams": _OTHER.replace("WHAT", "PaddlePaddle"),
}
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
    words = _refusal(path, start)
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
    if "archive_format" in inside or "serialized_exported_program.json" in {*names, *inside}:
        return Kind.EXPORT
    if "data.pkl" in inside:
        return Kind.TORCH
    if names and all(name.endswith(".npy") for name in names):
        return Kind.ARRAYS
    if "model.weights.h5" in names:
        raise UserError(f"{str(path)!r} {_KERAS.replace('HDF5', '.keras')}.")
    if any(name.startswith(".data/") for name in inside):
        raise UserError(
            f"{str(path)!r} is a torch.package, which holds code: save the model's state_dict()."
        )
    listed = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}" if names else "nothing"
    raise UserError(f"{str(path)!r} is a zip archive of {listed}: unpack it and give the file.")


def _refusal(path: Path, start: bytes) -> str | None:
    """Says what a file is that is no checkpoint, for the end of a sentence; None if unknown."""
    for offset, magic, words in _MAGIC:
        if start[offset : offset + len(magic)] == magic:
            return words
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<error")):
        return _PAGE
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if start and start.count(0) == len(start):
        return f"({path.stat().st_size:,} bytes) is filled with zeros: copy it again"
    if _is_tar(path):
        return _tar(path)
    size = f"({path.stat().st_size:,} bytes)"
    if start and _is_text(start):
        words = " ".join(start[:60].decode(errors="replace").split())
        return f'{size} is text, not weights: it begins with "{words}"; fetch it again'
    return None


def _is_text(start: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start)


def _is_tar(path: Path) -> bool:
    return tarfile.is_tarfile(path) if path.stat().st_size >= 512 else False


def _tar(path: Path) -> str:
    with tarfile.open(path) as archive:
        names = [member.name for _, member in zip(range(4), archive, strict=False)]
    if {"pickle", "storages", "tensors"} & set(names):
        return (
            "was written by torch before 0.1.10 (a tar of pickles): load it there or with an old "
            "torch, and save its state_dict() anew"
        )
    listed = ", ".join(names[:3]) or "nothing"
    return f"is a tar archive of {listed}: unpack it and give the file inside"


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
        return _TENSORFLOW
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
